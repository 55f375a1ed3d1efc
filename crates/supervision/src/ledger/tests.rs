//! What the last hour promises and holds.

use super::*;

const T0: i64 = 1_000 * MINUTE_MS;

fn at(seconds: i64) -> Timestamp {
    Timestamp(T0 + seconds * 1000)
}

fn check(ledger: &Ledger, now_s: i64, expected: u64, stored: u64) {
    assert_eq!(ledger.completeness(at(now_s)), Completeness { expected, stored }, "at {now_s} s");
}

#[test]
fn points_promise_from_their_registration_on_in_whole_minutes() {
    let mut ledger = Ledger::default();
    check(&ledger, 0, 0, 0);
    ledger.promise(10_000, at(30));
    for (now_s, expected) in
        [(31, 0), (64, 0), (65, 3), (124, 3), (125, 9), (3605, 357), (3665, 360), (9999, 360)]
    {
        check(&ledger, now_s, expected, 0);
    }
    ledger.prune(at(9999));
    check(&ledger, 9999, 360, 0);
    ledger.promise(60_000, at(9000));
    check(&ledger, 9999 + 6, 360 + 16, 0);
    ledger.withdraw(60_000, at(9000));
    ledger.withdraw(10_000, at(30));
    check(&ledger, 9999 + 6, 0, 0);
}

#[test]
fn readings_count_in_their_own_minute_late_ones_too() {
    let mut ledger = Ledger::default();
    ledger.promise(1000, at(-7200));
    for second in 0..3600 {
        ledger.count(at(second));
    }
    check(&ledger, 3605, 3600, 3600);
    check(&ledger, 3604, 3600, 3540);
    check(&ledger, 3665, 3600, 3540);
    ledger.count(at(3600 - 1)); // late, within the hour
    check(&ledger, 3665, 3600, 3541);
    ledger.count(at(-600)); // older than the hour
    check(&ledger, 3665, 3600, 3541);
    ledger.count(at(3600 + 300)); // a few minutes ahead takes nothing away
    check(&ledger, 3665, 3600, 3541);
    ledger.count(at(100_000)); // after a long silence the ring is empty
    check(&ledger, 100_065, 3600, 1);
}

#[test]
fn intervals_that_divide_badly_still_promise_the_right_number() {
    for (interval_ms, points, expected) in [
        (1, 1, 3_600_000),
        (7, 1, 514_286),
        (300_000, 100, 1200),
        (3_600_000, 50, 50),
        (7_200_000, 2, 1),
        (0, 1, 3_600_000),
    ] {
        let mut ledger = Ledger::default();
        for _ in 0..points {
            ledger.promise(interval_ms, at(-10_000));
        }
        check(&ledger, 5, expected, 0);
    }
}

#[test]
fn the_ratio_never_exceeds_one_and_is_unknown_without_a_promise() {
    for (expected, stored, ratio) in [(0, 0, None), (0, 5, None), (10, 5, Some(0.5)), (10, 12, Some(1.0))] {
        assert_eq!(Completeness { expected, stored }.ratio(), ratio);
    }
}
