//! What a store's file still knows of readings that were moved to another engine, which keeps rows only: corrections, and
//! the hours and days of readings that retention has dropped.
//!
//! ```text
//!  windows      │ hours and days in the file │ rows of the engine ─► both, added up
//!  corrections  │ the file's
//!  rows         │                            │ the engine's
//! ```

use std::sync::Arc;

use anyhow::Result;
use sitian_model::{CorrectionStored, PointNo, Row, Span};
use sitian_series::{AggregateQuery, Page, RangeQuery, Series, SeriesError, Window};
use sitian_store_embedded::Reader;

use super::Answers;

/// Adds what the file knows to what the engine answers, if it knows anything.
///
/// # Errors
/// The file is damaged or the disk refuses.
pub(super) fn beside(engine: Answers, file: &Reader) -> Result<Answers> {
    let holding = file.holding()?;
    if holding.corrections == 0 && holding.faded_points == 0 {
        return Ok(engine);
    }
    Ok(Arc::new(Remains { engine, file: file.clone() }))
}

/// An engine and a file without rows.
struct Remains<E, F> {
    engine: E,
    file: F,
}

impl<F: Series> Series for Remains<Answers, F> {
    fn latest(&self, points: &[PointNo]) -> Result<Vec<Option<Row>>, SeriesError> {
        self.engine.latest(points)
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, SeriesError> {
        self.engine.range(query)
    }

    fn walk(
        &self,
        point: PointNo,
        span: Span,
        each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), SeriesError> {
        self.engine.walk(point, span, each)
    }

    fn walk_all(
        &self,
        points: &[PointNo],
        span: Span,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), SeriesError> {
        self.engine.walk_all(points, span, each)
    }

    fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Window>, SeriesError> {
        let mut windows = self.file.aggregate(query)?;
        let rows = self.engine.aggregate(query)?;
        add(&mut windows, &rows, query.extras.increase);
        Ok(windows)
    }

    fn corrections(
        &self,
        point: PointNo,
        span: Span,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<CorrectionStored>, SeriesError> {
        self.file.corrections(point, span, before, limit)
    }

    fn sent(&self, point: PointNo, span: Span) -> Result<Vec<Row>, SeriesError> {
        self.file.sent(point, span)
    }
}

/// Adds windows of rows to the same windows of older rows.
fn add(windows: &mut [Window], rows: &[Window], increase: bool) {
    let before = windows.iter().rev().find_map(|window| window.last);
    let mut between = before.filter(|_| increase);
    for (window, more) in windows.iter_mut().zip(rows) {
        let (mut counted, extras) = (None, more.increase);
        if let (Some(last), Some(first)) = (between, more.first) {
            // A counter that went down began at 0 again.
            counted = Some(if first >= last { first - last } else { first });
            between = None;
        }
        window.absorb(more);
        (window.time_weighted, window.percentiles) = (more.time_weighted, more.percentiles.clone());
        let parts = [window.increase, extras, counted];
        window.increase = parts.into_iter().flatten().reduce(|a, b| a + b);
    }
}

#[cfg(test)]
mod tests {
    use sitian_model::Timestamp;
    use sitian_series::contract::{Reference, good};
    use sitian_series::{Append, Extras};

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn windows_of_both_are_what_one_engine_with_all_rows_would_say() {
        let value = |n: i64| if n < 70 { n as f64 } else { (n - 70) as f64 };
        let row = |n: i64| good(1, n * HOUR_MS / 10, n as u64, value(n));
        for (cut, increase) in [(0, true), (30, false), (30, true), (35, true), (70, true), (100, true)] {
            let (mut old, mut new, mut all) =
                (Reference::default(), Reference::default(), Reference::default());
            for n in 0..100 {
                let place = if n < cut { &mut old } else { &mut new };
                place.append(&[row(n)]).expect("takes it");
                all.append(&[row(n)]).expect("takes it");
            }
            let query = AggregateQuery {
                point: PointNo(1),
                span: Span { from: Timestamp(0), to: Timestamp(12 * HOUR_MS) },
                window_ms: HOUR_MS,
                offset_ms: 0,
                interval_ms: Some(360_000),
                extras: Extras { increase, ..Extras::default() },
            };
            let engine: Answers = Arc::new(new);
            let both = Remains { engine, file: old };
            let (found, expected) = (both.aggregate(&query), all.aggregate(&query));
            assert_eq!(found.expect("answers"), expected.expect("answers"), "{cut} {increase}");
        }
    }
}
