//! Backfill in bursts: send some, wait until all of it is acknowledged, then leave the link alone for a while.
//!
//! The size of a burst follows the time for which it holds up the link, so that a live reading never waits behind more than
//! about two seconds of backfill, on a fast link as on a slow one. What every message takes on a late link, a live one
//! too, is not its fault and is taken off. The pause after it is a share of that time: no estimate of the link's speed is
//! needed.

/// A burst that took less than this is followed by a larger one.
const QUICK_MS: u64 = 1000;
/// A burst that took more than this is followed by a smaller one.
const SLOW_MS: u64 = 2000;
/// No burst is smaller.
const BURST_BYTES_MIN: u64 = 4 * 1024;
/// The first one.
const BURST_BYTES_FIRST: u64 = 16 * 1024;
/// Of the time, while live readings come in.
const SHARE_PERCENT: u64 = 70;

#[derive(Debug)]
pub(crate) struct Pacing {
    bytes_max: u64,
    burst_bytes: u64,
    sent_bytes: u64,
    started_ms: Option<u64>,
    live_seen: bool,
    quiet_until_ms: u64,
    /// What a live batch takes from its start to its ack if nothing is in its way: the least of late.
    live_trip_ms: u64,
}

impl Pacing {
    pub fn new(bytes_max: u64) -> Self {
        let burst_bytes = BURST_BYTES_FIRST.min(bytes_max);
        Self {
            bytes_max,
            burst_bytes,
            sent_bytes: 0,
            started_ms: None,
            live_seen: false,
            quiet_until_ms: 0,
            live_trip_ms: 0,
        }
    }

    /// How many bytes of backfill may be read now; 0 during a pause or once the burst is complete.
    pub fn allowance(&self, now_ms: u64) -> u64 {
        if now_ms < self.quiet_until_ms { 0 } else { self.burst_bytes.saturating_sub(self.sent_bytes) }
    }

    /// The end of the pause.
    pub fn quiet_until_ms(&self) -> u64 {
        self.quiet_until_ms
    }

    /// Live readings were sent.
    pub fn handle_live(&mut self) {
        self.live_seen = true;
    }

    /// A live batch was acknowledged after so long. It may have waited behind backfill: a mean would excuse bursts with
    /// what they are to blame for.
    pub fn handle_live_trip(&mut self, took_ms: u64) {
        let so_far = self.live_trip_ms;
        self.live_trip_ms =
            if so_far == 0 || took_ms < so_far { took_ms } else { so_far + (took_ms - so_far) / 16 };
    }

    /// Backfill was sent. Even a batch without payload (a gap) uses up a little of the burst.
    pub fn handle_sent(&mut self, bytes: u64, now_ms: u64) {
        self.started_ms.get_or_insert(now_ms);
        self.sent_bytes += bytes.max(64);
    }

    /// Nothing of the backfill is under way any more.
    pub fn handle_drained(&mut self, now_ms: u64) {
        let Some(started_ms) = self.started_ms.take() else { return };
        let took_ms = now_ms.saturating_sub(started_ms);
        let held_ms = took_ms.saturating_sub(self.live_trip_ms);
        if held_ms < QUICK_MS && self.sent_bytes * 2 >= self.burst_bytes {
            self.burst_bytes = (self.burst_bytes * 2).min(self.bytes_max);
        } else if held_ms > SLOW_MS {
            self.burst_bytes = (self.burst_bytes / 2).max(BURST_BYTES_MIN.min(self.bytes_max));
        }
        if self.live_seen {
            // While the last acks were on their way back the link was free already.
            let pause_ms = (took_ms * (100 - SHARE_PERCENT)).div_ceil(SHARE_PERCENT);
            let free_ms = self.live_trip_ms.min(took_ms) * (100 - SHARE_PERCENT) / SHARE_PERCENT;
            self.quiet_until_ms = now_ms + pause_ms - free_ms;
        }
        (self.sent_bytes, self.live_seen) = (0, false);
    }

    /// What was under way is given up.
    pub fn handle_lost(&mut self) {
        if self.started_ms.take().is_some() {
            self.burst_bytes = (self.burst_bytes / 2).max(BURST_BYTES_MIN.min(self.bytes_max));
        }
        self.sent_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_link_is_not_taken_for_a_slow_one() {
        // A live trip, what a burst of 16 KiB took, the size of the next, the pause.
        for (live_ms, took_ms, burst_bytes, pause_ms) in [
            (100, 500, 32_768, 173),
            (100, 1_500, 16_384, 601),
            (100, 2_500, 8_192, 1_030),
            (2_000, 2_500, 32_768, 215),
            (2_000, 3_500, 16_384, 643),
            (2_000, 4_500, 8_192, 1_072),
            (9_000, 2_500, 32_768, 1),
        ] {
            let mut pacing = Pacing::new(1 << 20);
            pacing.handle_live_trip(live_ms);
            pacing.handle_live();
            pacing.handle_sent(BURST_BYTES_FIRST, 1_000);
            pacing.handle_drained(1_000 + took_ms);
            let pause = pacing.quiet_until_ms() - 1_000 - took_ms;
            let name = format!("{live_ms} ms live, {took_ms} ms taken");
            assert_eq!(
                (pacing.burst_bytes, pause.abs_diff(pause_ms) <= 1),
                (burst_bytes, true),
                "{name}: {pause}"
            );
        }
    }

    #[test]
    fn live_readings_that_waited_behind_backfill_do_not_excuse_it() {
        for bytes_per_s in [2_000, 8_000, 30_000] {
            let mut pacing = Pacing::new(1 << 20);
            let (mut now_ms, mut longest_ms) = (0, 0);
            for burst in 0..400 {
                // A live batch every second: some come in a pause, and the others wait for the end of the burst.
                let quiet_until_ms = pacing.quiet_until_ms().max(now_ms);
                let seconds = |from: u64, to: u64| (from.next_multiple_of(1_000)..to).step_by(1_000);
                seconds(now_ms, quiet_until_ms).for_each(|_| {
                    pacing.handle_live();
                    pacing.handle_live_trip(50);
                });
                let bytes = pacing.allowance(quiet_until_ms);
                now_ms = quiet_until_ms + bytes * 1_000 / bytes_per_s;
                pacing.handle_sent(bytes, quiet_until_ms);
                seconds(quiet_until_ms, now_ms).for_each(|live_ms| {
                    pacing.handle_live();
                    pacing.handle_live_trip(now_ms - live_ms + 50);
                });
                pacing.handle_drained(now_ms);
                longest_ms = longest_ms.max(if burst > 200 { now_ms - quiet_until_ms } else { 0 });
            }
            assert!((500..2_600).contains(&longest_ms), "{bytes_per_s} bytes/s: {longest_ms} ms");
        }
    }
}
