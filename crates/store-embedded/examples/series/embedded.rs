//! The embedded store: load, compact, ask, and kill.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sitian_ingest::Effect;
use sitian_model::{PointNo, Timestamp};
use sitian_registry::Transaction;
use sitian_series::contract::span;
use sitian_series::{AggregateQuery, Extras, Retention, Series};
use sitian_store_embedded::{Compactor, Progress, Store, examine};

use super::Outcome;
use super::field::{Field, INTERVAL_MS, START_MS, WALK, Walk};
use super::report::{Figures, best, peak_bytes};

const THIRTY_DAYS_MS: i64 = 30 * 86_400_000;

fn file(folder: &Path) -> PathBuf {
    folder.join("sitian.db")
}

fn idle(compactor: &mut Compactor) -> Outcome<()> {
    while compactor.step(Timestamp(0))? != Progress::Idle {}
    Ok(())
}

/// Loads all readings, a durable commit per batch, with compaction on a thread beside it. Returns the store and what
/// the commits took.
fn load(folder: &Path, series: u32, each: u64, beside: bool) -> Outcome<(Store, Vec<Duration>)> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder)?;
    let mut store = Store::open(&file(folder))?;
    let mut compactor = store.compactor(Retention::default())?;
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        while beside && ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            match compactor.step(Timestamp(0)) {
                Ok(Progress::Idle) => std::thread::sleep(Duration::from_millis(200)),
                Ok(_) => {}
                Err(error) => panic!("compaction: {error}"),
            }
        }
    });
    let mut field = Field::new(series, each);
    let mut took = Vec::new();
    while let Some(rows) = field.batch() {
        let transaction = Transaction { effects: vec![Effect::Rows(rows)], ..Transaction::default() };
        let begin = Instant::now();
        store.commit(&transaction)?;
        took.push(begin.elapsed());
    }
    drop(end);
    thread.join().map_err(|_| "the compaction thread ended by itself")?;
    Ok((store, took))
}

/// What the store does on these data.
pub fn figures(folder: &Path, series: u32, each: u64) -> Outcome<(Figures, Vec<Duration>)> {
    let (mut store, mut took) = load(folder, series, each, true)?;
    let loading: Duration = took.iter().sum();
    took.sort_unstable();
    store.seal()?;
    idle(&mut store.compactor(Retention::default())?)?;
    store.checkpoint()?;
    let readings = u64::from(series) * each;
    let bytes = std::fs::metadata(file(folder))?.len();
    let reader = store.reader();
    let points: Vec<PointNo> = (0..series.min(1_000)).map(PointNo).collect();
    let (found, latest) = best(|| Ok(reader.latest(&points)?))?;
    assert!(found.iter().all(Option::is_some), "every series has a latest reading");
    let to = START_MS + each as i64 * INTERVAL_MS;
    let from = (to - THIRTY_DAYS_MS).div_euclid(3_600_000) * 3_600_000;
    let (windows, hourly) = best(|| {
        let mut windows = 0;
        for point in (0..series.min(50)).map(PointNo) {
            let (span, extras) = (span(from, from + THIRTY_DAYS_MS), Extras::default());
            let query =
                AggregateQuery { point, span, window_ms: 3_600_000, offset_ms: 0, interval_ms: None, extras };
            windows += reader.aggregate(&query)?.iter().filter(|window| window.mean().is_some()).count();
        }
        Ok(windows)
    })?;
    assert!(windows > 0, "there are means");
    let figures = Figures {
        name: "sitian embedded",
        ingest_per_s: readings as f64 / loading.as_secs_f64(),
        bytes_per_reading: bytes as f64 / readings as f64,
        latest,
        hourly,
        peak_bytes: peak_bytes(None),
        note: "every batch synced before it counts; compaction beside",
    };
    Ok((figures, took))
}

