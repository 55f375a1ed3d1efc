//! Watches readings and gateways against rules and tells the story of every exceedance as an episode.
//!
//! ```text
//! Rules ──┐
//! Row ────┤                 ┌─► Change   (an episode as it is after the change; the shell makes it durable, then shows it)
//! gateway ┼─► Engine (fold) ┤
//! person ─┤                 └─► Delta    (what the shell stores with the rows, so that a restart continues exactly)
//! time ───┘
//! ```
//!
//! The engine is a deterministic fold: the same events in the same order give the same changes with the same numbers.
//! Durations of value rules are measured between sample times, never with the clock on the wall, so an outage neither
//! starts nor stretches an episode and readings that arrive late only write history.
//!
//! The room knows no files, sockets, clocks or threads, no notification channel and no tree: where a base lies in the
//! territory is told to it when a point is registered.
//!
//! Reading order: [`episode`] (what comes out), [`rule`] (what is watched), [`saved`] (what survives a restart),
//! [`engine`] (the fold).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod engine;
pub mod episode;
pub mod rule;
pub mod saved;

pub use engine::{Engine, PointLimit, Settings, WatchedPoint};
pub use episode::{AcknowledgeError, Acknowledgement, Change, ChangeKind, Episode, Phase, Severity, Subject};
pub use rule::{Condition, Rule, Rules, Scope, Side, SilenceLevel, Silent, ValueLevel, Verified, Vocabulary};
pub use saved::{About, Delta, Mark, SavedState};
