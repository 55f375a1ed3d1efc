//! Readings and windows.

use sitian_alert as alert;
use sitian_ingest::{Taken, Undated};
use sitian_model::{CorrectionStored, Epoch, EpochNo, PointId, PointNo, Quality, Row, Span, Timestamp};
use sitian_series::{
    AggregateQuery, Completeness, Cursor, Extras, Missing, Page, Permille, RangeQuery, SeriesError, Window,
};

use super::{PointFacts, Presenter, episode};
use crate::backend::{BackendError, ReadingsQuery};
use crate::view;

/// Windows of a sparkline.
const SPARKLINE_WINDOWS: i64 = 30;
/// Width of one of them, in milliseconds.
const SPARKLINE_WINDOW_MS: i64 = 120_000;

impl Presenter {
    /// The newest row of a point as seen at `now`.
    pub fn latest(
        &self,
        id: &PointId,
        row: &Row,
        now: Timestamp,
        alert: Option<alert::Severity>,
        sparkline: Option<&[Window]>,
    ) -> view::Latest {
        view::Latest {
            point: id.to_string(),
            at: self.time(row.at),
            value: row.value,
            quality: quality(row.quality),
            cause: cause(row.quality),
            age_ms: u64::try_from(now.since_ms(row.at)).unwrap_or(0),
            alert: alert.map(episode::severity),
            sparkline: sparkline.map(|windows| windows.iter().map(Window::mean).collect()),
        }
    }

    /// What to ask the series for, to draw a sparkline: 30 windows of two minutes, the last one begun.
    pub fn sparkline_query(&self, point: PointNo, now: Timestamp) -> AggregateQuery {
        let begun = now.0.rem_euclid(SPARKLINE_WINDOW_MS);
        let from = now.plus_ms(-begun - (SPARKLINE_WINDOWS - 1) * SPARKLINE_WINDOW_MS);
        let span = Span { from, to: now.plus_ms(1) };
        AggregateQuery {
            point,
            span,
            window_ms: SPARKLINE_WINDOW_MS,
            offset_ms: 0,
            interval_ms: None,
            extras: Extras::default(),
        }
    }

    /// What to ask the series for, to answer a question about readings.
    ///
    /// # Errors
    /// The cursor is none that an answer gave.
    pub fn range_query(&self, point: PointNo, query: &ReadingsQuery) -> Result<RangeQuery, BackendError> {
        let foreign = || BackendError::Invalid("cursor is none that an earlier answer gave".to_owned());
        let read = |text: &String| Cursor::parse(text).ok_or_else(foreign);
        let after = query.after.as_ref().map(read).transpose()?;
        Ok(RangeQuery { point, span: query.span, limit: query.limit, after })
    }

    /// What to ask the series for, to answer a question about windows that begin at `span.from`.
    pub fn aggregate_query(
        &self,
        point: PointNo,
        span: Span,
        window_ms: u64,
        interval_ms: u32,
    ) -> AggregateQuery {
        let window_ms = i64::try_from(window_ms).unwrap_or(i64::MAX).max(1);
        let offset_ms = span.from.0.rem_euclid(window_ms);
        AggregateQuery {
            point,
            span,
            window_ms,
            offset_ms,
            interval_ms: Some(interval_ms),
            extras: Extras::default(),
        }
    }

    /// What to ask the series for, to say how complete a span is: one window over all of it.
    pub fn completeness_query(&self, point: PointNo, span: Span, interval_ms: u32) -> AggregateQuery {
        let length = u64::try_from(span.to.since_ms(span.from)).unwrap_or(0).max(1);
        self.aggregate_query(point, span, length, interval_ms)
    }

