//! What a server says decides what a writer does: stored, refused line by line, later, never.

mod real {
    pub mod scripted;
}

use std::sync::Arc;
use std::time::Duration;

use real::scripted::{Heard, Said, Scripted};
use sitian_model::{Epoch, EpochNo, PointNo, Row};
use sitian_series::contract::good;
use sitian_series::{Append, AppendError};
use sitian_store_influx::{Access, Names, Patience, Tags, Victoria};

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

/// A fit VictoriaMetrics but for what it says to writes.
fn server(mut write: impl FnMut(&Heard) -> Said + Send + 'static) -> Scripted {
    Scripted::start(move |heard| {
        let metrics = "flag{name=\"dedup.minScrapeInterval\", value=\"1ms\", is_set=\"true\"} 1\n\
                       flag{name=\"retentionPeriod\", value=\"100y\", is_set=\"true\"} 1\n";
        match heard.request.split(' ').nth(1).unwrap_or_default() {
            path if path.starts_with("/api/v2/write") => write(heard),
            "/metrics" => ("200 OK", "", metrics.to_owned()),
            "/snapshot/create" => ("200 OK", "", "{\"status\":\"ok\",\"snapshot\":\"s\"}".to_owned()),
            _ => ("200 OK", "", String::new()),
        }
    })
}

fn engine(server: &Scripted) -> Victoria {
    let access =
        Access { url: server.url.clone(), token: Some("secret".into()), timeout: Duration::from_secs(60) };
    let patience = Patience { tries: 3, first: Duration::from_millis(1), longest: Duration::from_millis(5) };
    Victoria::connect(access, names(), patience).expect("is fit")
}

fn writes(server: &Scripted) -> Vec<Heard> {
    server.heard().into_iter().filter(|heard| heard.request.contains("/write")).collect()
}

#[test]
fn rows_go_in_batches_packed_with_the_token_and_times_in_milliseconds() {
    let server = server(|_| ("204 No Content", "", String::new()));
    assert_eq!(engine(&server).append(&rows(12_000)).expect("takes all"), []);
    let writes = writes(&server);
    let lines: Vec<usize> = writes.iter().map(|heard| heard.body.lines().count()).collect();
    assert_eq!(lines, [5_000, 5_000, 2_000]);
    for heard in &writes {
        assert_eq!(heard.request, "POST /api/v2/write?precision=ms");
        let has = |line: &str| heard.headers.iter().any(|header| header.eq_ignore_ascii_case(line));
        assert!(has("authorization: Token secret") && has("content-encoding: gzip"), "{:?}", heard.headers);
    }
    let first =
        "reading,device=d,gateway=gw,point=p1 value=0.0,quality=0i,epoch=1103823438081i,seq=0i 1728000000000";
    assert_eq!(writes[0].body.lines().next(), Some(first));
}

#[test]
fn a_refused_line_is_found_and_the_others_are_stored() {
    for status in ["400 Bad Request", "422 Unprocessable Entity"] {
        let server = server(move |heard| {
            if heard.body.contains("seq=77i") || heard.body.contains("seq=200i") {
                (
                    status,
                    "",
                    "{\"code\":\"invalid\",\"message\":\"field type conflict\\n dropped=1\"}".to_owned(),
                )
            } else {
                ("204 No Content", "", String::new())
            }
        });
        let refused = engine(&server).append(&rows(300)).expect("takes the others");
        assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [77, 200], "{status}");
        assert!(refused[0].why.contains("field type conflict"), "{refused:?}");
        let stored: Vec<String> = writes(&server)
            .into_iter()
            .filter(|heard| !heard.body.contains("seq=77i") && !heard.body.contains("seq=200i"))
            .flat_map(|heard| heard.body.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert_eq!(stored.len(), 298, "each of the others was stored in some request");
    }
}

#[test]
fn what_is_too_long_is_sent_in_halves() {
    let server = server(|heard| {
        let long = heard.body.lines().count() > 100;
        (if long { "413 Content Too Large" } else { "204 No Content" }, "", String::new())
    });
    assert_eq!(engine(&server).append(&rows(1_000)).expect("takes all"), []);
    let stored =
        writes(&server).iter().map(|heard| heard.body.lines().count()).filter(|n| *n <= 100).sum::<usize>();
    assert_eq!(stored, 1_000);
}

#[test]
fn a_busy_server_is_asked_again_and_its_own_wish_comes_back() {
    for (status, more, tries, asked) in [
        ("503 Service Unavailable", "", 3, None),
        ("500 Internal Server Error", "", 3, None),
        ("429 Too Many Requests", "Retry-After: 0\r\n", 3, Some(0)),
        ("429 Too Many Requests", "Retry-After: 7\r\n", 1, Some(7_000)),
        ("503 Service Unavailable", "Retry-After: soon\r\n", 3, None),
    ] {
        let server = server(move |_| (status, more, "busy".to_owned()));
        match engine(&server).append(&rows(10)) {
            Err(AppendError::Later { retry_after_ms, source }) => {
                assert_eq!(retry_after_ms, asked, "{status} {more}");
                assert!(source.to_string().contains("busy"), "{source}");
            }
            other => panic!("{status}: {other:?}"),
        }
        assert_eq!(writes(&server).len(), tries, "{status} {more}");
    }
    let mut left = 2;
    let server = server(move |_| {
        left -= 1;
        (if left >= 0 { "503 Service Unavailable" } else { "204 No Content" }, "", String::new())
    });
    assert_eq!(engine(&server).append(&rows(10)).expect("is stored at the third try"), []);
}

#[test]
fn what_a_person_has_to_mend_is_said_and_not_tried_again() {
    for (status, remedy) in [
        ("401 Unauthorized", "without a password"),
        ("403 Forbidden", "without a password"),
        ("404 Not Found", "storage.url"),
        ("405 Method Not Allowed", "log"),
    ] {
        let server = server(move |_| (status, "", "no".to_owned()));
        match engine(&server).append(&rows(10)) {
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
    for url in [url(port), url(1)] {
        let access = Access { url, token: None, timeout: Duration::from_secs(60) };
        let error = Victoria::connect(access, names(), Patience::default()).expect_err("is not fit");
        let all = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(all.contains("http://127.0.0.1") && !all.contains("hidden"), "{all}");
    }
}
