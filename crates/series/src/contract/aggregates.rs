//! Cases about windows.

use std::collections::BTreeMap;

use sitian_model::{Cause, PointNo, Timestamp};

use super::{Case, Engine, Play, Reference, alike, bad, good, span, uncertain};
use crate::{AggregateQuery, Append, Extras, QueryFault, Series, SeriesError, Window};

pub(super) fn cases<E: Engine>() -> Vec<Case<E>> {
    vec![
        ("windows without data are there and empty", empty),
        ("a window knows count, mean, extremes, ends and what was due", one_window),
        ("a hole is an empty window between full ones", holes),
        ("rows without a value count as bad by cause and touch no number", bad_rows),
        ("rows outside the span are not counted, even in a window that begins earlier", edges),
        ("windows start where the offset says", offsets),
        ("late data changes its window and doubles nothing", late),
        ("many windows over many rows agree with the reference", large),
        ("windows out of bounds are refused", bounds),
    ]
}

fn empty<E: Engine>(play: &mut Play<E>) {
    let windows = play.windows(1, 0, 20_000, 10_000, 0);
    let empty = |from, to| Window { expected: Some(10), ..Window::empty(Timestamp(from), Timestamp(to)) };
    assert_eq!(windows, [empty(0, 10_000), empty(10_000, 20_000)], "{play}");
    assert_eq!(windows[0].mean(), None, "{play}: nothing has no mean");
    assert_eq!(play.windows(1, 5, 5, 10_000, 0), [], "{play}: an empty span has no windows");
}

fn one_window<E: Engine>(play: &mut Play<E>) {
    play.append(&[good(1, 2_000, 2, 4.0), good(1, 1_000, 1, 2.5)]);
    play.append(&[uncertain(1, 3_000, 3, -1.0, Cause::Implausible)]);
    let expected = Window {
        good: 2,
        uncertain: 1,
        expected: Some(10),
        sum: 5.5,
        min: Some(-1.0),
        max: Some(4.0),
        first: Some(2.5),
        last: Some(-1.0),
        ..Window::empty(Timestamp(0), Timestamp(10_000))
    };
    expect_windows(play, &play.windows(1, 0, 10_000, 10_000, 0), &[expected]);
}

fn holes<E: Engine>(play: &mut Play<E>) {
    play.append(&[good(1, 1_000, 1, 1.0)]);
    play.append(&[good(1, 41_000, 2, 2.0)]);
    let counts: Vec<_> = play.windows(1, 0, 50_000, 10_000, 0).iter().map(Window::count).collect();
    assert_eq!(counts, [1, 0, 0, 0, 1], "{play}");
}

fn bad_rows<E: Engine>(play: &mut Play<E>) {
    play.append(&[bad(1, 1_000, 1, Cause::Timeout), bad(1, 2_000, 2, Cause::Timeout)]);
    play.append(&[
        bad(1, 3_000, 3, Cause::Checksum),
        good(1, 4_000, 4, 7.0),
        bad(1, 11_000, 5, Cause::Timeout),
    ]);
    let first = Window {
        good: 1,
        bad: BTreeMap::from([(Cause::Timeout, 2), (Cause::Checksum, 1)]),
        expected: Some(10),
        sum: 7.0,
        min: Some(7.0),
        max: Some(7.0),
        first: Some(7.0),
        last: Some(7.0),
        ..Window::empty(Timestamp(0), Timestamp(10_000))
    };
    let second = Window {
        bad: BTreeMap::from([(Cause::Timeout, 1)]),
        expected: Some(10),
        ..Window::empty(Timestamp(10_000), Timestamp(20_000))
    };
    expect_windows(play, &play.windows(1, 0, 20_000, 10_000, 0), &[first, second]);
}

fn edges<E: Engine>(play: &mut Play<E>) {
    play.append(&(0..40).map(|n| good(1, n * 1_000, n as u64, n as f64)).collect::<Vec<_>>());
    let windows = play.windows(1, 5_000, 25_000, 10_000, 0);
    let seen: Vec<_> = windows.iter().map(|w| (w.from.0, w.count(), w.expected, w.first, w.last)).collect();
    let expected = [
        (0, 5, Some(5), Some(5.0), Some(9.0)),
        (10_000, 10, Some(10), Some(10.0), Some(19.0)),
        (20_000, 5, Some(5), Some(20.0), Some(24.0)),
    ];
    assert_eq!(seen, expected, "{play}");
}

