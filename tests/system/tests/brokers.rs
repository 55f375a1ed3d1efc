//! The pipe betrays: the broker is killed and forgets, or lies; the centre is killed with its broker, or is slow. The
//! store must hold the truth all the same.

use std::time::Instant;

use sitian_tests_system::counted::Layout;
use sitian_tests_system::liar::{Liar, Lies, Told};
use sitian_tests_system::tally::{Fault, Harm, night, times};
use sitian_tests_system::{Counted, Mosquitto};

/// Waits until all is stored, and leaves the row.
fn judge(network: &Counted, fault: Fault, many: &str, note: &str) {
    let ended = Instant::now();
    let verdict = network.judge().wait_for_all(120);
    let caught_up_s = ended.elapsed().as_secs_f64();
    let note =
        format!("{} readings; {note}caught up {caught_up_s:.1} s after the last fault", verdict.readings);
    fault.came_to(many, verdict.harm, note);
    assert_eq!(verdict.harm, Harm::default());
}

#[test]
fn a_broker_that_is_killed_and_wiped_every_few_seconds_costs_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut broker = Mosquitto::start(folder.path());
    let mut network = Counted::start(&Layout { broker: Some(broker.port), ..Layout::default() });
    let kills = times(6, 200);
    for n in 0..kills {
        // Whether or not anything got through meanwhile.
        network.poll_for(2 + n % 3);
        broker.kill();
        network.poll_for(n % 3);
        broker.start_again();
    }
    let fault = Fault {
        number: "F17",
        title: "broker killed and wiped every 2 to 4 s",
        injected: "Mosquitto without persistence, kill -9",
    };
    judge(&network, fault, &format!("{kills} kills"), "");
}

#[test]
fn a_centre_that_is_killed_with_its_broker_costs_nothing() {
    let mut network = Counted::start(&Layout::default());
    let kills = times(6, 200);
    for n in 0..kills {
        network.poll_for(2 + n % 3);
        network.ingestor.kill_and_restart();
    }
    let fault = Fault {
        number: "F17",
        title: "ingestor killed together with its embedded broker",
        injected: "kill -9 every 2 to 4 s",
    };
    judge(&network, fault, &format!("{kills} kills"), "");
}

#[test]
fn a_broker_that_confirms_and_then_drops_doubles_shuffles_and_replays_changes_nothing() {
    let lies = Lies {
        dropped_percent: 10,
        doubled_percent: 10,
        replayed_percent: 10,
        window: 1_000,
        window_ms: 700,
    };
    let liar = Liar::start(lies);
    let mut network = Counted::start(&Layout { broker: Some(liar.port), ..Layout::default() });
    network.poll_for(if night() { 3_600 } else { 30 });
    liar.repent();
    let Told { taken, dropped, doubled, replayed, overtaken } = liar.told();
    let fault = Fault {
        number: "F18",
        title: "lying broker between real processes",
        injected: "broker of our own: PUBACK, then drop 10 %, deliver twice 10 %, replay 10 %, shuffle within 0.7 s",
    };
    assert!(dropped > 0 && doubled > 0 && replayed > 0 && overtaken > 0, "it lied in every way");
    let note = format!("{dropped} dropped, {doubled} doubled, {replayed} replayed, {overtaken} overtaken; ");
    judge(&network, fault, &format!("{taken} messages"), &note);
}

#[test]
fn a_centre_whose_disk_takes_two_seconds_per_commit_loses_nothing_and_fills_no_broker() {
    let fault = Fault {
        number: "F19",
        title: "slow ingestor",
        injected: "strace: each fdatasync and fsync of the ingestor takes 2 s more",
    };
    let delay = "--inject=fdatasync,fsync:delay_enter=2000000";
    // -D: the traced program is our child, and ends when we kill it.
    let under = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", delay];
    if !std::process::Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        return fault.skipped("strace is not installed, or may not trace here");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = Mosquitto::start(folder.path());
    let before_kib = resident_kib(broker.id());
    let mut network =
        Counted::start(&Layout { broker: Some(broker.port), ingestor_under: &under, ..Layout::default() });
    network.poll_for(if night() { 3_600 } else { 20 });
    let grown_kib = resident_kib(broker.id()).saturating_sub(before_kib);
    judge(&network, fault, "1 centre", &format!("broker grew by {grown_kib} KiB; "));
}

/// Resident memory of a process.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
