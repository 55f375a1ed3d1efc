use super::*;
use crate::{Catalogue, Profile, builtin, catalogue_text};

fn point(profile: &str) -> ProfilePoint {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let (file, text) = builtin().iter().find(|(file, _)| *file == profile).unwrap();
    let profile = Profile::parse(file, text, &catalogue).unwrap();
    profile.points.into_iter().find(|point| point.counter.is_some()).unwrap()
}

/// Rain of 0.2 mm a tip that wraps at 65536 tips (13107.2 mm), read every minute: counts in, totals and steps out.
fn check(rows: &[(f64, f64, Step)]) {
    let mut total = Total::of(&point("slix-rain.toml"), None).unwrap();
    for (minute, (count, expected, step)) in rows.iter().enumerate() {
        let quality = match step {
            Step::Doubtful => Quality::Uncertain(Cause::Implausible),
            _ => Quality::Good,
        };
        let found = total.handle_count(*count, minute as u64 * 60_000);
        assert_eq!(found, (*expected, quality, *step), "minute {minute}: {count}");
    }
}

#[test]
fn a_counter_that_only_grows_is_its_own_total() {
    check(&[(5.0, 5.0, Step::Counted), (5.0, 5.0, Step::Counted), (5.2, 5.2, Step::Counted)]);
}

#[test]
fn a_wrap_goes_on_where_the_counter_was() {
    check(&[
        (13_106.8, 13_106.8, Step::Counted),
        (0.2, 13_107.4, Step::Wrapped),
        (0.4, 13_107.6, Step::Counted),
    ]);
}

#[test]
fn a_reset_is_believed_when_it_is_confirmed_and_keeps_what_was_counted_since() {
    check(&[
        (100.0, 100.0, Step::Counted),
        (0.0, 100.0, Step::Doubtful),
        (0.4, 100.4, Step::Reset),
        (0.6, 100.6, Step::Counted),
    ]);
}

#[test]
fn one_reading_of_nonsense_changes_no_total() {
    check(&[
        (100.0, 100.0, Step::Counted),
        (0.0, 100.0, Step::Doubtful),
        (100.2, 100.2, Step::Counted),
        (9_000.0, 100.2, Step::Doubtful),
        (100.4, 100.4, Step::Counted),
    ]);
}

#[test]
fn an_exchanged_meter_that_shows_more_is_believed_when_it_is_confirmed() {
    check(&[(100.0, 100.0, Step::Counted), (900.0, 100.0, Step::Doubtful), (900.2, 900.2, Step::Counted)]);
}

#[test]
fn a_restart_goes_on_with_the_total_and_finds_a_wrap_that_happened_meanwhile() {
    let point = point("slix-rain.toml");
    let left = TotalState { carried: 1_000.0, last: 13_107.0, at_ms: 0 };
    let mut total = Total::of(&point, Some(left)).unwrap();
    assert_eq!(total.handle_count(10.0, 3_600_000), (14_117.2, Quality::Good, Step::Wrapped));
    assert_eq!(total.state().unwrap(), TotalState { carried: 14_107.2, last: 10.0, at_ms: 3_600_000 });
}

#[test]
fn a_point_that_does_not_count_has_no_total() {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let (file, text) = builtin().iter().find(|(file, _)| *file == "xy-md02.toml").unwrap();
    let profile = Profile::parse(file, text, &catalogue).unwrap();
    assert_eq!(Total::of(&profile.points[0], None), None);
}
