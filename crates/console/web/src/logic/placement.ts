// Discs that share a place are pushed apart; labels take the first free spot around their disc.

export interface Disc { x: number; y: number; r: number }
export interface Box { x: number; y: number; width: number; height: number }
export interface Label { width: number; height: number; priority: number }
export interface Spot extends Box { /** Text grows from this side. */ anchor: "start" | "middle" | "end" }

const ROUNDS_MAX = 160;
/** Discs moved in all rounds together: where hundreds crowd, none of them goes far and few rounds do. */
const MOVES_MAX = 6_000;

/** Moves overlapping discs apart, in a fixed number of steps, always in the same way. */
export function spread(discs: Disc[], gap: number, width: number, height: number): Disc[] {
  const moved = discs.map((disc, k) => ({ ...disc, x: disc.x + Math.cos(k * 2.4) * 0.5, y: disc.y + Math.sin(k * 2.4) * 0.5 }));
  // Only discs in neighbouring cells can touch.
  const cell = 2 * Math.max(...discs.map((disc) => disc.r), 1) + gap;
  const [columns, rows] = [Math.max(Math.ceil(width / cell), 1), Math.max(Math.ceil(height / cell), 1)];
  const within = (at: number, count: number) => Math.min(Math.max(Math.floor(at / cell), 0), count - 1);
  const first = new Int32Array(columns * rows);
  const next = new Int32Array(moved.length);
  const rounds = Math.min(ROUNDS_MAX, Math.max(Math.floor(MOVES_MAX / Math.max(discs.length, 1)), 16));
  for (let round = 0; round < rounds; round += 1) {
    first.fill(-1);
    for (let k = moved.length - 1; k >= 0; k -= 1) {
      const at = within(moved[k]!.y, rows) * columns + within(moved[k]!.x, columns);
      next[k] = first[at]!;
      first[at] = k;
    }
    let still = true;
    for (let i = 0; i < moved.length; i += 1) {
      const a = moved[i]!;
      const [column, row] = [within(a.x, columns), within(a.y, rows)];
      for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, rows - 1); y += 1) {
        for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, columns - 1); x += 1) {
          for (let k = first[y * columns + x]!; k >= 0; k = next[k]!) if (k > i && push(a, moved[k]!, gap)) still = false;
        }
      }
    }
    for (const disc of moved) {
      disc.x = Math.min(Math.max(disc.x, disc.r), width - disc.r);
      disc.y = Math.min(Math.max(disc.y, disc.r), height - disc.r);
    }
    if (still) break;
  }
  return moved;
}

/** Moves two discs apart by what they are too near; false if they are not. */
function push(a: Disc, b: Disc, gap: number): boolean {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const wish = a.r + b.r + gap - 0.1;
  const square = dx * dx + dy * dy;
  if (square >= wish * wish) return false;
  const distance = Math.sqrt(square) || 1;
  const way = (wish + 0.1 - distance) / distance / 2;
  a.x -= dx * way;
  a.y -= dy * way;
  b.x += dx * way;
  b.y += dy * way;
  return true;
}

/** Area that two boxes share. */
export function overlap(a: Box, b: Box): number {
  const w = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const h = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return w > 0 && h > 0 ? w * h : 0;
}

function spots(disc: Disc, label: Label, sheetWidth: number, gap: number): Spot[] {
  const { width, height } = label;
  const [right, left] = [disc.x + disc.r + gap, disc.x - disc.r - gap - width];
  const [above, below] = [disc.y - disc.r - gap - height, disc.y + disc.r + gap];
  const middle = disc.y - height / 2;
  // Above and below, a label may slide to stay on the sheet.
  const centre = Math.min(Math.max(disc.x - width / 2, 4), sheetWidth - width - 4);
  const box = (x: number, y: number, anchor: Spot["anchor"]): Spot => ({ x, y, width, height, anchor });
  return [
    box(right, middle, "start"),
    box(left, middle, "end"),
    box(centre, below, "middle"),
    box(centre, above, "middle"),
    box(right - disc.r * 0.4, below - disc.r * 0.4, "start"),
    box(right - disc.r * 0.4, above + disc.r * 0.4, "start"),
    box(left + disc.r * 0.4, below - disc.r * 0.4, "end"),
    box(left + disc.r * 0.4, above + disc.r * 0.4, "end"),
  ];
}

/** One spot per label, most important first; null where nothing but a collision is left. */
export function placeLabels(
  discs: Disc[],
  labels: Label[],
  sheet: { width: number; height: number },
  signs: Box[] = [],
  gap = 6,
): (Spot | null)[] {
  const around = discs.map((d): Box => ({ x: d.x - d.r, y: d.y - d.r, width: 2 * d.r, height: 2 * d.r }));
  // A disc's own place does not hinder its label; `around` keeps the index of the disc.
  const taken: Box[] = [...around, ...signs];
  const placed: (Spot | null)[] = labels.map(() => null);
  const order = labels.map((_, k) => k).sort((a, b) => labels[b]!.priority - labels[a]!.priority || a - b);
  for (const k of order) {
    const inside = (s: Spot) => s.x >= 0 && s.y >= 0 && s.x + s.width <= sheet.width && s.y + s.height <= sheet.height;
    const hinders = (box: Box, spot: Box) =>
      box.x < spot.x + spot.width && spot.x < box.x + box.width && box.y < spot.y + spot.height && spot.y < box.y + box.height;
    const free = spots(discs[k]!, labels[k]!, sheet.width, gap).find(
      (spot) => inside(spot) && !taken.some((box, at) => at !== k && hinders(box, spot)),
    );
    if (!free) continue;
    placed[k] = free;
    taken.push(free);
  }
  return placed;
}

/** Width of a text without asking the browser: a Chinese character is one em, a Latin one a little over half. */
export function textWidth(text: string, size: number): number {
  let ems = 0;
  for (const char of text) ems += char.codePointAt(0)! > 0x2e80 ? 1 : char === " " || char === "." ? 0.3 : 0.58;
  return ems * size;
}
