//! Collects samples into records: one record per poll round, at most one reading per point in it, at most half a second
//! old when it is sealed. A reading is stamped when its record is sealed, all of a record by one clock: were it stamped
//! before, a clock that becomes known in between would vouch for a time that it never saw. Knows no disk and no wire
//! format.

use std::collections::HashSet;

use sitian_model::{PointIndex, Reading, Record};
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
    samples: Vec<(u64, Sample)>,
}

/// What is to become one record: samples with the monotonic milliseconds of their arrival; never empty.
pub struct Gathered {
    opened_ms: u64,
    samples: Vec<(u64, Sample)>,
}

impl Gather {
    /// Takes a sample that arrived at `mono_ms`; returns what had to be sealed to make room.
    pub fn add(&mut self, sample: &Sample, mono_ms: u64) -> Option<Gathered> {
        let full = self.samples.len() >= READINGS_MAX || self.points.contains(&sample.point);
        let sealed = if full { self.seal() } else { None };
        if self.samples.is_empty() {
            self.opened_ms = mono_ms;
        }
        self.points.insert(sample.point);
        self.samples.push((mono_ms, *sample));
        sealed
    }

    /// When [`Self::seal`] is due, in monotonic milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        (!self.samples.is_empty()).then_some(self.opened_ms + WINDOW_MS)
    }

    /// What was gathered, if anything.
    pub fn seal(&mut self) -> Option<Gathered> {
        self.points.clear();
        let samples = std::mem::take(&mut self.samples);
        (!samples.is_empty()).then_some(Gathered { opened_ms: self.opened_ms, samples })
    }
}

/// Stamps what was gathered with what the clock knows now.
pub fn record(clock: &crate::clock::BoardClock, gathered: &Gathered) -> Record {
    let reading = |(mono_ms, sample): &(u64, Sample)| Reading {
        point: sample.point,
        at: clock.wall(*mono_ms),
        value: sample.value,
        quality: sample.quality,
    };
    Record {
        boot: clock.boot(),
        mono_ms: gathered.opened_ms,
        uncertainty_ms: clock.uncertainty_ms(),
        readings: gathered.samples.iter().map(reading).collect(),
    }
}
