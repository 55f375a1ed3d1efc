use super::*;
use crate::Failure;
use crate::Function;

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn request(unit: u8, function: Function, address: u16, count: u16) -> Request {
    Request { unit, function, address, count, timeout_ms: 500 }
}

fn registers(words: &[u16]) -> Result<Answer, RtuFault> {
    Ok(Answer::Registers(words.to_vec()))
}

/// The frame pair of a worked example: what we send, and what the answer says.
fn check_pair(request: Request, sent: &str, answer: &str, words: &[u16]) {
    assert_eq!(encode_request(&request).as_slice(), bytes(sent), "{sent}");
    assert_eq!(parse_response(&request, &bytes(answer)), registers(words), "{answer}");
    assert_eq!(response_bytes(&request), bytes(answer).len(), "{answer}");
}

#[test]
fn worked_examples_are_sent_and_read_byte_by_byte() {
    use Function::{Holding, Input};
    check_pair(
        request(1, Holding, 0, 4),
        "01 03 00 00 00 04 44 09",
        "01 03 08 02 62 01 67 00 06 00 37 C2 06",
        &[610, 359, 6, 55],
    );
    check_pair(
        request(1, Input, 1, 2),
        "01 04 00 01 00 02 20 0B",
        "01 04 04 FF 33 02 22 BA E6",
        &[0xFF33, 0x0222],
    );
    check_pair(request(0xFE, Input, 3, 1), "FE 04 00 03 00 01 D5 C5", "FE 04 02 01 90 AC D8", &[400]);
    check_pair(
        request(10, Input, 0, 2),
        "0A 04 00 00 00 02 70 B0",
        "0A 04 04 00 00 01 28 40 CA",
        &[0, 0x128],
    );
    check_pair(
        request(1, Holding, 0x2600, 6),
        "01 03 26 00 00 06 CE 80",
        "01 03 0C 00 00 48 41 7B 14 6E 3F 1F 85 FB 40 76 FD",
        &[0x0000, 0x4841, 0x7B14, 0x6E3F, 0x1F85, 0xFB40],
    );
    check_pair(
        request(1, Holding, 2, 3),
        "01 03 00 02 00 03 A4 0B",
        "01 03 06 00 11 00 01 04 D2 0E 2B",
        &[17, 1, 1234],
    );
    check_pair(
        request(3, Holding, 0, 6),
        "03 03 00 00 00 06 C4 2A",
        "03 03 0C 40 E0 51 EC C0 89 99 9A 41 C9 47 AE AE CE",
        &[0x40E0, 0x51EC, 0xC089, 0x999A, 0x41C9, 0x47AE],
    );
    check_pair(
        request(4, Holding, 0, 10),
        "04 03 00 00 00 0A C5 98",
        "04 03 14 3F 82 DC 81 41 1C 80 64 41 DC F9 0C 43 FF 96 AC 44 0C 92 DF E1 37",
        &[0x3F82, 0xDC81, 0x411C, 0x8064, 0x41DC, 0xF90C, 0x43FF, 0x96AC, 0x440C, 0x92DF],
    );
    check_pair(request(1, Holding, 4, 1), "01 03 00 04 00 01 C5 CB", "01 03 02 01 B4 B9 A3", &[436]);
    // Composed: a command that asks for nothing, as it starts a Yosemitech sensor.
    check_pair(request(1, Holding, 0x2500, 0), "01 03 25 00 00 00 4E C6", "01 03 00 20 F0", &[]);
}

#[test]
fn published_frames_check_out() {
    for frame in ["02 03 00 00 00 01 84 39", "FF 03 07 D0 00 01 91 59", "01 05 00 00 FF 00 8C 3A"] {
        let frame = bytes(frame);
        let (body, crc) = frame.split_at(frame.len() - 2);
        assert_eq!(crc16(body).to_le_bytes(), crc, "{frame:x?}");
    }
}

#[test]
fn the_published_reply_with_the_wrong_checksum_is_refused() {
    let co2 = request(0xFE, Function::Input, 3, 1);
    assert_eq!(parse_response(&co2, &bytes("FE 04 02 03 88 D5 C5")), Err(RtuFault::Checksum));
    assert_eq!(parse_response(&co2, &bytes("FE 04 02 03 88 AD B2")), registers(&[0x0388]));
}

#[test]
fn every_proper_prefix_of_an_answer_is_incomplete_and_every_flipped_bit_is_noticed() {
    let request = request(1, Function::Holding, 0, 4);
    let answer = bytes("01 03 08 02 62 01 67 00 06 00 37 C2 06");
    for end in 0..answer.len() {
        assert_eq!(parse_response(&request, &answer[..end]), Err(RtuFault::Incomplete), "{end}");
    }
    for bit in 0..answer.len() * 8 {
        let mut broken = answer.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(parse_response(&request, &broken).is_err(), "bit {bit}");
    }
}

