//! Much of everything: many gateways with long names, dense rows behind long silence, long texts.

mod real {
    pub mod between;
    pub mod pretended;
    #[expect(dead_code, reason = "nobody is killed here")]
    pub mod running;
    pub mod scripted;
}

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use real::between::Between;
use real::pretended;
use real::running::Running;
use sitian_model::{Cause, Epoch, EpochNo, PointNo, Row, TEXT_BYTES_MAX};
use sitian_series::contract::{Reference, alike, bad, good, span};
use sitian_series::{AggregateQuery, Append, Extras, RangeQuery, Series};
use sitian_store_influx::influx::{self, Bucket};
use sitian_store_influx::{Access, Engine, EngineError, Names, Patience, Reader, Tags, Token, victoria};

const DAY_MS: i64 = 86_400_000;
const BEGIN_MS: i64 = 20_000 * DAY_MS;
/// So much of an answer is listened to.
const ANSWER_BYTES_MAX: usize = 8 << 20;

fn access(url: String) -> Access {
    Access { url, timeout: Duration::from_secs(60), keep_days: None, note: None }
}

/// Points of a gateway, a device and a key each, all with names of the greatest length.
fn names(points: u32) -> Arc<Names> {
    let names = Names::default();
    for no in 0..points {
        let tags = Tags {
            gateway: format!("gateway-{no:024}"),
            device: format!("device-{no:025}"),
            point: format!("soil-moisture-{no:034}"),
            measurement: "soil_moisture".into(),
            unit: "%".into(),
            ..Tags::default()
        };
        assert_eq!((tags.gateway.len(), tags.device.len(), tags.point.len()), (32, 32, 48));
        names.point(PointNo(no), tags).expect("can be written");
    }
    names.epoch(EpochNo(1), Epoch([17; 16]));
    Arc::new(names)
}

fn of_victoria(url: String, names: Arc<Names>) -> Engine {
    victoria::connect(access(url), names, Patience::default()).expect("is fit")
}

fn of_influx(url: String, names: Arc<Names>) -> Result<Engine, EngineError> {
    let bucket = Bucket { organisation: "o".into(), bucket: "soil".into(), token: Token("t".into()) };
    influx::connect(access(url), bucket, names, Patience::default())
}

/// Every tag of a point as long as it may be; the number stands at the end of its key.
fn all_tags(no: u32, long: impl Fn() -> String) -> Tags {
    let point = long();
    let point = format!("{}{no:06}", &point[6..]);
    Tags {
        gateway: long(),
        device: long(),
        point,
        measurement: long(),
        unit: long(),
        base: long(),
        city: long(),
        county: long(),
        town: long(),
    }
}

/// All rows of a point, as they come.
fn walked(reader: &Reader, from: i64, to: i64) -> Vec<Row> {
    let mut found = Vec::new();
    let each = &mut |row: &Row| {
        found.push(*row);
        true
    };
    reader.walk(PointNo(1), span(from, to), each).expect("answers");
    found
}

#[test]
fn points_on_many_gateways_with_the_longest_names_are_asked_about_in_questions_that_a_server_reads() {
    const POINTS: u32 = 520;
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let mut engine = of_victoria(running.url(), names(POINTS));
    let row = |no: u32, n: i64| match n {
        1 => bad(no, BEGIN_MS + n, 1, Cause::Timeout),
        _ => good(no, BEGIN_MS + n, n as u64, 1.5),
    };
    let mut rows: Vec<Row> = (0..POINTS).flat_map(|no| (0..3).map(move |n| row(no, n))).collect();
    assert_eq!(engine.append(&rows).expect("takes all"), []);
    let (reader, points) = (engine.reader(), (0..POINTS).map(PointNo).collect::<Vec<_>>());
    let newest: Vec<Option<Row>> = (0..POINTS).map(|no| Some(row(no, 2))).collect();
    assert_eq!(reader.latest(&points).expect("answers"), newest);
    let (mut found, whole) = (Vec::new(), span(BEGIN_MS, BEGIN_MS + DAY_MS));
    reader.walk_all(&points, whole, &mut |row| found.push(*row)).expect("answers");
    let key = |row: &Row| (row.point, row.at);
    found.sort_by_key(key);
    rows.sort_by_key(key);
    assert_eq!(found, rows);
    let query = RangeQuery { point: PointNo(1), span: whole, limit: 2, after: None };
    assert_eq!(reader.range(&query).expect("answers").rows, [row(1, 0), row(1, 1)]);
    let query = AggregateQuery {
        point: PointNo(1),
        span: whole,
        window_ms: DAY_MS,
        offset_ms: 0,
        interval_ms: None,
        extras: Extras::default(),
    };
    let windows = reader.aggregate(&query).expect("answers");
    assert_eq!((windows[0].good, windows[0].bad.get(&Cause::Timeout)), (2, Some(&1)));
}

