//! The ordinary life of the queue: append, commit, read, release, trim, evict, seal, relabel.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "simulated/disk.rs"]
mod disk;
#[path = "simulated/truth.rs"]
mod truth;

use disk::{Faults, MemoryDisk};
use sitian_model::{Entry, Gap, GapReason, Held, Span, Timestamp};
use sitian_spool::{Disk, Durable, Limits, Owner, Spool};
use truth::{append, drain, end, epoch, gaps, missing, payload, small, span};

fn fresh(limits: Limits) -> Spool<MemoryDisk> {
    let (mut spool, _) = Spool::open(MemoryDisk::default(), limits, epoch(1));
    spool.set_manifest(b"manifest one").unwrap();
    spool
}

fn fill(spool: &mut Spool<MemoryDisk>, range: std::ops::Range<u64>) {
    for seq in range {
        append(spool, seq);
        spool.commit().unwrap();
    }
}

fn reopen(spool: Spool<MemoryDisk>, limits: Limits, fresh: u8) -> Spool<MemoryDisk> {
    Spool::open(spool.into_disk().process_death(), limits, epoch(fresh)).0
}

#[test]
fn a_record_is_readable_once_it_is_committed_and_not_before() {
    let mut spool = fresh(small());
    append(&mut spool, 0);
    assert_eq!(spool.held(), []);
    assert_eq!(spool.commit(), Ok(Durable { epoch: epoch(1), end: 1 }));
    assert_eq!(spool.held(), [Held { epoch: epoch(1), oldest: 0, end: 1, acked: 0 }]);
    append(&mut spool, 1);
    assert_eq!(drain(&mut spool, epoch(1), 0).len(), 1);
}

#[test]
fn one_commit_costs_one_write_and_one_sync() {
    let mut spool = fresh(Limits::default());
    fill(&mut spool, 0..2);
    let before = (spool.state(), spool.into_disk());
    let (mut spool, _) = Spool::open(before.1.process_death(), Limits::default(), epoch(2));
    fill(&mut spool, 0..1);
    let disk = spool.into_disk();
    let (calls, syncs) = (disk.calls, disk.syncs);
    let (mut spool, _) = Spool::open(disk, Limits::default(), epoch(3));
    fill(&mut spool, 0..101);
    let disk = spool.into_disk();
    // The first commit opens a segment (two writes) and a spare is created; then one write and one sync each.
    assert_eq!((disk.calls - calls, disk.syncs - syncs), (3 + 1 + 200, 101));
}

#[test]
fn an_idle_start_leaves_nothing_but_one_spare_however_often() {
    let mut disk = MemoryDisk::default();
    for n in 0..20 {
        let (spool, recovery) = Spool::open(disk.process_death(), small(), epoch(n));
        assert_eq!((recovery.segments, spool.held()), (0, vec![]));
        disk = spool.into_disk();
        assert_eq!(disk.files.len(), 1);
    }
}

#[test]
fn records_manifests_and_acks_survive_a_restart_under_their_labels() {
    let mut spool = fresh(small());
    fill(&mut spool, 0..200);
    spool.release(epoch(1), 100);
    fill(&mut spool, 200..201);
    let mut spool = reopen(spool, small(), 2);
    assert_eq!(spool.held(), [Held { epoch: epoch(1), oldest: 0, end: 201, acked: 100 }]);
    let all = drain(&mut spool, epoch(1), 0);
    assert_eq!((gaps(&all), end(&all, 0)), ((201, vec![]), 201));
    assert_eq!(spool.manifest(epoch(1)), Some(b"manifest one".to_vec()));
    append(&mut spool, 0);
    spool.commit().unwrap();
    assert_eq!(spool.held().len(), 2);
}

