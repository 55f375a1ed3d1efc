//! Bounds what silence may cost a bus: a budget of airtime for devices that do not answer, and the state of the port.

/// Lost time may be at most one tenth of all time.
pub(crate) const SHARE: u64 = 10;
/// However much was lost at once, probing goes on after this long.
const CLEAR_MS_MAX: u64 = 60_000;
const DOWN_MS_MIN: u64 = 250;
const DOWN_MS_MAX: u64 = 4_000;

/// What the bus as a whole suffers from.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// Lost time up to this much may be spent at once.
    burst_ms: u64,
    /// When all lost time will have been paid back at the allowed share.
    clear_at: u64,
    /// Since when the budget has been exhausted.
    since: u64,
    /// While the port is down: when to try it again, and how long that wait was.
    down: Option<(u64, u64)>,
}

impl Trouble {
    pub(crate) fn new(burst_ms: u64) -> Self {
        Self { burst_ms, clear_at: 0, since: 0, down: None }
    }

    /// Time went by without an answer.
    pub(crate) fn spend(&mut self, lost_ms: u64, now: u64) {
        let before = self.exhausted(now);
        let burst_clear = now + SHARE * self.burst_ms;
        self.clear_at = (self.clear_at.max(now) + SHARE * lost_ms).min(burst_clear + CLEAR_MS_MAX);
        if !before && self.exhausted(now) {
            self.since = now;
        }
    }

    /// True if no more time may be lost now.
    pub(crate) fn exhausted(&self, now: u64) -> bool {
        self.clear_at > now + SHARE * self.burst_ms
    }

    /// When the budget was exhausted last.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    /// How long a silent device has to wait so that `silent` of them get their turns within the budget.
    pub(crate) fn turn_ms(silent: u64, lost_ms: u64) -> u64 {
        SHARE * silent * lost_ms
    }

    /// The port or socket is down: it is tried again after a wait that doubles.
    pub(crate) fn port_down(&mut self, now: u64) {
        let wait = self.down.map_or(DOWN_MS_MIN, |(_, wait)| (wait * 2).min(DOWN_MS_MAX));
        self.down = Some((now + wait, wait));
    }

    /// Something came through the port.
    pub(crate) fn port_up(&mut self) {
        self.down = None;
    }

    /// True while the port is not worth trying.
    pub(crate) fn is_down(&self, now: u64) -> bool {
        self.down.is_some_and(|(until, _)| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_time_is_paid_back_at_one_tenth_beyond_the_burst() {
        let mut trouble = Trouble::new(1_000);
        for (now, lost, exhausted) in
            [(0, 500, false), (0, 500, false), (0, 100, true), (999, 0, true), (1_000, 0, false)]
        {
            trouble.spend(lost, now);
            assert_eq!(trouble.exhausted(now), exhausted, "{now}");
        }
        assert_eq!(trouble.since(), 0);
        trouble.spend(1_000_000, 2_000);
        assert!(trouble.exhausted(61_999) && !trouble.exhausted(62_000));
        assert_eq!(trouble.since(), 2_000);
    }

    #[test]
    fn a_port_that_is_down_is_tried_again_at_doubling_distances() {
        let mut trouble = Trouble::new(1_000);
        let mut now = 0;
        for wait in [250, 500, 1_000, 2_000, 4_000, 4_000] {
            trouble.port_down(now);
            assert!(trouble.is_down(now + wait - 1) && !trouble.is_down(now + wait));
            now += wait;
        }
        trouble.port_up();
        assert!(!trouble.is_down(now));
        trouble.port_down(now);
        assert!(!trouble.is_down(now + 250));
    }
}
