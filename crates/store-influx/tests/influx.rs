//! The port on InfluxDB 2: a conversation as the server's documentation and sources tell it, word by word; the contract of
//! the port on a server that pretends to be one; and the same contract on a real one wherever there is one:
//! `INFLUXDB2_URL`, `INFLUXDB2_TOKEN`, `INFLUXDB2_ORG` and `INFLUXDB2_BUCKET` say where.

mod real {
    pub mod pretended;
    pub mod scripted;
    pub mod transcript;
}

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use real::pretended;
use real::scripted::{BUCKETS, HEALTH, Said, Scripted};
use real::transcript::Transcript;
use sitian_model::{Cause, Epoch, EpochNo, PointNo, Row};
use sitian_series::contract::{self, Need, Reference, bad, good, span, suite, uncertain};
use sitian_series::{AggregateQuery, Append, AppendError, Extras, RangeQuery, Refused, Series};
use sitian_store_influx::influx::{self, Bucket};
use sitian_store_influx::{Access, Engine, EngineError, Names, Patience, Reader, Tags, Token};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Points 0 to 60 and the highest, which the cases use, as those of a gateway of their own.
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

fn bucket() -> Bucket {
    Bucket { organisation: "Zhangye 司田".into(), bucket: "soil".into(), token: Token("secret".into()) }
}

fn connect(url: &str, names: Arc<Names>) -> Result<Engine, EngineError> {
    let access =
        Access { url: url.to_owned(), timeout: Duration::from_secs(60), keep_days: None, note: None };
    let patience = Patience { tries: 3, first: Duration::from_millis(1), longest: Duration::from_millis(5) };
    influx::connect(access, bucket(), names, patience)
}

struct Played(Engine);

impl Append for Played {
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        self.0.append(rows)
    }
}

impl contract::Engine for Played {
    type Reader = Reader;

    fn lacks(&self) -> &'static [Need] {
        &[Need::Labels, Need::FarTimes]
    }

    fn settle(&mut self) {}

    fn settles(&self) -> bool {
        false
    }

    fn reader(&self) -> Reader {
        self.0.reader()
    }
}

#[test]
fn the_room_passes_the_contract_on_a_server_that_pretends() {
    let server = pretended::start();
    let mut games = 0;
    suite(|| {
        games += 1;
        Played(connect(&server.url, names(&format!("game-{games}"))).expect("is fit"))
    });
    assert!(games > 50);
}

#[test]
fn a_real_server_passes_the_contract() {
    let of = |name: &str| std::env::var(format!("INFLUXDB2_{name}"));
    let (Ok(url), Ok(token), Ok(organisation), Ok(name)) = (of("URL"), of("TOKEN"), of("ORG"), of("BUCKET"))
    else {
        println!("skipped: INFLUXDB2_URL, _TOKEN, _ORG and _BUCKET do not say where an InfluxDB 2 is");
        return;
    };
    // What earlier runs left there is of other gateways.
    let run = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let mut games = 0;
    suite(|| {
        games += 1;
        let access =
            Access { url: url.clone(), timeout: Duration::from_secs(60), keep_days: None, note: None };
        let bucket =
            Bucket { organisation: organisation.clone(), bucket: name.clone(), token: Token(token.clone()) };
        let names = names(&format!("run-{run}-game-{games}"));
        Played(influx::connect(access, bucket, names, Patience::default()).expect("is fit"))
    });
}

