use sitian_model::{EpochNo, PointNo, Quality, Row, Seq, Timestamp};

use super::*;
use crate::Append;
use crate::contract::Reference;
use crate::window::{AggregateQuery, Extras, WindowFold};

const WHOLE: Span = Span { from: Timestamp(0), to: Timestamp(1_000) };

fn span(from: i64, to: i64) -> Span {
    Span { from: Timestamp(from), to: Timestamp(to) }
}

fn row(point: u32, at: i64, epoch: u32, seq: Seq) -> Row {
    let value = Some(1.0);
    Row {
        point: PointNo(point),
        at: Timestamp(at),
        value,
        quality: Quality::Good,
        epoch: EpochNo(epoch),
        seq,
    }
}

/// One window of a point polled every 10 ms over a second: 100 readings are due.
fn window(good: u64, bad: &[(Cause, u64)]) -> Window {
    let query = AggregateQuery {
        point: PointNo(1),
        span: WHOLE,
        window_ms: 1_000,
        offset_ms: 0,
        interval_ms: Some(10),
        extras: Extras::default(),
    };
    let mut fold = WindowFold::new(&query).expect("in bounds");
    (0..good).for_each(|_| fold.observe(Timestamp(1), Some(1.0), Quality::Good));
    for (cause, n) in bad {
        (0..*n).for_each(|_| fold.observe(Timestamp(1), None, Quality::Bad(*cause)));
    }
    fold.finish().expect("few values").remove(0)
}

#[test]
fn every_missing_reading_has_one_reason_and_no_reason_takes_more_than_is_missing() {
    use Lack::{Bad, Gap, GatewayDown, Quarantined, Unknown};
    let (timeout, overrun) = (Cause::Timeout, Cause::BusOverrun);
    let loss = |from, to, lack| Loss { span: span(from, to), lack };
    let evicted = Gap(GapReason::Evicted);
    type Case<'a> = (u64, &'a [(Cause, u64)], &'a [Loss], &'a [(Lack, u64)]);
    let cases: &[Case<'_>] = &[
        (100, &[], &[], &[]),
        (103, &[], &[loss(0, 500, GatewayDown)], &[]),
        (99, &[], &[], &[]),
        (98, &[], &[], &[(Unknown, 2)]),
        (0, &[], &[], &[(Unknown, 100)]),
        (90, &[(timeout, 10)], &[], &[(Bad(timeout), 10)]),
        (90, &[(timeout, 9)], &[], &[(Bad(timeout), 9)]),
        (95, &[(timeout, 10)], &[], &[(Bad(timeout), 5)]),
        (
            60,
            &[(timeout, 10)],
            &[loss(0, 200, GatewayDown)],
            &[(Bad(timeout), 10), (GatewayDown, 20), (Unknown, 10)],
        ),
        (50, &[], &[loss(0, 100, evicted), loss(0, 500, GatewayDown)], &[(evicted, 10), (GatewayDown, 40)]),
        (
            80,
            &[],
            &[loss(-500, 100, Quarantined), loss(900, 2_000, GatewayDown)],
            &[(Quarantined, 10), (GatewayDown, 10)],
        ),
        (80, &[], &[loss(1_000, 2_000, GatewayDown)], &[(Unknown, 20)]),
        (0, &[], &[loss(0, 990, GatewayDown)], &[(GatewayDown, 99), (Unknown, 1)]),
        // A bus that is late by several rounds says so once.
        (50, &[(overrun, 10)], &[], &[(Bad(overrun), 50)]),
        (40, &[(overrun, 10)], &[loss(0, 200, GatewayDown)], &[(Bad(overrun), 40), (GatewayDown, 20)]),
    ];
    for (good, bad, losses, wanted) in cases {
        let found = explain(&window(*good, bad), WHOLE, 10, losses);
        assert_eq!(found, wanted.iter().copied().collect(), "{good} {bad:?} {losses:?}");
    }
}

