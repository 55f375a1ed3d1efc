//! Modbus RTU over a pseudo-terminal, whose far end is a script: for each request the replies to give.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serialport::{SerialPort, TTYPort};
use sitian_fieldbus::{Bus, BusSettings, PortSettings, RtuSettings, SerialSettings};
use sitian_poll::rtu::crc16;
use sitian_poll::{Answer, Failure, Function, Request, Values, WriteRequest};
use sitian_profile::{Parity, Serial};

fn request(unit: u8, address: u16, count: u16) -> Request {
    Request { unit, function: Function::Holding, address, count, timeout_ms: 5_000 }
}

fn open(path: &str) -> Bus {
    let serial = Serial { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 };
    let port = PortSettings::Serial(SerialSettings { path: path.to_owned(), serial });
    Bus::open("test", BusSettings::Rtu(RtuSettings { port, baud: serial.baud })).unwrap()
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut frame = body.to_vec();
    frame.extend_from_slice(&crc16(body).to_le_bytes());
    frame
}

fn registers(unit: u8, words: &[u16]) -> Vec<u8> {
    let mut body = vec![unit, 3, words.len() as u8 * 2];
    body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    sealed(&body)
}

/// A device at the far end of a line: after each request, which must be well-formed, it writes the next reply.
struct Device {
    path: String,
    replies: mpsc::Sender<Vec<u8>>,
    requests: mpsc::Receiver<Vec<u8>>,
    _near: TTYPort,
}

impl Device {
    fn new() -> Self {
        let (mut far, near) = TTYPort::pair().unwrap();
        far.set_timeout(Duration::from_secs(60)).unwrap();
        let (replies, script) = mpsc::channel::<Vec<u8>>();
        let (heard, requests) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(reply) = script.recv() {
                let mut request = vec![0; 8];
                match far.read_exact(&mut request) {
                    Ok(()) => {}
                    Err(fault) if fault.kind() == ErrorKind::TimedOut => return,
                    Err(fault) => panic!("{fault}"),
                }
                if matches!(request[1], 15 | 16) {
                    let mut rest = vec![0; usize::from(request[6]) + 1];
                    far.read_exact(&mut rest).unwrap();
                    request.extend(rest);
                }
                assert_eq!(sealed(&request[..request.len() - 2]), request);
                far.write_all(&reply).unwrap();
                let _ = heard.send(request);
            }
        });
        Self { path: near.name().unwrap(), replies, requests, _near: near }
    }

    fn reply(&self, bytes: Vec<u8>) {
        self.replies.send(bytes).unwrap();
    }
}

#[tokio::test]
async fn requests_are_answered_at_the_asked_unit_function_and_length_only() {
    let device = Device::new();
    let mut bus = open(&device.path);
    let good = registers(1, &[0x1234, 0xfffe]);
    let ok = || Ok(Answer::Registers(vec![0x1234, 0xfffe]));
    let mut broken = good.clone();
    broken[4] ^= 1;
    for (name, reply, expected) in [
        ("plain", good.clone(), ok()),
        ("after another unit's reply", [registers(2, &[7, 7]), good.clone()].concat(), ok()),
        ("after a late reply of another length", [registers(1, &[7]), good.clone()].concat(), ok()),
        ("after its own echo", [sealed(&[1, 3, 0, 16, 0, 2]), good.clone()].concat(), ok()),
        ("after noise", [vec![0], good.clone()].concat(), ok()),
        ("wrong checksum", broken, Err(Failure::Checksum)),
        ("exception", sealed(&[1, 0x83, 2]), Err(Failure::Exception(2))),
    ] {
        device.reply(reply);
        assert_eq!(bus.execute(request(1, 16, 2)).await, expected, "{name}");
        assert_eq!(device.requests.recv().unwrap()[..6], [1, 3, 0, 16, 0, 2]);
    }
    assert_eq!(bus.take_foreign(), [2, 1], "the echo is no late reply");
}