#[test]
fn a_read_gives_at_least_one_entry_and_at_most_its_bytes() {
    let mut spool = fresh(small());
    fill(&mut spool, 0..60);
    for (from, bytes_max) in [(0, 1), (7, 1), (0, 700), (3, 5000), (59, 1), (60, 100), (99, 100)] {
        let run = spool.read(epoch(1), from, bytes_max).unwrap();
        let bytes: usize =
            run.entries.iter().map(|e| if let Entry::Record(r) = e { r.len() } else { 0 }).sum();
        assert!(bytes <= bytes_max || run.entries.len() == 1, "{from} {bytes_max}");
        assert_eq!(run.entries.is_empty(), from >= 60);
        assert_eq!(run.chain, truth::chain(epoch(1), from.min(60)));
    }
    let probe = spool.read(epoch(1), 33, 0).unwrap();
    assert_eq!((probe.first, probe.entries.len(), probe.chain), (33, 0, truth::chain(epoch(1), 33)));
}

#[test]
fn reading_a_backlog_in_order_reads_the_disk_once() {
    let limits = Limits { segment_bytes: 1 << 20, bytes_max: 1 << 30, ..Limits::default() };
    let mut spool = fresh(limits);
    for seq in 0..20_000 {
        append(&mut spool, seq);
        if seq % 10 == 9 {
            spool.commit().unwrap();
        }
    }
    let (mut spool, _) = Spool::open(spool.into_disk().process_death(), limits, epoch(2));
    let (mut next, mut bytes) = (0, 0);
    loop {
        let run = spool.read(epoch(1), next, 48 * 1024).unwrap();
        if run.entries.is_empty() {
            break;
        }
        next += run.entries.len() as u64;
        bytes += run
            .entries
            .iter()
            .map(|e| if let Entry::Record(r) = e { r.len() as u64 } else { 0 })
            .sum::<u64>();
    }
    let read = spool.into_disk().bytes_read;
    assert_eq!(next, 20_000);
    assert!(read < 5 * bytes, "{read} bytes read for {bytes}");
}

#[test]
fn opening_reads_headers_and_two_segments_whatever_the_backlog() {
    let limits = Limits { bytes_max: 1 << 30, ..small() };
    let mut spool = fresh(limits);
    fill(&mut spool, 0..4000);
    let (spool, recovery) = Spool::open(spool.into_disk().process_death(), limits, epoch(2));
    assert!(recovery.segments > 150);
    let read = spool.into_disk().bytes_read;
    assert!(read < 160 * recovery.segments as u64 + 64 * 1024, "{read}");
}

#[test]
fn acked_records_are_kept_behind_and_then_trimmed() {
    let limits = Limits { keep_behind_ms: 100_000, ..small() };
    let mut spool = fresh(limits);
    fill(&mut spool, 0..300);
    spool.release(epoch(1), 300);
    let oldest = spool.held()[0].oldest;
    assert!((150..=200).contains(&oldest), "{oldest}");
    // The centre has forgotten everything: what is kept is sent again, the rest is a gap that says why.
    spool.release(epoch(1), 0);
    let all = drain(&mut spool, epoch(1), 0);
    let expected = Gap { first: 0, last: oldest - 1, reason: GapReason::Trimmed, span: None };
    assert_eq!(gaps(&all), ((300 - oldest) as usize, vec![expected]));
    assert_eq!(spool.state().lost, 0);
}

/// Fills with what nobody could date, then with what is dated as `span` says, all of it acknowledged; the oldest kept.
fn oldest_kept(undated: u64, dated: u64, restart: bool, wrong: Span) -> u64 {
    let limits = Limits { keep_behind_ms: 100_000, ..small() };
    let mut spool = fresh(limits);
    for seq in 0..undated {
        assert_eq!(spool.append(&payload(epoch(1), seq), wrong), Ok(seq));
        spool.commit().unwrap();
        spool.release(epoch(1), seq);
    }
    if restart {
        spool = reopen(spool, limits, 2);
    }
    let (live, first) = if restart { (epoch(2), 0) } else { (epoch(1), undated) };
    for seq in first..first + dated {
        append(&mut spool, seq);
        spool.commit().unwrap();
        spool.release(live, seq);
    }
    spool.release(epoch(1), u64::MAX);
    spool.held()[0].oldest
}

