//! No answer costs more than it has to: work that nobody waits for ends, what has not changed is not sent again, and what is
//! too much is refused with a way out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Events, get, leave_before_answer, send};
use crate::world::{POINT, Served, served, served_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_caller_leaves_is_stopped_and_gives_its_turn_back() {
    let served = served_with(|settings| settings.limits.queries = 1).await;
    let target = format!("/api/v1/points/{POINT}/aggregates?window=1h");
    served.world.endless.store(true, Ordering::SeqCst);
    let at_it = || served.world.at_gate.load(Ordering::SeqCst) > 0;
    leave_before_answer(served.at, &target, at_it).await;
    // The only turn is taken by work that ends in one way alone: by being stopped.
    assert_eq!(get(served.at, &target).await.status, 200);
    assert!(!served.world.endless.load(Ordering::SeqCst));
    let page = get(served.at, "/metrics").await;
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(page.text().contains("stopped_total 1\n"), "{}", page.text());
}

#[tokio::test]
async fn answers_that_have_not_changed_are_not_sent_again_compressed_or_not() {
    let served = served().await;
    let point = format!("/api/v1/points/{POINT}");
    for target in [
        format!("{point}/readings"),
        format!("{point}/aggregates?window=5m"),
        format!("{point}/outline"),
        point,
        "/api/v1/bases/base-1/points".to_owned(),
        "/api/v1/tree".to_owned(),
    ] {
        let first = send(served.at, "GET", &target, &[("Accept-Encoding", "gzip")], b"").await;
        let tag = first.header("etag").unwrap_or_else(|| panic!("{target}: no tag"));
        let (vary, kept) = (first.header("vary"), first.header("cache-control"));
        assert_eq!(
            (first.status, vary, kept),
            (200, Some("accept-encoding"), Some("private, no-cache")),
            "{target}"
        );
        for encoding in ["gzip", "identity"] {
            let headers = [("Accept-Encoding", encoding), ("If-None-Match", tag)];
            let again = send(served.at, "GET", &target, &headers, b"").await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{target} {encoding}");
            assert_eq!(again.header("vary"), Some("accept-encoding"), "{target}");
            assert_eq!((again.header("etag"), again.header("cache-control")), (Some(tag), kept), "{target}");
        }
    }
}

#[tokio::test]
async fn exports_travel_compressed_if_it_pays_and_streams_never() {
    let served = served().await;
    let point = format!("/api/v1/points/{POINT}");
    let asked = [("Accept-Encoding", "gzip")];
    for (format, encoding) in [("csv", Some("gzip")), ("jsonl", Some("gzip")), ("parquet", None)] {
        let target = format!("{point}/export?format={format}");
        let answer = send(served.at, "GET", &target, &asked, b"").await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, encoding), "{format}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{format}");
    }
    let stream = Events::open(served.at, "/api/v1/streams/live?scope=base-1", &asked).await;
    assert!(!stream.headers.iter().any(|(name, _)| name == "content-encoding"), "{:?}", stream.headers);
}

#[tokio::test]
async fn a_refusal_for_size_says_what_was_asked_how_much_there_is_and_what_to_do() {
    let served = served().await;
    let point = format!("/api/v1/points/{POINT}");
    for (target, words) in [
        (format!("{point}/readings?limit=20000"), ["20000", "1 to 10000", "next_cursor"]),
        (format!("{point}/readings?from=2026-01-01T00:00:00Z"), ["123 days", "31", "ask in parts"]),
        (format!("{point}/aggregates?from=2024-01-01T00:00:00Z"), ["854 days", "366", "ask in parts"]),
        (format!("{point}/aggregates?window=1s"), ["86400 windows", "2000", "ask for window=1m"]),
        (format!("{point}/export?from=2024-01-01T00:00:00Z"), ["854 days", "366", "ask in parts"]),
        (format!("{point}/outline?columns=4001"), ["4001", "1 to 4000", "columns"]),
    ] {
        let detail = get(served.at, &target).await.json()["detail"].as_str().unwrap_or_default().to_owned();
        for word in words {
            assert!(detail.contains(word), "{target}: {word:?} is not in {detail:?}");
        }
    }
}

/// An export whose caller never reads, once it is at work.
async fn unread(served: &Served) -> TcpStream {
    let target = format!("/api/v1/points/{POINT}/export?from=2025-06-01T00:00:00%2B08:00");
    let mut socket = TcpStream::connect(served.at).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.at);
    socket.write_all(request.as_bytes()).await.unwrap();
    while served.world.exported.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_nobody_reads_gives_its_turn_back_and_never_looks_complete() {
    let served = served_with(|settings| {
        settings.limits.queries = 1;
        settings.limits.query_wait = Duration::from_secs(120);
        settings.limits.unread = Duration::from_millis(300);
    })
    .await;
    let mut socket = unread(&served).await;
    assert_eq!(get(served.at, &format!("/api/v1/points/{POINT}/readings")).await.status, 200);
    let mut text = Vec::new();
    // Cut off: what was on its way comes, the last chunk does not.
    let _ = socket.read_to_end(&mut text).await;
    assert!(text.starts_with(b"HTTP/1.1 200") && !text.ends_with(b"0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_gets_no_turn_is_refused_instead_of_being_empty() {
    let served = served_with(|settings| {
        settings.limits.queries = 1;
        settings.limits.query_wait = Duration::from_millis(100);
        settings.limits.unread = Duration::from_secs(3_600);
    })
    .await;
    let _socket = unread(&served).await;
    assert_eq!(get(served.at, &format!("/api/v1/points/{POINT}/export")).await.status, 503);
}
