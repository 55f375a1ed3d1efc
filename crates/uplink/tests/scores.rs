//! Scores: events in, commands out.
#![allow(clippy::unwrap_used, missing_docs)]

use sitian_model::{Ack, Action, Batch, Clock, Entry, Epoch, Gap, GapReason, Held, Lane, Seq, SpoolState};
use sitian_uplink::{Command, Limits, Read, Uplink};

const OLD: Epoch = Epoch([1; 16]);
const LIVE: Epoch = Epoch([2; 16]);
const BATCH: usize = 48 * 1024;

fn held(epoch: Epoch, acked: Seq, end: Seq) -> Held {
    Held { epoch, oldest: 0, end, acked }
}

const CLOCK: Clock = Clock { boot: 3, wall_at_zero_ms: 5, uncertainty_ms: 7 };

/// A machine without a link that knows what time it is.
fn machine() -> Uplink {
    let mut uplink = Uplink::new(Limits::default(), 1);
    uplink.handle_clocks(vec![CLOCK]);
    uplink
}

fn drain(uplink: &mut Uplink) -> Vec<Command> {
    std::iter::from_fn(|| uplink.poll_command()).collect()
}

fn spool(uplink: &mut Uplink, held: &[Held], now_ms: u64) -> Vec<Command> {
    uplink.handle_spool(held, LIVE, SpoolState::default(), now_ms);
    drain(uplink)
}

fn up(uplink: &mut Uplink, now_ms: u64) -> Vec<Command> {
    uplink.handle_link_up(now_ms);
    drain(uplink)
}

fn timeout(uplink: &mut Uplink, now_ms: u64) -> Vec<Command> {
    uplink.handle_timeout(now_ms);
    drain(uplink)
}

/// The spool answers with records of 100 bytes each.
fn answer(uplink: &mut Uplink, epoch: Epoch, first: Seq, count: usize, now_ms: u64) -> Vec<Command> {
    let entries = vec![Entry::Record(vec![7; 100]); count];
    uplink.handle_read(Read { epoch, first, entries, chain: first as u32 }, now_ms);
    drain(uplink)
}

fn ack(uplink: &mut Uplink, epoch: Epoch, committed: Seq, action: Action, now_ms: u64) -> Vec<Command> {
    let ack = Ack { epoch, committed, chain: None, action, retry_after_ms: 0, window_bytes: 0, server_ms: 0 };
    uplink.handle_ack(&ack, now_ms);
    drain(uplink)
}

fn read(epoch: Epoch, from: Seq, bytes_max: usize) -> Command {
    Command::ReadSpool { epoch, from, bytes_max }
}

/// What a published batch is about: epoch, first, number of entries, acked.
fn published(commands: &[Command]) -> Vec<(Epoch, Seq, usize, Seq)> {
    let about = |b: &Batch| (b.epoch, b.first, b.entries.len(), b.acked);
    commands.iter().filter_map(|c| if let Command::Publish(b) = c { Some(about(b)) } else { None }).collect()
}

/// A machine with a link, whose live epoch has `end` records, all committed; the first probe is answered.
fn idle(end: Seq) -> Uplink {
    let mut uplink = machine();
    spool(&mut uplink, &[held(LIVE, end, end)], 0);
    up(&mut uplink, 0);
    answer(&mut uplink, LIVE, end, 0, 0);
    ack(&mut uplink, LIVE, end, Action::Ok, 50);
    uplink
}

#[test]
fn a_new_link_gets_manifests_then_probes_then_live_readings_then_backfill() {
    let mut uplink = machine();
    assert_eq!(spool(&mut uplink, &[held(OLD, 5, 9), held(LIVE, 0, 3)], 0), []);
    let manifest = Command::PublishManifest(LIVE);
    assert_eq!(up(&mut uplink, 10), [manifest, read(OLD, 5, 0), read(LIVE, 0, 0)]);
    let commands = answer(&mut uplink, OLD, 5, 0, 10);
    assert_eq!(published(&commands), [(OLD, 5, 0, 5)]);
    assert_eq!(commands[1], read(OLD, 5, 16 * 1024));
    let commands = answer(&mut uplink, LIVE, 0, 0, 10);
    assert_eq!(published(&commands), [(LIVE, 0, 0, 0)]);
    assert_eq!(commands[1], read(LIVE, 0, BATCH));
}