#[test]
fn what_nobody_could_date_is_kept_behind_what_was_written_after_it() {
    let (unknown, boot) = (Span::UNKNOWN, Span { from: Timestamp(5_000), to: Timestamp(6_000) });
    for (undated, dated, restart, wrong, kept) in [
        // Undated ones are never too old by themselves, however many, whatever came before.
        (200, 0, false, unknown, 0..=0),
        (200, 0, true, unknown, 0..=0),
        // They go once what follows them is past keep-behind: 100 records of a second each.
        (100, 50, false, unknown, 0..=0),
        (100, 50, true, unknown, 0..=0),
        (100, 300, false, unknown, 250..=300),
        // A time that somebody vouched for counts, wrong as it may be.
        (100, 50, false, boot, 50..=100),
    ] {
        let oldest = oldest_kept(undated, dated, restart, wrong);
        assert!(kept.contains(&oldest), "{oldest}: {undated} undated, {dated} dated, {restart}");
    }
}

#[test]
fn what_is_relabelled_does_not_make_old_what_was_written_before_it() {
    let limits = Limits { keep_behind_ms: 100_000, ..small() };
    for restart in [false, true] {
        let mut spool = fresh(limits);
        fill(&mut spool, 0..30);
        spool.seal(epoch(2));
        for seq in 0..60 {
            assert_eq!(spool.append(&payload(epoch(2), seq), Span::UNKNOWN), Ok(seq));
            spool.commit().unwrap();
        }
        spool.relabel(epoch(1), epoch(3)).unwrap();
        for seq in 60..100 {
            assert_eq!(spool.append(&payload(epoch(2), seq), span(140 + seq)), Ok(seq));
            spool.commit().unwrap();
        }
        if restart {
            spool = reopen(spool, limits, 4);
        }
        spool.release(epoch(2), 100);
        spool.release(epoch(3), 30);
        let oldest: Vec<_> = spool.held().iter().map(|held| (held.epoch, held.oldest)).collect();
        assert_eq!(oldest, [(epoch(2), 0), (epoch(3), 0)], "restart {restart}");
    }
}

#[test]
fn a_gap_is_told_again_to_a_centre_that_has_forgotten_it() {
    let limits = Limits { bytes_max: 64 * 1024, ..small() };
    let mut spool = fresh(limits);
    fill(&mut spool, 0..30);
    spool.seal(epoch(2));
    fill(&mut spool, 0..300);
    let told = gaps(&drain(&mut spool, epoch(1), 0)).1;
    assert!(matches!(told[..], [Gap { first: 0, last: 29, reason: GapReason::Evicted, span: Some(_) }]));
    for start in 3..6 {
        spool.release(epoch(1), 30);
        spool.release(epoch(1), 0);
        assert_eq!(gaps(&drain(&mut spool, epoch(1), 0)), (0, told.clone()));
        spool.release(epoch(1), 30);
        fill_as(&mut spool, epoch(start - 1), 8);
        spool = reopen(spool, limits, start);
    }
}

#[test]
fn the_newest_two_of_what_is_gone_are_remembered_for_a_centre_that_has_forgotten_them() {
    let limits = Limits { keep_behind_ms: 10_000, ..small() };
    let mut spool = fresh(limits);
    spool.set_owner(Owner::new("gw-1").unwrap());
    for label in 1..=5 {
        spool.seal(epoch(label));
        fill(&mut spool, 0..if label < 5 { 30 } else { 100 });
    }
    for label in 1..=4 {
        spool.release(epoch(label), 30);
    }
    let gone_only = |spool: &Spool<MemoryDisk>| spool.held().iter().filter(|h| h.oldest == h.end).count();
    assert_eq!(gone_only(&spool), 4, "as long as records would be kept behind");
    fill(&mut spool, 100..112);
    spool.release(epoch(5), 1);
    let gone = |label| Held { epoch: epoch(label), oldest: 30, end: 30, acked: 30 };
    for start in 6..9 {
        let held = spool.held();
        assert_eq!((held[0], held[1], held[2].epoch), (gone(3), gone(4), epoch(5)));
        for label in 3..=4 {
            assert_eq!(drain(&mut spool, epoch(label), 30), [], "the chain there");
            assert_eq!(spool.owner_of(epoch(label)), Owner::new("gw-1"));
            spool.release(epoch(label), 0);
            let gap = Gap { first: 0, last: 29, reason: GapReason::Trimmed, span: None };
            assert_eq!(gaps(&drain(&mut spool, epoch(label), 0)), (0, vec![gap]));
            spool.release(epoch(label), 30);
        }
        spool = reopen(spool, limits, start);
    }
}

