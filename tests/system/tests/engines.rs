//! The readings are in an engine that others run, and that engine is killed, kept away, frozen. The truth must come out all
//! the same, and people must be told meanwhile.

use std::time::Duration;

use sitian_tests_system::counted::Layout;
use sitian_tests_system::rig::Plan;
use sitian_tests_system::tally::{Fault, Harm, night, times};
use sitian_tests_system::{Counted, Rig, Victoria, get, wait_for};

fn network(engine: &Victoria) -> Counted {
    let settings = engine.settings();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Counted::start(&Layout { ingestor: &settings, ..Layout::default() })
}

/// What the API says of the centre.
fn status(network: &Counted) -> Option<String> {
    Some(get(&network.ingestor.url("health"))?["status"].as_str()?.to_owned())
}

fn judge(network: &Counted, fault: Fault, many: &str, note: &str) {
    let verdict = network.judge().wait_for_all(180);
    fault.came_to(many, verdict.harm, format!("{} readings; {note}", verdict.readings));
    assert_eq!(verdict.harm, Harm::default());
}

#[test]
fn an_engine_that_is_away_in_mid_ingest_costs_nothing_and_people_are_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut engine = Victoria::start(folder.path());
    let mut network = network(&engine);
    network.progress(20);
    engine.program.kill();
    wait_for("the API saying that the store refuses", 60, || (status(&network)? == "degraded").then_some(()));
    let before = network.stored();
    let away_s = if night() { 600 } else { 10 };
    network.poll_for(away_s);
    assert!(network.stored() - before <= 1.0, "nothing is shown that is not stored");
    engine.start_again();
    wait_for("the API saying that all is well", 120, || (status(&network)? == "ok").then_some(()));
    network.progress(20);
    let fault = Fault {
        number: "F37",
        title: "engine of the readings away in mid-ingest",
        injected: "kill -9 of VictoriaMetrics, started again later",
    };
    judge(&network, fault, &format!("1 time, {away_s} s"), "the API said degraded meanwhile");
}

#[test]
fn an_engine_and_a_centre_that_are_killed_in_turn_cost_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut engine = Victoria::start(folder.path());
    let mut network = network(&engine);
    let kills = times(4, 100);
    for n in 0..kills {
        network.poll_for(1 + n % 3);
        if n % 2 == 0 {
            engine.program.kill();
            engine.start_again();
        } else {
            network.ingestor.kill_and_restart();
        }
    }
    network.progress(20);
    let fault = Fault {
        number: "F37",
        title: "engine of the readings and ingestor killed in turn",
        injected: "kill -9 every 1 to 3 s",
    };
    judge(&network, fault, &format!("{kills} kills"), "rows first, then the watermark");
}

#[test]
fn a_gateway_that_stalls_loses_no_reading_although_an_engine_keeps_one_of_a_point_at_a_moment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Victoria::start(folder.path());
    let mut rig = Rig::start(folder, &Plan { ingestor: engine.settings().to_vec(), ..Plan::default() });
    rig.accepts(10);
    let stalls = times(20, 1_000) as u64;
    for n in 0..stalls {
        rig.gateway.program.signal("STOP");
        // Longer than a poll and shorter than two, or three: a late answer and the word about a missed poll come together.
        std::thread::sleep(Duration::from_millis(120 + n * 37 % 200));
        rig.gateway.program.signal("CONT");
        rig.accepts(3);
    }
    let (verdict, _) = rig.settle(60);
    let fault = Fault {
        number: "F37",
        title: "gateway stalls while the readings are in an engine",
        injected: "SIGSTOP for 120 to 320 ms, polls every 100 ms",
    };
    let note = format!("{} readings, {} of them of missed polls", verdict.readings, verdict.silent);
    fault.came_to(format!("{stalls} stalls"), verdict.harm, note);
    assert_eq!(verdict.harm, Harm::default());
}
