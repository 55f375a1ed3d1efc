//! Readings, registry and alerts on the local disk: one SQLite file, one transaction for everything that belongs together.
//!
//! ```text
//!             commit(Transaction)                                 Reader (any number, any thread)
//!                    │                                                  │
//!      ┌─────────────▼──────────────┐   after COMMIT   ┌────────────────▼───────────────┐
//!      │ one SQL transaction, synced │ ───────────────► │ head: unsealed rows, in memory │ 1. copy
//!      │ journal ← rows, marks       │                  │       newest row of each point │
//!      │ watermark, point, epoch …   │                  └────────────────┬───────────────┘
//!      │ episode, alert_log …        │                                   │
//!      └─────────────┬──────────────┘                                   │
//!                    │ seal, a slice at a time                           │
//!            journal ─┴─► chunk (compressed columns) ◄───────────────────┘ 2. snapshot of the file, merge by key
//!                          │      ▲ join small ones                        where an hour suffices: hours, not rows
//!                          ▼      │ Compactor, a point at a time
//!                        hours ───┴──► faded: hours, then days, of rows no longer kept
//! ```
//!
//! Invariants:
//! - What [`Store::commit`] has returned for survives a power cut (write-ahead log, `synchronous=FULL`) and is seen by
//!   every query that starts afterwards.
//! - Rows are in the journal or in chunks; rows of one commit leave the head only after the file has them in chunks.
//!   A query copies the head *before* it looks at the file, so it can meet a row twice and drops the double by natural
//!   key, but can never miss one.
//! - Chunks and their hours are written together: roll-ups are never behind, and late or re-decoded rows need no repair.
//!   Windows come from hours where a chunk is alone in its time, from merged rows where it is not.
//! - A step of the compaction replaces chunks by chunks that hold the same rows, in one transaction. A crash leaves the
//!   old ones or the new ones. It reads one chunk behind the other: its memory does not grow with the store.
//! - A correction rewrites its row in the transaction that keeps what the row said before.
//! - The head holds at most twice the seal limit and two commits: memory grows neither with the store nor with a backlog.
//! - Nothing here decides: numbers, watermarks and episodes come from `ingest` and `alert`. The room knows no MQTT, no
//!   HTTP and no wall clock; it measures only how long its journal has waited.
//!
//! # The file
//!
//! `sitian.db` with `-wal` and `-shm` beside it while open, and `sitian.db.lock`, held while a process writes. Its
//! `application_id` is `SITN`, its `user_version` the schema; `src/schema/v1.sql`, `v2.sql` … are its
//! scripts, column by column, run one behind the other. A store of every released schema is kept in `tests/golden/store`.
//!
//! ```text
//!  gateway ◄─ point          names and descriptions      watermark   how far each epoch has come
//!     ▲                                                  gap         what will never come, and why
//!     ├── manifest ◄─ epoch ◄────────────────────────────┘ quarantine  bytes that nobody understood, whole
//!     └── incident            what people should know    meta        where an unfinished sealing stands
//!  journal ──► chunk ◄─ hours readings and their hours   latest      newest sealed row of each point
//!              faded          hours and days of readings that are no longer kept
//!  correction                 what rows said before      set_aside   bytes that a repair found unreadable
//!  episode, alert_log         alerts and their history   alert_state, mark   the alert engine's memory
//! ```
//!
//! # The bytes
//!
//! Every blob of ours opens with its layout and a checksum. `n` is a number of seven bits a byte, lowest first; `z` the
//! same, zigzag; *runs* are `n` runs, each a value and `n` how often.
//!
//! ```text
//!  every blob       0        1            5
//!                   ├────────┼────────────┼───────────────
//!                   │ layout │ CRC-32C LE │ body
//!                   │  1 B   │ of body    │
//!
//!  6 chunk.body     n rows (≤ 8192) of one point, ordered by (at, epoch, seq), at most 31 days from first to last
//!                   │ n rows │ runs: quality code 1 B │ runs: n epoch
//!                   │ z origin, n len │ pco u64: at less origin, in ms, stepwise differences (of the beats, where there are)
//!                   │ n len │ pco u64: seq, stepwise differences
//!                   │ 1 B decimals d (255: none) │ values of the rows that have one (quality code < 128), to the end:
//!                   │   d ≤ 6: pco i64, whole numbers of 10⁻ᵈ; d = 255: pco f64
//!  1 (before schema 5) the same, but: n len, pco i64 at; no d, always pco f64
//!
//!  2 journal.rows   the rows of one commit in the order of their arrival
//!                   │ n rows │ runs: quality code 1 B │ runs: n epoch, n seq
//!                   │ per row: z point, z at, each less that of the row before
//!                   │ f64 LE: values of the rows that have one
//!
//!  3 manifest.body  │ text software │ n devices: id, name, place, profile, bus (texts)
//!                   │ n points: n device, texts key, measurement, unit, 1 B decimals, n interval_ms
//!    epoch.points   │ n points: z number less the one before          (a text is n bytes, then UTF-8)
//!
//!  4 journal.marks  empty, or
//!                   │ n marks: z point less the one before, 1 B (1 newest, 2 data), z ms each less the time before
//!
//!  7 hours.body     windows of the rows of a chunk, ordered by time; faded.body: of rows that are gone
//!                   │ n hours in a window: 1 or 24 │ n windows │ runs: z hours since the window before (the first: 1970)
//!                   │ runs: n good │ runs: n uncertain
//!                   │ n kinds of bad rows: n windows since the kind before, quality code 1 B, n rows
//!                   │ 1 B decimals d (255: none) │ six columns of the windows that have values, each n len, pco:
//!                   │   d ≤ 6: i64, whole numbers of 10⁻ᵈ: first less the last before, last less first, lower end less min,
//!                   │     max less upper end, sum less ⌊count × (first + last) / 2⌋, increase
//!                   │   d = 255: f64: first, last, min, max, sum, increase
//!  5 (before schema 5) │ n hours in a window │ n windows │ 1 B decimals d
//!                   │ per window: z hour since 1970 less the one before │ n good │ n uncertain
//!                   │   n kinds of bad rows: quality code 1 B, n rows
//!                   │   with values, d ≤ 6: whole numbers of 10⁻ᵈ: z first less the last before, z last less first,
//!                   │     z first less min, z max less first, z sum less first × count, z increase
//!                   │   with values, d = 255: f64 LE: first, last, min, max, sum, increase
//! ```
//!
//! A chunk's statistics (`good`, `uncertain`, `bad`, `min`, `max`, `sum`, `first`, `last`) are columns by which it is
//! verified. Chunks of fewer than 64 rows have no hours: reading them is as quick. Chunks of one point may overlap where
//! data came late; compaction joins them, eight of a size, and what fills a chunk, until they have 4,096 to 8,192 rows. A chunk
//! spans at most 31 days, so the chunks that touch a moment start at most 31 days before it.
//!
//! A beat is the usual time between two rows: a sensor that is read every 300 s, up to 250 ms late, costs what its lateness
//! costs (8 bits), not what the differences of two of them cost. Chunks and hours of older layouts are read as they are, and
//! written anew only where compaction joins them.
//!
//! Reading order: `store` and `store/seal` (writing); `reader`,
//! `reader/windows` and `merge` (reading); `shelf` (tables of chunks), `compaction`, `corrections`; `head`; `chunk`,
//! `hours`, `journal`, `marks`, `decimal` (bytes; more of them in the `registry` room); `registry`, `alerts` (tables); `schema`, `lock`, `fault`; `examination`,
//! `backup`, `handover` (for the operator).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alerts;
mod backup;
mod chunk;
mod compaction;
mod corrections;
mod decimal;
mod examination;
mod fault;
mod handover;
mod head;
mod hours;
mod journal;
mod kept;
mod lock;
mod marks;
mod merge;
mod reader;
mod registry;
mod schema;
mod shelf;
mod store;

pub use backup::{back_up, restore};
pub use compaction::{Compactor, Progress};
pub use examination::{Examination, Finding, examine, repair};
pub use fault::StoreError;
pub use handover::Holding;
pub use reader::Reader;
pub use store::{Extent, SealLimits, Store};
