//! What a stored reading should have said, who says so, and what it said before.

use crate::{Row, Timestamp};

/// A new value for a stored row.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// The row as it should be; its point, time and label name the one that is there.
    pub row: Row,
    /// Who says so.
    pub by: String,
    /// Why.
    pub note: String,
    /// When that was said.
    pub at: Timestamp,
}

/// A correction that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrectionStored {
    /// Its number; later ones have higher numbers.
    pub id: u64,
    /// What was said.
    pub correction: Correction,
    /// What the row said before.
    pub before: Row,
}