#[test]
fn what_goes_is_remembered_wherever_the_process_dies() {
    let limits = Limits { keep_behind_ms: 10_000, ..small() };
    // So many calls of the disk are done until the process dies amid what an ack makes go.
    let mut last = 0;
    for calls in 0.. {
        let mut spool = fresh(limits);
        fill(&mut spool, 0..30);
        spool.seal(epoch(2));
        fill(&mut spool, 0..100);
        let disk = spool.disk_mut();
        let before = disk.calls;
        disk.faults.power_off_at = Some(before + calls);
        spool.release(epoch(1), 30);
        let over = spool.disk_mut().calls - before <= calls;
        let left = |spool: &Spool<MemoryDisk>| {
            let held = spool.held();
            held.iter().find(|held| held.epoch == epoch(1)).map(|held| (held.oldest, held.end))
        };
        let mut spool = reopen(spool, limits, 3);
        let found = left(&spool).unwrap_or_else(|| panic!("forgotten without a word after {calls} calls"));
        assert_eq!(found.1, 30, "after {calls} calls");
        spool.release(epoch(1), 0);
        let all = drain(&mut spool, epoch(1), 0);
        assert_eq!(end(&all, 0), 30, "after {calls} calls");
        if over {
            assert_eq!((found.0, gaps(&all).0), (30, 0), "all of it went");
            break;
        }
        last = calls;
    }
    assert!(last > 3, "it went in {last} calls");
}

/// A few records more, with whatever labels are next.
fn fill_as(spool: &mut Spool<MemoryDisk>, live: sitian_model::Epoch, count: u64) {
    let from = spool.held().iter().find(|held| held.epoch == live).map_or(0, |held| held.end);
    (from..from + count).for_each(|seq| append(spool, seq));
    spool.commit().unwrap();
}

#[test]
fn a_clock_that_was_ahead_for_a_while_makes_no_hole_in_an_epoch() {
    let limits = Limits { keep_behind_ms: 100_000, ..small() };
    let mut spool = fresh(limits);
    for seq in 0..200 {
        let ahead_ms = if seq < 5 { 150_000 } else { 0 };
        let Span { from, to } = span(seq);
        let stamped = Span { from: Timestamp(from.0 + ahead_ms), to: Timestamp(to.0 + ahead_ms) };
        spool.append(&payload(epoch(1), seq), stamped).unwrap();
        spool.commit().unwrap();
    }
    spool.release(epoch(1), 200);
    assert_eq!(spool.held()[0].oldest, 0);
    spool.release(epoch(1), 0);
    assert_eq!(gaps(&drain(&mut spool, epoch(1), 0)), (200, vec![]));
}

#[test]
fn a_full_spool_evicts_the_oldest_and_says_exactly_what() {
    let limits = Limits { bytes_max: 80 * 1024, ..small() };
    let mut spool = fresh(limits);
    fill(&mut spool, 0..400);
    let state = spool.state();
    assert!(state.bytes <= state.bytes_max && state.healthy);
    let oldest = spool.held()[0].oldest;
    for start in 0..2 {
        let all = drain(&mut spool, epoch(1), 0);
        let (records, found) = gaps(&all);
        assert_eq!((records as u64, end(&all, 0)), (400 - oldest, 400));
        let [gap] = found[..] else { panic!("{found:?}") };
        let time = gap.span.unwrap();
        assert_eq!((gap.first, gap.last, gap.reason), (0, oldest - 1, GapReason::Evicted));
        assert_eq!((time.from, time.to), (span(0).from, span(oldest - 1).to));
        assert_eq!(spool.state().lost, if start == 0 { oldest } else { 0 });
        spool = reopen(spool, limits, 2 + start);
    }
}

