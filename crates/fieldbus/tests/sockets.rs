//! Modbus RTU over sockets: one that we open, and connections of DTUs that dial in.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use sitian_fieldbus::{Bus, BusSettings, DialSettings, PortSettings, RtuSettings, TcpSettings};
use sitian_poll::rtu::crc16;
use sitian_poll::{Answer, Failure, Function, Request};

fn request(unit: u8, address: u16, timeout_ms: u32) -> Request {
    Request { unit, function: Function::Holding, address, count: 1, timeout_ms }
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut frame = body.to_vec();
    frame.extend_from_slice(&crc16(body).to_le_bytes());
    frame
}

fn register(unit: u8, word: u16) -> Vec<u8> {
    sealed(&[unit, 3, 2, (word >> 8) as u8, word as u8])
}

fn open(port: PortSettings) -> Bus {
    Bus::open("test", BusSettings::Rtu(RtuSettings { port, baud: 9_600 })).unwrap()
}

/// An address that nobody listens on. Every test has a loopback address of its own, so that none takes another's port.
fn free_address(host: &str) -> String {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().to_string()
}

/// The other end of a connection: hears requests, says what it is told.
struct Far(TcpStream);

impl Far {
    fn dial(address: &str, says: &[u8]) -> Self {
        let mut far = Self(TcpStream::connect(address).unwrap());
        far.say(says);
        far
    }

    fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn hear(&mut self, unit: u8, address: u16) {
        let mut request = [0; 8];
        self.0.read_exact(&mut request).unwrap();
        assert_eq!(request[..4], [unit, 3, (address >> 8) as u8, address as u8]);
        assert_eq!(sealed(&request[..6]), request);
    }

    /// Waits until our side has closed.
    fn end(&mut self) {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
    }
}

/// Asks until the DTU is there.
async fn first_answer(bus: &mut Bus, asked: Request) -> Answer {
    loop {
        match bus.execute(asked).await {
            Ok(answer) => return answer,
            Err(Failure::Unreachable(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

/// A thread that plays the far end, beside the test's own.
fn aside<T: Send + 'static>(play: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    let handle = tokio::task::spawn_blocking(play);
    async { handle.await.unwrap() }
}

#[tokio::test]
async fn frames_over_a_socket_are_read_like_frames_on_a_line_and_a_timeout_ends_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bus = open(PortSettings::Tcp(TcpSettings::new("127.0.0.1", port)));
    let far = aside(move || {
        let mut far = Far(listener.accept().unwrap().0);
        far.hear(1, 5);
        far.say(&[register(2, 9), register(1, 42)].concat());
        far.hear(1, 6);
        // Says nothing: a timeout. Then the late reply comes just before the next answer.
        far.hear(3, 7);
        far.say(&[register(1, 66), register(3, 7)].concat());
        listener
    });
    assert_eq!(bus.execute(request(1, 5, 5_000)).await, Ok(Answer::Registers(vec![42])));
    assert_eq!(bus.execute(request(1, 6, 30)).await, Err(Failure::Timeout));
    assert_eq!(bus.execute(request(3, 7, 5_000)).await, Ok(Answer::Registers(vec![7])));
    assert_eq!(bus.take_foreign(), [2, 1]);
    let listener = far.await;
    // The far end is gone: that is told, and the next request opens anew.
    assert!(matches!(bus.execute(request(1, 5, 5_000)).await, Err(Failure::Unreachable(_))));
    let far = aside(move || {
        let mut far = Far(listener.accept().unwrap().0);
        far.hear(1, 8);
        far.say(&register(1, 8));
    });
    assert_eq!(first_answer(&mut bus, request(1, 8, 5_000)).await, Answer::Registers(vec![8]));
    far.await;
}

#[tokio::test]
async fn many_dtus_dial_in_to_one_listener_and_each_is_its_own_bus() {
    let listen = free_address("127.0.44.1");
    let dial = |name: &str| DialSettings {
        listen: listen.clone(),
        registration: format!("REG:{name};").into_bytes(),
        heartbeat: b"ping".to_vec(),
    };
    let names = ["861200000000001", "861200000000002", "861200000000003"];
    let mut buses = Vec::new();
    for name in names {
        buses.push(open(PortSettings::DialIn(dial(name))));
        let bus = buses.last_mut().unwrap();
        let failure = bus.execute(request(1, 0, 100)).await.unwrap_err();
        assert!(failure.to_string().contains("has not dialled in"), "{failure}");
        let listen = listen.clone();
        let far = aside(move || {
            // Junk of a modem that starts, then the registration in two pieces; a stranger comes first.
            Far::dial(&listen, b"AT+CSQ\r\nREG:999;");
            let mut far = Far::dial(&listen, b"\0\xFFATZ\r\nREG:");
            far.say(format!("{name};").as_bytes());
            far.hear(1, 0);
            far.say(b"ping");
            far.say(&register(1, 1));
            far.hear(2, 1);
            // Heartbeats split, doubled, and the registration once more in front of the data; junk between.
            far.say(b"pi");
            far.say(b"ngping");
            far.say(format!("REG:{name};\0").as_bytes());
            far.say(&[b"ping".to_vec(), register(2, 2)].concat());
            far
        });
        assert_eq!(first_answer(bus, request(1, 0, 5_000)).await, Answer::Registers(vec![1]));
        assert_eq!(bus.execute(request(2, 1, 5_000)).await, Ok(Answer::Registers(vec![2])));
        drop(far.await);
    }
}

#[tokio::test]
async fn a_second_connection_of_a_dtu_takes_the_place_of_the_first_and_silence_ends_none() {
    let listen = free_address("127.0.44.2");
    let settings =
        DialSettings { listen: listen.clone(), registration: b"A7".to_vec(), heartbeat: Vec::new() };
    let mut bus = open(PortSettings::DialIn(settings));
    assert!(bus.execute(request(1, 0, 10)).await.is_err());
    let address = listen.clone();
    let first = aside(move || {
        let mut far = Far::dial(&address, b"A7");
        far.hear(1, 0);
        far.say(&register(1, 1));
        far.hear(1, 1);
        far.hear(1, 2);
        far.hear(1, 3);
        far.hear(1, 4);
        far.say(&register(1, 4));
        far
    });
    assert_eq!(first_answer(&mut bus, request(1, 0, 5_000)).await, Answer::Registers(vec![1]));
    for address in 1..4 {
        assert_eq!(bus.execute(request(1, address, 20)).await, Err(Failure::Timeout), "still connected");
    }
    assert_eq!(bus.execute(request(1, 4, 5_000)).await, Ok(Answer::Registers(vec![4])));
    let mut old = first.await;
    let second = aside(move || {
        let mut far = Far::dial(&listen, b"A7");
        old.end();
        far.hear(1, 9);
        far.say(&register(1, 9));
    });
    // The old connection is closed from our side; what was asked on it fails, the new one answers.
    tokio::time::timeout(Duration::from_secs(20), async {
        assert_eq!(first_answer(&mut bus, request(1, 9, 5_000)).await, Answer::Registers(vec![9]));
        second.await;
    })
    .await
    .unwrap();
}
