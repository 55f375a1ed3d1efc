//! Rows of texts and the values or problems they become.

use super::*;

const NOW: Timestamp = Timestamp(1_777_847_400_000); // 2026-05-04T06:30:00+08:00

#[test]
fn windows_are_read_in_four_units_and_bounded() {
    for (text, expected) in [
        ("1s", Some(1_000)),
        ("5m", Some(300_000)),
        ("2h", Some(7_200_000)),
        ("366d", Some(WINDOW_MS_MAX)),
        ("367d", None),
        ("0s", None),
        ("s", None),
        ("", None),
        ("5", None),
        ("5M", None),
        ("-5m", None),
        ("+5m", None),
        ("1.5h", None),
        ("99999999999999999999s", None),
        ("五分", None),
        ("5分", None),
    ] {
        assert_eq!(window(text).ok(), expected, "{text}");
    }
}

#[test]
fn windows_begin_on_round_local_times() {
    let span = Span { from: NOW.plus_ms(-DAY_MS), to: NOW };
    for (asked, from_text, width) in [
        (Some("1d"), "2026-05-03T00:00:00.000+08:00", DAY_MS as u64),
        (Some("1h"), "2026-05-03T06:00:00.000+08:00", 3_600_000),
        (None, "2026-05-03T06:30:00.000+08:00", 300_000),
    ] {
        let zone = Zone::default();
        let (aligned, window_ms) = windows(asked, span, &zone).unwrap();
        assert_eq!((zone.show(aligned.from).0.as_str(), window_ms, aligned.to), (from_text, width, NOW));
    }
}

#[test]
fn too_many_windows_are_refused_with_one_that_fits() {
    for (days, asked, suggestion) in
        [(1, "1s", "1m"), (7, "1m", "10m"), (366, "1h", "6h"), (31, "30s", "30m")]
    {
        let span = Span { from: NOW.plus_ms(-days * DAY_MS), to: NOW };
        let problem = windows(Some(asked), span, &Zone::default()).unwrap_err();
        let expected = Problem::too_many_windows(String::new(), suggestion.to_owned());
        assert!(
            format!("{problem:?}").contains(&format!("{:?}", Some(suggestion))),
            "{problem:?} {expected:?}"
        );
        assert!(windows(Some(suggestion), span, &Zone::default()).is_ok(), "{suggestion}");
    }
}

#[test]
fn spans_are_bounded_and_end_now_at_the_latest() {
    let text = |ms| Zone::default().show(NOW.plus_ms(ms)).0;
    for (from, to, expected) in [
        (None, None, Some((-3_600_000, 0))),
        (Some(text(-1_000)), None, Some((-1_000, 0))),
        (Some(text(-1_000)), Some(text(5_000)), Some((-1_000, 0))),
        (Some(text(1_000)), Some(text(5_000)), Some((1_000, 1_000))),
        (Some(text(0)), Some(text(0)), None),
        (Some(text(0)), Some(text(-1)), None),
        (Some(text(-32 * DAY_MS)), None, None),
        (Some("yesterday".to_owned()), None, None),
    ] {
        let span = span(from.as_deref(), to.as_deref(), NOW, 3_600_000, 31 * DAY_MS).ok();
        let expected = expected.map(|(from, to)| Span { from: NOW.plus_ms(from), to: NOW.plus_ms(to) });
        assert_eq!(span, expected, "{from:?} {to:?}");
    }
}

#[test]
fn readings_that_a_fast_clock_stamped_ahead_can_be_asked_for() {
    let text = |ms| Zone::default().show(NOW.plus_ms(ms)).0;
    let (from, to) = (text(1_000), text(5_000));
    let span = span_as_asked(Some(&from), Some(&to), NOW, 3_600_000, DAY_MS).ok();
    assert_eq!(span, Some(Span { from: NOW.plus_ms(1_000), to: NOW.plus_ms(5_000) }));
}

#[test]
fn slugs_hold_nothing_that_means_something_elsewhere() {
    for (text, ok) in
        [("zhangye", true), ("b-1_x", true), ("", false), ("..", false), ("A", false), ("a/b", false)]
    {
        assert_eq!(scope(Some(text.to_owned())).is_ok(), ok, "{text}");
    }
    assert!(scope(Some("a".repeat(65))).is_err());
}
