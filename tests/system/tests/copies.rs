//! Things that are wiped, put back from a copy, or copied while the original lives on: what §6 of the delivery contract
//! promises, and what a person is told.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use sitian_tests_system::counted::{GATEWAY, Layout, WORDS, configuration};
use sitian_tests_system::packets::Client;
use sitian_tests_system::tally::{Fault, Harm, night};
use sitian_tests_system::truth::{accepted, moment, unix_ms};
use sitian_tests_system::{Counted, Gateway, Judge, Mosquitto, TrueField, Verdict, wait_for};

const fn fault(number: &'static str, title: &'static str, injected: &'static str) -> Fault {
    Fault { number, title, injected }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a writable folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if entry.path().is_file() {
            // A running gateway's socket is no part of a card.
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

/// Copies the store, with its companions.
fn copy_store(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a writable folder");
    for name in ["centre.db", "centre.db-wal", "centre.db-shm"] {
        let _ = std::fs::remove_file(to.join(name));
        let _ = std::fs::copy(from.join(name), to.join(name));
    }
}

/// What was accepted and survives is stored; gives the harm with what is not.
fn lost(verdict: &Verdict, survives: &BTreeSet<(String, u64)>) -> Harm {
    Harm { lost: survives.difference(&verdict.labels).count() as u64, ..verdict.harm }
}

/// Makes the gateway connect anew, and so announce what it holds: a broker lets in one client of a name at a time.
fn disturb(network: &mut Counted, broker: &Mosquitto) {
    drop(Client::connect(broker.port, GATEWAY));
    network.progress(20);
}

/// Seconds from a moment until the centre noticed an incident.
fn after_s(incident: &Value, since_ms: i64) -> f64 {
    (moment(incident, "at") - since_ms) as f64 / 1_000.0
}

#[test]
fn a_wiped_spool_raises_an_incident_that_says_from_when_on_readings_may_be_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut broker = Mosquitto::start(folder.path());
    let mut network = Counted::start(&Layout { broker: Some(broker.port), ..Layout::default() });
    network.poll_for(3);
    disturb(&mut network, &broker);
    // The last seconds never reach the centre, and then the card is gone.
    broker.kill();
    let cut_ms = unix_ms();
    network.poll_for(3);
    network.gateway.program.kill();
    let accepted_before = network.accepted();
    std::fs::remove_dir_all(network.folder.path().join("spool")).expect("a spool to wipe");
    broker.start_again();
    let back_ms = unix_ms();
    network.gateway.start_again();
    let incident = network.wait_for_incident("possible_loss", 1);
    network.progress(5);
    let accepted_now: BTreeSet<_> = network.accepted().difference(&accepted_before).cloned().collect();
    let verdict = network.judge().wait_for_accepted(&accepted_now, 60);
    let missing = accepted_before.difference(&verdict.labels).count();
    let bound_off_ms = moment(&incident, "after") - cut_ms;
    // All that is missing lies behind the bound that the incident names.
    let first = incident["first_seq"].as_u64().expect("a bound");
    let epoch = incident["epoch"].as_str().expect("an epoch").to_owned();
    let unexplained =
        accepted_before.difference(&verdict.labels).filter(|(e, seq)| *e != epoch || *seq < first);
    let harm = Harm { lost: unexplained.count() as u64, ..verdict.harm };
    fault("F22", "spool wiped while the link is down", "kill -9, rm -rf of the spool").came_to(
        "1 wipe",
        harm,
        format!(
            "{missing} records died with the card and are named by the incident, {:.1} s after the return; its bound is {:.1} s from the cut",
            after_s(&incident, back_ms),
            bound_off_ms as f64 / 1_000.0
        ),
    );
    assert_eq!(harm, Harm::default());
    assert!(missing > 0, "the wipe destroyed something, so that there was something to tell");
}

#[test]
fn a_spool_that_is_removed_under_a_running_gateway_costs_nothing_while_the_link_is_up() {
    let mut network = Counted::start(&Layout::default());
    network.poll_for(2);
    std::fs::remove_dir_all(network.folder.path().join("spool")).expect("a spool to wipe");
    network.poll_for(if night() { 600 } else { 10 });
    let verdict = network.judge().wait_for_all(60);
    fault("F22", "spool removed under a running gateway", "rm -rf of the spool").came_to(
        "1 wipe",
        verdict.harm,
        format!("{} readings", verdict.readings),
    );
    assert_eq!(verdict.harm, Harm::default());
}

#[test]
fn an_old_card_image_that_is_put_back_destroys_nothing_that_survives() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = Mosquitto::start(folder.path());
    let mut network = Counted::start(&Layout { broker: Some(broker.port), ..Layout::default() });
    network.poll_for(3);
    let (spool, image) = (network.folder.path().join("spool"), network.folder.path().join("image"));
    network.gateway.program.kill();
    copy(&spool, &image);
    network.gateway.start_again();
    network.progress(20);
    disturb(&mut network, &broker);
    network.gateway.program.kill();
    let stored_before = network.judge().look().labels;
    std::fs::remove_dir_all(&spool).expect("a spool to replace");
    copy(&image, &spool);
    let back_ms = unix_ms();
    network.gateway.start_again();
    network.progress(5);
    // It would announce what it holds within a minute by itself.
    disturb(&mut network, &broker);
    let incident = network.wait_for_incident("possible_loss", 1);
    let verdict = network.judge().look();
    let harm = lost(&verdict, &stored_before);
    fault("F23", "old card image put back", "kill -9, spool directory replaced by an older copy").came_to(
        "1 image",
        harm,
        format!(
            "{} readings; incident {:.1} s after the return: {}",
            verdict.readings,
            after_s(&incident, back_ms),
            incident["sentence"]["en"].as_str().unwrap_or_default()
        ),
    );
    assert_eq!(harm, Harm::default());
}

