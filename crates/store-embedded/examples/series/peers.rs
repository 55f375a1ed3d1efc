//! The same readings in other engines, one behind the other: none disturbs another.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::Outcome;
use super::embedded;
use super::field::{Field, INTERVAL_MS, START_MS, WALK};
use super::line::{Server, body};
use super::report::{Figures, best, bytes_below, peak_bytes};

const THIRTY_DAYS_MS: i64 = 30 * 86_400_000;

/// Measures every engine that is installed.
pub fn compare(folder: &Path, series: u32, each: u64) -> Outcome<()> {
    println!("{series} series of {each} readings; {WALK}; batches of {} readings", Field::BATCH);
    Figures::heading();
    // Each in a process of its own would be fairer to memory figures of what comes later; the peak of this process is
    // that of the store, which comes first.
    let (ours, _) = embedded::figures(&folder.join("sitian"), series, each)?;
    ours.print();
    rows(&folder.join("rows"), series, each)?.print();
    match victoria(&folder.join("victoria"), series, each) {
        Ok(figures) => figures.print(),
        Err(error) => println!("victoria-metrics       not measured: {error}"),
    }
    match influx(&folder.join("influx"), series, each) {
        Ok(figures) => figures.print(),
        Err(error) => println!("influxdb 1             not measured: {error}"),
    }
    Ok(std::fs::remove_dir_all(folder)?)
}

fn fresh(folder: &Path) -> Outcome<()> {
    let _ = std::fs::remove_dir_all(folder);
    Ok(std::fs::create_dir_all(folder)?)
}

/// The last thirty days, on the hour.
fn span(each: u64) -> (i64, i64) {
    let to = START_MS + each as i64 * INTERVAL_MS;
    let from = (to - THIRTY_DAYS_MS).div_euclid(3_600_000) * 3_600_000;
    (from, from + THIRTY_DAYS_MS)
}

