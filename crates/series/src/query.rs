//! The questions that can be asked about stored rows, and the answers. It does not know how rows are kept.

use std::fmt;

use sitian_model::{CorrectionStored, EpochNo, PointNo, Row, Seq, Span, Timestamp};

use crate::outline::{Outline, OutlineQuery};
use crate::stop;
use crate::window::{AggregateQuery, Window, WindowFold};

/// Most rows one page may hold.
pub const PAGE_ROWS_MAX: usize = 100_000;

/// The read side of a time-series engine. Every answer is one consistent view of what is stored.
///
/// The methods wait: callers call them on threads where waiting is allowed (the API keeps such threads). An engine
/// behind HTTP implements them with a blocking client, or hands the question to its own runtime and waits for the
/// answer on a channel; it overrides what the engine can work out on its side, and leaves the rest to the methods
/// provided here, which need nothing but [`Self::latest`] and [`Self::range`]. A caller that has gone away stops a
/// long walk by returning false from `each`.
pub trait Series {
    /// The newest row of each point, in the order of `points`; `None` for a point that has no row.
    ///
    /// # Errors
    /// The engine cannot answer.
    fn latest(&self, points: &[PointNo]) -> Result<Vec<Option<Row>>, SeriesError>;

    /// One page of the rows of a point inside a span, oldest first.
    ///
    /// # Errors
    /// The query is out of bounds, or the engine cannot answer.
    fn range(&self, query: &RangeQuery) -> Result<Page, SeriesError>;

    /// Hands the rows of a point inside a span to `each`, oldest first, until it says stop by returning false. Memory
    /// does not grow with the span.
    ///
    /// # Errors
    /// The engine cannot answer.
    fn walk(
        &self,
        point: PointNo,
        span: Span,
        each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), SeriesError> {
        let mut query = RangeQuery { point, span, limit: PAGE_ROWS_MAX, after: None };
        loop {
            stop::wanted()?;
            let page = self.range(&query)?;
            if !page.rows.iter().all(&mut *each) {
                return Ok(());
            }
            let Some(next) = page.next else { return Ok(()) };
            query.after = Some(next);
        }
    }

    /// Hands the rows of many points inside a span to `each`. Those of one point come oldest first, points in any order and
    /// in turns: engines behind a network answer for hundreds of points at once.
    ///
    /// # Errors
    /// The engine cannot answer.
    fn walk_all(
        &self,
        points: &[PointNo],
        span: Span,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), SeriesError> {
        for point in points {
            self.walk(*point, span, &mut |row| {
                each(row);
                true
            })?;
        }
        Ok(())
    }

    /// Every window that touches the span, oldest first, windows without rows included.
    ///
    /// # Errors
    /// The query is out of bounds, or the engine cannot answer.
    fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Window>, SeriesError> {
        let mut fold = WindowFold::new(query)?;
        self.walk(query.point, query.reach(), &mut |row| {
            fold.observe_row(row);
            true
        })?;
        Ok(fold.finish()?)
    }

    /// The rows that a picture of so many columns shows, oldest first.
    ///
    /// # Errors
    /// The query is out of bounds, or the engine cannot answer.
    fn outline(&self, query: &OutlineQuery) -> Result<Vec<Row>, SeriesError> {
        let mut outline = Outline::new(query)?;
        self.walk(query.point, query.span, &mut |row| {
            outline.observe(row);
            true
        })?;
        Ok(outline.finish())
    }

    /// Rows that rest in memory before they go where they stay; `None` if the engine does not tell.
    fn resting_rows(&self) -> Option<u64> {
        None
    }

