//! Room `store-embedded`: under construction.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alerts;
mod chunk;
mod fault;
mod head;
mod journal;
mod kept;
mod lock;
mod manifest;
mod marks;
mod merge;
mod reader;
mod registry;
mod schema;
mod store;
mod transaction;
mod varint;

pub use alerts::{EpisodeFilter, LogLine, PhaseFilter};
pub use fault::StoreError;
pub use reader::Reader;
pub use registry::{GapStored, IncidentStored, QuarantineStored};
pub use store::{Extent, SealLimits, Store};
pub use transaction::{Committed, Transaction};
