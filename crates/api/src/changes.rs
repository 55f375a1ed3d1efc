//! Turns "something changed", however often it is said, into what is new, at most so often.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Waits for changes and then lets at least `pause` lie between two of them.
pub struct Pulse {
    changed: watch::Receiver<u64>,
    pause: Duration,
    rest_until: Option<Instant>,
}

impl Pulse {
    /// The first change passes at once.
    pub fn new(changed: watch::Receiver<u64>, pause: Duration) -> Self {
        Self { changed, pause, rest_until: None }
    }

    /// True at the next change; false when no more can come.
    pub async fn next(&mut self) -> bool {
        if self.changed.changed().await.is_err() {
            return false;
        }
        if let Some(until) = self.rest_until {
            tokio::time::sleep_until(until).await;
            self.changed.mark_unchanged();
        }
        // tokio's clock, so that a test may stop it.
        self.rest_until = Some(Instant::now() + self.pause);
        true
    }
}

/// What a stream has shown so far.
pub struct Picture<T>(HashMap<String, T>);

impl<T> Default for Picture<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: PartialEq> Picture<T> {
    /// The items that differ from what was shown under their key, and remembers them. Items differ if their essence does.
    pub fn news(&mut self, items: Vec<T>, key: impl Fn(&T) -> String, essence: impl Fn(&T) -> T) -> Vec<T> {
        let is_new = |item: &T| {
            let essence = essence(item);
            match self.0.get_mut(&key(item)) {
                Some(shown) if *shown == essence => false,
                Some(shown) => {
                    *shown = essence;
                    true
                }
                None => {
                    self.0.insert(key(item), essence);
                    true
                }
            }
        };
        let mut is_new = is_new;
        items.into_iter().filter(|item| is_new(item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_in_essence_is_news() {
        let mut picture = Picture::default();
        let mut check = |items: &[(&str, i32, i32)], expected: usize| {
            let items = items.iter().map(|(k, v, age)| (k.to_string(), *v, *age)).collect();
            assert_eq!(picture.news(items, |i| i.0.clone(), |i| (i.0.clone(), i.1, 0)).len(), expected);
        };
        check(&[("a", 1, 0), ("b", 1, 0)], 2);
        check(&[("a", 1, 5), ("b", 2, 5)], 1);
        check(&[("a", 1, 9), ("b", 2, 9), ("c", 0, 0)], 1);
        check(&[], 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_become_one_beat_per_pause() {
        let sender = watch::Sender::new(0);
        let mut changed = sender.subscribe();
        changed.mark_changed();
        let mut pulse = Pulse::new(changed, Duration::from_secs(1));
        let start = Instant::now();
        for beat in 0..3 {
            assert!(pulse.next().await);
            assert_eq!(start.elapsed().as_secs(), beat);
            (0..100).for_each(|_| sender.send_modify(|n| *n += 1));
        }
        drop(sender);
        assert!(pulse.next().await);
        assert!(!pulse.next().await);
    }
}