#[test]
fn acked_records_go_before_unacked_ones_under_quota() {
    let limits = Limits { bytes_max: 80 * 1024, ..small() };
    let mut spool = fresh(limits);
    fill(&mut spool, 0..60);
    spool.seal(epoch(2));
    for seq in 0..400 {
        append(&mut spool, seq);
        spool.commit().unwrap();
        spool.release(epoch(2), seq);
    }
    assert_eq!(gaps(&drain(&mut spool, epoch(1), 0)), (60, vec![]));
    assert_eq!(spool.state().lost, 0);
}

#[test]
fn an_epoch_that_is_wholly_evicted_stays_as_a_gap_until_newer_ones_are_gone() {
    let limits = Limits { bytes_max: 64 * 1024, keep_behind_ms: 100_000, ..small() };
    let mut spool = fresh(limits);
    fill(&mut spool, 0..30);
    spool.seal(epoch(2));
    fill(&mut spool, 0..300);
    let mut spool = reopen(spool, limits, 3);
    assert_eq!(spool.held()[0], Held { epoch: epoch(1), oldest: 30, end: 30, acked: 0 });
    let all = drain(&mut spool, epoch(1), 0);
    assert_eq!((missing(&all, GapReason::Evicted), gaps(&all).0), (30, 0));
    assert!(spool.manifest(epoch(1)).is_some());
    spool.release(epoch(1), 30);
    assert_eq!(spool.held().len(), 2);
    spool.release(epoch(2), 300);
    for label in 3..6 {
        spool.seal(epoch(label));
        fill(&mut spool, 0..300);
        spool.release(epoch(label), 300);
    }
    fill(&mut spool, 300..450);
    spool.release(epoch(5), 301);
    let held: Vec<_> = spool.held().iter().map(|held| held.epoch).collect();
    assert_eq!(held, [epoch(3), epoch(4), epoch(5)]);
}

#[test]
fn boots_beyond_counting_keep_the_spool_within_its_limits() {
    let limits = Limits { bytes_max: 64 * 1024, ..small() };
    let mut disk = MemoryDisk::default();
    for n in 1..=250 {
        let (mut spool, _) = Spool::open(disk.process_death(), limits, epoch(n));
        fill(&mut spool, 0..1);
        let state = spool.state();
        assert!(state.bytes <= state.bytes_max && spool.held().len() <= 64);
        disk = spool.into_disk();
    }
}

#[test]
fn a_boot_loop_costs_a_sixteenth_of_a_segment_each_time() {
    let limits = Limits { bytes_max: 8 << 20, ..Limits::default() };
    let mut disk = MemoryDisk::default();
    for n in 1..=120 {
        let (mut spool, _) = Spool::open(disk.process_death(), limits, epoch(n));
        spool.set_manifest(&[7; 2_000]).unwrap();
        fill(&mut spool, 0..3);
        assert!(spool.state().bytes <= u64::from(n) * 64 * 1024 + 2 * 64 * 1024);
        disk = spool.into_disk();
    }
    let (mut spool, recovery) = Spool::open(disk.process_death(), limits, epoch(121));
    assert_eq!((recovery.epochs, spool.state().lost), (120, 0));
    for n in 1..=120 {
        assert_eq!(gaps(&drain(&mut spool, epoch(n), 0)), (3, vec![]));
    }
}

#[test]
fn a_process_that_stays_writes_segments_of_full_size_whatever_its_manifest() {
    for manifest in [0, 2_000, 200_000, 262_144] {
        let mut spool = fresh(Limits::default());
        spool.set_manifest(&vec![7; manifest]).unwrap();
        for _ in 0..120 {
            spool.append(&[9; 40_000], span(0)).unwrap();
            spool.commit().unwrap();
        }
        let mut spool = reopen(spool, Limits::default(), 2);
        assert_eq!(spool.held()[0].end, 120, "manifest of {manifest} bytes");
        let sizes: Vec<u64> = spool.disk_mut().list().unwrap().iter().map(|file| file.len >> 10).collect();
        assert!(sizes[2..].iter().all(|kib| *kib == 1024 || Some(kib) == sizes.last()), "{sizes:?}");
        assert!(manifest > 0 || sizes[..2] == [64, 64], "{sizes:?}");
    }
}

