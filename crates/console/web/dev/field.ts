// Fake soil, water and air: the same value for the same moment, so that every window agrees with every reading.

import type { Limit, Medium, Name, Point, Window } from "../src/api/view.ts";
import { nodes } from "./territory.ts";

interface Kind { id: string; zh: string; en: string; unit: string; decimals: number; medium: Medium; mean: number; swing: number; limits?: Limit[] }

const KINDS: Kind[] = [
  { id: "soil_temperature", zh: "土壤温度", en: "Soil temperature", unit: "°C", decimals: 1, medium: "soil", mean: 17, swing: 2.4 },
  { id: "soil_moisture", zh: "土壤含水量", en: "Soil moisture", unit: "%", decimals: 1, medium: "soil", mean: 24, swing: 3, limits: [{ rule: "drought-blue", severity: "blue", below: 22 }, { rule: "drought-yellow", severity: "yellow", below: 18 }] },
  { id: "soil_ec", zh: "土壤电导率", en: "Soil EC", unit: "mS/cm", decimals: 2, medium: "soil", mean: 0.62, swing: 0.08 },
  { id: "soil_ph", zh: "土壤 pH", en: "Soil pH", unit: "", decimals: 2, medium: "soil", mean: 7.4, swing: 0.05 },
  { id: "water_ph", zh: "灌溉水 pH", en: "Water pH", unit: "", decimals: 2, medium: "water", mean: 7.6, swing: 0.1, limits: [{ rule: "water-ph", severity: "yellow", above: 8.5 }] },
  { id: "water_ec", zh: "灌溉水电导率", en: "Water EC", unit: "mS/cm", decimals: 2, medium: "water", mean: 1.1, swing: 0.12, limits: [{ rule: "water-ec-high", severity: "orange", above: 2 }] },
  { id: "air_temperature", zh: "空气温度", en: "Air temperature", unit: "°C", decimals: 1, medium: "air", mean: 19, swing: 8, limits: [{ rule: "frost", severity: "red", below: 0 }] },
  { id: "air_humidity", zh: "空气湿度", en: "Air humidity", unit: "%RH", decimals: 1, medium: "air", mean: 52, swing: 18 },
  { id: "air_co2", zh: "二氧化碳", en: "CO₂", unit: "ppm", decimals: 0, medium: "air", mean: 520, swing: 90 },
  { id: "illuminance", zh: "光照度", en: "Illuminance", unit: "klx", decimals: 1, medium: "air", mean: 38, swing: 38 },
];

export const INTERVAL_MS = 10_000;
const DAY_MS = 86_400_000;

function hash(text: string): number {
  let h = 2166136261;
  for (const c of text) h = Math.imul(h ^ c.codePointAt(0)!, 16777619);
  return h >>> 0;
}
const noise = (seed: number, step: number) => {
  const x = Math.sin(seed * 12.9898 + step * 78.233) * 43758.5453;
  return (x - Math.floor(x)) * 2 - 1;
};

export interface FakePoint extends Point { base: string; kind: Kind; seed: number }

const PLACES: Record<Exclude<Medium, "power" | "other">, string[]> = { soil: ["1号棚", "2号棚", "露地东"], water: ["灌溉首部"], air: ["1号棚", "2号棚"] };

export const points: FakePoint[] = nodes
  .filter((n) => n.level === "base")
  .flatMap((base, b) =>
    KINDS.flatMap((kind) =>
      PLACES[kind.medium as "soil"].slice(0, kind.medium === "soil" ? 1 + (b % 3) : 2).map((place, k): FakePoint => {
        const gateway = base.gateways[k % base.gateways.length]!;
        const device = `${kind.medium}-${k + 1}`;
        const name: Name = { zh: kind.zh, en: kind.en };
        const id = `${gateway}/${device}/${kind.id}`;
        return {
          id, gateway, device, device_name: `${place} ${kind.medium}`, place, key: kind.id, measurement: kind.id, medium: kind.medium, name,
          unit: kind.unit, decimals: kind.decimals, interval_ms: INTERVAL_MS, limits: kind.limits ?? [], base: base.id, kind, seed: hash(id) % 1000,
        };
      }),
    ),
  );

