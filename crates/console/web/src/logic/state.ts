// From what the server says to what the eye sees: one tone per thing, never colour alone.

import type { Alert, AlertCounts, Rollup, Severity, State } from "../api/view";

/** Mildest first. */
export const SEVERITIES: readonly Severity[] = ["blue", "yellow", "orange", "red"];

/** How a thing looks: a warning colour, or one of the states without an alert. */
export type Tone = Severity | "ok" | "attention" | "no_data";

export const weight = (severity: Severity | null): number => (severity ? SEVERITIES.indexOf(severity) + 1 : 0);

/** The worst open alert decides; "no data" is never painted as well. */
export function tone(state: State, worst: Severity | null): Tone {
  if (worst) return worst;
  if (state === "no_data") return "no_data";
  return state === "ok" ? "ok" : "attention";
}

export const rollupTone = (rollup: Rollup | undefined): Tone =>
  rollup ? tone(rollup.state, rollup.worst_severity) : "no_data";

export const openAlerts = (counts: AlertCounts): number => SEVERITIES.reduce((sum, s) => sum + counts[s], 0);

/** Worst first, then oldest first. */
export function byUrgency(a: Alert, b: Alert): number {
  return weight(b.severity) - weight(a.severity) || Date.parse(a.started_at) - Date.parse(b.started_at) || a.id - b.id;
}

const RANK: Record<State, number> = { alert: 3, no_data: 2, attention: 1, ok: 0 };

/** Numbers in ids as numbers. */
const byId = new Intl.Collator("en", { numeric: true });

/** What needs somebody first: by colour, state, share of bases, completeness. */
export function byNeed(a: Rollup, b: Rollup): number {
  const share = (r: Rollup) => (r.bases ? r.bases_attention / r.bases : 0);
  const ratio = (r: Rollup) => r.completeness_1h.ratio ?? 1;
  return (
    weight(b.worst_severity) - weight(a.worst_severity) ||
    RANK[b.state] - RANK[a.state] ||
    share(b) - share(a) ||
    ratio(a) - ratio(b) ||
    byId.compare(a.id, b.id)
  );
}