#[test]
fn what_is_said_to_it_and_what_it_says_is_as_recorded() {
    let transcript = Transcript::read(include_str!("conversations/influxdb2.txt"));
    let server = transcript.serve();
    let names = names("gw-1");
    let mut engine = connect(&server.url, Arc::clone(&names)).expect("is fit");
    let at = |n: i64| 20_000 * DAY_MS + n * 250;
    let rows = [
        good(1, at(0), 40, 25.6),
        bad(1, at(1), 41, Cause::Timeout),
        uncertain(2, at(2), 41, -0.5, Cause::ClockUnknown),
    ];
    assert_eq!(engine.append(&rows).expect("takes them at the third try"), []);
    let refused = engine.append(&rows).expect("takes the other two");
    assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [2], "{refused:?}");
    assert!(refused[0].why.contains("already exists as type integer"), "{refused:?}");
    let refused = engine.append(&rows[..2]).expect("says that it takes none");
    assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [0, 1], "{refused:?}");
    match engine.append(&rows) {
        Err(AppendError::Later { retry_after_ms, source }) => {
            assert_eq!(retry_after_ms, Some(30_000));
            assert!(source.to_string().contains("org 0b has exceeded limited_write plan limit"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    let reader = engine.reader();
    assert_eq!(reader.latest(&[PointNo(2), PointNo(1)]).expect("answers"), [Some(rows[2]), Some(rows[1])]);
    let query = RangeQuery { point: PointNo(1), span: span(at(0), at(9)), limit: 1, after: None };
    let page = reader.range(&query).expect("answers");
    assert_eq!((page.rows, page.next.is_some()), (vec![rows[0]], true));
    let query = AggregateQuery {
        point: PointNo(1),
        span: span(at(0), at(0) + 2 * HOUR_MS),
        window_ms: HOUR_MS,
        offset_ms: 0,
        interval_ms: None,
        extras: Extras::default(),
    };
    let mut reference = Reference::default();
    reference.append(&rows).expect("takes all");
    assert_eq!(reader.aggregate(&query).expect("answers"), reference.aggregate(&query).expect("answers"));
    let failed = reader.latest(&[PointNo(1)]).expect_err("failed on the way");
    assert!(format!("{failed:?}").contains("memory allocation limit reached"), "{failed:?}");
    transcript.end();
}

/// Answers as a fit server but to paths that begin so.
fn but(path: &'static str, said: Said) -> Scripted {
    Scripted::start(move |heard| match heard.request.split(' ').nth(1).unwrap_or_default() {
        asked if asked.starts_with(path) => said.clone(),
        "/health" => ("200 OK", "", HEALTH.to_owned()),
        asked if asked.starts_with("/api/v2/buckets") => ("200 OK", "", BUCKETS.to_owned()),
        asked if asked.starts_with("/api/v2/write") => ("204 No Content", "", String::new()),
        _ => ("200 OK", "", String::new()),
    })
}

#[test]
fn what_keeps_it_from_starting_is_said_with_what_to_do() {
    let says = |code: &str, message: &str| format!(r#"{{"code":"{code}","message":"{message}"}}"#);
    let unauthorized = || says("unauthorized", "unauthorized access");
    let (ok, gone) = ("200 OK", "404 Not Found");
    for (path, status, said, words) in [
        ("/health", gone, "404 page not found".to_owned(), ["no InfluxDB 2", "storage.url"]),
        ("/health", ok, "<html>a router</html>".to_owned(), ["no InfluxDB 2", "storage.engine"]),
        ("/health", ok, HEALTH.replace("v2.7.12", "1.8.10"), ["an InfluxDB 1.8.10", "use InfluxDB 2"]),
        ("/health", "503 Service Unavailable", HEALTH.replace("pass", "fail"), ["503", "use the engine"]),
        (
            "/api/v2/buckets",
            "401 Unauthorized",
            unauthorized(),
            ["unauthorized access", "SITIAN_STORAGE_TOKEN"],
        ),
        (
            "/api/v2/buckets",
            gone,
            says("not found", "organization name \\\"Zhangye\\\" not found"),
            ["no organisation", "storage.organisation"],
        ),
        (
            "/api/v2/buckets",
            gone,
            says("not found", "bucket \\\"soil\\\" not found"),
            ["no bucket", "storage.bucket"],
        ),
        ("/api/v2/buckets", ok, r#"{"links":{},"buckets":[]}"#.to_owned(), ["no bucket", "token"]),
        (
            "/api/v2/buckets",
            ok,
            BUCKETS.replace("\"everySeconds\":0", "\"everySeconds\":2592000"),
            ["keeps readings for 30.0 days", "influx bucket update --retention"],
        ),
        (
            "/api/v2/write",
            "403 Forbidden",
            says("forbidden", "insufficient permissions for write"),
            ["insufficient permissions for write", "read and write the bucket"],
        ),
        ("/api/v2/query", "401 Unauthorized", unauthorized(), ["unauthorized access", "storage.token_file"]),
    ] {
        let server = but(path, (status, "", said));
        let error = connect(&server.url, names("gw")).expect_err("is not fit");
        let text = format!("{error}");
        assert!(words.iter().all(|words| text.contains(words)), "{path} {status}: {text}");
        assert!(!format!("{text} {error:?}").contains("secret"), "{error:?}");
    }
    let error = connect("http://127.0.0.1:1", names("gw")).expect_err("nobody listens").to_string();
    assert!(error.contains("start it, or correct storage.url"), "{error}");
}

#[test]
fn rows_of_before_the_buckets_retention_are_refused_without_asking() {
    let kept = BUCKETS.replace("\"everySeconds\":0", &format!("\"everySeconds\":{}", 4_000 * 86_400));
    let server = but("/api/v2/buckets", ("200 OK", "", kept));
    let mut engine = connect(&server.url, names("gw")).expect("keeps for more than ten years");
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let rows = [
        good(1, now_ms - 4_001 * DAY_MS, 1, 1.0),
        good(1, now_ms - 3_999 * DAY_MS, 2, 2.0),
        good(1, i64::MAX, 3, 3.0),
    ];
    let refused = engine.append(&rows).expect("takes one");
    assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [0, 2], "{refused:?}");
    let written: Vec<_> = server.heard().into_iter().filter(|heard| !heard.body.is_empty()).collect();
    assert!(written.iter().any(|heard| heard.body.contains("seq=2i")));
    assert!(!written.iter().any(|heard| heard.body.contains("seq=1i")));
}

#[test]
fn many_points_are_asked_about_together() {
    let server = but("/nothing", ("200 OK", "", String::new()));
    let names = Names::default();
    for no in 0..10_000 {
        let tags = Tags {
            gateway: format!("gw-{}", no / 100),
            device: "d".into(),
            point: format!("p{}", no % 100),
            ..Tags::default()
        };
        names.point(PointNo(no), tags).expect("can be written");
    }
    let engine = connect(&server.url, Arc::new(names)).expect("is fit");
    let points: Vec<PointNo> = (0..10_000).map(PointNo).collect();
    let before = server.heard().len();
    assert_eq!(engine.reader().latest(&points).expect("answers"), vec![None; 10_000]);
    engine.reader().walk_all(&points, span(0, HOUR_MS), &mut |_| {}).expect("answers");
    // Three looks for what is newest, one for where there is anything, 500 points each.
    assert_eq!(server.heard().len() - before, 80);
}

#[test]
fn a_point_whose_base_is_renamed_goes_on_where_it_was() {
    let server = pretended::start();
    let names = names("gw");
    let mut engine = connect(&server.url, Arc::clone(&names)).expect("is fit");
    let rows: Vec<Row> = (0..8).map(|n| good(1, n * 1_000, n as u64, 90.0 - n as f64)).collect();
    assert_eq!(engine.append(&rows[..5]).expect("takes all"), []);
    let tags = Tags {
        gateway: "gw".into(),
        device: "a device, \"soil\" = 1".into(),
        point: "p.1".into(),
        base: "another".into(),
        ..Tags::default()
    };
    names.point(PointNo(1), tags).expect("can be written");
    assert_eq!(engine.append(&rows[3..]).expect("takes all"), []);
    let reader = engine.reader();
    assert_eq!(reader.latest(&[PointNo(1)]).expect("answers"), [rows.last().copied()]);
    for limit in [1, 3, 7, 100] {
        let mut query = RangeQuery { point: PointNo(1), span: span(0, i64::MAX), limit, after: None };
        let mut found = Vec::new();
        loop {
            let page = reader.range(&query).expect("answers");
            found.extend(page.rows);
            query.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(found, rows, "pages of {limit}");
    }
    let query = AggregateQuery {
        point: PointNo(1),
        span: span(0, HOUR_MS),
        window_ms: HOUR_MS,
        offset_ms: 0,
        interval_ms: None,
        extras: Extras::default(),
    };
    let mut reference = Reference::default();
    reference.append(&rows).expect("takes all");
    assert_eq!(reader.aggregate(&query).expect("answers"), reference.aggregate(&query).expect("answers"));
}
