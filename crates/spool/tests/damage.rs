//! Power cuts, failing disks and damaged files: nothing accepted is silently lost, nothing is invented, everything opens.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "simulated/disk.rs"]
mod disk;
#[path = "../../../tests/system/src/tally.rs"]
mod tally;
#[path = "simulated/truth.rs"]
mod truth;

use std::collections::BTreeMap;

use disk::{Faults, MemoryDisk};
use sitian_model::{Epoch, GapReason, Seq};
use sitian_spool::{Limits, Spool};
use truth::{append, drain, end, epoch, gaps, missing, small};

/// Leaves a row of the fault table. Whoever tells has compared every record with the truth and would have failed.
fn tell(number: &'static str, title: &'static str, many: impl std::fmt::Display, note: &str) {
    tally::Fault { number, title, injected: "disk in memory under the real spool" }.came_to(
        many,
        tally::NONE,
        note,
    );
}

/// What was accepted: one past the last sequence number per epoch.
type Accepted = BTreeMap<Epoch, Seq>;

/// A day of a gateway: rounds of a few records, acks now and then, a sealed epoch. Goes on whatever the disk says.
fn live_through(
    disk: MemoryDisk,
    limits: Limits,
    label: u8,
    rounds: u64,
    random: &mut fastrand::Rng,
) -> (MemoryDisk, Accepted) {
    let (mut spool, _) = Spool::open(disk, limits, epoch(label));
    let mut accepted = Accepted::new();
    let mut next = 0;
    for round in 0..rounds {
        for _ in 0..random.u64(1..4) {
            append(&mut spool, next);
            next += 1;
        }
        if spool.commit().is_ok() {
            accepted.insert(spool.live(), next);
        }
        if round % 3 == 2 {
            spool.release(spool.live(), next / 2);
        }
        if round == rounds * 2 / 3 {
            spool.seal(epoch(label + 100));
            next = 0;
        }
    }
    (spool.into_disk(), accepted)
}

/// Every accepted record is there; whatever else is there is true.
fn check_nothing_lost(disk: MemoryDisk, accepted: &Accepted, context: &str) -> MemoryDisk {
    let (mut spool, _) = Spool::open(disk, small(), epoch(250));
    for (epoch, accepted) in accepted {
        let all = drain(&mut spool, *epoch, 0);
        assert!(end(&all, 0) >= *accepted, "{context}: {epoch} ends at {} of {accepted}", end(&all, 0));
        let lost = gaps(&all).1.into_iter().find(|g| g.first < *accepted);
        assert_eq!(lost, None, "{context}: {epoch}");
    }
    spool.into_disk()
}

#[test]
fn a_power_cut_at_every_write_loses_nothing_accepted() {
    let (whole, _) = live_through(MemoryDisk::default(), small(), 1, 60, &mut fastrand::Rng::with_seed(1));
    assert!(whole.calls > 100);
    for cut in 0..whole.calls {
        for seed in 0..4 {
            let disk = MemoryDisk {
                faults: Faults { power_off_at: Some(cut), ..Faults::default() },
                ..MemoryDisk::default()
            };
            let (disk, accepted) = live_through(disk, small(), 1, 60, &mut fastrand::Rng::with_seed(1));
            let disk = disk.power_cut(&mut fastrand::Rng::with_seed(seed));
            check_nothing_lost(disk, &accepted, &format!("cut {cut} seed {seed}"));
        }
    }
    tell("F4", "power cut at every call", format!("{} cuts", 4 * whole.calls), "");
}

