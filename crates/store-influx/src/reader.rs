//! The read side of an engine. The newest rows of many points are one question; windows are worked out by the engine where
//! it can. Rows come slice by slice of time:
//!
//! ```text
//!  less than 5,000 rows      the next slice is twice as long
//!  none                      the engine says where they go on
//!  more than is listened to  the rest is not read, and a sixteenth of the slice is asked for: at most five times in a scan of
//!                            rows as dense as one a second
//! ```
//!
//! So memory grows neither with the span nor with what stands in it: an answer is at most 8 MiB, unpacked.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sitian_model::{PointNo, Row, Span, Timestamp};
use sitian_series::{
    AggregateQuery, Cursor, Page, RangeQuery, Series, SeriesError, Window, WindowFold, stop,
};

use crate::dialect::Dialect;
use crate::engine::now_ms;
use crate::fault::EngineError;
use crate::names::{Choice, Named, Names};
use crate::rows::Moments;

const DAY_MS: i64 = 86_400_000;
/// The first slice of one point, the least one of many, and the longest.
const SLICE_MS: i64 = DAY_MS;
const SLICE_MS_MIN: i64 = 60_000;
const SLICE_MS_MAX: i64 = 366 * DAY_MS;
/// Slices that hold fewer rows grow.
const SLICE_ROWS: usize = 5_000;
/// How much shorter a slice gets that held too much.
const SHRINK: i64 = 16;
/// How far back the newest rows are looked for, from short to long: most points have spoken lately.
const LOOKS_MS: [i64; 3] = [3 * DAY_MS, 40 * DAY_MS, i64::MAX];
/// Most points of one question, and most bytes of their names: VictoriaMetrics reads no question of more than 16 KiB unless it is
/// told to.
const POINTS_MAX: usize = 500;
const NAMES_BYTES_MAX: usize = 12 << 10;
/// Most windows of one question.
const WINDOWS_MAX: usize = 5_000;

/// Reads from an engine. Its methods wait for the server.
#[derive(Debug, Clone)]
pub struct Reader {
    dialect: Arc<dyn Dialect>,
    names: Arc<Names>,
}

impl Reader {
    pub(crate) fn new(dialect: Arc<dyn Dialect>, names: Arc<Names>) -> Self {
        Self { dialect, names }
    }

    /// Hands out the rows of points inside a span, slice by slice, until `each` says stop, which it does after `most` rows
    /// if that is given.
    fn scan(
        &self,
        points: &[(PointNo, Arc<Named>)],
        span: Span,
        most: Option<usize>,
        each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), EngineError> {
        let answers = self.dialect.answers(now_ms());
        let (from, to) = (span.from.0.max(answers.start), span.to.0.min(answers.end));
        if points.is_empty() || from >= to {
            return Ok(());
        }
        let choice = Choice::of(points);
        let Some((mut from, last)) = self.ends(&choice, from..to)? else { return Ok(()) };
        let mut slice_ms = (SLICE_MS / points.len() as i64).max(SLICE_MS_MIN);
        while from <= last {
            let slice = from..from.saturating_add(slice_ms).min(last + 1);
            let mut found = Moments::new(&self.names, points);
            match self.dialect.fields(&choice, slice.clone(), most, &mut found) {
                Err(EngineError::TooLong { .. }) if slice_ms > 1 => {
                    slice_ms = ((slice.end - slice.start) / SHRINK).max(1);
                    continue;
                }
                answered => answered?,
            }
            let rows = found.rows(slice.clone());
            if !rows.iter().all(&mut *each) {
                return Ok(());
            }
            from = slice.end;
            if rows.is_empty() && from <= last {
                let Some((next, _)) = self.ends(&choice, from..last + 1)? else { return Ok(()) };
                from = next;
            }
            if rows.len() < SLICE_ROWS {
                slice_ms = (slice_ms * 2).min(SLICE_MS_MAX);
            }
        }
        Ok(())
    }

    /// The first and the last moment of these points inside a span; the span itself where it begins before the engine sees.
    fn ends(&self, choice: &Choice<'_>, span: Range<i64>) -> Result<Option<(i64, i64)>, EngineError> {
        if self.dialect.blind().contains(&span.start) {
            return Ok(Some((span.start, span.end - 1)));
        }
        let ends = self.dialect.ends(choice, span.clone())?;
        Ok(ends.map(|(first, last)| (first.max(span.start), last)))
    }

    /// The newest rows of points within so many milliseconds.
    fn newest(
        &self,
        points: &[(PointNo, Arc<Named>)],
        back_ms: i64,
        rows: &mut HashMap<PointNo, Row>,
    ) -> Result<(), EngineError> {
        let now_ms = now_ms();
        let answers = self.dialect.answers(now_ms);
        let mut found = Moments::new(&self.names, points);
        let from = now_ms.saturating_sub(back_ms).max(answers.start).max(self.dialect.blind().end);
        self.dialect.newest(&Choice::of(points), from..answers.end, &mut found)?;
        for (point, (at, row)) in found.newest() {
            // Rows that came while the server was answering make the fields disagree: then this one moment is read.
            let row = match row {
                Some(row) => Some(row),
                None => {
                    let one = self.names.some(&[point]);
                    let mut found = Moments::new(&self.names, &one);
                    self.dialect.fields(&Choice::of(&one), at..at + 1, None, &mut found)?;
                    found.rows(at..at + 1).pop()
                }
            };
            rows.extend(row.map(|row| (point, row)));
        }
        Ok(())
    }

