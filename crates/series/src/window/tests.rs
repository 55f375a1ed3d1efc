use super::*;
use crate::QueryFault;

fn query(from: i64, to: i64, window_ms: i64, offset_ms: i64) -> AggregateQuery {
    let span = Span { from: Timestamp(from), to: Timestamp(to) };
    AggregateQuery {
        point: PointNo(1),
        span,
        window_ms,
        offset_ms,
        interval_ms: Some(10),
        extras: Extras::default(),
    }
}

fn check(query: AggregateQuery, starts: &[i64], expected: &[u64]) {
    let windows = WindowFold::new(&query).expect("in bounds").finish().expect("few values");
    assert_eq!(windows.iter().map(|w| w.from.0).collect::<Vec<_>>(), starts, "{query:?}");
    assert_eq!(windows.iter().filter_map(|w| w.expected).collect::<Vec<_>>(), expected, "{query:?}");
    assert!(windows.iter().all(|w| w.to.since_ms(w.from) == query.window_ms), "{query:?}");
}

#[test]
fn windows_are_aligned_to_the_epoch_plus_the_offset_and_expect_only_what_lies_in_the_span() {
    check(query(0, 100, 50, 0), &[0, 50], &[5, 5]);
    check(query(20, 101, 50, 0), &[0, 50, 100], &[3, 5, 1]);
    check(query(-20, 20, 50, 0), &[-50, 0], &[2, 2]);
    check(query(0, 100, 50, 20), &[-30, 20, 70], &[2, 5, 3]);
    check(query(0, 100, 50, -30), &[-30, 20, 70], &[2, 5, 3]);
    check(query(0, 100, 50, 120), &[-30, 20, 70], &[2, 5, 3]);
    check(query(5, 5, 50, 0), &[], &[]);
    check(query(5, 4, 50, 0), &[], &[]);
    check(query(0, 20, 5, 0), &[0, 5, 10, 15], &[1, 0, 1, 0]);
}

#[test]
fn extreme_spans_are_refused_or_answered_but_never_overflow() {
    for (window_ms, offset_ms, ok) in
        [(1, 0, false), (i64::MAX, 0, true), (i64::MAX, i64::MIN, true), (0, 0, false), (-1, 0, false)]
    {
        let fold = WindowFold::new(&query(i64::MIN, i64::MAX, window_ms, offset_ms));
        assert_eq!(fold.is_ok(), ok, "{window_ms} {offset_ms}");
    }
    let most = WINDOWS_MAX as i64;
    assert!(WindowFold::new(&query(0, most, 1, 0)).is_ok());
    assert_eq!(
        WindowFold::new(&query(0, most + 1, 1, 0)).err(),
        Some(QueryFault::TooManyWindows(WINDOWS_MAX + 1))
    );
}

#[test]
fn completeness_counts_values_against_polls_due_and_never_exceeds_one() {
    let of = |expected, stored| Completeness { expected, stored, bad: 0 };
    for (completeness, ratio) in [
        (of(None, 5), None),
        (of(Some(0), 5), None),
        (of(Some(10), 5), Some(0.5)),
        (of(Some(10), 0), Some(0.0)),
        (of(Some(10), 11), Some(1.0)),
        (of(Some(10), 5).and(of(Some(10), 10)), Some(0.75)),
        (of(Some(10), 5).and(of(None, 10)), None),
    ] {
        assert_eq!(completeness.ratio(), ratio, "{completeness:?}");
    }
}

#[test]
fn percentiles_lie_between_the_ranks() {
    let values = [1.0, 2.0, 3.0, 4.0];
    for (permille, values, expected) in [
        (0, &values[..], Some(1.0)),
        (500, &values, Some(2.5)),
        (900, &values, Some(3.7)),
        (1_000, &values, Some(4.0)),
        (950, &values[..1], Some(1.0)),
        (500, &[f64::MAX, f64::MAX], Some(f64::MAX)),
        (500, &[], None),
    ] {
        let found = Permille::new(permille).expect("in range").of(values);
        let close = found.zip(expected).is_none_or(|(a, b)| (a - b).abs() <= 1e-12 * b.abs());
        assert!(close && found.is_some() == expected.is_some(), "{permille} of {values:?}: {found:?}");
    }
    assert_eq!(Permille::new(1_001), None);
}

/// A time-weighted mean and an increase.
type Told = (Option<f64>, Option<f64>);

