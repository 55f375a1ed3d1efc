//! Decides what a gateway sends next, and what it may forget: the delivery law, edge side.
//!
//! ```text
//!            handle_spool(held)      ┌────────┐  ReadSpool ──► spool ──► handle_read ─┐
//!   spool ──────────────────────────►│        │  Publish(batch) ──► wire ──► mqtt ◄───┘
//!   mqtt  ── handle_link_up/down ───►│ uplink │  PublishManifest(epoch)
//!   mqtt  ── wire ── handle_ack ────►│        │  Release { epoch, committed } ──► spool
//!   timer ── handle_timeout ────────►│        │  SealEpoch, Relabel(epoch), Reconnect
//!                                    └────────┘
//! ```
//!
//! Each epoch is its own cumulative stream: `acked ≤ next ≤ end`. What lies between `acked` and `next` is under way,
//! as one run; after a reconnect, or when nothing moves for max(10 s, 4 × round trip), it is sent again from `acked`,
//! less and less often. The live epoch is served first and at once; the others share what is left, oldest first, in
//! bursts that are followed by a pause, so that they take at most 70 % of the link while live readings come in.
//!
//! As long as nobody has said what time it is, a new link carries probes only, until its first ack. Epochs that were
//! recorded under another gateway's name (guests) are sent like any backfill, and never announced as this gateway's own.
//!
//! # Driving it
//!
//! Call the `handle_…` methods with a monotonic `now_ms`, then drain [`Uplink::poll_command`] until `None`, then sleep
//! until [`Uplink::poll_timeout`] or the next event. Execute commands in order. Every [`Command::ReadSpool`] must be
//! answered by exactly one [`Uplink::handle_read`] or [`Uplink::handle_read_failed`]. After every commit, release,
//! seal and relabel of the spool call [`Uplink::handle_spool`]. A publish that is refused by a full queue may be
//! dropped: it is sent again.
//!
//! Knows no sockets, topics, encodings, disks or clocks, and draws its jitter from a seed. Believes in nothing but an
//! ack: no publish, however confirmed by a broker, moves `acked`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod command;
mod jitter;
mod limits;
mod pacing;
mod stream;
mod uplink;

pub use command::{Command, Read};
pub use limits::Limits;
pub use uplink::Uplink;
