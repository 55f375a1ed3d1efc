//! Admits batches: validate, deduplicate by label, keep the watermark, commit gaps, set poison aside, acknowledge.
//!
//! The delivery law at the centre, as a pure machine: it knows no sockets, files, clocks, formats or storage.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod effect;

pub use effect::{
    Effect, EpochEntry, EpochState, Form, GapCommitted, Group, Incident, IncidentKind, PointEntry,
    Quarantined, Restored, RestoredEpoch,
};

/// Sequence numbers stay below this, so that every store can keep them in a signed 64-bit integer.
pub const SEQ_MAX: sitian_model::Seq = 1 << 62;
