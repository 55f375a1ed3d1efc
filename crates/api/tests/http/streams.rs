//! Streams lose nothing, repeat nothing, and end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::client::{Events, get};
use crate::world::{POINT, Served, served, served_with, valve};

const ALERTS: &str = "/api/v1/streams/alerts";

/// The stream tells exactly these cursors next, in this order.
async fn expect(events: &mut Events, cursors: impl IntoIterator<Item = u64>) {
    for cursor in cursors {
        let block = events.event().await.expect("the stream goes on");
        assert_eq!((block.event.as_str(), block.id), ("alert", Some(cursor)));
        assert_eq!(block.data["id"], json!(cursor));
    }
}

/// A stream that has caught up: from here on it learns from the bus, and only there that it has to look at the log.
async fn caught_up(served: &Served) -> Events {
    let events = Events::open(served.at, ALERTS, &[]).await;
    while served.world.at_end.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    events
}

#[tokio::test]
async fn an_alert_stream_resumes_where_it_was_cut() {
    let served = served().await;
    for _ in 0..5 {
        served.happen("base-1");
    }
    for (target, header, replayed) in [
        (ALERTS.to_owned(), None, 6..6),
        (ALERTS.to_owned(), Some("0"), 1..6),
        (ALERTS.to_owned(), Some("3"), 4..6),
        (ALERTS.to_owned(), Some("5"), 6..6),
        (ALERTS.to_owned(), Some("900"), 6..6),
        (format!("{ALERTS}?after=2"), None, 3..6),
        (format!("{ALERTS}?after=2"), Some("4"), 5..6),
        (format!("{ALERTS}?scope=base-1&after=0"), None, 1..6),
        (format!("{ALERTS}?scope=shajing&after=0"), None, 6..6),
    ] {
        let served = &served;
        let headers: Vec<_> = header.iter().map(|id| ("Last-Event-ID", *id)).collect();
        let mut events = Events::open(served.at, &target, &headers).await;
        expect(&mut events, replayed).await;
    }
    let mut events = Events::open(served.at, &format!("{ALERTS}?after=4"), &[]).await;
    expect(&mut events, 5..6).await;
    served.happen("base-2");
    served.happen("base-1");
    expect(&mut events, 6..8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_between_replay_and_live() {
    const TOTAL: u64 = 3_000;
    let served = Arc::new(served().await);
    let writer = Arc::clone(&served);
    let writing = std::thread::spawn(move || {
        for _ in 0..TOTAL {
            writer.happen("base-1");
            std::thread::yield_now();
        }
    });
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let served = Arc::clone(&served);
        readers.spawn(async move {
            let mut events = Events::open(served.at, &format!("{ALERTS}?after=0"), &[]).await;
            expect(&mut events, 1..TOTAL + 1).await;
        });
    }
    readers.join_all().await;
    writing.join().unwrap();
}

#[tokio::test]
async fn a_stream_that_falls_behind_catches_up_from_the_log() {
    const BURST: u64 = 5_000;
    let served = served().await;
    let mut events = caught_up(&served).await;
    // The stream's task cannot run in between: its queue on the bus overflows.
    for _ in 0..BURST {
        served.happen("base-1");
    }
    expect(&mut events, 1..BURST + 1).await;
}

#[tokio::test]
async fn announcements_out_of_order_are_told_in_order() {
    let served = served().await;
    let mut events = caught_up(&served).await;
    let (one, two, three) =
        (served.world.write("base-1"), served.world.write("base-1"), served.world.write("base-1"));
    served.live.alert(two);
    served.live.alert(one.clone());
    served.live.alert(one);
    served.live.alert(three);
    served.happen("base-1");
    expect(&mut events, 1..5).await;
}

#[tokio::test]
async fn the_list_and_a_stream_after_its_cursor_leave_no_gap() {
    let served = served().await;
    served.happen("base-1");
    let cursor = get(served.at, "/api/v1/alerts").await.json()["log_cursor"].as_str().unwrap().to_owned();
    served.happen("base-1");
    let mut events = Events::open(served.at, &format!("{ALERTS}?after={cursor}"), &[]).await;
    expect(&mut events, 2..3).await;
}

#[tokio::test]
async fn the_live_stream_of_a_base_shows_all_and_then_what_is_new() {
    let served = served().await;
    let mut events = Events::open(served.at, "/api/v1/streams/live?scope=base-1", &[]).await;
    assert_eq!(events.named("reading").await.data["items"].as_array().unwrap().len(), 2);
    *served.world.moisture.lock().unwrap() = 13.5;
    served.live.readings_changed(["base-2"]);
    served.live.readings_changed(["base-1"]);
    let news = events.named("reading").await.data;
    assert_eq!(news["items"].as_array().unwrap().len(), 1);
    assert_eq!((&news["items"][0]["point"], &news["items"][0]["value"]), (&json!(POINT), &json!(13.5)));
    served.happen("base-2");
    served.happen("base-1");
    assert_eq!(events.named("alert").await.id, Some(2));
}

#[tokio::test]
async fn the_live_stream_of_a_base_tells_how_its_outputs_stand_and_only_what_is_new() {
    let served = served().await;
    let stands = |away: bool| {
        *served.world.valve.lock().unwrap() = Some(valve(away));
        served.live.readings_changed(["base-1"]);
    };
    *served.world.valve.lock().unwrap() = Some(valve(false));
    let mut events = Events::open(served.at, "/api/v1/streams/live?scope=base-1", &[]).await;
    assert_eq!(events.named("outputs").await.data["items"][0]["away"], json!(false));
    // A newer value of a condition is a reading and no news of the output.
    if let Some(valve) = served.world.valve.lock().unwrap().as_mut() {
        valve.conditions[0].value = Some(12.0);
    }
    served.live.readings_changed(["base-1"]);
    stands(true);
    let news = events.named("outputs").await.data;
    assert_eq!((&news["items"][0]["away"], &news["items"][0]["value"]), (&json!(true), &json!(1.0)));
}

#[tokio::test]
async fn the_live_stream_of_a_node_shows_itself_and_its_children_and_no_readings() {
    let served = served().await;
    let mut events = Events::open(served.at, "/api/v1/streams/live?scope=ganzhou", &[]).await;
    let first = events.event().await.unwrap();
    let ids: Vec<_> = first.data["items"].as_array().unwrap().iter().map(|i| i["id"].clone()).collect();
    assert_eq!(
        (first.event.as_str(), ids),
        ("rollup", vec![json!("ganzhou"), json!("dangzhai"), json!("shajing")])
    );
    served.live.rollup_changed(); // nothing has: nothing is told
    served.live.readings_changed(["ganzhou", "base-1"]);
    *served.world.moisture.lock().unwrap() = 40.0;
    served.live.rollup_changed();
    let next = events.event().await.unwrap();
    assert_eq!((next.event.as_str(), &next.data["items"][2]["state"]), ("rollup", &json!("alert")));
}

#[tokio::test]
async fn an_idle_stream_says_that_it_is_alive_and_is_never_compressed() {
    let served = served_with(|settings| settings.limits.heartbeat = Duration::from_millis(10)).await;
    let mut events = Events::open(served.at, ALERTS, &[("Accept-Encoding", "gzip")]).await;
    let header = |name: &str| events.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    assert_eq!(
        (header("content-encoding"), header("content-type")),
        (None, Some("text/event-stream".to_owned()))
    );
    for _ in 0..3 {
        assert!(events.block().await.unwrap().comment);
    }
}

#[tokio::test]
async fn only_so_many_streams_are_open_and_hanging_up_makes_room() {
    let served = served_with(|settings| settings.limits.streams = 1).await;
    let events = Events::open(served.at, ALERTS, &[]).await;
    assert_eq!(get(served.at, ALERTS).await.status, 503);
    drop(events);
    loop {
        let answer = crate::client::send(served.at, "HEAD", ALERTS, &[], b"").await;
        if answer.status == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn shutdown_ends_every_stream_cleanly_and_then_the_server() {
    let served = served().await;
    let mut alerts = Events::open(served.at, ALERTS, &[]).await;
    let mut live = Events::open(served.at, "/api/v1/streams/live?scope=base-1", &[]).await;
    served.stop.send(()).unwrap();
    while live.event().await.is_some() {}
    assert_eq!(alerts.event().await, None);
    served.ended.await.unwrap();
}