#[test]
fn a_cloned_gateway_is_told_and_the_readings_of_both_are_stored() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = Mosquitto::start(folder.path());
    let mut network = Counted::start(&Layout { broker: Some(broker.port), ..Layout::default() });
    network.poll_for(3);
    network.gateway.program.kill();
    let other = folder.path().join("clone");
    copy(&network.folder.path().join("spool"), &other.join("spool"));
    // The clone stands in a field of its own, whose numbers begin at a million.
    let elsewhere = TrueField::start("127.0.0.1", 1, 1_000_001);
    TrueField::write_profile(&other, WORDS);
    let began_ms = unix_ms();
    network.gateway.start_again();
    let clone = Gateway::start(&other, &configuration(&elsewhere, "127.0.0.1", broker.port, 5));
    let incident = network.wait_for_incident("clone", 1);
    network.poll_for(if night() { 600 } else { 15 });
    let clone_judge = Judge {
        field: &elsewhere,
        ingestor: &network.ingestor,
        gateway: GATEWAY,
        words: 0,
        time_ms_max: 1_000,
        wrong_by_ms: None,
    };
    let (mine, its) = (network.accepted(), accepted(&clone));
    // One client id, two clients: a broker lets in one at a time, and they take turns.
    network.judge().wait_for_accepted(&mine, 200);
    let its_verdict = clone_judge.wait_for_accepted(&its, 200);
    let verdict = Judge { words: 0, ..network.judge() }.look();
    let both: BTreeSet<_> = mine.union(&its).cloned().collect();
    let harm = lost(&verdict, &both).and(its_verdict.harm);
    fault("F23", "gateway cloned", "spool directory copied, both gateways run").came_to(
        "1 clone",
        harm,
        format!(
            "{} + {} records of both; clone alarm {:.1} s after both ran",
            mine.len(),
            its.len(),
            after_s(&incident, began_ms)
        ),
    );
    assert_eq!(harm, Harm::default());
}

#[test]
fn a_centre_that_is_put_back_from_an_older_copy_gets_everything_again() {
    let mut network = Counted::start(&Layout::default());
    network.poll_for(3);
    let (here, backup) = (network.folder.path().to_owned(), network.folder.path().join("backup"));
    network.ingestor.program.kill();
    copy_store(&here, &backup);
    network.ingestor.start_again();
    let seconds = if night() { 1_800 } else { 30 };
    let backup_ms = unix_ms();
    network.poll_for(seconds);
    network.judge().wait_for_all(60);
    network.ingestor.program.kill();
    let stored_before_ms = unix_ms();
    copy_store(&backup, &here);
    let began = Instant::now();
    network.ingestor.start_again();
    let up_s = began.elapsed().as_secs_f64();
    let target = ((stored_before_ms - backup_ms) / 100) as usize;
    wait_for("what the copy did not hold", 120, || {
        (network.judge().look_at_counts().len() > target).then_some(())
    });
    let replay_s = began.elapsed().as_secs_f64() - up_s;
    let verdict = network.judge().wait_for_all(60);
    network.wait_for_incident("server_restored", 1);
    let forgotten_s = (stored_before_ms - backup_ms) as f64 / 1_000.0;
    fault("F24", "ingestor put back from an older copy", "kill -9, store replaced by an older copy").came_to(
        "1 restore",
        verdict.harm,
        format!(
            "{} readings; {forgotten_s:.0} s forgotten, back {replay_s:.1} s after the start: {:.0} × real time",
            verdict.readings,
            forgotten_s / replay_s.max(0.05)
        ),
    );
    assert_eq!(verdict.harm, Harm::default());
}
