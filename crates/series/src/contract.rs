//! What every engine must do, as cases that run against any engine. A test of an engine is one call of [`suite`].
//!
//! Every case runs at every [`Pace`]: rows may rest in an engine's memory, be settled after every append, or partly
//! so. Answers must not depend on it.

mod aggregates;
mod extras;
mod latest;
mod ranges;
pub mod reference;

use sitian_model::{Cause, EpochNo, PointNo, Quality, Row, Seq, Span, Timestamp};

use crate::{AggregateQuery, Append, Extras, Page, RangeQuery, Series, Window};
pub use reference::Reference;

/// What an engine may be unable to keep by its nature. The suite leaves out the cases that ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Two rows of one point at one moment, told apart by their labels.
    Labels,
    /// Every finite number, to the bit.
    Bits,
    /// Times before 1970 and beyond the year 2200.
    FarTimes,
}

/// What the suite needs of an engine.
pub trait Engine: Append {
    /// The engine's read side.
    type Reader: Series;

    /// What this kind of engine cannot keep.
    fn lacks(&self) -> &'static [Need] {
        &[]
    }

    /// Moves what rests in memory to where it stays (seal, flush, compact).
    fn settle(&mut self);

    /// False if the engine knows no settling: then every case plays at one pace only.
    fn settles(&self) -> bool {
        true
    }

    /// A view that sees everything appended so far and from now on.
    fn reader(&self) -> Self::Reader;
}

/// When the engine settles during a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Never.
    Resting,
    /// After every append.
    Settled,
    /// After every second append.
    Mixed,
}

/// One case.
type Case<E> = (&'static str, fn(&mut Play<E>));

/// Cases that ask for what not every engine can keep.
const NEEDS: &[(&str, Need)] = &[
    ("one moment under two labels is two rows", Need::Labels),
    ("among rows of one moment the label decides which is latest", Need::Labels),
    ("pages may end between rows of one moment", Need::Labels),
    ("every quality and every finite value reads back to the bit", Need::Bits),
    ("times before 1970 and far away are times", Need::FarTimes),
    ("windows start where the offset says", Need::FarTimes),
];

/// Runs every case at every pace, each on a fresh engine. Panics with the case's name and what differs.
pub fn suite<E: Engine>(mut make: impl FnMut() -> E) {
    let cases =
        [latest::cases::<E>(), ranges::cases::<E>(), aggregates::cases::<E>(), extras::cases::<E>()].concat();
    let known = |name: &str| cases.iter().any(|(case, _)| *case == name);
    assert!(NEEDS.iter().all(|(name, _)| known(name)), "every need belongs to a case");
    for (name, case) in cases {
        for pace in [Pace::Resting, Pace::Settled, Pace::Mixed] {
            let engine = make();
            let lacks = engine.lacks();
            let lacking = NEEDS.iter().any(|(case, need)| *case == name && lacks.contains(need));
            if lacking || (pace != Pace::Resting && !engine.settles()) {
                continue;
            }
            case(&mut Play { name, pace, appends: 0, engine });
        }
    }
}

/// A running case: the engine, and the questions with their expected answers.
struct Play<E> {
    name: &'static str,
    pace: Pace,
    appends: usize,
    engine: E,
}

impl<E: Engine> Play<E> {
    fn append(&mut self, rows: &[Row]) {
        let refused = self.engine.append(rows).unwrap_or_else(|e| panic!("{self}: append failed: {e:?}"));
        assert_eq!(refused, [], "{self}: sound rows are refused");
        self.appends += 1;
        if self.pace == Pace::Settled || (self.pace == Pace::Mixed && self.appends % 2 == 1) {
            self.engine.settle();
        }
    }

    #[track_caller]
    fn expect_latest(&self, point: u32, expected: Option<Row>) {
        let latest = self.engine.reader().latest(&[PointNo(point)]);
        let latest = latest.unwrap_or_else(|e| panic!("{self}: latest of {point} failed: {e:?}"));
        assert_eq!(latest, [expected], "{self}: latest of {point}");
    }

    fn page(&self, point: u32, from: i64, to: i64, limit: usize, after: Option<crate::Cursor>) -> Page {
        let query = RangeQuery { point: PointNo(point), span: span(from, to), limit, after };
        self.engine.reader().range(&query).unwrap_or_else(|e| panic!("{self}: {query:?} failed: {e:?}"))
    }

    #[track_caller]
    fn expect_range(&self, point: u32, from: i64, to: i64, expected: &[Row]) {
        let page = self.page(point, from, to, 100_000, None);
        assert_eq!(page.rows, expected, "{self}: range {from}..{to} of {point}");
        assert_eq!(page.next, None, "{self}: range {from}..{to} of {point} has no second page");
    }

    fn windows(&self, point: u32, from: i64, to: i64, window_ms: i64, offset_ms: i64) -> Vec<Window> {
        self.aggregate(&AggregateQuery {
            point: PointNo(point),
            span: span(from, to),
            window_ms,
            offset_ms,
            interval_ms: Some(1_000),
            extras: Extras::default(),
        })
    }

    fn aggregate(&self, query: &AggregateQuery) -> Vec<Window> {
        self.engine.reader().aggregate(query).unwrap_or_else(|e| panic!("{self}: {query:?} failed: {e:?}"))
    }
}

impl<E> std::fmt::Display for Play<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "case \"{}\" ({:?})", self.name, self.pace)
    }
}

/// A span from and to Unix milliseconds.
pub fn span(from_ms: i64, to_ms: i64) -> Span {
    Span { from: Timestamp(from_ms), to: Timestamp(to_ms) }
}

/// A good row of epoch 1.
pub fn good(point: u32, at_ms: i64, seq: Seq, value: f64) -> Row {
    Row {
        point: PointNo(point),
        at: Timestamp(at_ms),
        value: Some(value),
        quality: Quality::Good,
        epoch: EpochNo(1),
        seq,
    }
}

/// A row of epoch 1 without a value.
pub fn bad(point: u32, at_ms: i64, seq: Seq, cause: Cause) -> Row {
    Row { value: None, quality: Quality::Bad(cause), ..good(point, at_ms, seq, 0.0) }
}

/// An uncertain row of epoch 1.
pub fn uncertain(point: u32, at_ms: i64, seq: Seq, value: f64, cause: Cause) -> Row {
    Row { quality: Quality::Uncertain(cause), ..good(point, at_ms, seq, value) }
}

/// True if two windows agree, what is added up or divided up to rounding.
pub fn alike(a: &Window, b: &Window) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0);
    let both = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => near(a, b),
        (a, b) => a == b,
    };
    let ranks = a.percentiles.len() == b.percentiles.len()
        && a.percentiles.iter().zip(&b.percentiles).all(|(a, b)| near(*a, *b));
    let close =
        near(a.sum, b.sum) && both(a.time_weighted, b.time_weighted) && both(a.increase, b.increase) && ranks;
    let a = Window {
        sum: b.sum,
        time_weighted: b.time_weighted,
        increase: b.increase,
        percentiles: b.percentiles.clone(),
        ..a.clone()
    };
    close && a == *b
}
