//! The embedded broker and our link, together.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sitian_broker::{Broker, BrokerError, BrokerSettings};
use sitian_mqtt::{Event, Link, LinkSettings, PublishError, Qos, Will};
use tokio::sync::mpsc::Receiver;

fn start(listen: &str) -> Result<Broker, BrokerError> {
    Broker::start(BrokerSettings { listen: listen.parse().unwrap() })
}

fn link(address: SocketAddr, client_id: &str, subscription: &str) -> (Link, Receiver<Event>) {
    let mut settings = LinkSettings::new(address.ip().to_string(), address.port(), client_id);
    settings.subscriptions = vec![(subscription.into(), Qos::AtLeastOnce)];
    settings.reconnect_min = Duration::from_millis(20);
    settings.reconnect_max = Duration::from_millis(100);
    settings.will =
        Some(Will { topic: format!("sitian/v1/{client_id}/state"), payload: "gone".into(), retain: true });
    Link::start(settings)
}

async fn up(events: &mut Receiver<Event>) -> u64 {
    loop {
        if let Event::Up { session } = events.recv().await.unwrap() {
            return session;
        }
    }
}

async fn payload(events: &mut Receiver<Event>) -> (String, Vec<u8>, bool) {
    loop {
        if let Event::Message { topic, payload, retain } = events.recv().await.unwrap() {
            return (topic, payload.to_vec(), retain);
        }
    }
}

/// Sends `count` numbered messages and waits for all of them on the other side; returns what came, in order.
async fn send(from: &Link, topic: &str, to: &mut Receiver<Event>, count: u32) -> Vec<u32> {
    let publisher = from.publisher();
    let sending = async {
        for n in 0..count {
            let mut payload = vec![7; 300];
            payload[..4].copy_from_slice(&n.to_be_bytes());
            publisher.publish(topic, Qos::AtLeastOnce, false, payload).await.unwrap();
        }
    };
    let receiving = async {
        let mut numbers = Vec::new();
        while numbers.len() < count as usize {
            let (_, payload, _) = payload(to).await;
            numbers.push(u32::from_be_bytes(payload[..4].try_into().unwrap()));
        }
        numbers
    };
    tokio::join!(sending, receiving).1
}

#[tokio::test]
async fn a_thousand_messages_each_way_arrive_once_and_in_order() {
    let broker = start("127.0.0.1:0").unwrap();
    let (edge, mut edge_events) = link(broker.address(), "gw-1", "sitian/v1/gw-1/ack");
    let (centre, mut centre_events) = link(broker.address(), "ingestor", "sitian/v1/+/up");
    up(&mut edge_events).await;
    up(&mut centre_events).await;
    let (upward, downward) = tokio::join!(
        send(&edge, "sitian/v1/gw-1/up", &mut centre_events, 1_000),
        send(&centre, "sitian/v1/gw-1/ack", &mut edge_events, 1_000)
    );
    let expected: Vec<u32> = (0..1_000).collect();
    assert_eq!(upward, expected);
    assert_eq!(downward, expected);
    // The largest payload passes too.
    edge.publisher()
        .publish("sitian/v1/gw-1/up", Qos::AtLeastOnce, false, vec![0; 256 * 1024])
        .await
        .unwrap();
    assert_eq!(payload(&mut centre_events).await.1.len(), 256 * 1024);
}

#[tokio::test]
async fn links_outlive_the_broker() {
    let mut broker = start("127.0.0.1:0").unwrap();
    let address = broker.address();
    let (edge, mut edge_events) = link(address, "gw-1", "sitian/v1/gw-1/ack");
    let (_centre, mut centre_events) = link(address, "ingestor", "sitian/v1/+/up");
    for _ in 0..5 {
        assert!(broker.is_running());
        up(&mut edge_events).await;
        up(&mut centre_events).await;
        let numbers = send(&edge, "sitian/v1/gw-1/up", &mut centre_events, 100).await;
        assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>().len(), 100);
        drop(broker);
        assert!(matches!(edge_events.recv().await, Some(Event::Down { .. })));
        assert_eq!(
            edge.publisher().try_publish("sitian/v1/gw-1/up", Qos::AtLeastOnce, false, "x"),
            Err(PublishError::Down)
        );
        broker = start(&address.to_string()).unwrap();
    }
}

#[tokio::test]
async fn the_will_is_published_and_kept_when_a_link_vanishes_but_not_after_a_goodbye() {
    let broker = start("127.0.0.1:0").unwrap();
    let (_watcher, mut watched) = link(broker.address(), "watcher", "sitian/v1/+/state");
    up(&mut watched).await;
    let (polite, mut polite_events) = link(broker.address(), "polite", "none");
    up(&mut polite_events).await;
    assert!(polite.close(Duration::from_secs(10)).await);
    let (vanishing, mut vanishing_events) = link(broker.address(), "vanishing", "none");
    up(&mut vanishing_events).await;
    drop(vanishing);
    let (topic, content, _) = payload(&mut watched).await;
    assert_eq!((topic.as_str(), content.as_slice()), ("sitian/v1/vanishing/state", b"gone".as_slice()));

    let (_late, mut late_events) = link(broker.address(), "late", "sitian/v1/+/state");
    let (topic, _, retain) = payload(&mut late_events).await;
    assert_eq!((topic.as_str(), retain), ("sitian/v1/vanishing/state", true));
}

#[test]
fn addresses_that_will_not_do_are_refused_with_what_to_do() {
    let broker = start("127.0.0.1:0").unwrap();
    let taken = start(&broker.address().to_string()).unwrap_err().to_string();
    assert!(
        taken.contains("address in use: another broker? set broker.embedded = false or another port"),
        "{taken}"
    );
    for wide in ["0.0.0.0:0", "[::]:0", "192.0.2.1:1883"] {
        let refused = start(wide).unwrap_err().to_string();
        assert!(refused.contains("is not a loopback address"), "{refused}");
    }
}
