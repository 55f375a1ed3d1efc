//! The rows whose time nobody knows, found again: they stand where the gateway's clock said.

use sitian_api::Presenter;
use sitian_api::view;
use sitian_ingest::Undated;
use sitian_model::{Quality, Row, Span};
use sitian_series::{Cursor, Page, RangeQuery, Series, SeriesError};

use crate::board::Board;

/// How many there are, and when they were taken, as people see it.
pub fn show(undated: &[Undated], presenter: &Presenter, board: &Board) -> Vec<view::Undated> {
    let show =
        |one: &Undated| presenter.undated(board.epochs.get(&one.epoch).copied(), one.readings, one.taken);
    undated.iter().map(show).collect()
}

/// A page of these rows of one point, in the order of what the gateway's clock said. The span of the query says nothing here.
///
/// # Errors
/// The engine cannot answer, or the query is out of bounds.
pub fn page(
    series: &(impl Series + ?Sized),
    query: &RangeQuery,
    undated: &[Undated],
) -> Result<Page, SeriesError> {
    query.check()?;
    let mut rows = Vec::new();
    for one in undated {
        let from = query.after.map_or(one.stamped.from, |after| after.at.max(one.stamped.from));
        let (span, mut left) = (Span { from, to: one.stamped.to.plus_ms(1) }, query.limit + 1);
        series.walk(query.point, span, &mut |row| {
            if is_of(row, one) && query.after.is_none_or(|after| Cursor::of(row) > after) {
                rows.push(*row);
                left -= 1;
            }
            left > 0
        })?;
    }
    rows.sort_by_key(Cursor::of);
    Ok(Page::cut(rows, query.limit))
}

/// A row of known time is never among them: where there is a value, its quality would say so.
fn is_of(row: &Row, undated: &Undated) -> bool {
    let (first, last) = undated.seqs;
    row.epoch == undated.epoch && (first..=last).contains(&row.seq) && row.quality != Quality::Good
}

#[cfg(test)]
mod tests {
    use sitian_ingest::Taken;
    use sitian_model::{Cause, EpochNo, PointNo, Timestamp};
    use sitian_series::Append;
    use sitian_series::contract::Reference;

    use super::*;

    fn row(at: i64, epoch: u32, seq: u64, quality: Quality) -> Row {
        let value = (!matches!(quality, Quality::Bad(_))).then_some(1.0);
        Row { point: PointNo(1), at: Timestamp(at), value, quality, epoch: EpochNo(epoch), seq }
    }

    #[test]
    fn pages_hold_every_row_of_unknown_time_once_and_no_other() {
        let unknown = Quality::Uncertain(Cause::ClockUnknown);
        let mut series = Reference::default();
        let rows = [
            row(10, 1, 0, unknown),
            row(11, 2, 0, unknown),
            row(12, 1, 1, Quality::Bad(Cause::Timeout)),
            row(12, 9, 4, Quality::Good),
            row(13, 1, 2, Quality::Good),
            row(14, 2, 1, unknown),
            row(15, 1, 7, unknown),
            row(16, 2, 2, Quality::Bad(Cause::Timeout)),
        ];
        assert_eq!(series.append(&rows).expect("takes all"), []);
        let of = |epoch, last: u64, from, to| Undated {
            epoch: EpochNo(epoch),
            point: PointNo(1),
            readings: last + 1,
            seqs: (0, last),
            stamped: Span { from: Timestamp(from), to: Timestamp(to) },
            taken: Taken { after: None, before: Timestamp(100) },
        };
        let both = [of(1, 2, 10, 13), of(2, 1, 11, 14)];
        let check = |undated: &[Undated], expected: &[i64]| {
            for limit in 1..=5 {
                let span = Span { from: Timestamp(0), to: Timestamp(1) };
                let mut query = RangeQuery { point: PointNo(1), span, limit, after: None };
                let mut found = Vec::new();
                loop {
                    let answer = page(&series, &query, undated).expect("an answer");
                    assert!(answer.rows.len() <= limit);
                    found.extend(answer.rows.iter().map(|row| row.at.0));
                    let Some(next) = answer.next else { break };
                    query.after = Some(next);
                }
                assert_eq!(found, expected, "{limit} at a time");
            }
        };
        check(&both, &[10, 11, 12, 14]);
        check(&both[..1], &[10, 12]);
        check(&both[1..], &[11, 14]);
        check(&[], &[]);
    }
}
