//! Down-sampling for pictures. A line drawn through the first, lowest, highest and last value of every column of pixels
//! is the line drawn through all values, pixel by pixel; means would hide the spikes that people look for. The first
//! row without a value of every column stays as well, so that a picture can show the break.

use sitian_model::{PointNo, Row, Span};

use crate::query::QueryFault;

/// Most columns of one picture.
pub const COLUMNS_MAX: usize = 4_000;
/// Most rows of one column.
pub const COLUMN_ROWS_MAX: usize = 5;

/// Asks for the rows that a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlineQuery {
    /// Which point.
    pub point: PointNo,
    /// Rows whose `at` lies inside.
    pub span: Span,
    /// Columns of equal width: 1 to [`COLUMNS_MAX`]. At most five rows of each are answered.
    pub columns: usize,
}

/// Picks the rows of a picture from ordered rows.
#[derive(Debug)]
pub struct Outline {
    span: Span,
    columns: i128,
    column: i128,
    open: Column,
    rows: Vec<Row>,
}

/// What a column shows so far.
#[derive(Debug, Default)]
struct Column {
    first: Option<Row>,
    lowest: Option<Row>,
    highest: Option<Row>,
    last: Option<Row>,
    bad: Option<Row>,
}

impl Outline {
    /// Of no rows yet.
    ///
    /// # Errors
    /// There are no columns, or too many.
    pub fn new(query: &OutlineQuery) -> Result<Self, QueryFault> {
        if !(1..=COLUMNS_MAX).contains(&query.columns) {
            return Err(QueryFault::Columns(query.columns));
        }
        let columns = query.columns as i128;
        Ok(Self { span: query.span, columns, column: 0, open: Column::default(), rows: Vec::new() })
    }

    /// Looks at a row, which must not be older than the one before. Rows outside the span are ignored.
    pub fn observe(&mut self, row: &Row) {
        if !self.span.contains(row.at) {
            return;
        }
        let length = i128::from(self.span.to.0) - i128::from(self.span.from.0);
        let column = (i128::from(row.at.0) - i128::from(self.span.from.0)) * self.columns / length;
        if column != self.column {
            self.column = column;
            std::mem::take(&mut self.open).show(&mut self.rows);
        }
        self.open.observe(row);
    }

    /// The rows, oldest first.
    pub fn finish(mut self) -> Vec<Row> {
        self.open.show(&mut self.rows);
        self.rows
    }
}

impl Column {
    fn observe(&mut self, row: &Row) {
        if row.value.is_none() {
            self.bad.get_or_insert(*row);
            return;
        }
        self.first.get_or_insert(*row);
        self.last = Some(*row);
        if self.lowest.is_none_or(|lowest| row.value < lowest.value) {
            self.lowest = Some(*row);
        }
        if self.highest.is_none_or(|highest| row.value > highest.value) {
            self.highest = Some(*row);
        }
    }

    fn show(self, rows: &mut Vec<Row>) {
        let begun = rows.len();
        rows.extend([self.first, self.lowest, self.highest, self.last, self.bad].into_iter().flatten());
        rows[begun..].sort_by_key(|row| (row.at, row.epoch, row.seq));
        rows.dedup_by_key(|row| (row.at, row.epoch, row.seq));
    }
}

#[cfg(test)]
mod tests {
    use sitian_model::{Cause, Timestamp};

    use super::*;
    use crate::contract::{bad, good, span};

    fn check(columns: usize, values: &[Option<i32>], shown: &[usize]) {
        let row = |n: usize| match values[n] {
            Some(value) => good(1, n as i64, n as u64, f64::from(value)),
            None => bad(1, n as i64, n as u64, Cause::Timeout),
        };
        let query = OutlineQuery { point: PointNo(1), span: span(0, values.len() as i64), columns };
        let mut outline = Outline::new(&query).expect("in bounds");
        outline.observe(&good(1, -1, 0, 99.0));
        (0..values.len()).for_each(|n| outline.observe(&row(n)));
        outline.observe(&Row { at: Timestamp(values.len() as i64), ..row(0) });
        let found: Vec<_> = outline.finish().iter().map(|row| row.seq as usize).collect();
        assert_eq!(found, shown, "{values:?} in {columns}");
    }

    #[test]
    fn every_column_shows_its_ends_its_extremes_and_its_first_break() {
        let some = |values: &[i32]| values.iter().copied().map(Some).collect::<Vec<_>>();
        check(1, &some(&[3, 9, 5, 5, 1, 4, 6]), &[0, 1, 4, 6]);
        check(1, &some(&[5, 5, 5, 5]), &[0, 3]);
        check(2, &some(&[1, 2, 3, 4, 3, 2]), &[0, 2, 3, 5]);
        check(1, &[Some(1), None, None, Some(2), Some(9), Some(2)], &[0, 1, 4, 5]);
        check(4, &[Some(1), None], &[0, 1]);
        check(3, &[None, None, None], &[0, 1, 2]);
    }

    #[test]
    fn columns_out_of_bounds_are_refused_and_extreme_spans_are_not() {
        let query = |columns| OutlineQuery { point: PointNo(1), span: span(i64::MIN, i64::MAX), columns };
        for (columns, ok) in [(0, false), (1, true), (COLUMNS_MAX, true), (COLUMNS_MAX + 1, false)] {
            assert_eq!(Outline::new(&query(columns)).is_ok(), ok, "{columns}");
        }
        let mut outline = Outline::new(&query(COLUMNS_MAX)).expect("in bounds");
        outline.observe(&good(1, i64::MAX - 1, 0, 1.0));
        assert_eq!(outline.finish().len(), 1);
    }
}
