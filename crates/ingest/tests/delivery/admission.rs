//! One batch against a watermark: what is committed and what is answered.

use sitian_ingest::*;
use sitian_model::*;

use crate::bench::*;

fn gap(first: Seq, last: Seq) -> Entry {
    Entry::Gap(Gap { first, last, reason: GapReason::Evicted, span: None })
}

fn acked(acked: Seq, batch: Batch) -> Batch {
    Batch { acked, ..batch }
}

/// Ten records are committed; then one batch comes.
#[track_caller]
fn check(name: &str, second: Batch, expected: (Action, Seq), rows: usize, duplicates: u64) {
    let mut bench = Bench::new(Limits::default());
    let first = bench.hear(&batch(epoch(1), 0, 10)).unwrap();
    assert_eq!((first.action, first.committed), (Action::Ok, 10));
    let ack = bench.hear(&second).unwrap();
    assert_eq!((ack.action, ack.committed), expected, "{name}");
    assert_eq!(bench.store.rows.len(), 20 + rows, "{name}");
    assert_eq!(bench.ingest.stats().duplicates, duplicates, "{name}");
    assert_eq!(bench.store.epoch(&bench.gateway, epoch(1)).unwrap().state.committed, ack.committed, "{name}");
}

#[test]
fn a_batch_is_judged_by_where_it_begins() {
    let e = epoch(1);
    check("next in line", batch(e, 10, 13), (Action::Ok, 13), 6, 0);
    check("overlapping", batch(e, 7, 13), (Action::Ok, 13), 6, 3);
    check("from the start", batch(e, 0, 13), (Action::Ok, 13), 6, 10);
    check("all old", batch(e, 2, 5), (Action::Ok, 10), 0, 3);
    check("exactly the same", batch(e, 0, 10), (Action::Ok, 10), 0, 10);
    check("one ahead", batch(e, 11, 13), (Action::Ok, 10), 0, 0);
    check("probe in place", batch(e, 10, 10), (Action::Ok, 10), 0, 0);
    check("probe behind", batch(e, 3, 3), (Action::Ok, 10), 0, 0);
    check("probe ahead", batch(e, 20, 20), (Action::Ok, 10), 0, 0);
    check("acked as much as committed", acked(10, batch(e, 10, 13)), (Action::Ok, 13), 6, 0);
    check("acked more than committed", acked(11, batch(e, 10, 13)), (Action::Rewind, 10), 0, 0);
    check("probe acked more than committed", acked(40, batch(e, 40, 40)), (Action::Rewind, 10), 0, 0);
}

#[test]
fn another_history_under_the_same_label_is_a_fork_wherever_it_meets_the_watermark() {
    let forked = |first, end| Batch { chain: 0xbad, ..batch(epoch(1), first, end) };
    check("at the watermark", forked(10, 13), (Action::Fork, 10), 0, 0);
    check("overlapping it", forked(5, 13), (Action::Fork, 10), 0, 0);
    check("a probe at it", forked(10, 10), (Action::Fork, 10), 0, 0);
    check("below it there is nothing to compare", forked(2, 5), (Action::Ok, 10), 0, 3);
    let mut bench = Bench::new(Limits::default());
    bench.hear(&batch(epoch(1), 0, 10));
    bench.hear(&forked(10, 13));
    bench.hear(&forked(10, 14));
    assert_eq!(bench.kinds(), [IncidentKind::Fork], "one alarm");
    assert_eq!(bench.store.quarantine.len(), 1, "the raw bytes are kept");
    let ack = bench.hear(&batch(epoch(1), 10, 13)).unwrap();
    assert_eq!(
        (ack.action, ack.committed),
        (Action::Fork, 10),
        "the first writer takes a label of its own too"
    );
    let held = vec![Held { epoch: epoch(2), oldest: 0, end: 3, acked: 0 }];
    bench.register(epoch(2));
    bench.hear(&Batch { held, ..batch(epoch(2), 0, 3) });
    assert_eq!(bench.kinds(), [IncidentKind::Fork], "that the shared epoch is gone then is no loss");
}

