//! Giving up: whoever asked may leave before the answer is there, and then nobody should go on working for it.
//!
//! The port waits: a question is answered on one thread from beginning to end. So the wish to stop rides with the thread
//! ([`Stop::over`]), and whatever walks through many rows asks now and then whether it is [`wanted`].

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::SeriesError;

thread_local! {
    static OVER: RefCell<Option<Stop>> = const { RefCell::new(None) };
}

/// Says that an answer is no longer wanted. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says so, from any thread, for ever.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once somebody has said so.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Does work that ends early, with [`SeriesError::Stopped`], once somebody says so.
    pub fn over<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = Before(OVER.replace(Some(self.clone())));
        let done = work();
        drop(before);
        done
    }
}

/// Puts back what stood over the thread, also when work panics.
struct Before(Option<Stop>);

impl Drop for Before {
    fn drop(&mut self) {
        OVER.set(self.0.take());
    }
}

/// Whether the work of this thread is still wanted.
///
/// # Errors
/// [`SeriesError::Stopped`] if not.
pub fn wanted() -> Result<(), SeriesError> {
    let stopped = OVER.with_borrow(|over| over.as_ref().is_some_and(Stop::is_stopped));
    if stopped { Err(SeriesError::Stopped) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_under_a_stop_is_stopped_and_what_stood_before_it_comes_back() {
        let (outer, inner) = (Stop::default(), Stop::default());
        inner.stop();
        let is_wanted = || wanted().is_ok();
        let seen = outer.over(|| (is_wanted(), inner.over(is_wanted), is_wanted()));
        assert_eq!((seen, is_wanted()), ((true, false, true), true));
    }
}
