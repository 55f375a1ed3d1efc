//! Where no point of a gateway has a row, and the labels of the rows at the ends: they tell which records were accepted in
//! between.

use sitian_model::{Cause, EpochNo, PointNo, Row, Seq, Span, Timestamp};

use crate::query::{RangeQuery, Series, SeriesError};

/// Rows read at once.
const PAGE_ROWS: usize = 20_000;

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
}

/// Finds the spans longer than `longest_ms` in which none of these points has a row.
///
/// The first point is read whole, the others only where it is silent: put the one that is polled most often first. Rows of
/// unknown time break no silence: nobody knows that they were taken there.
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
    Ok(Quiet { silences: open, step_ms: pace.step_ms() })
}

/// Time and records between neighbouring rows of one epoch.
#[derive(Default)]
struct Pace {
    time_ms: i64,
    records: u64,
}

impl Pace {
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
    mut pace: Option<&mut Pace>,
    still: &mut Vec<Silence>,
) -> Result<(), SeriesError> {
    let mut query = RangeQuery { point, span: silence.span, limit: PAGE_ROWS, after: None };
    let (mut from, mut before) = (silence.span.from, silence.before);
    let mut push = |from: Timestamp, before, to: Timestamp, after| {
        if to.since_ms(from) > longest_ms {
            still.push(Silence { span: Span { from, to }, before, after });
        }
    };
    loop {
        let page = series.range(&query)?;
        for row in page.rows.iter().filter(|row| row.quality.cause() != Some(Cause::ClockUnknown)) {
            push(from, before, row.at, Some(label(row)));
            if let (Some(pace), Some((epoch, seq))) = (pace.as_deref_mut(), before)
                && epoch == row.epoch
                && seq < row.seq
                && row.at.since_ms(from) <= longest_ms
            {
                pace.time_ms += row.at.since_ms(from);
                pace.records += row.seq - seq;
            }
            (from, before) = (row.at, Some(label(row)));
        }
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    push(from, before, silence.span.to, silence.after);
    Ok(())
}

fn label(row: &Row) -> Label {
    (row.epoch, row.seq)
}