#[test]
fn points_of_which_an_engine_has_too_much_to_say_at_once_are_asked_about_in_halves() {
    const SIDE: u32 = 30;
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let between = Between::start(&running, |_, said| said);
    let names = Names::default();
    for no in 0..SIDE * SIDE {
        let (gateway, device) = (format!("gw-{}", no / SIDE), format!("d-{}", no % SIDE));
        let tags = all_tags(no, || "x".repeat(TEXT_BYTES_MAX));
        names
            .point(PointNo(no), Tags { gateway, device, point: "p".into(), ..tags })
            .expect("can be written");
    }
    names.epoch(EpochNo(1), Epoch([17; 16]));
    let mut engine = of_victoria(between.scripted.url.clone(), Arc::new(names));
    let now_ms = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as i64;
    let rows: Vec<Row> = (0..SIDE * SIDE).map(|no| good(no, now_ms, 1, 1.0)).collect();
    assert_eq!(engine.append(&rows).expect("takes all"), []);
    // Another device of each gateway: the server is asked about all devices of all gateways.
    let points: Vec<PointNo> = (0..SIDE).map(|n| PointNo(n * SIDE + n)).collect();
    let expected: Vec<Option<Row>> = points.iter().map(|point| Some(rows[point.0 as usize])).collect();
    assert_eq!(engine.reader().latest(&points).expect("answers"), expected);
    let lengths = between.lengths("/api/v1/query");
    let (long, short): (Vec<usize>, Vec<usize>) =
        lengths.into_iter().partition(|bytes| *bytes > ANSWER_BYTES_MAX);
    assert_eq!((long.len(), short.len()), (1, 2), "{long:?} {short:?}");
}

#[test]
fn rows_that_stand_close_behind_a_long_silence_are_read_some_megabytes_at_a_time() {
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let between = Between::start(&running, |_, said| said);
    let mut engine = of_victoria(between.scripted.url.clone(), names(2));
    // One row, twenty days of silence, then two days of a row each second: 14 MiB.
    let dense = |n: i64| good(1, BEGIN_MS + 20 * DAY_MS + n * 1_000, n as u64, 20.0 + (n % 77) as f64 / 10.0);
    let mut rows = vec![good(1, BEGIN_MS, 1, 1.0)];
    rows.extend((0..2 * 86_400).map(dense));
    assert_eq!(engine.append(&rows).expect("takes all"), []);
    between.lengths("");
    let (reader, end) = (engine.reader(), BEGIN_MS + 30 * DAY_MS);
    let check = |what: &str, answers_max: usize| {
        let lengths = between.lengths("/api/v1/export");
        let long = lengths.iter().filter(|bytes| **bytes > ANSWER_BYTES_MAX).count();
        // What is too long is left, and less is asked for.
        assert!(long <= 1 && lengths.last() <= Some(&ANSWER_BYTES_MAX), "{what}: {lengths:?}");
        assert!(lengths.len() <= answers_max, "{what}: {lengths:?}");
    };
    let query = RangeQuery { point: PointNo(1), span: span(BEGIN_MS, end), limit: 100, after: None };
    assert_eq!(reader.range(&query).expect("answers").rows, rows[..100]);
    check("a page", 4);
    assert!(walked(&reader, BEGIN_MS, end) == rows, "every row once, in order");
    check("a walk", 24);
}

#[test]
fn an_influxdb_too_is_read_some_megabytes_at_a_time() {
    let server = pretended::start();
    let mut engine = of_influx(server.url.clone(), names(2)).expect("is fit");
    // Rare rows make the slices long; then 14 MiB of rows stand within less than an hour.
    let mut rows: Vec<Row> = (0..60).map(|n| good(1, BEGIN_MS + n * 5 * DAY_MS, n as u64, 1.0)).collect();
    rows.extend((0..20_000).map(|n| good(1, BEGIN_MS + 301 * DAY_MS + n * 100, n as u64, 2.0)));
    assert_eq!(engine.append(&rows).expect("takes all"), []);
    let before = server.heard().len();
    assert!(walked(&engine.reader(), BEGIN_MS, BEGIN_MS + 400 * DAY_MS) == rows, "every row once, in order");
    let asked = server.heard().len() - before;
    assert!(asked < 50, "{asked} questions");
}

#[test]
fn an_answer_is_not_unpacked_further_than_it_is_listened_to() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&vec![b' '; 64 << 20]).expect("a vector");
    let body = gzip.finish().expect("a vector");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4_096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length:";
            let _ = stream.write_all(format!("{head} {}\r\n\r\n", body.len()).as_bytes());
            let _ = stream.write_all(&body);
        }
    });
    let found = of_influx(url, names(1));
    let Err(EngineError::TooLong { bytes_max, .. }) = found else { panic!("{found:?}") };
    assert_eq!(bytes_max, ANSWER_BYTES_MAX as u64);
}

