//! What went wrong on the way of the readings: incidents, committed gaps, and the ledger of what is missing and why.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{BaseRef, Crumb, Name, Time};

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
}

/// Something about the readings of a gateway that a person should know. It does not end and needs no acknowledgement.
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
    /// The newest reading stored of that epoch: the trouble begins after it.
    pub after: Option<Time>,
    /// When the centre noticed it.
    pub at: Time,
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
    /// Readings that the intervals of the points below promise.
    #[schema(example = 3600)]
    pub expected: u64,
    /// Readings stored, of whatever quality but bad.
    #[schema(example = 3437)]
    pub stored: u64,
    /// Readings missing by reason: the cause of a bad reading, `evicted`, `damaged`, `trimmed`, `quarantined`,
    /// `gateway_down` while no point of the gateway has a reading, otherwise `unknown`. One reading more or less per
    /// point and window is where the window's edge fell and is not counted.
    #[schema(example = json!({"timeout": 120, "gateway_down": 43}))]
    pub missing: BTreeMap<String, u64>,
}

/// The ledger of a node and of the nodes directly below it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Ledger {
    /// Width of a window in milliseconds.
    pub window_ms: u64,
    /// The node's windows in order of time, then those of each node below it, as far as asked for.
    pub items: Vec<LedgerEntry>,
}