const born = Date.now();
/** What goes wrong in the fake world, and since when. */
export const SILENT_GATEWAY = "gw-10-01";
export const SILENT_SINCE = born - 3 * 3_600_000 - 7 * 60_000;
export const DRIFT = points.find((p) => p.base === "base-5" && p.key === "water_ec")!;
export const DRIFT_SINCE = born - 52 * 60_000;
export const FROST = points.find((p) => p.base === "base-14" && p.key === "air_temperature")!;
export const FROST_SINCE = born - 16 * 60_000;
export const DEAD_DEVICE = points.find((p) => p.base === "base-2" && p.key === "soil_ph")!;

/** Null: no value then, for this cause. */
export function valueAt(point: FakePoint, ms: number): number | null {
  if (causeAt(point, ms)) return null;
  const { kind, seed } = point;
  const day = Math.sin(((ms + 8 * 3_600_000) / DAY_MS - 0.38) * 2 * Math.PI);
  const slow = Math.sin(ms / 9e7 + seed) * 0.3;
  let value = kind.mean * (1 + ((seed % 13) - 6) / 90) + kind.swing * (day * 0.8 + slow) + kind.swing * 0.05 * noise(seed, Math.floor(ms / INTERVAL_MS));
  if (kind.id === "illuminance") value = Math.max(0, value);
  if (point === DRIFT && ms > DRIFT_SINCE - 40 * 60_000) value += Math.min((ms - DRIFT_SINCE + 40 * 60_000) / 3_000_000, 1.4);
  if (point === FROST && ms > FROST_SINCE - 90 * 60_000) value -= Math.min((ms - FROST_SINCE + 90 * 60_000) / 200_000, value + 1.4 - 0.2 * noise(seed, Math.floor(ms / INTERVAL_MS)));
  return Number(value.toFixed(kind.decimals + 1));
}

export function causeAt(point: FakePoint, ms: number): string | null {
  if (point.gateway === SILENT_GATEWAY && ms > SILENT_SINCE) return "not_received";
  if (point.base === DEAD_DEVICE.base && point.device === DEAD_DEVICE.device && ms > born - 26 * 60_000) return "timeout";
  const step = Math.floor(ms / 1_260_000);
  if (noise(point.seed, step) > 0.985) return "timeout";
  if (noise(point.seed + 7, Math.floor(ms / 2_400_000)) > 0.992) return "unreachable";
  return null;
}

export function windows(point: FakePoint, from: number, to: number, width: number): Window[] {
  const list: Window[] = [];
  const start = Math.floor(from / width) * width;
  const step = Math.max(INTERVAL_MS, Math.floor(width / 30));
  for (let at = start; at < to; at += width) {
    const end = Math.min(at + width, to);
    const bad: Record<string, number> = {};
    const values: number[] = [];
    const many = step / INTERVAL_MS;
    for (let ms = at; ms < end; ms += step) {
      const value = valueAt(point, ms);
      if (value != null) values.push(value);
      else {
        const cause = causeAt(point, ms)!;
        if (cause !== "not_received") bad[cause] = Math.round((bad[cause] ?? 0) + many);
      }
    }
    const known = values.length > 0;
    const [count, expected] = [Math.round(values.length * many), Math.floor((end - at) / INTERVAL_MS)];
    const down = expected - count - Object.values(bad).reduce((a, b) => a + b, 0);
    list.push({
      from: new Date(at).toISOString(),
      to: new Date(end).toISOString(),
      mean: known ? values.reduce((a, b) => a + b, 0) / values.length : null,
      min: known ? Math.min(...values) : null,
      max: known ? Math.max(...values) : null,
      first: values[0] ?? null,
      last: values.at(-1) ?? null,
      count,
      uncertain: 0,
      corrected: 0,
      expected,
      bad,
      missing: down > 1 ? { ...bad, gateway_down: down } : bad,
    });
  }
  return list;
}
