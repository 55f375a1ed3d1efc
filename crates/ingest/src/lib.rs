//! Admits batches: validate, deduplicate by label, keep the watermark, commit gaps, set poison aside, acknowledge.
//!
//! ```text
//!  manifest ─┐                                   ┌─ effects ─► one durable transaction ─┐
//!  batch ────┼─► Ingest: judged against the ─► Group                                    ├─► acks leave
//!  poison ───┘   watermark of its epoch          └─ acks ──────── wait for it ──────────┘
//! ```
//!
//! The delivery law at the centre (rules I1 to I8), as a pure machine. Invariants:
//!
//! - Knows no sockets, files, clocks, formats or storage; decoding a record is an argument.
//! - Nothing is committed out of order: all below a watermark is stored, in a committed gap or in quarantine.
//! - No label is issued twice: what lies below the watermark is a duplicate, whatever it contains.
//! - An acknowledgement is in the same [`Group`] as what it acknowledges, or in a later one, never in an earlier one.
//! - Memory grows with registered gateways, epochs and points, each of which has a quota; never with what is sent.
//!
//! **How a shell uses it.** Hand over messages as they come; after at most 20 ms, or once [`Ingest::is_full`], call
//! [`Ingest::take`], commit the group's effects in one transaction, send its acks, and go on. The machine counts a taken
//! group as stored. If the transaction fails, drop the group and every later one unsent, and call [`Ingest::reload`]
//! with what the store really holds: gateways that got no ack send again.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admit;
mod aside;
mod book;
mod clone;
pub mod effect;
mod held;
mod limits;
mod machine;
mod manifest;
mod pending;
mod place;
mod retry;
mod stats;
mod undated;

pub use effect::{
    Effect, EpochEntry, EpochState, Form, GapCommitted, Group, Incident, IncidentEnded, IncidentKind,
    PointEntry, Quarantined, Redecoded, Restored, RestoredEpoch, Taken, Undated,
};
pub use limits::Limits;
pub use machine::{DecodeRecord, Ingest};
pub use retry::Retry;
pub use stats::{Rejected, Stats};

/// Sequence numbers stay below this, so that every store can keep them in a signed 64-bit integer.
pub const SEQ_MAX: sitian_model::Seq = 1 << 62;