#[test]
fn a_gap_is_committed_like_data_and_clipped_to_what_is_new() {
    let with = |first, entries| Batch { entries, ..batch(epoch(1), first, first) };
    check("gap in line", with(10, vec![gap(10, 99)]), (Action::Ok, 100), 0, 0);
    check("gap over the watermark", with(8, vec![gap(8, 99)]), (Action::Ok, 100), 0, 2);
    check("old gap", with(2, vec![gap(2, 9)]), (Action::Ok, 10), 0, 8);
    let mut bench = Bench::new(Limits::default());
    bench.hear(&batch(epoch(1), 0, 10));
    bench.hear(&with(8, vec![gap(8, 99)]));
    let committed = bench.store.gaps[0].gap;
    assert_eq!((committed.first, committed.last, committed.reason), (10, 99, GapReason::Evicted));
    assert_eq!(bench.kinds(), [IncidentKind::Gap]);
    // Whatever chain the gateway names after a gap is adopted, and binding from then on.
    let after = |first: u64, chain| Batch { chain, ..batch(epoch(1), first, 120) };
    let ack = bench.hear(&Batch { entries: vec![], ..after(100, 77) }).unwrap();
    assert_eq!((ack.action, ack.chain), (Action::Ok, Some(77)));
    assert_eq!(bench.hear(&after(100, 78)).unwrap().action, Action::Fork);
}

#[test]
fn an_ack_says_what_was_committed_as_far_as_the_centre_can_know_it() {
    let mut bench = Bench::new(Limits::default());
    let sent = batch(epoch(1), 0, 10);
    let known = sent.entries.iter().fold(0, |chain, entry| match entry {
        Entry::Record(payload) => crc32c::crc32c_append(chain, payload),
        Entry::Gap(_) => chain,
    });
    assert_eq!(bench.hear(&sent).unwrap().chain, Some(known));
    let ack = bench.hear(&Batch { entries: vec![gap(10, 19)], ..batch(epoch(1), 10, 10) }).unwrap();
    assert_eq!((ack.committed, ack.chain), (20, None));
}

#[test]
fn an_unknown_epoch_is_asked_for_its_manifest_and_nothing_is_kept() {
    let mut bench = Bench::new(Limits::default());
    let ack = bench.hear(&batch(epoch(2), 0, 5)).unwrap();
    assert_eq!((ack.action, ack.committed), (Action::Manifest, 0));
    assert!(bench.store.rows.is_empty());
    bench.register(epoch(2));
    assert_eq!(bench.hear(&batch(epoch(2), 0, 5)).unwrap().committed, 5);
    assert_eq!(bench.store.points.len(), 2, "the points are the ones of epoch 1");
    assert_eq!(bench.store.epochs.len(), 2);
}

#[test]
fn a_manifest_that_overtakes_its_batch_in_a_group_is_not_asked_for() {
    let mut bench = Bench::new(Limits::default());
    let (gateway, now) = (bench.gateway.clone(), bench.now);
    bench.ingest.handle_batch(&gateway, &batch(epoch(2), 0, 5), b"", &decode, now);
    bench.ingest.handle_manifest(&gateway, epoch(2), manifest(&gateway), now);
    assert_eq!(bench.settle().unwrap().action, Action::Ok);
}

#[test]
fn manifests_of_others_and_other_manifests_are_refused() {
    let mut bench = Bench::new(Limits::default());
    let (own, now) = (bench.gateway.clone(), bench.now);
    bench.ingest.handle_manifest(&own, epoch(3), manifest(&gateway("gw-2")), now);
    assert_eq!(bench.settle(), None, "no answer to a stranger's manifest");
    let again = manifest(&own);
    bench.ingest.handle_manifest(&own, epoch(1), again.clone(), now);
    let group = bench.ingest.take(now);
    assert_eq!((group.effects, group.acks.len()), (vec![], 1), "the same manifest changes nothing");
    let mut swapped = again;
    swapped.points.swap(0, 1);
    bench.ingest.handle_manifest(&own, epoch(1), swapped, now);
    bench.settle();
    assert_eq!(bench.kinds(), [IncidentKind::ForeignManifest, IncidentKind::ManifestConflict]);
    let rejected = bench.ingest.stats().rejected;
    assert_eq!((rejected.foreign_manifest, rejected.manifest_conflict), (1, 1));
}

