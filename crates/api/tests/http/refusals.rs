//! What is not asked well is refused in one form, and says nothing about the inside.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::json;

use crate::client::{Answer, get, send};
use crate::world::{POINT, served, served_with};

/// Every refusal is a problem of this status and type, and leaks nothing.
fn check(answer: &Answer, status: u16, kind: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    let body = answer.json();
    assert_eq!(body["type"], json!(format!("/problems/{kind}")), "{what}");
    assert_eq!(body["status"], json!(status), "{what}");
    for leak in ["secret", "panicked", "src/", "root:", ".rs", "[package]"] {
        assert!(!answer.text().contains(leak), "{what}: {}", answer.text());
    }
}

#[tokio::test]
async fn every_bad_question_is_a_problem() {
    let served = served().await;
    let point = format!("/api/v1/points/{POINT}");
    for (target, status, kind) in [
        ("/api/v1/nope".to_owned(), 404, "not-found"),
        ("/api/v2/health".to_owned(), 404, "not-found"),
        ("/api".to_owned(), 404, "not-found"),
        ("/nope".to_owned(), 404, "not-found"),
        ("/api/v1/health?x=1".to_owned(), 400, "invalid"),
        ("/api/v1/tree?scope=zhangye".to_owned(), 400, "invalid"),
        ("/api/v1/rollups".to_owned(), 400, "invalid"),
        ("/api/v1/rollups?scope=zhangye&depth=4".to_owned(), 400, "invalid"),
        ("/api/v1/rollups?scope=zhangye&depth=-1".to_owned(), 400, "invalid"),
        ("/api/v1/rollups?scope=zhangye&scope=ganzhou".to_owned(), 400, "invalid"),
        ("/api/v1/rollups?scope=nowhere".to_owned(), 404, "not-found"),
        ("/api/v1/rollups?scope=../x".to_owned(), 404, "not-found"),
        ("/api/v1/nodes/nowhere".to_owned(), 404, "not-found"),
        ("/api/v1/nodes/%FF".to_owned(), 404, "not-found"),
        ("/api/v1/bases/zhangye".to_owned(), 404, "not-found"),
        ("/api/v1/bases/base-1/latest?sparkline=1".to_owned(), 400, "invalid"),
        ("/api/v1/points/gw-1/soil-1/other".to_owned(), 404, "not-found"),
        ("/api/v1/points/GW-1/soil-1/soil_moisture".to_owned(), 404, "not-found"),
        (format!("{point}/readings?limit=0"), 400, "invalid"),
        (format!("{point}/readings?limit=10001"), 400, "invalid"),
        (format!("{point}/readings?from=-1h"), 400, "invalid"),
        (format!("{point}/readings?from=2026-05-04T06:30:00"), 400, "invalid"),
        (format!("{point}/readings?from=2026-05-05T00:00:00Z"), 400, "invalid"),
        (format!("{point}/readings?from=2025-05-04T06:30:00Z"), 422, "too-wide"),
        (format!("{point}/readings?cursor=foreign"), 400, "invalid"),
        (format!("{point}/readings?cursor="), 400, "invalid"),
        (format!("{point}/readings?cursor={}", "9".repeat(129)), 400, "invalid"),
        (format!("{point}/aggregates?window=999ms"), 400, "invalid"),
        (format!("{point}/aggregates?fn=median"), 400, "invalid"),
        (format!("{point}/aggregates?fn=p101"), 400, "invalid"),
        (format!("{point}/aggregates?fn=p1,p2,p3,p4,p5,p6,p7,p8,p9"), 400, "invalid"),
        (format!("{point}/outline?columns=0"), 400, "invalid"),
        (format!("{point}/outline?columns=4001"), 400, "invalid"),
        (format!("{point}/export?format=xml"), 400, "invalid"),
        ("/api/v1/points/gw-1/soil-1/other/export".to_owned(), 404, "not-found"),
        (format!("{point}/aggregates?window=1s"), 422, "too-wide"),
        ("/api/v1/alerts?scope=nowhere".to_owned(), 404, "not-found"),
        ("/api/v1/alerts?phase=closed".to_owned(), 400, "invalid"),
        ("/api/v1/alerts?severity=purple".to_owned(), 400, "invalid"),
        ("/api/v1/alerts?limit=501".to_owned(), 400, "invalid"),
        ("/api/v1/alerts?cursor=broken".to_owned(), 503, "unavailable"),
        ("/api/v1/alerts?cursor=panic".to_owned(), 500, "internal"),
        ("/api/v1/alerts/1/acknowledge".to_owned(), 405, "method-not-allowed"),
        ("/api/v1/incidents?scope=nowhere".to_owned(), 404, "not-found"),
        ("/api/v1/incidents?limit=501".to_owned(), 400, "invalid"),
        ("/api/v1/incidents?from=yesterday".to_owned(), 400, "invalid"),
        ("/api/v1/gaps?scope=../x".to_owned(), 404, "not-found"),
        ("/api/v1/gaps?limit=0".to_owned(), 400, "invalid"),
        ("/api/v1/completeness".to_owned(), 400, "invalid"),
        ("/api/v1/completeness?scope=nowhere".to_owned(), 404, "not-found"),
        ("/api/v1/completeness?scope=zhangye&depth=2".to_owned(), 400, "invalid"),
        ("/api/v1/completeness?scope=zhangye&window=1s".to_owned(), 422, "too-wide"),
        ("/api/v1/completeness?scope=zhangye&from=2026-04-01T00:00:00Z".to_owned(), 422, "too-wide"),
        (
            "/api/v1/completeness?scope=zhangye&from=2026-04-03T01:00:00%2B08:00&window=1d".to_owned(),
            422,
            "too-wide",
        ),
        ("/api/v1/streams/alerts?scope=nowhere".to_owned(), 404, "not-found"),
        ("/api/v1/streams/alerts?after=x".to_owned(), 400, "invalid"),
        ("/api/v1/streams/live".to_owned(), 400, "invalid"),
        ("/api/v1/streams/live?scope=nowhere".to_owned(), 404, "not-found"),
    ] {
        check(&get(served.at, &target).await, status, kind, &target);
    }
    let answer = get(served.at, &format!("{point}/aggregates?window=1s")).await;
    assert_eq!(answer.json()["suggested_window"], json!("1m"));
}

