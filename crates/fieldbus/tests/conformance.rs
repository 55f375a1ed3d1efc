//! The corpus of Modbus TCP frames: what goes over the socket, byte for byte, and what is made of what comes back.

#![allow(clippy::unwrap_used)]

use sitian_fieldbus::{Bus, BusSettings, TcpSettings};
use sitian_poll::{Answer, Ask, Failure, Function, Request, Values, WriteRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CORPUS: &str = include_str!("../../../tests/golden/modbus/tcp.txt");

/// Bytes; TT TT stands for the transaction under way, WW WW for another one.
fn hex(text: &str, transaction: [u8; 2]) -> Vec<u8> {
    let [high, low] = transaction.map(|byte| format!("{byte:02X}"));
    let other = format!("{:02X}", transaction[1] ^ 0x55);
    let text = text.replace("TT TT", &format!("{high} {low}")).replace("WW WW", &format!("{high} {other}"));
    text.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn ask(text: &str, timeout_ms: u32) -> Ask {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |text: &str| u16::from_str_radix(text, 16).unwrap();
    let (unit, address, rest) = (number(words[0]) as u8, number(words[2]), &words[3..]);
    let read = |function| {
        Ask::Read(Request { unit, function, address, count: rest[0].parse().unwrap(), timeout_ms })
    };
    let write = |values| Ask::Write(WriteRequest { unit, address, values, timeout_ms });
    match words[1] {
        "coils" => read(Function::Coils),
        "discrete" => read(Function::Discrete),
        "holding" => read(Function::Holding),
        "input" => read(Function::Input),
        "coil" => write(Values::Coil(rest[0] == "1")),
        "register" => write(Values::Register(number(rest[0]))),
        "coils=" => write(Values::Coils(rest.iter().map(|bit| *bit == "1").collect())),
        "registers=" => write(Values::Registers(rest.iter().map(|word| number(word)).collect())),
        other => panic!("{other}"),
    }
}

fn shown(result: &Result<Answer, Failure>) -> String {
    let list = |words: Vec<String>| words.join(" ");
    match result {
        Ok(Answer::Written) => "written".to_owned(),
        Ok(Answer::Registers(words)) => {
            format!("registers {}", list(words.iter().map(|word| format!("{word:04X}")).collect()))
        }
        Ok(Answer::Bits(bits)) => {
            format!("bits {}", list(bits.iter().map(|bit| u8::from(*bit).to_string()).collect()))
        }
        Err(Failure::Exception(code)) => format!("exception {code}"),
        Err(Failure::Timeout) => "timeout".to_owned(),
        Err(Failure::Checksum) => "checksum".to_owned(),
        Err(Failure::Malformed) => "malformed".to_owned(),
        Err(Failure::Unreachable(_)) => "unreachable".to_owned(),
    }
}

async fn check(row: &str) {
    let parts: Vec<&str> = row.split('|').map(str::trim).collect();
    let [name, asked, request, response, expected] = parts[..] else { panic!("{row}") };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bus = Bus::open("corpus", BusSettings::Tcp(TcpSettings::new("127.0.0.1", port))).unwrap();
    // Silence is waited for; everything else comes at once, however busy the machine.
    let timeout_ms = if expected == "timeout" { 50 } else { 20_000 };
    let server = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; hex(request, [0, 0]).len()];
        peer.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, hex(request, [heard[0], heard[1]]), "{name}: request");
        peer.write_all(&hex(response, [heard[0], heard[1]])).await.unwrap();
        peer
    };
    let (result, _peer) = tokio::join!(bus.execute(ask(asked, timeout_ms)), server);
    assert_eq!(shown(&result), expected, "{name}");
}

#[tokio::test]
async fn every_row_of_the_corpus_is_answered_as_it_says() {
    let rows: Vec<&str> = CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(rows.len() > 30, "the corpus is where it was");
    for row in rows {
        check(row).await;
    }
}
