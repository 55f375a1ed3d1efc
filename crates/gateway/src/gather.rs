//! Collects samples into records: one record per poll round, at most one reading per point in it, at most half a second
//! old when it is sealed. Knows no disk and no wire format.

use std::collections::HashSet;

use sitian_model::{PointIndex, Reading, Record, Timestamp};
use sitian_poll::Sample;

/// A record is sealed this long after its first reading.
pub const WINDOW_MS: u64 = 500;
/// A record never holds more readings than this.
const READINGS_MAX: usize = 2_000;

/// The record under construction.
#[derive(Default)]
pub struct Gather {
    opened_ms: u64,
    points: HashSet<PointIndex>,
    readings: Vec<Reading>,
}

impl Gather {
    /// Takes a sample that arrived at `mono_ms`, which is `at` on the wall; returns the readings of the record that
    /// had to be sealed to make room.
    pub fn add(&mut self, sample: &Sample, mono_ms: u64, at: Timestamp) -> Option<(u64, Vec<Reading>)> {
        let full = self.readings.len() >= READINGS_MAX || self.points.contains(&sample.point);
        let sealed = if full { self.seal() } else { None };
        if self.readings.is_empty() {
            self.opened_ms = mono_ms;
        }
        self.points.insert(sample.point);
        self.readings.push(Reading { point: sample.point, at, value: sample.value, quality: sample.quality });
        sealed
    }

    /// When [`Self::seal`] is due, in monotonic milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        (!self.readings.is_empty()).then_some(self.opened_ms + WINDOW_MS)
    }

    /// The monotonic moment of the first reading and the readings, if there are any.
    pub fn seal(&mut self) -> Option<(u64, Vec<Reading>)> {
        self.points.clear();
        let readings = std::mem::take(&mut self.readings);
        (!readings.is_empty()).then_some((self.opened_ms, readings))
    }
}

/// Completes a record with what the clock knows.
pub fn record(clock: &crate::clock::BoardClock, mono_ms: u64, readings: Vec<Reading>) -> Record {
    Record { boot: clock.boot(), mono_ms, uncertainty_ms: clock.uncertainty_ms(), readings }
}
