//! Sorts ordered rows of one point into the windows of one query.

use sitian_model::{Quality, Row, Span, Timestamp};

use super::{AggregateQuery, PERCENTILE_VALUES_MAX, PERCENTILES_MAX, WINDOWS_MAX, Window, expected};
use crate::query::QueryFault;

/// Windows being filled. Rows come in order of time, so at most one window is open.
#[derive(Debug)]
pub struct WindowFold {
    query: AggregateQuery,
    start_ms: i128,
    window_ms: i128,
    windows: Vec<Window>,
    /// What stood in each window: Σ value × ms, Σ ms. Empty unless asked for.
    stood: Vec<(f64, f64)>,
    /// The value that stands, since when.
    standing: Option<(Timestamp, f64)>,
    /// The last value, and when: what a counter is compared with.
    counter: Option<(Timestamp, f64)>,
    /// Values of the open window. Empty unless percentiles are asked for.
    values: Vec<f64>,
    open: usize,
    fault: Option<QueryFault>,
}

impl WindowFold {
    /// Lays out the empty windows.
    ///
    /// # Errors
    /// The window has no length, or there are more than [`WINDOWS_MAX`], or too many percentiles are asked for.
    pub fn new(query: &AggregateQuery) -> Result<Self, QueryFault> {
        if query.window_ms < 1 {
            return Err(QueryFault::Window(query.window_ms));
        }
        if query.extras.percentiles.len() > PERCENTILES_MAX {
            return Err(QueryFault::Percentiles(query.extras.percentiles.len()));
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
        let windows: Vec<_> = windows.collect();
        let stood = if query.extras.time_weighted { vec![(0.0, 0.0); windows.len()] } else { Vec::new() };
        Ok(Self {
            query: query.clone(),
            start_ms,
            window_ms,
            windows,
            stood,
            standing: None,
            counter: None,
            values: Vec::new(),
            open: 0,
            fault: None,
        })
    }

    /// Counts a row, which must not be older than the one before. Rows before the span only tell what stood when it
    /// began: see [`AggregateQuery::reach`]. Rows behind it are ignored.
    pub fn observe(&mut self, at: Timestamp, value: Option<f64>, quality: Quality) {
        if at >= self.query.span.to {
            return;
        }
        self.stand(at, value);
        let place = self.query.span.contains(at).then(|| self.place(at)).flatten();
        if let Some(n) = place {
            self.windows[n].observe(value, quality);
            self.collect(n, value);
        }
        if let Some(value) = value {
            self.step(place, value);
            self.counter = Some((at, value));
        }
    }

    /// Counts a row like [`Self::observe`].
    pub fn observe_row(&mut self, row: &Row) {
        self.observe(row.at, row.value, row.quality);
    }

    /// Counts rows of which only statistics are known, none older than those before. `part.from` to `part.to` holds
    /// all of them, and `part.increase` is that from its first value to its last. False, and nothing is counted, if
    /// the rows must be seen: the part does not lie in one window and in the span, or an extra needs every row.
    pub fn observe_part(&mut self, part: &Window) -> bool {
        let inside = part.from >= self.query.span.from && part.to <= self.query.span.to;
        let place = self.place(part.from);
        if !inside || place != self.place(part.to.plus_ms(-1)) || self.query.extras.need_rows() {
            return false;
        }
        let Some(n) = place else { return false };
        self.windows[n].absorb(part);
        if let Some((first, last)) = part.first.zip(part.last) {
            self.step(place, first);
            if self.query.extras.increase {
                *self.windows[n].increase.get_or_insert(0.0) += part.increase.unwrap_or(0.0);
            }
            self.counter = Some((part.to, last));
        }
        true
    }

    /// The windows, oldest first.
    ///
    /// # Errors
    /// A window holds too many values to tell percentiles.
    pub fn finish(mut self) -> Result<Vec<Window>, QueryFault> {
        self.stand(self.query.span.to, None);
        self.rank();
        for (window, (area, ms)) in self.windows.iter_mut().zip(&self.stood) {
            window.time_weighted = (*ms > 0.0).then_some(area / ms);
        }
        self.fault.map_or(Ok(self.windows), Err)
    }

    fn place(&self, at: Timestamp) -> Option<usize> {
        let n = (i128::from(at.0) - self.start_ms).div_euclid(self.window_ms);
        usize::try_from(n).ok().filter(|n| *n < self.windows.len())
    }

    /// Ends the time of the value that stands, and begins that of the next.
    fn stand(&mut self, at: Timestamp, value: Option<f64>) {
        if !self.query.extras.time_weighted {
            return;
        }
        let next = value.map(|value| (at, value));
        let Some((since, value)) = std::mem::replace(&mut self.standing, next) else { return };
        let mut from = since.max(self.query.span.from);
        let until = at.min(since.plus_ms(self.query.hold_ms())).min(self.query.span.to);
        while from < until {
            let Some(n) = self.place(from) else { return };
            let to = until.min(self.windows[n].to);
            let ms = to.since_ms(from) as f64;
            self.stood[n].0 += value * ms;
            self.stood[n].1 += ms;
            from = to;
        }
    }

    /// Counts the step from the value before to this one, in the window where it ends.
    fn step(&mut self, place: Option<usize>, value: f64) {
        let Some(n) = place.filter(|_| self.query.extras.increase) else { return };
        let earliest = self.query.reach().from;
        let before = self.counter.filter(|(when, _)| *when >= earliest);
        let step = match before {
            None => 0.0,
            Some((_, before)) if value >= before => value - before,
            // The device began anew at zero.
            Some(_) => value.max(0.0),
        };
        *self.windows[n].increase.get_or_insert(0.0) += step;
    }

    fn collect(&mut self, n: usize, value: Option<f64>) {
        if self.query.extras.percentiles.is_empty() {
            return;
        }
        if n != self.open {
            self.rank();
            self.open = n;
        }
        if self.values.len() == PERCENTILE_VALUES_MAX {
            self.fault = Some(QueryFault::TooManyValues);
        } else {
            self.values.extend(value);
        }
    }

    /// Ends the open window: sorts its values.
    fn rank(&mut self) {
        self.values.sort_unstable_by(f64::total_cmp);
        let ranks = self.query.extras.percentiles.iter().filter_map(|permille| permille.of(&self.values));
        if let Some(window) = self.windows.get_mut(self.open).filter(|_| !self.values.is_empty()) {
            window.percentiles = ranks.collect();
        }
        self.values.clear();
    }
}

fn clamp(ms: i128) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX }))
}
