//! Carries readings into an engine, parcel by parcel: what the engine does not have yet is written, read back and compared.
//! Nothing is remembered of it but in the engine: a move that was killed looks at each parcel again and goes on where it was.
//!
//! ```text
//!  store ─► parcel ─► lacks? ── nothing ─► next parcel         100,000 rows: of many points, or a part of one
//!                       │ some
//!                       ├─► append ── refused ─► to quarantine
//!                       └─► lacks? ── nothing ─► next parcel
//!                                  └─ some ────► the engine holds something else: the end
//!  engine down, busy: wait as long as it asks, or twice as long as the last time
//! ```

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sitian_model::{PointNo, Row, Span, Timestamp};
use sitian_series::{Append, AppendError, Series, SeriesError};
use sitian_store_influx::EngineError;

use super::gauge::Gauge;
use super::survey::{self, ALWAYS};

/// Rows of a parcel; they are in memory twice.
pub const PARCEL_ROWS: usize = 100_000;
/// Most points of a parcel.
const PARCEL_POINTS: usize = 200;
/// What engines may cut off a number, measured by the largest number of its neighbours: see [`likeness`].
const ROUNDED_MAX: f64 = 1e-11;

/// How long an engine is waited for that is down or busy.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The first wait; later ones are twice as long each.
    pub first: Duration,
    /// No wait is longer, unless the engine asks for it.
    pub longest: Duration,
    /// Then it is given up.
    pub all: Duration,
    /// How long it may take until it shows what it has taken: VictoriaMetrics remembers for some 10 s that it did not know a
    /// series when it was last asked.
    pub shown: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(30));
        Self { first, longest, all: Duration::from_secs(900), shown: Duration::from_secs(90) }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Carried {
    /// Readings that are in the engine, each compared.
    pub rows: u64,
    /// How many of them were there before.
    pub found: u64,
    /// How many of them have lost their last digits there.
    pub rounded: u64,
    /// The one that has lost most.
    pub worst: Option<Rounding>,
    /// Readings that it does not take, and why.
    pub refused: Vec<(Row, String)>,
}

/// A number that has lost digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounding {
    /// As the store has it.
    pub row: Row,
    /// What the engine says instead.
    pub became: f64,
    /// The part of it that is lost.
    lost: f64,
}

/// Carries readings from a store to an engine.
pub struct Carrier<'a> {
    /// The store.
    pub store: &'a dyn Series,
    /// The engine's write side.
    pub engine: &'a mut dyn Append,
    /// Its read side.
    pub answers: &'a dyn Series,
    /// The moments that it takes.
    pub keeps: Range<Timestamp>,
    /// Most rows of a parcel.
    pub parcel_rows: usize,
    /// How long it is waited for.
    pub patience: Patience,
    /// The engine has nothing of what comes now: it is not asked before it is written to. To begin with, nobody knows.
    pub fresh: bool,
    /// What people see of it.
    pub gauge: Gauge,
    /// A reading's point and moment, for people.
    pub called: &'a dyn Fn(&Row) -> String,
}

/// Readings that go together: all that the engine shall have of these points in this span.
#[derive(Debug)]
struct Parcel {
    points: Vec<PointNo>,
    span: Span,
    /// By point, oldest first.
    rows: Vec<Row>,
}

/// What an engine has of a parcel.
#[derive(Debug, Default)]
struct Had {
    /// Places in the parcel that it does not have, or not so.
    lacking: Vec<usize>,
    /// Rows of which it has all but the last digits, and the one that has lost most.
    rounded: u64,
    worst: Option<Rounding>,
    /// The first row that it has and the parcel does not.
    foreign: Option<Row>,
}

impl Had {
    fn nothing(parcel: &Parcel) -> Self {
        Self { lacking: (0..parcel.rows.len()).collect(), ..Self::default() }
    }
}

