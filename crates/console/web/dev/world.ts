// The fake centre: alerts, roll-ups and newest readings over the fake field.

import type { Alert, AlertCounts, Gateway, Incident, Latest, LedgerEntry, Missing, Rollup, Severity, Window } from "../src/api/view.ts";
import { weight } from "../src/logic/state.ts";
import { causeAt, DEAD_DEVICE, DRIFT, DRIFT_SINCE, FROST, FROST_SINCE, INTERVAL_MS, points, SILENT_GATEWAY, SILENT_SINCE, valueAt, windows, type FakePoint } from "./field.ts";
import { basesUnder, node, nodes, path } from "./territory.ts";

const iso = (ms: number) => new Date(ms).toISOString();
let nextId = 40;

type Told = Pick<Alert, "rule" | "severity" | "kind" | "rule_name"> & { base: string; since: number; point?: FakePoint; gateway?: string; threshold?: number };

function raise(told: Told): Alert {
  const { point, gateway } = told;
  const base = node(told.base)!;
  return {
    id: ++nextId,
    rule: told.rule,
    rule_name: told.rule_name,
    severity: told.severity,
    phase: "firing",
    kind: told.kind,
    subject: point
      ? { type: "point", id: point.id, name: { zh: `${point.place} ${point.name.zh}`, en: `${point.place} ${point.name.en}` } }
      : { type: "gateway", id: gateway!, name: { zh: `网关 ${gateway}`, en: `Gateway ${gateway}` } },
    base: { id: base.id, name: base.name },
    breadcrumb: path(base.id).map(({ id, level, name }) => ({ id, level, name })),
    started_at: iso(told.since),
    fired_at: iso(told.since + 60_000),
    resolved_at: null,
    acknowledged: null,
    value: point && told.threshold != null ? told.threshold + (told.kind === "above" ? 0.4 : -1.3) : null,
    threshold: told.threshold ?? null,
    peak: null,
    unit: point?.unit ?? "",
    late: false,
    source: told.kind === "above" ? "GB 5084-2021" : "运维约定",
  };
}

const now = Date.now();
const dry = points.find((p) => p.base === "base-8" && p.key === "soil_moisture")!;
const sour = points.find((p) => p.base === "base-13" && p.key === "water_ph")!;
export const alerts: Alert[] = process.env.SITIAN_CALM ? [] : [
  raise({ rule: "water-ec-high", rule_name: { zh: "灌溉水电导率过高", en: "Irrigation water EC too high" }, severity: "orange", kind: "above", base: DRIFT.base, point: DRIFT, since: DRIFT_SINCE, threshold: 2 }),
  raise({ rule: "gateway-offline", rule_name: { zh: "网关离线", en: "Gateway offline" }, severity: "orange", kind: "gateway_offline", base: "base-10", gateway: SILENT_GATEWAY, since: SILENT_SINCE }),
  raise({ rule: "frost", rule_name: { zh: "低温霜冻", en: "Frost" }, severity: "red", kind: "below", base: FROST.base, point: FROST, since: FROST_SINCE, threshold: 0 }),
  raise({ rule: "no-data", rule_name: { zh: "测点无数据", en: "Point without data" }, severity: "yellow", kind: "no_data", base: DEAD_DEVICE.base, point: DEAD_DEVICE, since: now - 25 * 60_000 }),
  raise({ rule: "drought-blue", rule_name: { zh: "土壤墒情偏低", en: "Soil moisture low" }, severity: "blue", kind: "below", base: dry.base, point: dry, since: now - 26 * 3_600_000, threshold: 22 }),
  raise({ rule: "water-ph", rule_name: { zh: "灌溉水 pH 偏高", en: "Irrigation water pH high" }, severity: "yellow", kind: "above", base: sour.base, point: sour, since: now - 41 * 60_000, threshold: 8.5 }),
];
if (alerts[4]) alerts[4].acknowledged = { by: "马晓兰", at: iso(now - 22 * 3_600_000), note: "已安排今晚滴灌" };

const openOf = (id: string) => alerts.filter((a) => a.phase === "firing" && a.breadcrumb.some((c) => c.id === id));

export function rollup(id: string): Rollup {
  const bases = basesUnder(id);
  const open = openOf(id);
  const counts: AlertCounts = { blue: 0, yellow: 0, orange: 0, red: 0, unacknowledged: open.filter((a) => !a.acknowledged).length };
  for (const a of open) counts[a.severity] += 1;
  const worst = (["red", "orange", "yellow", "blue"] as Severity[]).find((s) => counts[s]) ?? null;
  const mine = points.filter((p) => bases.some((b) => b.id === p.base));
  const gateways = bases.flatMap((b) => b.gateways);
  const silent = process.env.SITIAN_CALM ? [] : gateways.filter((g) => g === SILENT_GATEWAY);
  let [expected, stored] = [0, 0];
  for (const p of mine) {
    expected += 360;
    stored += completeLastHour(p);
  }
  const lost = bases.length > 0 && silent.length === gateways.length;
  const last = mine.some((p) => p.gateway !== SILENT_GATEWAY) ? Date.now() - 2_000 : SILENT_SINCE;
  return {
    id,
    level: node(id)!.level,
    state: !bases.length || lost ? "no_data" : weight(worst) >= 3 ? "alert" : worst ? "attention" : "ok",
    worst_severity: worst,
    bases: bases.length,
    bases_no_data: lost ? bases.length : 0,
    bases_attention: bases.filter((b) => openOf(b.id).length).length,
    gateways: gateways.length,
    gateways_online: gateways.length - silent.length,
    points: mine.length,
    completeness_1h: { expected, stored, ratio: expected ? stored / expected : null },
    alerts: counts,
    last_reading_at: bases.length ? iso(last) : null,
  };
}