    /// The windows of a query, if the engine can work them out; `None` if rows have to be counted.
    fn worked_out(&self, query: &AggregateQuery) -> Result<Option<Vec<Window>>, SeriesError> {
        let mut windows = WindowFold::new(query)?.finish()?;
        let exact = !query.extras.need_rows() && !query.extras.increase;
        if !exact || !self.dialect.measures(query.window_ms) {
            return Ok(None);
        }
        let points = self.names.some(&[query.point]);
        if points.is_empty() {
            return Ok(Some(windows));
        }
        let answers = self.dialect.answers(now_ms());
        let seen = answers.start.max(self.dialect.blind().end);
        let whole = |window: &Window| {
            window.from >= query.span.from
                && window.to <= query.span.to
                && window.from.0 >= seen + query.window_ms
                && window.to.0 <= answers.end
        };
        let first = windows.iter().position(whole).unwrap_or(windows.len());
        let end = windows.iter().rposition(whole).map_or(first, |last| last + 1);
        for part in windows[first..end].chunks_mut(WINDOWS_MAX) {
            if !self.dialect.windows(&Choice::of(&points), query.window_ms, part)? {
                return Ok(None);
            }
        }
        // What the span cuts is counted from rows.
        for place in (0..first).chain(end..windows.len()) {
            let window = &windows[place];
            let span = Span { from: window.from.max(query.span.from), to: window.to.min(query.span.to) };
            let mut fold = WindowFold::new(&AggregateQuery { span, ..query.clone() })?;
            self.scan(&points, span, None, &mut |row| {
                fold.observe_row(row);
                true
            })?;
            if let [cut] = &fold.finish()?[..] {
                windows[place] = cut.clone();
            }
        }
        Ok(Some(windows))
    }
}

impl Series for Reader {
    fn latest(&self, points: &[PointNo]) -> Result<Vec<Option<Row>>, SeriesError> {
        let mut found = HashMap::new();
        let mut left = self.names.some(points);
        for back_ms in LOOKS_MS {
            let mut parts = Choice::parts(&left, POINTS_MAX, NAMES_BYTES_MAX);
            while let Some(part) = parts.pop() {
                match self.newest(part, back_ms, &mut found) {
                    // The server says all tags of a point with each of its fields.
                    Err(EngineError::TooLong { .. }) if part.len() > 1 => {
                        parts.extend(<[_; 2]>::from(part.split_at(part.len() / 2)));
                    }
                    answered => answered?,
                }
            }
            left.retain(|(point, _)| !found.contains_key(point));
        }
        let Range { start, end } = self.dialect.blind();
        for part in Choice::parts(&left, POINTS_MAX, NAMES_BYTES_MAX) {
            self.scan(part, Span { from: Timestamp(start), to: Timestamp(end) }, None, &mut |row| {
                found.insert(row.point, *row);
                true
            })?;
        }
        Ok(points.iter().map(|point| found.get(point).copied()).collect())
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, SeriesError> {
        query.check()?;
        let from = query.after.map_or(query.span.from, |after| after.at.max(query.span.from));
        let mut rows = Vec::new();
        // One row more says that there are more, and one may be the row that the page before ended with.
        let most = Some(query.limit + 2);
        self.scan(&self.names.some(&[query.point]), Span { from, ..query.span }, most, &mut |row| {
            if query.after.is_none_or(|after| Cursor::of(row) > after) {
                rows.push(*row);
            }
            rows.len() <= query.limit
        })?;
        Ok(Page::cut(rows, query.limit))
    }

    fn walk(
        &self,
        point: PointNo,
        span: Span,
        each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), SeriesError> {
        stop::wanted()?;
        let (mut left, mut rows) = (None, 0u32);
        self.scan(&self.names.some(&[point]), span, None, &mut |row| {
            rows = rows.wrapping_add(1);
            // Asked now and then: a look at it costs little, but not nothing.
            left = if rows.is_multiple_of(1_024) { stop::wanted().err() } else { None };
            left.is_none() && each(row)
        })?;
        left.map_or(Ok(()), Err)
    }

    fn walk_all(
        &self,
        points: &[PointNo],
        span: Span,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), SeriesError> {
        for part in Choice::parts(&self.names.some(points), POINTS_MAX, NAMES_BYTES_MAX) {
            self.scan(part, span, None, &mut |row| {
                each(row);
                true
            })?;
        }
        Ok(())
    }

    fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Window>, SeriesError> {
        stop::wanted()?;
        if let Some(windows) = self.worked_out(query)? {
            return Ok(windows);
        }
        let mut fold = WindowFold::new(query)?;
        self.walk(query.point, query.reach(), &mut |row| {
            fold.observe_row(row);
            true
        })?;
        Ok(fold.finish()?)
    }
}