#[test]
fn gaps_outlive_power_cuts_that_tear_one_new_segment_after_the_other() {
    // As many epochs as it takes for their marks to fill a few sectors.
    const EVICTED: u8 = 9;
    let limits = Limits { bytes_max: 64 * 1024, ..small() };
    let (mut spool, _) = Spool::open(MemoryDisk::default(), limits, epoch(1));
    for label in 1..=EVICTED + 1 {
        spool.seal(epoch(label));
        for seq in 0..if label > EVICTED { 300 } else { 5 } {
            append(&mut spool, seq);
            spool.commit().unwrap();
        }
    }
    let told = |spool: &mut Spool<MemoryDisk>| -> Vec<_> {
        (1..=EVICTED).map(|label| gaps(&drain(spool, epoch(label), 0))).collect()
    };
    let before = told(&mut spool);
    assert!(before.iter().all(|(records, gaps)| (*records, gaps.len()) == (0, 1)), "{before:?}");
    let card = spool.into_disk();
    for seed in 0..1_500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut disk = card.clone();
        for start in 0..4 {
            disk.faults.power_off_at = Some(disk.calls + random.u64(1..5));
            let (mut spool, _) = Spool::open(disk, limits, epoch(100 + start));
            append(&mut spool, 0);
            let _ = spool.commit();
            disk = spool.into_disk().power_cut(&mut random);
        }
        let (mut spool, _) = Spool::open(disk, limits, epoch(200));
        assert_eq!(told(&mut spool), before, "seed {seed}");
    }
}

#[test]
fn one_failing_call_anywhere_loses_nothing_and_stops_nothing() {
    let (whole, accepted) =
        live_through(MemoryDisk::default(), small(), 1, 60, &mut fastrand::Rng::with_seed(2));
    for fail_at in 0..whole.calls {
        let faults = Faults { fail_at: Some(fail_at), ..Faults::default() };
        let disk = MemoryDisk { faults, ..MemoryDisk::default() };
        let (disk, got) = live_through(disk, small(), 1, 60, &mut fastrand::Rng::with_seed(2));
        assert_eq!(got, accepted, "fail at {fail_at}");
        let disk = disk.power_cut(&mut fastrand::Rng::with_seed(fail_at));
        check_nothing_lost(disk, &accepted, &format!("fail at {fail_at}"));
    }
    tell(
        "F6",
        "one failing call anywhere",
        format!("{} calls", whole.calls),
        "every call of a life of 60 rounds",
    );
}

#[test]
fn lives_of_crashes_and_power_cuts_lose_nothing_accepted() {
    let (mut cuts, mut crashes_in_recovery) = (0, 0);
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut disk, mut accepted) = (MemoryDisk::default(), Accepted::new());
        for life in 0..6 {
            disk.faults.power_off_at = Some(random.u64(1..90));
            let (after, more) = live_through(disk, small(), 1 + life, random.u64(1..40), &mut random);
            accepted.extend(more);
            disk = after.power_cut(&mut random);
            cuts += 1;
            if random.u8(..5) == 0 {
                disk.faults.power_off_at = Some(0);
                let (spool, _) = Spool::open(disk, small(), epoch(249));
                disk = spool.into_disk().power_cut(&mut random);
                crashes_in_recovery += 1;
            }
            disk = check_nothing_lost(disk, &accepted, &format!("seed {seed} life {life}")).process_death();
        }
    }
    assert!(cuts == 2400 && crashes_in_recovery > 300);
    let note = format!("{crashes_in_recovery} crashes in recovery");
    tell("F4", "lives of six power cuts each", format!("{cuts} cuts"), &note);
}

/// Three segments of one epoch, all acknowledged by the disk.
fn three_segments() -> (MemoryDisk, Vec<String>, Seq) {
    let (mut spool, _) = Spool::open(MemoryDisk::default(), small(), epoch(1));
    spool.set_manifest(b"a manifest").unwrap();
    let mut count = 0;
    while count < 1 || spool.state().bytes < 4 * 8192 {
        append(&mut spool, count);
        spool.commit().unwrap();
        count += 1;
    }
    let disk = spool.into_disk().process_death();
    let names = disk.files.keys().cloned().collect();
    (disk, names, count)
}

