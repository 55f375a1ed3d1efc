//! F40: the readings move from the centre's own file to an engine that others run, and the move is killed.

#[path = "moves/lived.rs"]
mod lived;

use std::path::Path;

use serde_json::Value;
use sitian_ingest::Restored;
use sitian_model::Epoch;
use sitian_registry::{ListFilter, Registry};
use sitian_store_embedded::{Reader, examine};
use sitian_tests_system::rig::Plan;
use sitian_tests_system::strace::{inject, injected, works};
use sitian_tests_system::tally::{Fault, NONE, teeth, times};
use sitian_tests_system::{Ingestor, Rig, Victoria, get};

/// What belongs to a store that nobody has open.
const FILES: [&str; 3] = ["centre.db", "centre.db-wal", "centre.db-shm"];

/// Copies a store, nothing of what was there before stays.
fn copy(from: &Path, to: &Path) {
    for name in FILES {
        let _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("copies");
        }
    }
}

fn stop(rig: &mut Rig) {
    assert_eq!(rig.ingestor.program.end(), Some(0));
}

#[test]
fn a_move_to_another_engine_that_is_killed_anywhere_can_be_made_again_and_costs_nothing() {
    let fault = Fault {
        number: "F40",
        title: "readings moved to another engine, killed",
        injected: "strace, SIGKILL of the move at the n-th sendto, recvfrom, pwrite64, fdatasync, fsync, ftruncate",
    };
    if let Err(why) = works() {
        return fault.skipped(why);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Victoria::start(folder.path());
    let mut rig = Rig::start(folder, &Plan { points: 3, ..Plan::default() });
    let here = rig.folder.path().to_owned();
    let (kept, left) = (here.join("kept"), here.join("left"));
    [&kept, &left].into_iter().for_each(|folder| std::fs::create_dir(folder).expect("a fresh folder"));
    rig.accepts(30);
    stop(&mut rig);
    copy(&here, &kept);
    let (mut again, mut went_on) = (0, 0);
    // Questions and answers of the engine first, then what the store's last transaction does to its file.
    let calls =
        [("sendto", 12), ("recvfrom", 8), ("pwrite64", 12), ("fdatasync", 4), ("fsync", 2), ("ftruncate", 2)];
    for (call, most) in calls {
        for n in 1..=times(most, 3 * most) {
            let rule = format!("{call}:signal=KILL:when={n}");
            let (_, said) = rig.ingestor.move_readings(&engine.settings(), &[], &inject(&here, &[&rule]));
            copy(&here, &left);
            let (whole, told) = rig.ingestor.move_readings(&engine.settings(), &[], &[]);
            assert!(whole, "after a kill at {call} {n}: {said}\n{told}");
            let over = told.contains("nothing is to be moved");
            again += usize::from(!over);
            if n % 4 == 0 && !over {
                // What the kill left goes on with the embedded engine.
                copy(&left, &here);
                rig.ingestor.start_again();
                rig.accepts(2);
                rig.settle(60);
                stop(&mut rig);
                copy(&here, &kept);
                went_on += 1;
            }
            copy(&kept, &here);
        }
    }
    let (whole, said) = rig.ingestor.move_readings(&engine.settings(), &[], &[]);
    assert!(whole, "{said}");
    rig.ingestor.set(&engine.settings());
    rig.ingestor.start_again();
    rig.accepts(10);
    let (verdict, stored) = rig.settle(60);
    let kills = injected(&here);
    let note = format!(
        "{} readings; {again} of them moved again, {went_on} went on with the embedded engine",
        verdict.readings
    );
    fault.came_to(format!("{kills} kills"), verdict.harm, note);
    assert_eq!((verdict.harm, verdict.skipped, stored.gaps.len()), (NONE, 0, 0));
    assert!(
        kills > 2 && again > 0 && (went_on > 0 || teeth()),
        "{kills} kills, {again} again, {went_on} went on"
    );
}

/// What a centre shows of its readings, point by point.
struct Shown {
    rows: Vec<Vec<Value>>,
    hours: Vec<Value>,
    corrections: Vec<Value>,
}

fn point(n: u32) -> String {
    format!("dangzhai-0{}/soil-1/p{}", n / lived::POINTS + 1, n % lived::POINTS)
}

fn shown(ingestor: &Ingestor) -> Shown {
    let mut shown = Shown { rows: Vec::new(), hours: Vec::new(), corrections: Vec::new() };
    let time = |ms: i64| jiff::Timestamp::from_millisecond(ms).expect("a moment").to_string();
    let span =
        format!("from={}&to={}", time(lived::START_MS), time(lived::START_MS + (lived::ROWS + 60) * 60_000));
    for n in 0..u32::from(lived::GATEWAYS) * lived::POINTS {
        let ask = |what: String| get(&ingestor.url(&format!("points/{}/{what}", point(n)))).expect("answers");
        // No question may be longer than a month.
        let old = ingestor.readings_between(&point(n), "1969-12-25T00:00:00Z", "1970-01-20T00:00:00Z");
        let new = ingestor.readings_between(&point(n), "2026-09-20T00:00:00Z", "2026-10-10T00:00:00Z");
        shown.rows.push([old, new].concat());
        shown.hours.push(ask(format!("aggregates?{span}&window=1h"))["items"].clone());
        shown.corrections.push(ask(format!("corrections?{span}"))["items"].clone());
    }
    shown
}

fn restored(store: &Path) -> Restored {
    Reader::open(store).expect("opens").restored().expect("answers")
}

/// Alike but for digits behind the twelfth.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            (a - b).abs() <= 1e-10 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn what_a_centre_shows_is_the_same_before_and_behind_a_move() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Victoria::start_keeping(folder.path(), "100y");
    let store = folder.path().join("centre.db");
    lived::fill(&store);
    let mut ingestor = Ingestor::start(folder.path(), None, &[]);
    let (before, registry) = (shown(&ingestor), restored(&store));
    let rows: usize = before.rows.iter().map(Vec::len).sum();
    assert_eq!(rows, 14_403, "the first hours have faded");
    assert!(before.hours[0][0]["count"].as_u64().is_some_and(|count| count > 50), "and are shown");
    let asked = |ingestor: &Ingestor, flags: &[&str]| ingestor.move_readings(&engine.settings(), flags, &[]);
    let (whole, said) = asked(&ingestor, &["--check", "--without-twins"]);
    assert!(whole && said.contains("14,401 go to victoriametrics"), "{said}");
    let (whole, said) = asked(&ingestor, &["--without-twins"]);
    assert!(!whole && said.contains("has it open; stop that process"), "{said}");
    assert_eq!(ingestor.program.end(), Some(0));
    let (whole, said) = asked(&ingestor, &[]);
    assert!(!whole && said.contains("add --without-twins to leave 1 behind"), "{said}");
    let (whole, said) = ingestor.move_readings(&["storage.engine=embedded".to_owned()], &[], &[]);
    assert!(!whole && said.contains("set storage.engine to victoriametrics or influxdb2"), "{said}");
    assert_eq!(Reader::open(&store).and_then(|reader| reader.holding()).expect("answers").points.len(), 6);

    let (whole, said) = asked(&ingestor, &["--without-twins"]);
    assert!(whole && said.contains("moved: 14,401 readings are in victoriametrics"), "{said}");
    ingestor.set(&engine.settings());
    ingestor.start_again();
    let mut after = shown(&ingestor);
    let mut expected = before.rows.clone();
    for rows in &mut expected {
        rows.retain(|row| row["seq"] != lived::odd_ones()[1].seq && row["seq"] != lived::odd_ones()[2].seq);
    }
    for (n, (found, expected)) in after.rows.iter().zip(&expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{}", point(n as u32));
        let other = found.iter().zip(expected).find(|(found, expected)| !alike(found, expected));
        assert!(other.is_none(), "{other:?}");
    }
    // What was left behind said that the sensor was silent.
    let mut hours = before.hours.clone();
    hours.remove(1);
    after.hours.remove(1);
    let other = after.hours.iter().zip(&hours).find(|(found, expected)| !alike(found, expected));
    assert!(other.is_none(), "{other:?}");
    assert_eq!(after.corrections, before.corrections);
    assert_eq!(before.corrections[0].as_array().map(Vec::len), Some(1));
    assert_eq!(format!("{:?}", restored(&store).epochs), format!("{:?}", registry.epochs), "watermarks stay");
    let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
    let quarantine = Reader::open(&store).expect("opens").quarantine(&all).expect("answers");
    let ranges: Vec<_> = quarantine.iter().map(|entry| entry.range).collect();
    assert_eq!(ranges, [Some((Epoch([17; 16]), 5_002, 5_003))], "what the engine does not keep");
    assert_eq!(ingestor.program.end(), Some(0));
    let (whole, said) = asked(&ingestor, &[]);
    assert!(whole && said.contains("nothing is to be moved"), "{said}");
    let found = examine(&store).expect("looks");
    assert_eq!((found.readings, found.findings), (0, Vec::new()));
}