#[test]
fn what_the_centre_does_not_know_at_all_is_kept_until_it_has_said_how_far_it_is() {
    let release = |committed| Command::Release { epoch: LIVE, committed };
    let wanted = [release(0), Command::PublishManifest(LIVE), read(LIVE, 10, 0)];
    // It remembers after all; it has forgotten, once the manifest has told it what there is.
    for (action, committed, expected) in
        [(Action::Ok, 10, vec![release(10)]), (Action::Rewind, 0, vec![release(0), read(LIVE, 0, 0)])]
    {
        let mut uplink = idle(10);
        assert_eq!(ack(&mut uplink, LIVE, 0, Action::Manifest, 5_050), wanted);
        answer(&mut uplink, LIVE, 10, 0, 5_051);
        assert_eq!(ack(&mut uplink, LIVE, 0, Action::Manifest, 5_060), [], "it has been said");
        assert_eq!(ack(&mut uplink, LIVE, 0, Action::Ok, 5_061), [], "older than the wish");
        assert_eq!(ack(&mut uplink, LIVE, committed, action, 7_062), expected);
        assert_eq!(ack(&mut uplink, LIVE, committed, Action::Ok, 7_063), []);
    }
}

#[test]
fn a_durable_record_is_published_at_once_on_an_idle_link_and_released_on_its_ack() {
    let mut uplink = idle(10);
    assert_eq!(spool(&mut uplink, &[held(LIVE, 10, 11)], 100), [read(LIVE, 10, BATCH)]);
    let commands = answer(&mut uplink, LIVE, 10, 1, 101);
    let expected = Batch {
        epoch: LIVE,
        first: 10,
        entries: vec![Entry::Record(vec![7; 100])],
        chain: 10,
        acked: 10,
        oldest: 0,
        held: vec![],
        clocks: vec![CLOCK],
        lane: Lane::Live,
        spool: SpoolState::default(),
    };
    assert_eq!(commands, [Command::Publish(expected)]);
    assert_eq!(
        ack(&mut uplink, LIVE, 11, Action::Ok, 150),
        [Command::Release { epoch: LIVE, committed: 11 }]
    );
}

#[test]
fn batches_carry_the_clocks_that_the_shell_set() {
    let mut uplink = idle(0);
    let clocks = vec![Clock { boot: 4, wall_at_zero_ms: 6, uncertainty_ms: 8 }];
    uplink.handle_clocks(clocks.clone());
    spool(&mut uplink, &[held(LIVE, 0, 1)], 100);
    let [Command::Publish(batch)] = &answer(&mut uplink, LIVE, 0, 1, 100)[..] else { panic!() };
    assert_eq!(batch.clocks, clocks);
}

#[test]
fn while_the_time_is_unknown_a_link_carries_probes_and_no_reading_before_its_first_ack() {
    enum Then {
        Ack,
        Clock,
    }
    for then in [Then::Ack, Then::Clock] {
        let mut uplink = Uplink::new(Limits::default(), 1);
        spool(&mut uplink, &[held(OLD, 5, 9), held(LIVE, 0, 3)], 0);
        let probes = [Command::PublishManifest(LIVE), read(OLD, 5, 0), read(LIVE, 0, 0)];
        assert_eq!(up(&mut uplink, 10), probes);
        assert_eq!(published(&answer(&mut uplink, OLD, 5, 0, 11)), [(OLD, 5, 0, 5)]);
        let commands = answer(&mut uplink, LIVE, 0, 0, 11);
        assert_eq!((published(&commands), commands.len()), (vec![(LIVE, 0, 0, 0)], 1));
        assert_eq!(spool(&mut uplink, &[held(OLD, 5, 9), held(LIVE, 0, 4)], 12), []);
        let commands = match then {
            Then::Ack => ack(&mut uplink, OLD, 5, Action::Ok, 20),
            Then::Clock => {
                uplink.handle_clocks(vec![CLOCK]);
                drain(&mut uplink)
            }
        };
        assert_eq!(commands, [read(LIVE, 0, BATCH), read(OLD, 5, 16 * 1024)]);
        // Every link asks anew, as long as there is no clock.
        uplink.handle_link_down(30);
        let holds = matches!(then, Then::Ack);
        up(&mut uplink, 40);
        answer(&mut uplink, OLD, 5, 0, 41);
        assert_eq!(answer(&mut uplink, LIVE, 0, 0, 41).len() == 1, holds, "a probe alone");
    }
}

