//! One piece of work serves everybody who asked before it began: who asks while it is done shares the next one. Knows no
//! server.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::fault::EngineError;

/// Turns, by number.
#[derive(Debug, Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    begun: u64,
    running: bool,
    /// Who shares the next one.
    waiting: usize,
    /// The newest that succeeded.
    done: u64,
    /// The newest that did not, and why.
    failed: Option<(u64, Arc<EngineError>)>,
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what came of a turn that began after this was called.
    pub(super) fn take(&self, work: impl FnOnce() -> Result<(), EngineError>) -> Result<(), EngineError> {
        let mut state = self.state();
        let wanted = state.begun + 1;
        state.waiting += 1;
        while state.running {
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
            if state.done >= wanted {
                return Ok(());
            }
            if let Some((_, why)) = state.failed.as_ref().filter(|(turn, _)| *turn >= wanted) {
                return Err(EngineError::Shared(Arc::clone(why)));
            }
        }
        (state.begun, state.running) = (state.begun + 1, true);
        let (turn, sharing) = (state.begun, std::mem::take(&mut state.waiting));
        drop(state);
        tracing::trace!(turn, sharing, "a turn begins");
        let outcome = work().map_err(Arc::new);
        let mut state = self.state();
        state.running = false;
        match &outcome {
            Ok(()) => state.done = turn,
            Err(why) => state.failed = Some((turn, Arc::clone(why))),
        }
        drop(state);
        self.over.notify_all();
        outcome.map_err(EngineError::Shared)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn who_asks_while_a_turn_is_under_way_shares_the_next_one_and_its_failure() {
        for fails in [false, true] {
            let (turns, worked) = (Turns::default(), AtomicU32::new(0));
            let broken = || EngineError::Answer { url: "u".to_owned(), what: "w".to_owned() };
            let second = || {
                worked.fetch_add(1, Ordering::Relaxed);
                if fails { Err(broken()) } else { Ok(()) }
            };
            let outcomes: Vec<bool> = std::thread::scope(|scope| {
                let mut others = Vec::new();
                let first = turns.take(|| {
                    worked.fetch_add(1, Ordering::Relaxed);
                    others.extend((0..5).map(|_| scope.spawn(|| turns.take(second).is_ok())));
                    while turns.state().waiting < 5 {
                        std::thread::yield_now();
                    }
                    Ok(())
                });
                first.expect("the first does not fail");
                others.into_iter().map(|other| other.join().expect("returns")).collect()
            });
            assert_eq!((outcomes, worked.into_inner()), (vec![!fails; 5], 2), "{fails}");
        }
    }
}
