//! Completeness of the last hour: how many readings the polling intervals promised, how many are stored.
//!
//! Counted in whole minutes of sample time, so that a reading that arrives late within the hour still counts. The hour
//! ends a few seconds ago, at a full minute: what is still under way is not missing.

use std::collections::BTreeMap;

use sitian_model::Timestamp;

const MINUTE_MS: i64 = 60_000;
const HOUR_MINUTES: i64 = 60;
/// Readings have this long to arrive before they are missed, in milliseconds.
const SETTLE_MS: i64 = 5_000;
/// The ring holds the hour, what is newer than it, and readings dated a few minutes ahead.
const RING_MINUTES: i64 = 72;
/// Promised readings are counted in fractions of this, so that adding and removing points is exact.
const ONE: i128 = 1 << 40;

/// How much of what should be there is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Completeness {
    /// Readings that the polling intervals promise.
    pub expected: u64,
    /// Readings stored with a value: good and uncertain ones.
    pub stored: u64,
}

impl Completeness {
    /// `stored / expected`, at most 1; `None` if nothing is expected.
    pub fn ratio(&self) -> Option<f64> {
        (self.expected > 0).then(|| (self.stored as f64 / self.expected as f64).min(1.0))
    }
}

/// The last hour of one node.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Readings per minute; the minute `m` lives at `m % RING_MINUTES`.
    stored: [u32; RING_MINUTES as usize],
    /// The newest minute in the ring.
    newest: i64,
    /// What all points promise per millisecond.
    rate: i128,
    /// Points registered in a minute: what they promise per millisecond, and that times their moment of registration.
    young: BTreeMap<i64, (i128, i128)>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            stored: [0; RING_MINUTES as usize],
            newest: i64::MIN / MINUTE_MS,
            rate: 0,
            young: BTreeMap::new(),
        }
    }
}

impl Ledger {
    /// A point promises readings from `since` on.
    pub fn promise(&mut self, interval_ms: u32, since: Timestamp) {
        self.change(rate(interval_ms), since);
    }

    /// Takes a promise back; the arguments are those of [`Self::promise`].
    pub fn withdraw(&mut self, interval_ms: u32, since: Timestamp) {
        self.change(-rate(interval_ms), since);
    }

    /// A reading with a value is stored. Readings too old for the ring are none of the last hour.
    pub fn count(&mut self, at: Timestamp) {
        let minute = at.0.div_euclid(MINUTE_MS);
        if minute <= self.newest.saturating_sub(RING_MINUTES) {
            return;
        }
        if minute > self.newest {
            let fresh = (minute - self.newest.max(minute - RING_MINUTES)).min(RING_MINUTES);
            for m in minute - fresh + 1..=minute {
                self.stored[slot(m)] = 0;
            }
            self.newest = minute;
        }
        let count = &mut self.stored[slot(minute)];
        *count = count.saturating_add(1);
    }

    /// Forgets when the points were registered that have been there for the whole hour.
    pub fn prune(&mut self, now: Timestamp) {
        self.young = self.young.split_off(&hour(now).0);
    }

    /// The last hour as of `now`.
    pub fn completeness(&self, now: Timestamp) -> Completeness {
        let (from, to) = hour(now);
        let held = |minute: &i64| *minute <= self.newest && *minute > self.newest - RING_MINUTES;
        let stored = (from..to).filter(held).map(|minute| u64::from(self.stored[slot(minute)])).sum();
        let (from_ms, to_ms) = (i128::from(from * MINUTE_MS), i128::from(to * MINUTE_MS));
        let mut promised = self.rate * (to_ms - from_ms);
        for (minute, (rate, rate_since)) in self.young.range(from..) {
            promised -= if *minute < to { rate_since - rate * from_ms } else { rate * (to_ms - from_ms) };
        }
        Completeness { expected: ((promised.max(0) + ONE / 2) / ONE) as u64, stored }
    }

    fn change(&mut self, rate: i128, since: Timestamp) {
        self.rate += rate;
        let young = self.young.entry(since.0.div_euclid(MINUTE_MS)).or_default();
        young.0 += rate;
        young.1 += rate * i128::from(since.0);
        if young.0 == 0 {
            self.young.remove(&since.0.div_euclid(MINUTE_MS));
        }
    }
}

/// The moment at which the numbers change next.
pub fn next_change(now: Timestamp) -> Timestamp {
    Timestamp((hour(now).1 + 1).saturating_mul(MINUTE_MS).saturating_add(SETTLE_MS))
}

/// First minute inside and first minute outside of the hour that ends at `now`.
fn hour(now: Timestamp) -> (i64, i64) {
    let to = now.0.saturating_sub(SETTLE_MS).div_euclid(MINUTE_MS);
    (to - HOUR_MINUTES, to)
}

fn rate(interval_ms: u32) -> i128 {
    ONE / i128::from(interval_ms.max(1))
}

fn slot(minute: i64) -> usize {
    minute.rem_euclid(RING_MINUTES) as usize
}

#[cfg(test)]
mod tests;
