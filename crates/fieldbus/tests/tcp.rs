//! Modbus TCP against servers of a few lines that answer as told.

#![allow(clippy::unwrap_used)]

use sitian_fieldbus::{Bus, BusSettings, TcpSettings};
use sitian_poll::{Answer, Failure, Function, Request, Values, WriteRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn request(unit: u8, address: u16, count: u16) -> Request {
    Request { unit, function: Function::Holding, address, count, timeout_ms: 5_000 }
}

async fn bus() -> (Bus, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (Bus::open("test", BusSettings::Tcp(TcpSettings::new("127.0.0.1", port))).unwrap(), listener)
}

/// One connection, seen from the server.
struct Peer(TcpStream);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        Self(listener.accept().await.unwrap().0)
    }

    /// Transaction id, unit and protocol data unit of the next request.
    async fn read(&mut self) -> (u16, u8, Vec<u8>) {
        let mut prefix = [0; 7];
        self.0.read_exact(&mut prefix).await.unwrap();
        let mut body = vec![0; usize::from(u16::from_be_bytes([prefix[4], prefix[5]])) - 1];
        self.0.read_exact(&mut body).await.unwrap();
        (u16::from_be_bytes([prefix[0], prefix[1]]), prefix[6], body)
    }

    async fn write(&mut self, transaction: u16, unit: u8, body: &[u8]) {
        self.0.write_all(&frame(transaction, unit, body)).await.unwrap();
    }
}

fn frame(transaction: u16, unit: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = transaction.to_be_bytes().to_vec();
    frame.extend_from_slice(&[0, 0, 0, body.len() as u8 + 1, unit]);
    frame.extend_from_slice(body);
    frame
}

fn registers(words: &[u16]) -> Vec<u8> {
    let mut body = vec![3, words.len() as u8 * 2];
    body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    body
}

