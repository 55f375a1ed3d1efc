//! What became of the readings of a [`Counter`](crate::Counter): the device knows what was measured, the gateway's log
//! what was accepted, the centre what is stored and what is a gap. Nothing of this goes through a faulted part.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::counter::POINTS_MAX;
use crate::tally::Harm;

/// A record's label: epoch and sequence number.
pub type Label = (String, u64);

/// What the gateway's log calls accepted, read on as the log grows.
#[derive(Debug)]
pub struct Accepted {
    log: PathBuf,
    read: u64,
    rest: String,
    /// Every accepted label.
    pub labels: BTreeSet<Label>,
}

impl Accepted {
    /// Of the gateway that logs into `folder`.
    pub fn of(folder: &Path) -> Self {
        Self { log: folder.join("gateway.log"), read: 0, rest: String::new(), labels: BTreeSet::new() }
    }

    /// Reads what the log has got since; returns how many labels are accepted.
    pub fn read(&mut self) -> usize {
        let mut bytes = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.log)
            && file.seek(SeekFrom::Start(self.read)).is_ok()
        {
            self.read += file.read_to_end(&mut bytes).unwrap_or_default() as u64;
        }
        self.rest += &String::from_utf8_lossy(&bytes);
        let whole = self.rest.rfind('\n').map_or(0, |at| at + 1);
        for line in self.rest[..whole].lines().filter(|line| line.contains("accepted")) {
            let field = |name: &str| line.split(name).nth(1)?.split_whitespace().next();
            if let (Some(epoch), Some(seq)) =
                (field("epoch="), field("seq=").and_then(|seq| seq.parse().ok()))
            {
                self.labels.insert((epoch.to_owned(), seq));
            }
        }
        self.rest.drain(..whole);
        self.labels.len()
    }
}

/// What the centre has of one gateway.
#[derive(Debug, Default)]
pub struct Stored {
    /// The rows of each point, oldest first.
    pub points: Vec<Vec<Value>>,
    /// The gaps.
    pub gaps: Vec<Value>,
}

impl Stored {
    /// The labels of all rows.
    pub fn labels(&self) -> BTreeSet<Label> {
        self.points.iter().flatten().filter_map(label).collect()
    }

    /// Whether a gap covers this label.
    pub fn gone((epoch, seq): &Label, gaps: &[Value]) -> bool {
        gaps.iter().any(|gap| {
            let number = |key: &str| gap[key].as_u64().unwrap_or_default();
            gap["epoch"] == *epoch && (number("first_seq")..=number("last_seq")).contains(seq)
        })
    }

    /// Judges what is stored after `reads` reads of the device, of which the gateway accepted `accepted`.
    pub fn judge(&self, accepted: &BTreeSet<Label>, reads: u64) -> Verdict {
        let mut verdict = Verdict::default();
        let labels = self.labels();
        let lost = accepted.iter().filter(|label| !labels.contains(*label) && !Self::gone(label, &self.gaps));
        verdict.harm.lost = lost.count() as u64;
        for (n, rows) in self.points.iter().enumerate() {
            let mut counts: BTreeMap<u64, Label> = BTreeMap::new();
            let mut order: BTreeMap<Label, u64> = BTreeMap::new();
            for row in rows {
                let (Some(value), Some(label)) = (row["value"].as_f64(), label(row)) else {
                    verdict.silent += 1;
                    continue;
                };
                let (count, point) = (value as u64 / POINTS_MAX, value as u64 % POINTS_MAX);
                let true_value = point == n as u64 && (1..=reads).contains(&count) && value.fract() == 0.0;
                verdict.harm.wrong += u64::from(!true_value);
                let twice =
                    counts.insert(count, label.clone()).is_some() | order.insert(label, count).is_some();
                verdict.harm.doubled += u64::from(twice);
            }
            for (before, after) in order.iter().zip(order.iter().skip(1)).filter(|(a, b)| a.0.0 == b.0.0) {
                // The order of acceptance is the order of the polls.
                verdict.harm.wrong += u64::from(before.1 >= after.1);
                verdict.skipped += (after.1.saturating_sub(*before.1)).saturating_sub(1);
            }
            verdict.readings += rows.len() as u64;
            let first = counts.keys().next().copied().unwrap_or(1);
            let last = counts.keys().next_back().copied().unwrap_or_default();
            verdict.holes += (last + 1).saturating_sub(first).saturating_sub(counts.len() as u64);
        }
        verdict
    }
}

/// The judgement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What must not be.
    pub harm: Harm,
    /// Rows stored.
    pub readings: u64,
    /// Reads between the first and the last stored one that are not stored: not accepted, or a gap.
    pub holes: u64,
    /// Those of them that are missing amid one epoch, and so while the gateway's process lived.
    pub skipped: u64,
    /// Stored rows that say that the device was not read, and why.
    pub silent: u64,
}

fn label(row: &Value) -> Option<Label> {
    Some((row["epoch"].as_str()?.to_owned(), row["seq"].as_u64()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_harm_is_seen() {
        let row = |seq: u64, value: u64| json!({"epoch": "e", "seq": seq, "value": value});
        let check = |rows: Vec<Value>, expected: (u64, u64, u64, u64)| {
            let accepted = (0..3).map(|seq| ("e".to_owned(), seq)).collect();
            let stored = Stored { points: vec![rows.clone()], gaps: vec![] };
            let Verdict { harm: Harm { lost, doubled, wrong }, holes, .. } = stored.judge(&accepted, 9);
            assert_eq!((lost, doubled, wrong, holes), expected, "{rows:?}");
        };
        let at = |seq: u64, count: u64| row(seq, count * POINTS_MAX);
        check(vec![at(0, 1), at(1, 2), at(2, 3)], (0, 0, 0, 0));
        check(vec![at(0, 1), at(2, 3)], (1, 0, 0, 1));
        check(vec![at(0, 1), at(1, 2), at(2, 2)], (0, 1, 1, 0));
        check(vec![at(0, 1), at(1, 2), at(2, 3), at(2, 4)], (0, 1, 0, 0));
        check(vec![at(0, 1), at(1, 3), at(2, 2)], (0, 0, 1, 0));
        check(vec![at(0, 1), row(1, 2 * POINTS_MAX + 1), at(2, 3)], (0, 0, 1, 0));
        check(vec![at(0, 1), at(1, 2), at(2, 10)], (0, 0, 1, 7));
    }
}