#[test]
fn a_sealed_epoch_drains_beside_the_new_one() {
    let mut spool = fresh(small());
    fill(&mut spool, 0..50);
    append(&mut spool, 50);
    spool.seal(epoch(2));
    spool.set_manifest(b"manifest two").unwrap();
    append(&mut spool, 0);
    assert_eq!(spool.commit(), Ok(Durable { epoch: epoch(2), end: 1 }));
    assert_eq!(drain(&mut spool, epoch(1), 0).len(), 51);
    assert_eq!(drain(&mut spool, epoch(2), 0).len(), 1);
    let mut spool = reopen(spool, small(), 3);
    assert_eq!(spool.manifest(epoch(1)), Some(b"manifest one".to_vec()));
    assert_eq!(spool.manifest(epoch(2)), Some(b"manifest two".to_vec()));
}

#[test]
fn relabelling_moves_what_is_unacked_and_nothing_else() {
    let mut spool = fresh(small());
    fill(&mut spool, 0..120);
    spool.release(epoch(1), 70);
    spool.relabel(epoch(1), epoch(2)).unwrap();
    let mut spool = reopen(spool, small(), 3);
    let held = spool.held();
    assert_eq!(held, [Held { epoch: epoch(2), oldest: 0, end: 50, acked: 0 }]);
    let mut next = 0;
    while next < 50 {
        let run = spool.read(epoch(2), next, 3000).unwrap();
        for entry in run.entries {
            assert_eq!(entry, Entry::Record(payload(epoch(1), 70 + next)));
            next += 1;
        }
    }
    assert_eq!(spool.manifest(epoch(2)), Some(b"manifest one".to_vec()));
}

#[test]
fn what_was_relabelled_is_not_told_as_gone_however_old_it_is() {
    let limits = Limits { keep_behind_ms: 100_000, ..small() };
    let mut spool = fresh(limits);
    fill(&mut spool, 0..30);
    spool.release(epoch(1), 10);
    spool.seal(epoch(2));
    for seq in 0..10 {
        assert_eq!(spool.append(&payload(epoch(2), seq), span(1_000 + seq)), Ok(seq));
        spool.commit().unwrap();
    }
    spool.relabel(epoch(1), epoch(3)).unwrap();
    for start in 4..6 {
        let held: Vec<_> = spool.held().iter().map(|held| (held.epoch, held.end, held.acked)).collect();
        assert_eq!(held, [(epoch(2), 10, 0), (epoch(3), 20, 0)]);
        spool = reopen(spool, limits, start);
    }
}

#[test]
fn a_process_that_dies_amid_relabelling_leaves_no_hole() {
    let mut spool = fresh(small());
    fill(&mut spool, 0..60);
    spool.release(epoch(1), 10);
    let disk = spool.into_disk().process_death();
    let relabelled = |power_off_at| {
        let mut disk = disk.clone();
        disk.faults.power_off_at = power_off_at;
        let mut spool = Spool::open(disk, small(), epoch(2)).0;
        let outcome = spool.relabel(epoch(1), epoch(3));
        assert!(outcome.is_ok() || power_off_at.is_some());
        spool
    };
    for calls in 0..relabelled(None).disk_mut().calls {
        let mut spool = reopen(relabelled(Some(calls)), small(), 4);
        let acked = spool.held().first().filter(|held| held.epoch == epoch(1)).map_or(60, |held| held.acked);
        let left = drain(&mut spool, epoch(1), acked);
        assert_eq!(gaps(&left).1, [], "after {calls} calls");
        spool.relabel(epoch(1), epoch(5)).unwrap();
        let moved: usize = [3, 5].iter().map(|label| records(&mut spool, epoch(*label))).sum();
        assert!(moved >= 50, "{moved} of 50 after {calls} calls");
    }
}