/// Rows of (ms, value) against a span of 0 to 100 ms in windows of 50, a value standing at most 20.
fn extras(rows: &[(i64, Option<f64>)]) -> Vec<Told> {
    let extras = Extras { time_weighted: true, increase: true, ..Extras::default() };
    let query = AggregateQuery { extras, ..query(0, 100, 50, 0) };
    let mut fold = WindowFold::new(&query).expect("in bounds");
    for (at, value) in rows {
        let quality = if value.is_some() { Quality::Good } else { Quality::Bad(Cause::Timeout) };
        fold.observe(Timestamp(*at), *value, quality);
    }
    let windows = fold.finish().expect("few values");
    windows.into_iter().map(|window| (window.time_weighted, window.increase)).collect()
}

#[test]
fn a_value_weighs_by_how_long_it_stood_and_a_counter_counts_across_windows_and_resets() {
    let none = (None, None);
    let some = |weighted, increase| (Some(weighted), Some(increase));
    type Rows<'a> = &'a [(i64, Option<f64>)];
    let cases: &[(Rows<'_>, [Told; 2])] = &[
        (&[], [none, none]),
        (&[(0, Some(1.0)), (10, Some(4.0)), (20, None)], [some(2.5, 3.0), none]),
        (&[(0, Some(1.0)), (5, Some(3.0)), (20, None)], [some(2.5, 2.0), none]),
        (&[(0, Some(7.0))], [some(7.0, 0.0), none]),
        (&[(40, Some(2.0)), (60, Some(6.0))], [some(2.0, 0.0), some(4.666_666_666_666_667, 4.0)]),
        (&[(-10, Some(2.0)), (10, Some(6.0)), (15, None)], [some(3.333_333_333_333_333_5, 4.0), none]),
        (&[(10, Some(9.0)), (20, Some(2.0)), (30, Some(3.0)), (40, None)], [some(14.0 / 3.0, 3.0), none]),
        (&[(90, Some(1.0)), (100, Some(5.0))], [none, some(1.0, 0.0)]),
    ];
    for (rows, expected) in cases {
        assert_eq!(extras(rows), expected, "{rows:?}");
    }
}

#[test]
fn a_part_counts_like_its_rows_or_not_at_all() {
    let query =
        AggregateQuery { extras: Extras { increase: true, ..Extras::default() }, ..query(0, 100, 50, 0) };
    let part = |from, to| Window {
        good: 2,
        sum: 5.0,
        min: Some(1.0),
        max: Some(4.0),
        first: Some(1.0),
        last: Some(4.0),
        increase: Some(3.0),
        ..Window::empty(Timestamp(from), Timestamp(to))
    };
    let mut fold = WindowFold::new(&query).expect("in bounds");
    for (from, to, taken) in
        [(-10, 10, false), (40, 60, false), (0, 50, true), (50, 60, true), (60, 101, false)]
    {
        assert_eq!(fold.observe_part(&part(from, to)), taken, "{from} to {to}");
    }
    fold.observe(Timestamp(70), Some(6.0), Quality::Good);
    let windows = fold.finish().expect("few values");
    let seen: Vec<_> = windows.iter().map(|w| (w.good, w.sum, w.min, w.last, w.increase)).collect();
    let expected =
        [(2, 5.0, Some(1.0), Some(4.0), Some(3.0)), (3, 11.0, Some(1.0), Some(6.0), Some(1.0 + 3.0 + 2.0))];
    assert_eq!(seen, expected);

    let ranked = Extras { percentiles: vec![Permille(500)], ..Extras::default() };
    let mut fold = WindowFold::new(&AggregateQuery { extras: ranked, ..query }).expect("in bounds");
    assert!(!fold.observe_part(&part(0, 50)), "percentiles need every row");
    for value in [3.0, 1.0, 8.0] {
        fold.observe(Timestamp(60), Some(value), Quality::Good);
    }
    let windows = fold.finish().expect("few values");
    assert_eq!((&windows[0].percentiles[..], &windows[1].percentiles[..]), (&[][..], &[3.0][..]));
}

#[test]
fn percentiles_are_named_as_people_write_them() {
    for (word, permille) in [
        ("p95", Some(950)),
        ("p99.9", Some(999)),
        ("p0", Some(0)),
        ("p100", Some(1_000)),
        ("p05", Some(50)),
        ("p100.1", None),
        ("p", None),
        ("95", None),
        ("p9.99", None),
        ("p-1", None),
        ("p1000000", None),
    ] {
        let found = Permille::parse(word);
        assert_eq!(found, permille.and_then(Permille::new), "{word}");
        let again = found.map(|permille| Permille::parse(&permille.to_string()));
        assert!(again.is_none_or(|again| again == found), "{word}");
    }
}
