//! The durable queue of a gateway: what is accepted here is never silently lost.
//!
//! Knows exclusively the bytes on the gateway's disk. Knows no files, clocks, sockets or threads: every byte goes
//! through a [`Disk`], every time is the span of a record. Payloads are opaque.
//!
//! ```text
//!            append            commit = accepted           read                release
//!   Record ─────────► memory ───────────────► segment ─────────────► uplink ─────────────► trimmed later
//!                     bounded   one write,     1 MiB files, oldest    by (epoch, seq)        acked and past
//!                               one sync       first; 1 spare                                keep-behind
//! ```
//!
//! # The bytes
//!
//! A directory holds segments `0000000000000000.seg`, …`1.seg`, … Each is created zeroed at its full length, belongs
//! to one epoch, and is never written again after its process ended or one of its writes failed. All integers are
//! little-endian.
//!
//! ```text
//! segment ┌────────┬──────────┬───────┬──────┬──────┬─ ─┬─────┬──────── ─ ─┬──────────────┐
//!         │ header │ MANIFEST │ marks │ DATA │ DATA │ … │ END │ zeros      │ header again │
//!         └────────┴──────────┴───────┴──────┴──────┴─ ─┴─────┴──────── ─ ─┴──────────────┘
//!         0        80         each frame on a 16-byte boundary             length − 80    length
//!
//! header    0 magic "SITIANSP"   8 version u32 = 1    12 crc u32           16 number u64
//!          24 epoch [16]        40 first seq u64      48 chain u32         52 previous chain u32
//!          56 previous end u64  64 previous until i64 72 length u64
//! frame     0 magic u16 0x5F51   2 kind u8   3 zero   4 length u32          8 crc u32    12 chain u32
//!          16 seq u64           24 from i64          32 to i64             40 payload [length], then zeros to 16
//!
//! DATA      seq, chain before it, the record's time span in Unix ms (from > to: unknown), the record
//! MANIFEST  the manifest of the segment's epoch: always the first frame
//! ACK       seq = committed, payload = epoch: an occasional note; losing it only causes re-sends
//!           of an epoch of which nothing else is left: chain there, since when (twice), payload = epoch, end u64 = seq,
//!           owner [0 … 32]
//! GAP       seq = first, chain after it, span (from > to: unknown), payload = epoch, last u64, owner [0 … 32]: evicted unsent
//! END       seq = one past the last record of all commits so far, chain there, span of the last commit, no payload
//! ```
//!
//! Kinds: DATA 1, MANIFEST 2, ACK 3, GAP 4, END 5; a kind that a program does not know is nothing to it, so that older
//! programs read what newer ones wrote. END is written with each commit, behind its last frame, and the next commit is
//! written over it. A segment whose last valid frame is no END was torn by a power cut within a commit that was never
//! accepted (or was written before there was END): what cannot be read there is cut silently. With END behind it, what
//! cannot be read is damage and becomes a gap. Where END is gone too, damage is proven if the file is shorter than its
//! header says (it was created at full length), if its second header is blank, if sectors cannot be read, or if the file
//! after it has lost both headers. How much that cost is not known, and a gap would claim labels that may belong to
//! another reading (on the card that this one was copied from): [`Recovery::cut_short`] names the file, and `lost` counts
//! one. What cannot be told from a torn write is a last commit whose sectors read well and hold something else: then the
//! centre's memory of the end that the gateway announced is the only witness.
//!
//! A process begins with two small segments (64 KiB, or what its manifest, its marks and the largest record need), then
//! takes full ones: a gateway that restarts forever, each time under a fresh epoch, fills a quota of 2 GiB with 32,768
//! starts, not with 2,048.
//!
//! Every crc is CRC-32C of segment number, offset and everything else in the header or frame: a frame counts only at
//! its own place, so that neither a payload that contains a frame nor stale bytes can be taken for one. A damaged
//! frame hides nothing else: the next valid frame on a 16-byte boundary is found without its length. `previous …`
//! repeats what segment `number − 1` held when it was closed, so that opening reads headers, not data. Each new
//! segment repeats the marks of every epoch before its first record; only the newest two that open without a hole have to
//! be scanned for them. Newer ones may have been torn at their very first commit, one power cut after the other.
//!
//! Of epochs of which nothing is left, because all was acknowledged or told as a gap, the spool remembers the labels: for
//! as long as records are kept behind, a few at most, and the newest whatever their age. From them a centre that was
//! restored from an older copy learns that it has forgotten something, and which labels it will not get back.
//!
//! `chain` is the running CRC-32C over the payloads of all records of the epoch, as they were written, whether or not
//! they still exist: two writers of one epoch differ in it.
//!
//! # Invariants
//!
//! - A sequence number is accepted when [`Spool::commit`] returns it, and then its label never changes.
//! - No file is written again after a write or sync on it failed.
//! - No segment is removed while unacked, except under quota and then as a gap.
//! - Memory depends on limits and on the number of segments, never on the backlog.
//! - Every state of the disk opens without a person and without a panic.
//!
//! Reading order: [`disk`], `frame`, `segment`, `log` (the spool, append and commit), `writing`, `recovery`,
//! `reading`, `retention` (release, trim, evict), `relabel`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod disk;
mod frame;
mod log;
mod owner;
mod reading;
mod recovery;
mod relabel;
mod retention;
mod segment;
mod writing;

pub use disk::{Disk, DiskFault, File};
pub use log::{Durable, Limits, Spool, SpoolFault, TooLarge};
pub use owner::Owner;
pub use reading::{ReadFault, Run};
pub use recovery::Recovery;