#[tokio::test]
async fn a_late_reply_is_flushed_before_the_next_request() {
    let device = Device::new();
    let mut bus = open(&device.path);
    let hasty = Request { timeout_ms: 1, ..request(1, 16, 2) };
    device.reply(Vec::new());
    assert_eq!(bus.execute(hasty).await, Err(Failure::Timeout));
    // An answer followed by a second, late one that has the form of the next answer.
    device.reply([registers(1, &[1, 1]), registers(1, &[9, 9])].concat());
    assert_eq!(bus.execute(request(1, 16, 2)).await, Ok(Answer::Registers(vec![1, 1])));
    device.reply(registers(1, &[2, 2]));
    assert_eq!(bus.execute(request(1, 32, 2)).await, Ok(Answer::Registers(vec![2, 2])));
}

#[tokio::test]
async fn bits_come_back_as_many_as_asked() {
    let device = Device::new();
    let mut bus = open(&device.path);
    device.reply(sealed(&[1, 1, 2, 0b0000_0101, 0b1]));
    let asked = Request { function: Function::Coils, ..request(1, 0, 9) };
    let mut bits = vec![false; 9];
    (bits[0], bits[2], bits[8]) = (true, true, true);
    assert_eq!(bus.execute(asked).await, Ok(Answer::Bits(bits)));
}

#[tokio::test]
async fn a_port_that_vanishes_is_said_so_and_opened_again_when_it_is_back() {
    let link = std::env::temp_dir().join(format!("sitian-fieldbus-{}", std::process::id()));
    let mut bus = open(link.to_str().unwrap());
    let unreachable = |result| match result {
        Err(Failure::Unreachable(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let reason = unreachable(bus.execute(request(1, 0, 1)).await);
    assert!(reason.starts_with(link.to_str().unwrap()), "{reason}");
    for value in 1..=3 {
        let device = Device::new();
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&device.path, &link).unwrap();
        device.reply(registers(1, &[value]));
        assert_eq!(bus.execute(request(1, 0, 1)).await, Ok(Answer::Registers(vec![value])));
        // The far end goes, and with it the port.
        device.requests.recv().unwrap();
        let Device { replies, requests, .. } = device;
        drop(replies);
        assert!(requests.recv().is_err(), "the thread has ended");
        unreachable(bus.execute(request(1, 0, 1)).await);
    }
    std::fs::remove_file(&link).unwrap();
}

#[tokio::test]
async fn a_port_is_locked_while_a_bus_uses_it() {
    let device = Device::new();
    let mut first = open(&device.path);
    device.reply(registers(1, &[1]));
    assert_eq!(first.execute(request(1, 0, 1)).await, Ok(Answer::Registers(vec![1])));
    let mut second = open(&device.path);
    assert!(matches!(second.execute(request(1, 0, 1)).await, Err(Failure::Unreachable(_))));
}

#[tokio::test]
async fn writes_are_confirmed_also_on_a_line_that_gives_back_what_is_sent() {
    let device = Device::new();
    let mut bus = open(&device.path);
    let write = |values| WriteRequest { unit: 1, address: 3, values, timeout_ms: 5_000 };
    let coil = sealed(&[1, 5, 0, 3, 0xFF, 0]);
    let asked = sealed(&[1, 3, 0, 16, 0, 1]);
    let words = sealed(&[1, 16, 0, 3, 0, 2, 4, 0, 7, 0, 8]);
    let counted = sealed(&[1, 16, 0, 3, 0, 2]);
    for echoes in [false, true, false] {
        let echo = |frame: &[u8]| if echoes { frame.to_vec() } else { Vec::new() };
        device.reply([echo(&asked), registers(1, &[1])].concat());
        assert_eq!(bus.execute(request(1, 16, 1)).await, Ok(Answer::Registers(vec![1])));
        device.reply([echo(&coil), coil.clone()].concat());
        assert_eq!(bus.execute(write(Values::Coil(true))).await, Ok(Answer::Written));
        device.reply([echo(&words), counted.clone()].concat());
        assert_eq!(bus.execute(write(Values::Registers(vec![7, 8]))).await, Ok(Answer::Written));
        device.reply([echo(&coil), sealed(&[1, 0x85, 4])].concat());
        assert_eq!(bus.execute(write(Values::Coil(true))).await, Err(Failure::Exception(4)));
    }
    device.reply(asked.clone());
    let hasty = Request { timeout_ms: 20, ..request(1, 16, 1) };
    assert!(bus.execute(hasty).await.is_err());
}