#[test]
fn every_flipped_bit_is_found_and_costs_at_most_one_record() {
    let (disk, names, count) = three_segments();
    let (mut damaged, mut flips) = (0, 0);
    for name in &names[..2] {
        let len = disk.files[name].view.len();
        for byte in 0..len {
            let mut hurt = disk.clone();
            hurt.tamper(name, |bytes| bytes[byte] ^= 1 << (byte % 8));
            flips += 1;
            let (mut spool, _) = Spool::open(hurt, small(), epoch(2));
            let all = drain(&mut spool, epoch(1), 0);
            let (records, found) = gaps(&all);
            assert_eq!(end(&all, 0), count, "{name} byte {byte}");
            assert!(records as u64 + 1 >= count, "{name} byte {byte}");
            assert_eq!(found.len() as u64, count - records as u64);
            assert!(found.iter().all(|g| g.reason == GapReason::Damaged && g.first == g.last));
            assert_eq!(spool.state().lost, found.len() as u64);
            damaged += found.len();
        }
    }
    assert!(damaged > 10_000);
    let note = format!("{damaged} records announced as damaged, none silently");
    tell("F9", "one bit of every byte of sealed segments", format!("{flips} flips"), &note);
}

#[test]
fn every_flipped_bit_of_the_newest_segment_costs_at_most_one_record_and_is_told() {
    let (disk, names, count) = three_segments();
    let name = &names[2];
    let mut flips = 0;
    for byte in 0..disk.files[name].view.len() {
        for bit in 0..8 {
            let mut hurt = disk.clone();
            hurt.tamper(name, |bytes| bytes[byte] ^= 1 << bit);
            flips += 1;
            let (mut spool, _) = Spool::open(hurt, small(), epoch(2));
            let all = drain(&mut spool, epoch(1), 0);
            assert!(gaps(&all).0 as u64 + 1 >= count, "byte {byte}");
            assert_eq!(end(&all, 0), count, "byte {byte}: also the last record ends where its commit said");
        }
    }
    tell(
        "F9",
        "every bit of the newest segment",
        format!("{flips} flips"),
        "at most one record each, announced",
    );
}

#[test]
fn a_file_cut_or_zeroed_from_any_byte_on_opens_and_says_what_is_gone() {
    let (disk, names, count) = three_segments();
    let mut files = 0;
    for (n, name) in names.iter().enumerate().take(3) {
        let len = disk.files[name].view.len();
        for at in 0..=len {
            for zero in [false, true] {
                let mut hurt = disk.clone();
                files += 1;
                hurt.tamper(name, |bytes| {
                    bytes.truncate(at);
                    bytes.resize(if zero { len } else { at }, 0);
                });
                let (mut spool, recovery) = Spool::open(hurt, small(), epoch(2));
                let all = drain(&mut spool, epoch(1), 0);
                // Of the newest segment nobody knows how much it held, but that something is gone. A file without a single
                // record is as good as none: its first commit may have been torn.
                let told = n == 2 && recovery.cut_short.len() == 1 && spool.state().lost >= 1;
                let first = u64::from_le_bytes(disk.files[&names[2]].view[40..48].try_into().unwrap());
                let nothing_left = n == 2 && (at == 0 || zero && gaps(&all).0 as u64 == first);
                assert!(told || nothing_left || end(&all, 0) == count, "{name} at {at}");
                // The spool goes on.
                append(&mut spool, 0);
                assert_eq!(spool.commit().map(|d| d.end), Ok(1));
            }
        }
    }
    tell(
        "F10",
        "truncated and zeroed from every byte on",
        format!("{files} files"),
        "every one opens and goes on",
    );
}

