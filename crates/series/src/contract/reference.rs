//! The smallest engine that keeps the law: all rows in one list, every question answered by looking at all of them.
//! Other engines are compared with it.

use std::sync::{Arc, Mutex, PoisonError};

use sitian_model::{PointNo, Row};

use crate::contract::Engine;
use crate::{Append, AppendError, Cursor, Page, RangeQuery, Refused, Series, SeriesError};

/// Rows in a list, ordered by point and natural key.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    rows: Arc<Mutex<Vec<Row>>>,
}

impl Reference {
    fn of(&self, point: PointNo) -> Vec<Row> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().filter(|row| row.point == point).copied().collect()
    }
}

impl Reference {
    /// Replaces a row by one with the same natural key. False if there is none.
    pub fn correct(&self, new: &Row) -> bool {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let place = rows.binary_search_by_key(&(new.point, Cursor::of(new)), |r| (r.point, Cursor::of(r)));
        place.is_ok_and(|place| {
            rows[place] = *new;
            true
        })
    }
}

impl Append for Reference {
    fn append(&mut self, new: &[Row]) -> Result<Vec<Refused>, AppendError> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for row in new {
            let place =
                rows.binary_search_by_key(&(row.point, Cursor::of(row)), |r| (r.point, Cursor::of(r)));
            if let Err(place) = place {
                rows.insert(place, *row);
            }
        }
        Ok(Vec::new())
    }
}

impl Engine for Reference {
    type Reader = Self;

    fn settle(&mut self) {}

    fn reader(&self) -> Self {
        self.clone()
    }
}

impl Series for Reference {
    fn latest(&self, points: &[PointNo]) -> Result<Vec<Option<Row>>, SeriesError> {
        Ok(points.iter().map(|point| self.of(*point).last().copied()).collect())
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, SeriesError> {
        query.check()?;
        let wanted =
            |row: &Row| query.span.contains(row.at) && query.after.is_none_or(|c| Cursor::of(row) > c);
        let rows = self.of(query.point).into_iter().filter(wanted).collect();
        Ok(Page::cut(rows, query.limit))
    }
}
