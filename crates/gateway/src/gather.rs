//! Collects samples into records: one record per poll round, at most one reading per point in it, at most half a second
//! old when it is sealed. A reading is stamped when its record is sealed, all of a record by one clock: were it stamped
//! before, a clock that becomes known in between would vouch for a time that it never saw. Two readings of a point that are
//! stamped by their arrival never bear one moment: a late answer and the word about the rounds that were missed meanwhile
//! come together, and engines of readings keep one row of a point at a moment. What a device dates itself bears the moment
//! that it says; where that is not believed it is set apart in the same way, in a row of its own, so that a thousand
//! remembered readings do not make the next one look late. Knows no disk and no wire format.

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
    /// The moment of the last sample of each point, dated by its device or not, whichever record it is in.
    moments: HashMap<(PointIndex, bool), u64>,
}

/// A sample, the monotonic milliseconds of its arrival or a few later, and when it was taken if the device itself says so.
type Gathering = (u64, Option<Timestamp>, Sample);

/// What is to become one record: never empty.
pub struct Gathered {
    samples: Vec<Gathering>,
}

impl Gather {
    /// Takes a sample that arrived at `mono_ms`; returns what had to be sealed to make room. `at` is when the device says
    /// that it was taken.
    pub fn add(&mut self, sample: &Sample, mono_ms: u64, at: Option<Timestamp>) -> Option<Gathered> {
        let full = self.samples.len() >= READINGS_MAX || self.points.contains(&sample.point);
        let sealed = if full { self.seal() } else { None };
        if self.samples.is_empty() {
            self.opened_ms = mono_ms;
        }
        let last = self.moments.entry((sample.point, at.is_some()));
        let moment = *last.and_modify(|last| *last = mono_ms.max(*last + APART_MS)).or_insert(mono_ms);
        self.points.insert(sample.point);
        self.samples.push((moment, at, *sample));
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
        (!samples.is_empty()).then_some(Gathered { samples })
    }
}

/// Stamps what was gathered with what the clock knows now. Until the time is known no device's date is believed: nothing says
/// that it is not ahead, and the centre moves such a record as a whole to where its boot's clock puts its first reading.
pub fn record(clock: &crate::clock::BoardClock, gathered: &Gathered) -> Record {
    let known = clock.uncertainty_ms().is_some();
    let reading = |(mono_ms, taken, sample): &Gathering| {
        let arrived = clock.wall(*mono_ms);
        let (at, quality) = match taken {
            Some(taken) if known && taken.since_ms(arrived) <= AHEAD_MS_MAX => (*taken, sample.quality),
            Some(_) => (arrived, doubted(sample.quality)),
            None => (arrived, sample.quality),
        };
        Reading { point: sample.point, at, value: sample.value, quality }
    };
    Record {
        boot: clock.boot(),
        mono_ms: gathered.samples.first().map_or(0, |(mono_ms, ..)| *mono_ms),
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
        let told: Vec<Vec<(PointIndex, u64)>> = sealed
            .iter()
            .map(|gathered| gathered.samples.iter().map(|(ms, _, sample)| (sample.point, *ms)).collect())
            .collect();
        let expected = [
            vec![(0, 700), (1, 700)],
            vec![(0, 702), (1, 702)],
            vec![(0, 704)],
            vec![(0, 706)],
            vec![(0, 800)],
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_burst_of_remembered_readings_puts_off_nobody_s_acceptance() {
        let sample = |point| Sample { point, value: Some(1.0), quality: Quality::Good };
        let mut gather = Gather::default();
        let mut sealed = Vec::new();
        for n in 0..1_000 {
            sealed.extend(gather.add(&sample(0), 700, Some(Timestamp(n * 60_000))));
        }
        // Another bus, and what is said of the same point without a date.
        assert!(gather.add(&sample(1), 701, None).is_none());
        assert_eq!(gather.due_ms(), Some(700 + WINDOW_MS));
        sealed.extend(gather.add(&sample(0), 702, None));
        sealed.extend(gather.seal());
        let last = sealed.last().map(|gathered| (gathered.samples[0].0, gathered.samples[0].1));
        assert_eq!(last, Some((702, None)));
        // Where the device's clock is not believed, a moment each is what keeps them apart.
        let of_point = |(_, _, sample): &&Gathering| sample.point == 0;
        let moments: HashSet<u64> = sealed
            .iter()
            .flat_map(|g| &g.samples)
            .filter(of_point)
            .filter(|s| s.1.is_some())
            .map(|s| s.0)
            .collect();
        assert_eq!(moments.len(), 1_000);
    }
}
