//! Measures durable ingest: `cargo run --release -p sitian-store-embedded --example ingest_rate -- [million rows] [folder]`.
//! Each commit holds 100 records of 60 readings; 10,000 points poll once a minute and walk like sensors.

use std::time::{Duration, Instant};

use sitian_ingest::Effect;
use sitian_model::{EpochNo, PointNo, Quality, Row, Timestamp};
use sitian_series::contract::span;
use sitian_series::{AggregateQuery, Extras, RangeQuery, Series};
use sitian_store_embedded::{Store, Transaction};

const POINTS: u32 = 10_000;
const RECORD_ROWS: u32 = 60;
const COMMIT_RECORDS: u32 = 100;
const MINUTE_MS: i64 = 60_000;

/// A field of sensors: tenths of a unit that take small steps, polled at a steady but not exact pace.
struct Field {
    tenths: Vec<i64>,
    next: u32,
    minute: i64,
    seed: u64,
}

impl Field {
    fn dice(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }

    fn row(&mut self) -> Row {
        let point = self.next;
        let dice = self.dice();
        let tenths = &mut self.tenths[point as usize];
        *tenths += [-1, 0, 0, 0, 1][(dice % 5) as usize];
        let at = self.minute * MINUTE_MS + i64::from(point) % MINUTE_MS + (dice >> 32) as i64 % 20;
        let row = Row {
            point: PointNo(point),
            at: Timestamp(at),
            value: Some(*tenths as f64 / 10.0),
            quality: Quality::Good,
            epoch: EpochNo(point / RECORD_ROWS),
            seq: self.minute as u64,
        };
        self.next += 1;
        if self.next == POINTS {
            (self.next, self.minute) = (0, self.minute + 1);
        }
        row
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let millions: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, Into::into).join("sitian-ingest-rate");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("sitian.db");
    let mut store = Store::open(&path)?;
    let mut field = Field { tenths: vec![250; POINTS as usize], next: 0, minute: 29_000_000, seed: 0x5EED };
    let start_ms = field.minute * MINUTE_MS;
    let commits = millions * 1_000_000 / u64::from(RECORD_ROWS * COMMIT_RECORDS);
    let mut pauses = Vec::new();
    for _ in 0..commits {
        let rows = (0..RECORD_ROWS * COMMIT_RECORDS).map(|_| field.row()).collect();
        let transaction = Transaction { effects: vec![Effect::Rows(rows)], ..Transaction::default() };
        let begin = Instant::now();
        store.commit(&transaction)?;
        pauses.push(begin.elapsed());
    }
    report(&mut pauses, commits);
    let begin = Instant::now();
    store.seal()?;
    println!("seal the rest    {:?}", begin.elapsed());
    let extent = store.extent()?;
    let rows = commits * u64::from(RECORD_ROWS * COMMIT_RECORDS);
    println!("on disk          {:.2} B per reading, {extent:?}", extent.bytes as f64 / rows as f64);
    query(&store, start_ms, field.minute * MINUTE_MS)?;
    drop(store);
    let begin = Instant::now();
    drop(Store::open(&path)?);
    println!("open             {:?}", begin.elapsed());
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn report(pauses: &mut [Duration], commits: u64) {
    let total: Duration = pauses.iter().sum();
    pauses.sort_unstable();
    let rows = commits * u64::from(RECORD_ROWS * COMMIT_RECORDS);
    println!("durable ingest   {:.0} readings/s ({rows} in {total:?})", rows as f64 / total.as_secs_f64());
    let at = |part: f64| pauses[((pauses.len() - 1) as f64 * part) as usize];
    println!("commit           median {:?}, p99 {:?}, longest {:?}", at(0.5), at(0.99), at(1.0));
}

fn query(store: &Store, from: i64, to: i64) -> Result<(), Box<dyn std::error::Error>> {
    let reader = store.reader();
    let begin = Instant::now();
    let mut rows = 0;
    for point in (0..50).map(PointNo) {
        rows += reader
            .range(&RangeQuery { point, span: span(from, to), limit: 100_000, after: None })?
            .rows
            .len();
    }
    println!("50 ranges        {rows} readings in {:?}", begin.elapsed());
    let begin = Instant::now();
    for point in (0..50).map(PointNo) {
        let query = AggregateQuery {
            point,
            span: span(from, to),
            window_ms: 3_600_000,
            offset_ms: 0,
            interval_ms: None,
            extras: Extras::default(),
        };
        reader.aggregate(&query)?;
    }
    println!("50 hourly means  {:?}", begin.elapsed());
    let begin = Instant::now();
    reader.latest(&(0..1_000).map(PointNo).collect::<Vec<_>>())?;
    println!("latest of 1,000  {:?}", begin.elapsed());
    Ok(())
}
