//! Run-length columns: a value and how many times it holds.

use crate::fault::{DecodeError, malformed};

/// A pair of columns under construction.
pub(crate) struct RunWriter<T> {
    pub(crate) values: Vec<T>,
    pub(crate) runs: Vec<u32>,
}

impl<T: PartialEq> RunWriter<T> {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), runs: Vec::new() }
    }

    pub(crate) fn push(&mut self, value: T) {
        match (self.values.last(), self.runs.last_mut()) {
            (Some(last), Some(run)) if *last == value => *run += 1,
            _ => self.open(value),
        }
    }

    /// Starts a new run even if the value is the same.
    pub(crate) fn open(&mut self, value: T) {
        self.values.push(value);
        self.runs.push(1);
    }

    /// Lengthens the last run by one.
    pub(crate) fn extend(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            *run += 1;
        }
    }
}

/// Reads a pair of columns one step at a time; allocates nothing.
pub(crate) struct RunReader<'a, T> {
    name: &'static str,
    pairs: std::iter::Zip<std::slice::Iter<'a, T>, std::slice::Iter<'a, u32>>,
    left: u32,
    value: Option<T>,
}

impl<'a, T: Copy> RunReader<'a, T> {
    pub(crate) fn new(name: &'static str, values: &'a [T], runs: &'a [u32]) -> Result<Self, DecodeError> {
        if values.len() != runs.len() {
            return Err(malformed(format!("{} {name} but {} runs", values.len(), runs.len())));
        }
        if runs.contains(&0) {
            return Err(malformed(format!("{name} has a run of length 0")));
        }
        Ok(Self { name, pairs: values.iter().zip(runs), left: 0, value: None })
    }

    /// The next value, and whether it opens a run.
    pub(crate) fn step(&mut self) -> Result<(T, bool), DecodeError> {
        let opens = self.left == 0;
        if opens && let Some((value, run)) = self.pairs.next() {
            (self.value, self.left) = (Some(*value), *run);
        }
        self.left =
            self.left.checked_sub(1).ok_or_else(|| malformed(format!("{} ends too early", self.name)))?;
        self.value.map(|value| (value, opens)).ok_or_else(|| malformed(format!("{} is empty", self.name)))
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(mut self) -> Result<(), DecodeError> {
        if self.left == 0 && self.pairs.next().is_none() {
            Ok(())
        } else {
            Err(malformed(format!("{} goes on after the last reading", self.name)))
        }
    }
}
