//! One record becomes rows: its points get their numbers, its times are made honest.

use std::collections::HashSet;

use sitian_model::{Cause, Clock, EpochNo, PointNo, Quality, Record, Row, Seq, Timestamp};

use crate::limits::Limits;

/// What the rows of a record are made with.
pub(crate) struct Frame<'a> {
    pub(crate) epoch: EpochNo,
    pub(crate) points: &'a [PointNo],
    pub(crate) clocks: &'a [Clock],
    pub(crate) limits: &'a Limits,
    pub(crate) now: Timestamp,
}

/// The rows of one record.
pub(crate) struct Admitted {
    pub(crate) rows: Vec<Row>,
    /// Stamped by the clock of their boot.
    pub(crate) restamped: u64,
    /// Of unknown or incredible time: their points and stated times.
    pub(crate) undated: Vec<(PointNo, Timestamp)>,
    /// First and last time of the rows whose time is known.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
}

/// The rows of a record, or why it must be set aside whole: an unknown or repeated point, or a value that contradicts
/// its quality. Times never set a record aside: the stated one is kept and flagged.
pub(crate) fn admit(record: &Record, seq: Seq, frame: &Frame<'_>) -> Result<Admitted, String> {
    let (shift_ms, uncertainty_ms) = clock(record, frame.clocks);
    let certain = uncertainty_ms.is_some_and(|ms| ms <= frame.limits.uncertainty_ms_max);
    let restamped = record.uncertainty_ms.is_none() && uncertainty_ms.is_some();
    let mut seen = HashSet::with_capacity(record.readings.len());
    let mut out = Admitted {
        rows: Vec::with_capacity(record.readings.len()),
        restamped: 0,
        undated: Vec::new(),
        span: None,
    };
    for reading in &record.readings {
        let index = reading.point;
        let point = *frame.points.get(index as usize).ok_or_else(|| {
            format!("point {index} is not among the {} of the manifest", frame.points.len())
        })?;
        if !seen.insert(point) {
            return Err(format!("point {index} occurs twice in one record"));
        }
        let bad = matches!(reading.quality, Quality::Bad(_));
        if bad != reading.value.is_none() || reading.value.is_some_and(|v| !v.is_finite()) {
            return Err(format!("point {index} has a value that contradicts its quality"));
        }
        let at = reading.at.plus_ms(shift_ms);
        let known = certain
            && at.0 >= frame.limits.earliest_ms
            && at.since_ms(frame.now) <= frame.limits.ahead_ms_max;
        let quality = match reading.quality {
            Quality::Good if !known => Quality::Uncertain(Cause::ClockUnknown),
            // A graver cause is already named.
            quality => quality,
        };
        out.restamped += u64::from(restamped);
        if known {
            let (first, last) = out.span.unwrap_or((at, at));
            out.span = Some((first.min(at), last.max(at)));
        } else {
            out.undated.push((point, at));
        }
        out.rows.push(Row { point, at, value: reading.value, quality, epoch: frame.epoch, seq });
    }
    Ok(out)
}

/// How far the stated times are to be moved, and how far they may then be off.
///
/// A record taken before the clock was set is moved as a whole, so that its first reading lies where the clock of its
/// boot puts it.
fn clock(record: &Record, clocks: &[Clock]) -> (i64, Option<u32>) {
    let first = record.readings.first();
    let of_boot = clocks.iter().rfind(|clock| clock.boot == record.boot);
    match (record.uncertainty_ms, of_boot, first) {
        (None, Some(clock), Some(first)) => {
            let mono_ms = i64::try_from(record.mono_ms).unwrap_or(i64::MAX);
            let at = Timestamp(clock.wall_at_zero_ms).plus_ms(mono_ms);
            (at.since_ms(first.at), Some(clock.uncertainty_ms))
        }
        (stated, _, _) => (0, stated),
    }
}