/// SQLite, one row a reading, without row ids, write-ahead log, every batch synced.
fn rows(folder: &Path, series: u32, each: u64) -> Outcome<Figures> {
    fresh(folder)?;
    let path = folder.join("rows.db");
    let mut connection = Connection::open(&path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;
         CREATE TABLE r (point INTEGER, at INTEGER, value REAL, PRIMARY KEY (point, at)) WITHOUT ROWID;",
    )?;
    let (mut field, mut took) = (Field::new(series, each), Duration::ZERO);
    while let Some(rows) = field.batch() {
        let begin = Instant::now();
        let sql = connection.transaction()?;
        for row in &rows {
            sql.prepare_cached("INSERT INTO r VALUES (?1, ?2, ?3)")?.execute(params![
                row.point.0,
                row.at.0,
                row.value
            ])?;
        }
        sql.commit()?;
        took += begin.elapsed();
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let (_, latest) = best(|| {
        for point in 0..series.min(1_000) {
            let mut one = connection
                .prepare_cached("SELECT at, value FROM r WHERE point = ?1 ORDER BY at DESC LIMIT 1")?;
            one.query_row([point], |line| line.get::<_, f64>(1))?;
        }
        Ok(())
    })?;
    let (from, to) = span(each);
    let (_, hourly) = best(|| {
        let mut means = connection.prepare_cached(
            "SELECT point, at / 3600000, avg(value) FROM r WHERE point = ?1 AND at >= ?2 AND at < ?3 GROUP BY 2",
        )?;
        let mut count = 0;
        for point in 0..series.min(50) {
            count += means.query_map(params![point, from, to], |line| line.get::<_, f64>(2))?.count();
        }
        Ok(count)
    })?;
    let readings = (u64::from(series) * each) as f64;
    Ok(Figures {
        name: "SQLite rows",
        ingest_per_s: readings / took.as_secs_f64(),
        bytes_per_reading: std::fs::metadata(&path)?.len() as f64 / readings,
        latest,
        hourly,
        peak_bytes: None,
        note: "every batch synced; memory is part of this program's",
    })
}

/// A server that is ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> Outcome<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start(command: &mut Command) -> Outcome<Running> {
    Ok(Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
}

/// Waits until the files below a folder stop changing for five seconds, two minutes at most. Returns their bytes.
fn settled(folder: &Path) -> u64 {
    let (mut bytes, mut quiet) = (bytes_below(folder), 0);
    for _ in 0..120 {
        std::thread::sleep(Duration::from_secs(1));
        let now = bytes_below(folder);
        quiet = if now == bytes { quiet + 1 } else { 0 };
        bytes = now;
        if quiet == 5 {
            break;
        }
    }
    bytes
}

fn send(server: &Server, path: &str, series: u32, each: u64) -> Outcome<Duration> {
    let (mut field, mut took) = (Field::new(series, each), Duration::ZERO);
    while let Some(rows) = field.batch() {
        let body = body(&rows);
        let begin = Instant::now();
        server.post(path, &body)?;
        took += begin.elapsed();
    }
    Ok(took)
}

fn names(series: u32) -> String {
    (0..series.min(50)).map(|point| point.to_string()).collect::<Vec<_>>().join("|")
}

fn victoria(folder: &Path, series: u32, each: u64) -> Outcome<Figures> {
    fresh(folder)?;
    let port = free_port()?;
    let running = start(Command::new("victoria-metrics").args([
        format!("-storageDataPath={}", folder.display()),
        format!("-httpListenAddr=127.0.0.1:{port}"),
        "-retentionPeriod=100y".to_owned(),
        "-search.disableCache".to_owned(),
        "-search.maxPointsPerTimeseries=1000000".to_owned(),
    ]))?;
    let server = Server::new(port);
    server.wait("/health")?;
    let took = send(&server, "/write?precision=ms", series, each)?;
    server.get("/internal/force_flush", &[])?;
    server.get("/internal/force_merge", &[])?;
    let bytes = settled(folder);
    let (from, to) = span(each);
    let (end, from_s, to_s) = (
        ((START_MS + each as i64 * INTERVAL_MS) / 1_000).to_string(),
        (from / 1_000 + 3_600).to_string(),
        (to / 1_000).to_string(),
    );
    let (answer, latest) =
        best(|| server.get("/api/v1/query", &[("query", "last_over_time(r_v[10m])"), ("time", &end)]))?;
    expect(&answer, "\"metric\"", series.min(1_000) as usize)?;
    let means = format!("avg_over_time(r_v{{p=~\"{}\"}}[1h])", names(series));
    let asked = [("query", means.as_str()), ("start", &from_s), ("end", &to_s), ("step", "1h")];
    let (answer, hourly) = best(|| server.get("/api/v1/query_range", &asked))?;
    expect(&answer, "\"metric\"", series.min(50) as usize)?;
    let readings = (u64::from(series) * each) as f64;
    Ok(Figures {
        name: "victoria-metrics 1.79",
        ingest_per_s: readings / took.as_secs_f64(),
        bytes_per_reading: bytes as f64 / readings,
        latest,
        hourly,
        peak_bytes: peak_bytes(Some(running.0.id())),
        note: "answers before anything is on disk: up to seconds are lost in a crash",
    })
}

fn influx(folder: &Path, series: u32, each: u64) -> Outcome<Figures> {
    fresh(folder)?;
    let (port, other) = (free_port()?, free_port()?);
    let place = |name: &str| folder.join(name).display().to_string();
    let running = start(
        Command::new("influxd")
            .args(["run", "-config", "/dev/null"])
            .env("INFLUXDB_REPORTING_DISABLED", "true")
            .env("INFLUXDB_META_DIR", place("meta"))
            .env("INFLUXDB_DATA_DIR", place("data"))
            .env("INFLUXDB_DATA_WAL_DIR", place("wal"))
            .env("INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION", "5s")
            .env("INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION", "10s")
            .env("INFLUXDB_HTTP_BIND_ADDRESS", format!("127.0.0.1:{port}"))
            .env("INFLUXDB_HTTP_LOG_ENABLED", "false")
            .env("INFLUXDB_BIND_ADDRESS", format!("127.0.0.1:{other}")),
    )?;
    let server = Server::new(port);
    server.wait("/ping")?;
    server.post("/query?q=CREATE%20DATABASE%20b", "")?;
    let took = send(&server, "/write?db=b&precision=ms", series, each)?;
    std::thread::sleep(Duration::from_secs(15));
    let bytes = settled(&folder.join("data")) + bytes_below(&folder.join("wal"));
    let (from, to) = span(each);
    let asked = [("db", "b"), ("epoch", "ms"), ("q", "SELECT last(v) FROM r GROUP BY p")];
    let (answer, latest) = best(|| server.get("/query", &asked))?;
    expect(&answer, "\"tags\"", series.min(1_000) as usize)?;
    let means = format!(
        "SELECT mean(v) FROM r WHERE p =~ /^({})$/ AND time >= {from}ms AND time < {to}ms GROUP BY time(1h), p",
        names(series)
    );
    let (answer, hourly) = best(|| server.get("/query", &[("db", "b"), ("epoch", "ms"), ("q", &means)]))?;
    expect(&answer, "\"tags\"", series.min(50) as usize)?;
    let readings = (u64::from(series) * each) as f64;
    Ok(Figures {
        name: "influxdb 1.6",
        ingest_per_s: readings / took.as_secs_f64(),
        bytes_per_reading: bytes as f64 / readings,
        latest,
        hourly,
        peak_bytes: peak_bytes(Some(running.0.id())),
        note: "every batch synced",
    })
}

/// An engine that answers quickly because it answers less would win for nothing.
fn expect(answer: &str, mark: &str, count: usize) -> Outcome<()> {
    let found = answer.matches(mark).count();
    if found == count { Ok(()) } else { Err(format!("{found} series answered instead of {count}").into()) }
}
