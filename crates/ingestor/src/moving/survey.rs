//! Looks at every reading before one is moved: how many there are, and which cannot go as they are. Memory grows with the
//! points, not with the readings.

use std::ops::Range;

use sitian_model::{PointNo, Quality, Row, Span, Timestamp};
use sitian_series::{Series, SeriesError};

/// All of time.
pub const ALWAYS: Span = Span { from: Timestamp(i64::MIN), to: Timestamp(i64::MAX) };
/// Most readings outside the engine's time that are kept in quarantine: a few megabytes of bytes.
pub const OUTSIDE_MAX: u64 = 100_000;

/// What there is.
#[derive(Debug, Default)]
pub struct Survey {
    /// The points that have readings to be moved, and how many, in the order of the question.
    pub points: Vec<(PointNo, u64)>,
    /// All of these readings.
    pub rows: u64,
    /// Readings that share their point and millisecond with another, which goes instead: an engine keeps one.
    pub twins: u64,
    /// Readings of moments that the engine does not take.
    pub outside: u64,
    /// The first of them, [`OUTSIDE_MAX`] at most.
    pub aside: Vec<Row>,
    /// Readings whose number has more digits than every engine keeps.
    pub long: u64,
    /// The first and the last moment of all readings.
    pub ends: Option<(Timestamp, Timestamp)>,
}

impl Survey {
    /// Looks at all readings of these points. `keeps` are the moments that the engine takes.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(store: &dyn Series, points: &[PointNo], keeps: &Range<Timestamp>) -> Result<Self, SeriesError> {
        let mut survey = Self::default();
        for point in points {
            let mut rows = 0;
            survey.twins += walk(store, *point, &mut |row| {
                survey.ends = Some(
                    survey
                        .ends
                        .map_or((row.at, row.at), |(first, last)| (first.min(row.at), last.max(row.at))),
                );
                if keeps.contains(&row.at) {
                    rows += 1;
                    survey.long += u64::from(row.value.is_some_and(is_long));
                } else {
                    survey.outside += 1;
                    if survey.outside <= OUTSIDE_MAX {
                        survey.aside.push(*row);
                    }
                }
                true
            })?;
            survey.rows += rows;
            survey.points.extend((rows > 0).then_some((*point, rows)));
        }
        Ok(survey)
    }
}

/// Hands out the readings of a point, oldest first, of those that share a millisecond only one: always the same. Returns how
/// many it has passed over. `each` says stop by returning false.
///
/// # Errors
/// The store cannot be read.
pub fn walk(
    store: &dyn Series,
    point: PointNo,
    each: &mut dyn FnMut(&Row) -> bool,
) -> Result<u64, SeriesError> {
    let (mut held, mut twins): (Option<Row>, u64) = (None, 0);
    let mut going = true;
    store.walk(point, ALWAYS, &mut |row| {
        match held.replace(*row) {
            Some(before) if before.at == row.at => {
                twins += 1;
                held = Some(better(before, *row));
            }
            Some(before) => going = each(&before),
            None => {}
        }
        going
    })?;
    if let Some(last) = held.filter(|_| going) {
        each(&last);
    }
    Ok(twins)
}

/// More than the 12 digits that VictoriaMetrics keeps at least.
fn is_long(value: f64) -> bool {
    let millionths = (value * 1e6).round();
    if millionths.abs() < 1e12 && millionths / 1e6 == value {
        return false;
    }
    let text = format!("{value:e}");
    let digits = text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    digits > 12
}

/// Of two readings of one millisecond the one that says more; of equals the later.
fn better(before: Row, row: Row) -> Row {
    let says = |row: &Row| match row.quality {
        Quality::Good => 2,
        Quality::Uncertain(_) => 1,
        Quality::Bad(_) => 0,
    };
    if says(&row) >= says(&before) { row } else { before }
}
