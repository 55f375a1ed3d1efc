//! What a person is told: losses, clones, restored servers; and what is no incident.

use sitian_ingest::*;
use sitian_model::*;

use crate::bench::*;

/// One batch that a gateway sends: live epoch, records `first..end` of it, and the held list as (epoch, end).
struct Sent {
    epoch: u8,
    first: u64,
    end: u64,
    held: &'static [(u8, u64)],
    lane: Lane,
}

fn live(epoch: u8, first: u64, end: u64, held: &'static [(u8, u64)]) -> Sent {
    Sent { epoch, first, end, held, lane: Lane::Live }
}

fn kept(epoch: u8, first: u64, end: u64, held: &'static [(u8, u64)]) -> Sent {
    Sent { lane: Lane::Backfill, ..live(epoch, first, end, held) }
}

type Expected = (IncidentKind, u8, Option<(u64, u64)>);

#[track_caller]
fn check(name: &str, sent: &[Sent], expected: &[Expected]) {
    for restart in [false, true] {
        let mut bench = Bench::new(Limits::default());
        for n in 2..5 {
            bench.register(epoch(n));
        }
        let last = sent.iter().rfind(|sent| sent.lane == Lane::Live);
        for (n, Sent { epoch: e, first, end, held, lane }) in sent.iter().chain(last).chain(last).enumerate()
        {
            if n >= sent.len() {
                // Whatever has been silent for so long is not written by another machine.
                bench.now = bench.now.plus_ms(Limits::default().silence_ms);
            }
            let held = held.iter().map(|(n, end)| Held { epoch: epoch(*n), oldest: 0, end: *end, acked: 0 });
            bench.hear(&Batch { held: held.collect(), lane: *lane, ..batch(epoch(*e), *first, *end) });
            bench.now = bench.now.plus_ms(1000);
            if restart && n < sent.len() {
                bench.ingest = Ingest::restore(Limits::default(), bench.store.restored());
            }
        }
        let found: Vec<Expected> =
            bench.store.incidents.iter().map(|i| (i.kind, i.epoch.unwrap().0[0], i.seqs)).collect();
        assert_eq!(found, expected, "{name}, restarted in between: {restart}");
    }
}

#[test]
fn an_epoch_that_vanishes_is_a_loss_unless_it_was_sealed_and_complete() {
    use IncidentKind::PossibleLoss;
    check(
        "restart, then trimmed after keep-behind",
        &[live(1, 0, 5, &[(1, 5)]), live(2, 0, 2, &[(1, 5), (2, 2)]), live(2, 2, 4, &[(2, 4)])],
        &[],
    );
    check(
        "spool wiped",
        &[live(1, 0, 5, &[(1, 5)]), live(2, 0, 2, &[(2, 2)]), live(2, 2, 4, &[(2, 4)])],
        &[(PossibleLoss, 1, Some((5, 5)))],
    );
    check(
        "spool wiped with a known backlog",
        &[live(1, 0, 5, &[(1, 90)]), live(2, 0, 2, &[(2, 2)])],
        &[(PossibleLoss, 1, Some((5, 89)))],
    );
    check(
        "sealed, but wiped before it was drained",
        &[
            live(1, 0, 5, &[(1, 9)]),
            live(2, 0, 2, &[(1, 9), (2, 2)]),
            kept(1, 5, 7, &[(1, 9), (2, 2)]),
            live(3, 0, 1, &[(3, 1)]),
        ],
        // Epoch 2 was still open.
        &[(PossibleLoss, 1, Some((7, 8))), (PossibleLoss, 2, Some((2, 2)))],
    );
    check(
        "sealed, drained behind the live epoch, then trimmed",
        &[
            live(1, 0, 5, &[(1, 9)]),
            live(2, 0, 2, &[(1, 9), (2, 2)]),
            kept(1, 5, 9, &[(1, 9), (2, 2)]),
            live(2, 2, 3, &[(2, 3)]),
        ],
        &[],
    );
    check(
        "an old batch that arrives late says nothing about later epochs",
        &[live(1, 0, 3, &[(1, 5)]), live(2, 0, 2, &[(1, 5), (2, 2)]), live(1, 3, 5, &[(1, 5)])],
        &[],
    );
    check("no list is no statement", &[live(1, 0, 5, &[(1, 5)]), live(2, 0, 2, &[])], &[]);
    check("backfill is no statement", &[live(1, 0, 5, &[(1, 5)]), kept(2, 0, 2, &[(2, 2)])], &[]);
}

