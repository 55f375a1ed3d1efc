//! Aggregation by windows of equal length, aligned to 1970-01-01T00:00:00Z plus an offset. It does not know how rows
//! are kept: an engine feeds them in order, or answers from statistics that come to the same.
//!
//! ```text
//!  value                     ┌─────●            held: a value stands until the next row, at most HOLD
//!    ●───────●──┐            │                  time_weighted = Σ value × held ÷ Σ held
//!               │  (bad: ✕)  │                  increase      = Σ steps up; a step down is a counter that began at 0
//!  ──┴───────┴──✕────────────┴─────┴──► time    percentiles   = between the ranks of the sorted values
//! ```

use std::collections::BTreeMap;
use std::fmt;

use sitian_model::{Cause, PointNo, Quality, Span, Timestamp};

mod fold;

pub use fold::WindowFold;

/// Most windows in one answer.
pub const WINDOWS_MAX: u64 = 20_000;

/// Most values of one window of which percentiles are told: they have to be sorted in memory (8 bytes each).
pub const PERCENTILE_VALUES_MAX: usize = 1_000_000;
/// Most percentiles in one query.
pub const PERCENTILES_MAX: usize = 8;
/// How far before a span rows may still bear on it: the value that still stands, and the counter's value before.
pub const LOOKBACK_MS: i64 = 3_600_000;

/// A percentile in tenths of a per cent: 950 is p95, 999 is p99.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permille(u16);

impl Permille {
    /// 0 (the least value) to 1000 (the greatest); anything else is `None`.
    pub fn new(permille: u16) -> Option<Self> {
        (permille <= 1_000).then_some(Self(permille))
    }

    /// Reads `p95`, `p99.9`, `p0` … `p100`: at most one digit behind the point.
    pub fn parse(word: &str) -> Option<Self> {
        let number = word.strip_prefix('p')?;
        let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
        let digits =
            |text: &str, max| (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 3) || !digits(tenth, 1) {
            return None;
        }
        Self::new(whole.parse::<u16>().ok()? * 10 + tenth.parse::<u16>().ok()?)
    }

    /// Of at least one sorted value, linearly between the two nearest ranks; `None` of none.
    pub fn of(self, sorted: &[f64]) -> Option<f64> {
        let rank = f64::from(self.0) / 1_000.0 * (sorted.len().checked_sub(1)? as f64);
        let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
        // Of equal neighbours exactly their value, however large they are.
        Some(if low == high { low } else { low + (high - low) * rank.fract() })
    }
}

impl fmt::Display for Permille {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "p{}", self.0 / 10),
            tenth => write!(f, "p{}.{tenth}", self.0 / 10),
        }
    }
}

/// What windows tell beyond what they always tell. Only what is asked for is worked out: all but the increase needs
/// every row, where other answers come from statistics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// The mean of the values, each weighed by how long it stood.
    pub time_weighted: bool,
    /// How far a counter went up.
    pub increase: bool,
    /// These percentiles of the values; at most [`PERCENTILES_MAX`].
    pub percentiles: Vec<Permille>,
}

impl Extras {
    /// True if statistics of rows do not suffice.
    pub fn need_rows(&self) -> bool {
        self.time_weighted || !self.percentiles.is_empty()
    }
}

/// Asks for the windows of one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateQuery {
    /// Which point.
    pub point: PointNo,
    /// Rows whose `at` lies inside are counted. A span that ends before it starts has no windows.
    pub span: Span,
    /// Length of a window in milliseconds, at least 1.
    pub window_ms: i64,
    /// Windows start at multiples of `window_ms` plus this. Days of China Standard Time: −28 800 000.
    pub offset_ms: i64,
    /// Milliseconds between two polls of the point, where known: gives `expected`.
    pub interval_ms: Option<u32>,
    /// What else the windows shall tell.
    pub extras: Extras,
}

impl AggregateQuery {
    /// How long a value stands at most when no row follows: two intervals, an hour where the interval is unknown or
    /// longer.
    pub fn hold_ms(&self) -> i64 {
        self.interval_ms.map_or(LOOKBACK_MS, |interval_ms| (2 * i64::from(interval_ms)).min(LOOKBACK_MS))
    }

    /// The rows that bear on the answer: those of the span, and of the time before it if an extra looks back.
    pub fn reach(&self) -> Span {
        let back = if self.extras.time_weighted || self.extras.increase { LOOKBACK_MS } else { 0 };
        if self.span.from >= self.span.to {
            return self.span;
        }
        Span { from: self.span.from.plus_ms(-back), to: self.span.to }
    }
}