function completeLastHour(p: FakePoint): number {
  if (process.env.SITIAN_CALM) return 360;
  let stored = 0;
  const at = Date.now();
  for (let k = 0; k < 30; k += 1) if (!causeAt(p, at - k * 120_000)) stored += 12;
  return stored;
}

export const rollups = (scope: string, depth: number): Rollup[] => {
  const rest = depth > 0 ? nodes.filter((n) => n.parent === scope).flatMap((n) => rollups(n.id, depth - 1)) : [];
  return [rollup(scope), ...rest];
};

export function latest(base: string, sparkline: boolean): Latest[] {
  const at = Date.now();
  return points.filter((p) => p.base === base).flatMap((p) => {
    const silent = p.gateway === SILENT_GATEWAY;
    const when = silent ? SILENT_SINCE - (p.seed % 7) * 1000 : Math.floor(at / INTERVAL_MS) * INTERVAL_MS - (p.seed % 5) * 600;
    const cause = silent ? null : causeAt(p, when);
    return [{
      point: p.id,
      at: iso(when),
      value: valueAt(p, when),
      quality: cause ? ("bad" as const) : p.key === "air_co2" && p.seed % 9 === 0 ? ("uncertain" as const) : ("good" as const),
      cause: cause ?? (p.key === "air_co2" && p.seed % 9 === 0 ? "device_status" : null),
      age_ms: at - when,
      alert: alerts.find((a) => a.phase === "firing" && a.subject.id === p.id)?.severity ?? null,
      ...(sparkline ? { sparkline: windows(p, at - 3_600_000, at, 120_000).slice(-30).map((w) => w.mean) } : {}),
    }];
  });
}

export const gateways = (base: string): Gateway[] =>
  node(base)!.gateways.map((id, k) => {
    const online = id !== SILENT_GATEWAY;
    const devices = [...new Map(points.filter((p) => p.gateway === id).map((p) => [p.device, p])).values()];
    return {
      id,
      online,
      since: iso(online ? now - 5 * 86_400_000 : SILENT_SINCE),
      last_seen_at: iso(online ? Date.now() - 1200 : SILENT_SINCE),
      software: "0.1.0",
      spool: { bytes: (3 + k * 40) * 1024 * 1024, bytes_max: 512 * 1024 * 1024, backlog: online ? 0 : 1120, lost: 0, healthy: true },
      devices: devices.map((p) => ({ id: p.device, name: p.device_name, place: p.place, profile: "rs-485-soil-7in1", bus: "rs485-1" })),
    };
  });

/** What windows lack, by reason: what no row explains is the gateway's silence. */
export function missing(items: Window[]): Missing {
  const sums: Missing = {};
  for (const window of items) {
    const told = Object.entries(window.bad);
    const rest = window.expected - window.count - told.reduce((sum, [, n]) => sum + n, 0);
    for (const [cause, n] of [...told, ["gateway_down", rest] as const]) if (n > 0) sums[cause] = (sums[cause] ?? 0) + n;
  }
  return sums;
}

export function ledger(id: string, from: string, to: string): LedgerEntry {
  const bases = basesUnder(id);
  const items = points.filter((p) => bases.some((b) => b.id === p.base)).flatMap((p) => windows(p, Date.parse(from), Date.parse(to), 3_600_000));
  const sum = (of: (w: Window) => number) => items.reduce((total, w) => total + of(w), 0);
  return { id, from, to, expected: sum((w) => w.expected), stored: sum((w) => w.count), missing: missing(items) };
}

export const incidents: Incident[] = process.env.SITIAN_CALM ? [] : [
  {
    id: 1,
    kind: "clone",
    gateway: "gw-5-01",
    base: { id: "base-5", name: node("base-5")!.name },
    breadcrumb: path("base-5").map(({ id, level, name }) => ({ id, level, name })),
    epoch: null,
    other_epoch: null,
    first_seq: null,
    last_seq: null,
    after: null,
    at: iso(now - 5 * 3_600_000),
    sentence: { zh: "两台设备同时以 gw-5-01 的名义上传。两边的读数都已入库。", en: "Two machines upload as gw-5-01 at once. The readings of both are stored." },
    advice: { zh: "找出另一台设备并停用。", en: "Find the other machine and switch it off." },
  },
];