#[test]
fn missing_extra_swapped_copied_and_foreign_files_open() {
    let (disk, names, count) = three_segments();
    let check = |name: &str, change: &dyn Fn(&mut MemoryDisk), records_min: u64, lost_max: u64| {
        let mut hurt = disk.clone();
        change(&mut hurt);
        let (mut spool, _) = Spool::open(hurt, small(), epoch(2));
        let all = drain(&mut spool, epoch(1), 0);
        let lost = missing(&all, GapReason::Damaged) + missing(&all, GapReason::Evicted);
        assert!(gaps(&all).0 as u64 >= records_min && lost <= lost_max, "{name}: {} {lost}", gaps(&all).0);
        append(&mut spool, 0);
        assert_eq!(spool.commit().map(|d| d.end), Ok(1), "{name}");
    };
    let swap = |disk: &mut MemoryDisk| {
        let (a, b) = (disk.files[&names[0]].clone(), disk.files[&names[1]].clone());
        disk.files.insert(names[0].clone(), b);
        disk.files.insert(names[1].clone(), a);
    };
    check("swapped", &swap, count, 0);
    let copy = |disk: &mut MemoryDisk| {
        let file = disk.files[&names[1]].clone();
        disk.files.insert("00000000000000ff.seg".into(), file);
        disk.files.insert("notes.txt".into(), Default::default());
        disk.files.insert("fffffffffffffffe.seg".into(), Default::default());
    };
    check("copied", &copy, count, 0);
    for name in &names[..3] {
        check("missing", &|disk: &mut MemoryDisk| drop(disk.files.remove(name)), count / 3, count * 2 / 3);
        check(
            "random",
            &|disk: &mut MemoryDisk| disk.tamper(name, |b| fastrand::Rng::with_seed(3).fill(b)),
            count / 3,
            count * 2 / 3,
        );
    }
    check("all gone", &|disk: &mut MemoryDisk| disk.files.clear(), 0, 0);
    tell("F10", "missing, extra, swapped, foreign segments", "9 folders", "every one opens and goes on");
}

#[test]
fn a_bad_sector_becomes_a_gap_after_three_refusals() {
    let (mut disk, names, count) = three_segments();
    disk.faults.bad_sector = Some((names[1].clone(), 4000));
    let (mut spool, _) = Spool::open(disk, small(), epoch(2));
    let (mut next, mut refusals, mut lost) = (0, 0, 0);
    while next < count {
        match spool.read(epoch(1), next, 2000) {
            Ok(run) => {
                let (_, found) = gaps(&run.entries);
                lost += found.iter().map(|g| g.last - g.first + 1).sum::<u64>();
                next = end(&run.entries, next);
            }
            Err(_) => refusals += 1,
        }
        assert!(refusals < 100);
    }
    assert!((1..=4).contains(&lost), "{lost}");
}

#[test]
fn an_unreadable_tail_of_the_newest_segment_is_told() {
    let (disk, names, count) = three_segments();
    let used = disk.files[&names[2]].view[..8000].iter().rposition(|b| *b != 0).unwrap();
    for at in (0..used as u64).step_by(64) {
        let mut hurt = disk.clone();
        hurt.faults.bad_sector = Some((names[2].clone(), at));
        let (mut spool, recovery) = Spool::open(hurt, small(), epoch(2));
        let (mut next, mut refusals) = (0, 0);
        while next < count && refusals < 10 {
            match spool.read(epoch(1), next, 2000) {
                Ok(run) if run.entries.is_empty() => break,
                Ok(run) => next = end(&run.entries, next),
                Err(_) => refusals += 1,
            }
        }
        let told = recovery.cut_short == [(names[2].clone(), epoch(1))];
        assert!(next == count || told, "bad sector at {at}: {next} of {count}");
    }
}

#[test]
fn the_last_record_of_a_killed_process_is_a_gap_with_its_time_when_it_is_damaged() {
    let (mut disk, names, count) = three_segments();
    let last = disk.files[&names[2]].view[..8000].iter().rposition(|b| *b != 0).unwrap();
    // The END frame takes 48 bytes; before it lies the last record.
    disk.tamper(&names[2], |bytes| bytes[last - 60] ^= 0x10);
    let (mut spool, _) = Spool::open(disk, small(), epoch(2));
    let found = gaps(&drain(&mut spool, epoch(1), 0)).1;
    let span = found[0].span.unwrap();
    assert_eq!((found[0].first, found[0].last, found.len()), (count - 1, count - 1, 1));
    assert_eq!(span.to, truth::span(count - 1).to);
}

