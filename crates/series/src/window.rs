//! Aggregation by windows of equal length, aligned to 1970-01-01T00:00:00Z plus an offset. It does not know how rows
//! are kept: an engine feeds them in order, or answers from statistics that come to the same.

use std::collections::BTreeMap;

use sitian_model::{Cause, PointNo, Quality, Row, Span, Timestamp};

use crate::query::QueryFault;

/// Most windows in one answer.
pub const WINDOWS_MAX: u64 = 20_000;

/// Asks for the windows of one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Sorts ordered rows of one point into the windows of one query.
#[derive(Debug)]
pub struct WindowFold {
    span: Span,
    start_ms: i128,
    window_ms: i128,
    windows: Vec<Window>,
}

impl WindowFold {
    /// Lays out the empty windows.
    ///
    /// # Errors
    /// The window has no length, or there are more than [`WINDOWS_MAX`].
    pub fn new(query: &AggregateQuery) -> Result<Self, QueryFault> {
        if query.window_ms < 1 {
            return Err(QueryFault::Window(query.window_ms));
        }
        let window_ms = i128::from(query.window_ms);
        let (from, to) = (i128::from(query.span.from.0), i128::from(query.span.to.0));
        let offset = i128::from(query.offset_ms).rem_euclid(window_ms);
        let start_ms = (from - offset).div_euclid(window_ms) * window_ms + offset;
        let length_ms = if from < to { to - start_ms } else { 0 };
        let count = (length_ms + window_ms - 1) / window_ms;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if count > WINDOWS_MAX {
            return Err(QueryFault::TooManyWindows(count));
        }
        let at = |n: u64| clamp(start_ms + i128::from(n) * window_ms);
        let windows = (0..count).map(|n| {
            let mut window = Window::empty(at(n), at(n + 1));
            let due = Span { from: window.from.max(query.span.from), to: window.to.min(query.span.to) };
            window.expected = query.interval_ms.map(|interval_ms| expected(due, interval_ms));
            window
        });
        Ok(Self { span: query.span, start_ms, window_ms, windows: windows.collect() })
    }

    /// Counts a row, which must not be older than the one before. Rows outside the span are ignored.
    pub fn observe(&mut self, at: Timestamp, value: Option<f64>, quality: Quality) {
        if self.span.contains(at) {
            let n = (i128::from(at.0) - self.start_ms) / self.window_ms;
            if let Some(window) = usize::try_from(n).ok().and_then(|n| self.windows.get_mut(n)) {
                window.observe(value, quality);
            }
        }
    }

    /// Counts a row like [`Self::observe`].
    pub fn observe_row(&mut self, row: &Row) {
        self.observe(row.at, row.value, row.quality);
    }

    /// The windows, oldest first.
    pub fn finish(self) -> Vec<Window> {
        self.windows
    }
}

fn clamp(ms: i128) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from: i64, to: i64, window_ms: i64, offset_ms: i64) -> AggregateQuery {
        let span = Span { from: Timestamp(from), to: Timestamp(to) };
        AggregateQuery { point: PointNo(1), span, window_ms, offset_ms, interval_ms: Some(10) }
    }

    fn check(query: AggregateQuery, starts: &[i64], expected: &[u64]) {
        let windows = WindowFold::new(&query).expect("in bounds").finish();
        assert_eq!(windows.iter().map(|w| w.from.0).collect::<Vec<_>>(), starts, "{query:?}");
        assert_eq!(windows.iter().filter_map(|w| w.expected).collect::<Vec<_>>(), expected, "{query:?}");
        assert!(windows.iter().all(|w| w.to.since_ms(w.from) == query.window_ms), "{query:?}");
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_plus_the_offset_and_expect_only_what_lies_in_the_span() {
        check(query(0, 100, 50, 0), &[0, 50], &[5, 5]);
        check(query(20, 101, 50, 0), &[0, 50, 100], &[3, 5, 1]);
        check(query(-20, 20, 50, 0), &[-50, 0], &[2, 2]);
        check(query(0, 100, 50, 20), &[-30, 20, 70], &[2, 5, 3]);
        check(query(0, 100, 50, -30), &[-30, 20, 70], &[2, 5, 3]);
        check(query(0, 100, 50, 120), &[-30, 20, 70], &[2, 5, 3]);
        check(query(5, 5, 50, 0), &[], &[]);
        check(query(5, 4, 50, 0), &[], &[]);
        check(query(0, 20, 5, 0), &[0, 5, 10, 15], &[1, 0, 1, 0]);
    }

    #[test]
    fn extreme_spans_are_refused_or_answered_but_never_overflow() {
        for (window_ms, offset_ms, ok) in
            [(1, 0, false), (i64::MAX, 0, true), (i64::MAX, i64::MIN, true), (0, 0, false), (-1, 0, false)]
        {
            let fold = WindowFold::new(&query(i64::MIN, i64::MAX, window_ms, offset_ms));
            assert_eq!(fold.is_ok(), ok, "{window_ms} {offset_ms}");
        }
        let most = WINDOWS_MAX as i64;
        assert!(WindowFold::new(&query(0, most, 1, 0)).is_ok());
        assert_eq!(
            WindowFold::new(&query(0, most + 1, 1, 0)).err(),
            Some(QueryFault::TooManyWindows(WINDOWS_MAX + 1))
        );
    }

    #[test]
    fn completeness_counts_values_against_polls_due_and_never_exceeds_one() {
        let of = |expected, stored| Completeness { expected, stored, bad: 0 };
        for (completeness, ratio) in [
            (of(None, 5), None),
            (of(Some(0), 5), None),
            (of(Some(10), 5), Some(0.5)),
            (of(Some(10), 0), Some(0.0)),
            (of(Some(10), 11), Some(1.0)),
            (of(Some(10), 5).and(of(Some(10), 10)), Some(0.75)),
            (of(Some(10), 5).and(of(None, 10)), None),
        ] {
            assert_eq!(completeness.ratio(), ratio, "{completeness:?}");
        }
    }
}
