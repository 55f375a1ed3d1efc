//! F1, F2, F17: `kill -9` of each part during polling: every value that was accepted is stored once, in order.
//!
//! A kill of broker or ingestor must not cost a single poll. A kill of the gateway may cost the polls that it had not
//! accepted yet (delivery contract, state 0): its log says what was accepted, and all of that must be there.

use std::time::{Duration, Instant};

use sitian_tests_system::oracle::Verdict;
use sitian_tests_system::rig::Plan;
use sitian_tests_system::tally::{Fault, NONE, times};
use sitian_tests_system::{Rig, wait_for};

/// A rig that is only ever killed.
fn start() -> Rig {
    Rig::start(tempfile::tempdir().expect("a temporary folder"), &Plan::default())
}

/// Lets so many polls be accepted, and a bit: the kill meets any moment.
fn go_on(rig: &mut Rig, kill: usize) {
    if !kill.is_multiple_of(3) {
        rig.accepts(1);
    }
    std::thread::park_timeout(Duration::from_millis(kill as u64 * 37 % 130));
}

#[test]
fn killing_the_broker_loses_and_doubles_nothing() {
    let fault =
        Fault { number: "F17", title: "broker killed, nothing remembered", injected: "kill -9 of Mosquitto" };
    let (mut rig, kills) = (start(), times(30, 300));
    for kill in 0..kills {
        go_on(&mut rig, kill);
        rig.broker.kill_and_restart();
    }
    rig.accepts(2);
    let (Verdict { harm, holes, readings, .. }, _) = rig.settle(60);
    fault.came_to(format!("{kills} kills"), harm, format!("{readings} readings, {holes} holes"));
    assert_eq!((harm, holes), (NONE, 0));
}

#[test]
fn killing_the_ingestor_loses_and_doubles_nothing() {
    let fault = Fault { number: "F2", title: "ingestor killed", injected: "kill -9" };
    let (mut rig, kills) = (start(), times(100, 1_000));
    for kill in 0..kills {
        go_on(&mut rig, kill);
        rig.ingestor.kill_and_restart();
    }
    rig.accepts(2);
    let (Verdict { harm, holes, readings, .. }, _) = rig.settle(60);
    let forgotten = rig.incidents("server_restored");
    let note = format!("{readings} readings, {holes} holes, {forgotten} acknowledged ones forgotten");
    fault.came_to(format!("{kills} kills"), harm, note);
    assert_eq!((harm, holes, forgotten), (NONE, 0, 0));
}

#[test]
fn killing_the_gateway_loses_nothing_accepted_and_doubles_nothing() {
    let fault = Fault { number: "F1", title: "gateway killed", injected: "kill -9 at random" };
    let kills = times(200, 2_000);
    let (mut killed, mut readings, mut unaccepted, mut first_polls) = (0, 0, 0, Vec::new());
    while killed < kills {
        // The centre lets a gateway in that starts 256 times at once; beyond that it makes it wait.
        let life = (kills - killed).min(240);
        let mut rig = start();
        for kill in killed..killed + life {
            go_on(&mut rig, kill);
            let reads = rig.counter.reads();
            let started = Instant::now();
            rig.gateway.kill_and_restart();
            wait_for("the first poll", 20, || (rig.counter.reads() > reads).then_some(()));
            first_polls.push(started.elapsed().as_millis());
        }
        rig.accepts(2);
        let (verdict, _) = rig.settle(120);
        assert_eq!(verdict.harm, NONE);
        (killed, readings, unaccepted) =
            (killed + life, readings + verdict.readings, unaccepted + verdict.holes);
    }
    first_polls.sort_unstable();
    let (usual, slowest) = (first_polls[kills / 2], first_polls[kills - 1]);
    let note = format!(
        "{readings} readings, {unaccepted} polls not accepted yet; first poll after {usual} ms, at most {slowest} ms"
    );
    fault.came_to(format!("{kills} kills"), NONE, note);
    // Polls of 100 ms, gathered for at most 500 ms before they are accepted, plus one under way.
    assert!(unaccepted <= 7 * kills as u64, "{unaccepted} polls lost by {kills} kills");
}
