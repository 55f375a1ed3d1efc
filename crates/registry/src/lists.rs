//! What people ask of a registry besides its readings, and the answers: incidents, gaps, quarantine, epochs.

use sitian_ingest::{Form, GapCommitted, Incident, Taken};
use sitian_model::{Epoch, EpochNo, GatewayId, Seq, Timestamp};

/// Which incidents, gaps or entries of the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFilter {
    /// Of these gateways; of all if `None`.
    pub gateways: Option<Vec<GatewayId>>,
    /// Noticed, by the server's clock, at this moment or later; whenever if `None`.
    pub since: Option<Timestamp>,
    /// Only those with a smaller id: the last of the page before.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// A committed gap, with the names that people know.
#[derive(Debug, Clone, PartialEq)]
pub struct GapStored {
    /// Strictly increasing; continue a list behind it.
    pub id: u64,
    /// Whose readings are missing.
    pub gateway: GatewayId,
    /// What is missing and since when that is known.
    pub committed: GapCommitted,
}

/// An incident with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentStored {
    /// Strictly increasing; continue a list behind it.
    pub id: u64,
    /// What happened.
    pub incident: Incident,
    /// When it was over, by the server's clock; `None` while it lasts, and for what has no end.
    pub ended_at: Option<Timestamp>,
    /// How many readings of unknown time it speaks of, all that have come so far, and when they were taken.
    pub undated: Option<(u64, Taken)>,
}

/// One set of bytes in quarantine, without the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct QuarantineStored {
    /// Strictly increasing; asks for the bytes.
    pub id: u64,
    /// Where they came from.
    pub gateway: GatewayId,
    /// What they stand for: epoch, first, one past the last.
    pub range: Option<(Epoch, Seq, Seq)>,
    /// One record or a whole message.
    pub form: Form,
    /// Why.
    pub reason: String,
    /// How many bytes.
    pub bytes: u64,
    /// When they arrived, by the server's clock.
    pub at: Timestamp,
    /// When they were understood after all and their readings stored; the bytes are gone since.
    pub redecoded_at: Option<Timestamp>,
    /// How many readings that gave.
    pub readings: Option<u64>,
}

/// One epoch of a gateway, without its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochLine {
    /// Its number; asks for the manifest.
    pub no: EpochNo,
    /// Its label.
    pub epoch: Epoch,
    /// When its manifest came, by the server's clock.
    pub at: Timestamp,
    /// Epochs of a gateway with equal manifests have equal numbers here.
    pub manifest: i64,
    /// As in its watermark.
    pub committed: Seq,
    /// As in its watermark.
    pub live_rank: u32,
    /// As in its watermark.
    pub newest_at: Option<Timestamp>,
}

/// What the quarantine holds, all in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuarantineCounts {
    /// Entries that wait to be understood, copies of a second writer included.
    pub waiting: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries whose readings are stored by now.
    pub redecoded: u64,
}