fn offsets<E: Engine>(play: &mut Play<E>) {
    play.append(&(-20..20).map(|n| good(1, n * 1_000, (n + 20) as u64, n as f64)).collect::<Vec<_>>());
    for offset_ms in [3_000, -7_000, 23_000] {
        let windows = play.windows(1, -17_000, 13_000, 10_000, offset_ms);
        let seen: Vec<_> = windows.iter().map(|w| (w.from.0, w.count(), w.first)).collect();
        let expected = [(-17_000, 10, Some(-17.0)), (-7_000, 10, Some(-7.0)), (3_000, 10, Some(3.0))];
        assert_eq!(seen, expected, "{play}: offset {offset_ms}");
    }
}

fn late<E: Engine>(play: &mut Play<E>) {
    let row = |n: i64| good(1, n * 1_000, n as u64, n as f64);
    play.append(&[row(0), row(1), row(2), row(15)]);
    play.append(&[row(16), row(5)]);
    play.append(&[row(1), row(4), row(5)]);
    let windows = play.windows(1, 0, 20_000, 10_000, 0);
    let seen: Vec<_> = windows.iter().map(|w| (w.count(), w.sum, w.last)).collect();
    assert_eq!(seen, [(5, 12.0, Some(5.0)), (2, 31.0, Some(16.0))], "{play}");
}

fn large<E: Engine>(play: &mut Play<E>) {
    let mut reference = Reference::default();
    let row = |n: i64| match n % 101 {
        7 => bad(1, n * 1_000, n as u64, Cause::Timeout),
        9 => uncertain(1, n * 1_000, n as u64, n as f64, Cause::Implausible),
        _ => good(1, n * 1_000, n as u64, (n * 7_919 % 1_000) as f64 / 10.0),
    };
    let rows: Vec<_> = (0..20_000).map(row).collect();
    for part in rows.chunks(3_000) {
        play.append(part);
        let refused = reference.append(part);
        assert!(refused.is_ok_and(|refused| refused.is_empty()), "{play}: the reference takes all");
    }
    for (from, to, window_ms, offset_ms) in [
        (0, 20_000_000, 60_000, 0),
        (1_234_567, 17_654_321, 3_600_000, 1_800_000),
        (0, 20_000_000, 86_400_000, -28_800_000),
        (500_000, 520_000, 1, 0),
    ] {
        let query = AggregateQuery {
            point: PointNo(1),
            span: span(from, to),
            window_ms,
            offset_ms,
            interval_ms: Some(1_000),
            extras: Extras::default(),
        };
        let expected =
            reference.aggregate(&query).unwrap_or_else(|e| panic!("{play}: reference failed: {e}"));
        expect_windows(play, &play.windows(1, from, to, window_ms, offset_ms), &expected);
    }
}

fn bounds<E: Engine>(play: &mut Play<E>) {
    for (window_ms, fault) in [(0, QueryFault::Window(0)), (1, QueryFault::TooManyWindows(1_000_000))] {
        let query = AggregateQuery {
            point: PointNo(1),
            span: span(0, 1_000_000),
            window_ms,
            offset_ms: 0,
            interval_ms: None,
            extras: Extras::default(),
        };
        match play.engine.reader().aggregate(&query) {
            Err(SeriesError::Query(found)) => assert_eq!(found, fault, "{play}"),
            other => panic!("{play}: window {window_ms} gave {other:?}"),
        }
    }
}

#[track_caller]
pub(super) fn expect_windows<E: Engine>(play: &Play<E>, found: &[Window], expected: &[Window]) {
    assert_eq!(found.len(), expected.len(), "{play}: number of windows");
    for (found, expected) in found.iter().zip(expected) {
        assert!(alike(found, expected), "{play}:\n found {found:?}\n expected {expected:?}");
    }
}
