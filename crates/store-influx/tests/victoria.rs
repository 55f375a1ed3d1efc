//! The port on a real VictoriaMetrics (Debian package `victoria-metrics`) passes the contract of the port.

mod real {
    pub mod running;
}

use std::sync::Arc;
use std::time::Duration;

use real::running::Running;
use sitian_model::{Cause, Epoch, EpochNo, PointNo, Row, Span, Timestamp};
use sitian_series::contract::{Engine, Need, Reference, alike, bad, good, span, suite, uncertain};
use sitian_series::{
    AggregateQuery, Append, AppendError, Cursor, Extras, Page, RangeQuery, Refused, Series, SeriesError,
    Window,
};
use sitian_store_influx::{Access, EngineError, Names, Patience, Reader, Tags, victoria};

/// The contract's cases play in the first hours of 1970, where this engine does not look; here they play whole days later.
const LATER_MS: i64 = 20_000 * 86_400_000;

const HOUR_MS: i64 = 3_600_000;

fn later(at: Timestamp) -> Timestamp {
    Timestamp(at.0.saturating_add(LATER_MS))
}

fn earlier(at: Timestamp) -> Timestamp {
    Timestamp(at.0.saturating_sub(LATER_MS))
}

struct Played {
    engine: sitian_store_influx::Engine,
}

#[derive(Clone)]
struct PlayedReader {
    reader: Reader,
}

fn access(running: &Running) -> Access {
    Access { url: running.url(), timeout: Duration::from_secs(60), keep_days: None, note: None }
}

/// Points 1 to 60 and the highest, which the cases use, as those of a gateway of their own.
fn names(gateway: &str) -> Arc<Names> {
    let names = Names::default();
    for no in (0..=60).chain([u32::MAX]) {
        let tags = Tags {
            gateway: gateway.into(),
            device: "a device, \"soil\" = 1".into(),
            point: format!("p.{no}"),
            measurement: "soil_moisture".into(),
            unit: "%".into(),
            ..Tags::default()
        };
        names.point(PointNo(no), tags).expect("can be written");
    }
    for no in 1..=3 {
        names.epoch(EpochNo(no), Epoch([no as u8 * 17; 16]));
    }
    Arc::new(names)
}

impl Append for Played {
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        let rows: Vec<Row> = rows.iter().map(|row| Row { at: later(row.at), ..*row }).collect();
        self.engine.append(&rows)
    }
}

impl Engine for Played {
    type Reader = PlayedReader;

    fn lacks(&self) -> &'static [Need] {
        &[Need::Labels, Need::Bits, Need::FarTimes]
    }

    fn settle(&mut self) {}

    fn settles(&self) -> bool {
        false
    }

    fn reader(&self) -> PlayedReader {
        PlayedReader { reader: self.engine.reader() }
    }
}

fn back(row: Row) -> Row {
    Row { at: earlier(row.at), ..row }
}

fn shifted(span: Span) -> Span {
    Span { from: later(span.from), to: later(span.to) }
}

impl Series for PlayedReader {
    fn latest(&self, points: &[PointNo]) -> Result<Vec<Option<Row>>, SeriesError> {
        Ok(self.reader.latest(points)?.into_iter().map(|row| row.map(back)).collect())
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, SeriesError> {
        let after = query.after.map(|cursor| Cursor { at: later(cursor.at), ..cursor });
        let page = self.reader.range(&RangeQuery { span: shifted(query.span), after, ..*query })?;
        let next = page.next.map(|cursor| Cursor { at: earlier(cursor.at), ..cursor });
        Ok(Page { rows: page.rows.into_iter().map(back).collect(), next })
    }

    fn walk(
        &self,
        point: PointNo,
        span: Span,
        each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), SeriesError> {
        self.reader.walk(point, shifted(span), &mut |row| each(&back(*row)))
    }

    fn walk_all(
        &self,
        points: &[PointNo],
        span: Span,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), SeriesError> {
        self.reader.walk_all(points, shifted(span), &mut |row| each(&back(*row)))
    }

    fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Window>, SeriesError> {
        let windows =
            self.reader.aggregate(&AggregateQuery { span: shifted(query.span), ..query.clone() })?;
        let back = |window: Window| Window { from: earlier(window.from), to: earlier(window.to), ..window };
        Ok(windows.into_iter().map(back).collect())
    }
}

#[test]
fn the_engine_passes_the_contract() {
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let mut games = 0;
    suite(|| {
        games += 1;
        let names = names(&format!("game-{games}"));
        let engine = victoria::connect(access(&running), names, Patience::default()).expect("is fit");
        Played { engine }
    });
    assert!(games > 50);
}

#[test]
fn a_server_that_would_count_doubles_is_refused_with_what_to_do() {
    let Some(running) = Running::start(&[]) else { return };
    let found = victoria::connect(access(&running), names("gw"), Patience::default());
    let Err(error @ EngineError::Unfit { .. }) = found else { panic!("{found:?}") };
    assert!(error.to_string().contains("start it with -dedup.minScrapeInterval=1ms"), "{error}");
}

#[test]
fn a_server_that_forgets_too_early_is_refused_with_what_to_do() {
    // The last of two flags is in force.
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms", "-retentionPeriod=2"]) else {
        return;
    };
    let connect = |keep_days| {
        let access = Access { keep_days, ..access(&running) };
        victoria::connect(access, names("gw"), Patience::default())
    };
    for (keep_days, what) in [
        (None, "it keeps readings for 62.0 days, and storage.retention.raw_days asks for ever"),
        (Some(63), "it keeps readings for 62.0 days, and storage.retention.raw_days asks for 63 days"),
    ] {
        let error = connect(keep_days).expect_err("forgets too early").to_string();
        assert!(error.contains(what) && error.contains("-retentionPeriod="), "{error}");
    }
    connect(Some(62)).expect("keeps what is asked for");
}

