//! What a server says decides what a writer does: stored, refused line by line, later, never.

mod real {
    pub mod scripted;
}

use std::sync::Arc;
use std::time::Duration;

use real::scripted::{BUCKETS, HEALTH, Heard, Said, Scripted};
use sitian_model::{Epoch, EpochNo, PointNo, Row};
use sitian_series::contract::good;
use sitian_series::{Append, AppendError};
use sitian_store_influx::influx::{self, Bucket};
use sitian_store_influx::{Access, Engine, EngineError, Names, Patience, Tags, Token, victoria};

const DAY: i64 = 86_400_000;

fn names() -> Arc<Names> {
    let names = Names::default();
    for no in 0..10 {
        let tags =
            Tags { gateway: "gw".into(), device: "d".into(), point: format!("p{no}"), ..Tags::default() };
        names.point(PointNo(no), tags).expect("can be written");
    }
    names.epoch(EpochNo(1), Epoch([1; 16]));
    Arc::new(names)
}

fn rows(n: u64) -> Vec<Row> {
    (0..n).map(|n| good(1, 20_000 * DAY + n as i64, n, n as f64)).collect()
}

/// The engines, all of which judge answers alike.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Victoria,
    Influx,
}

const KINDS: [Kind; 2] = [Kind::Victoria, Kind::Influx];

/// A server fit for either but for what it says to lines.
fn server(mut write: impl FnMut(&Heard) -> Said + Send + 'static) -> Scripted {
    Scripted::start(move |heard| {
        let metrics = "flag{name=\"dedup.minScrapeInterval\", value=\"1ms\", is_set=\"true\"} 1\n\
                       flag{name=\"retentionPeriod\", value=\"100y\", is_set=\"true\"} 1\n";
        let ok = |text: &str| ("200 OK", "", text.to_owned());
        match heard.request.split(' ').nth(1).unwrap_or_default() {
            path if path.starts_with("/api/v2/write") && heard.body.is_empty() => ok(""),
            path if path.starts_with("/api/v2/write") => write(heard),
            path if path.starts_with("/api/v2/buckets") => ok(BUCKETS),
            "/health" => ok(HEALTH),
            "/metrics" => ok(metrics),
            "/snapshot/create" => ok("{\"status\":\"ok\",\"snapshot\":\"s\"}"),
            _ => ok(""),
        }
    })
}

fn connect(kind: Kind, url: String, patience: Patience) -> Result<Engine, EngineError> {
    let access = Access { url, timeout: Duration::from_secs(60), keep_days: None, note: None };
    let token = Token("secret".into());
    let bucket = Bucket { organisation: "a county".into(), bucket: "soil".into(), token };
    match kind {
        Kind::Victoria => victoria::connect(access, names(), patience),
        Kind::Influx => influx::connect(access, bucket, names(), patience),
    }
}

fn engine(kind: Kind, server: &Scripted) -> Engine {
    let patience = Patience { tries: 3, first: Duration::from_millis(1), longest: Duration::from_millis(5) };
    connect(kind, server.url.clone(), patience).expect("is fit")
}

fn writes(server: &Scripted) -> Vec<Heard> {
    let lines = |heard: &Heard| heard.request.contains("/write") && !heard.body.is_empty();
    server.heard().into_iter().filter(lines).collect()
}

#[test]
fn rows_go_in_batches_packed_and_times_in_milliseconds() {
    for (kind, request) in [
        (Kind::Victoria, "POST /api/v2/write?precision=ms"),
        (Kind::Influx, "POST /api/v2/write?org=a%20county&bucket=soil&precision=ms"),
    ] {
        let server = server(|_| ("204 No Content", "", String::new()));
        assert_eq!(engine(kind, &server).append(&rows(12_000)).expect("takes all"), []);
        let writes = writes(&server);
        let lines: Vec<usize> = writes.iter().map(|heard| heard.body.lines().count()).collect();
        assert_eq!(lines, [5_000, 5_000, 2_000]);
        for heard in &writes {
            assert_eq!(heard.request, request);
            let has = |line: &str| heard.headers.iter().any(|header| header.eq_ignore_ascii_case(line));
            assert!(has("content-encoding: gzip"), "{:?}", heard.headers);
            assert_eq!(has("authorization: Token secret"), matches!(kind, Kind::Influx), "{kind:?}");
        }
        let first = "reading,device=d,gateway=gw,point=p1 value=0.0,quality=0i,epoch=1103823438081i,seq=0i 1728000000000";
        assert_eq!(writes[0].body.lines().next(), Some(first));
    }
}