/// How many records there are under labels that are not those they were written under.
fn records(spool: &mut Spool<MemoryDisk>, label: sitian_model::Epoch) -> usize {
    let (mut next, mut found) = (0, 0);
    while let Some(run) = spool.read(label, next, 3000).ok().filter(|run| !run.entries.is_empty()) {
        next += run.entries.iter().map(Entry::width).sum::<u64>();
        found += run.entries.iter().filter(|entry| matches!(entry, Entry::Record(_))).count();
    }
    found
}

#[test]
fn what_is_too_large_is_refused_and_takes_no_label() {
    let mut spool = fresh(small());
    assert!(spool.append(&vec![0; 2049], span(0)).is_err());
    assert!(spool.set_manifest(&vec![0; 2049]).is_err());
    fill(&mut spool, 0..1);
    // The largest manifest, the largest record and their marks fit a segment.
    spool.seal(epoch(2));
    spool.set_manifest(&[7; 2048]).unwrap();
    for _ in 0..20 {
        spool.append(&vec![9; 2048], span(0)).unwrap();
    }
    spool.commit().unwrap();
    assert_eq!(spool.held()[1].end, 20);
}

#[test]
fn a_roll_over_on_a_full_disk_takes_the_spare_and_never_fails() {
    let mut spool = fresh(small());
    fill(&mut spool, 0..1);
    // Others take the rest of the disk: not one more file can be created.
    let used = spool.disk_mut().files.values().map(|file| file.view.len() as u64).sum();
    spool.disk_mut().faults.capacity = Some(used);
    let mut seq = 1;
    while spool.disk_mut().files.values().filter(|file| file.view[0] != 0).count() < 2 && seq < 200 {
        append(&mut spool, seq);
        assert_eq!(spool.commit(), Ok(Durable { epoch: epoch(1), end: seq + 1 }));
        seq += 1;
    }
    // The next spare was made room for.
    let all = drain(&mut spool, epoch(1), 0);
    assert_eq!((missing(&all, GapReason::Evicted), end(&all, 0)), (spool.state().lost, seq));
}

/// The disk as a process leaves it that dies between taking its spare and making the next.
fn without_spare(spool: Spool<MemoryDisk>) -> MemoryDisk {
    let mut disk = spool.into_disk().process_death();
    let (_, spare) = disk.files.pop_last().unwrap();
    assert!(spare.view.iter().all(|byte| *byte == 0));
    disk
}

#[test]
fn a_spool_far_over_its_quota_accepts_at_once_and_tells_what_it_gave_up_for_it() {
    // The quota was made smaller while the centre was away; power cuts amid one eviction after the other do the same.
    let mut spool = fresh(small());
    fill(&mut spool, 0..400);
    let limits = Limits { bytes_max: 64 * 1024, ..small() };
    let mut spool = Spool::open(without_spare(spool), limits, epoch(2)).0;
    assert!(spool.state().bytes > 2 * limits.bytes_max);
    fill(&mut spool, 0..30);
    let state = spool.state();
    assert!(state.healthy && state.bytes <= limits.bytes_max, "{state:?}");
    for _ in 0..2 {
        let (records, found) = gaps(&drain(&mut spool, epoch(1), 0));
        let [Gap { first: 0, last, reason: GapReason::Evicted, span: Some(_) }] = found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((last + 1 + records as u64, state.lost), (400, last + 1));
        spool = reopen(spool, limits, 3);
    }
    assert_eq!(end(&drain(&mut spool, epoch(2), 0), 0), 30);
}

#[test]
fn a_segment_that_a_power_cut_brings_back_does_not_make_a_told_gap_smaller() {
    let limits = Limits { bytes_max: 64 * 1024, ..small() };
    let mut spool = fresh(limits);
    fill(&mut spool, 0..60);
    let disk = spool.into_disk();
    let (name, oldest) =
        disk.files.first_key_value().map(|(name, file)| (name.clone(), file.clone())).unwrap();
    let mut spool = Spool::open(disk.process_death(), limits, epoch(2)).0;
    spool.seal(epoch(2));
    fill(&mut spool, 0..300);
    let told = gaps(&drain(&mut spool, epoch(1), 0));
    assert!(matches!(told.1[..], [Gap { first: 0, last: 59, .. }]), "{told:?}");
    let mut disk = spool.into_disk();
    disk.files.insert(name, oldest);
    let mut spool = Spool::open(disk.process_death(), limits, epoch(3)).0;
    fill(&mut spool, 0..60);
    for start in 4..6 {
        assert_eq!(gaps(&drain(&mut spool, epoch(1), 0)), told);
        spool = reopen(spool, limits, start);
        fill(&mut spool, 0..60);
    }
}

