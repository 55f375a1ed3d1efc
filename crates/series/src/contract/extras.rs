//! Cases about what windows tell when asked: time-weighted means, counters, percentiles; and about pictures.

use sitian_model::{Cause, PointNo, Row};

use super::aggregates::expect_windows;
use super::{Case, Engine, Play, Reference, bad, good, span};
use crate::window::PERCENTILES_MAX;
use crate::{AggregateQuery, Append, Extras, OutlineQuery, Permille, QueryFault, Series, SeriesError, Stop};

const HOUR_MS: i64 = 3_600_000;

pub(super) fn cases<E: Engine>() -> Vec<Case<E>> {
    vec![
        ("a time-weighted mean knows how long each value stood", weighted),
        ("a counter's increase bridges resets and adds up over windows", counter),
        ("percentiles are those of all values of the window", ranks),
        ("every extra agrees with the reference, with and without late data", large),
        ("hours and days over months agree with the reference", months),
        ("too many percentiles are refused", bounds),
        ("a picture shows the extremes of every column", picture),
        ("a walk hands out every row until it is told to stop", walk),
        ("nothing is worked out for somebody who has left", left),
    ]
}

fn query(from: i64, to: i64, window_ms: i64, extras: Extras) -> AggregateQuery {
    let interval_ms = Some(1_000);
    AggregateQuery { point: PointNo(1), span: span(from, to), window_ms, offset_ms: 0, interval_ms, extras }
}

fn all_extras() -> Extras {
    let percentiles = [0, 50, 500, 950, 999, 1_000].into_iter().filter_map(Permille::new).collect();
    Extras { time_weighted: true, increase: true, percentiles }
}

fn weighted<E: Engine>(play: &mut Play<E>) {
    play.append(&[good(1, 9_500, 1, 10.0), good(1, 10_500, 2, 20.0)]);
    play.append(&[bad(1, 12_000, 4, Cause::Timeout), good(1, 11_500, 3, 40.0), good(1, 19_000, 5, 7.0)]);
    let extras = Extras { time_weighted: true, ..Extras::default() };
    let found = play.aggregate(&query(10_000, 20_000, 10_000, extras));
    // 10 for 0.5 s from before the window, 20 for 1 s, 40 for 0.5 s until the sensor fell silent, 7 for 1 s.
    let expected = (10.0 * 0.5 + 20.0 * 1.0 + 40.0 * 0.5 + 7.0 * 1.0) / 3.0;
    let weighted = found.first().and_then(|window| window.time_weighted);
    assert!(weighted.is_some_and(|mean| (mean - expected).abs() < 1e-9), "{play}: {weighted:?}");
}

fn counter<E: Engine>(play: &mut Play<E>) {
    let values = [0.0, 2.0, 5.0, 9.0, 1.0, 3.0, 3.0, 10.0];
    let rows: Vec<_> = (0..).zip(values).map(|(n, value)| good(1, n * 5_000, n as u64, value)).collect();
    play.append(&[rows[1], rows[0], rows[2]]);
    play.append(&rows[3..]);
    let extras = Extras { increase: true, ..Extras::default() };
    let increases = |from, to, window_ms| -> Vec<_> {
        let windows = play.aggregate(&query(from, to, window_ms, extras.clone()));
        windows.into_iter().map(|window| window.increase).collect()
    };
    assert_eq!(increases(0, 40_000, 10_000), [Some(2.0), Some(7.0), Some(3.0), Some(7.0)], "{play}");
    assert_eq!(increases(0, 50_000, 50_000), [Some(19.0)], "{play}: windows add up");
    assert_eq!(increases(10_000, 20_000, 10_000), [Some(7.0)], "{play}: alone as among others");
    assert_eq!(increases(50_000, 60_000, 10_000), [None], "{play}: nothing does not increase");
}

fn ranks<E: Engine>(play: &mut Play<E>) {
    let rows: Vec<_> = (0..100).map(|n| good(1, n * 100, n as u64, (n * 37 % 100) as f64)).collect();
    play.append(&rows[40..]);
    play.append(&rows[..40]);
    let percentiles = [0, 500, 900, 1_000].into_iter().filter_map(Permille::new).collect();
    let extras = Extras { percentiles, ..Extras::default() };
    let windows = play.aggregate(&query(0, 20_000, 10_000, extras));
    let found: Vec<_> = windows.iter().map(|window| window.percentiles.clone()).collect();
    assert_eq!(found[1], [], "{play}: nothing has no percentiles");
    let expected = [0.0, 49.5, 89.1, 99.0];
    let close = found[0].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(close && found[0].len() == expected.len(), "{play}: {:?}", found[0]);
}

/// A walk with breaks, resets and holes.
fn row(n: i64) -> Row {
    match n % 101 {
        7 => bad(1, n * 1_000, n as u64, Cause::Timeout),
        _ => good(1, n * 1_000 + n % 13, n as u64, (n * 7_919 % 1_000) as f64 / 10.0),
    }
}

fn compare<E: Engine>(play: &Play<E>, reference: &Reference, asked: &AggregateQuery) {
    let expected = reference.aggregate(asked).unwrap_or_else(|e| panic!("{play}: reference failed: {e}"));
    expect_windows(play, &play.aggregate(asked), &expected);
}

fn append<E: Engine>(play: &mut Play<E>, reference: &mut Reference, rows: &[Row]) {
    play.append(rows);
    let refused = reference.append(rows);
    assert!(refused.is_ok_and(|refused| refused.is_empty()), "{play}: the reference takes all");
}

