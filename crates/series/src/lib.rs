//! The time-series port: what an engine answers, in which words, and the contract suite that every engine passes.
//!
//! ```text
//!                       ┌ latest(points)                    newest row of each point
//!                       │ range(point, span, limit, after)  rows in order, page by page; walk: all of them, one by one
//!  api, supervision ──► ┤ aggregate(point, span, window)    one Window each, holes included, completeness beside it
//!                       └ outline(point, span, columns)     the rows that a picture shows
//!  ingestor ─────────── ► append(rows)                      idempotent; what an engine refuses comes back row by row
//!                                   │ traits Series, Append
//!            ┌──────────────────────┼───────────────────────┐
//!      store-embedded         other engines        contract::Reference (a Vec, for tests)
//! ```
//!
//! The law of the port:
//! - A row's natural key is (point, at, epoch, seq). Storing a key again changes nothing.
//! - Rows come out in the order (at, epoch, seq), whatever the order in which they went in.
//! - A query that starts after an append has returned sees the rows of that append.
//! - The latest row is the one that comes last in that order, so late data never replaces it.
//! - A hole in the data is a window with a count of zero, never a missing window and never a number.
//!
//! The room knows no files, sockets, clocks, threads or storage engines.
//!
//! Reading order: [`append`] (writing), [`query`] (questions and answers), [`window`] (aggregation), [`outline`]
//! (pictures), [`retention`] (how long what is kept), [`stop`] (giving up), [`missing`] (why a reading is not there), [`contract`] (what every
//! engine must do).

pub mod append;
pub mod contract;
pub mod missing;
pub mod outline;
pub mod query;
pub mod retention;
pub mod stop;
pub mod window;

pub use append::{Append, AppendError, Refused};
pub use missing::{Lack, Loss, Missing};
pub use outline::{Outline, OutlineQuery};
pub use query::{Cursor, Page, QueryFault, RangeQuery, Series, SeriesError};
pub use retention::{Class, Retention};
pub use stop::Stop;
pub use window::{AggregateQuery, Completeness, Extras, Permille, Window, WindowFold};
