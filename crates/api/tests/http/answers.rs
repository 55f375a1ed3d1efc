//! What is asked well is answered well.

use serde_json::{Value, json};

use crate::client::{get, leave_after_head, send};
use crate::world::{POINT, Served, served, valve};

#[tokio::test]
async fn every_route_answers() {
    let served = served().await;
    served.happen("base-1");
    let point = format!("/api/v1/points/{POINT}");
    for (target, pointer, expected) in [
        ("/api/v1/health".to_owned(), "/broker/since", json!("2026-05-04T06:30:00.000+08:00")),
        ("/api/v1/openapi.json".to_owned(), "/info/title", json!("Sitian")),
        ("/api/v1/measurements".to_owned(), "/items/0/medium", json!("soil")),
        ("/api/v1/rules".to_owned(), "/items", json!([])),
        ("/api/v1/tree".to_owned(), "/items/0/name/zh", json!("张掖市")),
        ("/api/v1/rollups?scope=zhangye".to_owned(), "/items/1", json!(null)),
        ("/api/v1/rollups?scope=zhangye&depth=3".to_owned(), "/items/5/id", json!("base-2")),
        ("/api/v1/rollups?scope=base-1".to_owned(), "/at", json!("2026-05-04T06:30:00.000+08:00")),
        ("/api/v1/nodes/ganzhou".to_owned(), "/children/1/node/id", json!("shajing")),
        ("/api/v1/bases/base-1".to_owned(), "/breadcrumb/3/level", json!("base")),
        (
            "/api/v1/bases/base-1/points".to_owned(),
            "/items/0/limits/0",
            json!({"rule": "soil-dry", "severity": "orange", "below": 12.0}),
        ),
        ("/api/v1/bases/base-1/latest".to_owned(), "/items/0/sparkline", json!(null)),
        ("/api/v1/bases/base-1/latest?sparkline=true".to_owned(), "/items/0/sparkline/29", json!(null)),
        (point.clone(), "/id", json!(POINT)),
        (format!("{point}/readings"), "/completeness/expected", json!(3600)),
        (
            format!("{point}/readings?from=2026-05-04T06:29:58+08:00&limit=1"),
            "/next_cursor",
            json!("1777847399000"),
        ),
        (
            format!("{point}/readings?from=2026-05-03T22:29:58Z&cursor=1777847399000"),
            "/items/0/at",
            json!("2026-05-04T06:29:59.000+08:00"),
        ),
        (format!("{point}/readings"), "/undated", json!([])),
        (format!("{point}/readings?undated=false"), "/undated", json!([])),
        (format!("{point}/readings?undated=true"), "/undated/0/count", json!(99)),
        (format!("{point}/aggregates?window=1d"), "/items/0/from", json!("2026-05-03T00:00:00.000+08:00")),
        (format!("{point}/aggregates"), "/window_ms", json!(300_000)),
        (format!("{point}/aggregates?fn=mean,sum"), "/items/0/time_weighted", json!(null)),
        (format!("{point}/aggregates?fn=mean,twa"), "/items/0/time_weighted", json!(11.6)),
        (format!("{point}/aggregates?fn=increase"), "/items/0/increase", json!(0.6)),
        (
            format!("{point}/aggregates?fn=p95,p99.9,p95"),
            "/items/0/percentiles",
            json!({"p95": 11.9, "p99.9": 11.9}),
        ),
        (format!("{point}/outline?columns=7"), "/items/6/value", json!(11.5)),
        (
            "/api/v1/alerts?scope=zhangye&phase=open&severity=orange&limit=5".to_owned(),
            "/items/0/subject/type",
            json!("point"),
        ),
        ("/api/v1/quarantine?scope=zhangye&limit=5".to_owned(), "/items/0/form", json!("message")),
        ("/api/v1/quarantine".to_owned(), "/waiting_bytes", json!(812)),
        ("/api/v1/gateways".to_owned(), "/items/1/id", json!("zy-07")),
        ("/api/v1/gateways?unassigned=true".to_owned(), "/items/0/id", json!("zy-07")),
        ("/api/v1/alerts?phase=resolved".to_owned(), "/log_cursor", json!("1")),
    ] {
        check(&served, &target, pointer, &expected).await;
    }
}