/// What is known about one window of one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Start of the window. Rows before the span of the query are not counted, even if the window begins earlier.
    pub from: Timestamp,
    /// End of the window (excluded).
    pub to: Timestamp,
    /// Rows of good quality.
    pub good: u64,
    /// Rows of uncertain quality.
    pub uncertain: u64,
    /// Rows without a value, by cause; causes that did not occur are absent.
    pub bad: BTreeMap<Cause, u64>,
    /// Polls due in the part of the window that lies in the span, if the interval was given.
    pub expected: Option<u64>,
    /// Sum of the values.
    pub sum: f64,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Value of the first row that has one.
    pub first: Option<f64>,
    /// Value of the last row that has one.
    pub last: Option<f64>,
    /// Mean of the values, each weighed by how long it stood in the window: until the next row, at most
    /// [`AggregateQuery::hold_ms`]. Only if asked for, and `None` where nothing stood.
    pub time_weighted: Option<f64>,
    /// How far a counter went up, resets bridged; a step belongs to the window in which it ends, so windows add up.
    /// Only if asked for, and `None` where there is no value.
    pub increase: Option<f64>,
    /// In the order of the question; empty if not asked for, or without values.
    pub percentiles: Vec<f64>,
}

impl Window {
    /// A window without rows.
    pub fn empty(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            good: 0,
            uncertain: 0,
            bad: BTreeMap::new(),
            expected: None,
            sum: 0.0,
            min: None,
            max: None,
            first: None,
            last: None,
            time_weighted: None,
            increase: None,
            percentiles: Vec::new(),
        }
    }

    /// Counts one row, which must not be older than the one before.
    pub fn observe(&mut self, value: Option<f64>, quality: Quality) {
        match quality {
            Quality::Good => self.good += 1,
            Quality::Uncertain(_) => self.uncertain += 1,
            Quality::Bad(cause) => *self.bad.entry(cause).or_default() += 1,
        }
        let Some(value) = value else { return };
        self.sum += value;
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
        self.first = self.first.or(Some(value));
        self.last = Some(value);
    }

    /// Counts the rows of another window, none of them older than the rows of this one. Extras are left alone.
    pub fn absorb(&mut self, other: &Self) {
        self.good += other.good;
        self.uncertain += other.uncertain;
        other.bad.iter().for_each(|(cause, n)| *self.bad.entry(*cause).or_default() += n);
        self.sum += other.sum;
        let least = self.min.into_iter().chain(other.min).reduce(f64::min);
        let greatest = self.max.into_iter().chain(other.max).reduce(f64::max);
        (self.min, self.max) = (least, greatest);
        self.first = self.first.or(other.first);
        self.last = other.last.or(self.last);
    }

    /// Rows with a value.
    pub fn count(&self) -> u64 {
        self.good + self.uncertain
    }

    /// Mean of the values.
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.sum / self.count() as f64)
    }

    /// How much of what was due is there.
    pub fn completeness(&self) -> Completeness {
        Completeness { expected: self.expected, stored: self.count(), bad: self.bad.values().sum() }
    }
}

/// How much of what was due is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Completeness {
    /// Polls due, if the interval is known.
    pub expected: Option<u64>,
    /// Rows with a value.
    pub stored: u64,
    /// Rows that only say why there is no value.
    pub bad: u64,
}

impl Completeness {
    /// `stored / expected`, at most 1; `None` where nothing was due or the interval is unknown.
    pub fn ratio(&self) -> Option<f64> {
        let expected = self.expected.filter(|n| *n > 0)?;
        Some((self.stored as f64 / expected as f64).min(1.0))
    }

    /// Both together. The expectation is unknown if either is.
    pub fn and(self, other: Self) -> Self {
        Self {
            expected: self.expected.zip(other.expected).map(|(a, b)| a.saturating_add(b)),
            stored: self.stored + other.stored,
            bad: self.bad + other.bad,
        }
    }
}

/// Polls due in a span: the multiples of the interval inside it, so that adjacent spans add up.
pub fn expected(span: Span, interval_ms: u32) -> u64 {
    let ticks_before = |t: Timestamp| -(-i128::from(t.0)).div_euclid(i128::from(interval_ms.max(1)));
    let ticks = ticks_before(span.to) - ticks_before(span.from);
    u64::try_from(ticks).unwrap_or(0)
}

#[cfg(test)]
mod tests;
