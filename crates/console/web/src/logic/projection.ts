// Longitude and latitude on a small sheet: equirectangular with the cosine of the middle latitude.

export interface Place { longitude: number; latitude: number }
export interface Sheet { width: number; height: number; padX: number; padY: number }

export interface Projection {
  x(longitude: number): number;
  y(latitude: number): number;
  /** Pixels per kilometre. */
  scale: number;
  west: number;
  east: number;
  south: number;
  north: number;
}

const KM_PER_DEGREE = 111.32;
/** Never zoom closer than this many kilometres across: one lone place would fill the sheet. */
const SPAN_MIN_KM = 4;

export function project(places: Place[], sheet: Sheet): Projection {
  const lons = places.map((p) => p.longitude);
  const lats = places.map((p) => p.latitude);
  const middle = (values: number[]) => (values.length ? (Math.min(...values) + Math.max(...values)) / 2 : 0);
  const extent = (values: number[]) => (values.length ? Math.max(...values) - Math.min(...values) : 0);
  const [lon0, lat0] = [middle(lons), middle(lats)];
  const shrink = Math.cos((lat0 * Math.PI) / 180);
  const wide = Math.max(extent(lons) * shrink * KM_PER_DEGREE, SPAN_MIN_KM);
  const tall = Math.max(extent(lats) * KM_PER_DEGREE, SPAN_MIN_KM * 0.6);
  const scale = Math.min((sheet.width - 2 * sheet.padX) / wide, (sheet.height - 2 * sheet.padY) / tall);
  const perLon = KM_PER_DEGREE * shrink * scale;
  const perLat = KM_PER_DEGREE * scale;
  return {
    x: (longitude) => sheet.width / 2 + (longitude - lon0) * perLon,
    y: (latitude) => sheet.height / 2 - (latitude - lat0) * perLat,
    scale,
    west: lon0 - sheet.width / 2 / perLon,
    east: lon0 + sheet.width / 2 / perLon,
    south: lat0 - sheet.height / 2 / perLat,
    north: lat0 + sheet.height / 2 / perLat,
  };
}

/** Round steps: the largest of 1, 2, 5 × 10ⁿ that is not over `limit`. */
export function roundStep(limit: number): number {
  const power = 10 ** Math.floor(Math.log10(limit));
  const lead = limit / power;
  return (lead >= 5 ? 5 : lead >= 2 ? 2 : 1) * power;
}

/** Where the graticule runs between two degrees: about `count` lines. */
export function graticule(from: number, to: number, count: number): number[] {
  const step = roundStep((to - from) / count);
  const lines: number[] = [];
  for (let k = Math.ceil(from / step); k * step < to; k += 1) lines.push(Number((k * step).toFixed(6)));
  return lines;
}