#[test]
fn a_snapshot_that_a_kill_left_behind_goes_at_the_next_start_and_those_of_others_stay() {
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let ask = |path: &str| {
        let page = ureq::get(format!("{}/snapshot/{path}", running.url())).call().expect("answers");
        page.into_body().read_to_string().expect("reads")
    };
    let snapshots = || ask("list").matches('-').count();
    let folder = tempfile::tempdir().expect("a folder");
    let note = folder.path().join("snapshot");
    let connect = || {
        let access = Access { note: Some(note.clone()), ..access(&running) };
        victoria::connect(access, names("gw"), Patience::default()).expect("is fit")
    };
    let now_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    for (noted, left) in [
        // Nothing of ours was under way, or it was an hour ago: what is there is somebody else's.
        (None, 1),
        (Some(now_ms - 3_600_000), 1),
        (Some(now_ms), 0),
    ] {
        ask("delete_all");
        ask("create");
        assert_eq!(snapshots(), 1);
        if let Some(noted) = noted {
            std::fs::write(&note, noted.to_string()).expect("writes");
        }
        let mut engine = connect();
        assert_eq!(snapshots(), left, "{noted:?}");
        assert_eq!(engine.append(&[good(1, LATER_MS, 1, 1.0)]).expect("takes it"), []);
        assert_eq!((snapshots(), note.exists()), (left, false), "nothing of ours stays");
    }
}

