//! What the caller has to do, in order; samples that nobody takes are dropped, oldest first.

use std::collections::VecDeque;

use super::{Command, Sample};

/// Samples of this many full rounds wait for a caller that does not take them.
const ROUNDS_WAITING_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Outbox {
    out: VecDeque<Command>,
    samples: usize,
    samples_max: usize,
}

impl Outbox {
    /// Room for the samples of a bus with so many points.
    pub(super) fn new(points: usize) -> Self {
        Self { out: VecDeque::new(), samples: 0, samples_max: ROUNDS_WAITING_MAX * points }
    }

    pub(super) fn pop(&mut self) -> Option<Command> {
        let command = self.out.pop_front();
        if let Some(Command::Samples(samples)) = &command {
            self.samples -= samples.len();
        }
        command
    }

    pub(super) fn push(&mut self, command: Command) {
        self.out.push_back(command);
    }

    pub(super) fn push_samples(&mut self, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        self.samples += samples.len();
        match self.out.back_mut() {
            Some(Command::Samples(waiting)) => waiting.extend(samples),
            _ => self.out.push_back(Command::Samples(samples)),
        }
        if self.samples > self.samples_max {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let mut excess = self.samples - self.samples_max;
        self.samples = self.samples_max;
        for command in &mut self.out {
            if let Command::Samples(samples) = command {
                let dropped = excess.min(samples.len());
                samples.drain(..dropped);
                excess -= dropped;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sitian_model::{Cause, Quality};

    use super::*;

    #[test]
    fn samples_that_nobody_takes_are_dropped_beyond_four_rounds_oldest_first() {
        let mut outbox = Outbox::new(2);
        let sample = |point| Sample { point, value: None, quality: Quality::Bad(Cause::Timeout) };
        for point in 0..10 {
            outbox.push_samples(vec![sample(point)]);
        }
        assert_eq!(outbox.pop(), Some(Command::Samples((2..10).map(sample).collect())));
        assert_eq!(outbox.pop(), None);
    }
}