#[tokio::test]
async fn every_function_is_asked_and_answered() {
    let (mut bus, listener) = bus().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        for (body, reply) in [
            (vec![3, 0, 16, 0, 2], vec![3, 4, 0x12, 0x34, 0xff, 0xfe]),
            (vec![4, 0, 16, 0, 2], vec![4, 4, 0, 1, 0, 2]),
            (vec![1, 0, 16, 0, 2], vec![1, 1, 0b10]),
            (vec![2, 0, 16, 0, 2], vec![2, 1, 0b01]),
        ] {
            let (transaction, unit, asked) = peer.read().await;
            assert_eq!((unit, asked), (7, body));
            peer.write(transaction, 7, &reply).await;
        }
    };
    let client = async {
        for (function, expected) in [
            (Function::Holding, Answer::Registers(vec![0x1234, 0xfffe])),
            (Function::Input, Answer::Registers(vec![1, 2])),
            (Function::Coils, Answer::Bits(vec![false, true])),
            (Function::Discrete, Answer::Bits(vec![true, false])),
        ] {
            assert_eq!(bus.execute(Request { function, ..request(7, 16, 2) }).await, Ok(expected));
        }
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn wrong_replies_are_failures_and_the_connection_stays() {
    let (mut bus, listener) = bus().await;
    for (unit, body, expected) in [
        (1, vec![0x83, 2], Failure::Exception(2)),
        (1, vec![0x83, 11], Failure::Exception(11)),
        (1, registers(&[1]), Failure::Malformed),
        (1, registers(&[1, 2, 3]), Failure::Malformed),
        (2, registers(&[1, 2]), Failure::Malformed),
        (1, vec![4, 4, 0, 1, 0, 2], Failure::Malformed),
    ] {
        let server = async {
            let mut peer = Peer::accept(&listener).await;
            let (transaction, ..) = peer.read().await;
            peer.write(transaction, unit, &body).await;
            let (transaction, ..) = peer.read().await;
            peer.write(transaction, 1, &registers(&[5, 6])).await;
        };
        let client = async {
            assert_eq!(bus.execute(request(1, 0, 2)).await, Err(expected), "{body:?}");
            assert_eq!(bus.execute(request(1, 0, 2)).await, Ok(Answer::Registers(vec![5, 6])));
        };
        tokio::join!(server, client);
    }
}

#[tokio::test]
async fn late_replies_are_discarded_whole_or_in_halves_and_never_answer_another_request() {
    let (mut bus, listener) = bus().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        let (first, ..) = peer.read().await;
        let late = frame(first, 1, &registers(&[11, 11]));
        // Half of the late reply arrives in time for the timeout, the rest with the next answer.
        peer.0.write_all(&late[..9]).await.unwrap();
        let (second, ..) = peer.read().await;
        peer.0.write_all(&late[9..]).await.unwrap();
        // And once more, and from another unit.
        peer.write(first, 9, &registers(&[99, 99])).await;
        peer.write(second, 1, &registers(&[22, 22])).await;
        peer.write(second, 1, &registers(&[33, 33])).await;
        let (third, ..) = peer.read().await;
        peer.write(third, 1, &registers(&[44, 44])).await;
    };
    let client = async {
        let hasty = Request { timeout_ms: 50, ..request(1, 0x1000, 2) };
        assert_eq!(bus.execute(hasty).await, Err(Failure::Timeout));
        assert_eq!(bus.execute(request(1, 0x2000, 2)).await, Ok(Answer::Registers(vec![22, 22])));
        assert_eq!(bus.execute(request(1, 0x3000, 2)).await, Ok(Answer::Registers(vec![44, 44])));
        assert_eq!(bus.take_foreign(), [1, 9, 1]);
        assert_eq!(bus.take_foreign(), [0; 0]);
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_connection_dropped_while_idle_is_made_anew_within_the_request() {
    let (mut bus, listener) = bus().await;
    for value in 1..=3 {
        let server = async {
            let mut peer = Peer::accept(&listener).await;
            let (transaction, ..) = peer.read().await;
            peer.write(transaction, 1, &registers(&[value])).await;
        };
        let (answer, ()) = tokio::join!(bus.execute(request(1, 0, 1)), server);
        assert_eq!(answer, Ok(Answer::Registers(vec![value])));
    }
}

#[tokio::test]
async fn a_half_open_connection_is_given_up_after_three_silent_requests() {
    let (mut bus, listener) = bus().await;
    let hasty = Request { timeout_ms: 20, ..request(1, 0, 1) };
    for _ in 0..3 {
        assert_eq!(bus.execute(hasty).await, Err(Failure::Timeout));
    }
    let _half_open = Peer::accept(&listener).await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        let (transaction, ..) = peer.read().await;
        peer.write(transaction, 1, &registers(&[1])).await;
    };
    let (answer, ()) = tokio::join!(bus.execute(request(1, 0, 1)), server);
    assert_eq!(answer, Ok(Answer::Registers(vec![1])));
}

#[tokio::test]
async fn a_server_that_is_not_there_or_speaks_something_else_is_said_so() {
    let (mut bus, listener) = bus().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.read().await;
        peer.0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(bus.execute(request(1, 0, 1)), server);
    assert_eq!(answer, Err(Failure::Malformed));
    drop(listener);
    for _ in 0..2 {
        let failure = bus.execute(request(1, 0, 1)).await.unwrap_err();
        let Failure::Unreachable(reason) = failure else { panic!("{failure:?}") };
        assert!(reason.starts_with("127.0.0.1:") && reason.contains("refused"), "{reason}");
    }
}

#[tokio::test]
async fn every_kind_of_write_is_confirmed_by_what_repeats_it_and_by_nothing_else() {
    let (mut bus, listener) = bus().await;
    let cases = [
        (Values::Coil(true), vec![5, 0, 16, 0xFF, 0], vec![5, 0, 16, 0xFF, 0], Ok(Answer::Written)),
        (Values::Register(7), vec![6, 0, 16, 0, 7], vec![6, 0, 16, 0, 7], Ok(Answer::Written)),
        (
            Values::Coils(vec![true, false, true]),
            vec![15, 0, 16, 0, 3, 1, 0b101],
            vec![15, 0, 16, 0, 3],
            Ok(Answer::Written),
        ),
        (
            Values::Registers(vec![1, 2]),
            vec![16, 0, 16, 0, 2, 4, 0, 1, 0, 2],
            vec![16, 0, 16, 0, 2],
            Ok(Answer::Written),
        ),
        (Values::Coil(true), vec![5, 0, 16, 0xFF, 0], vec![5, 0, 16, 0, 0], Err(Failure::Malformed)),
        (Values::Register(7), vec![6, 0, 16, 0, 7], vec![6, 0, 17, 0, 7], Err(Failure::Malformed)),
        (Values::Register(7), vec![6, 0, 16, 0, 7], vec![0x86, 3], Err(Failure::Exception(3))),
    ];
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        for (_, expected, reply, _) in &cases {
            let (transaction, unit, body) = peer.read().await;
            assert_eq!((unit, &body), (1, expected));
            peer.write(transaction, 1, reply).await;
        }
    };
    let client = async {
        for (values, _, reply, expected) in &cases {
            let write = WriteRequest { unit: 1, address: 16, values: values.clone(), timeout_ms: 5_000 };
            assert_eq!(bus.execute(write).await, *expected, "{values:?} answered with {reply:?}");
        }
    };
    tokio::join!(server, client);
}
