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
        for Sent { epoch: e, first, end, held, lane } in sent {
            let held = held.iter().map(|(n, end)| Held { epoch: epoch(*n), oldest: 0, end: *end, acked: 0 });
            bench.hear(&Batch { held: held.collect(), lane: *lane, ..batch(epoch(*e), *first, *end) });
            bench.now = bench.now.plus_ms(1000);
            if restart {
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