#[test]
fn an_epoch_that_begins_while_the_time_is_unknown_asks_for_it() {
    let mut uplink = Uplink::new(Limits::default(), 1);
    up(&mut uplink, 0);
    let commands = spool(&mut uplink, &[held(LIVE, 0, 1)], 10);
    assert_eq!(commands, [Command::PublishManifest(LIVE), read(LIVE, 0, 0)]);
    assert_eq!(published(&answer(&mut uplink, LIVE, 0, 0, 10)), [(LIVE, 0, 0, 0)]);
    // Nothing comes back: the link is made anew.
    assert_eq!(timeout(&mut uplink, 30_010), [Command::Reconnect]);
}

#[test]
fn an_epoch_that_begins_while_the_link_is_up_is_announced_at_once() {
    let mut uplink = machine();
    up(&mut uplink, 0);
    for (known, live) in [(vec![], OLD), (vec![held(OLD, 0, 1)], LIVE)] {
        let all = [known, vec![held(live, 0, 1)]].concat();
        uplink.handle_spool(&all, live, SpoolState::default(), 10);
        assert_eq!(drain(&mut uplink), [Command::PublishManifest(live), read(live, 0, 0)]);
        let commands = answer(&mut uplink, live, 0, 0, 10);
        assert_eq!(commands.len(), 2, "{commands:?}");
        let Command::Publish(probe) = &commands[0] else { panic!("{commands:?}") };
        assert_eq!((probe.epoch, &probe.entries, &probe.held), (live, &vec![], &all));
        assert_eq!(commands[1], read(live, 0, BATCH), "readings come right behind");
        assert_eq!(published(&answer(&mut uplink, live, 0, 1, 11)), [(live, 0, 1, 0)]);
    }
}

#[test]
fn guests_are_sent_like_backfill_but_never_announced() {
    let mut uplink = machine();
    uplink.handle_guests([OLD].into());
    spool(&mut uplink, &[held(OLD, 0, 9), held(LIVE, 3, 3)], 0);
    up(&mut uplink, 10);
    let batches = |commands: &[Command]| -> Vec<(Epoch, Lane, Vec<Epoch>)> {
        let about = |b: &Batch| (b.epoch, b.lane, b.held.iter().map(|h| h.epoch).collect());
        commands
            .iter()
            .filter_map(|c| if let Command::Publish(b) = c { Some(about(b)) } else { None })
            .collect()
    };
    assert_eq!(batches(&answer(&mut uplink, OLD, 0, 0, 10)), [(OLD, Lane::Backfill, vec![])]);
    assert_eq!(batches(&answer(&mut uplink, LIVE, 3, 0, 10)), [(LIVE, Lane::Live, vec![LIVE])]);
    assert_eq!(batches(&answer(&mut uplink, OLD, 0, 9, 11)), [(OLD, Lane::Backfill, vec![])]);
    assert_eq!(ack(&mut uplink, OLD, 9, Action::Ok, 20), [Command::Release { epoch: OLD, committed: 9 }]);
}

#[test]
fn acks_that_are_stale_doubled_or_foreign_move_nothing_back() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 12)], 100);
    answer(&mut uplink, LIVE, 10, 2, 100);
    for (epoch, committed, expected) in [
        (LIVE, 4, None),
        (LIVE, 10, None),
        (Epoch([9; 16]), 99, None),
        (LIVE, 12, Some(12)),
        (LIVE, 12, None),
        (LIVE, 11, None),
    ] {
        let commands = ack(&mut uplink, epoch, committed, Action::Ok, 120);
        let released: Vec<Command> =
            expected.map(|committed| Command::Release { epoch, committed }).into_iter().collect();
        assert_eq!(commands, released, "{committed}");
    }
}