/// The answer is good JSON and holds `expected` at `pointer`; null stands for nothing there.
async fn check(served: &Served, target: &str, pointer: &str, expected: &Value) {
    let answer = get(served.at, target).await;
    assert_eq!(answer.status, 200, "{target} {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{target}");
    let there = !expected.is_null() || pointer.ends_with("29");
    assert_eq!(answer.json().pointer(pointer), there.then_some(expected), "{target}");
}

#[tokio::test]
async fn incidents_gaps_and_the_ledger_answer() {
    let served = served().await;
    *served.world.valve.lock().unwrap() = Some(valve(false));
    let point = format!("/api/v1/points/{POINT}");
    for (target, pointer, expected) in [
        ("/api/v1/commands?gateway=gw-1&limit=1".to_owned(), "/items/0/state", json!("pending")),
        (
            "/api/v1/commands?scope=zhangye".to_owned(),
            "/items/0/expires",
            json!("2026-05-04T06:31:00.000+08:00"),
        ),
        ("/api/v1/bases/base-1/outputs".to_owned(), "/items/0/conditions/0/holds", json!("yes")),
        ("/api/v1/incidents?scope=zhangye&limit=5".to_owned(), "/items/0/kind", json!("clone")),
        ("/api/v1/incidents?from=2026-05-05T00:00:00Z".to_owned(), "/items/0", json!(null)),
        ("/api/v1/incidents?cursor=3".to_owned(), "/items/0", json!(null)),
        ("/api/v1/gaps?scope=ganzhou".to_owned(), "/items/0/reason", json!("evicted")),
        ("/api/v1/gaps".to_owned(), "/next_cursor", json!("2")),
        ("/api/v1/completeness?scope=zhangye".to_owned(), "/window_ms", json!(86_400_000)),
        ("/api/v1/completeness?scope=zhangye&window=1h".to_owned(), "/window_ms", json!(3_600_000)),
        ("/api/v1/completeness?scope=zhangye".to_owned(), "/items/1", json!(null)),
        ("/api/v1/completeness?scope=ganzhou&depth=1".to_owned(), "/items/2/id", json!("shajing")),
        (
            "/api/v1/completeness?scope=base-1&from=2026-05-04T06:10:00%2B08:00&window=1h".to_owned(),
            "/items/0/from",
            json!("2026-05-04T06:00:00.000+08:00"),
        ),
        (
            "/api/v1/completeness?scope=base-1&window=1m".to_owned(),
            "/items/0/to",
            json!("2026-05-04T06:29:55.000+08:00"),
        ),
        (
            "/api/v1/completeness?scope=base-1".to_owned(),
            "/items/0/missing",
            json!({"timeout": 120, "gateway_down": 43}),
        ),
        (format!("{point}/aggregates?window=1d"), "/missing/timeout", json!(2)),
    ] {
        check(&served, &target, pointer, &expected).await;
    }
}

#[tokio::test]
async fn what_is_polled_is_sent_once() {
    let served = served().await;
    for target in [
        "/api/v1/tree",
        "/api/v1/rollups?scope=zhangye&depth=1",
        "/api/v1/rules",
        "/api/v1/openapi.json",
        "/",
    ] {
        let first = get(served.at, target).await;
        let tag = first.header("etag").unwrap();
        for (asked, status) in
            [(tag, 304), ("\"other\", W/\"more\"", 200), ("*", 304), (tag.trim_start_matches("W/"), 304)]
        {
            let again = send(served.at, "GET", target, &[("If-None-Match", asked)], b"").await;
            assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{target} {asked}");
        }
        assert!(!first.header("cache-control").unwrap().contains("no-store"), "{target}");
    }
    let target = "/api/v1/rollups?scope=zhangye";
    let tag = get(served.at, target).await.header("etag").unwrap().to_owned();
    *served.world.moisture.lock().unwrap() = 40.0;
    assert_eq!(send(served.at, "GET", target, &[("If-None-Match", &tag)], b"").await.status, 200);
}

