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
    /// Per block: slots in a row without an answer while the device did answer others.
    mute: Vec<Mute>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mute {
    times: u32,
    /// Slots to leave the block out, and why.
    skip: u32,
    cause: Option<Cause>,
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
        let mute = vec![Mute::default(); round.blocks.len()];
        Self { device, round, due: now, slot: None, served: 0, first: 0, mute }
    }

    /// Begins the slot that is due, without the blocks that are left out for being mute, and returns how many slots
    /// were missed before it.
    pub(crate) fn begin(&mut self, now: u64) -> u64 {
        let missed = now.saturating_sub(self.due) / self.round.interval_ms;
        self.due += (missed + 1) * self.round.interval_ms;
        let left_out = |mute: &mut Mute| {
            let out = mute.skip > 0;
            mute.skip = mute.skip.saturating_sub(1);
            out.then_some(Err(mute.cause.unwrap_or(Cause::Timeout)))
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
            self.mute[block] = Mute::default();
        }
    }

    /// A block stayed mute, or does not exist, although the device is awake: it is left out for a while, longer each time.
    pub(crate) fn settle_mute(&mut self, block: usize, cause: Cause) {
        let times = self.mute[block].times + 1;
        self.settle(block, Err(cause));
        self.mute[block] = Mute { times, skip: (1 << times.min(6)) - 2, cause: Some(cause) };
    }

    /// Asks for the block in parts from now on: without the gaps in it, or, if it has none, point by point. False if it
    /// has only one part.
    pub(crate) fn part(&mut self, block: usize) -> bool {
        let before = self.round.blocks.len();
        if !self.round.part(block) {
            return false;
        }
        let more = self.round.blocks.len() - before;
        self.mute.extend(vec![Mute::default(); more]);
        if let Some(slot) = &mut self.slot {
            slot.results.extend(vec![None; more]);
            // The refusal was an answer.
            slot.answered = true;
        }
        true
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
