//! What people ask about alerts, and a line of their log.

use sitian_alert::{Change, Phase, Severity};
use sitian_model::{BaseId, Timestamp};

/// One line of the alert log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// Position; strictly increasing from 1, never reused.
    pub cursor: u64,
    /// What happened and the episode as it was afterwards.
    pub change: Change,
    /// When it was stored, by the server's clock.
    pub at: Timestamp,
}

/// Which episodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EpisodeFilter {
    /// Those at one of these bases; all, also those without a base, if `None`.
    pub bases: Option<Vec<BaseId>>,
    /// In one of the phases; any if `None`.
    pub phase: Option<PhaseFilter>,
    /// Of exactly this severity; any if `None`.
    pub severity: Option<Severity>,
    /// Only those with a smaller number: the last of the page before.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Which phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseFilter {
    /// Pending or firing.
    Open,
    /// Exactly this one.
    Only(Phase),
}
