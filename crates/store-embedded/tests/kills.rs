//! Processes that die while they compact: `kill -9` in the middle of a step loses nothing, doubles nothing and leaves
//! nothing to repair. A program of its own, because it starts itself as the process that is killed.

#[path = "../../../tests/system/src/tally.rs"]
mod tally;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use sitian_ingest::Effect;
use sitian_model::{PointNo, Row, Timestamp};
use sitian_registry::Transaction;
use sitian_series::contract::{good, span};
use sitian_series::{Retention, Series};
use sitian_store_embedded::{Progress, SealLimits, Store, examine};

/// Rows of each point, and how many of them a chunk has before compaction.
const ROWS: i64 = 1_200;
const CHUNK: i64 = 20;
/// Points that have to be compacted per kill.
const POINTS_PER_KILL: u32 = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("compact") => compact(Path::new(&arguments[2])),
        // Test runners ask for names first.
        Some("--list") => println!("a_kill_in_compaction_loses_nothing: test"),
        _ => a_kill_in_compaction_loses_nothing(),
    }
}

/// Compacts to the end, and says so after every step.
fn compact(path: &Path) {
    let store = Store::open(path).expect("opens");
    let mut compactor = store.compactor(Retention::default()).expect("opens a second time");
    let mut out = std::io::stdout();
    while compactor.step(Timestamp(0)).expect("compacts") != Progress::Idle {
        out.write_all(b".").and_then(|()| out.flush()).expect("the parent listens");
    }
}

fn row(point: u32, n: i64) -> Row {
    good(point, n * 60_000 + i64::from(point), n as u64, (n * 7_919 % 1_000) as f64 / 10.0)
}

fn a_kill_in_compaction_loses_nothing() {
    let kills = tally::times(10, 50) as u32;
    let points = kills * POINTS_PER_KILL;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    fill(&path, points);
    let mut killed = 0;
    for round in 0.. {
        if killed == kills {
            break;
        }
        // Killed while it is in the step behind the last one that it told about.
        let steps = 1 + round % 5;
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["compact".as_ref(), path.as_os_str()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut dots = vec![0; steps];
        let told = child.stdout.take().expect("its output").read_exact(&mut dots);
        assert!(told.is_ok(), "compaction ended after {killed} kills: there is too little to do");
        child.kill().expect("is killed");
        assert!(!child.wait().expect("ends").success(), "it was still at work");
        killed += 1;
        verify(&path, points);
    }
    let fault = tally::Fault {
        number: "F2",
        title: "store killed amid compaction",
        injected: "kill -9 within a step",
    };
    let readings = i64::from(points) * ROWS;
    fault.came_to(
        format!("{killed} kills"),
        tally::NONE,
        format!("{readings} readings compared after every kill, nothing left to repair"),
    );
}

/// Many small chunks of every point.
fn fill(path: &Path, points: u32) {
    let limits = SealLimits { rows: 1, slice_rows: usize::MAX, ..SealLimits::default() };
    let mut store = Store::open_with(path, limits).expect("opens");
    for from in (0..ROWS).step_by(CHUNK as usize) {
        let rows = (0..points).flat_map(|point| (from..from + CHUNK).map(move |n| row(point, n)));
        let effects = vec![Effect::Rows(rows.collect())];
        store.commit(&Transaction { effects, ..Transaction::default() }).expect("commits");
    }
    store.seal().expect("seals");
}

fn verify(path: &Path, points: u32) {
    let store = Store::open(path).expect("opens after the kill");
    for point in 0..points {
        let mut n = 0;
        let walked = store.reader().walk(PointNo(point), span(i64::MIN, i64::MAX), &mut |found| {
            assert_eq!(*found, row(point, n));
            n += 1;
            true
        });
        walked.expect("reads");
        assert_eq!(n, ROWS, "rows of point {point}");
    }
    assert_eq!(examine(path).expect("looks").findings, []);
}