impl Carrier<'_> {
    /// Carries these points, of each of which it is known how many rows there are.
    ///
    /// # Errors
    /// The store cannot be read, or the engine stays away, says no, or holds something else at one of these moments.
    pub fn carry(&mut self, points: &[(PointNo, u64)]) -> Result<Carried> {
        let mut carried = Carried::default();
        let mut group = Vec::new();
        let mut rows = 0;
        for (point, many) in points {
            if *many > self.parcel_rows as u64 {
                self.carry_long(*point, &mut carried)?;
                continue;
            }
            if rows + many > self.parcel_rows as u64 || group.len() == PARCEL_POINTS {
                self.carry_group(std::mem::take(&mut group), &mut carried)?;
                rows = 0;
            }
            group.push(*point);
            rows += many;
        }
        self.carry_group(group, &mut carried)?;
        self.gauge.end();
        Ok(carried)
    }

    /// Points that fit into one parcel.
    fn carry_group(&mut self, points: Vec<PointNo>, carried: &mut Carried) -> Result<()> {
        let mut rows = Vec::new();
        for point in &points {
            let keeps = self.keeps.clone();
            survey::walk(self.store, *point, &mut |row| {
                rows.extend(keeps.contains(&row.at).then_some(*row));
                true
            })
            .context("read the store")?;
        }
        self.bring(Parcel { points, span: ALWAYS, rows }, carried)
    }

    /// A point that fills parcels of its own.
    fn carry_long(&mut self, point: PointNo, carried: &mut Carried) -> Result<()> {
        let (store, keeps, most) = (self.store, self.keeps.clone(), self.parcel_rows);
        let (mut from, mut rows, mut outcome) = (ALWAYS.from, Vec::with_capacity(most), Ok(()));
        let walked = survey::walk(store, point, &mut |row| {
            if !keeps.contains(&row.at) {
                return true;
            }
            if rows.len() == most {
                let (span, full) = (Span { from, to: row.at }, std::mem::take(&mut rows));
                outcome = self.bring(Parcel { points: vec![point], span, rows: full }, carried);
                from = row.at;
            }
            rows.push(*row);
            outcome.is_ok()
        });
        outcome?;
        walked.context("read the store")?;
        self.bring(Parcel { points: vec![point], span: Span { from, ..ALWAYS }, rows }, carried)
    }

    fn bring(&mut self, mut parcel: Parcel, carried: &mut Carried) -> Result<()> {
        if parcel.rows.is_empty() {
            return Ok(());
        }
        let mut had = if self.fresh { Had::nothing(&parcel) } else { self.look(&parcel)? };
        // A move that was killed came so far and no further. To write again what is there would change nothing either.
        self.fresh |= had.lacking.len() == parcel.rows.len();
        carried.found += (parcel.rows.len() - had.lacking.len()) as u64;
        if !had.lacking.is_empty() {
            let rows: Vec<Row> = had.lacking.iter().map(|place| parcel.rows[*place]).collect();
            let refused = self.patiently(|carrier| Ok(carrier.engine.append(&rows)?))?;
            self.gauge.refused(refused.iter().map(|refused| refused.why.as_str()).next(), refused.len());
            let mut gone: HashSet<usize> = HashSet::new();
            for refused in refused {
                gone.insert(had.lacking[refused.index]);
                carried.refused.push((rows[refused.index], refused.why));
            }
            let mut place = 0..;
            parcel.rows.retain(|_| place.next().is_none_or(|place| !gone.contains(&place)));
            had = self.look_until_shown(&parcel)?;
        }
        if let Some(place) = had.lacking.first() {
            bail!(
                "find every reading in the engine as it was written: {} are missing or say something else, the first is that of \
                 {}; the engine holds another reading of that moment, or loses some: empty it and move again",
                had.lacking.len(),
                (self.called)(&parcel.rows[*place])
            );
        }
        carried.rows += parcel.rows.len() as u64;
        carried.rounded += had.rounded;
        carried.worst =
            had.worst.filter(|new| carried.worst.is_none_or(|old| new.lost > old.lost)).or(carried.worst);
        self.gauge.done(parcel.rows.len() as u64);
        Ok(())
    }

    /// Compares a parcel with what the engine has, and gives it time to show what it has just taken.
    fn look_until_shown(&mut self, parcel: &Parcel) -> Result<Had> {
        let begun = Instant::now();
        loop {
            let had = self.look(parcel)?;
            if had.lacking.is_empty() || begun.elapsed() > self.patience.shown {
                return Ok(had);
            }
            std::thread::sleep(self.patience.first);
        }
    }

    /// Compares a parcel with what the engine has.
    fn look(&mut self, parcel: &Parcel) -> Result<Had> {
        let had = self.patiently(|carrier| Ok(compare(carrier.answers, parcel, &carrier.keeps)?))?;
        if let Some(row) = had.foreign {
            bail!(
                "trust the engine: it holds a reading of {} that this store does not have, and nobody could tell them apart \
                 later; empty it, or name another, and move again",
                (self.called)(&row)
            );
        }
        Ok(had)
    }

    /// Asks the engine until it answers.
    fn patiently<T>(&mut self, mut ask: impl FnMut(&mut Self) -> Result<T, Trouble>) -> Result<T> {
        let (begun, mut wait) = (Instant::now(), self.patience.first);
        loop {
            let (asked, error) = match ask(self) {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Never(error)) => return Err(error),
                Err(Trouble::Later(asked, error)) => (asked, error),
            };
            if begun.elapsed() > self.patience.all {
                return Err(error.context(
                    "go on: the engine has not answered for too long; move again once it does, what is there is not written twice",
                ));
            }
            let pause = asked.unwrap_or(wait);
            self.gauge.waits(pause, &error);
            std::thread::sleep(pause);
            wait = (wait * 2).min(self.patience.longest);
        }
    }
}

