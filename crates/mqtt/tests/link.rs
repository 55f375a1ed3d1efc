//! A link against a broker of a few lines that can be told to misbehave.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sitian_mqtt::{Credentials, Event, Link, LinkSettings, PublishError, Qos, Will};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const DISCONNECT: u8 = 14;

/// One accepted connection, seen from the broker.
struct Peer(TcpStream);

impl Peer {
    /// The next packet: type and body. `None` when the link has closed the connection.
    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.0.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.0.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some((first >> 4, body))
    }

    async fn expect(&mut self, kind: u8) -> Vec<u8> {
        let (found, body) = self.read().await.expect("a packet");
        assert_eq!(found, kind);
        body
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let mut packet = vec![PUBLISH << 4];
        let mut length = 2 + topic.len() + payload.len();
        while length > 0x7f {
            packet.push(length as u8 | 0x80);
            length >>= 7;
        }
        packet.extend_from_slice(&[length as u8, 0, topic.len() as u8]);
        packet.extend_from_slice(topic.as_bytes());
        packet.extend_from_slice(payload);
        self.write(&packet).await;
    }
}

async fn broker() -> (TcpListener, LinkSettings) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = LinkSettings::new("127.0.0.1", listener.local_addr().unwrap().port(), "gw-1");
    settings.reconnect_min = Duration::from_millis(1);
    settings.reconnect_max = Duration::from_millis(1);
    (listener, settings)
}

async fn accept(listener: &TcpListener, code: u8) -> (Peer, Vec<u8>) {
    let mut peer = Peer(listener.accept().await.unwrap().0);
    let connect = peer.expect(CONNECT).await;
    peer.write(&[0x20, 2, 0, code]).await;
    (peer, connect)
}

async fn grant(peer: &mut Peer, code: u8) -> Vec<u8> {
    let body = peer.expect(SUBSCRIBE).await;
    peer.write(&[0x90, 3, body[0], body[1], code]).await;
    body
}

