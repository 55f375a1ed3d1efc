//! The series port on engines that others run: rows go there as line protocol and are read back through the engine's own
//! query API. Registry, alerts and watermarks stay in the embedded store.
//!
//! ```text
//!  append(rows) ─► engine ─► names ─► line ─► write ── gzip, 5,000 lines or 4 MiB ──► POST /api/v2/write
//!                  too old?  tags     text    retry, halve what is refused ─► Refused(row)
//!
//!  latest, range, walk, aggregate ─► reader ── ends, fields, newest, windows ─► dialect ┬ victoria  /api/v1/export, /api/v1/query …
//!                                    slices, pages, rows from fields                    └ influx    /api/v2/query, Flux
//! ```
//!
//! Two engines, and one flow for both: what differs is behind `Dialect`, and in what each looks at before it starts.
//!
//! | | [`influx`] | [`victoria`] |
//! |---|---|---|
//! | where | organisation and bucket | the whole server |
//! | who may | an API token | everybody who reaches it |
//! | on its disk | with the 204 of a write | when a snapshot was made |
//! | numbers | to the bit | 12 to 15 digits |
//! | moments | 1677 to 2262 | 1970 to two days ahead |
//! | forgets | by the bucket's retention | by `-retentionPeriod` |
//!
//! # What stands in the engine
//!
//! One measurement, `reading`. Dashboards choose by tags; times are Unix milliseconds.
//!
//! | Tag | Says | |
//! |---|---|---|
//! | `gateway`, `device`, `point` | the ids that name a point for ever | always |
//! | `measurement` | what is measured, as the catalogue says | always |
//! | `unit` | in what | unless it is a number without one |
//! | `city`, `county`, `town`, `base` | ids of the territory, no names: renaming must not split a series | where known |
//!
//! | Field | Says | Kind |
//! |---|---|---|
//! | `value` | the number; absent where there is none | float |
//! | `quality` | 0 good, 1 to 127 uncertain, from 128 on bad, by cause | integer |
//! | `epoch`, `seq` | the label of the record: the first 48 bits of its epoch, and its number | integers |
//!
//! VictoriaMetrics makes a series of every field: `reading_value`, `reading_quality` … The runbook has queries for dashboards.
//!
//! # Invariants
//!
//! - A row that [`Append::append`](sitian_series::Append) has returned for is on the engine's disk and is seen by every
//!   query that starts afterwards, on VictoriaMetrics too, which answers 204 long before: see [`victoria`].
//! - Writing a row again changes nothing: same series, same moment.
//! - What a server would drop without a word is refused here, row by row.
//! - What is taken can be read: moments that an engine takes and does not answer for are refused.
//! - No answer is listened to beyond 8 MiB, unpacked, and no request is longer than 4 MiB and a line.
//! - Answers are put together from whole rows only: a moment of which a field is missing is not answered yet.
//! - No log and no error shows a token.
//! - The room knows no MQTT and no registry, and of files only the note of a snapshot under way. Waiting for a server is all it does with time.
//!
//! Reading order: [`names`], `line`, `moment` (text); `server`, `write`, `engine` (sending); `dialect`, `rows`, `reader` (asking);
//! [`victoria`] and its `questions`, `windows`, `snapshot`; [`influx`] and its `flux`, `csv`, `windows`; [`fault`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod dialect;
mod engine;
pub mod fault;
pub mod influx;
mod line;
mod moment;
pub mod names;
mod reader;
mod rows;
mod server;
pub mod victoria;
mod write;

pub use engine::Engine;
pub use fault::EngineError;
pub use line::LineFault;
pub use names::{Names, Tags};
pub use reader::Reader;
pub use server::{Access, FOR_EVER_DAYS, Token};
pub use write::{LINES_MAX, Patience};