/// Why an engine did not do what it was asked to.
enum Trouble {
    Later(Option<Duration>, anyhow::Error),
    Never(anyhow::Error),
}

impl From<AppendError> for Trouble {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Later { retry_after_ms, source } => {
                Self::Later(retry_after_ms.map(Duration::from_millis), anyhow::Error::from_boxed(source))
            }
            AppendError::Never(source) => Self::Never(anyhow::Error::from_boxed(source)),
        }
    }
}

impl From<SeriesError> for Trouble {
    fn from(error: SeriesError) -> Self {
        match error {
            SeriesError::Engine(source) => {
                let never = matches!(source.downcast_ref(), Some(EngineError::Unfit { .. }));
                let error = anyhow::Error::from_boxed(source);
                if never { Self::Never(error) } else { Self::Later(None, error) }
            }
            error => Self::Never(error.into()),
        }
    }
}

/// Holds what an engine has against a parcel, row by row.
fn compare(answers: &dyn Series, parcel: &Parcel, keeps: &Range<Timestamp>) -> Result<Had, SeriesError> {
    let mut places: HashMap<PointNo, (Range<usize>, f64)> = HashMap::new();
    for (place, row) in parcel.rows.iter().enumerate() {
        let (places, largest) = places.entry(row.point).or_insert((place..place, 0.0));
        places.end = place + 1;
        *largest = largest.max(row.value.unwrap_or_default().abs());
    }
    let mut had = Had::default();
    let mut look = |found: &Row| {
        let (waiting, largest) = places.entry(found.point).or_insert((0..0, 0.0));
        while waiting.start < waiting.end && parcel.rows[waiting.start].at < found.at {
            had.lacking.push(waiting.start);
            waiting.start += 1;
        }
        match parcel.rows.get(waiting.start).filter(|row| waiting.start < waiting.end && row.at == found.at) {
            // What it has of other moments is nobody's business: an earlier move may have come further back.
            None if !keeps.contains(&found.at) => {}
            None => had.foreign = had.foreign.or(Some(*found)),
            Some(row) => {
                match likeness(row, found, *largest) {
                    Likeness::Same => {}
                    Likeness::Rounded(lost) => {
                        had.rounded += 1;
                        had.worst = had.worst.filter(|worst| worst.lost >= lost).or(Some(Rounding {
                            row: *row,
                            became: found.value.unwrap_or_default(),
                            lost,
                        }));
                    }
                    Likeness::Other => had.lacking.push(waiting.start),
                }
                waiting.start += 1;
            }
        }
    };
    answers.walk_all(&parcel.points, parcel.span, &mut look)?;
    places.into_values().for_each(|(rest, _)| had.lacking.extend(rest));
    had.lacking.sort_unstable();
    Ok(had)
}

#[derive(Debug, PartialEq)]
enum Likeness {
    Same,
    /// All but the last digits; the part that is lost.
    Rounded(f64),
    Other,
}

/// VictoriaMetrics keeps 12 to 15 digits of a number, counted from the largest of its neighbours, and no negative zero.
fn likeness(row: &Row, found: &Row, largest: f64) -> Likeness {
    let label = |row: &Row| (row.at, row.quality, row.epoch, row.seq, row.value.is_some());
    if label(row) != label(found) {
        return Likeness::Other;
    }
    match row.value.zip(found.value) {
        Some((value, there)) if value != there => {
            let apart = (value - there).abs();
            let rounded = apart <= ROUNDED_MAX * largest;
            if rounded { Likeness::Rounded(apart / value.abs().max(there.abs())) } else { Likeness::Other }
        }
        _ => Likeness::Same,
    }
}

#[cfg(test)]
mod tests;