#[test]
fn the_window_bounds_what_is_under_way() {
    let mut uplink = idle(0);
    let mut commands = spool(&mut uplink, &[held(LIVE, 0, 10_000)], 100);
    let (mut next, mut batches) = (0, 0);
    while commands.contains(&read(LIVE, next, BATCH)) {
        commands = answer(&mut uplink, LIVE, next, 480, 100);
        next += 480;
        batches += 1;
    }
    // 128 KiB: two batches of 48,000 bytes, and no room for a third of up to 48 KiB.
    assert_eq!(batches, 2);
    let commands = ack(&mut uplink, LIVE, 480, Action::Ok, 200);
    assert_eq!(commands, [Command::Release { epoch: LIVE, committed: 480 }, read(LIVE, 960, BATCH)]);
}

#[test]
fn without_progress_a_run_is_sent_again_from_acked_one_batch_at_a_time_and_less_and_less_often() {
    let mut uplink = idle(0);
    spool(&mut uplink, &[held(LIVE, 0, 960)], 1000);
    answer(&mut uplink, LIVE, 0, 480, 1000);
    answer(&mut uplink, LIVE, 480, 480, 1000);
    let (mut now, mut sent_at) = (1000, vec![1000]);
    while sent_at.len() < 9 {
        now = uplink.poll_timeout().unwrap();
        for command in timeout(&mut uplink, now) {
            match command {
                Command::ReadSpool { from: 0, bytes_max: BATCH, .. } => {
                    sent_at.push(now);
                    assert_eq!(published(&answer(&mut uplink, LIVE, 0, 480, now)).len(), 1);
                }
                Command::ReadSpool { from, bytes_max: 0, .. } => {
                    drop(answer(&mut uplink, LIVE, from, 0, now))
                }
                Command::Reconnect | Command::Publish(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let waits: Vec<u64> = sent_at.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(waits[0], 10_000);
    assert!(waits.iter().all(|w| (10_000..=300_000).contains(w)), "{waits:?}");
    assert!(waits[4..].iter().sum::<u64>() > 200_000, "{waits:?}");
    assert!(now > 0);
}

#[test]
fn a_reconnect_sends_again_from_acked() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 12)], 100);
    answer(&mut uplink, LIVE, 10, 2, 100);
    uplink.handle_link_down(200);
    assert_eq!((drain(&mut uplink), uplink.poll_timeout()), (vec![], None));
    assert_eq!(up(&mut uplink, 300), [Command::PublishManifest(LIVE), read(LIVE, 10, 0)]);
    assert_eq!(answer(&mut uplink, LIVE, 10, 0, 300)[1], read(LIVE, 10, BATCH));
}

#[test]
fn a_read_that_a_reconnect_overtook_is_not_published_twice() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 1000)], 100);
    answer(&mut uplink, LIVE, 10, 480, 100);
    uplink.handle_link_down(110);
    up(&mut uplink, 120);
    // The answer to the read of 490 arrives late; the machine is at 10 again.
    let commands = answer(&mut uplink, LIVE, 490, 480, 121);
    assert_eq!((published(&commands), &commands[..]), (vec![], &[read(LIVE, 10, 0)][..]));
}

#[test]
fn every_epoch_is_probed_every_minute() {
    let mut uplink = machine();
    spool(&mut uplink, &[held(OLD, 9, 9), held(LIVE, 3, 3)], 0);
    up(&mut uplink, 0);
    for minute in 1..5 {
        for (epoch, at) in [(OLD, 9), (LIVE, 3)] {
            let before = minute * 60_000 - 60_000;
            assert_eq!(published(&answer(&mut uplink, epoch, at, 0, before)), [(epoch, at, 0, at)]);
            ack(&mut uplink, epoch, at, Action::Ok, before + 50);
        }
        assert_eq!(uplink.poll_timeout(), Some(minute * 60_000));
        assert_eq!(timeout(&mut uplink, minute * 60_000), [read(OLD, 9, 0), read(LIVE, 3, 0)]);
    }
}