#[test]
fn a_point_keeps_its_number_when_its_description_changes() {
    let mut bench = Bench::new(Limits::default());
    let mut renamed = manifest(&bench.gateway);
    renamed.devices[0].name = "三号棚".into();
    renamed.points.remove(0);
    let (gateway, now) = (bench.gateway.clone(), bench.now);
    bench.ingest.handle_manifest(&gateway, epoch(2), renamed, now);
    bench.settle();
    let names: Vec<_> = bench.store.points.values().map(|p| (p.no.0, p.device.name.as_str())).collect();
    assert_eq!(names, [(0, "土壤"), (1, "三号棚")]);
    assert_eq!(bench.store.epoch(&gateway, epoch(2)).unwrap().points, [PointNo(1)]);
}

#[test]
fn a_poisonous_record_is_set_aside_and_its_neighbours_are_stored() {
    for (name, kind, reason) in [
        ("undecodable", flavour::UNDECODABLE, "no record"),
        ("unknown point", flavour::UNKNOWN_POINT, "point 2 is not among the 2 of the manifest"),
        ("point twice", flavour::POINT_TWICE, "point 0 occurs twice in one record"),
        ("contradiction", flavour::CONTRADICTION, "point 1 has a value that contradicts its quality"),
    ] {
        let mut bench = Bench::new(Limits::default());
        let mut sent = batch(epoch(1), 0, 3);
        let poison = payload(1, 1, kind);
        sent.entries[1] = Entry::Record(poison.clone());
        let ack = bench.hear(&sent).unwrap();
        assert_eq!((ack.action, ack.committed), (Action::Quarantined, 3), "{name}");
        assert_eq!(bench.store.rows.len(), 4, "{name}");
        let kept = &bench.store.quarantine[0];
        assert_eq!(
            (kept.range, kept.form, kept.reason.as_str()),
            (Some((epoch(1), 1, 2)), Form::Record, reason)
        );
        assert_eq!(kept.raw, poison, "{name}");
        assert_eq!(bench.kinds(), [IncidentKind::Quarantined], "{name}");
        let payloads: Vec<Vec<u8>> = sent
            .entries
            .iter()
            .map(|e| match e {
                Entry::Record(payload) => payload.clone(),
                Entry::Gap(_) => vec![],
            })
            .collect();
        let next = Batch { chain: chain(&payloads), ..batch(epoch(1), 3, 5) };
        assert_eq!(bench.hear(&next).unwrap().action, Action::Ok, "{name}: the chain goes on over poison");
    }
}

#[test]
fn an_undecodable_message_moves_the_watermark_over_what_it_declares_and_no_further() {
    let e = epoch(1);
    for (name, declared, expected, kept) in [
        ("next in line", Some((e, 10, 15)), Some((Action::Quarantined, 15)), 1),
        ("overlapping", Some((e, 5, 15)), Some((Action::Quarantined, 15)), 1),
        ("already committed", Some((e, 0, 10)), Some((Action::Ok, 10)), 0),
        ("ahead", Some((e, 11, 15)), Some((Action::Ok, 10)), 0),
        ("nothing in it", Some((e, 10, 10)), Some((Action::Ok, 10)), 0),
        ("backwards", Some((e, 10, 9)), None, 1),
        ("beyond reach", Some((e, 10, SEQ_MAX)), None, 1),
        ("unknown epoch", Some((epoch(9), 0, 5)), Some((Action::Manifest, 0)), 0),
        ("no labels", None, None, 1),
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.hear(&batch(e, 0, 10));
        let (gateway, now) = (bench.gateway.clone(), bench.now);
        bench.ingest.handle_poison(&gateway, b"junk", "why", declared, now);
        let ack = bench.settle();
        assert_eq!(ack.map(|a| (a.action, a.committed)), expected, "{name}");
        assert_eq!(bench.store.quarantine.len(), kept, "{name}");
        assert_eq!(bench.store.rows.len(), 20, "{name}");
        assert_eq!(bench.ingest.stats().rejected.poison, 1, "{name}");
    }
}