#[test]
fn what_is_not_the_answer_is_named() {
    let request = request(1, Function::Holding, 0, 2);
    for (what, received, expected) in [
        ("another unit", "02 03 04 00 01 00 02 E9 32", None),
        (
            "a late reply of another length",
            "01 03 02 01 B4 B9 A3",
            Some(RtuFault::Foreign { unit: 1, bytes: 7, reply: true }),
        ),
        ("the echo", "01 03 00 00 00 02 C4 0B", Some(RtuFault::Echo { bytes: 8 })),
        ("the echo on its way", "01 03 00 00 00", Some(RtuFault::Incomplete)),
        (
            "another function of the unit",
            "01 04 04 FF 33 02 22 BA E6",
            Some(RtuFault::Foreign { unit: 1, bytes: 9, reply: true }),
        ),
        (
            "another master's request",
            "02 03 00 00 00 01 84 39",
            Some(RtuFault::Foreign { unit: 2, bytes: 8, reply: false }),
        ),
        ("an exception", "01 83 02 C0 F1", Some(RtuFault::Exception(2))),
        ("an exception with a wrong checksum", "01 83 02 C0 F2", Some(RtuFault::Checksum)),
        ("an impossible byte count", "01 03 FF 00 00 00 00 00", Some(RtuFault::Malformed)),
        ("no function at all", "55 55 55", Some(RtuFault::Noise)),
    ] {
        let fault = parse_response(&request, &bytes(received)).unwrap_err();
        match expected {
            Some(expected) => assert_eq!(fault, expected, "{what}"),
            None => assert_ne!(fault, RtuFault::Checksum, "{what}"),
        }
    }
}

#[test]
fn bits_arrive_lowest_first() {
    let request = request(1, Function::Coils, 0, 10);
    let mut frame = bytes("01 01 02 05 02");
    frame.extend(crc16(&frame).to_le_bytes());
    let on: Vec<usize> = match parse_response(&request, &frame) {
        Ok(Answer::Bits(bits)) => bits.iter().enumerate().filter(|(_, bit)| **bit).map(|(n, _)| n).collect(),
        other => panic!("{other:?}"),
    };
    assert_eq!(on, [0, 2, 9]);
}

fn with_crc(hex: &str) -> Vec<u8> {
    let mut frame = bytes(hex);
    frame.extend(crc16(&frame).to_le_bytes());
    frame
}

/// Feeds the parts one after the other.
fn receive(request: Request, parts: &[Vec<u8>]) -> (Option<Result<Answer, Failure>>, Receiver) {
    let mut receiver = Receiver::new(request);
    for part in parts {
        if let Some(end) = receiver.push(part) {
            return (Some(end), receiver);
        }
    }
    (None, receiver)
}

#[test]
fn a_receiver_finds_the_answer_behind_echoes_noise_and_late_replies() {
    let request = request(1, Function::Holding, 0, 2);
    let answer = with_crc("01 03 04 00 0A 00 0B");
    let right = Some(Ok(Answer::Registers(vec![10, 11])));
    let echo = encode_request(&request).to_vec();
    let late = with_crc("01 03 02 01 B4");
    let other = with_crc("02 03 04 00 01 00 02");
    for (parts, foreign) in [
        (vec![answer.clone()], vec![]),
        (answer.iter().map(|byte| vec![*byte]).collect(), vec![]),
        // An echo is no late reply: no hold-off may end because of it.
        (vec![echo.clone(), answer.clone()], vec![]),
        (echo.iter().chain(&answer).map(|byte| vec![*byte]).collect(), vec![]),
        (vec![late.clone(), answer.clone()], vec![1]),
        (vec![other.clone(), late.clone(), answer.clone()], vec![2, 1]),
        (vec![vec![0x00, 0x7F], answer.clone()], vec![]),
        (vec![[other.clone(), answer.clone()].concat()], vec![2]),
    ] {
        let (end, receiver) = receive(request, &parts);
        assert_eq!((end, receiver.foreign()), (right.clone(), foreign.as_slice()), "{parts:x?}");
    }
}

#[test]
fn a_deadline_tells_silence_from_a_broken_frame() {
    let request = request(1, Function::Holding, 0, 2);
    for (received, failure) in [
        (vec![], Failure::Timeout),
        (with_crc("02 03 04 00 01 00 02"), Failure::Timeout),
        (bytes("01 03 04 00"), Failure::Malformed),
        (bytes("7F 7F 7F"), Failure::Malformed),
    ] {
        let (end, receiver) = receive(request, std::slice::from_ref(&received));
        assert_eq!((end, receiver.expire()), (None, failure), "{received:x?}");
    }
}

#[test]
fn babble_ends_an_attempt() {
    let request = request(1, Function::Holding, 0, 2);
    let mut receiver = Receiver::new(request);
    let end = (0..1000).find_map(|_| receiver.push(&[0x55; 16]));
    assert_eq!(end, Some(Err(Failure::Malformed)));
}

#[test]
fn silence_is_three_and_a_half_characters_and_bounded_below() {
    for (baud, us) in [(4800, 8020), (9600, 4010), (19200, 2005), (115_200, 1750), (0, 38_500_000)] {
        assert_eq!(silence_us(baud), us, "{baud}");
    }
}