#[test]
fn a_start_on_a_full_card_removes_nothing_that_carries_the_marks() {
    // Somewhere among these the last of the first epoch gives way to the third, and only the newest segments say so.
    for backlog in (100..300).step_by(10) {
        let limits = Limits { bytes_max: 96 * 1024, keep_behind_ms: 10_000, ..small() };
        let mut spool = fresh(limits);
        fill(&mut spool, 0..30);
        spool.seal(epoch(2));
        fill(&mut spool, 0..backlog);
        spool.seal(epoch(3));
        fill(&mut spool, 0..80);
        // Only the newest segments are acknowledged, which trimming an older one of them notes durably.
        spool.release(epoch(3), 80);
        let told = |spool: &mut Spool<MemoryDisk>| missing(&drain(spool, epoch(1), 0), GapReason::Evicted);
        let before = told(&mut spool);
        let mut disk = without_spare(spool);
        // With a smaller quota these would go first; the power goes off before a new segment repeats their marks.
        let limits = Limits { bytes_max: 4 * 8 * 1024, ..limits };
        for process in 4..8 {
            let mut spool = Spool::open(disk, limits, epoch(process)).0;
            append(&mut spool, 0);
            let disk_now = spool.disk_mut();
            disk_now.faults.power_off_at = Some(disk_now.calls + 3);
            let _ = spool.commit();
            disk = spool.into_disk();
            disk.removed.clear();
            disk = disk.power_cut(&mut fastrand::Rng::with_seed(u64::from(process)));
        }
        let mut spool = Spool::open(disk, limits, epoch(8)).0;
        assert!(told(&mut spool) >= before, "{before} records were forgotten without a word, {backlog}");
    }
}

#[test]
fn nothing_is_evicted_whose_gap_cannot_be_noted_durably() {
    let mut disk = MemoryDisk::default();
    for process in 1..=3 {
        let mut spool = Spool::open(disk, small(), epoch(process)).0;
        append(&mut spool, 0);
        spool.commit().unwrap();
        disk = spool.into_disk();
    }
    // Others have taken the rest of the disk, and a program that starts has no open segment to note a gap in.
    let (_, spare) = disk.files.pop_last().unwrap();
    assert!(spare.view.iter().all(|byte| *byte == 0));
    let full = Faults { capacity: Some(3 * 8 * 1024), ..Faults::default() };
    for process in 4..8 {
        disk.faults = full.clone();
        let mut spool = Spool::open(disk, small(), epoch(process)).0;
        for written in 1..=3 {
            assert_eq!(end(&drain(&mut spool, epoch(written), 0), 0), 1, "{written} was lost without a word");
        }
        disk = spool.into_disk();
        disk.removed.clear();
        disk = disk.power_cut(&mut fastrand::Rng::with_seed(1));
    }
}

#[test]
fn a_card_with_room_for_two_segments_accepts_in_every_process() {
    let faults = Faults { capacity: Some(2 * 8 * 1024), ..Faults::default() };
    let mut disk = MemoryDisk { faults, ..MemoryDisk::default() };
    let processes = 2..12;
    for process in processes.clone() {
        let mut spool = Spool::open(disk, small(), epoch(process)).0;
        append(&mut spool, 0);
        spool.commit().unwrap_or_else(|fault| panic!("process {process} accepts nothing: {fault}"));
        disk = spool.into_disk();
    }
    let mut spool = Spool::open(disk, small(), epoch(12)).0;
    for process in processes {
        let entries = drain(&mut spool, epoch(process), 0);
        assert_eq!(end(&entries, 0), 1, "{process} was lost without a word");
    }
}