#[test]
fn a_request_goes_out_when_it_is_long_however_few_its_lines_are() {
    let server = pretended::start();
    let (names, long) = (Names::default(), || "x".repeat(TEXT_BYTES_MAX));
    names.point(PointNo(1), all_tags(1, long)).expect("can be written");
    let unit = "x".repeat(TEXT_BYTES_MAX + 1);
    let fault = names.point(PointNo(2), Tags { unit, ..all_tags(2, long) }).expect_err("is too long");
    assert!(fault.to_string().contains("tag unit") && fault.to_string().len() < 200, "{fault}");
    names.epoch(EpochNo(1), Epoch([17; 16]));
    let mut engine = of_influx(server.url.clone(), Arc::new(names)).expect("is fit");
    let rows: Vec<Row> = (0..5_000).map(|n| good(1, BEGIN_MS + n, n as u64, 1.0)).collect();
    assert_eq!(engine.append(&rows).expect("takes all"), []);
    let writes: Vec<usize> = server.heard().iter().map(|heard| heard.body.len()).collect();
    assert!(writes.iter().all(|bytes| *bytes < 5 << 20), "{writes:?}");
    assert!(writes.iter().sum::<usize>() > 9 << 20, "{writes:?}");
    assert!(walked(&engine.reader(), BEGIN_MS, BEGIN_MS + 5_000) == rows);
}

#[test]
fn rows_of_the_first_day_of_1970_are_readable_like_others_or_refused() {
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let mut engine = of_victoria(running.url(), names(300));
    let mut rows: Vec<Row> = [0, 1, 30_000, 400_000, 50_000_000, DAY_MS - 1, DAY_MS, 2 * DAY_MS + 7]
        .into_iter()
        .enumerate()
        .map(|(n, at)| good(1, at, n as u64, n as f64))
        .collect();
    rows.extend([good(2, 30_000, 1, 1.0), good(2, 70_000, 2, 2.0), good(3, BEGIN_MS, 1, 1.0)]);
    let refused = engine.append(&rows).expect("takes the others");
    assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [0], "{refused:?}");
    let mut reference = Reference::default();
    reference.append(&rows[1..]).expect("takes all");
    let reader = engine.reader();
    for (from, to) in
        [(i64::MIN, i64::MAX), (0, 60_000), (30_000, 30_001), (400_000, DAY_MS), (DAY_MS, 3 * DAY_MS)]
    {
        let expected: Vec<Row> =
            rows[1..8].iter().filter(|row| (from..to).contains(&row.at.0)).copied().collect();
        assert_eq!(walked(&reader, from, to), expected, "{from} to {to}");
    }
    // Points that never said anything are passed over.
    let points: Vec<PointNo> = (0..300).map(PointNo).collect();
    let (newest, expected) =
        (reader.latest(&points).expect("answers"), reference.latest(&points).expect("answers"));
    assert_eq!(newest, expected);
    let mut found = 0;
    reader.walk_all(&points, span(0, i64::MAX), &mut |_| found += 1).expect("answers");
    assert_eq!(found, rows.len() - 1);
    for window_ms in [60_000, 3_600_000, DAY_MS] {
        let query = AggregateQuery {
            point: PointNo(1),
            span: span(0, 3 * DAY_MS),
            window_ms,
            offset_ms: 0,
            interval_ms: None,
            extras: Extras::default(),
        };
        let found = reader.aggregate(&query).expect("answers");
        let expected = reference.aggregate(&query).expect("answers");
        assert_eq!(found.len(), expected.len());
        let differing = found.iter().zip(&expected).find(|(found, expected)| !alike(found, expected));
        assert!(differing.is_none(), "{window_ms}: {differing:?}");
    }
}

#[test]
fn snapshots_whose_names_were_never_heard_go_with_the_next_one_that_is() {
    let Some(running) = Running::start(&["-dedup.minScrapeInterval=1ms"]) else { return };
    let ask = |path: &str| {
        let page = ureq::get(format!("{}/snapshot/{path}", running.url())).call().expect("answers");
        page.into_body().read_to_string().expect("reads")
    };
    let snapshots = || ask("list").matches('-').count();
    let folder = tempfile::tempdir().expect("a folder");
    let note = folder.path().join("snapshot");
    let row = [good(1, BEGIN_MS, 1, 1.0)];
    for killed in [false, true] {
        let mut creates = 0;
        let between = Between::start(&running, move |heard, said| {
            creates += i32::from(heard.request.contains("/snapshot/create"));
            let unheard = heard.request.contains("/snapshot/create") && [2, 3].contains(&creates);
            if unheard { ("504 Gateway Timeout", "", "nobody waited for it".to_owned()) } else { said }
        });
        let connect = |url: String| {
            let access = Access { note: Some(note.clone()), ..access(url) };
            victoria::connect(access, names(2), Patience::default()).expect("is fit")
        };
        let mut engine = connect(between.scripted.url.clone());
        for left in [1, 2] {
            engine.append(&row).expect_err("nobody knows whether it is on the disk");
            assert_eq!((snapshots(), note.exists()), (left, true));
        }
        if killed {
            engine = connect(running.url());
        } else {
            assert_eq!(engine.append(&row).expect("takes it"), []);
        }
        assert_eq!((snapshots(), note.exists()), (0, false), "all of them are gone");
        assert_eq!(engine.append(&row).expect("takes it"), []);
    }
}