async fn down(events: &mut Receiver<Event>) -> String {
    loop {
        if let Event::Down { reason } = events.recv().await.unwrap() {
            return reason;
        }
    }
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn a_connection_is_clean_carries_will_and_password_and_is_up_once_subscribed() {
    let (listener, mut settings) = broker().await;
    let password_file = std::env::temp_dir().join(format!("sitian-mqtt-{}", std::process::id()));
    std::fs::write(&password_file, "hush \n").unwrap();
    settings.credentials =
        Some(Credentials { username: "gw-1".into(), password_file: Some(password_file.clone()) });
    settings.will =
        Some(Will { topic: "t/state".into(), payload: Bytes::from_static(b"gone"), retain: true });
    settings.subscriptions = vec![("t/ack".into(), Qos::AtLeastOnce)];
    let (link, mut events) = Link::start(settings);
    let publisher = link.publisher();
    for session in 1..=2 {
        let (mut peer, connect) = accept(&listener, 0).await;
        assert_eq!(connect[..7], *b"\0\x04MQTT\x04", "MQTT 3.1.1");
        // User name, password, retained will at least once, clean session; 20 s keep-alive.
        assert_eq!(connect[7..10], [0b1110_1110, 0, 20]);
        assert!(has(&connect, b"gone") && has(&connect, b"\0\x05hush "), "{connect:?}");
        assert_eq!(publisher.session(), None);
        assert_eq!(publisher.try_publish("t", Qos::AtLeastOnce, false, "x"), Err(PublishError::Down));
        assert!(has(&grant(&mut peer, 1).await, b"t/ack\x01"));
        assert_eq!(events.recv().await, Some(Event::Up { session }));
        assert_eq!(publisher.try_publish("t", Qos::AtLeastOnce, false, "x"), Ok(session));
        assert_eq!(publisher.in_flight(), 1);
        assert!(has(&peer.expect(PUBLISH).await, b"\0\x01t"));
        drop(peer);
        down(&mut events).await;
        assert_eq!(publisher.in_flight(), 0, "what was under way is forgotten");
    }
    std::fs::remove_file(password_file).unwrap();
}

#[tokio::test]
async fn refusals_say_why() {
    let (listener, mut settings) = broker().await;
    settings.subscriptions = vec![("not/yours".into(), Qos::AtLeastOnce)];
    let (_link, mut events) = Link::start(settings);
    accept(&listener, 5).await;
    let reason = down(&mut events).await;
    assert!(reason.contains("NotAuthorized"), "{reason}");

    let (listener, mut settings) = broker().await;
    settings.subscriptions = vec![("not/yours".into(), Qos::AtLeastOnce)];
    let (_link, mut events) = Link::start(settings);
    let (mut peer, _) = accept(&listener, 0).await;
    grant(&mut peer, 0x80).await;
    let reason = down(&mut events).await;
    assert_eq!(reason, "the broker refuses the subscription to not/yours");

    let mut settings = LinkSettings::new("127.0.0.1", 1, "gw-1");
    settings.credentials =
        Some(Credentials { username: "u".into(), password_file: Some("/nowhere/word".into()) });
    let (_link, mut events) = Link::start(settings);
    let reason = down(&mut events).await;
    assert!(reason.starts_with("password file /nowhere/word: "), "{reason}");
}

#[tokio::test]
async fn what_can_never_be_sent_is_refused_at_once() {
    let (listener, mut settings) = broker().await;
    settings.payload_bytes_max = 10;
    let (link, mut events) = Link::start(settings);
    let (_peer, _) = accept(&listener, 0).await;
    assert_eq!(events.recv().await, Some(Event::Up { session: 1 }));
    for (topic, bytes, expected) in [
        ("t", 10, Ok(1)),
        ("t", 11, Err(PublishError::TooLarge { bytes: 11, max: 10 })),
        ("t/+", 1, Err(PublishError::Topic("t/+".into()))),
        ("#", 1, Err(PublishError::Topic("#".into()))),
        ("", 1, Err(PublishError::Topic(String::new()))),
    ] {
        let found = link.publisher().publish(topic, Qos::AtMostOnce, false, vec![0; bytes]).await;
        assert_eq!(found, expected, "{topic} {bytes}");
    }
}

#[tokio::test]
async fn a_broker_that_answers_pings_but_no_message_is_left_for_a_new_connection() {
    let (listener, mut settings) = broker().await;
    settings.keep_alive = Duration::from_secs(1);
    settings.inflight_max = 2;
    settings.queue_max = 1;
    let (link, mut events) = Link::start(settings);
    let publisher = link.publisher();
    let (mut peer, _) = accept(&listener, 0).await;
    let pings = tokio::spawn(async move {
        while let Some((kind, _)) = peer.read().await {
            if kind == 12 {
                peer.write(&[0xd0, 0]).await;
            }
        }
    });
    assert_eq!(events.recv().await, Some(Event::Up { session: 1 }));
    for _ in 0..3 {
        assert_eq!(publisher.publish("t", Qos::AtLeastOnce, false, "x").await, Ok(1));
    }
    assert_eq!(publisher.try_publish("t", Qos::AtLeastOnce, false, "x"), Err(PublishError::Full));
    assert_eq!(publisher.in_flight(), 3);
    // Waiting for room ends with the connection.
    assert_eq!(publisher.publish("t", Qos::AtLeastOnce, false, "x").await, Err(PublishError::Down));
    let reason = down(&mut events).await;
    assert!(reason.starts_with("stalled: "), "{reason}");
    pings.await.unwrap();
    accept(&listener, 0).await;
    assert_eq!(events.recv().await, Some(Event::Up { session: 2 }));
}

#[tokio::test]
async fn a_slow_receiver_stops_the_reading_and_loses_nothing() {
    let (listener, mut settings) = broker().await;
    settings.events_max = 1;
    let (_link, mut events) = Link::start(settings);
    let (mut peer, _) = accept(&listener, 0).await;
    let total = 400;
    let sent = Arc::new(AtomicU32::new(0));
    let count = sent.clone();
    let flood = tokio::spawn(async move {
        for n in 0..total {
            peer.publish("t", &vec![n as u8; 100_000]).await;
            count.store(n + 1, Ordering::Relaxed);
        }
        peer
    });
    for _ in 0..50_000 {
        tokio::task::yield_now().await;
    }
    // 40 MB fit into no buffer on the way, so the flood cannot be over before something is received.
    assert!(sent.load(Ordering::Relaxed) < total, "back-pressure");
    assert_eq!(events.recv().await, Some(Event::Up { session: 1 }));
    for n in 0..total {
        let payload = Bytes::from(vec![n as u8; 100_000]);
        assert_eq!(events.recv().await, Some(Event::Message { topic: "t".into(), payload, retain: false }));
    }
    flood.await.unwrap();
}

#[tokio::test]
async fn closing_sends_what_is_queued_and_then_a_goodbye() {
    let (listener, settings) = broker().await;
    let (link, mut events) = Link::start(settings);
    let (mut peer, _) = accept(&listener, 0).await;
    assert_eq!(events.recv().await, Some(Event::Up { session: 1 }));
    for _ in 0..10 {
        link.publisher().publish("t", Qos::AtLeastOnce, false, "x").await.unwrap();
    }
    assert!(link.close(Duration::from_secs(10)).await);
    for _ in 0..10 {
        peer.expect(PUBLISH).await;
    }
    peer.expect(DISCONNECT).await;
    assert_eq!(peer.read().await, None);
}

#[tokio::test]
async fn a_dropped_link_leaves_without_goodbye_and_a_told_link_reconnects() {
    let (listener, settings) = broker().await;
    let (link, mut events) = Link::start(settings);
    let (mut peer, _) = accept(&listener, 0).await;
    assert_eq!(events.recv().await, Some(Event::Up { session: 1 }));
    link.reconnect();
    assert_eq!(down(&mut events).await, "told to reconnect");
    assert_eq!(peer.read().await, None);
    let (mut peer, _) = accept(&listener, 0).await;
    assert_eq!(events.recv().await, Some(Event::Up { session: 2 }));
    drop(link);
    assert_eq!(peer.read().await, None);
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn what_is_listened_to_can_change_while_the_link_is_up_and_survives_reconnects() {
    const UNSUBSCRIBE: u8 = 10;
    let (listener, mut settings) = broker().await;
    settings.subscriptions = vec![("all/state".into(), Qos::AtLeastOnce)];
    let (link, mut events) = Link::start(settings);
    let topics = link.listener();
    // Nobody is there yet: it is for later.
    topics.listen([("gw-1/up".to_owned(), Qos::AtLeastOnce)]);
    let (mut peer, _) = accept(&listener, 0).await;
    assert!(has(&grant(&mut peer, 1).await, b"all/state\x01"));
    assert!(has(&grant(&mut peer, 1).await, b"gw-1/up\x01"));
    assert_eq!(events.recv().await, Some(Event::Up { session: 1 }));
    topics.listen(["gw-1/up", "gw-2/up"].map(|topic| (topic.to_owned(), Qos::AtLeastOnce)));
    link.publisher().try_publish("gw-2/ack", Qos::AtMostOnce, false, "x").unwrap();
    let fresh = grant(&mut peer, 1).await;
    assert!(has(&fresh, b"gw-2/up\x01") && !has(&fresh, b"gw-1/up"), "only what is new");
    assert!(has(&peer.expect(PUBLISH).await, b"gw-2/ack"), "after the broker was told");
    topics.leave(["gw-1/up"]);
    assert!(has(&peer.expect(UNSUBSCRIBE).await, b"gw-1/up"));
    drop(peer);
    down(&mut events).await;
    let (mut peer, _) = accept(&listener, 0).await;
    grant(&mut peer, 1).await;
    let again = grant(&mut peer, 1).await;
    assert!(has(&again, b"gw-2/up\x01") && !has(&again, b"gw-1/up"));
    drop(peer);
    down(&mut events).await;
    topics.listen((0..150).map(|n| (format!("gw-{n}/manifest"), Qos::AtLeastOnce)));
    let (mut peer, _) = accept(&listener, 0).await;
    grant(&mut peer, 1).await;
    for _ in 0..2 {
        peer.expect(SUBSCRIBE).await;
    }
    assert!(has(&grant(&mut peer, 0x80).await, b"/manifest\x01"));
    let reason = down(&mut events).await;
    assert!(reason.contains("refuses the subscription"), "{reason}");
}
