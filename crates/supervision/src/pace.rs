//! At most one reading per due slot: two writers of one point, as after cloning a card, do not make up for the silence of
//! another point.

use sitian_model::Timestamp;

/// Readings closer together than this share of the interval, in per cent, are of one slot. A poll may come so much early.
const SLOT_PERCENT: i64 = 70;

/// Which readings of one point have been counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// The newest counted one.
    newest: Option<Timestamp>,
    /// The last counted one of those that came late.
    late: Option<Timestamp>,
}

impl Pace {
    /// True if a reading taken then is to be counted: no other of its slot was.
    pub fn count(&mut self, at: Timestamp, interval_ms: u32) -> bool {
        let slot_ms = i64::from(interval_ms) * SLOT_PERCENT / 100;
        let apart = |other: Option<Timestamp>| other.is_none_or(|other| at.since_ms(other).abs() >= slot_ms);
        if !apart(self.newest) {
            return false;
        }
        if self.newest < Some(at) {
            self.newest = Some(at);
            return true;
        }
        let counts = apart(self.late);
        if counts {
            self.late = Some(at);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_counts_once_however_many_write_it() {
        type Case<'a> = (&'a str, Vec<i64>, usize);
        let every = |from: i64, n: i64| (0..n).map(move |k| from + k * 1_000);
        let both = |d: i64| every(0, 60).zip(every(d, 60)).flat_map(|(a, b)| [a, b]).collect::<Vec<_>>();
        let cases: Vec<Case<'_>> = vec![
            ("one writer", every(0, 60).collect(), 60),
            ("a writer that trembles", every(0, 60).map(|at| at + at % 7 * 40 - 120).collect(), 60),
            ("two writers, close together", both(90), 60),
            ("two writers, half an interval apart", both(500), 60),
            ("two writers, nearly an interval apart", both(930), 61),
            ("two writers at the same moments", both(0), 60),
            ("live first, what was kept behind it", every(60_000, 60).chain(every(0, 60)).collect(), 120),
            ("the same twice", every(0, 60).chain(every(59_000, 1)).collect(), 60),
            ("every other reading is missing", every(0, 60).filter(|at| at % 2_000 == 0).collect(), 30),
        ];
        for (name, times, expected) in cases {
            let mut pace = Pace::default();
            let counted = times.iter().filter(|at| pace.count(Timestamp(**at), 1_000)).count();
            assert_eq!(counted, expected, "{name}");
        }
    }
}