fn large<E: Engine>(play: &mut Play<E>) {
    let mut reference = Reference::default();
    let rows: Vec<_> = (0..12_000).filter(|n| n % 4_000 < 3_500).map(row).collect();
    let (late, soon): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| row.seq % 700 < 40);
    for part in soon.chunks(2_500) {
        append(play, &mut reference, part);
    }
    compare(play, &reference, &query(0, 12_000_000, 60_000, all_extras()));
    append(play, &mut reference, &late);
    append(play, &mut reference, &rows[..2_000]);
    for (from, to, window_ms) in
        [(0, 12_000_000, 60_000), (1_234_567, 9_654_321, 600_000), (0, 4 * HOUR_MS, HOUR_MS)]
    {
        compare(play, &reference, &query(from, to, window_ms, all_extras()));
    }
}

fn months<E: Engine>(play: &mut Play<E>) {
    let mut reference = Reference::default();
    let at = |n: i64| Row { at: sitian_model::Timestamp(n * 300_000 + n % 7), ..row(n) };
    let rows: Vec<_> = (0..20_000).map(at).collect();
    let (late, soon): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| row.seq % 5_000 < 300);
    for part in soon.chunks(4_000) {
        append(play, &mut reference, part);
    }
    append(play, &mut reference, &late);
    append(play, &mut reference, &late[..50]);
    let increase = Extras { increase: true, ..Extras::default() };
    let end = 20_000 * 300_000;
    for (from, to, window_ms, offset_ms) in [
        (0, end, HOUR_MS, 0),
        (5 * HOUR_MS, end - 7 * HOUR_MS, HOUR_MS, 0),
        (1_234_567, end - 7_654_321, HOUR_MS, 0),
        (0, end, 24 * HOUR_MS, -8 * HOUR_MS),
        (0, end, 24 * HOUR_MS, -19_800_000),
        (0, end, 90 * 60_000, 0),
        (0, end, end, 0),
    ] {
        let asked = AggregateQuery { offset_ms, ..query(from, to, window_ms, increase.clone()) };
        compare(play, &reference, &asked);
    }
}

fn bounds<E: Engine>(play: &mut Play<E>) {
    let percentiles = vec![Permille::new(500); PERCENTILES_MAX + 1].into_iter().flatten().collect();
    let asked = query(0, 10_000, 1_000, Extras { percentiles, ..Extras::default() });
    match play.engine.reader().aggregate(&asked) {
        Err(SeriesError::Query(found)) => {
            assert_eq!(found, QueryFault::Percentiles(PERCENTILES_MAX + 1), "{play}");
        }
        other => panic!("{play}: too many percentiles gave {other:?}"),
    }
}

fn picture<E: Engine>(play: &mut Play<E>) {
    let rows: Vec<_> = (0..1_000).map(|n| good(1, n * 10, n as u64, (n * 37 % 100) as f64)).collect();
    play.append(&rows[500..]);
    play.append(&rows[..500]);
    let asked = OutlineQuery { point: PointNo(1), span: span(0, 10_000), columns: 10 };
    let shown = play.engine.reader().outline(&asked);
    let shown = shown.unwrap_or_else(|e| panic!("{play}: {asked:?} failed: {e:?}"));
    assert!(shown.windows(2).all(|pair| pair[0].at < pair[1].at), "{play}: in order");
    for column in 0..10 {
        let inside = |row: &&Row| row.at.0 / 1_000 == column;
        let ends = |rows: &[Row]| {
            let mut values: Vec<_> = rows.iter().filter(inside).filter_map(|row| row.value).collect();
            values.sort_by(f64::total_cmp);
            (values.first().copied(), values.last().copied())
        };
        assert_eq!(ends(&shown), ends(&rows), "{play}: extremes of column {column}");
        assert!(shown.iter().filter(inside).count() <= 4, "{play}: column {column} is thin");
    }
}

fn walk<E: Engine>(play: &mut Play<E>) {
    let rows: Vec<_> = (0..3_000).map(row).collect();
    play.append(&rows[1_000..]);
    play.append(&rows[..1_000]);
    for (stop, expected) in [(usize::MAX, &rows[..]), (1_700, &rows[..1_700]), (1, &rows[..1])] {
        let mut seen = Vec::new();
        let walked = play.engine.reader().walk(PointNo(1), span(0, i64::MAX), &mut |row| {
            seen.push(*row);
            seen.len() < stop
        });
        walked.unwrap_or_else(|e| panic!("{play}: walk failed: {e:?}"));
        assert_eq!(seen, expected, "{play}: stopped after {stop}");
    }
}

fn left<E: Engine>(play: &mut Play<E>) {
    let rows: Vec<_> = (0..1_000).map(row).collect();
    play.append(&rows);
    let (reader, stop) = (play.engine.reader(), Stop::default());
    let outline = OutlineQuery { point: PointNo(1), span: span(0, 10_000), columns: 10 };
    let aggregate = query(0, 1_000_000, 1_000, Extras::default());
    let ask = || {
        [
            reader.walk(PointNo(1), span(0, i64::MAX), &mut |_| true).err(),
            reader.aggregate(&aggregate).err(),
            reader.outline(&outline).err(),
        ]
    };
    let answers = stop.over(ask);
    assert!(answers.iter().all(Option::is_none), "{play}: while somebody waits: {answers:?}");
    stop.stop();
    let answers = stop.over(ask);
    let stopped = |answer: &Option<SeriesError>| matches!(answer, Some(SeriesError::Stopped));
    assert!(answers.iter().all(stopped), "{play}: when nobody waits: {answers:?}");
    let answers = ask();
    assert!(answers.iter().all(Option::is_none), "{play}: for somebody else: {answers:?}");
}
