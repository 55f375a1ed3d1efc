//! What is stored together or not at all.

use sitian_alert::{Change, Delta};
use sitian_ingest::Effect;
use sitian_model::Timestamp;

/// One durable step: what was admitted and what the alert engine made of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transaction {
    /// From `ingest`, in its order.
    pub effects: Vec<Effect>,
    /// From the alert engine, in its order; each becomes one line of the alert log.
    pub alerts: Vec<Change>,
    /// The alert engine's memory as far as it changed.
    pub alert_state: Delta,
    /// The server's clock.
    pub at: Timestamp,
}

impl Transaction {
    /// True if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.alerts.is_empty() && self.alert_state.is_empty()
    }
}

/// Said of a transaction once it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// The alert log's cursor for each of [`Transaction::alerts`], strictly increasing.
    pub alert_cursors: Vec<u64>,
}