#[test]
fn what_was_damaged_on_the_way_is_asked_for_twice_before_its_labels_are_given_up() {
    let (e, next) = (epoch(1), Some((epoch(1), 10, 15)));
    for (name, declared, expected) in [
        ("next in line", next, vec![(Action::Rewind, 10), (Action::Rewind, 10), (Action::Quarantined, 15)]),
        ("overlapping", Some((e, 5, 15)), vec![(Action::Rewind, 10), (Action::Rewind, 10)]),
        ("already committed", Some((e, 0, 10)), vec![(Action::Ok, 10)]),
        ("ahead", Some((e, 11, 15)), vec![(Action::Ok, 10)]),
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.hear(&batch(e, 0, 10));
        for (n, expected) in expected.into_iter().enumerate() {
            let (gateway, now) = (bench.gateway.clone(), bench.now);
            bench.ingest.handle_damaged(&gateway, b"junk", "why", declared, now);
            let ack = bench.settle();
            assert_eq!(ack.map(|a| (a.action, a.committed)), Some(expected), "{name}, time {n}");
            let kept = usize::from(expected.0 == Action::Quarantined);
            assert_eq!(bench.store.quarantine.len(), kept, "{name}: what comes again is not kept");
        }
    }
    // Sent better it is stored, and what comes next has its own patience.
    let mut bench = Bench::new(Limits::default());
    bench.hear(&batch(e, 0, 10));
    for (first, end) in [(10, 15), (15, 20), (20, 25)] {
        for _ in 0..2 {
            let (gateway, now) = (bench.gateway.clone(), bench.now);
            bench.ingest.handle_damaged(&gateway, b"junk", "why", Some((e, first, end)), now);
            assert_eq!(bench.settle().map(|a| a.action), Some(Action::Rewind));
        }
        assert_eq!(bench.hear(&batch(e, first, end)).map(|a| a.committed), Some(end));
    }
    assert_eq!((bench.store.rows.len(), bench.store.quarantine.len()), (50, 0));
    assert_eq!((bench.ingest.stats().rejected.damaged, bench.ingest.stats().rejected.poison), (6, 0));
}

#[test]
fn quarantine_has_a_quota_and_beyond_it_the_stream_waits_instead_of_losing() {
    let mut bench = Bench::new(Limits { quarantine_bytes_max: 25, ..Limits::default() });
    let mut sent = batch(epoch(1), 0, 5);
    for n in [1, 2, 3] {
        sent.entries[n as usize] = Entry::Record(payload(n, 1, flavour::UNDECODABLE));
    }
    let ack = bench.hear(&sent).unwrap();
    assert_eq!((ack.action, ack.committed), (Action::Slow, 3), "two of ten bytes fit");
    assert!(ack.retry_after_ms > 0);
    assert_eq!(bench.kinds(), [IncidentKind::Quarantined, IncidentKind::Quota]);
    let (gateway, now) = (bench.gateway.clone(), bench.now);
    bench.ingest.handle_poison(&gateway, b"undeclared junk", "why", None, now);
    bench.ingest.handle_poison(&crate::bench::gateway("gw-stranger"), b"junk", "why", None, now);
    assert_eq!((bench.settle(), bench.store.quarantine.len()), (None, 2));
}