/// The server ends when a snapshot is removed that it is making.
#[test]
fn a_start_that_clears_up_after_a_kill_does_not_end_an_engine_that_others_write_to() {
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let note = folder.path().join("snapshot");
    let engine = victoria::connect(access(&running), names("gw"), Patience::default()).expect("is fit");
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..3 {
            let (mut engine, over) = (engine.clone(), &over);
            scope.spawn(move || {
                for seq in 0.. {
                    let row = good(n + 1, LATER_MS + seq as i64, seq, 1.0);
                    assert_eq!(engine.append(&[row]).expect("the engine lives"), []);
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let start = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            std::fs::write(&note, now.expect("after 1970").as_millis().to_string()).expect("writes");
            let access = Access { note: Some(note.clone()), ..access(&running) };
            victoria::connect(access, names("gw"), Patience::default()).map(drop)
        };
        let starts: Result<Vec<()>, EngineError> = (0..20).map(|_| start()).collect();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        starts.expect("the engine lives");
    });
}

#[test]
fn a_point_whose_base_is_renamed_goes_on_where_it_was() {
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let names = names("gw");
    let mut engine =
        victoria::connect(access(&running), Arc::clone(&names), Patience::default()).expect("is fit");
    // The values and quality before are greater than those behind.
    let rows: Vec<Row> = (0..8).map(|n| good(1, LATER_MS + n * 1_000, n as u64, 90.0 - n as f64)).collect();
    assert_eq!(engine.append(&rows[..5]).expect("takes all"), []);
    let tags = Tags {
        gateway: "gw".into(),
        device: "a device, \"soil\" = 1".into(),
        point: "p.1".into(),
        base: "another".into(),
        ..Tags::default()
    };
    names.point(PointNo(1), tags).expect("can be written");
    // Some came again under the new name.
    assert_eq!(engine.append(&rows[3..]).expect("takes all"), []);
    let reader = engine.reader();
    assert_eq!(reader.latest(&[PointNo(1)]).expect("answers"), [rows.last().copied()]);
    let query = RangeQuery { point: PointNo(1), span: span(0, i64::MAX), limit: 100, after: None };
    assert_eq!(reader.range(&query).expect("answers").rows, rows);
    let query = AggregateQuery {
        point: PointNo(1),
        span: span(LATER_MS, LATER_MS + HOUR_MS),
        window_ms: HOUR_MS,
        offset_ms: 0,
        interval_ms: None,
        extras: Extras::default(),
    };
    let mut reference = Reference::default();
    reference.append(&rows).expect("takes all");
    assert_eq!(reader.aggregate(&query).expect("answers"), reference.aggregate(&query).expect("answers"));
}

#[test]
fn rows_are_on_the_disk_when_append_returns_and_what_the_server_would_drop_is_refused() {
    let Some(mut running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let mut engine = victoria::connect(access(&running), names("gw"), Patience::default()).expect("is fit");
    let row = |n: i64| good(1, LATER_MS + n * 1_000, n as u64, n as f64 / 10.0);
    let mut rows: Vec<Row> = (0..200).map(row).collect();
    rows.insert(3, Row { at: Timestamp(-1), ..row(500) });
    rows.insert(100, Row { at: Timestamp(i64::MAX), ..row(501) });
    rows.push(Row { point: PointNo(999), ..row(502) });
    for _ in 0..3 {
        let refused = engine.append(&rows).expect("takes the others");
        assert_eq!(
            refused.iter().map(|refused| refused.index).collect::<Vec<_>>(),
            [3, 100, 202],
            "{refused:?}"
        );
    }
    running.kill_and_start();
    let (mut found, mut expected) = (Vec::new(), (0..200).map(row).collect::<Vec<_>>());
    let all = Span { from: Timestamp(i64::MIN), to: Timestamp(i64::MAX) };
    engine
        .reader()
        .walk(PointNo(1), all, &mut |row| {
            found.push(*row);
            true
        })
        .expect("answers after the kill");
    assert_eq!(found, expected);
    assert_eq!(engine.reader().latest(&[PointNo(1), PointNo(2)]).expect("answers"), [expected.pop(), None]);
}

#[test]
fn a_server_that_is_down_gives_the_rows_back_and_takes_them_when_it_is_up_again() {
    let Some(mut running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let patience = Patience { tries: 2, first: Duration::from_millis(1), longest: Duration::from_millis(2) };
    let mut engine = victoria::connect(access(&running), names("gw"), patience).expect("is fit");
    let rows: Vec<Row> = (0..50).map(|n| good(1, LATER_MS + n * 1_000, n as u64, n as f64)).collect();
    running.kill();
    let down = engine.append(&rows);
    assert!(matches!(down, Err(AppendError::Later { .. })), "{down:?}");
    assert!(engine.reader().latest(&[PointNo(1)]).is_err(), "no answer is no empty answer");
    running.start_again();
    assert_eq!(engine.append(&rows).expect("takes them"), []);
    assert_eq!(engine.reader().latest(&[PointNo(1)]).expect("answers"), [rows.last().copied()]);
}

#[test]
fn hours_over_a_month_are_worked_out_by_the_server_and_only_what_the_span_cuts_is_counted_from_rows() {
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let mut engine = victoria::connect(access(&running), names("gw"), Patience::default()).expect("is fit");
    let row = |n: i64| {
        let at = LATER_MS + n * 300_000 + n * 7_919 % 250;
        match n % 97 {
            5 | 6 => bad(1, at, n as u64, Cause::Timeout),
            7 => bad(1, at, n as u64, Cause::Checksum),
            8 => uncertain(1, at, n as u64, 1.5, Cause::Implausible),
            _ => good(1, at, n as u64, (n * 37 % 100) as f64 / 10.0),
        }
    };
    let rows: Vec<Row> = (0..8_640).filter(|n| !(3_000..3_100).contains(n)).map(row).collect();
    let mut reference = Reference::default();
    for rows in [&rows[..], &rows[100..200]] {
        assert_eq!(engine.append(rows).expect("takes all"), []);
        assert_eq!(reference.append(rows).expect("takes all"), []);
    }
    let exports = || {
        let page = ureq::get(format!("{}/metrics", running.url())).call().expect("answers");
        let text = page.into_body().read_to_string().expect("reads");
        let line =
            text.lines().find(|line| line.starts_with("vm_http_requests_total{path=\"/api/v1/export\"}"));
        line.and_then(|line| line.split(' ').next_back()?.parse::<u64>().ok()).expect("is counted")
    };
    // The last span cuts a window at either end.
    for (from, to, window_ms, offset_ms) in [
        (0, 30 * 24 * HOUR_MS, HOUR_MS, 0),
        (0, 30 * 24 * HOUR_MS, 24 * HOUR_MS, 0),
        (16 * HOUR_MS, 28 * 24 * HOUR_MS + 16 * HOUR_MS, 24 * HOUR_MS, -8 * HOUR_MS),
        (HOUR_MS / 2, 9 * HOUR_MS + HOUR_MS / 2, HOUR_MS, 0),
    ] {
        let query = AggregateQuery {
            point: PointNo(1),
            span: span(LATER_MS + from, LATER_MS + to),
            window_ms,
            offset_ms,
            interval_ms: Some(300_000),
            extras: Extras::default(),
        };
        let found = engine.reader().aggregate(&query).expect("answers");
        let expected = reference.aggregate(&query).expect("answers");
        assert_eq!(found.len(), expected.len(), "{query:?}");
        let differing = found.iter().zip(&expected).find(|(found, expected)| !alike(found, expected));
        assert!(differing.is_none(), "{query:?}: {differing:?}");
    }
    // The server's counters lag behind a little.
    let begin = std::time::Instant::now();
    while exports() < 2 && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(exports(), 2, "rows were fetched for the two windows that are cut");
}
