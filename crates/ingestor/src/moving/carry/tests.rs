use std::cell::Cell;

use sitian_model::{Cause, Quality};
use sitian_series::contract::{Reference, bad, good, uncertain};
use sitian_series::{Page, RangeQuery, Refused};

use super::*;

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    /// Nothing.
    Sound,
    /// It is busy the first few times, and says for how long if it is asked to write.
    Busy(u32),
    /// It takes rows of even numbers only.
    Picky,
    /// It says that it has taken a row, and has not.
    Forgetful,
    /// It shows what it has taken a few questions later.
    Slow(u32),
    /// It keeps 15 digits.
    Rough,
    /// It wants a token.
    Closed,
    /// It takes so many appends, and then the move is killed.
    Killed(u32),
}

/// An engine with manners.
struct Mannered {
    rows: Reference,
    manner: Manner,
    times: Cell<u32>,
}

impl Mannered {
    /// True for the first few times.
    fn first(&self, times: u32) -> bool {
        self.times.set(self.times.get() + 1);
        self.times.get() <= times
    }
}

fn oops() -> Box<dyn std::error::Error + Send + Sync> {
    "oops".into()
}

impl Append for &Mannered {
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        let mut inside = self.rows.clone();
        let even = |row: &Row| row.seq.is_multiple_of(2);
        match self.manner {
            Manner::Busy(times) if self.first(times) => {
                return Err(AppendError::Later { retry_after_ms: Some(2), source: oops() });
            }
            Manner::Closed => return Err(AppendError::Never(oops())),
            Manner::Killed(times) if !self.first(times) => return Err(AppendError::Never(oops())),
            Manner::Picky => {
                let taken: Vec<Row> = rows.iter().filter(|row| even(row)).copied().collect();
                inside.append(&taken)?;
                let odd = rows.iter().enumerate().filter(|(_, row)| !even(row));
                return Ok(odd.map(|(index, _)| Refused { index, why: "it is odd".to_owned() }).collect());
            }
            Manner::Forgetful => inside.append(&rows[1..])?,
            Manner::Rough => {
                let rough = |value: f64| format!("{value:.14e}").parse().expect("a number");
                let rows: Vec<Row> =
                    rows.iter().map(|row| Row { value: row.value.map(rough), ..*row }).collect();
                inside.append(&rows)?
            }
            _ => inside.append(rows)?,
        };
        Ok(Vec::new())
    }
}

