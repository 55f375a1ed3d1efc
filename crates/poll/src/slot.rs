//! One round of one device, from its due time to its last sample.

use sitian_model::{Cause, Quality};
use sitian_profile::{Context, Profile, decode};

use crate::Sample;
use crate::plan::{Place, Round, RoundPoint};

/// A round that is due every `interval_ms`, with its schedule.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) device: usize,
    pub(crate) round: Round,
    /// Next time a slot begins. Advances by whole intervals only, so that the phase never drifts.
    pub(crate) due: u64,
    /// The slot under way.
    pub(crate) slot: Option<Slot>,
    /// Turn of the bus in which it was served last.
    pub(crate) served: u64,
    /// Block to begin with: moves on when a slot ended in silence, so that one mute block cannot hide the others.
    pub(crate) first: usize,
    /// Per block: slots in a row without an answer while the device did answer others, and slots to leave it out.
    mute: Vec<(u32, u32)>,
}

/// What has come in so far.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// When the next slot begins: then this one is over.
    pub(crate) end: u64,
    /// Per block: its words, or why there are none.
    results: Vec<Option<Result<Vec<u16>, Cause>>>,
    /// Per point: its sample is out.
    emitted: Vec<bool>,
    /// The device has answered in this slot.
    pub(crate) answered: bool,
}

impl Task {
    pub(crate) fn new(device: usize, round: Round, now: u64) -> Self {
        let mute = vec![(0, 0); round.blocks.len()];
        Self { device, round, due: now, slot: None, served: 0, first: 0, mute }
    }

    /// Begins the slot that is due, without the blocks that are left out for being mute, and returns how many slots
    /// were missed before it.
    pub(crate) fn begin(&mut self, now: u64) -> u64 {
        let missed = now.saturating_sub(self.due) / self.round.interval_ms;
        self.due += (missed + 1) * self.round.interval_ms;
        let left_out = |(_, skip): &mut (u32, u32)| {
            let out = *skip > 0;
            *skip = skip.saturating_sub(1);
            out.then_some(Err(Cause::Timeout))
        };
        self.slot = Some(Slot {
            end: self.due,
            results: self.mute.iter_mut().map(left_out).collect(),
            emitted: vec![false; self.round.points.len()],
            answered: false,
        });
        missed
    }

    /// The next block to read.
    pub(crate) fn open_block(&self) -> Option<usize> {
        let slot = self.slot.as_ref()?;
        let count = self.round.blocks.len();
        (0..count).map(|n| (self.first + n) % count).find(|block| slot.results[*block].is_none())
    }

    /// A block has been read.
    pub(crate) fn settle(&mut self, block: usize, result: Result<Vec<u16>, Cause>) {
        if let Some(slot) = &mut self.slot {
            slot.answered |= result.is_ok() || result == Err(Cause::Exception);
            slot.results[block] = Some(result);
            self.mute[block] = (0, 0);
        }
    }

    /// A block stayed mute although the device is awake: it is left out for a while, longer each time.
    pub(crate) fn settle_mute(&mut self, block: usize, cause: Cause) {
        let times = self.mute[block].0 + 1;
        self.settle(block, Err(cause));
        self.mute[block] = (times, (1 << times.min(6)) - 2);
    }

    /// The samples that are complete and not out yet. Closes the slot after the last.
    pub(crate) fn take_samples(&mut self, profile: &Profile) -> Vec<Sample> {
        let Some(slot) = &mut self.slot else { return Vec::new() };
        let mut samples = Vec::new();
        for (point, emitted) in self.round.points.iter().zip(&mut slot.emitted) {
            let complete = point.places().all(|place| slot.results[place.block].is_some());
            if complete && !*emitted {
                *emitted = true;
                samples.push(sample(point, profile, &slot.results));
            }
        }
        if slot.results.iter().all(Option::is_some) {
            self.slot = None;
        }
        samples
    }

    /// Ends the slot: what has not come in yet is bad for this cause.
    pub(crate) fn give_up(&mut self, cause: Cause) {
        if let Some(slot) = &mut self.slot {
            slot.results
                .iter_mut()
                .filter(|result| result.is_none())
                .for_each(|result| *result = Some(Err(cause)));
        }
    }

    /// A sample for each point that says why there is no value.
    pub(crate) fn bad(&self, cause: Cause) -> Vec<Sample> {
        let bad =
            |point: &RoundPoint| Sample { point: point.point, value: None, quality: Quality::Bad(cause) };
        self.round.points.iter().map(bad).collect()
    }
}

fn sample(point: &RoundPoint, profile: &Profile, results: &[Option<Result<Vec<u16>, Cause>>]) -> Sample {
    let read = |place: Place| match &results[place.block] {
        Some(Ok(words)) => Ok(words.get(place.offset..).unwrap_or_default()),
        Some(Err(cause)) => Err(*cause),
        None => Err(Cause::Preparation),
    };
    let word =
        |place: Option<Place>| place.map(|place| read(place).map(|words| words.first().copied())).transpose();
    let decoded = || {
        let context = Context {
            unit: word(point.unit)?.flatten(),
            decimals: word(point.decimals)?.flatten(),
            status: word(point.status)?.flatten(),
        };
        Ok(decode(&profile.points[point.profile_point], read(point.own)?, context))
    };
    let (value, quality) = decoded().unwrap_or_else(|cause: Cause| (None, Quality::Bad(cause)));
    Sample { point: point.point, value, quality }
}