    /// A page of readings; `whole` are the windows over the whole span, `epoch` names an epoch by its number.
    pub fn readings(
        &self,
        point: PointFacts<'_>,
        page: &Page,
        whole: &[Window],
        undated: &[Undated],
        epoch: impl Fn(EpochNo) -> Option<Epoch>,
    ) -> view::Readings {
        let one = |row: &Row| view::Reading {
            at: self.time(row.at),
            value: row.value,
            quality: quality(row.quality),
            cause: cause(row.quality),
            epoch: epoch(row.epoch).map_or_else(String::new, |epoch| epoch.to_string()),
            seq: row.seq,
            corrected: false,
        };
        view::Readings {
            point: point.id.to_string(),
            unit: point.info.unit.clone(),
            items: page.rows.iter().map(one).collect(),
            completeness: completeness(whole),
            undated: undated
                .iter()
                .map(|one| self.undated(epoch(one.epoch), one.readings, one.taken))
                .collect(),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        }
    }

    /// A correction; `epoch` is that of its row.
    pub fn correction(&self, one: &CorrectionStored, epoch: Option<Epoch>) -> view::Correction {
        let row = &one.correction.row;
        view::Correction {
            id: one.id,
            at: self.time(row.at),
            epoch: epoch.map_or_else(String::new, |epoch| epoch.to_string()),
            seq: row.seq,
            after: said(row),
            before: said(&one.before),
            by: one.correction.by.clone(),
            note: one.correction.note.clone(),
            made_at: self.time(one.correction.at),
        }
    }

    /// The windows of a point, and why readings are missing in each of them (`missing`) and in the whole span.
    pub fn aggregates(
        &self,
        point: PointFacts<'_>,
        window_ms: u64,
        windows: &[Window],
        percentiles: &[Permille],
        missing: (&[Missing], &Missing),
        undated: Vec<view::Undated>,
    ) -> view::Aggregates {
        let (missing, whole) = missing;
        let one = |(n, window): (usize, &Window)| view::Window {
            from: self.time(window.from),
            to: self.time(window.to),
            mean: window.mean(),
            min: window.min,
            max: window.max,
            first: window.first,
            last: window.last,
            sum: window.mean().map(|_| window.sum),
            time_weighted: window.time_weighted,
            increase: window.increase,
            percentiles: percentiles
                .iter()
                .map(Permille::to_string)
                .zip(window.percentiles.clone())
                .collect(),
            count: window.count(),
            uncertain: window.uncertain,
            corrected: 0,
            expected: window.expected.unwrap_or(0),
            bad: window.bad.iter().map(|(cause, count)| (cause.word().to_owned(), *count)).collect(),
            missing: missing.get(n).map(|missing| self.missing(missing)).unwrap_or_default(),
        };
        view::Aggregates {
            point: point.id.to_string(),
            unit: point.info.unit.clone(),
            window_ms,
            items: windows.iter().enumerate().map(one).collect(),
            completeness: completeness(windows),
            missing: self.missing(whole),
            undated,
        }
    }

    /// Readings of unknown time, and between which moments they were taken.
    pub fn undated(&self, epoch: Option<Epoch>, readings: u64, taken: Taken) -> view::Undated {
        view::Undated {
            epoch: epoch.map_or_else(String::new, |epoch| epoch.to_string()),
            count: readings,
            after: taken.after.map(|at| self.time(at)),
            before: self.time(taken.before),
        }
    }
}

impl From<SeriesError> for BackendError {
    fn from(error: SeriesError) -> Self {
        match error {
            SeriesError::Stopped => Self::Stopped,
            SeriesError::Query(fault) => Self::Invalid(fault.to_string()),
            SeriesError::Engine(source) => Self::Unavailable(source.to_string()),
        }
    }
}

fn completeness(windows: &[Window]) -> view::Completeness {
    let nothing = Completeness { expected: Some(0), ..Completeness::default() };
    let all = windows.iter().map(Window::completeness).fold(nothing, Completeness::and);
    view::Completeness { expected: all.expected.unwrap_or(0), stored: all.stored, ratio: all.ratio() }
}

fn said(row: &Row) -> view::Said {
    view::Said { value: row.value, quality: quality(row.quality), cause: cause(row.quality) }
}

fn quality(quality: Quality) -> view::Quality {
    match quality {
        Quality::Good => view::Quality::Good,
        Quality::Uncertain(_) => view::Quality::Uncertain,
        Quality::Bad(_) => view::Quality::Bad,
    }
}

fn cause(quality: Quality) -> Option<String> {
    quality.cause().map(|cause| cause.word().to_owned())
}
