// What a chart needs to know about windows: how wide to ask, where the holes are, and why.

import type { Missing, Window } from "../api/view";

export const RANGES = { "1h": 3_600_000, "6h": 21_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000 } as const;
export type Range = keyof typeof RANGES;

const LADDER: [string, number][] = [
  ["10s", 10_000],
  ["30s", 30_000],
  ["1m", 60_000],
  ["2m", 120_000],
  ["5m", 300_000],
  ["10m", 600_000],
  ["15m", 900_000],
  ["30m", 1_800_000],
  ["1h", 3_600_000],
  ["2h", 7_200_000],
  ["6h", 21_600_000],
  ["1d", 86_400_000],
];

/** The narrowest window that gives at most `count_max` of them and holds at least one reading each. */
export function windowFor(spanMs: number, intervalMs: number, countMax = 240): { word: string; ms: number } {
  const fit = LADDER.find(([, ms]) => ms >= intervalMs && spanMs / ms <= countMax) ?? LADDER[LADDER.length - 1]!;
  return { word: fit[0], ms: fit[1] };
}

/** A run of windows in one condition. `cause` null: complete. `missing`: how many readings are not there. */
export interface Stretch { from: number; to: number; cause: string | null; missing: number }

/** The cause of a window in which nothing was due: the point did not exist yet. It is drawn as nothing at all. */
export const NOTHING_DUE = "nothing_due";

/** Why a window lacks readings: the most frequent reason, `not_received` if nobody says, null if enough is there. */
export function lack(window: Window): { cause: string | null; missing: number } {
  const missing = Math.max(window.expected - window.count, 0);
  // One reading more or less is where the window's edge fell, not a hole.
  const edge = missing <= 1 && window.count > 0;
  if (!window.expected && !window.count) return { cause: NOTHING_DUE, missing: 0 };
  if (!window.expected || edge || window.count / window.expected >= 0.95) return { cause: null, missing };
  const worst = mostFirst(window.missing)[0]?.[0];
  return { cause: worst && worst !== "unknown" ? worst : "not_received", missing };
}

/** Neighbouring windows in the same condition become one stretch. */
export function stretches(windows: Window[]): Stretch[] {
  const runs: Stretch[] = [];
  for (const window of windows) {
    const { cause, missing } = lack(window);
    const [from, to] = [Date.parse(window.from), Date.parse(window.to)];
    const last = runs[runs.length - 1];
    if (last && last.cause === cause && last.to === from) {
      last.to = to;
      last.missing += missing;
    } else {
      runs.push({ from, to, cause, missing });
    }
  }
  return runs;
}

/** Missing readings by reason, most first; behind the first `count_max` reasons the others are one: `""`. */
export function mostFirst(missing: Missing, countMax = Infinity): [string, number][] {
  const all = Object.entries(missing).sort((a, b) => b[1] - a[1]);
  if (all.length <= countMax) return all;
  return [...all.slice(0, countMax - 1), ["", all.slice(countMax - 1).reduce((sum, [, n]) => sum + n, 0)]];
}

/** True where a value has no neighbour to draw a line to. */
export function isolated(values: (number | null)[]): boolean[] {
  return values.map((v, k) => v != null && values[k - 1] == null && values[k + 1] == null);
}