#[test]
fn a_rewind_starts_again_where_the_centre_remembers_once() {
    let mut uplink = idle(100);
    assert_eq!(
        ack(&mut uplink, LIVE, 40, Action::Rewind, 100),
        [Command::Release { epoch: LIVE, committed: 40 }, read(LIVE, 40, 0)]
    );
    let commands = answer(&mut uplink, LIVE, 40, 0, 100);
    assert_eq!(published(&commands), [(LIVE, 40, 0, 100)], "100 were acknowledged");
    assert_eq!(commands.last(), Some(&read(LIVE, 40, BATCH)));
    assert_eq!(ack(&mut uplink, LIVE, 40, Action::Rewind, 101), []);
    let commands = answer(&mut uplink, LIVE, 40, 60, 102);
    assert_eq!(published(&commands), [(LIVE, 40, 60, 40)]);
}

#[test]
fn a_rewind_that_also_commits_starts_again_at_once_behind_what_it_commits() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 11)], 2_000);
    answer(&mut uplink, LIVE, 10, 1, 2_000);
    spool(&mut uplink, &[held(LIVE, 10, 13)], 2_001);
    answer(&mut uplink, LIVE, 11, 2, 2_001);
    // Both came within one group of the centre, the second one damaged.
    let release = Command::Release { epoch: LIVE, committed: 11 };
    assert_eq!(ack(&mut uplink, LIVE, 11, Action::Rewind, 2_050), [release, read(LIVE, 11, BATCH)]);
    let commands = answer(&mut uplink, LIVE, 11, 2, 2_050);
    assert_eq!(published(&commands), [(LIVE, 11, 2, 11)]);
    assert_eq!(ack(&mut uplink, LIVE, 11, Action::Rewind, 2_051), [], "one word of several is enough");
}

#[test]
fn slow_waits_and_then_goes_on() {
    let mut uplink = idle(0);
    let ack = Ack {
        epoch: LIVE,
        committed: 0,
        chain: None,
        action: Action::Slow,
        retry_after_ms: 5000,
        window_bytes: 1,
        server_ms: 0,
    };
    uplink.handle_ack(&ack, 100);
    assert_eq!(spool(&mut uplink, &[held(LIVE, 0, 1000)], 200), []);
    assert_eq!(uplink.poll_timeout(), Some(5100));
    assert_eq!(timeout(&mut uplink, 5100), [read(LIVE, 0, BATCH)]);
    // However small the window, one batch may be under way.
    assert_eq!(answer(&mut uplink, LIVE, 0, 480, 5100).len(), 1);
}

#[test]
fn quarantine_goes_on_behind_what_was_set_aside() {
    let mut uplink = idle(0);
    spool(&mut uplink, &[held(LIVE, 0, 2)], 100);
    answer(&mut uplink, LIVE, 0, 2, 100);
    assert_eq!(
        ack(&mut uplink, LIVE, 2, Action::Quarantined, 150),
        [Command::Release { epoch: LIVE, committed: 2 }]
    );
}

#[test]
fn a_fork_is_relabelled_and_sent_no_more() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 12)], 100);
    answer(&mut uplink, LIVE, 10, 2, 100);
    assert_eq!(ack(&mut uplink, LIVE, 10, Action::Fork, 150), [Command::Relabel(LIVE)]);
    assert_eq!(ack(&mut uplink, LIVE, 10, Action::Fork, 151), []);
    assert_eq!(spool(&mut uplink, &[held(LIVE, 10, 13)], 200), []);
    let fresh = Epoch([3; 16]);
    uplink.handle_spool(&[held(fresh, 0, 3)], fresh, SpoolState::default(), 300);
    assert_eq!(drain(&mut uplink), [Command::PublishManifest(fresh), read(fresh, 0, 0)]);
    assert_eq!(answer(&mut uplink, fresh, 0, 0, 300)[1], read(fresh, 0, BATCH));
}

