//! Corrections: a person's word about stored readings becomes rows with a history; what they touched carries a mark.

use std::collections::HashMap;

use sitian_api::backend::{Change, CorrectionsQuery, NewCorrection};
use sitian_api::limits::CORRECTED_MAX;
use sitian_api::view::{self, Aggregates, Corrected, Page, Readings};
use sitian_api::{Backend, BackendError};
use sitian_model::{
    Correction, CorrectionStored, EpochNo, PointId, PointNo, Quality, Row, Seq, Span, Timestamp,
};
use sitian_series::{RangeQuery, Window};
use tokio::sync::oneshot;

use super::export::{corrected, key};
use super::{Centre, page};
use crate::admit::Ask;

/// What names a row of a point.
type Key = (Timestamp, EpochNo, Seq);

impl Centre {
    /// Corrects what a person knows better.
    pub fn correct_point(&self, id: &PointId, wanted: &NewCorrection) -> Result<Corrected, BackendError> {
        let (no, engine) = {
            let board = self.board();
            (Self::number(&board, id)?, board.engine)
        };
        if engine != "embedded" {
            return Err(BackendError::Invalid(format!(
                "readings are kept in {engine}, which keeps no history of corrections; only the embedded engine does"
            )));
        }
        let rows = self.rows_of(no, wanted.span)?;
        let sent: HashMap<Key, Row> =
            self.series.sent(no, wanted.span)?.into_iter().map(|row| (key(&row), row)).collect();
        let now = self.now();
        let change = |row: &Row| {
            let row = changed(row, sent.get(&key(row)).unwrap_or(row), wanted.change)?;
            Some(Correction { row, by: wanted.by.clone(), note: wanted.note.clone(), at: now })
        };
        let corrections: Vec<Correction> = rows.iter().filter_map(change).collect();
        let total = rows.len() as u64;
        if corrections.is_empty() {
            return Ok(Corrected { corrected: 0, unchanged: total });
        }
        let (reply, outcome) = oneshot::channel();
        let busy = || BackendError::Unavailable("the store does not answer, try again".to_owned());
        self.asks.blocking_send(Ask::Correct { corrections, reply }).map_err(|_| busy())?;
        let corrected = outcome.blocking_recv().map_err(|_| busy())?.map_err(BackendError::Unavailable)?;
        let corrected = corrected as u64;
        Ok(Corrected { corrected, unchanged: total.saturating_sub(corrected) })
    }

    /// What was corrected, newest first.
    pub fn corrections_of(
        &self,
        id: &PointId,
        query: &CorrectionsQuery,
    ) -> Result<Page<view::Correction>, BackendError> {
        let foreign = || BackendError::Invalid("cursor is none that an earlier answer gave".to_owned());
        let before =
            query.after.as_ref().map(|text| text.parse::<u64>().map_err(|_| foreign())).transpose()?;
        let no = Self::number(&self.board(), id)?;
        let found = self.series.corrections(no, query.span, before, query.limit + 1)?;
        let board = self.board();
        let show = |one: &CorrectionStored| {
            let epoch = board.epochs.get(&one.correction.row.epoch).copied();
            self.presenter.correction(one, epoch)
        };
        Ok(page(found, query.limit, |one| one.id, show))
    }

    fn rows_of(&self, no: PointNo, span: Span) -> Result<Vec<Row>, BackendError> {
        let query = RangeQuery { point: no, span, limit: CORRECTED_MAX, after: None };
        let found = self.series.range(&query)?;
        if found.next.is_some() {
            return Err(BackendError::TooWide(format!(
                "more than {CORRECTED_MAX} readings lie there, which is what one request may correct; correct in parts"
            )));
        }
        Ok(found.rows)
    }

    /// Marks what is not what the sensor sent.
    pub fn mark_readings(&self, shown: &mut Readings, rows: &[Row]) -> Result<(), BackendError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let marks = corrected(&*self.series, first.point, Span { from: first.at, to: last.at.plus_ms(1) })?;
        for (item, row) in shown.items.iter_mut().zip(rows) {
            item.corrected = marks.contains(&key(row));
        }
        Ok(())
    }

    /// Counts in every window what is not what the sensor sent.
    pub fn mark_windows(
        &self,
        shown: &mut Aggregates,
        no: PointNo,
        windows: &[Window],
    ) -> Result<(), BackendError> {
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Ok(()) };
        for row in self.series.sent(no, Span { from: first.from, to: last.to })? {
            let place = windows.partition_point(|window| window.to <= row.at);
            if let Some(item) = shown.items.get_mut(place) {
                item.corrected += 1;
            }
        }
        Ok(())
    }
}

/// The row as it should be; `None` if it says so already or nothing can be said. `sent` is the row as the sensor sent it.
fn changed(row: &Row, sent: &Row, change: Change) -> Option<Row> {
    let (value, quality) = match change {
        Change::Set(value) => (Some(value), Quality::Good),
        Change::Add(more) => (Some(tidy(sent.value? + more)), sent.quality),
        Change::Restore => (sent.value, sent.quality),
    };
    let new = Row { value: value.filter(|value| value.is_finite()), quality, ..*row };
    (new != *row && (new.value.is_some() || value.is_none())).then_some(new)
}

/// Without the dust of binary fractions: 24.1 less 0.5 is 23.6.
fn tidy(value: f64) -> f64 {
    const NANO: f64 = 1e9;
    if value.abs() < 1e6 { (value * NANO).round() / NANO } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sitian_model::Cause;

    #[test]
    fn a_change_counts_from_what_the_sensor_sent_and_says_nothing_twice() {
        let row = |value: Option<f64>, quality| Row {
            point: PointNo(1),
            at: Timestamp(5),
            value,
            quality,
            epoch: EpochNo(1),
            seq: 1,
        };
        let doubt = Quality::Uncertain(Cause::ClockUnknown);
        let (sent, silent) = (row(Some(10.0), doubt), row(None, Quality::Bad(Cause::Timeout)));
        let now = row(Some(9.5), doubt);
        for (stored, sent, change, expected) in [
            (sent, sent, Change::Add(-0.5), Some(now)),
            (now, sent, Change::Add(-0.5), None),
            (now, sent, Change::Add(1.0), Some(row(Some(11.0), doubt))),
            (row(Some(24.1), doubt), row(Some(24.1), doubt), Change::Add(-0.5), Some(row(Some(23.6), doubt))),
            (now, sent, Change::Set(12.0), Some(row(Some(12.0), Quality::Good))),
            (now, sent, Change::Restore, Some(sent)),
            (sent, sent, Change::Restore, None),
            (silent, silent, Change::Add(1.0), None),
            (silent, silent, Change::Set(3.0), Some(row(Some(3.0), Quality::Good))),
            (row(Some(3.0), Quality::Good), silent, Change::Restore, Some(silent)),
            (sent, sent, Change::Add(f64::MAX * 2.0), None),
        ] {
            assert_eq!(changed(&stored, &sent, change), expected, "{stored:?} {change:?}");
        }
    }
}