#[test]
fn a_gateway_is_silent_only_where_none_of_its_points_has_a_row() {
    let mut engine = Reference::default();
    let first = [0, 10, 20, 60, 70, 200].map(|at| row(1, at, 1, at as u64));
    let second = [30, 110, 120].map(|at| row(2, at, 1, at as u64));
    let other = [90, 140].map(|at| row(3, at, 1, at as u64));
    for rows in [&first[..], &second[..], &other[..]] {
        engine.append(rows).expect("stored");
    }
    type Case<'a> = (&'a [u32], Span, i64, &'a [(i64, i64)]);
    let cases: &[Case<'_>] = &[
        (&[1], span(0, 201), 15, &[(20, 60), (70, 200)]),
        (&[1, 2], span(0, 201), 15, &[(30, 60), (70, 110), (120, 200)]),
        (&[2, 1], span(0, 201), 15, &[(30, 60), (70, 110), (120, 200)]),
        (&[1, 2, 3], span(0, 201), 35, &[(140, 200)]),
        (&[1, 2, 3], span(0, 201), 60, &[]),
        (&[1], span(-50, 5), 15, &[(-50, 0)]),
        (&[4], span(0, 100), 15, &[(0, 100)]),
        (&[], span(0, 100), 15, &[(0, 100)]),
        (&[1], span(0, 10), 15, &[]),
        (&[1], span(10, 0), 15, &[]),
    ];
    for (points, span, longest_ms, wanted) in cases {
        let points: Vec<PointNo> = points.iter().map(|no| PointNo(*no)).collect();
        let found = quiet(&engine, &points, *span, *longest_ms).expect("answers");
        let found: Vec<_> = found.silences.iter().map(|s| (s.span.from.0, s.span.to.0)).collect();
        assert_eq!(found, *wanted, "{points:?} {span:?} {longest_ms}");
    }
}

#[test]
fn a_moment_is_lost_for_one_reason_only() {
    let evicted = Lack::Gap(GapReason::Evicted);
    let loss = |from, to, lack| Loss { span: span(from, to), lack };
    let down = Lack::GatewayDown;
    for (given, wanted) in [
        (vec![loss(0, 10, down), loss(20, 30, down)], vec![loss(0, 10, down), loss(20, 30, down)]),
        (
            vec![loss(0, 100, down), loss(20, 30, evicted), loss(50, 200, evicted)],
            vec![loss(20, 30, evicted), loss(50, 200, evicted), loss(0, 20, down), loss(30, 50, down)],
        ),
        (vec![loss(0, 10, evicted), loss(0, 10, evicted)], vec![loss(0, 10, evicted)]),
        (
            vec![loss(0, 10, Lack::Quarantined), loss(5, 15, evicted)],
            vec![loss(5, 15, evicted), loss(0, 5, Lack::Quarantined)],
        ),
        (vec![], vec![]),
    ] {
        assert_eq!(disjoint(given.clone()), wanted, "{given:?}");
    }
}

#[test]
fn rows_of_unknown_time_are_in_place_where_nobody_else_has_any() {
    let unknown = Quality::Uncertain(Cause::ClockUnknown);
    let other = |at| row(1, at, 1, at as u64);
    let doubted = |at| Row { quality: unknown, ..row(1, at, 2, at as u64) };
    for (name, rows, wanted) in [
        (
            "after the others",
            [0, 10, 20].map(other).into_iter().chain([30, 40].map(doubted)),
            vec![EpochNo(2)],
        ),
        ("among the others", [20, 30, 40].map(other).into_iter().chain([23, 33].map(doubted)), vec![]),
    ] {
        let mut engine = Reference::default();
        engine.append(&rows.collect::<Vec<_>>()).expect("stored");
        let found = quiet(&engine, &[PointNo(1)], span(0, 50), 15).expect("answers");
        assert_eq!(found.in_place, wanted, "{name}");
    }
}

#[test]
fn a_late_bus_and_a_clock_that_is_set_in_a_moment_make_no_silence() {
    let (late, unknown) = (Quality::Bad(Cause::BusOverrun), Quality::Uncertain(Cause::ClockUnknown));
    let good = Quality::Good;
    type Case<'a> = (&'a str, &'a [(i64, u32, Quality)], &'a [(i64, i64)]);
    let cases: &[Case<'_>] = &[
        ("nobody speaks", &[(0, 1, good), (60, 1, good)], &[(0, 60)]),
        ("late before", &[(0, 1, late), (60, 1, good)], &[]),
        ("late behind", &[(0, 1, good), (60, 1, late)], &[]),
        ("late, and then off", &[(0, 1, late), (90, 1, good)], &[(0, 90)]),
        ("a clock set in a moment", &[(0, 1, good), (50, 2, unknown), (60, 2, good)], &[(0, 50)]),
        ("and a while later", &[(0, 1, good), (40, 2, unknown), (50, 2, unknown), (60, 2, good)], &[(0, 40)]),
        ("a clock never set", &[(0, 1, good), (40, 2, unknown), (60, 3, good)], &[(0, 40), (40, 60)]),
    ];
    for (name, rows, wanted) in cases {
        let mut engine = Reference::default();
        let stored = rows.iter().zip(0..).map(|((at, epoch, quality), seq)| {
            let value = Some(1.0).filter(|_| !matches!(quality, Quality::Bad(_)));
            Row { value, quality: *quality, ..row(1, *at, *epoch, seq) }
        });
        engine.append(&stored.collect::<Vec<_>>()).expect("stored");
        let end = rows.last().expect("some").0 + 1;
        let found = quiet(&engine, &[PointNo(1)], span(0, end), 15).expect("answers");
        let found: Vec<_> = found.silences.iter().map(|s| (s.span.from.0, s.span.to.0)).collect();
        assert_eq!(found, *wanted, "{name}");
    }
}