#[test]
fn a_missing_manifest_is_published_and_the_run_sent_again_behind_it() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 12)], 5000);
    answer(&mut uplink, LIVE, 10, 2, 5000);
    assert_eq!(
        ack(&mut uplink, LIVE, 10, Action::Manifest, 5050),
        [Command::PublishManifest(LIVE), read(LIVE, 10, 0)]
    );
    assert_eq!(answer(&mut uplink, LIVE, 10, 0, 5050)[1], read(LIVE, 10, BATCH));
    // A second batch that was under way says the same: once is enough.
    assert_eq!(ack(&mut uplink, LIVE, 10, Action::Manifest, 5051), []);
}

#[test]
fn a_link_that_carries_nothing_back_is_closed_ever_more_rarely() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 11)], 1000);
    answer(&mut uplink, LIVE, 10, 1, 1000);
    let mut closed_at = Vec::new();
    while closed_at.len() < 5 {
        let now = uplink.poll_timeout().unwrap();
        let commands = timeout(&mut uplink, now);
        closed_at.extend(commands.iter().filter(|c| **c == Command::Reconnect).map(|_| now - 1000));
    }
    assert_eq!(closed_at, [30_000, 90_000, 210_000, 450_000, 750_000]);
}

#[test]
fn an_epoch_that_is_long_behind_at_a_reconnect_is_sealed_once() {
    for (outage_ms, sealed) in [(299_000, false), (301_000, true)] {
        let mut uplink = idle(10);
        uplink.handle_link_down(1000);
        spool(&mut uplink, &[held(LIVE, 10, 11)], 1000);
        spool(&mut uplink, &[held(LIVE, 10, 300)], 200_000);
        let commands = up(&mut uplink, 1000 + outage_ms);
        assert_eq!(commands.contains(&Command::SealEpoch), sealed, "{outage_ms}");
        uplink.handle_link_down(303_000);
        assert!(!sealed || !up(&mut uplink, 304_000).contains(&Command::SealEpoch));
    }
}

#[test]
fn backfill_rests_for_three_tenths_of_the_time_while_live_readings_come_in() {
    let mut uplink = machine();
    spool(&mut uplink, &[held(OLD, 5, 100_000), held(LIVE, 3, 3)], 0);
    up(&mut uplink, 0);
    answer(&mut uplink, LIVE, 3, 0, 0);
    assert_eq!(answer(&mut uplink, OLD, 5, 0, 0)[1], read(OLD, 5, 16 * 1024));
    answer(&mut uplink, OLD, 5, 164, 0);
    spool(&mut uplink, &[held(OLD, 5, 100_000), held(LIVE, 3, 4)], 10);
    answer(&mut uplink, LIVE, 3, 1, 10);
    // 700 ms of work, 300 ms of rest. The live reading does not wait.
    assert_eq!(
        ack(&mut uplink, OLD, 169, Action::Ok, 700),
        [Command::Release { epoch: OLD, committed: 169 }]
    );
    let live = spool(&mut uplink, &[held(OLD, 169, 100_000), held(LIVE, 3, 5)], 800);
    assert_eq!(live, [read(LIVE, 4, BATCH)]);
    assert_eq!(uplink.poll_timeout(), Some(1000));
    assert_eq!(timeout(&mut uplink, 1000), [read(OLD, 169, 32 * 1024)]);
}

#[test]
fn backfill_has_the_whole_link_while_nothing_live_comes_in() {
    let mut uplink = machine();
    spool(&mut uplink, &[held(OLD, 5, 100_000)], 0);
    up(&mut uplink, 0);
    answer(&mut uplink, OLD, 5, 0, 0);
    answer(&mut uplink, OLD, 5, 164, 0);
    let commands = ack(&mut uplink, OLD, 169, Action::Ok, 700);
    assert_eq!(commands, [Command::Release { epoch: OLD, committed: 169 }, read(OLD, 169, 32 * 1024)]);
}

#[test]
fn what_was_under_way_is_sent_again_at_once_when_the_centre_says_that_it_has_just_started() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 12)], 2_000);
    answer(&mut uplink, LIVE, 10, 2, 2_000);
    assert_eq!(ack(&mut uplink, LIVE, 10, Action::Rewind, 3_000), [read(LIVE, 10, BATCH)]);
    answer(&mut uplink, LIVE, 10, 2, 3_000);
    assert_eq!(ack(&mut uplink, LIVE, 10, Action::Rewind, 3_100), [], "one word of several is enough");
}

