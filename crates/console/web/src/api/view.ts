// The JSON of the API, as spelled in the Rust room `api` (view.rs).

export interface Name { zh: string; en: string }
export type Level = "city" | "county" | "town" | "base";
export type Severity = "blue" | "yellow" | "orange" | "red";
export type State = "ok" | "attention" | "alert" | "no_data";
export type Medium = "soil" | "water" | "air" | "power" | "other";
export type Quality = "good" | "uncertain" | "bad";

export interface Node {
  id: string;
  level: Level;
  parent: string | null;
  name: Name;
  codes: { system: string; code: string }[];
  longitude: number | null;
  latitude: number | null;
  position: "exact" | "seat" | "schematic";
  area_mu: number | null;
  gateways: string[];
}

export interface Completeness { expected: number; stored: number; ratio: number | null }

export interface AlertCounts { blue: number; yellow: number; orange: number; red: number; unacknowledged: number }

export interface Rollup {
  id: string;
  level: Level;
  state: State;
  worst_severity: Severity | null;
  bases: number;
  bases_attention: number;
  /** Of these nobody knows whether they are well. */
  bases_no_data: number;
  gateways: number;
  gateways_online: number;
  points: number;
  completeness_1h: Completeness;
  alerts: AlertCounts;
  last_reading_at: string | null;
}

export interface Crumb { id: string; level: Level; name: Name }

export interface Spool { bytes: number; bytes_max: number; backlog: number; lost: number; healthy: boolean }

export interface Gateway {
  id: string;
  online: boolean;
  since: string | null;
  last_seen_at: string | null;
  software: string | null;
  spool: Spool | null;
  devices: { id: string; name: string; place: string; profile: string; bus: string }[];
}

export interface BasePage { node: Node; breadcrumb: Crumb[]; rollup: Rollup; gateways: Gateway[] }

export interface Limit { rule: string; severity: Severity; above?: number; below?: number }

export interface Point {
  id: string;
  gateway: string;
  device: string;
  device_name: string;
  place: string;
  key: string;
  measurement: string;
  medium: Medium;
  name: Name;
  unit: string;
  decimals: number;
  interval_ms: number;
  limits: Limit[];
}

export interface Latest {
  point: string;
  at: string;
  value: number | null;
  quality: Quality;
  cause: string | null;
  age_ms: number;
  alert: Severity | null;
  sparkline?: (number | null)[];
}

export interface Window {
  from: string;
  to: string;
  mean: number | null;
  min: number | null;
  max: number | null;
  first: number | null;
  last: number | null;
  count: number;
  uncertain: number;
  /** Readings of the window that a person has corrected. */
  corrected: number;
  expected: number;
  bad: Record<string, number>;
  missing: Missing;
}

export interface Aggregates {
  point: string;
  unit: string;
  window_ms: number;
  items: Window[];
  completeness: Completeness;
  missing: Missing;
}

/** What a reading says. */
export interface Said { value: number | null; quality: Quality; cause: string | null }

/** A correction of one reading. */
export interface Correction { id: number; at: string; epoch: string; seq: number; after: Said; before: Said; by: string; note: string; made_at: string }

/** What a person says about the readings of a span: exactly one of `set`, `add` and `restore`. */
export interface Correct { from: string; to: string; set?: number; add?: number; restore?: boolean; by: string; note: string }

/** Missing readings by reason. */
export type Missing = Record<string, number>;

export interface LedgerEntry { id: string; from: string; to: string; expected: number; stored: number; missing: Missing; /** Stored, but something speaks against them. */ doubtful?: Missing }

export interface Incident {
  id: number;
  kind: "clone" | "fork" | "possible_loss" | "card_lost" | "server_restored" | "quarantined" | "gap" | "manifest_conflict" | "quota" | "foreign_manifest" | "clock_unknown" | "redecoded" | "unassigned" | "spool_failed";
  gateway: string;
  base: { id: string; name: Name } | null;
  breadcrumb: Crumb[];
  epoch: string | null;
  other_epoch: string | null;
  first_seq: number | null;
  last_seq: number | null;
  after: string | null;
  at: string;
  /** What lasts is over since then. */
  ended_at?: string | null;
  sentence: Name;
  advice: Name;
}

export type Holds = "yes" | "unknown" | "below" | "above";

/** A point that has to be within bounds while an output is away from its safe value. */
export interface Condition { point: string; device_name: string; name: Name; unit: string; min: number | null; max: number | null; value: number | null; holds: Holds }

/** What a gateway can switch or set. */
export interface Output {
  gateway: string;
  device: string;
  point: string;
  device_name: string;
  place: string;
  name: Name;
  unit: string;
  min: number;
  max: number;
  safe: number;
  on_max_s: number | null;
  from_centre: boolean;
  safe_without_link_s: number | null;
  value: number | null;
  value_at: string | null;
  /** It may differ from its safe value, until then at most. */
  away: boolean;
  until: string | null;
  conditions: Condition[];
  told_at: string;
  last: Command | null;
}

export interface Command {
  id: string;
  gateway: string;
  device: string;
  point: string;
  value: number;
  by: string;
  reason: string;
  /** The gateway's own move to safety, and why. */
  own: Name | null;
  for_s: number | null;
  state: "pending" | "expired" | "done" | "refused" | "failed";
  detail: string;
  sentence: Name;
  read_back: number | null;
  at: string;
  expires: string | null;
  ended: string | null;
}

export interface NewCommand { id: string; gateway: string; device: string; point: string; value: number; by: string; reason: string; for_s?: number; within_s?: number }

export interface Rule {
  id: string;
  name: Name;
  severity: Severity;
  kind: string;
  measurement: string | null;
  condition: string;
  source: string;
  verified: boolean;
}

export interface Alert {
  id: number;
  rule: string;
  rule_name: Name;
  severity: Severity;
  phase: "pending" | "firing" | "resolved";
  kind: "above" | "below" | "no_data" | "gateway_offline";
  subject: { type: "point" | "gateway"; id: string; name: Name };
  base: { id: string; name: Name } | null;
  breadcrumb: Crumb[];
  started_at: string;
  fired_at: string | null;
  resolved_at: string | null;
  acknowledged: { by: string; at: string; note: string } | null;
  value: number | null;
  threshold: number | null;
  peak: number | null;
  unit: string;
  late: boolean;
  source: string;
}

export interface Problem { type: string; title: string; status: number; detail: string; suggested_window?: string }

/** How the centre itself fares. */
export interface Health { status: string; storage: { healthy: boolean; committed_at: string | null }; broker: { up: boolean; since: string | null } }
