//! F3, power cuts on a real ext4: the file system is shut down under the running program without flushing its journal,
//! the program is killed, the card is mounted again (the journal is replayed, nothing is repaired by hand) and the
//! program starts on what is left. What was called accepted or acknowledged has to be there.

use std::collections::{BTreeMap, BTreeSet};

use sitian_tests_system::rig::Plan;
use sitian_tests_system::tally::{Fault, Harm, teeth, times};
use sitian_tests_system::{Card, Rig, strace, wait_for};

const INJECTED: &str = "ext4 in a loop image, EXT4_IOC_SHUTDOWN without journal flush, kill -9, remount";

/// Cuts between two looks at everything that is stored.
const STRETCH: usize = 30;

/// Cuts of one card and its network.
const LIFE: usize = 240;

/// So many different moments between two cuts, in milliseconds.
fn moments(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 160
    }
}

/// Lets the network work for a moment; what is to be met is chance.
fn go_on(ms: u64) {
    std::thread::park_timeout(std::time::Duration::from_millis(ms));
}

#[test]
fn power_cuts_of_a_gateways_card_lose_nothing_accepted() {
    let fault =
        Fault { number: "F3", title: "power cut on a real ext4: the gateway's spool", injected: INJECTED };
    let (mut cuts, mut accepted, mut stored) = (0, 0, 0u64);
    let wanted = times(300, 10_000);
    while cuts < wanted {
        let card = match Card::ext4(192) {
            Ok(card) => card,
            Err(why) => return fault.skipped(why),
        };
        // The centre lets a gateway in that starts 256 times at once; beyond that it makes it wait.
        let more = LIFE.min(wanted - cuts);
        let (records, readings) = life_of_a_card(card, cuts as u64, more);
        (cuts, accepted, stored) = (cuts + more, accepted + records, stored + readings);
        println!("{cuts} of {wanted} cuts, {accepted} records accepted");
    }
    let note = format!("{accepted} records accepted, {stored} stored; 0 manual steps");
    fault.came_to(format!("{cuts} cuts"), Harm::default(), note);
}

/// Cuts the power of a fresh card so many times, under a network of its own; gives the records accepted and the readings
/// stored. Any harm ends it.
fn life_of_a_card(mut card: Card, seed: u64, wanted: usize) -> (usize, u64) {
    let plan = Plan {
        spool: card.path().join("spool"),
        more: "bytes_max = 134217728\nkeep_hours = 0".to_owned(),
        ..Plan::default()
    };
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &plan);
    let (mut moment, mut cuts) = (moments(3 + seed), 0);
    while cuts < wanted {
        // Every other stretch without a broker: the card alone knows what was accepted.
        let offline = (cuts / STRETCH).is_multiple_of(2);
        if offline {
            rig.broker.program.kill();
        }
        for _ in 0..STRETCH.min(wanted - cuts) {
            // Half of the cuts meet a gateway that has accepted something, the others one that starts, or recovers.
            if moment() % 2 == 0 {
                rig.accepts(1);
            }
            go_on(moment());
            card.cut(rig.gateway.program.id());
            rig.gateway.program.kill();
            card.power_on();
            rig.gateway.start_again_under(&[]);
            cuts += 1;
        }
        if offline {
            rig.broker.start_again();
        }
        rig.accepts(2);
        let (verdict, stored) = rig.settle(60);
        assert_eq!((verdict.harm, stored.gaps.len()), Default::default(), "after {cuts} cuts");
    }
    let (verdict, _) = rig.settle(60);
    assert_eq!(verdict.harm, Harm::default());
    (rig.accepted.labels.len(), verdict.readings)
}

#[test]
fn power_cuts_of_the_centres_disk_lose_nothing_acknowledged() {
    let fault =
        Fault { number: "F3", title: "power cut on a real ext4: the centre's store", injected: INJECTED };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut card = match Card::ext4(192) {
        Ok(card) => card,
        Err(why) => return fault.skipped(why),
    };
    let mut rig = Rig::start(folder, &Plan { store: card.path().to_owned(), ..Plan::default() });
    let (mut moment, wanted) = (moments(4), times(100, 5_000));
    for cut in 1..=wanted {
        rig.accepts(1);
        go_on(moment());
        card.cut(rig.ingestor.program.id());
        rig.ingestor.program.kill();
        card.power_on();
        rig.ingestor.start_again();
        // A store that is never synced forgets this incident too, at the next cut.
        if teeth() || cut % STRETCH == 0 {
            rig.accepts(2);
            let (verdict, _) = rig.settle(60);
            let forgotten = rig.incidents("server_restored");
            assert_eq!((verdict.harm, verdict.holes, forgotten), Default::default(), "after {cut} cuts");
        }
    }
    rig.accepts(2);
    let (verdict, _) = rig.settle(60);
    // A centre that had forgotten what it acknowledged would have to ask for it again.
    let forgotten = rig.incidents("server_restored");
    let note = format!(
        "{} readings stored, {} holes, {forgotten} acknowledged ones forgotten",
        verdict.readings, verdict.holes
    );
    fault.came_to(format!("{wanted} cuts"), verdict.harm, note);
    assert_eq!((verdict.harm, verdict.holes, forgotten), Default::default());
}