#[test]
fn a_gap_travels_like_data() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 50)], 100);
    let gap = Gap { first: 10, last: 39, reason: GapReason::Evicted, span: None };
    uplink.handle_read(Read { epoch: LIVE, first: 10, entries: vec![Entry::Gap(gap)], chain: 1 }, 100);
    let commands = drain(&mut uplink);
    assert_eq!(published(&commands), [(LIVE, 10, 1, 10)]);
    assert_eq!(commands[1], read(LIVE, 40, BATCH));
    let release = Command::Release { epoch: LIVE, committed: 40 };
    assert_eq!(ack(&mut uplink, LIVE, 40, Action::Ok, 120), [release]);
}

#[test]
fn a_spool_that_cannot_be_read_is_asked_again_in_a_second() {
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 11)], 100);
    uplink.handle_read_failed(LIVE, 110);
    assert_eq!((drain(&mut uplink), uplink.poll_timeout()), (vec![], Some(1110)));
    assert_eq!(timeout(&mut uplink, 1110), [read(LIVE, 10, BATCH)]);
}

#[test]
fn very_many_epochs_are_not_announced_in_part_but_all_are_probed() {
    let mut uplink = machine();
    let epoch = |n: u16| {
        Epoch(
            [n.to_le_bytes(), [0xEE; 2], [0; 2], [0; 2], [0; 2], [0; 2], [0; 2], [0; 2]]
                .concat()
                .try_into()
                .unwrap(),
        )
    };
    let mut all: Vec<Held> = (0..300).map(|n| held(epoch(n), 5, 5)).collect();
    all.push(held(LIVE, 0, 1));
    spool(&mut uplink, &all, 0);
    up(&mut uplink, 0);
    for h in &all {
        for command in answer(&mut uplink, h.epoch, h.acked, 0, 1) {
            let Command::Publish(batch) = command else { continue };
            assert_eq!(batch.held, []);
        }
        ack(&mut uplink, h.epoch, h.acked, Action::Ok, 2);
    }
    let mut probed = std::collections::BTreeSet::new();
    for minute in 1..=5 {
        let commands = timeout(&mut uplink, minute * 60_000);
        for command in commands {
            let Command::ReadSpool { epoch, from, .. } = command else { continue };
            probed.insert(epoch);
            answer(&mut uplink, epoch, from, 0, minute * 60_000);
        }
        assert!(probed.len() <= 64 * minute as usize + 1);
    }
    // All but the live one, whose data read is still unanswered.
    assert_eq!(probed.len(), 300);
}

/// An ack with the chain that the centre knows.
fn told(uplink: &mut Uplink, epoch: Epoch, committed: Seq, chain: u32) -> Vec<Command> {
    let (action, retry_after_ms, window_bytes, server_ms) = (Action::Ok, 0, 0, 0);
    let chain = Some(chain);
    let ack = Ack { epoch, committed, chain, action, retry_after_ms, window_bytes, server_ms };
    uplink.handle_ack(&ack, 150);
    drain(uplink)
}

#[test]
fn an_ack_of_another_writer_s_readings_releases_nothing_and_relabels() {
    let records = |count: usize| [7; 100].repeat(count);
    // Records 10 and 11 are under way as one batch; the chain before them is 10.
    let own = |count| crc32c::crc32c_append(10, &records(count));
    let release = |committed| Command::Release { epoch: LIVE, committed };
    for (committed, chain, expected) in [
        (12, own(2), vec![release(12)]),
        (12, own(2) ^ 1, vec![Command::Relabel(LIVE)]),
        // Nobody else can have written what this process has not.
        (13, own(3), vec![Command::Relabel(LIVE)]),
        // In the middle of a batch only the spool knows.
        (11, own(1), vec![read(LIVE, 11, 0)]),
    ] {
        let mut uplink = idle(10);
        spool(&mut uplink, &[held(LIVE, 10, 12)], 100);
        answer(&mut uplink, LIVE, 10, 2, 100);
        let mut commands = told(&mut uplink, LIVE, committed, chain);
        commands.retain(|command| !matches!(command, Command::Publish(_)));
        assert_eq!(commands, expected, "{committed} {chain}");
    }
    for (chain, expected) in [(own(1), vec![release(11)]), (5, vec![Command::Relabel(LIVE)])] {
        let mut uplink = idle(10);
        spool(&mut uplink, &[held(LIVE, 10, 12)], 100);
        answer(&mut uplink, LIVE, 10, 2, 100);
        told(&mut uplink, LIVE, 11, own(1));
        uplink.handle_read(Read { epoch: LIVE, first: 11, entries: vec![], chain }, 160);
        let mut commands = drain(&mut uplink);
        commands.retain(|command| !matches!(command, Command::Publish(_)));
        assert_eq!(commands, expected);
    }
}

