//! What went wrong on the way of the readings: incidents, committed gaps, and the ledger of what is missing and why.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{BaseRef, Crumb, Name, Time, Undated};

/// What happened to the readings of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// Two programs publish under one gateway id.
    Clone,
    /// Two writers use one epoch; nothing of the second was stored.
    Fork,
    /// An epoch vanished from the gateway before all of it had arrived.
    PossibleLoss,
    /// After a restart the card held less than before.
    CardLost,
    /// The centre was restored from a backup and had forgotten what it had acknowledged.
    ServerRestored,
    /// Bytes that nobody understands were set aside.
    Quarantined,
    /// Records will never arrive.
    Gap,
    /// One epoch came with two lists of points.
    ManifestConflict,
    /// The gateway opens epochs or names points faster than it may.
    Quota,
    /// A manifest names another gateway than the one it came from.
    ForeignManifest,
    /// Readings were stored whose time nobody knows.
    ClockUnknown,
    /// What had been set aside could be read after all and is stored.
    Redecoded,
    /// A gateway publishes that stands in no base.
    Unassigned,
    /// The gateway's disk refuses writes; readings live in memory only until they are sent. Lasts until `ended_at`.
    SpoolFailed,
}

/// Something about the readings of a gateway that a person should know. It needs no acknowledgement.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Incident {
    /// Stable number; a later incident has a greater one.
    #[schema(example = 3)]
    pub id: u64,
    /// What happened.
    pub kind: IncidentKind,
    /// Which gateway.
    #[schema(example = "gw-620702101-01")]
    pub gateway: String,
    /// Where it stands; null if it belongs to no base, the breadcrumb is then the first city.
    pub base: Option<BaseRef>,
    /// From the city down to the base.
    pub breadcrumb: Vec<Crumb>,
    /// The epoch concerned, 32 hexadecimal digits; null if it is about none.
    pub epoch: Option<String>,
    /// The other epoch, for a clone.
    pub other_epoch: Option<String>,
    /// First record concerned, as far as known.
    pub first_seq: Option<u64>,
    /// Last record concerned, as far as known.
    pub last_seq: Option<u64>,
    /// The newest reading stored of that epoch: the trouble begins after it. For `clock_unknown` that of what lay before the
    /// epoch on the gateway's card.
    pub after: Option<Time>,
    /// When the centre noticed it.
    pub at: Time,
    /// When it was over, for what lasts (`spool_failed`); null while it goes on, and for everything else.
    pub ended_at: Option<Time>,
    /// For `clock_unknown`: how many readings of all points of the gateway, and between which moments they were taken; null
    /// for everything else, and where that was not kept yet.
    pub undated: Option<Undated>,
    /// What happened, in words.
    pub sentence: Name,
    /// What to do about it, in words.
    pub advice: Name,
}

/// Why records will never arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The gateway's queue was full.
    Evicted,
    /// The gateway's disk could not be read there.
    Damaged,
    /// They were stored here once, trimmed there, and forgotten here.
    Trimmed,
}

/// Records of a gateway that will never arrive.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Gap {
    /// Stable number; a later gap has a greater one.
    #[schema(example = 2)]
    pub id: u64,
    /// Which gateway.
    #[schema(example = "gw-620702101-01")]
    pub gateway: String,
    /// Where it stands; null if it belongs to no base, the breadcrumb is then the first city.
    pub base: Option<BaseRef>,
    /// From the city down to the base.
    pub breadcrumb: Vec<Crumb>,
    /// Why.
    pub reason: GapReason,
    /// The epoch, 32 hexadecimal digits.
    pub epoch: String,
    /// First missing record.
    pub first_seq: u64,
    /// Last missing record.
    pub last_seq: u64,
    /// How many records; each held up to a second of readings.
    #[schema(example = 420)]
    pub count: u64,
    /// First moment that they cover; null if that is not known.
    pub from: Option<Time>,
    /// First moment that they no longer cover; null if that is not known.
    pub to: Option<Time>,
    /// When the gap was committed.
    pub at: Time,
}