#[test]
fn a_power_cut_at_a_sync_of_the_centre_loses_nothing_acknowledged() {
    let fault = Fault {
        number: "F3",
        title: "power cut on a real ext4: at a sync of the centre's store",
        injected: "strace: the n-th fsync kills the ingestor, or each takes 0.3 s more and the cut comes with an ack; EXT4_IOC_SHUTDOWN, remount",
    };
    let (mut card, folder) = match (Card::ext4(192), strace::works()) {
        (Ok(card), Ok(())) => (card, tempfile::tempdir().expect("a temporary folder")),
        (Err(why), _) | (_, Err(why)) => return fault.skipped(why),
    };
    let mut rig = Rig::start(folder, &Plan { store: card.path().to_owned(), ..Plan::default() });
    let cuts = times(32, 500);
    for cut in 1..=cuts {
        rig.accepts(1);
        rig.ingestor.program.kill();
        let acknowledged = rig.acknowledged();
        if cut % 2 == 0 {
            rig.ingestor
                .begin_under(&strace_words(&rig, &format!("fsync:signal=KILL:when={}", 5 - cut / 2 % 4)));
            wait_for("the centre reaching the sync", 60, || rig.ingestor.program.is_over().then_some(()));
            card.cut_alone();
        } else {
            rig.ingestor.begin_under(&strace_words(&rig, "fsync:delay_enter=300000"));
            wait_for("an ack", 60, || (rig.acknowledged() > acknowledged).then_some(()));
            card.cut(rig.ingestor.program.id());
            rig.ingestor.program.kill();
        }
        card.power_on();
        rig.ingestor.start_again();
        if cut % 4 == 0 || cut == cuts {
            rig.accepts(1);
            let (verdict, _) = rig.settle(20);
            // A centre that had forgotten what it acknowledged would have to ask for it again.
            let forgotten = rig.incidents("server_restored");
            assert_eq!((verdict.harm, verdict.holes, forgotten), Default::default(), "after {cut} cuts");
        }
    }
    let (verdict, _) = rig.settle(60);
    let note = format!("{} readings stored, 0 acknowledged ones forgotten", verdict.readings);
    fault.came_to(format!("{cuts} cuts"), verdict.harm, note);
}

/// What a program of the rig runs under, so that this rule meets it.
fn strace_words(rig: &Rig, rule: &str) -> Vec<String> {
    strace::inject(rig.folder.path(), &[rule])
}

/// Files that a thread made in the folder `spool` and whose names were not on the card yet when it next synced records: a
/// power cut may take such a file with all that is in it. Also how many files were made.
fn nameless(calls: &str, spool: &str) -> (BTreeSet<String>, usize) {
    let (mut unnamed, mut nameless, mut files) = (BTreeMap::new(), BTreeSet::new(), 0);
    for call in calls.lines() {
        let Some((thread, call)) = call.split_once(' ') else { continue };
        let between = |from: char, to: char| call.split_once(from)?.1.split_once(to).map(|(path, _)| path);
        if call.contains("openat(") && call.contains("O_EXCL") {
            let made = between('"', '"').and_then(|path| path.rsplit_once('/'));
            if let Some((_, name)) = made.filter(|(folder, _)| folder.ends_with(spool)) {
                unnamed.insert(name, thread);
                files += 1;
            }
        } else if let (true, Some(path)) = (call.contains("sync("), between('<', '>')) {
            if path.ends_with(spool) {
                unnamed.retain(|_, maker| *maker != thread);
            } else if call.contains("fdatasync(") {
                let late = unnamed.iter().filter(|(_, maker)| **maker == thread);
                nameless.extend(late.map(|(name, _)| (*name).to_owned()));
            }
        }
    }
    (nameless, files)
}

#[test]
fn a_file_of_the_spool_has_its_name_on_the_card_before_anything_else_is_accepted() {
    let fault = Fault {
        number: "F3",
        title: "power cut on a card that keeps only what was synced: names of the spool's files",
        injected: "strace notes creations and syncs; an ext4 keeps a name together with its synced file and cannot show it",
    };
    if let Err(why) = strace::works() {
        return fault.skipped(why);
    }
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &Plan::default());
    let starts = times(20, 200);
    let under = strace::watch(rig.folder.path(), &["openat", "fsync", "fdatasync"]);
    for _ in 0..starts {
        rig.gateway.program.kill();
        rig.gateway.start_again_under(&under.iter().map(String::as_str).collect::<Vec<_>>());
        rig.accepts(3);
    }
    let (nameless, files) = nameless(&strace::noted(rig.folder.path()), "spool");
    let harm = Harm { lost: nameless.len() as u64, ..Harm::default() };
    fault.came_to(format!("{files} files"), harm, format!("{starts} starts of the gateway"));
    assert!(files >= starts, "every start makes a file: {files}");
    assert_eq!(harm, Harm::default(), "{nameless:?}");
}
