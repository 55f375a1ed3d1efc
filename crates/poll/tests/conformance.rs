//! The corpus of Modbus RTU frames: what we send, byte for byte, and what we make of what comes back.

#![allow(clippy::unwrap_used)]

use sitian_poll::rtu::{Receiver, encode};
use sitian_poll::{Answer, Ask, Failure, Function, Request, Values, WriteRequest};

const CORPUS: &str = include_str!("../../../tests/golden/modbus/rtu.txt");

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn ask(text: &str) -> Ask {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |text: &str| u16::from_str_radix(text, 16).unwrap();
    let (unit, address, rest) = (number(words[0]) as u8, number(words[2]), &words[3..]);
    let read = |function| {
        Ask::Read(Request { unit, function, address, count: rest[0].parse().unwrap(), timeout_ms: 100 })
    };
    let write = |values| Ask::Write(WriteRequest { unit, address, values, timeout_ms: 100 });
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

fn check(row: &str, piece: usize) {
    let parts: Vec<&str> = row.split('|').map(str::trim).collect();
    let [name, asked, request, response, expected] = parts[..] else { panic!("{row}") };
    let ask = ask(asked);
    assert_eq!(encode(&ask), hex(request), "{name}: request");
    let mut receiver = Receiver::new(ask);
    let said = hex(response);
    let result = said.chunks(piece).find_map(|bytes| receiver.push(bytes));
    let result = result.unwrap_or_else(|| Err(receiver.expire()));
    assert_eq!(shown(&result), expected, "{name}, in pieces of {piece}");
}

#[test]
fn every_row_of_the_corpus_is_answered_as_it_says_however_it_arrives() {
    let rows: Vec<&str> = CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(rows.len() > 50, "the corpus is where it was");
    for row in rows {
        [1, 3, 256].into_iter().for_each(|piece| check(row, piece));
    }
}