#[test]
fn a_read_only_disk_leaves_memory_readable_and_bounded_and_heals() {
    let (mut spool, _) = Spool::open(MemoryDisk::default(), small(), epoch(1));
    for seq in 0..20 {
        append(&mut spool, seq);
        spool.commit().unwrap();
    }
    let mut disk = spool.into_disk();
    disk.faults.read_only = true;
    let (mut spool, _) = Spool::open(disk, small(), epoch(2));
    for seq in 0..20 {
        append(&mut spool, seq);
        assert!(spool.commit().is_err());
        assert_eq!(spool.held().last().map(|h| (h.epoch, h.end)), Some((epoch(2), seq + 1)));
        assert_eq!(drain(&mut spool, epoch(2), seq).len(), 1);
        spool.release(epoch(2), seq + 1);
    }
    assert!(!spool.state().healthy);
    assert_eq!(spool.state().lost, 0);
    // Nobody listens: memory stays bounded, and what it dropped is a gap.
    for seq in 20..200 {
        append(&mut spool, seq);
        let _ = spool.commit();
    }
    let all = drain(&mut spool, epoch(2), 20);
    assert_eq!((missing(&all, GapReason::Evicted), end(&all, 20)), (spool.state().lost, 200));
    assert!(spool.state().lost > 50);
    spool = {
        let live = drain(&mut spool, epoch(2), 20);
        // The disk heals under the running process: within nine commits everything in memory is durable.
        let mut disk = spool;
        disk.disk_mut().faults.read_only = false;
        let healed = (0..9).any(|_| disk.commit().is_ok());
        assert!(healed && disk.state().healthy);
        assert_eq!(gaps(&drain(&mut disk, epoch(2), 20)).0, gaps(&live).0);
        disk
    };
    let (mut spool, _) = Spool::open(spool.into_disk().process_death(), small(), epoch(3));
    assert_eq!(end(&drain(&mut spool, epoch(2), 20), 20), 200);
    assert_eq!(drain(&mut spool, epoch(1), 0).len(), 20);
    tell(
        "F8",
        "disk turns read-only and heals",
        "200 records",
        "published from memory; what memory dropped is a gap",
    );
}

#[test]
fn a_full_disk_evicts_the_oldest_with_an_exact_gap() {
    let mut disk = MemoryDisk::default();
    disk.faults.capacity = Some(6 * 8192);
    let (mut spool, _) = Spool::open(disk, small(), epoch(1));
    for seq in 0..400 {
        append(&mut spool, seq);
        spool.commit().unwrap();
    }
    let all = drain(&mut spool, epoch(1), 0);
    assert_eq!((missing(&all, GapReason::Evicted), end(&all, 0)), (spool.state().lost, 400));
    assert!(gaps(&all).0 > 40);
    let note = format!("{} records evicted, as many announced", spool.state().lost);
    tell("F7", "disk full for 400 records", "1 disk", &note);
}

#[test]
fn a_directory_that_cannot_be_listed_at_first_is_not_overwritten() {
    let (mut disk, _, count) = three_segments();
    disk.faults.list_fails = true;
    let (mut spool, recovery) = Spool::open(disk, small(), epoch(2));
    assert!(recovery.fault.is_some());
    append(&mut spool, 0);
    assert!(spool.commit().is_err());
    spool.disk_mut().faults.list_fails = false;
    assert!((0..9).any(|_| spool.commit().is_ok()));
    assert_eq!(drain(&mut spool, epoch(1), 0).len() as u64, count);
    assert_eq!(drain(&mut spool, epoch(2), 0).len(), 1);
}

#[test]
fn a_lying_sync_invents_nothing() {
    for seed in 0..200 {
        let mut disk = MemoryDisk::default();
        disk.faults.lying_sync = true;
        let mut random = fastrand::Rng::with_seed(seed);
        let (disk, accepted) = live_through(disk, small(), 1, 40, &mut random);
        let (mut spool, _) = Spool::open(disk.power_cut(&mut random), small(), epoch(3));
        for (epoch, written) in accepted {
            // `drain` compares every record with the truth.
            assert!(end(&drain(&mut spool, epoch, 0), 0) <= written);
        }
    }
    tell("F5", "lying sync, then a power cut", "200 cuts", "invents nothing, opens clean");
}