#[test]
fn times_are_kept_and_flagged_or_repaired_by_the_clock_of_their_boot() {
    let clock = |boot, uncertainty_ms| Clock { boot, wall_at_zero_ms: NOW.0 - 5000, uncertainty_ms };
    let (good, unknown, bad) = (0, 64 + 3, 128 + 4);
    for (name, kind, clocks, expected) in [
        ("known", flavour::GOOD, vec![], [(0, good), (7, good)]),
        ("known, whatever a clock says", flavour::GOOD, vec![clock(1, 5)], [(0, good), (7, good)]),
        ("never set", flavour::NO_CLOCK, vec![], [(0, unknown), (7, unknown)]),
        ("of another boot", flavour::NO_CLOCK, vec![clock(2, 5)], [(0, unknown), (7, unknown)]),
        ("set later", flavour::NO_CLOCK, vec![clock(2, 5), clock(1, 5)], [(-5000, good), (-4993, good)]),
        (
            "set later and badly",
            flavour::NO_CLOCK,
            vec![clock(1, 70_000)],
            [(-5000, unknown), (-4993, unknown)],
        ),
        ("off by an hour", flavour::VAGUE_CLOCK, vec![], [(0, unknown), (7, unknown)]),
        ("far ahead", flavour::FAR_AHEAD, vec![], [(0, good), (40 * 86_400_000, unknown)]),
        ("long ago", flavour::LONG_AGO, vec![], [(0, good), (-NOW.0, unknown)]),
        ("no value and no clock", flavour::BAD, vec![], [(0, unknown), (7, bad)]),
    ] {
        let mut bench = Bench::new(Limits::default());
        let entries = vec![Entry::Record(payload(0, 1, kind))];
        bench.hear(&Batch { entries, clocks, ..batch(epoch(1), 0, 0) });
        let found: Vec<(i64, u8)> = bench.store.rows.values().map(|(_, at, q)| (at - NOW.0, *q)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// Epoch 2 never heard a time. What lies before it on the card, and where its readings must have been taken.
#[test]
fn readings_of_unknown_time_lie_between_what_was_before_them_on_the_card_and_their_arrival() {
    let newest = |n: i64| Some(NOW.plus_ms((n - 1) * 1000 + 7));
    let held = |list: &[(u8, u64)]| -> Vec<Held> {
        list.iter().map(|(e, end)| Held { epoch: epoch(*e), oldest: 0, end: *end, acked: 0 }).collect()
    };
    let check = |name: &str, card: &[(u8, u64)], oldest_of_1: u64, fork: bool, after: Option<Timestamp>| {
        let mut bench = Bench::new(Limits::default());
        bench.hear(&batch(epoch(1), 0, 5));
        if fork {
            let entries = vec![Entry::Record(payload(5, 9, flavour::GOOD))];
            bench.hear(&Batch { chain: 1, entries, ..batch(epoch(1), 5, 5) });
        }
        bench.now = NOW.plus_ms(60_000);
        (2..=3).for_each(|n| bench.register(epoch(n)));
        let mut list = held(card);
        list.iter_mut().filter(|held| held.epoch == epoch(1)).for_each(|held| held.oldest = oldest_of_1);
        bench.hear(&Batch { held: list, ..batch(epoch(3), 0, 30) });
        for (n, first) in [(0, 0), (1, 2)] {
            bench.now = NOW.plus_ms(70_000 + n * 1000);
            let payloads: Vec<_> = (0..first + 2).map(|n| payload(n, 2, flavour::NO_CLOCK)).collect();
            let chain = chain(&payloads[..first as usize]);
            let entries = payloads[first as usize..].iter().cloned().map(Entry::Record).collect();
            let lane = Lane::Backfill;
            bench.hear(&Batch { first, chain, entries, lane, held: vec![], ..batch(epoch(2), 0, 0) });
        }
        let told: Vec<_> =
            bench.store.incidents.iter().filter(|i| i.kind == IncidentKind::ClockUnknown).collect();
        assert_eq!(told.len(), 1, "{name}: told once");
        assert_eq!((told[0].epoch, told[0].after), (Some(epoch(2)), after), "{name}");
        let found: Vec<_> =
            bench.store.undated.iter().map(|one| (one.readings, one.seqs, one.taken)).collect();
        let taken = |n| Taken { after, before: NOW.plus_ms(70_000 + n * 1000) };
        let one = |n: i64, seqs| vec![(2, seqs, taken(n)); 2];
        assert_eq!(found, [one(0, (0, 1)), one(1, (2, 3))].concat(), "{name}: two points, two batches");
    };
    check("after the epoch before", &[(1, 5), (2, 4), (3, 30)], 0, false, newest(5));
    check("before the first there is nothing", &[(2, 4), (1, 5), (3, 30)], 0, false, None);
    check("a card that is not in order says nothing", &[(3, 30), (1, 5)], 0, false, None);
    check("another machine went on in the epoch before", &[(1, 4), (2, 4), (3, 30)], 0, false, None);
    check("only the name of the epoch before is left", &[(1, 5), (2, 4), (3, 30)], 5, false, None);
    check("two writers shared the epoch before", &[(1, 5), (2, 4), (3, 30)], 0, true, None);
}

#[test]
fn several_batches_of_several_gateways_make_one_group_with_one_ack_per_epoch() {
    let mut bench = Bench::new(Limits::default());
    let others: Vec<GatewayId> = (2..5).map(|n| gateway(&format!("gw-{n}"))).collect();
    for other in &others {
        bench.ingest.handle_manifest(other, epoch(7), manifest(other), NOW);
        for n in 0..3 {
            bench.ingest.handle_batch(other, &batch(epoch(7), n * 2, n * 2 + 2), b"", &decode, NOW);
        }
    }
    let group = bench.ingest.take(NOW);
    assert!(bench.ingest.is_idle());
    let acks: Vec<_> = group.acks.iter().map(|(g, a)| (g.as_str(), a.committed, a.action)).collect();
    assert_eq!(acks, [("gw-2", 6, Action::Ok), ("gw-3", 6, Action::Ok), ("gw-4", 6, Action::Ok)]);
    bench.store.commit(&group.effects);
    assert_eq!(bench.store.rows.len(), 3 * 12);
    assert_eq!(group.effects.iter().filter(|e| matches!(e, Effect::Watermark(_))).count(), 3);
}

#[test]
fn a_full_group_answers_slow_until_it_is_taken() {
    let mut bench = Bench::new(Limits { group_bytes_max: 1, ..Limits::default() });
    let (gateway, now) = (bench.gateway.clone(), bench.now);
    bench.ingest.handle_batch(&gateway, &batch(epoch(1), 0, 2), b"", &decode, now);
    assert!(bench.ingest.is_full());
    bench.ingest.handle_batch(&gateway, &batch(epoch(1), 2, 4), b"", &decode, now);
    let ack = bench.settle().unwrap();
    assert_eq!((ack.action, ack.committed), (Action::Slow, 2));
    assert_eq!(bench.hear(&batch(epoch(1), 2, 4)).unwrap().committed, 4);
}

#[test]
fn after_a_failed_transaction_the_store_alone_counts() {
    let mut bench = Bench::new(Limits::default());
    bench.hear(&batch(epoch(1), 0, 5));
    let (gateway, now) = (bench.gateway.clone(), bench.now);
    bench.ingest.handle_batch(&gateway, &batch(epoch(1), 5, 9), b"", &decode, now);
    let lost = bench.ingest.take(now);
    assert_eq!(lost.acks[0].1.committed, 9);
    bench.ingest.handle_batch(&gateway, &batch(epoch(1), 9, 12), b"", &decode, now);
    bench.ingest.reload(bench.store.restored());
    assert!(bench.ingest.is_idle());
    assert_eq!(bench.hear(&batch(epoch(1), 9, 12)).unwrap().committed, 5, "out of order now");
    assert_eq!(bench.hear(&batch(epoch(1), 5, 12)).unwrap().committed, 12);
}

#[test]
fn a_gateway_that_opens_epochs_or_points_without_end_is_slowed_down_alone() {
    let limits = Limits { epoch_burst: 3, gateway_points_max: 2, ..Limits::default() };
    let mut bench = Bench::new(limits);
    for n in 2..50 {
        bench.register(epoch(n));
    }
    assert_eq!(bench.store.epochs.len(), 3);
    assert_eq!(bench.kinds(), [IncidentKind::Quota], "said once");
    bench.now = bench.now.plus_ms(60_000);
    bench.register(epoch(50));
    bench.register(epoch(51));
    assert_eq!(bench.store.epochs.len(), 4, "one more a minute later");
    bench.now = bench.now.plus_ms(600_000);
    let (own, now) = (bench.gateway.clone(), bench.now);
    let mut more = manifest(&own);
    more.points.push(PointInfo { key: PointKey::new("ph").unwrap(), ..more.points[0].clone() });
    bench.ingest.handle_manifest(&own, epoch(52), more, now);
    assert_eq!(bench.settle().unwrap().action, Action::Slow, "a third point");
    let other = gateway("gw-2");
    bench.ingest.handle_manifest(&other, epoch(1), manifest(&other), now);
    assert_eq!(bench.settle().unwrap().action, Action::Ok);
}

#[test]
fn what_was_set_aside_is_stored_once_when_it_is_understood() {
    let understands = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[9] = flavour::GOOD;
        decode(&bytes)
    };
    let bad = |n| Entry::Record(payload(n, 1, flavour::UNDECODABLE));
    let good = |n| Entry::Record(payload(n, 1, flavour::GOOD));
    for (name, range, first, entries, expected) in [
        ("a record", (10, 11), 10, vec![bad(10)], Ok(2)),
        ("a message that began before", (10, 12), 8, vec![good(8), good(9), bad(10), bad(11)], Ok(4)),
        ("a message that goes on behind", (10, 11), 10, vec![bad(10), bad(11)], Ok(2)),
        ("a message with a gap", (10, 12), 10, vec![gap(10, 11)], Ok(0)),
        ("a message that holds too little", (10, 12), 10, vec![bad(10)], Err(())),
        ("a message that begins too late", (10, 12), 11, vec![bad(11)], Err(())),
        ("beyond the watermark", (10, 99), 10, vec![gap(10, 98)], Err(())),
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.hear(&batch(epoch(1), 0, 10));
        let bad = Batch { entries: vec![bad(10), bad(11)], ..batch(epoch(1), 10, 10) };
        assert_eq!(bench.hear(&bad).unwrap().committed, 12);
        let before = bench.store.rows.len();
        let (gateway, now) = (bench.gateway.clone(), bench.now);
        let retry = Retry { id: 0, gateway, epoch: epoch(1), range, first, entries, clocks: vec![] };
        assert!(
            bench.ingest.handle_retry(&retry, &decode, now).is_err() || expected == Ok(0),
            "{name}: as before"
        );
        let _ = bench.ingest.take(now);
        let outcome = bench.ingest.handle_retry(&retry, &understands, now).map_err(drop);
        assert_eq!(outcome, expected.map(drop), "{name}");
        let group = bench.ingest.take(now);
        let told = group.effects.iter().any(|effect| matches!(effect, Effect::Redecoded(r) if r.id == 0));
        assert_eq!(told, expected.is_ok(), "{name}");
        bench.store.commit(&group.effects);
        assert_eq!(bench.store.rows.len() - before, expected.unwrap_or(0), "{name}");
    }
}

#[test]
fn a_slot_gives_numbers_of_its_own_and_passes_over_those_that_were_given_by_all() {
    let slot = |number| Numbers::of(Slot::new(number).unwrap());
    let above = |mut numbers: Numbers, taken| {
        numbers.pass(taken);
        numbers
    };
    let rows = [
        (Numbers::ALL, Numbers::ALL, [0, 1], [0, 1]),
        (slot(5), slot(5), [5, 69], [5, 69]),
        (above(slot(5), 200), above(slot(5), 5), [261, 325], [69, 133]),
    ];
    for (point_numbers, epoch_numbers, points, epochs) in rows {
        let restored = Restored { point_numbers, epoch_numbers, ..Restored::default() };
        let mut store = Store::default();
        // Going on from what is stored gives the same numbers as going on.
        for epoch_byte in [1, 2] {
            let restored = Restored { point_numbers, epoch_numbers, ..store.restored() };
            let mut ingest = Ingest::restore(Limits::default(), restored);
            let gateway = gateway("gw-1");
            ingest.handle_manifest(&gateway, epoch(epoch_byte), manifest(&gateway), NOW);
            store.commit(&ingest.take(NOW).effects);
        }
        let numbers: Vec<u32> = store.points.keys().map(|no| no.0).collect();
        assert_eq!(numbers, points, "{restored:?}");
        let numbers: Vec<u32> = store.epochs.keys().map(|no| no.0).collect();
        assert_eq!(numbers, epochs, "{restored:?}");
    }
    let last = Numbers::ALL;
    let restored = Restored { point_numbers: above(last, u64::from(u32::MAX) - 1), ..Restored::default() };
    let mut ingest = Ingest::restore(Limits::default(), restored);
    let gateway = gateway("gw-1");
    ingest.handle_manifest(&gateway, epoch(1), manifest(&gateway), NOW);
    let acks = ingest.take(NOW).acks;
    assert_eq!(acks[0].1.action, Action::Slow, "one number is left, two are needed");
}