#[tokio::test]
async fn an_acknowledgement_is_kept_and_repeating_it_changes_nothing() {
    let served = served().await;
    served.happen("base-1");
    let post = async |id: u64, body: &str| {
        let target = format!("/api/v1/alerts/{id}/acknowledge");
        send(served.at, "POST", &target, &[("Content-Type", "application/json")], body.as_bytes()).await
    };
    let long = "长".repeat(500);
    for (body, by) in [
        (json!({"by": " 王建国 ", "note": "已关阀"}), "王建国"),
        (json!({"by": "somebody else"}), "王建国"),
        (json!({"by": "x".repeat(64), "note": long}), "王建国"),
    ] {
        let answer = post(1, &body.to_string()).await;
        assert_eq!(
            (answer.status, &answer.json()["acknowledged"]["by"]),
            (200, &json!(by)),
            "{}",
            answer.text()
        );
    }
    assert_eq!(post(2, &json!({"by": "x"}).to_string()).await.status, 404);
}

#[tokio::test]
async fn large_json_travels_compressed_and_small_json_does_not() {
    let served = served().await;
    for (target, compressed) in
        [("/api/v1/measurements", true), ("/api/v1/rules", false), ("/api/v1/health", false)]
    {
        let answer = send(served.at, "GET", target, &[("Accept-Encoding", "gzip")], b"").await;
        assert_eq!(answer.header("content-encoding"), compressed.then_some("gzip"), "{target}");
        assert_eq!(answer.body.starts_with(&[0x1f, 0x8b]), compressed, "{target}");
        assert_eq!(get(served.at, target).await.header("content-encoding"), None, "{target}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_protecting_headers() {
    let served = served().await;
    for target in ["/", "/n/zhangye", "/api/v1/health", "/api/v1/nope", "/nope", "/api/v1/rollups"] {
        let answer = get(served.at, target).await;
        for (name, part) in [
            ("content-security-policy", "default-src 'self'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-"),
        ] {
            assert!(answer.header(name).is_some_and(|value| value.contains(part)), "{target} {name}");
        }
        assert!(!answer.header("content-security-policy").unwrap().contains("unsafe"), "{target}");
    }
    let page = get(served.at, "/b/base-1").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
}

#[tokio::test]
async fn an_export_is_a_file_whole_and_named() {
    let served = served().await;
    let span = "from=2026-05-04T06:29:57%2B08:00";
    for (asked, media, ending, first) in [
        ("", "text/csv; charset=utf-8", "csv", "gw-1/soil-1/soil_moisture Csv 1777847397000"),
        (
            "&format=parquet",
            "application/vnd.apache.parquet",
            "parquet",
            "gw-1/soil-1/soil_moisture Parquet 1777847397000",
        ),
        (
            "&format=jsonl",
            "application/x-ndjson",
            "jsonl",
            "gw-1/soil-1/soil_moisture JsonLines 1777847397000",
        ),
    ] {
        let answer = get(served.at, &format!("/api/v1/points/{POINT}/export?{span}{asked}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media)));
        let name = format!("attachment; filename=\"gw-1-soil-1-soil_moisture.{ending}\"");
        assert_eq!(answer.header("content-disposition"), Some(name.as_str()));
        let text = answer.text();
        assert_eq!(text.split('\n').next(), Some(first), "{text}");
        assert_eq!(text.matches("1777847399000").count(), 1, "{text}");
    }
}

#[tokio::test]
async fn an_export_whose_caller_leaves_is_ended() {
    let served = served().await;
    let target = format!("/api/v1/points/{POINT}/export?from=2025-06-01T00:00:00%2B08:00");
    leave_after_head(served.at, &target).await;
    let exported = || served.world.exported.load(std::sync::atomic::Ordering::SeqCst);
    // The only thing that can be waited for is that it no longer grows; the whole span would be 29 million readings.
    let mut seen = usize::MAX;
    while seen != exported() {
        seen = exported();
        for _ in 0..4 {
            assert_eq!(get(served.at, "/api/v1/health").await.status, 200);
        }
    }
    assert!(seen < 29_000_000, "{seen} readings were handed over to nobody");
}

#[tokio::test]
async fn a_correction_says_who_why_and_one_thing_and_is_told_back() {
    let served = served().await;
    let target = format!("/api/v1/points/{POINT}/corrections");
    let good = json!({"from": "2026-05-04T06:00:00+08:00", "to": "2026-05-04T06:10:00+08:00", "add": -0.5, "by": " 王工 ",
        "note": "探头校准"});
    let with = |changes: Value| {
        let mut body = good.clone();
        changes.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
        body
    };
    for (body, status) in [
        (good.clone(), 200),
        (with(json!({"add": null, "set": 12.5})), 200),
        (with(json!({"add": null, "restore": true})), 200),
        (with(json!({"set": 1})), 400),
        (with(json!({"restore": true})), 400),
        (with(json!({"add": null})), 400),
        (with(json!({"add": "much"})), 400),
        (with(json!({"by": " "})), 400),
        (with(json!({"note": ""})), 400),
        (with(json!({"note": "长".repeat(501)})), 400),
        (with(json!({"to": "2026-05-04T06:00:00+08:00"})), 400),
        (with(json!({"from": "now"})), 400),
        (with(json!({"force": true})), 400),
    ] {
        let headers = [("Content-Type", "application/json")];
        let answer = send(served.at, "POST", &target, &headers, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(served.world.corrected.lock().unwrap().len(), 3, "what is refused changes nothing");
    let told = get(served.at, &target).await.json();
    assert_eq!((&told["items"][2]["by"], &told["items"][2]["note"]), (&json!("王工"), &json!("探头校准")));
    let elsewhere = send(
        served.at,
        "POST",
        "/api/v1/points/gw-9/a/b/corrections",
        &[("Content-Type", "application/json")],
        good.to_string().as_bytes(),
    )
    .await;
    assert_eq!(elsewhere.status, 404);
}

#[tokio::test]
async fn a_command_is_taken_only_if_it_says_everything_and_is_told_back() {
    let served = served().await;
    let good = json!({"id": "c-1", "gateway": "gw-1", "device": "relay-1", "point": "relay_1", "value": 1, "by": "王工"});
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    for (body, status) in [
        (good.clone(), 200),
        (with("within_s", json!(3_600)), 200),
        (with("reason", json!("土壤偏干")), 200),
        (with("reason", json!("长".repeat(201))), 400),
        (with("reason", json!("two\nlines")), 400),
        (with("for_s", json!(600)), 200),
        (with("for_s", json!(0)), 400),
        (with("for_s", json!(86_401)), 400),
        (with("gateway", json!("gw-9")), 404),
        (with("id", json!("")), 400),
        (with("id", json!("a b")), 400),
        (with("point", json!("#")), 400),
        (with("by", json!(" ")), 400),
        (with("within_s", json!(0)), 400),
        (with("value", json!("1")), 400),
        (with("force", json!(true)), 400),
    ] {
        let headers = [("Content-Type", "application/json")];
        let answer = send(served.at, "POST", "/api/v1/commands", &headers, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, status, "{body}");
        if status == 200 {
            assert_eq!((&answer.json()["state"], &answer.json()["by"]), (&json!("pending"), &json!("王工")));
        }
    }
}
