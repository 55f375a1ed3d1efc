// Discs that share a place are pushed apart; labels take the first free spot around their disc.

export interface Disc { x: number; y: number; r: number }
export interface Box { x: number; y: number; width: number; height: number }
export interface Label { width: number; height: number; priority: number }
export interface Spot extends Box { /** Text grows from this side. */ anchor: "start" | "middle" | "end" }

/** Moves overlapping discs apart, in a fixed number of steps, always in the same way. */
export function spread(discs: Disc[], gap: number, width: number, height: number): Disc[] {
  const moved = discs.map((disc, k) => ({ ...disc, x: disc.x + Math.cos(k * 2.4) * 0.5, y: disc.y + Math.sin(k * 2.4) * 0.5 }));
  for (let round = 0; round < 160; round += 1) {
    let still = true;
    for (let i = 0; i < moved.length; i += 1) {
      const a = moved[i]!;
      for (let k = i + 1; k < moved.length; k += 1) {
        const b = moved[k]!;
        const dx = b.x - a.x;
        const dy = b.y - a.y;
        const wish = a.r + b.r + gap - 0.1;
        if (dx * dx + dy * dy >= wish * wish) continue;
        still = false;
        const distance = Math.hypot(dx, dy) || 1;
        const push = (wish + 0.1 - distance) / distance / 2;
        const ux = dx * push;
        const uy = dy * push;
        a.x -= ux;
        a.y -= uy;
        b.x += ux;
        b.y += uy;
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