#[test]
fn a_refused_line_is_found_and_the_others_are_stored() {
    for (kind, status) in
        KINDS.into_iter().flat_map(|kind| [(kind, "400 Bad Request"), (kind, "422 Unprocessable Entity")])
    {
        let server = server(move |heard| {
            if heard.body.contains("seq=77i") || heard.body.contains("seq=200i") {
                let said = "{\"code\":\"invalid\",\"message\":\"field type conflict\\n dropped=1\"}";
                (status, "", said.to_owned())
            } else {
                ("204 No Content", "", String::new())
            }
        });
        let refused = engine(kind, &server).append(&rows(300)).expect("takes the others");
        assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [77, 200], "{status}");
        assert_eq!(refused[0].why, "field type conflict dropped=1");
        let stored: Vec<String> = writes(&server)
            .into_iter()
            .filter(|heard| !heard.body.contains("seq=77i") && !heard.body.contains("seq=200i"))
            .flat_map(|heard| heard.body.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert_eq!(stored.len(), 298, "each of the others was stored in some request");
    }
}

#[test]
fn of_lines_that_are_dropped_all_together_none_is_asked_about_alone() {
    let server = server(|heard| {
        let dropped =
            format!("partial write: points beyond retention policy dropped={}", heard.body.lines().count());
        ("422 Unprocessable Entity", "", format!("{{\"message\":\"{dropped}\"}}"))
    });
    let refused = engine(Kind::Influx, &server).append(&rows(6_000)).expect("takes none");
    assert_eq!((refused.len(), writes(&server).len()), (6_000, 2));
}

#[test]
fn what_is_too_long_is_sent_in_halves() {
    for kind in KINDS {
        let server = server(|heard| {
            let long = heard.body.lines().count() > 100;
            (if long { "413 Content Too Large" } else { "204 No Content" }, "", String::new())
        });
        assert_eq!(engine(kind, &server).append(&rows(1_000)).expect("takes all"), []);
        let lines = writes(&server).into_iter().map(|heard| heard.body.lines().count());
        assert_eq!(lines.filter(|n| *n <= 100).sum::<usize>(), 1_000);
    }
}

#[test]
fn a_busy_server_is_asked_again_and_its_own_wish_comes_back() {
    for (kind, (status, more, tries, asked)) in KINDS.into_iter().flat_map(|kind| {
        [
            ("503 Service Unavailable", "", 3, None),
            ("500 Internal Server Error", "", 3, None),
            ("429 Too Many Requests", "Retry-After: 0\r\n", 3, Some(0)),
            ("429 Too Many Requests", "Retry-After: 7\r\n", 1, Some(7_000)),
            ("503 Service Unavailable", "Retry-After: 120\r\n", 1, Some(120_000)),
            ("503 Service Unavailable", "Retry-After: soon\r\n", 3, None),
        ]
        .map(|row| (kind, row))
    }) {
        let server = server(move |_| (status, more, "busy".to_owned()));
        match engine(kind, &server).append(&rows(10)) {
            Err(AppendError::Later { retry_after_ms, source }) => {
                assert_eq!(retry_after_ms, asked, "{kind:?} {status} {more}");
                assert!(source.to_string().contains("busy"), "{source}");
            }
            other => panic!("{status}: {other:?}"),
        }
        assert_eq!(writes(&server).len(), tries, "{kind:?} {status} {more}");
    }
    let mut left = 2;
    let server = server(move |_| {
        left -= 1;
        (if left >= 0 { "503 Service Unavailable" } else { "204 No Content" }, "", String::new())
    });
    assert_eq!(engine(Kind::Influx, &server).append(&rows(10)).expect("is stored at the third try"), []);
}

#[test]
fn what_a_person_has_to_mend_is_said_and_not_tried_again() {
    for (kind, status, remedy) in [
        (Kind::Victoria, "401 Unauthorized", "without a password"),
        (Kind::Victoria, "403 Forbidden", "without a password"),
        (Kind::Victoria, "404 Not Found", "storage.url"),
        (Kind::Victoria, "405 Method Not Allowed", "log"),
        (Kind::Influx, "401 Unauthorized", "storage.token_file"),
        (Kind::Influx, "403 Forbidden", "read and write the bucket"),
        (Kind::Influx, "404 Not Found", "storage.bucket"),
        (Kind::Influx, "405 Method Not Allowed", "log"),
    ] {
        let server = server(move |_| (status, "", "no".to_owned()));
        match engine(kind, &server).append(&rows(10)) {
            Err(AppendError::Never(source)) => assert!(source.to_string().contains(remedy), "{source}"),
            other => panic!("{status}: {other:?}"),
        }
        assert_eq!(writes(&server).len(), 1, "{status}");
    }
}

#[test]
fn no_message_repeats_the_password_of_an_address() {
    let url = |port: u16| format!("http://somebody:hidden@127.0.0.1:{port}");
    let busy = Scripted::start(|_| ("503 Service Unavailable", "", "later".to_owned()));
    let port = busy.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    for (kind, url) in KINDS.into_iter().flat_map(|kind| [(kind, url(port)), (kind, url(1))]) {
        let error = connect(kind, url, Patience::default()).expect_err("is not fit");
        let all =
            format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(all.contains("http://127.0.0.1") && !all.contains("hidden"), "{all}");
        assert!(!all.contains("secret"), "{all}");
    }
}
