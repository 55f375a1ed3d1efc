//! Turns the words of `sitian-model` into bytes and back, and owns the grammar of MQTT topics.
//!
//! ```text
//!  Record ─encode_record─► payload ─► (spool keeps it, opaque) ─► Entry ┐
//!                                                      Batch ◄──────────┘─encode_batch─► bytes ═══ broker ═══►
//!  ═══► bytes ─decode_batch─► Batch ─► Entry ─decode_record─► Record
//! ```
//!
//! - Knows no sockets, files, clocks or delivery rules. The protobuf types never leave the room.
//! - A decoder never panics and allocates only in proportion to bytes it has really seen: no length or count taken from
//!   the wire sizes a buffer, and a compressed body is decoded into a fixed budget.
//! - Decoding is exact: a value comes back with the same 64 bits, or not at all.
//! - The bytes of a version never change (`tests/golden/wire`); a new meaning is a new version.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ack;
mod batch;
mod body;
mod control;
mod fault;
mod manifest;
mod record;
mod runs;
mod state;
pub mod topic;

pub use ack::{decode_ack, encode_ack};
pub use batch::{CLOCKS_MAX, ENTRIES_MAX, HELD_MAX, decode_batch, encode_batch};
pub use body::{DECODED_BYTES_MAX, WIRE_BYTES_MAX};
pub use control::{
    CommandMessage, CommandResult, Outcome, WriteCommand, decode_command, decode_result, encode_command,
    encode_result,
};
pub use fault::{Declared, DecodeError};
pub use manifest::{DEVICES_MAX, POINTS_MAX, decode_manifest, encode_manifest};
pub use record::{READINGS_MAX, RECORD_BYTES_MAX, RECORD_BYTES_MIN, decode_record, encode_record};
pub use state::{State, decode_state, encode_state};
pub use topic::Topic;

/// The version that this room writes, for every kind of message.
pub const VERSION: u32 = 1;

/// Sequence numbers stay below this, so that every store can keep them in a signed 64-bit integer.
pub const SEQ_MAX: sitian_model::Seq = 1 << 62;

mod proto {
    // `Entries` only documents the body of a batch, which is walked by hand.
    #![allow(missing_docs, unused_qualifications, dead_code, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/sitian.v1.rs"));
}