/// A silence between rows of these records.
fn silence(from: i64, to: i64, before: Option<(u32, Seq)>, after: Option<(u32, Seq)>) -> Silence {
    let label = |label: Option<(u32, Seq)>| label.map(|(epoch, seq)| (EpochNo(epoch), seq));
    Silence { span: span(from, to), before: label(before), after: label(after) }
}

/// What the centre knows of epochs: number, arrival, committed, newest.
fn told(epochs: &[(u32, i64, Seq, Option<i64>)]) -> Vec<Told> {
    let one = |(no, at, committed, newest_at): &(u32, i64, Seq, Option<i64>)| Told {
        no: EpochNo(*no),
        at: Timestamp(*at),
        committed: *committed,
        newest_at: newest_at.map(Timestamp),
    };
    epochs.iter().map(one).collect()
}

/// A silence, the epochs of its gateway, what is lost, and what is said of it.
type Lies<'a> = (&'a str, Silence, &'a [(u32, i64, Seq, Option<i64>)], &'a [Lost], &'a [(Lack, i64, i64)]);

fn check(cases: &[Lies<'_>]) {
    for (name, silence, epochs, lost, wanted) in cases {
        let quiet = Quiet { silences: vec![*silence], step_ms: Some(10), in_place: Vec::new() };
        let found = losses(&quiet, &told(epochs), lost, 10);
        let found: Vec<_> = found.iter().map(|loss| (loss.lack, loss.span.from.0, loss.span.to.0)).collect();
        assert_eq!(found, *wanted, "{name}");
    }
}

const TIMELESS: Lack = Lack::Bad(Cause::ClockUnknown);

fn lost(epoch: u32, first: Seq, last: Seq, lack: Lack) -> Lost {
    Lost { epoch: EpochNo(epoch), first, last, span: None, lack }
}

#[test]
fn the_labels_at_the_ends_of_a_silence_tell_what_lies_in_it() {
    let (down, quarantined) = (Lack::GatewayDown, Lack::Quarantined);
    let evicted = Lack::Gap(GapReason::Evicted);
    check(&[
        ("nothing was accepted", silence(0, 100, Some((1, 5)), Some((1, 6))), &[], &[], &[(down, 5, 95)]),
        (
            "records in quarantine",
            silence(0, 40, Some((1, 5)), Some((1, 9))),
            &[],
            &[lost(1, 6, 8, quarantined)],
            &[(quarantined, 5, 35)],
        ),
        (
            "records in quarantine, and others whose time is unknown",
            silence(0, 60, Some((1, 5)), Some((1, 11))),
            &[],
            &[lost(1, 6, 7, quarantined)],
            &[(TIMELESS, 25, 55), (quarantined, 5, 25)],
        ),
        (
            "a quarantine of another day",
            silence(0, 60, Some((1, 500)), Some((1, 501))),
            &[],
            &[lost(1, 6, 7, quarantined)],
            &[(down, 5, 55)],
        ),
        (
            "the end of an epoch in quarantine, then the gateway was off",
            silence(0, 200, Some((1, 5)), Some((2, 0))),
            &[(1, -90, 9, Some(0)), (2, 190, 50, Some(900))],
            &[lost(1, 6, 8, quarantined)],
            &[(quarantined, 5, 35), (down, 35, 195)],
        ),
        (
            "an epoch that was given up before its first row",
            silence(0, 200, Some((1, 5)), Some((2, 3))),
            &[(1, -90, 6, Some(0)), (2, 250, 50, Some(900))],
            &[lost(2, 0, 2, evicted)],
            &[(evicted, 165, 195), (down, 5, 165)],
        ),
    ]);
}

#[test]
fn what_is_committed_and_not_here_has_no_known_time() {
    let (down, evicted) = (Lack::GatewayDown, Lack::Gap(GapReason::Evicted));
    check(&[
        (
            "a boot that heard the time late",
            silence(0, 200, Some((1, 5)), Some((2, 3))),
            &[(1, -90, 6, Some(0)), (2, 150, 50, Some(900))],
            &[],
            &[(TIMELESS, 165, 195), (down, 5, 165)],
        ),
        (
            "a boot that never heard the time, told late and out of order",
            silence(0, 200, Some((1, 5)), Some((2, 0))),
            &[(1, -90, 6, Some(0)), (2, 190, 50, Some(900)), (3, 210, 4, None)],
            &[],
            &[(TIMELESS, 155, 195), (down, 5, 155)],
        ),
        (
            "starts on a full card, each given up whole and told without a time",
            silence(0, 200, Some((1, 5)), Some((5, 2))),
            &[
                (1, -90, 6, Some(0)),
                (2, 210, 2, None),
                (3, 211, 3, None),
                (4, 212, 1, None),
                (5, 190, 50, Some(900)),
            ],
            &[lost(2, 0, 1, evicted), lost(3, 0, 2, evicted), lost(4, 0, 0, evicted)],
            &[
                (TIMELESS, 175, 195),
                (evicted, 115, 135),
                (evicted, 135, 165),
                (evicted, 165, 175),
                (down, 5, 115),
            ],
        ),
        (
            "an epoch without a time that was there long before",
            silence(0, 200, Some((4, 5)), Some((5, 0))),
            &[(3, -500, 4, None), (4, -90, 6, Some(0)), (5, 190, 50, Some(900))],
            &[],
            &[(down, 5, 195)],
        ),
        (
            "a second writer whose first records lie elsewhere",
            silence(0, 100, Some((1, 5)), Some((2, 7))),
            &[(1, -90, 50, Some(900)), (2, -80, 50, Some(900))],
            &[],
            &[(down, 5, 95)],
        ),
        ("nobody has spoken again", silence(0, 100, Some((1, 5)), None), &[], &[], &[(down, 5, 100)]),
    ]);
}

#[test]
fn a_loss_whose_time_the_gateway_states_reaches_to_its_neighbours() {
    let evicted = Lack::Gap(GapReason::Evicted);
    let quiet = Quiet {
        silences: vec![silence(0, 100, Some((1, 5)), Some((1, 15)))],
        step_ms: None,
        in_place: Vec::new(),
    };
    let lost = Lost { epoch: EpochNo(1), first: 6, last: 14, span: Some(span(10, 90)), lack: evicted };
    let found = losses(&quiet, &[], &[lost], 10);
    assert_eq!(found, [Loss { span: span(5, 95), lack: evicted }]);
}

#[test]
fn what_was_due_is_stored_or_missing_for_a_reason_in_whatever_world() {
    let causes = [Cause::Timeout, Cause::Checksum, Cause::BusOverrun, Cause::NotANumber];
    let lacks =
        [Lack::Gap(GapReason::Evicted), Lack::Quarantined, Lack::GatewayDown, Lack::Bad(Cause::ClockUnknown)];
    let mut seed = 1_u64;
    let mut below = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    for world in 0..2_000 {
        let good = [below(160), 0, 100][below(3) as usize];
        let bad: Vec<_> = causes.iter().map(|cause| (*cause, below(40) * below(2))).collect();
        let loss =
            |from: u64, length: u64, lack| Loss { span: span(from as i64, (from + length) as i64), lack };
        let losses = (0..below(5)).map(|_| loss(below(1_200), below(600), lacks[below(4) as usize]));
        let losses = disjoint(losses.collect());
        let window = window(good, &bad);
        let found = account(&window, WHOLE, 10, &losses);
        let missing: u64 = found.missing.values().sum();
        assert_eq!(found.expected, found.stored + missing, "world {world}");
        assert!(found.stored <= 100 && found.stored <= good, "world {world}: {found:?}");
        // One reading is where the edge of the window fell.
        assert!((99..=100).contains(&found.expected), "world {world}: {found:?}");
        // A bus that is late says so once for several rounds.
        for (cause, n) in bad.into_iter().filter(|(cause, _)| *cause != Cause::BusOverrun) {
            assert!(
                found.missing.get(&Lack::Bad(cause)).is_none_or(|told| *told <= n),
                "world {world}: {found:?}"
            );
        }
    }
}
