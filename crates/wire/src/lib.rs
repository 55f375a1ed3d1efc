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
//!
//! # A record
//!
//! Everything is protobuf (`proto/sitian/v1`, which has the rules of change). A key is field × 8 + wire type; a field that
//! is 0 or empty is left out; a varint has seven bits a byte, lowest first; a signed one is zigzag (0, -1, 1, -2 …).
//! Fixed numbers are little-endian. Fields are written in the order of their numbers. `tests/drawing.rs` holds these
//! drawings to what is written.
//!
//! ```text
//! 08 01                        1 version = 1
//! 10 ac 02                     2 boot = 300
//! 18 90 4e                     3 mono_ms = 10,000: since that boot, at the first reading
//! 20 14                        4 uncertainty_ms = 20; absent: the clock was never set in this boot
//! 28 80 f0 86 c2 ee 65         5 at_ms = 1,750,000,000,000, signed: of the first reading
//! 32 03 00 00 04               6 points, 3 bytes: position − (previous + 1), signed: 0, 1, 4
//! 3a 03 00 b4 01               7 steps: 0 ms, then +90 ms since the reading before, signed …
//! 42 02 02 01                  8 … for 2 readings and for 1
//! 4a 03 00 84 01               9 qualities: 0 good, 132 bad by timeout (64 + cause: uncertain) …
//! 52 02 02 01                  10 … for 2 readings and for 1
//! 5a 01 01                     11 scales: the values are tenths (15: a value is 8 bytes of field 14) …
//! 62 01 02                     12 … for the 2 readings that have a value
//! 6a 03 80 04 09               13 decimals: 256 and -5, signed: 25.6 and -0.5
//!                              14 raw: binary64 of the values that no decimal gives back bit for bit
//! ```
//!
//! # A batch
//!
//! Fields 1 to 5 are the envelope that every version has in the same place, so that a reader of any age knows which
//! labels it sets aside.
//!
//! ```text
//! 08 01                        1 version = 1
//! 12 10                        2 epoch, 16 bytes
//! 73 69 78 74 65 65 6e 20 62 79 74 65 73 20 6f 6b
//! 18 07                        3 first = 7
//! 20 0a                        4 end = 10: one past the last
//! 2d 5d 68 71 5f               5 CRC-32C of version (4 bytes), epoch, first (8), end (8)
//! 30 06                        6 acked = 6: what the gateway believes committed
//! 38 05                        7 oldest = 5: on its disk
//! 45 78 56 34 12               8 chain: CRC-32C over all records of the epoch before `first`
//! 48 01                        9 lane: 1 live, 2 backfill
//! 52 0f                        10 spool, 15 bytes
//!    08 80 80 c0 01            1 bytes = 3 MiB
//!    10 80 80 80 80 08         2 bytes_max = 2 GiB
//!    18 02                     3 backlog = 2 records; 4 lost = 0 is left out
//!    28 01                     5 healthy
//! 5a 1b                        11 held, 27 bytes: as columns, here of one epoch
//!    0a 10                     1 epochs, 16 bytes each
//!    73 69 78 74 65 65 6e 20 62 79 74 65 73 20 6f 6b
//!    12 01 05                  2 oldest = 5
//!    1a 01 0a                  3 end = 10
//!    22 01 06                  4 acked = 6
//! 62 15                        12 clocks, 21 bytes: as columns, here of one boot
//!    0a 08                     1 boot = 300, 8 bytes each
//!    2c 01 00 00 00 00 00 00
//!    12 06 e0 d3 85 c2 ee 65   2 Unix ms at its start, signed
//!    1a 01 14                  3 uncertainty_ms = 20
//! 6d 4b 08 23 e7               13 CRC-32C of the decoded body, acked (8 bytes), oldest (8), chain (4)
//! 70 24                        14 body_bytes = 36, decoded
//! 7a 24                        15 the body, 36 bytes, plain; 82 01: 16, one zstd frame, where that is smaller
//!    0a 16 12 14               an entry, 22 bytes: a gap, 20 bytes
//!       08 07                  1 first = 7
//!       10 08                  2 last = 8
//!       18 01                  3 reason: 1 evicted, 2 damaged, 3 trimmed
//!       20 e0 d3 85 c2 ee 65   4 from_ms, signed; with 5, or neither
//!       28 b0 e0 86 c2 ee 65   5 to_ms, excluded, signed
//!    0a 0a 0a 08               an entry, 10 bytes: record 9, 8 bytes that nobody on the way reads
//!       61 20 72 65 63 6f 72 64
//! 8d 01 b2 0d 06 9e            17 CRC-32C of fields 9 to 12 as they stand, keys included; absent: an older gateway
//! ```
//!
//! A batch whose labels or records are damaged is set aside under the labels it declares. One whose field 17 does not
//! match is dropped without an answer: its labels and records are sound, and its gateway sends it again.
//!
//! # An acknowledgement
//!
//! ```text
//! 08 01                        1 version = 1
//! 12 10                        2 epoch, 16 bytes
//! 73 69 78 74 65 65 6e 20 62 79 74 65 73 20 6f 6b
//! 18 08                        3 committed = 8: one past the last stored
//! 20 01                        4 action: 1 ok, 2 rewind, 3 slow, 4 quarantined, 5 fork, 6 manifest
//!                              5 retry_after_ms = 0 is left out
//! 30 80 80 20                  6 window_bytes = 524,288
//! 38 e8 f7 86 c2 ee 65         7 server_ms = 1,750,000,000,500, signed
//! 45 ef cd ab 89               8 chain below `committed`; absent where the centre cannot know it
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ack;
mod batch;
mod body;
mod control;
mod fault;
mod manifest;
mod outputs;
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
pub use outputs::{
    Holds, OUTPUTS_MAX, Output, Outputs, REQUIREMENTS_MAX, Requirement, decode_outputs, encode_outputs,
};
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