#[test]
fn another_writer_whom_only_the_gateway_has_noticed_is_told_to_the_centre_before_the_epoch_goes() {
    let own = |count: usize| crc32c::crc32c_append(10, &[7; 100].repeat(count));
    let probe = |commands: &[Command]| match commands {
        [Command::Publish(batch), Command::Relabel(LIVE)] => {
            Some((batch.epoch, batch.first, batch.entries.len(), batch.acked, batch.chain))
        }
        _ => None,
    };
    // Its batch may have been answered SLOW: the centre has never compared it.
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 12)], 100);
    answer(&mut uplink, LIVE, 10, 2, 100);
    assert_eq!(probe(&told(&mut uplink, LIVE, 12, own(2) ^ 1)), Some((LIVE, 12, 0, 10, own(2))));
    // Within a batch, the spool knows the chain.
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 12)], 100);
    answer(&mut uplink, LIVE, 10, 2, 100);
    told(&mut uplink, LIVE, 11, own(1));
    uplink.handle_read(Read { epoch: LIVE, first: 11, entries: vec![], chain: 5 }, 160);
    assert_eq!(probe(&drain(&mut uplink)), Some((LIVE, 11, 0, 10, 5)));
}

#[test]
fn while_an_epoch_cannot_be_relabelled_the_centre_is_told_of_the_fork_once_a_minute() {
    let probes =
        |commands: &[Command]| published(commands).iter().filter(|(_, _, count, _)| *count == 0).count();
    let fork = |committed, now_ms, uplink: &mut Uplink| {
        let (retry_after_ms, window_bytes, server_ms) = (0, 0, 0);
        let (action, chain) = (Action::Fork, Some(77));
        let ack = Ack { epoch: LIVE, committed, chain, action, retry_after_ms, window_bytes, server_ms };
        uplink.handle_ack(&ack, now_ms);
        let mut commands = drain(uplink);
        while let Some(Command::ReadSpool { epoch, from, .. }) =
            commands.iter().find(|command| matches!(command, Command::ReadSpool { .. })).cloned()
        {
            commands.retain(|command| !matches!(command, Command::ReadSpool { .. }));
            uplink.handle_read(Read { epoch, first: from, entries: vec![], chain: 5 }, now_ms);
            commands.extend(drain(uplink));
        }
        probes(&commands)
    };
    let mut uplink = idle(10);
    spool(&mut uplink, &[held(LIVE, 10, 12)], 100);
    answer(&mut uplink, LIVE, 10, 2, 100);
    let at_once: usize = (0..10).map(|_| fork(11, 150, &mut uplink)).sum();
    assert_eq!(at_once, 1, "each ack is the answer to a probe");
    for minute in 1..=3 {
        let commands = timeout(&mut uplink, minute * 60_000);
        assert_eq!(probes(&commands), 1, "it may have been lost");
        assert!(commands.contains(&Command::Relabel(LIVE)));
        assert_eq!(fork(11, minute * 60_000 + 50, &mut uplink), 0);
    }
}

#[test]
fn an_epoch_of_an_earlier_process_may_end_below_what_is_committed() {
    let mut uplink = machine();
    spool(&mut uplink, &[held(OLD, 5, 9), held(LIVE, 0, 3)], 0);
    up(&mut uplink, 10);
    assert_eq!(told(&mut uplink, OLD, 12, 77)[0], Command::Release { epoch: OLD, committed: 9 });
}
