//! What happened, as numbers: a hash over all of it, and the last steps for whoever has to understand a failure.

use std::collections::VecDeque;
use std::fmt;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Virtual milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: &'static str,
    /// Who or how much; depends on `what`.
    pub with: [u64; 3],
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.with;
        write!(f, "{:>8} {} {a} {b:x} {c}", self.at_ms, self.what)
    }
}

/// The run so far.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Steps kept for printing.
    pub steps_max: usize,
    hash: u64,
    count: u64,
    last: VecDeque<Step>,
}

impl Trace {
    /// One that keeps so many steps for printing.
    pub fn of(steps_max: usize) -> Self {
        Self { steps_max, ..Self::default() }
    }

    /// Notes a step.
    pub fn note(&mut self, step: Step) {
        let numbers = [step.at_ms, step.with[0], step.with[1], step.with[2]];
        for word in step.what.bytes().map(u64::from).chain(numbers) {
            self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        self.count += 1;
        if self.last.len() >= self.steps_max {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    /// One number for the whole run: two runs of one seed must agree in it.
    pub fn hash(&self) -> u64 {
        self.hash ^ self.count
    }

    /// The last steps, oldest first.
    pub fn last(&self) -> impl Iterator<Item = &Step> {
        self.last.iter()
    }
}