impl Series for &Mannered {
    fn latest(&self, points: &[PointNo]) -> Result<Vec<Option<Row>>, SeriesError> {
        self.rows.latest(points)
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, SeriesError> {
        match self.manner {
            Manner::Busy(times) if self.first(times) => Err(SeriesError::Engine(oops())),
            Manner::Slow(times) if self.first(times) => Ok(Page::default()),
            _ => self.rows.range(query),
        }
    }
}

/// Points 1 to 3 of few rows and 4 of many, with two rows of one moment, rows from before the engine's time and all qualities.
fn stored() -> Vec<Row> {
    let mut rows = vec![good(1, 5, 900, 1.0), bad(2, 100, 901, Cause::Timeout), good(2, 100, 902, 2.5)];
    rows.extend((0..3).map(|n| good(3, 100 + n, n as u64, 0.1 + 0.2)));
    rows.extend((0..40).map(|n| match n % 5 {
        0 => bad(4, 100 + 10 * n, n as u64, Cause::Checksum),
        1 => uncertain(4, 100 + 10 * n, n as u64, n as f64, Cause::Implausible),
        _ => good(4, 100 + 10 * n, n as u64, n as f64 / 10.0),
    }));
    rows.extend([good(4, 105, 903, 7.0), bad(4, 110, 904, Cause::Timeout)]);
    rows
}

/// What of it an engine gets: one row of a moment, the one that says more.
fn to_be_carried() -> Vec<Row> {
    let mut rows: Vec<Row> = stored().into_iter().filter(|row| row.at.0 >= 100).collect();
    rows.retain(|row| row.seq != 901 && row.seq != 904);
    rows.sort_by_key(|row| (row.point, row.at));
    rows
}

fn all_of(engine: &Reference) -> Vec<Row> {
    let mut rows = Vec::new();
    let points: Vec<PointNo> = (1..=4).map(PointNo).collect();
    engine.walk_all(&points, ALWAYS, &mut |row| rows.push(*row)).expect("reads");
    rows
}

fn run(engine: &Mannered, parcel_rows: usize) -> Result<Carried> {
    let mut store = Reference::default();
    store.append(&stored()).expect("takes all");
    let keeps = Timestamp(100)..Timestamp(10_000);
    let points: Vec<PointNo> = (1..=4).map(PointNo).collect();
    let survey = survey::Survey::of(&store, &points, &keeps)?;
    assert_eq!((survey.twins, survey.outside, survey.aside.len()), (2, 1, 1));
    assert_eq!(survey.ends, Some((Timestamp(5), Timestamp(490))));
    let mut carrier = Carrier {
        store: &store,
        engine: &mut &*engine,
        answers: &engine,
        keeps,
        parcel_rows,
        patience: Patience {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(2),
            all: Duration::from_secs(60),
            shown: Duration::from_millis(20),
        },
        fresh: false,
        gauge: Gauge::silent(),
        called: &|row| format!("point {} at {}", row.point.0, row.at.0),
    };
    let carried = carrier.carry(&survey.points)?;
    assert_eq!(carried.rows + carried.refused.len() as u64, survey.rows);
    Ok(carried)
}

/// Carries into an engine of some manner that has some rows already: how many were there, and what the error says.
fn check(manner: Manner, there: &[Row], expected: Result<u64, &str>) {
    for parcel_rows in [1, 3, 7, 1_000] {
        let place = format!("{manner:?}, {} rows there, {parcel_rows} in a parcel", there.len());
        let mut rows = Reference::default();
        rows.append(there).expect("takes all");
        let engine = Mannered { rows, manner, times: Cell::new(0) };
        match (run(&engine, parcel_rows), expected) {
            (Ok(carried), Ok(found)) => {
                // A parcel of which nothing was there ends the looking.
                assert!(carried.found <= found && (parcel_rows < 1_000 || carried.found == found), "{place}");
                let rough = carried.rounded > 0;
                assert_eq!(rough, manner == Manner::Rough, "{place}");
                let refused = |row: &Row| manner == Manner::Picky && row.seq % 2 == 1;
                assert_eq!(carried.refused.len(), to_be_carried().iter().filter(|row| refused(row)).count());
                if !rough {
                    let (mut found, mut expected) = (all_of(&engine.rows), to_be_carried());
                    found.retain(|row| row.at.0 >= 100);
                    expected.retain(|row| !refused(row));
                    assert_eq!(found, expected, "{place}");
                }
            }
            (Err(error), Err(words)) => assert!(format!("{error:#}").contains(words), "{place}: {error:#}"),
            (found, _) => panic!("{place}: {found:?}"),
        }
    }
}

#[test]
fn an_engine_gets_every_row_once_or_the_move_ends_and_says_why() {
    let all = to_be_carried();
    let many = all.len() as u64;
    check(Manner::Sound, &[], Ok(0));
    check(Manner::Sound, &all, Ok(many));
    check(Manner::Sound, &all[..17], Ok(17));
    check(Manner::Busy(3), &[], Ok(0));
    check(Manner::Busy(3), &all[..5], Ok(5));
    check(Manner::Picky, &[], Ok(0));
    check(Manner::Slow(2), &[], Ok(0));
    check(Manner::Rough, &[], Ok(0));
    check(Manner::Closed, &[], Err("oops"));
    check(Manner::Closed, &all, Ok(many));
    check(Manner::Forgetful, &[], Err("find every reading in the engine as it was written"));
    // What the engine keeps of a time before it is nobody's business, another row of the store's time is.
    check(Manner::Sound, &[good(1, 5, 900, 1.0)], Ok(0));
    check(Manner::Sound, &[good(3, 103, 9, 1.0)], Err("holds a reading of point 3 at 103"));
    let other = Row { quality: Quality::Uncertain(Cause::Implausible), ..all[3] };
    check(Manner::Sound, &[other], Err("the first is that of point 3 at"));
}

#[test]
fn a_move_that_is_killed_anywhere_goes_on_where_it_was_and_writes_nothing_twice() {
    for kill in 0..12 {
        let rows = Reference::default();
        let engine = Mannered { rows, manner: Manner::Killed(kill), times: Cell::new(0) };
        let first = run(&engine, 4);
        let there = all_of(&engine.rows).len() as u64;
        assert!(there > 0 || kill == 0);
        let engine = Mannered { manner: Manner::Sound, ..engine };
        let again = run(&engine, 4).expect("goes on");
        assert_eq!(again.found, there, "killed after {kill} appends: {first:?}");
        assert_eq!(all_of(&engine.rows), to_be_carried());
    }
}
