//! The rows that are in the journal but not yet in chunks, in memory, and the newest row of every point. Readers look
//! here before they look into the file. Knows no database.

use std::collections::HashMap;

use crate::kept::Kept;

/// Rows of all points that are not sealed yet.
#[derive(Debug, Default)]
pub(crate) struct Head {
    points: HashMap<u32, PointRows>,
    latest: HashMap<u32, Kept>,
    rows: usize,
}

/// Unsealed rows of one point, each list ordered by natural key, no key in both.
#[derive(Debug, Default)]
struct PointRows {
    /// Being sealed; nothing is added.
    frozen: Vec<Kept>,
    /// Came after the sealing began.
    open: Vec<Kept>,
}

impl Head {
    /// Adds a row, unless its natural key is here already.
    pub(crate) fn insert(&mut self, point: u32, row: Kept) {
        self.note_latest(point, row);
        let rows = self.points.entry(point).or_default();
        if place(&rows.frozen, &row).is_ok() {
            return;
        }
        if let Err(place) = place(&rows.open, &row) {
            rows.open.insert(place, row);
            self.rows += 1;
        }
    }

    /// Adds a row to those that are being sealed: while the store is opened amid a sealing.
    pub(crate) fn insert_frozen(&mut self, point: u32, row: Kept) {
        self.note_latest(point, row);
        let rows = self.points.entry(point).or_default();
        if let Err(place) = place(&rows.frozen, &row) {
            rows.frozen.insert(place, row);
            self.rows += 1;
        }
    }

    /// Takes note of a stored row that may be the newest of its point.
    pub(crate) fn note_latest(&mut self, point: u32, row: Kept) {
        let latest = self.latest.entry(point).or_insert(row);
        if row.key() > latest.key() {
            *latest = row;
        }
    }

    /// Corrects the newest row of a point, if it is this one.
    pub(crate) fn correct_latest(&mut self, point: u32, row: Kept) {
        if let Some(latest) = self.latest.get_mut(&point).filter(|latest| latest.key() == row.key()) {
            *latest = row;
        }
    }

    pub(crate) fn latest(&self, point: u32) -> Option<&Kept> {
        self.latest.get(&point)
    }

    /// Unsealed rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The points that have unsealed rows.
    pub(crate) fn points(&self) -> impl Iterator<Item = u32> + '_ {
        self.points.keys().copied()
    }

    /// Unsealed rows of a point between two moments (`to` excluded), in order.
    pub(crate) fn between(&self, point: u32, from: i64, to: i64) -> Vec<Kept> {
        let Some(rows) = self.points.get(&point) else { return Vec::new() };
        let cut = |rows: &'_ Vec<Kept>| {
            let start = rows.partition_point(|row| row.at < from);
            let end = rows.partition_point(|row| row.at < to).max(start);
            rows[start..end].to_vec()
        };
        let mut found = cut(&rows.frozen);
        found.extend(cut(&rows.open));
        found.sort_by_key(Kept::key);
        found
    }

    /// Freezes every row that is here, for sealing.
    pub(crate) fn freeze(&mut self) {
        for rows in self.points.values_mut().filter(|rows| rows.frozen.is_empty()) {
            std::mem::swap(&mut rows.frozen, &mut rows.open);
        }
    }

    /// The points that have frozen rows, in ascending order.
    pub(crate) fn frozen_points(&self) -> Vec<u32> {
        let mut points: Vec<u32> =
            self.points.iter().filter(|(_, rows)| !rows.frozen.is_empty()).map(|(point, _)| *point).collect();
        points.sort_unstable();
        points
    }

    pub(crate) fn frozen(&self, point: u32) -> &[Kept] {
        self.points.get(&point).map_or(&[], |rows| &rows.frozen)
    }

    /// Forgets the frozen rows of a point: they are durable in chunks.
    pub(crate) fn thaw(&mut self, point: u32) {
        if let Some(rows) = self.points.get_mut(&point) {
            self.rows -= rows.frozen.len();
            rows.frozen = Vec::new();
            if rows.open.is_empty() {
                self.points.remove(&point);
            }
        }
    }
}

/// Where a row is (`Ok`) or belongs (`Err`). Rows mostly come in order, so the end is tried first.
fn place(rows: &[Kept], row: &Kept) -> Result<usize, usize> {
    match rows.last() {
        Some(last) if last.key() >= row.key() => rows.binary_search_by_key(&row.key(), Kept::key),
        _ => Err(rows.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: i64) -> Kept {
        Kept { at, seq: 0, value: at as f64, epoch: 0, code: 0 }
    }

    fn times(rows: &[Kept]) -> Vec<i64> {
        rows.iter().map(|row| row.at).collect()
    }

    #[test]
    fn rows_stay_in_order_and_single_while_they_are_frozen_and_thawed() {
        let mut head = Head::default();
        [5, 3, 9, 5].into_iter().for_each(|at| head.insert(1, row(at)));
        assert_eq!((times(&head.between(1, 0, 10)), head.rows()), (vec![3, 5, 9], 3));
        head.freeze();
        [4, 9, 11].into_iter().for_each(|at| head.insert(1, row(at)));
        head.insert(2, row(1));
        assert_eq!((times(&head.between(1, 4, 11)), head.rows()), (vec![4, 5, 9], 6));
        assert_eq!((head.frozen_points(), times(head.frozen(1))), (vec![1], vec![3, 5, 9]));
        head.thaw(1);
        assert_eq!((times(&head.between(1, 0, 100)), head.rows()), (vec![4, 11], 3));
        head.freeze();
        assert_eq!(head.frozen_points(), [1, 2]);
        head.thaw(1);
        head.thaw(2);
        assert_eq!((head.rows(), head.latest(1).map(|row| row.at)), (0, Some(11)));
        assert_eq!(times(&head.between(1, 9, 2)), Vec::<i64>::new());
    }
}
