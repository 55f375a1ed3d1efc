//! Brings rows of one point from the head and from chunks into one order, each natural key once, while holding no more
//! than what overlaps. Knows no database.

use std::collections::VecDeque;

use crate::kept::Kept;

/// Rows that wait for their turn, ordered by natural key, no key twice.
#[derive(Debug)]
pub(crate) struct Merge {
    waiting: VecDeque<Kept>,
    last: Option<(i64, u32, u64)>,
}

impl Merge {
    /// Starts with ordered rows.
    pub(crate) fn new(rows: Vec<Kept>) -> Self {
        let mut merge = Self { waiting: VecDeque::new(), last: None };
        merge.add(rows.into_iter());
        merge
    }

    /// Adds ordered rows, none older than what was drained.
    pub(crate) fn add(&mut self, rows: impl Iterator<Item = Kept>) {
        let behind = self.waiting.back().map(Kept::key);
        let mut ordered = true;
        for row in rows {
            ordered &= behind.is_none_or(|behind| behind < row.key());
            self.waiting.push_back(row);
        }
        if !ordered {
            // Two ordered runs: the stable sort merges them in one pass.
            self.waiting.make_contiguous().sort_by_key(Kept::key);
        }
    }

    /// Hands out the rows before a moment, once nothing older can be added. False as soon as `each` says stop.
    pub(crate) fn drain_before(&mut self, at: i64, each: &mut impl FnMut(&Kept) -> bool) -> bool {
        while let Some(row) = self.waiting.front().filter(|row| row.at < at) {
            let (row, key) = (*row, row.key());
            self.waiting.pop_front();
            if self.last != Some(key) {
                self.last = Some(key);
                if !each(&row) {
                    return false;
                }
            }
        }
        true
    }

    /// Hands out the rest.
    pub(crate) fn drain(mut self, each: &mut impl FnMut(&Kept) -> bool) {
        if self.drain_before(i64::MAX, each) {
            // Rows at the very end of time.
            for row in self.waiting {
                if self.last.replace(row.key()) != Some(row.key()) && !each(&row) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_runs_come_out_in_order_and_single_and_stop_when_told() {
        let run = |at: &[i64]| {
            at.iter().map(|at| Kept { at: *at, seq: 0, value: 0.0, epoch: 0, code: 0 }).collect()
        };
        let head: Vec<Kept> = run(&[3, 8, i64::MAX]);
        let chunks: [Vec<Kept>; 3] = [run(&[1, 3, 4]), run(&[2, 8, 9]), run(&[12, i64::MAX])];
        for (limit, expected) in
            [(99, vec![1, 2, 3, 4, 8, 9, 12, i64::MAX]), (3, vec![1, 2, 3]), (1, vec![1])]
        {
            let mut seen = Vec::new();
            let mut each = |row: &Kept| {
                seen.push(row.at);
                seen.len() < limit
            };
            let mut merge = Merge::new(head.clone());
            let going = chunks.iter().all(|chunk| {
                let going = merge.drain_before(chunk[0].at, &mut each);
                merge.add(chunk.iter().copied());
                going
            });
            if going {
                merge.drain(&mut each);
            }
            assert_eq!(seen, expected);
        }
    }
}
