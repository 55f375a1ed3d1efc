//! Backfill in bursts: send some, wait until all of it is acknowledged, then leave the link alone for a while.
//!
//! The size of a burst follows the time it takes, so that a live reading never waits behind more than about two
//! seconds of backfill, on a fast link as on a slow one. The pause after it is a share of that time: no estimate of
//! the link's speed is needed.

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
}

impl Pacing {
    pub fn new(bytes_max: u64) -> Self {
        let burst_bytes = BURST_BYTES_FIRST.min(bytes_max);
        Self { bytes_max, burst_bytes, sent_bytes: 0, started_ms: None, live_seen: false, quiet_until_ms: 0 }
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

    /// Backfill was sent. Even a batch without payload (a gap) uses up a little of the burst.
    pub fn handle_sent(&mut self, bytes: u64, now_ms: u64) {
        self.started_ms.get_or_insert(now_ms);
        self.sent_bytes += bytes.max(64);
    }

    /// Nothing of the backfill is under way any more.
    pub fn handle_drained(&mut self, now_ms: u64) {
        let Some(started_ms) = self.started_ms.take() else { return };
        let took_ms = now_ms.saturating_sub(started_ms);
        if took_ms < QUICK_MS && self.sent_bytes * 2 >= self.burst_bytes {
            self.burst_bytes = (self.burst_bytes * 2).min(self.bytes_max);
        } else if took_ms > SLOW_MS {
            self.burst_bytes = (self.burst_bytes / 2).max(BURST_BYTES_MIN.min(self.bytes_max));
        }
        if self.live_seen {
            self.quiet_until_ms = now_ms + (took_ms * (100 - SHARE_PERCENT)).div_ceil(SHARE_PERCENT);
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
