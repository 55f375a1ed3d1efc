//! The bus from the program to the open streams. Feeding it never waits and never fails.
//!
//! Readings and roll-ups travel as "something changed": a stream then asks the backend for what is true now, at its own
//! pace, so a slow reader costs nothing and always ends at the newest state. Alerts travel whole, with their position in
//! the durable log; whoever falls behind catches up from that log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::backend::LogEntry;

/// Alerts kept for slow streams; a stream further behind reads the log.
const ALERTS_KEPT: usize = 256;

/// Handle of the bus. Cheap to clone; all clones are the same bus.
#[derive(Debug, Clone)]
pub struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    alerts: broadcast::Sender<Arc<LogEntry>>,
    rollups: watch::Sender<u64>,
    /// Only bases that somebody watches.
    bases: Mutex<HashMap<String, watch::Sender<u64>>>,
    closing: watch::Sender<bool>,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// A bus without streams.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            alerts: broadcast::Sender::new(ALERTS_KEPT),
            rollups: watch::Sender::new(0),
            bases: Mutex::default(),
            closing: watch::Sender::new(false),
        }))
    }

    /// These bases have new readings, already visible through the backend.
    pub fn readings_changed<'a>(&self, bases: impl IntoIterator<Item = &'a str>) {
        let mut watched = self.bases();
        if watched.is_empty() {
            return;
        }
        watched.retain(|_, sender| sender.receiver_count() > 0);
        for base in bases {
            if let Some(sender) = watched.get(base) {
                sender.send_modify(|n| *n = n.wrapping_add(1));
            }
        }
    }

    /// Some roll-up may have changed, already visible through the backend.
    pub fn rollup_changed(&self) {
        self.0.rollups.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// One more line of the alert log. Call it after the line is durable, in any order.
    pub fn alert(&self, entry: LogEntry) {
        // Nobody listening is no failure: the line is in the log.
        let _ = self.0.alerts.send(Arc::new(entry));
    }

    /// Ends every stream, now and for ever.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
    }

    pub(crate) fn watch_alerts(&self) -> broadcast::Receiver<Arc<LogEntry>> {
        self.0.alerts.subscribe()
    }

    pub(crate) fn watch_rollups(&self) -> watch::Receiver<u64> {
        self.0.rollups.subscribe()
    }

    pub(crate) fn watch_base(&self, base: &str) -> watch::Receiver<u64> {
        self.bases().entry(base.to_owned()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    pub(crate) fn watch_closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    fn bases(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<u64>>> {
        self.0.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_watchers_of_a_base_hear_of_its_readings_and_nobody_is_kept_for_ever() {
        let live = Live::new();
        live.readings_changed(["base-1"]);
        let (one, two) = (live.watch_base("base-1"), live.watch_base("base-2"));
        live.readings_changed(["base-1", "base-3"]);
        assert_eq!((one.has_changed().unwrap(), two.has_changed().unwrap()), (true, false));
        drop(one);
        live.readings_changed(["base-2"]);
        assert_eq!(live.bases().len(), 1);
    }
}