#[test]
fn an_end_that_shrinks_after_a_restart_is_lost_from_the_card() {
    use IncidentKind::CardLost;
    check(
        "synced readings lost",
        &[live(1, 0, 5, &[(1, 9)]), live(2, 0, 2, &[(1, 7), (2, 2)]), live(2, 2, 3, &[(1, 7), (2, 3)])],
        &[(CardLost, 1, Some((7, 8)))],
    );
    check(
        "lost below what is central already",
        &[live(1, 0, 9, &[(1, 9)]), live(2, 0, 2, &[(1, 4), (2, 2)]), live(2, 2, 3, &[(1, 4), (2, 3)])],
        &[(CardLost, 1, Some((4, 8)))],
    );
    check(
        "an old batch of the same epoch that arrives late",
        &[live(1, 0, 5, &[(1, 9)]), live(1, 0, 5, &[(1, 5)])],
        &[],
    );
    check(
        "an old card put back: old labels are duplicates, the rest is said",
        &[
            live(1, 0, 5, &[(1, 5)]),
            live(2, 0, 8, &[(1, 5), (2, 8)]),
            live(3, 0, 1, &[(1, 5), (2, 3), (3, 1)]),
            kept(2, 0, 3, &[(1, 5), (2, 3), (3, 1)]),
        ],
        &[(CardLost, 2, Some((3, 7)))],
    );
}

/// A machine that speaks every second: its epoch, and the ends of older epochs that its card lists, too.
type Machine<'a> = (u8, &'a [(u8, u64)]);

