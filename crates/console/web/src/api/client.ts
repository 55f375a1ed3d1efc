// One function per question the console asks.

import type { Aggregates, Alert, BasePage, Command, Correct, Correction, Health, Incident, Latest, LedgerEntry, NewCommand, Node, Output, Point, Problem, Rollup, Rule } from "./view";

const ROOT = "/api/v1";
const TIMEOUT_MS = 15_000;

/** The server answered, but not with what was asked for. `status` 0: it did not answer at all. */
export class ApiError extends Error {
  constructor(readonly status: number, readonly problem: Partial<Problem>) {
    super(problem.detail ?? problem.title ?? `HTTP ${status}`);
  }
}

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(ROOT + path, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError(0, {});
  }
  if (!answer.ok) throw new ApiError(answer.status, await answer.json().catch(() => ({})));
  return answer.json() as Promise<T>;
}

type Snapshot<T> = { at: string; items: T[] };
type Query = Record<string, string | number>;
const query = (q: Query) => new URLSearchParams(Object.entries(q).map(([k, v]) => [k, String(v)])).toString();
const segment = encodeURIComponent;
/** A point id is three path segments. */
const pointPath = (id: string) => id.split("/").map(segment).join("/");

export const health = () => ask<Health>("/health");
export const tree = () => ask<{ items: Node[] }>("/tree");
export const rollups = (scope: string, depth: number) => ask<Snapshot<Rollup>>(`/rollups?${query({ scope, depth })}`);
export const base = (id: string) => ask<BasePage>(`/bases/${segment(id)}`);
export const points = (baseId: string) => ask<{ items: Point[] }>(`/bases/${segment(baseId)}/points`);
export const latest = (baseId: string) => ask<Snapshot<Latest>>(`/bases/${segment(baseId)}/latest?sparkline=true`);
export const rules = () => ask<{ items: Rule[] }>("/rules");

export const aggregates = (point: string, from: Date, to: Date, window: string) =>
  ask<Aggregates>(
    `/points/${pointPath(point)}/aggregates?${query({ from: from.toISOString(), to: to.toISOString(), window })}`,
  );

export const corrections = (point: string, from: Date, to: Date) =>
  ask<{ items: Correction[]; next_cursor: string | null }>(`/points/${pointPath(point)}/corrections?${query({ from: from.toISOString(), to: to.toISOString(), limit: 500 })}`);

/** The same again changes nothing. */
export const correct = (point: string, wanted: Correct) =>
  ask<{ corrected: number; unchanged: number }>(`/points/${pointPath(point)}/corrections`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wanted) });

export const incidents = (scope: string, from: Date) => ask<{ items: Incident[] }>(`/incidents?${query({ scope, from: from.toISOString(), limit: 200 })}`);
/** One entry, the whole span, for the place and for each of those directly below. */
export const completeness = (scope: string, from: Date, to: Date) =>
  ask<{ items: LedgerEntry[] }>(`/completeness?${query({ scope, depth: 1, from: from.toISOString(), to: to.toISOString() })}`);

export const openAlerts = (scope: string) => ask<{ items: Alert[]; log_cursor: string }>(`/alerts?${query({ scope, phase: "open", limit: 500 })}`);
export const allAlerts = (scope: string) => ask<{ items: Alert[] }>(`/alerts?${query({ scope, limit: 500 })}`);

export const outputs = (baseId: string) => ask<Snapshot<Output>>(`/bases/${segment(baseId)}/outputs`);
export const commands = (scope: string, limit: number) => ask<{ items: Command[] }>(`/commands?${query({ scope, limit })}`);

/** The same id again is the same command. */
export const command = (wanted: NewCommand) =>
  ask<Command>("/commands", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wanted) });

export const acknowledge = (id: number, by: string, note: string) =>
  ask<Alert>(`/alerts/${id}/acknowledge`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ by, note }),
  });
