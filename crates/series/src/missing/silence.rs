//! Where no point of a gateway has a row, and the labels of the rows at the ends: they tell which records were accepted in
//! between.

use std::collections::BTreeMap;

use sitian_model::{Cause, EpochNo, PointNo, Quality, Row, Seq, Span, Timestamp};

use crate::query::{RangeQuery, Series, SeriesError};

/// Rows read at once.
const PAGE_ROWS: usize = 20_000;

/// A bus may be late by so many of the longest pauses that are no silence.
const LATE_ROUNDS: i64 = 5;

/// The record that a row came from.
type Label = (EpochNo, Seq);

/// A span in which no point of a gateway has a row, with the labels of the rows at its ends, where there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// From the last row before to the first row after.
    pub span: Span,
    /// The record of the last row before.
    pub before: Option<Label>,
    /// The record of the first row after.
    pub after: Option<Label>,
}

/// The silences of a gateway, and its pace between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quiet {
    /// Oldest first.
    pub silences: Vec<Silence>,
    /// Milliseconds between two records where the first point speaks; `None` where it hardly does.
    pub step_ms: Option<i64>,
    /// Epochs with rows of unknown time that lie here as if they had been taken here.
    pub in_place: Vec<EpochNo>,
}

/// Finds the spans longer than `longest_ms` in which none of these points has a row.
///
/// The first point is read whole, the others only where it is silent: put the one that is polled most often first. Rows of
/// unknown time break a silence too: where they lie among others they change nothing, and elsewhere they are the best guess.
///
/// # Errors
/// The engine cannot answer.
pub fn quiet(
    series: &(impl Series + ?Sized),
    points: &[PointNo],
    span: Span,
    longest_ms: i64,
) -> Result<Quiet, SeriesError> {
    let mut open = vec![Silence { span, before: None, after: None }];
    open.retain(|silence| silence.span.to.since_ms(silence.span.from) > longest_ms);
    let mut pace = Pace::default();
    for (n, point) in points.iter().enumerate() {
        let mut still = Vec::new();
        for silence in open {
            let pace = (n == 0).then_some(&mut pace);
            split(series, *point, silence, longest_ms, pace, &mut still)?;
        }
        open = still;
        if open.is_empty() {
            break;
        }
    }
    Ok(Quiet { silences: open, step_ms: pace.step_ms(), in_place: pace.in_place() })
}

/// Time and records between neighbouring rows of one epoch.
#[derive(Default)]
struct Pace {
    time_ms: i64,
    records: u64,
    /// Rows of unknown time by epoch, and how many rows of other epochs crowd them.
    doubted: BTreeMap<EpochNo, (u64, u64)>,
}

impl Pace {
    /// Looks at two neighbours, each with its epoch and whether its time is unknown.
    fn weigh(&mut self, before: (Option<EpochNo>, bool), row: (EpochNo, bool), close: bool) {
        if row.1 {
            self.doubted.entry(row.0).or_default().0 += 1;
        }
        let crowds = close && before.0 != Some(row.0);
        let those = [before.0.filter(|_| before.1), Some(row.0).filter(|_| row.1)];
        for epoch in those.into_iter().flatten().filter(|_| crowds) {
            self.doubted.entry(epoch).or_default().1 += 1;
        }
    }

    /// Epochs whose rows of unknown time lie where nobody else has any: there they were taken.
    fn in_place(&self) -> Vec<EpochNo> {
        let alone = self.doubted.iter().filter(|(_, (rows, crowded))| 2 * crowded < *rows);
        alone.map(|(epoch, _)| *epoch).collect()
    }

    fn step_ms(&self) -> Option<i64> {
        let records = i64::try_from(self.records).ok().filter(|records| *records > 0)?;
        Some((self.time_ms / records).max(1))
    }
}

/// Pushes what is left of a silence once the rows of this point break it.
fn split(
    series: &(impl Series + ?Sized),
    point: PointNo,
    silence: Silence,
    longest_ms: i64,
    pace: Option<&mut Pace>,
    still: &mut Vec<Silence>,
) -> Result<(), SeriesError> {
    let mut query = RangeQuery { point, span: silence.span, limit: PAGE_ROWS, after: None };
    let (from, before) = (silence.span.from, silence.before);
    let mut scan = Scan { longest_ms, pace, still, from, before, late: false, doubted: false };
    loop {
        let page = series.range(&query)?;
        page.rows.iter().for_each(|row| scan.observe(row));
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    scan.reach(silence.span.to, silence.after, false);
    Ok(())
}

/// Rows of one point, looked at in order.
struct Scan<'a> {
    longest_ms: i64,
    pace: Option<&'a mut Pace>,
    still: &'a mut Vec<Silence>,
    /// The last row, or where the silence begins.
    from: Timestamp,
    before: Option<Label>,
    /// That row says that its bus was late, or that nobody knows its time.
    late: bool,
    doubted: bool,
}

impl Scan<'_> {
    fn observe(&mut self, row: &Row) {
        let late = row.quality == Quality::Bad(Cause::BusOverrun);
        let doubted = row.quality.cause() == Some(Cause::ClockUnknown);
        if let Some(pace) = self.pace.as_deref_mut() {
            pace.weigh((self.before.map(|label| label.0), self.doubted), (row.epoch, doubted), {
                row.at.since_ms(self.from) * 3 < self.longest_ms
            });
        }
        self.reach(row.at, Some(label(row)), late);
        (self.from, self.before) = (row.at, Some(label(row)));
        (self.late, self.doubted) = (late, doubted);
    }

    /// The next row, or the end.
    fn reach(&mut self, to: Timestamp, after: Option<Label>, late: bool) {
        let (from, before) = (self.from, self.before);
        let length_ms = to.since_ms(from);
        // A late bus leaves rounds out, and its gateway is at work.
        let most_ms = if late || self.late { LATE_ROUNDS * self.longest_ms } else { self.longest_ms };
        if length_ms > most_ms {
            self.still.push(Silence { span: Span { from, to }, before, after });
        } else if let (Some(pace), Some((epoch, seq)), Some((next, next_seq))) =
            (self.pace.as_deref_mut(), before, after)
            && epoch == next
            && seq < next_seq
        {
            pace.time_ms += length_ms;
            pace.records += next_seq - seq;
        }
    }
}

fn label(row: &Row) -> Label {
    (row.epoch, row.seq)
}