    /// The newest `limit` corrections of a point's rows in a span, newest first, with what the rows said before; only those
    /// older than the number `before`, if it is given. An engine that keeps no corrections has none.
    ///
    /// # Errors
    /// The engine cannot answer.
    fn corrections(
        &self,
        point: PointNo,
        span: Span,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<CorrectionStored>, SeriesError> {
        let _ = (point, span, before, limit);
        Ok(Vec::new())
    }

    /// The rows of a span that say something else by now than the sensor sent, as it sent them.
    ///
    /// # Errors
    /// The engine cannot answer.
    fn sent(&self, point: PointNo, span: Span) -> Result<Vec<Row>, SeriesError> {
        let _ = (point, span);
        Ok(Vec::new())
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The caller asked for something that no engine answers: asking again is useless.
    #[error("answer the query: {0}")]
    Query(#[from] QueryFault),
    /// Whoever asked has left ([`stop::Stop`]): nobody reads this.
    #[error("answer the query: nobody wants the answer any more")]
    Stopped,
    /// The engine is unavailable or its data is damaged; the source says which and what to do.
    #[error("answer the query")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryFault {
    /// The page size is zero or too large.
    #[error("limit {0} must be 1 to {PAGE_ROWS_MAX}")]
    Limit(usize),
    /// A window has no length.
    #[error("window of {0} ms must be at least 1 ms")]
    Window(i64),
    /// The answer would have too many windows.
    #[error("span holds {0} windows, at most {max} are answered: ask for longer windows or a shorter span", max = crate::window::WINDOWS_MAX)]
    TooManyWindows(u64),
    /// Too many percentiles.
    #[error("{0} percentiles, at most {max} are answered", max = crate::window::PERCENTILES_MAX)]
    Percentiles(usize),
    /// Percentiles would need too much memory.
    #[error(
        "a window holds more than {max} values, too many to tell percentiles: ask for shorter windows",
        max = crate::window::PERCENTILE_VALUES_MAX
    )]
    TooManyValues,
    /// A picture has no columns, or too many.
    #[error("{0} columns must be 1 to {max}", max = crate::outline::COLUMNS_MAX)]
    Columns(usize),
    /// Single readings of that time are no longer kept, and the windows asked for would cut what is.
    #[error(
        "readings of this span are kept as windows of {step_h} h only: ask for windows of whole multiples of that, without \
         percentiles and time-weighted means"
    )]
    Faded {
        /// Hours of one kept window.
        step_h: i64,
    },
}

/// Asks for rows of one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeQuery {
    /// Which point.
    pub point: PointNo,
    /// Rows whose `at` lies inside. A span that ends before it starts holds nothing.
    pub span: Span,
    /// Most rows in the page: 1 to [`PAGE_ROWS_MAX`].
    pub limit: usize,
    /// Continue behind this row: the `next` of the page before.
    pub after: Option<Cursor>,
}

impl RangeQuery {
    /// Checks the bounds.
    ///
    /// # Errors
    /// The limit is zero or too large.
    pub fn check(&self) -> Result<(), QueryFault> {
        if (1..=PAGE_ROWS_MAX).contains(&self.limit) { Ok(()) } else { Err(QueryFault::Limit(self.limit)) }
    }
}

/// Some rows of a range, and where to go on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// In the order (at, epoch, seq).
    pub rows: Vec<Row>,
    /// Set exactly if the range holds more rows; pass it as `after`.
    pub next: Option<Cursor>,
}

impl Page {
    /// Cuts ordered rows to a page. `rows` must hold at least one row more than `limit` if there are more.
    pub fn cut(mut rows: Vec<Row>, limit: usize) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(Cursor::of) } else { None };
        Self { rows, next }
    }
}

/// The place of a row among the rows of its point: its natural key without the point. Ordered like the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor {
    /// The row's time.
    pub at: Timestamp,
    /// The row's epoch.
    pub epoch: EpochNo,
    /// The row's record.
    pub seq: Seq,
}

impl Cursor {
    /// The place of this row.
    pub fn of(row: &Row) -> Self {
        Self { at: row.at, epoch: row.epoch, seq: row.seq }
    }

    /// Reads what `Display` writes; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let cursor = Self {
            at: Timestamp(parts.next()?.parse().ok()?),
            epoch: EpochNo(parts.next()?.parse().ok()?),
            seq: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at.0, self.epoch.0, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_what_they_display() {
        for (at, epoch, seq) in [(0, 0, 0), (-5, 7, u64::MAX), (i64::MAX, u32::MAX, 1), (i64::MIN, 1, 2)] {
            let cursor = Cursor { at: Timestamp(at), epoch: EpochNo(epoch), seq };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for bad in ["", "1", "1.2", "1.2.3.4", "1.-2.3", "a.b.c", "1.2.-3", "99999999999999999999.1.1"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_are_checked_at_both_ends() {
        let query = |limit| RangeQuery {
            point: PointNo(1),
            span: Span { from: Timestamp(0), to: Timestamp(1) },
            limit,
            after: None,
        };
        for (limit, ok) in [(0, false), (1, true), (PAGE_ROWS_MAX, true), (PAGE_ROWS_MAX + 1, false)] {
            assert_eq!(query(limit).check().is_ok(), ok, "{limit}");
        }
    }
}