/// The store alone, with more detail.
pub fn alone(folder: &Path, series: u32, each: u64) -> Outcome<()> {
    println!("{series} series of {each} readings; {WALK}");
    let begin = Instant::now();
    let (figures, took) = figures(folder, series, each)?;
    Figures::heading();
    figures.print();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    println!(
        "commit of {} readings: median {:?}, p99 {:?}, longest {:?}",
        Field::BATCH,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!("all of it took {:?}", begin.elapsed());
    shares(&file(folder), u64::from(series) * each)?;
    let begin = Instant::now();
    let store = Store::open(&file(folder))?;
    println!("open {:?}, {:?}", begin.elapsed(), store.extent()?);
    let begin = Instant::now();
    count(&store, series, each)?;
    println!(
        "every reading compared with what was put in: none lost, doubled or changed ({:?})",
        begin.elapsed()
    );
    drop(store);
    Ok(std::fs::remove_dir_all(folder)?)
}

/// Where the bytes are.
fn shares(path: &Path, readings: u64) -> Outcome<()> {
    let sql = rusqlite::Connection::open(path)?;
    let number = |query: &str| sql.query_row(query, [], |line| line.get::<_, i64>(0));
    let bodies = number("SELECT sum(length(body)) FROM chunk")?;
    let hours = number("SELECT sum(length(body)) FROM hours")?;
    let free = number("PRAGMA freelist_count")? * number("PRAGMA page_size")?;
    let all = std::fs::metadata(path)?.len() as i64;
    let each = |bytes: i64| bytes as f64 / readings as f64;
    println!(
        "bytes a reading: readings {:.2}, hours {:.2}, free pages {:.2}, the rest of the file {:.2}",
        each(bodies),
        each(hours),
        each(free),
        each(all - bodies - hours - free)
    );
    Ok(())
}

/// Compacts a store to the end, and says so at every step.
pub fn compact(folder: &Path) -> Outcome<()> {
    let store = Store::open(&file(folder))?;
    let mut compactor = store.compactor(Retention::default())?;
    let mut out = std::io::stdout();
    while compactor.step(Timestamp(0))? != Progress::Idle {
        out.write_all(b".")?;
        out.flush()?;
    }
    Ok(())
}

/// Compares every stored reading with what was put in.
fn count(store: &Store, series: u32, each: u64) -> Outcome<()> {
    (0..series).try_for_each(|point| same(store, point, each))
}

/// Compares the readings of a series with what was put in.
fn same(store: &Store, point: u32, each: u64) -> Outcome<()> {
    let (mut walk, mut seen, mut same) = (Walk::new(point), 0, true);
    store.reader().walk(PointNo(point), span(i64::MIN, i64::MAX), &mut |row| {
        seen += 1;
        same = *row == walk.row();
        same
    })?;
    if seen != each || !same {
        return Err(format!("series {point}: {seen} of {each} readings, the last one same: {same}").into());
    }
    Ok(())
}

/// The chunks of every series: how many, the sum and the highest of their numbers, their rows. Numbers are given once, so
/// a series of which this is the same as before has the same chunks as before.
fn shelves(folder: &Path) -> Outcome<HashMap<u32, [i64; 4]>> {
    let sql = rusqlite::Connection::open(file(folder))?;
    let mut chunks = sql.prepare("SELECT point, id, good + uncertain + bad FROM chunk")?;
    let mut lines = chunks.query([])?;
    let mut shelves: HashMap<u32, [i64; 4]> = HashMap::new();
    while let Some(line) = lines.next()? {
        let (id, rows): (i64, i64) = (line.get(1)?, line.get(2)?);
        let shelf = shelves.entry(line.get(0)?).or_default();
        *shelf = [shelf[0] + 1, shelf[1] + id, shelf[2].max(id), shelf[3] + rows];
    }
    Ok(shelves)
}

/// Loads without compaction, then lets a process compact and kills it, over and over.
pub fn kills(folder: &Path, series: u32, each: u64, kills: u64) -> Outcome<()> {
    println!("{series} series of {each} readings, then kill -9 in compaction {kills} times");
    let (mut store, _) = load(folder, series, each, false)?;
    store.seal()?;
    let before = store.extent()?.chunks;
    drop(store);
    println!("loaded: {before} chunks");
    let (mut dice, mut killed, mut ended) = (0x5EED_u64, 0, 0);
    let begin = Instant::now();
    count(&Store::open(&file(folder))?, series, each)?;
    let mut compared = shelves(folder)?;
    println!(
        "every reading compared ({:?}); from now on those of series whose chunks have changed",
        begin.elapsed()
    );
    while killed < kills && ended == 0 {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["compact".as_ref(), folder.as_os_str()])
            .stdout(Stdio::piped())
            .spawn()?;
        // Once it has said that a step is done it is in the next one.
        let mut dots = child.stdout.take().ok_or("no output")?;
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let steps = 1 + (dice >> 33) % 400;
        let mut byte = [0];
        let mut seen = 0;
        while seen < steps && std::io::Read::read(&mut dots, &mut byte)? == 1 {
            seen += 1;
        }
        if seen < steps {
            ended += 1;
        } else {
            std::thread::sleep(Duration::from_micros((dice >> 20) % 3_000));
            child.kill()?;
            killed += 1;
        }
        child.wait()?;
        let store = Store::open(&file(folder))?;
        let now = shelves(folder)?;
        let changed: Vec<u32> = (0..series).filter(|point| now.get(point) != compared.get(point)).collect();
        changed.iter().try_for_each(|point| same(&store, *point, each))?;
        println!(
            "kill {killed} after {seen} steps: {} chunks, all readings of {} series there",
            store.extent()?.chunks,
            changed.len()
        );
        compared = now;
    }
    count(&Store::open(&file(folder))?, series, each)?;
    let found = examine(&file(folder))?;
    if let Some(finding) = found.findings.first() {
        return Err(format!("{} findings; the first: {finding}", found.findings.len()).into());
    }
    println!("every reading compared once more; nothing is left to repair");
    println!(
        "{killed} kills in {:?}, {before} chunks at first; 0 lost, 0 doubled, 0 changed{}",
        begin.elapsed(),
        if ended > 0 { "; the compaction came to its end" } else { "" }
    );
    Ok(())
}