#[test]
fn heartbeats_of_a_dtu_are_dropped_in_front_of_a_frame_and_never_within_one() {
    let request = Request { unit: 1, function: Function::Holding, address: 0, count: 2, timeout_ms: 100 };
    let mut frame = vec![1, 3, 4, b'p', b'i', b'n', b'g'];
    frame.extend(crc16(&frame).to_le_bytes());
    let answer = Some(Ok(Answer::Registers(vec![0x7069, 0x6E67])));
    for (name, pieces) in [
        ("none", vec![frame.clone()]),
        ("one", vec![b"ping".to_vec(), frame.clone()]),
        ("glued", vec![[b"ping".as_slice(), &frame].concat()]),
        ("split", vec![b"p".to_vec(), b"in".to_vec(), [b"g".as_slice(), &frame].concat()]),
        ("several", vec![[b"pingpingREG7ping".as_slice(), &frame].concat()]),
        ("a frame split where a heartbeat could stand", vec![frame[..3].to_vec(), frame[3..].to_vec()]),
    ] {
        let strays = vec![b"ping".to_vec(), b"REG7".to_vec(), Vec::new()];
        let mut receiver = Receiver::new(request).skipping(strays);
        let last = pieces.iter().map(|piece| receiver.push(piece)).last().unwrap();
        assert_eq!(last, answer, "{name}");
    }
}

fn write(values: Values) -> WriteRequest {
    WriteRequest { unit: 1, address: 0x13, values, timeout_ms: 100 }
}

#[test]
fn writes_are_encoded_as_the_specification_prints_them() {
    // Modbus Application Protocol V1.1b3, sections 6.5, 6.6, 6.11 and 6.12, with unit 1 and checksum; the relay frames are
    // Waveshare's.
    let bits = |text: &str| text.chars().map(|c| c == '1').collect();
    for (request, expected) in [
        (WriteRequest { address: 0xAC, ..write(Values::Coil(true)) }, "01 05 00 AC FF 00"),
        (WriteRequest { address: 0, ..write(Values::Coil(true)) }, "01 05 00 00 FF 00"),
        (write(Values::Coil(false)), "01 05 00 13 00 00"),
        (WriteRequest { address: 1, ..write(Values::Register(3)) }, "01 06 00 01 00 03"),
        (write(Values::Coils(bits("1011001110"))), "01 0F 00 13 00 0A 02 CD 01"),
        (
            WriteRequest { address: 1, ..write(Values::Registers(vec![0x0A, 0x0102])) },
            "01 10 00 01 00 02 04 00 0A 01 02",
        ),
        (write(Values::Registers(vec![])), "01 10 00 13 00 00 00"),
    ] {
        assert_eq!(encode_write(&request), with_crc(expected), "{request:?}");
    }
    assert_eq!(encode_write(&WriteRequest { address: 0, ..write(Values::Coil(true)) })[6..], [0x8C, 0x3A]);
}

#[test]
fn a_write_is_confirmed_by_its_own_confirmation_only_also_on_a_line_that_echoes() {
    let coil = write(Values::Coil(true));
    let words = write(Values::Registers(vec![7, 8]));
    let same = encode_write(&coil);
    let echo = encode_write(&words);
    let counted = with_crc("01 10 00 13 00 02");
    let late = with_crc("01 03 02 01 B4");
    let mut broken = counted.clone();
    broken[5] ^= 4;
    let written = || Some(Ok(Answer::Written));
    for (name, request, echoing, parts, expected) in [
        ("coil", &coil, false, vec![same.clone()], written()),
        ("coil, its echo", &coil, true, vec![same.clone()], None),
        ("coil, echo and confirmation", &coil, true, vec![same.clone(), same.clone()], written()),
        ("coil, in pieces", &coil, true, same.iter().chain(&same).map(|b| vec![*b]).collect(), written()),
        ("coil, other value", &coil, false, vec![with_crc("01 05 00 13 00 00")], None),
        ("coil, other unit", &coil, false, vec![with_crc("02 05 00 13 FF 00")], None),
        ("words", &words, false, vec![counted.clone()], written()),
        ("words, echo", &words, false, vec![echo.clone()], None),
        (
            "words, echo and confirmation",
            &words,
            true,
            vec![[echo.clone(), counted.clone()].concat()],
            written(),
        ),
        (
            "words, in pieces",
            &words,
            false,
            echo.iter().chain(&counted).map(|b| vec![*b]).collect(),
            written(),
        ),
        (
            "words, behind a late reply and noise",
            &words,
            false,
            vec![late, vec![0], counted.clone()],
            written(),
        ),
        ("words, other count", &words, false, vec![with_crc("01 10 00 13 00 01")], None),
        ("words, damaged", &words, false, vec![broken], Some(Err(Failure::Checksum))),
        ("words, refused", &words, false, vec![with_crc("01 90 03")], Some(Err(Failure::Exception(3)))),
    ] {
        let mut receiver = Receiver::new(request.clone()).on_echoing_line(echoing);
        let found = parts.iter().find_map(|part| receiver.push(part));
        assert_eq!(found, expected, "{name}");
    }
}