/// What the bytes of an entry of the quarantine are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineForm {
    /// One record that could not be decoded or admitted.
    Record,
    /// A whole message that could not be decoded.
    Message,
    /// A message of a second writer in an epoch; its readings come again under another label.
    Rival,
}

/// Bytes set aside, because nobody understood them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct QuarantineEntry {
    /// Stable number; a later entry has a greater one.
    #[schema(example = 4)]
    pub id: u64,
    /// In whose topic they came.
    #[schema(example = "gw-620702101-01")]
    pub gateway: String,
    /// Where it stands; null if it belongs to no base, the breadcrumb is then the first city.
    pub base: Option<BaseRef>,
    /// From the city down to the base.
    pub breadcrumb: Vec<Crumb>,
    /// What they are.
    pub form: QuarantineForm,
    /// The epoch that they stand for, 32 hexadecimal digits; null if they did not say.
    pub epoch: Option<String>,
    /// First record that they stand for.
    pub first_seq: Option<u64>,
    /// Last record that they stand for.
    pub last_seq: Option<u64>,
    /// Why they were set aside.
    #[schema(example = "version 2 is newer than this program")]
    pub reason: String,
    /// Bytes kept; none once they were read again.
    pub bytes: u64,
    /// When they arrived.
    pub at: Time,
    /// When a later version understood them and their readings were stored; null while they wait.
    pub redecoded_at: Option<Time>,
    /// How many readings that gave; null while they wait.
    pub readings: Option<u64>,
}

/// A page of the quarantine, with what it holds all in all.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Quarantine {
    /// Entries that wait to be understood.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Entries whose readings are stored by now.
    pub redecoded: u64,
    /// Newest first.
    pub items: Vec<QuarantineEntry>,
    /// Asks for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// A gateway that was ever heard or is expected, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct KnownGateway {
    /// Which.
    #[schema(example = "zy-07")]
    pub id: String,
    /// Where it stands; null if it belongs to no base: add it to one in the territory.
    pub base: Option<BaseRef>,
    /// From the city down to the base; empty without one.
    pub breadcrumb: Vec<Crumb>,
    /// Connected, as far as is known.
    pub online: bool,
    /// The last message from it; null if there was none since the centre started.
    pub last_seen_at: Option<Time>,
    /// What it runs, from its newest manifest; null if it never sent one.
    pub software: Option<String>,
    /// How many devices its newest manifest names.
    pub devices: u64,
    /// How many points its newest manifest names.
    pub points: u64,
}

/// Gateways, in order of their ids.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct KnownGateways {
    /// How many of all stand in no base.
    pub unassigned: u64,
    /// Those asked for.
    pub items: Vec<KnownGateway>,
}

/// One node in one window of time: what was due, what is there, why the rest is not.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LedgerEntry {
    /// Which node.
    #[schema(example = "zhangye")]
    pub id: String,
    /// First moment inside.
    pub from: Time,
    /// First moment outside.
    pub to: Time,
    /// Readings that the intervals of the points below promise: always `stored` and all of `missing` together.
    #[schema(example = 3600)]
    pub expected: u64,
    /// Readings stored with a value, at most one for each that was due.
    #[schema(example = 3437)]
    pub stored: u64,
    /// Readings missing by reason: the cause of a bad reading (such as `timeout`, `checksum`, `bus_overrun`), `evicted`,
    /// `damaged`, `trimmed`, `quarantined`, `clock_unknown` where readings were due that are stored under another time, as
    /// nobody knows theirs, `gateway_down` while no point of the gateway has a reading, otherwise `unknown`. One reading more or less per point and window is where the
    /// window's edge fell and is not counted.
    #[schema(example = json!({"timeout": 120, "gateway_down": 43}))]
    pub missing: BTreeMap<String, u64>,
    /// Stored readings that something speaks against, by cause: `implausible`, `device_status`, `clock_unknown`. They count
    /// as stored.
    #[schema(example = json!({"implausible": 3}))]
    pub doubtful: BTreeMap<String, u64>,
}

/// The ledger of a node and of the nodes directly below it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Ledger {
    /// Width of a window in milliseconds.
    pub window_ms: u64,
    /// The node's windows in order of time, then those of each node below it, as far as asked for.
    pub items: Vec<LedgerEntry>,
}
