//! The series port on engines that others run: rows go there as line protocol and are read back through the engine's own
//! query API. Registry, alerts and watermarks stay in the embedded store.
//!
//! ```text
//!  append(rows) ─► names ─► line ─► write ── gzip, 5,000 lines ──► POST /api/v2/write     InfluxDB 2, VictoriaMetrics
//!                  tags     text    retry, halve what is refused ─► Refused(row)
//!
//!  latest, range, walk, aggregate ─► victoria ─► /api/v1/export, /api/v1/query, /api/v1/query_range
//! ```
//!
//! # What stands in the engine
//!
//! One measurement, `reading`. Dashboards choose by tags; times are Unix milliseconds.
//!
//! | Tag | Says | |
//! |---|---|---|
//! | `gateway`, `device`, `point` | the ids that name a point for ever | always |
//! | `measurement`, `unit` | what is measured and in what, as the catalogue says | always |
//! | `city`, `county`, `town`, `base` | ids of the territory, no names: renaming must not split a series | where known |
//!
//! | Field | Says |
//! |---|---|
//! | `value` | the number; absent where there is none |
//! | `quality` | 0 good, 1 to 127 uncertain, from 128 on bad, by cause |
//! | `epoch`, `seq` | the label of the record: the first 48 bits of its epoch, and its number |
//!
//! VictoriaMetrics makes a series of every field: `reading_value`, `reading_quality` …
//!
//! # Invariants
//!
//! - A row that [`Append::append`](sitian_series::Append) has returned for is on the engine's disk and is seen by every
//!   query that starts afterwards, on VictoriaMetrics too, which answers 204 long before: see [`victoria`].
//! - Writing a row again changes nothing: same series, same moment.
//! - What a server would drop without a word is refused here, row by row.
//! - Answers are put together from whole rows only: a moment of which a field is missing is not answered yet.
//! - The room knows no MQTT, no registry and no files. Waiting for a server is all it does with time.
//!
//! Reading order: [`names`], `line` (text); `server`, `write` (sending); [`victoria`] and its `read`, `rows`, `windows` (asking);
//! [`fault`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod fault;
mod line;
pub mod names;
mod server;
pub mod victoria;
mod write;

pub use fault::EngineError;
pub use line::LineFault;
pub use names::{Names, Tags};
pub use server::Access;
pub use victoria::{Victoria, VictoriaReader};
pub use write::{LINES_MAX, Patience};
