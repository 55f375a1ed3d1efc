//! The write side of an engine. It does not know transactions: an engine that keeps watermarks beside its rows has its
//! own, and an engine that does not is written to first, the watermark afterwards.

use std::error::Error;

use sitian_model::Row;

/// Stores rows. Like the read side it waits, and an engine behind HTTP retries inside as far as it makes sense there.
pub trait Append {
    /// Stores rows; when it returns, all but the refused ones are durable, and new queries see them. Appending a row
    /// again changes nothing, so that a caller who does not know how far it came may begin anew.
    ///
    /// # Errors
    /// The engine cannot take them: some of the rows may be stored, none is known to be.
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError>;
}

/// A row that the engine will never take. The caller keeps it elsewhere (quarantine) and goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Position in what was appended.
    pub index: usize,
    /// The engine's words.
    pub why: String,
}

/// Why rows were not stored, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The engine is down, busy or full: append the same rows again later, and take no more from gateways until then.
    #[error("store the rows now")]
    Later {
        /// How long the engine asks to be left alone, in milliseconds.
        retry_after_ms: Option<u64>,
        /// What happened.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A person has to act (a wrong token, a missing bucket, a damaged file): trying again changes nothing.
    #[error("store the rows")]
    Never(#[source] Box<dyn Error + Send + Sync>),
}
