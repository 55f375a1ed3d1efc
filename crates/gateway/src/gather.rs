//! Collects samples into records: one record per poll round, at most one reading per point in it, at most half a second
//! old when it is sealed. A reading is stamped when its record is sealed, all of a record by one clock: were it stamped
//! before, a clock that becomes known in between would vouch for a time that it never saw. Two readings of a point never
//! bear one moment: a late answer and the word about the rounds that were missed meanwhile come together, and engines of
//! readings keep one row of a point at a moment. Knows no disk and no wire format.

use std::collections::{HashMap, HashSet};

use sitian_model::{Cause, PointIndex, Quality, Reading, Record, Span, Timestamp};
use sitian_poll::Sample;

/// A record is sealed this long after its first reading.
pub const WINDOW_MS: u64 = 500;
/// A record never holds more readings than this.
const READINGS_MAX: usize = 2_000;
/// Samples of a point lie at least so far apart: two, because the wall time of monotonic zero is worked out from two clocks
/// in whole milliseconds, and so differs by one from time to time.
const APART_MS: u64 = 2;
/// A device's clock may be so far ahead of ours; beyond that its time is not believed.
const AHEAD_MS_MAX: i64 = 600_000;

/// The record under construction.
#[derive(Default)]
pub struct Gather {
    opened_ms: u64,
    points: HashSet<PointIndex>,
    samples: Vec<Gathering>,
    /// When the last sample of each point arrived, whichever record it is in.
    arrived: HashMap<PointIndex, u64>,
}

/// A sample, the monotonic milliseconds of its arrival, and when it was taken if the device itself says so.
type Gathering = (u64, Option<Timestamp>, Sample);

/// What is to become one record: never empty.
pub struct Gathered {
    opened_ms: u64,
    samples: Vec<Gathering>,
}

impl Gather {
    /// Takes a sample that arrived at `mono_ms`; returns what had to be sealed to make room. `at` is when the device says
    /// that it was taken.
    pub fn add(&mut self, sample: &Sample, mono_ms: u64, at: Option<Timestamp>) -> Option<Gathered> {
        let full = self.samples.len() >= READINGS_MAX || self.points.contains(&sample.point);
        let sealed = if full { self.seal() } else { None };
        let last = self.arrived.get(&sample.point);
        let mono_ms = last.map_or(mono_ms, |last| mono_ms.max(last + APART_MS));
        self.arrived.insert(sample.point, mono_ms);
        if self.samples.is_empty() {
            self.opened_ms = mono_ms;
        }
        self.points.insert(sample.point);
        self.samples.push((mono_ms, at, *sample));
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
    let reading = |(mono_ms, taken, sample): &Gathering| {
        let arrived = clock.wall(*mono_ms);
        let (at, quality) = match taken {
            Some(taken) if taken.since_ms(arrived) <= AHEAD_MS_MAX => (*taken, sample.quality),
            Some(_) => (arrived, doubted(sample.quality)),
            None => (arrived, sample.quality),
        };
        Reading { point: sample.point, at, value: sample.value, quality }
    };
    Record {
        boot: clock.boot(),
        mono_ms: gathered.opened_ms,
        uncertainty_ms: clock.uncertainty_ms(),
        readings: gathered.samples.iter().map(reading).collect(),
    }
}

/// From the first to the last moment that a record has to do with, its acceptance among them: what a device remembers from
/// long ago is not to be forgotten as soon as it is stored.
pub fn span(clock: &crate::clock::BoardClock, record: &Record) -> Span {
    if record.uncertainty_ms.is_none() {
        return Span::UNKNOWN;
    }
    let accepted = clock.wall(record.mono_ms);
    let (from, last) = record
        .readings
        .iter()
        .fold((accepted, accepted), |(from, last), reading| (from.min(reading.at), last.max(reading.at)));
    Span { from, to: last.plus_ms(1) }
}

/// The quality of a reading whose time is not known for sure.
fn doubted(quality: Quality) -> Quality {
    if quality == Quality::Good { Quality::Uncertain(Cause::ClockUnknown) } else { quality }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_samples_of_a_point_never_bear_one_moment_even_if_they_come_together() {
        let sample = |point| Sample { point, value: None, quality: Quality::Bad(Cause::BusOverrun) };
        let mut gather = Gather::default();
        let mut sealed = Vec::new();
        // Point and moment of arrival: an answer that was late, two words about missed rounds, and the next answer.
        for (point, mono_ms) in [(0, 700), (1, 700), (0, 700), (1, 700), (0, 701), (0, 703), (0, 800)] {
            sealed.extend(gather.add(&sample(point), mono_ms, None));
        }
        sealed.extend(gather.seal());
        let told: Vec<(u64, Vec<(PointIndex, u64)>)> = sealed
            .iter()
            .map(|gathered| {
                let samples = gathered.samples.iter();
                (gathered.opened_ms, samples.map(|(ms, _, sample)| (sample.point, *ms)).collect())
            })
            .collect();
        let expected = [
            (700, vec![(0, 700), (1, 700)]),
            (702, vec![(0, 702), (1, 702)]),
            (704, vec![(0, 704)]),
            (706, vec![(0, 706)]),
            (800, vec![(0, 800)]),
        ];
        assert_eq!(told, expected);
    }
}