#[tokio::test]
async fn every_bad_write_is_a_problem_and_changes_nothing() {
    let served = served().await;
    served.happen("base-1");
    let json_type = ("Content-Type", "application/json");
    let (big, long) = (json!({"by": "x", "note": "y".repeat(17_000)}).to_string(), "长".repeat(501));
    for (headers, body, status, kind) in [
        (vec![json_type], "{}".to_owned(), 400, "invalid"),
        (vec![json_type], "{".to_owned(), 400, "invalid"),
        (vec![json_type], "".to_owned(), 400, "invalid"),
        (vec![json_type], json!({"by": "x", "severity": "blue"}).to_string(), 400, "invalid"),
        (vec![json_type], json!({"by": "x", "by_id": 1}).to_string(), 400, "invalid"),
        (vec![json_type], json!({"by": 1}).to_string(), 400, "invalid"),
        (vec![json_type], json!({"by": "  "}).to_string(), 400, "invalid"),
        (vec![json_type], json!({"by": "x\u{1b}[31m"}).to_string(), 400, "invalid"),
        (vec![json_type], json!({"by": "x".repeat(65)}).to_string(), 400, "invalid"),
        (vec![json_type], json!({"by": "x", "note": long}).to_string(), 400, "invalid"),
        (vec![json_type], big, 413, "too-large"),
        (vec![], json!({"by": "x"}).to_string(), 415, "unsupported-media-type"),
        (vec![("Content-Type", "text/plain")], json!({"by": "x"}).to_string(), 415, "unsupported-media-type"),
        (
            vec![json_type, ("Origin", "https://evil.example")],
            json!({"by": "x"}).to_string(),
            403,
            "cross-site",
        ),
        (vec![json_type, ("Origin", "null")], json!({"by": "x"}).to_string(), 403, "cross-site"),
        (
            vec![json_type, ("Sec-Fetch-Site", "cross-site")],
            json!({"by": "x"}).to_string(),
            403,
            "cross-site",
        ),
        (vec![json_type, ("Sec-Fetch-Site", "same-site")], json!({"by": "x"}).to_string(), 403, "cross-site"),
        (vec![json_type, ("Sec-Fetch-Site", "none")], json!({"by": "x"}).to_string(), 403, "cross-site"),
        (vec![json_type, ("Host", "evil.example")], json!({"by": "x"}).to_string(), 421, "wrong-host"),
    ] {
        let answer = send(served.at, "POST", "/api/v1/alerts/1/acknowledge", &headers, body.as_bytes()).await;
        check(&answer, status, kind, &format!("{headers:?} {}", body.chars().take(60).collect::<String>()));
    }
    for (method, target) in
        [("DELETE", "/api/v1/alerts/1/acknowledge"), ("POST", "/api/v1/tree"), ("PUT", "/")]
    {
        check(&send(served.at, method, target, &[], b"").await, 405, "method-not-allowed", target);
    }
    assert_eq!(get(served.at, "/api/v1/alerts").await.json()["items"][0]["acknowledged"], json!(null));
    let own = format!("http://{}", served.at);
    let headers = [json_type, ("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    let answer = send(served.at, "POST", "/api/v1/alerts/1/acknowledge", &headers, b"{\"by\":\"x\"}").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn pages_of_other_sites_get_no_stream_and_no_other_name_is_answered() {
    let served = served().await;
    let stream = "/api/v1/streams/alerts";
    for (target, headers, status, kind) in [
        (stream, ("Sec-Fetch-Site", "cross-site"), 403, "cross-site"),
        (stream, ("Origin", "http://localhost:1"), 403, "cross-site"),
        ("/api/v1/tree", ("Host", "rebound.example"), 421, "wrong-host"),
        ("/", ("Host", "rebound.example:8080"), 421, "wrong-host"),
    ] {
        check(&send(served.at, "GET", target, &[headers], b"").await, status, kind, target);
    }
}

#[tokio::test]
async fn no_path_leads_to_a_file() {
    let served = served().await;
    let steps = [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "..%2f",
        "..%5c",
        "%252e%252e",
        "..;",
        "....//",
        "..\\",
        "%c0%ae%c0%ae",
        "%00",
        "..%00",
        "%u002e",
        ".",
    ];
    let goals = ["etc/passwd", "Cargo.toml", "src/lib.rs", "web/package.json", "proc/self/environ"];
    let roots =
        ["/", "/assets/", "/n/", "/b/", "/api/v1/nodes/", "/api/v1/bases/", "/api/v1/points/gw-1/soil-1/"];
    for root in roots {
        for step in steps {
            for goal in goals {
                for target in [
                    format!("{root}{step}/{goal}"),
                    format!("{root}{step}/{step}/{step}/{goal}"),
                    format!("{root}{step}{}", goal.replace('/', "%2f")),
                ] {
                    let answer = get(served.at, &target).await;
                    assert!([400, 404].contains(&answer.status), "{target}: {}", answer.status);
                    if !answer.body.is_empty() {
                        check(&answer, answer.status, "not-found", &target);
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_large_queries_run_at_once() {
    let served = served_with(|settings| {
        settings.limits.queries = 1;
        settings.limits.query_wait = Duration::ZERO;
    })
    .await;
    let (at, target) = (served.at, format!("/api/v1/points/{POINT}/readings"));
    let (locked, is_locked) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let world = Arc::clone(&served.world);
    let holder = std::thread::spawn(move || {
        let _gate = world.gate.lock().unwrap();
        locked.send(()).unwrap();
        released.recv().unwrap();
    });
    is_locked.recv().unwrap();
    let asked = target.clone();
    let first = tokio::spawn(async move { get(at, &asked).await });
    while served.world.at_gate.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let second = get(at, &target).await;
    check(&second, 503, "unavailable", "crowded");
    assert_eq!(second.header("retry-after"), Some("2"));
    assert_eq!(get(at, "/api/v1/tree").await.status, 200);
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap().status, 200);
    holder.join().unwrap();
    assert_eq!(get(at, &target).await.status, 200);
}

#[tokio::test]
async fn addresses_that_can_be_reached_from_outside_are_refused() {
    for (address, ok) in [
        ("127.0.0.1:0", true),
        ("127.8.8.8:0", true),
        ("0.0.0.0:0", false),
        ("[::]:0", false),
        ("192.168.1.1:80", false),
        ("[::ffff:10.0.0.1]:80", false),
    ] {
        let address: SocketAddr = address.parse().unwrap();
        let refused = sitian_api::check_address(address).err().map(|e| e.to_string());
        assert_eq!(refused.is_none(), ok, "{address}");
        assert!(ok || refused.unwrap().contains("until access control is configured"), "{address}");
    }
    let open = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let router = axum::Router::new();
    let ended =
        sitian_api::serve(open, router, sitian_api::Live::new(), Duration::ZERO, std::future::pending())
            .await;
    assert!(matches!(ended, Err(sitian_api::ServeError::NotLoopback(_))));
}

/// Queries that are understood, then changed in a few places, always in the same way: each is answered or refused in the
/// common form, and none is a fault of ours.
#[tokio::test]
async fn queries_that_mutations_make_of_good_ones_are_answered_or_refused() {
    const PIECES: [&str; 24] = [
        "&",
        "=",
        "%",
        "%00",
        "%FF",
        "%E6%B5",
        "+",
        "-",
        "T",
        "Z",
        ":",
        "9",
        "0",
        ".",
        "1e308",
        "NaN",
        "null",
        "[]",
        "99999999999999999999",
        "-9223372036854775808",
        "9999-12-31T23:59:59Z",
        "%2B08:00",
        "1d",
        "scope=zhangye",
    ];
    let served = served().await;
    let point = format!("/api/v1/points/{POINT}");
    let seeds = [
        format!(
            "{point}/readings?from=2026-05-03T22:29:58Z&to=2026-05-04T06:29:58%2B08:00&limit=10&cursor=1777847399000"
        ),
        format!("{point}/aggregates?from=2026-05-03T22:29:58Z&to=2026-05-04T06:29:58Z&window=1h"),
        "/api/v1/rollups?scope=zhangye&depth=3".to_owned(),
        "/api/v1/alerts?scope=zhangye&phase=open&severity=orange&limit=5&cursor=7".to_owned(),
        "/api/v1/incidents?scope=zhangye&limit=5".to_owned(),
        "/api/v1/completeness?scope=zhangye&from=2026-05-03T22:29:58Z&to=2026-05-04T06:29:58Z".to_owned(),
        "/api/v1/quarantine?scope=zhangye&limit=5".to_owned(),
        "/api/v1/commands?gateway=gw-1&limit=5".to_owned(),
        "/api/v1/bases/base-1/latest?sparkline=true".to_owned(),
    ];
    let mut random = 0x5EED_u64;
    let mut below = |n: usize| {
        random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (random >> 33) as usize % n
    };
    let mut refused = 0;
    for n in 0..1_000 {
        let seed = &seeds[n % seeds.len()];
        let (path, query) = seed.split_once('?').unwrap();
        let mut query = query.to_owned();
        for _ in 0..=below(3) {
            let from = below(query.len() + 1);
            let to = (from + below(6)).min(query.len());
            query.replace_range(from..to, if below(4) == 0 { "" } else { PIECES[below(PIECES.len())] });
        }
        let target = format!("{path}?{query}");
        let answer = get(served.at, &target).await;
        if answer.status != 200 {
            let kind = if answer.status == 404 { "not-found" } else { "invalid" };
            check(&answer, if answer.status == 404 { 404 } else { 400 }, kind, &target);
            refused += 1;
        }
    }
    assert!((100..1_000).contains(&refused), "{refused} of 1000 were refused");
}
