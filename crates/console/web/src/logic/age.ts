// Ages in steps that a person would say.

export type AgeUnit = "now" | "seconds" | "minutes" | "hours" | "days";
export interface Age { unit: AgeUnit; count: number }

/** `ms` below zero (a clock ahead of ours) counts as now. */
export function age(ms: number): Age {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 1) return { unit: "now", count: 0 };
  if (seconds < 60) return { unit: "seconds", count: seconds };
  if (seconds < 3600) return { unit: "minutes", count: Math.floor(seconds / 60) };
  if (seconds < 48 * 3600) return { unit: "hours", count: Math.floor(seconds / 3600) };
  return { unit: "days", count: Math.floor(seconds / 86_400) };
}

/** A reading is stale once it is older than three of its intervals and ten seconds. */
export const stale = (ageMs: number, intervalMs: number): boolean => ageMs > Math.max(3 * intervalMs, 10_000);
