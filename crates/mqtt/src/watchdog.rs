//! Notices a connection that is alive for TCP but makes no progress. The library below can wait for ever for a packet id
//! that no PUBACK will free; only a new client helps then.

use std::time::Duration;

use tokio::time::Instant;

/// What has been heard, and since when something has been owed.
#[derive(Debug)]
pub(crate) struct Watchdog {
    patience: Duration,
    heard: Instant,
    owed_since: Option<Instant>,
}

impl Watchdog {
    pub(crate) fn new(patience: Duration, now: Instant) -> Self {
        Self { patience, heard: now, owed_since: None }
    }

    /// Any packet came in.
    pub(crate) fn handle_packet(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The broker has answered something it owed.
    pub(crate) fn handle_progress(&mut self, now: Instant) {
        self.heard = now;
        self.owed_since = None;
    }

    /// We ourselves did not look for a while: the broker is not to blame for the time before.
    pub(crate) fn handle_pause(&mut self, now: Instant) {
        self.heard = now;
        self.owed_since = self.owed_since.map(|_| now);
    }

    /// Why the connection has to go, if it has to. `owed`: how many answers the broker owes us.
    pub(crate) fn stalled(&mut self, owed: u32, now: Instant) -> Option<String> {
        if owed == 0 {
            self.owed_since = None;
        } else if now.duration_since(*self.owed_since.get_or_insert(now)) > self.patience {
            return Some(format!("stalled: {owed} unanswered for {} s", self.patience.as_secs()));
        }
        let silent = now.duration_since(self.heard) > self.patience;
        silent.then(|| format!("nothing heard for {} s", self.patience.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        Packet,
        Progress,
        Pause,
        Look(u32, bool),
    }
    use Step::{Look, Packet, Pause, Progress};

    fn check(steps: &[(u64, Step)]) {
        let zero = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(40), zero);
        for (second, step) in steps {
            let now = zero + Duration::from_secs(*second);
            match step {
                Packet => watchdog.handle_packet(now),
                Progress => watchdog.handle_progress(now),
                Pause => watchdog.handle_pause(now),
                Look(owed, stalled) => {
                    assert_eq!(watchdog.stalled(*owed, now).is_some(), *stalled, "at {second} s")
                }
            }
        }
    }

    #[test]
    fn silence_is_a_stall_and_any_packet_ends_it() {
        check(&[(40, Look(0, false)), (41, Look(0, true))]);
        check(&[(30, Packet), (70, Look(0, false)), (71, Look(0, true))]);
    }

    #[test]
    fn pings_do_not_excuse_answers_that_never_come() {
        check(&[(0, Look(1, false)), (20, Packet), (40, Packet), (40, Look(1, false)), (41, Look(9, true))]);
    }

    #[test]
    fn each_answer_buys_time_for_the_rest() {
        for (second, stalled) in [(76, false), (77, true)] {
            let (first, last) = (Look(2, false), Look(1, stalled));
            check(&[(0, first), (35, Progress), (36, Look(1, false)), (70, Packet), (second, last)]);
        }
    }

    #[test]
    fn our_own_pause_is_not_the_brokers_fault() {
        check(&[(0, Look(2, false)), (500, Pause), (540, Look(2, false)), (541, Look(2, true))]);
    }
}