/// Lets machines speak in turn for so many seconds each, with one id between them.
fn speak(bench: &mut Bench, next: &mut [u64; 5], machines: &[Machine<'_>], seconds: u64) {
    for _ in 0..seconds {
        for (e, older) in machines {
            let n = &mut next[usize::from(*e)];
            let own = Held { epoch: epoch(*e), oldest: 0, end: *n + 1, acked: 0 };
            let older =
                older.iter().map(|(e, end)| Held { epoch: epoch(*e), oldest: 0, end: *end, acked: 0 });
            let taken = payload(bench.now.since_ms(NOW) as u64 / 1000, *e, flavour::GOOD);
            let chain = bench.ingest.state(&bench.gateway, &epoch(*e)).and_then(|state| state.chain).unwrap();
            let (held, entries) = (older.chain([own]).collect(), vec![Entry::Record(taken)]);
            bench.hear(&Batch { first: *n, chain, held, entries, ..batch(epoch(*e), 0, 0) });
            *n += 1;
        }
        bench.now = bench.now.plus_ms(1000);
    }
}

#[test]
fn nothing_is_lost_from_a_card_whose_machine_still_speaks() {
    use IncidentKind::{CardLost, Clone, PossibleLoss};
    let long = Limits::default().silence_ms as u64 / 1000 + 5;
    type Turn<'a> = (&'a [Machine<'a>], u64);
    type Case<'a> = (&'a str, &'a [Turn<'a>], &'a [(IncidentKind, u64)]);
    let cases: &[Case<'_>] = &[
        ("two machines, each with its own card", &[(&[(1, &[]), (2, &[])], 3 * long)], &[(Clone, 1)]),
        (
            "the second one's card is a copy of the first's",
            &[(&[(1, &[])], 20), (&[(1, &[]), (2, &[(1, 10)])], 3 * long)],
            &[(Clone, 1)],
        ),
        (
            "the first one is switched off",
            &[(&[(1, &[]), (2, &[])], 30), (&[(2, &[])], 2 * long)],
            &[(Clone, 1)],
        ),
        (
            "the second one is switched off",
            &[(&[(1, &[]), (2, &[])], 30), (&[(1, &[])], 2 * long)],
            &[(Clone, 1)],
        ),
        ("a new card", &[(&[(1, &[])], 30), (&[(2, &[])], 2 * long)], &[(PossibleLoss, 30)]),
        ("a card that forgot", &[(&[(1, &[])], 30), (&[(2, &[(1, 20)])], 2 * long)], &[(CardLost, 20)]),
        (
            "the first one is switched off, and the second gets a new card",
            &[(&[(1, &[]), (2, &[])], 30), (&[(2, &[])], long), (&[(3, &[])], 2 * long)],
            &[(Clone, 1), (PossibleLoss, 30), (PossibleLoss, 30 + long)],
        ),
    ];
    for (name, turns, expected) in cases {
        let mut bench = Bench::new(Limits::default());
        (2..5).for_each(|n| bench.register(epoch(n)));
        let mut next = [0; 5];
        turns.iter().for_each(|(machines, seconds)| speak(&mut bench, &mut next, machines, *seconds));
        let first = |i: &Incident| i.seqs.map_or(1, |(first, _)| first);
        let found: Vec<_> = bench.store.incidents.iter().map(|i| (i.kind, first(i))).collect();
        assert_eq!(found, *expected, "{name}");
    }
}

#[test]
fn a_restored_centre_takes_no_replayed_epoch_for_the_live_one_and_tells_no_loss() {
    let mut bench = Bench::new(Limits::default());
    let live = |e: u8, n: u64, held: &[(u8, u64)]| {
        let held = held.iter().map(|(e, end)| Held { epoch: epoch(*e), oldest: 0, end: *end, acked: 0 });
        Batch { held: held.collect(), acked: n.min(3), ..batch(epoch(e), n, n + 1) }
    };
    bench.hear(&live(1, 0, &[(1, 1)]));
    bench.ingest = Ingest::restore(Limits::default(), bench.store.restored());
    // The centre has forgotten the epochs 2, 3 and 4; 1 was let go of in the meantime. 4 is live, and the broker plays back
    // what it kept of 2 and 3.
    bench.register(epoch(4));
    bench.hear(&live(4, 9, &[(2, 5), (3, 2), (4, 10)]));
    bench.hear(&Batch { acked: 0, ..live(4, 0, &[(2, 5), (3, 2), (4, 10)]) });
    for (e, n, held) in [(2, 0, &[(2, 1)][..]), (3, 0, &[(2, 5), (3, 1)]), (2, 1, &[(2, 2)])] {
        bench.now = bench.now.plus_ms(1000);
        bench.register(epoch(e));
        bench.hear(&Batch { acked: 0, ..live(e, n, held) });
    }
    for n in 1..6 {
        bench.now = bench.now.plus_ms(40_000);
        bench.hear(&Batch { acked: 0, ..live(4, n, &[(2, 5), (3, 2), (4, 10)]) });
    }
    let rank = |e| bench.ingest.state(&bench.gateway, &epoch(e)).map(|state| (state.live_rank, state.sealed));
    assert_eq!([1, 2, 3, 4].map(rank), [(1, false), (0, true), (0, true), (2, false)].map(Some));
    assert_eq!(bench.kinds(), [IncidentKind::ServerRestored]);
}

#[test]
fn a_failed_spool_is_told_when_it_begins_and_when_it_ends() {
    let (works, fails) = (Some(true), Some(false));
    // Epoch, what it says of its spool, whether the centre is restarted behind it: how many began and ended by then.
    type Step = (u8, Option<bool>, Lane, bool, (usize, usize));
    let cases: &[(&str, &[Step])] = &[
        (
            "fails and works again",
            &[
                (1, works, Lane::Live, false, (0, 0)),
                (1, fails, Lane::Live, true, (1, 0)),
                (1, fails, Lane::Live, false, (1, 0)),
                (1, works, Lane::Live, true, (1, 1)),
                (1, works, Lane::Live, false, (1, 1)),
                (1, fails, Lane::Live, true, (2, 1)),
                (1, works, Lane::Live, false, (2, 2)),
            ],
        ),
        (
            "a new card ends it",
            &[
                (1, fails, Lane::Live, true, (1, 0)),
                (2, works, Lane::Live, false, (1, 1)),
                // A batch of the old card that comes late: what it says was true.
                (2, works, Lane::Live, false, (1, 1)),
            ],
        ),
        (
            "a new card fails, too",
            &[
                (1, fails, Lane::Live, false, (1, 0)),
                (2, fails, Lane::Live, true, (1, 0)),
                (2, works, Lane::Live, false, (1, 1)),
            ],
        ),
        (
            "a gateway that has not opened its spool says nothing, nor does backfill",
            &[(1, None, Lane::Live, false, (0, 0)), (1, fails, Lane::Backfill, false, (0, 0))],
        ),
    ];
    for (name, steps) in cases {
        let mut bench = Bench::new(Limits::default());
        bench.register(epoch(2));
        for (n, (e, healthy, lane, restart, expected)) in steps.iter().enumerate() {
            let spool = healthy.map_or_else(SpoolState::default, |healthy| SpoolState {
                bytes_max: 1 << 30,
                healthy,
                ..SpoolState::default()
            });
            bench.hear(&Batch { spool, lane: *lane, ..batch(epoch(*e), 0, 1) });
            bench.now = bench.now.plus_ms(1000);
            assert_eq!((bench.store.incidents.len(), bench.store.ended.len()), *expected, "{name}, step {n}");
            if *restart {
                bench.ingest = Ingest::restore(Limits::default(), bench.store.restored());
            }
        }
        assert!(bench.kinds().iter().all(|kind| *kind == IncidentKind::SpoolFailed), "{name}");
    }
}

#[test]
fn two_programs_under_one_id_are_a_clone_and_restarts_are_not() {
    // Record n is taken n seconds after the start of the test's time, so epochs overlap as their numbers do.
    let run = |steps: &[(u8, u64, u64)]| {
        let mut bench = Bench::new(Limits::default());
        bench.register(epoch(2));
        let mut now = bench.now;
        for (e, first, end) in steps {
            let all: Vec<_> = (*first..*end).map(|n| Entry::Record(payload(n, *e, flavour::GOOD))).collect();
            let committed = bench.ingest.state(&bench.gateway, &epoch(*e)).unwrap();
            let (first, chain) = (committed.committed, committed.chain.unwrap());
            bench.now = now;
            bench.hear(&Batch { first, chain, entries: all, held: vec![], ..batch(epoch(*e), 0, 0) });
            now = now.plus_ms(2000);
        }
        let clones: Vec<_> = bench.store.incidents.iter().filter(|i| i.kind == IncidentKind::Clone).collect();
        assert!(clones.iter().all(|i| i.other.is_some() && i.other != i.epoch));
        (clones.len(), bench.store.rows.len())
    };
    for (name, steps, expected) in [
        ("one after the other", &[(1, 0, 10), (2, 10, 20), (2, 20, 60)][..], (0, 120)),
        ("the old one's tail arrives late", &[(1, 0, 5), (2, 10, 20), (1, 5, 10), (2, 20, 60)], (0, 120)),
        ("both at once", &[(1, 0, 10), (2, 1, 10), (1, 10, 20), (2, 10, 20)], (1, 78)),
        ("a clock set back a little", &[(1, 0, 10), (2, 6, 20)], (0, 48)),
    ] {
        assert_eq!(run(steps), expected, "{name}");
    }
}

#[test]
fn a_clone_is_noticed_within_a_minute() {
    let mut bench = Bench::new(Limits::default());
    bench.register(epoch(2));
    let started = bench.now;
    for n in 0..60 {
        for e in [1, 2] {
            bench.hear(&batch(epoch(e), n, n + 1));
        }
        bench.now = bench.now.plus_ms(1000);
        if bench.kinds().contains(&IncidentKind::Clone) {
            break;
        }
    }
    assert!(bench.now.since_ms(started) <= 10_000);
    assert_eq!(bench.store.rows.len() as i64, bench.now.since_ms(started) / 1000 * 4, "both are stored");
}

#[test]
fn a_restored_server_rewinds_every_epoch_and_says_so_once_per_gateway() {
    let mut bench = Bench::new(Limits::default());
    bench.register(epoch(2));
    bench.hear(&batch(epoch(1), 0, 5));
    let backup = bench.store.clone();
    bench.hear(&batch(epoch(1), 5, 20));
    bench.hear(&batch(epoch(2), 0, 20));
    bench.store = backup;
    bench.ingest = Ingest::restore(Limits::default(), bench.store.restored());
    for (e, committed) in [(1, 5), (2, 0)] {
        let ack = bench.hear(&Batch { acked: 20, held: vec![], ..batch(epoch(e), 20, 22) }).unwrap();
        assert_eq!((ack.action, ack.committed), (Action::Rewind, committed));
        let ack =
            bench.hear(&Batch { acked: committed, held: vec![], ..batch(epoch(e), committed, 22) }).unwrap();
        assert_eq!((ack.action, ack.committed), (Action::Ok, 22));
    }
    let said: Vec<_> =
        bench.store.incidents.iter().filter(|i| i.kind == IncidentKind::ServerRestored).collect();
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].epoch, said[0].seqs), (Some(epoch(1)), Some((5, 19))));
    assert_eq!(bench.store.rows.len(), 2 * 2 * 22);
}
