use sitian_dialect::conversation::Turn;
use sitian_dialect::dlt645::{ANY_ADDRESS, Conversation, Edition, Frame, Receiver, value};
use sitian_model::Cause;

use crate::{hex, shown};

fn frame(bytes: &str) -> Option<Frame> {
    let mut receiver = Receiver::default();
    receiver.push(&hex(bytes));
    receiver.next_frame()
}

#[test]
fn published_frames_are_read_and_written_byte_for_byte() {
    for (bytes, address, control, data) in [
        ("68 AA AA AA AA AA AA 68 13 00 DF 16", ANY_ADDRESS, 0x13, ""),
        ("68 AA AA AA AA AA AA 68 11 04 33 33 34 33 AE 16", ANY_ADDRESS, 0x11, "00 00 01 00"),
        ("68 67 48 60 10 00 00 68 93 06 9A 7B 93 43 33 33 D9 16", "000010604867", 0x93, "67 48 60 10 00 00"),
    ] {
        let expected = Frame { address: address.to_owned(), control, data: hex(data) };
        assert_eq!(frame(bytes), Some(expected.clone()), "{bytes}");
        assert_eq!(frame(&format!("FE FE FE FE {bytes}")), Some(expected.clone()), "woken up: {bytes}");
        assert_eq!(expected.encode(), hex(bytes), "{bytes}");
    }
}

#[test]
fn a_frame_is_found_behind_noise_and_a_spoilt_one_is_none() {
    let good = "68 67 48 60 10 00 00 68 93 06 9A 7B 93 43 33 33 D9 16";
    for (bytes, found) in [
        (format!("00 68 68 16 {good}"), true),
        // A start byte in the noise that promises a frame of 4 bytes.
        (format!("68 01 02 03 04 05 06 68 91 04 {good}"), true),
        (good.replace("9A", "9B"), false),
        (good.replace("D9", "D8"), false),
        (good.replace(" 16", " 17"), false),
        (good.replace(" D9 16", ""), false),
        (good.replace("93 06", "93 FF"), false),
        (String::new(), false),
    ] {
        assert_eq!(frame(&bytes).is_some(), found, "{bytes}");
    }
}

#[test]
fn values_are_bcd_with_a_sign_where_the_quantity_has_a_direction() {
    for (identifier, bytes, shown_as) in [
        ("00010000", "78 56 34 12", "00010000=12345678"),
        ("02010100", "13 22", "02010100=2213"),
        ("02020100", "56 34 92", "02020100=-123456"),
        ("02030000", "00 10 80", "02030000=-1000"),
        ("02060000", "00 10", "02060000=1000"),
        ("9010", "78 56 34 12", "9010=12345678"),
        ("00010000", "FF FF FF FF", "00010000=!not_a_number"),
        ("02020100", "FF FF FF", "02020100=!not_a_number"),
        ("00010000", "7A 00", "00010000=!not_a_number"),
        ("00010000", "", "00010000=!not_a_number"),
    ] {
        assert_eq!(shown(&[value(identifier, &hex(bytes))]), [shown_as], "{identifier} {bytes}");
    }
}

/// Answers the conversation's requests one by one.
fn play(edition: Edition, identifiers: &[&str], script: &[(&str, Option<&str>)]) -> (Vec<String>, Cause) {
    let identifiers: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
    let mut conversation = Conversation::new("000010604867", edition, 2, &identifiers, 500);
    for (asked, answer) in script {
        let Turn::Say { bytes, .. } = conversation.turn() else {
            panic!("nothing more to ask before {asked}")
        };
        assert_eq!(bytes, hex(asked));
        match answer {
            Some(answer) => assert!(conversation.hear(&hex(answer)), "{answer}"),
            None => conversation.silence(),
        }
    }
    assert_eq!(conversation.turn(), Turn::Done);
    let (fields, cause) = conversation.outcome();
    (shown(&fields), cause)
}

#[test]
fn identifiers_are_read_one_by_one_refusals_are_exceptions_and_foreign_meters_are_ignored() {
    let meter = "68 67 48 60 10 00 00 68";
    let energy = format!("FE FE {meter} 11 04 33 33 34 33 D1 16");
    let voltage = format!("FE FE {meter} 11 04 33 34 34 35 D4 16");
    // 123456.78 kWh behind the echo of the request and the reply of another meter; 221.3 V refused.
    let value = format!(
        "{energy} FE FE 68 01 00 00 00 00 00 68 91 08 33 33 34 33 33 33 33 33 03 16 {meter} 91 08 33 33 34 33 AB 89 67 45 35 16"
    );
    let refusal = format!("{meter} D1 01 35 F6 16");
    let heard = play(
        Edition::Of2007,
        &["00010000", "02010100"],
        &[(energy.as_str(), Some(value.as_str())), (voltage.as_str(), Some(refusal.as_str()))],
    );
    assert_eq!(heard.0, ["00010000=12345678", "02010100=!exception"]);
    let silent = play(Edition::Of2007, &["00010000", "02010100"], &[(energy.as_str(), None)]);
    assert_eq!(silent, (vec![], Cause::Timeout));
    let old = format!("FE FE {meter} 01 02 43 C3 F8 16");
    let answer = format!("{meter} 81 06 43 C3 AB 89 67 45 5C 16");
    let heard = play(Edition::Of1997, &["9010"], &[(old.as_str(), Some(answer.as_str()))]);
    assert_eq!(heard.0, ["9010=12345678"]);
}
