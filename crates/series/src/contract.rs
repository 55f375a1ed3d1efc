//! What every engine must do, as cases that run against any engine. A test of an engine is one call of [`suite`].
//!
//! Every case runs at every [`Pace`]: rows may rest in an engine's memory, be settled after every append, or partly
//! so. Answers must not depend on it.

mod aggregates;
mod latest;
mod ranges;
pub mod reference;

use sitian_model::{Cause, EpochNo, PointNo, Quality, Row, Seq, Span, Timestamp};

use crate::{AggregateQuery, Page, RangeQuery, Series, Window};
pub use reference::Reference;

/// What the suite needs of an engine.
pub trait Engine {
    /// The engine's read side.
    type Reader: Series;

    /// Stores rows; when it returns, new queries must see them. Panics if the engine cannot.
    fn append(&mut self, rows: &[Row]);

    /// Moves what rests in memory to where it stays (seal, flush, compact), if the engine knows such a thing.
    fn settle(&mut self);

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

/// Runs every case at every pace, each on a fresh engine. Panics with the case's name and what differs.
pub fn suite<E: Engine>(mut make: impl FnMut() -> E) {
    let cases = [latest::cases::<E>(), ranges::cases::<E>(), aggregates::cases::<E>()].concat();
    for (name, case) in cases {
        for pace in [Pace::Resting, Pace::Settled, Pace::Mixed] {
            case(&mut Play { name, pace, appends: 0, engine: make() });
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
        self.engine.append(rows);
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
        let query = AggregateQuery {
            point: PointNo(point),
            span: span(from, to),
            window_ms,
            offset_ms,
            interval_ms: Some(1_000),
        };
        self.engine.reader().aggregate(&query).unwrap_or_else(|e| panic!("{self}: {query:?} failed: {e:?}"))
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

/// True if two windows agree, sums up to rounding.
pub fn alike(a: &Window, b: &Window) -> bool {
    let close = (a.sum - b.sum).abs() <= 1e-9 * a.sum.abs().max(b.sum.abs()).max(1.0);
    let a = Window { sum: b.sum, ..a.clone() };
    close && a == *b
}
