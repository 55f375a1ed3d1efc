//! How long to wait before the next attempt: full jitter, so that a thousand gateways do not return in step.

use std::time::Duration;

/// Doubling limit below which each pause is drawn.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    limit: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min: min.min(max), max, limit: min.min(max) }
    }

    /// Starts over with short pauses.
    pub(crate) fn reset(&mut self) {
        self.limit = self.min;
    }

    /// The next pause. `draw` is uniform in 0..1.
    pub(crate) fn pause(&mut self, draw: f64) -> Duration {
        let pause = self.limit.mul_f64(draw.clamp(0.0, 1.0));
        self.limit = self.limit.saturating_mul(2).min(self.max);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
        let mut pauses = |draw| (0..5).map(|_| backoff.pause(draw).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(1.0), [200, 400, 800, 1000, 1000]);
        assert_eq!(pauses(0.5), [500, 500, 500, 500, 500]);
        assert_eq!(pauses(0.0), [0; 5]);
        backoff.reset();
        assert_eq!(backoff.pause(1.0).as_millis(), 200);
    }
}
