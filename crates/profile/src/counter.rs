//! Counters of devices that wrap and are reset (rain, energy, volume), turned into a total that only grows.
//!
//! ```text
//! device   9.8  9.9  10.0 ─wrap─ 0.1  0.2 ─reset─ 0.0   0.1
//! total    9.8  9.9  10.0        10.1 10.2        10.2  10.3      differences are the rain that fell
//! ```
//!
//! What holds:
//! - The first reading of a counter is its total, so that meter and console show the same until the first wrap.
//! - A step back that is a plausible step forward over the wrap is a wrap, and believed at once.
//! - Any other step back is believed when the next reading confirms it: until then it is uncertain. What was counted
//!   between the last reading and the reset is lost, since nobody saw it; what was counted since is kept.
//! - A step forward that is larger than the device can count in that time is uncertain, and believed when confirmed.
//! - The total never falls. What must be kept over a restart is [`Total::state`]: after it, the first reading is compared
//!   with the last one before, and a wrap or reset in between is found like any other.

use sitian_model::{Cause, Quality};

use crate::{Counter, Decimal, ProfilePoint};

/// A step is measured against a time of at least this, so that two readings in a row do not count as instantaneous.
const ELAPSED_MS_MIN: u64 = 60_000;
const HOUR_MS: f64 = 3_600_000.0;

/// What a total has to remember, also over a restart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TotalState {
    /// Added to what the device counts, in the point's unit.
    pub carried: f64,
    /// The last count that was believed, in the point's unit.
    pub last: f64,
    /// When that was, in milliseconds of any clock that goes on.
    pub at_ms: u64,
}

/// What happened at a reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Nothing of note.
    Counted,
    /// The counter began at 0 again after its highest count.
    Wrapped,
    /// The counter was reset, or the device exchanged.
    Reset,
    /// Not believed before the next reading confirms it.
    Doubtful,
}

/// The total of one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Total {
    hourly_max: f64,
    /// What one turn of the counter is in the point's unit, without its offset.
    turn: Option<f64>,
    state: Option<TotalState>,
    /// A count that was not believed yet.
    doubtful: Option<f64>,
}

impl Total {
    /// The total of this point, if it is a counter. `state` is what an earlier one left behind.
    pub fn of(point: &ProfilePoint, state: Option<TotalState>) -> Option<Self> {
        let Counter { wrap, hourly_max } = point.counter?;
        let turn = wrap.and_then(|wrap| Decimal::integer(i128::from(wrap)).times(point.scale));
        Some(Self { hourly_max, turn: turn.map(|turn| turn.to_f64().abs()), state, doubtful: None })
    }

    /// What has to be kept for the next start; `None` before the first reading.
    pub fn state(&self) -> Option<TotalState> {
        self.state
    }

    /// Takes what the device counts now, in the point's unit, and gives the total with its quality.
    pub fn handle_count(&mut self, count: f64, now_ms: u64) -> (f64, Quality, Step) {
        let Some(state) = &mut self.state else {
            self.state = Some(TotalState { carried: 0.0, last: count, at_ms: now_ms });
            return (count, Quality::Good, Step::Counted);
        };
        let elapsed_ms = now_ms.saturating_sub(state.at_ms).max(ELAPSED_MS_MIN);
        let believable = self.hourly_max * elapsed_ms as f64 / HOUR_MS;
        let step = sum(count, -state.last);
        let over_the_wrap = self.turn.map(|turn| sum(turn, step));
        let confirmed = self.doubtful.is_some_and(|before| {
            let since = sum(count, -before);
            (0.0..=believable).contains(&since)
        });
        let (added, what) = match over_the_wrap {
            _ if (0.0..=believable).contains(&step) => (0.0, Step::Counted),
            Some(added) if step < 0.0 && added <= believable => (self.turn.unwrap_or(0.0), Step::Wrapped),
            _ if !confirmed => {
                self.doubtful = Some(count);
                return (
                    sum(state.carried, state.last),
                    Quality::Uncertain(Cause::Implausible),
                    Step::Doubtful,
                );
            }
            _ if step < 0.0 => (state.last, Step::Reset),
            _ => (0.0, Step::Counted),
        };
        self.doubtful = None;
        *state = TotalState { carried: sum(state.carried, added), last: count, at_ms: now_ms };
        (sum(state.carried, count), Quality::Good, what)
    }
}

/// The sum as the decimals say it, not as binary makes it.
fn sum(a: f64, b: f64) -> f64 {
    let exact = || Decimal::of_f64(a)?.plus(Decimal::of_f64(b)?);
    exact().map_or(a + b, Decimal::to_f64)
}

#[cfg(test)]
mod tests;
