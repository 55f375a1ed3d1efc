use sitian_dialect::conversation::Turn;
use sitian_dialect::sdi12::{Conversation, DataFault, parse_data, parse_field, parse_start};
use sitian_model::Cause;

use crate::shown;

#[test]
fn data_replies_are_split_at_their_signs_and_checked() {
    for (line, crc, expected) in [
        ("0+3.14OqZ", true, Ok(('0', vec!["3.14"]))),
        ("1+21.5+18.2-3.0G{d", true, Ok(('1', vec!["21.5", "18.2", "-3"]))),
        ("1+21.5+18.2-3.0", false, Ok(('1', vec!["21.5", "18.2", "-3"]))),
        ("z-.5+0012345", false, Ok(('z', vec!["-0.5", "12345"]))),
        ("0", false, Ok(('0', vec![]))),
        ("0+3.15OqZ", true, Err(DataFault::Checksum)),
        ("0+3.14OqY", true, Err(DataFault::Checksum)),
        ("0+3.14", true, Err(DataFault::Checksum)),
        ("OZ", true, Err(DataFault::Malformed)),
        ("0+3.14OqZ", false, Err(DataFault::Malformed)),
        ("03.14", false, Err(DataFault::Malformed)),
        ("0+", false, Err(DataFault::Malformed)),
        ("0+1e3", false, Err(DataFault::Malformed)),
        ("", false, Err(DataFault::Malformed)),
        ("+1", false, Err(DataFault::Malformed)),
    ] {
        let read = parse_data(line, crc)
            .map(|(address, values)| (address, values.iter().map(ToString::to_string).collect::<Vec<_>>()));
        let expected =
            expected.map(|(address, values)| (address, values.iter().map(ToString::to_string).collect()));
        assert_eq!(read, expected, "{line}");
    }
}

#[test]
fn the_reply_to_a_measurement_says_how_long_and_how_many() {
    for (line, expected) in [
        ("00013", Some((1, 3))),
        ("000010", Some((0, 10))),
        ("01203", Some((120, 3))),
        ("099999", Some((999, 99))),
        ("10013", None),
        ("0013", None),
        ("0+1.5", None),
        ("0", None),
    ] {
        assert_eq!(parse_start(line, '0'), expected, "{line}");
    }
}

#[test]
fn fields_name_a_measurement_and_a_place() {
    for (name, good) in [
        ("M.1", true),
        ("M9.2", true),
        ("C.1", true),
        ("C3.20", true),
        ("R0.1", true),
        ("R.1", false),
        ("M0.1", false),
        ("M.0", false),
        ("M10.1", false),
        ("M.+1", false),
        ("X.1", false),
        ("M", false),
        (".1", false),
    ] {
        assert_eq!(parse_field(name).is_some(), good, "{name}");
    }
}

/// Plays a conversation: what is said, and what the sensor answers to it (`None`: nothing in time).
fn play(crc: bool, fields: &[&str], script: &[(&str, Option<&str>)]) -> (Vec<String>, Cause) {
    let mut measurements: Vec<_> =
        fields.iter().filter_map(|name| parse_field(name)).map(|(m, _)| m).collect();
    measurements.dedup();
    let mut conversation = Conversation::new('0', crc, measurements, 1_000);
    for (said, answer) in script {
        let Turn::Say { bytes, .. } = conversation.turn() else {
            panic!("nothing more to say before {said}")
        };
        assert_eq!(String::from_utf8_lossy(&bytes), *said);
        match answer {
            Some(answer) => assert!(conversation.hear(answer.as_bytes()), "{answer:?} to {said}"),
            None => conversation.silence(),
        }
    }
    assert_eq!(conversation.turn(), Turn::Done);
    let (fields, cause) = conversation.outcome();
    (shown(&fields), cause)
}

#[test]
fn a_measurement_is_asked_for_waited_for_and_fetched() {
    for (crc, fields, script, said) in [
        // At once.
        (
            false,
            &["M.1"][..],
            &[("0M!", Some("00001\r\n")), ("0D0!", Some("0+1.5\r\n"))][..],
            &["M.1=1.5"][..],
        ),
        // After the service request, in two pages, with checksum; the adapter sends back what it is told.
        (
            true,
            &["M.1"],
            &[
                ("0MC!", Some("0MC!00022\r\n")),
                ("", Some("0\r\n")),
                ("0D0!", Some("0+3.14OqZ\r\n")),
                ("0D1!", Some("0+3.14OqZ\r\n")),
            ],
            &["M.1=3.14", "M.2=3.14"],
        ),
        // The service request is lost: the values are fetched when the time is over.
        (false, &["M.1"], &[("0M!", Some("00051\r\n")), ("", None), ("0D0!", Some("0-2\r\n"))], &["M.1=-2"]),
        // Two measurements, one concurrent.
        (
            false,
            &["M1.1", "C.1"],
            &[
                ("0M1!", Some("00001\r\n")),
                ("0D0!", Some("0+1\r\n")),
                ("0C!", Some("000101\r\n")),
                ("", None),
                ("0D0!", Some("0+2\r\n")),
            ],
            &["M1.1=1", "C.1=2"],
        ),
        // Continuous values come at once.
        (false, &["R0.1"], &[("0R0!", Some("0+7.5+8\r\n"))], &["R0.1=7.5", "R0.2=8"]),
        // A sensor that gives up its measurement, and one that has nothing to measure.
        (false, &["M.1"], &[("0M!", Some("00002\r\n")), ("0D0!", Some("0\r\n"))], &[]),
        (false, &["M.1"], &[("0M!", Some("00000\r\n"))], &[]),
    ] {
        assert_eq!(play(crc, fields, script).0, said, "{script:?}");
    }
}

#[test]
fn silence_and_spoilt_replies_are_told_apart() {
    assert_eq!(play(false, &["M.1"], &[("0M!", None)]), (vec![], Cause::Timeout));
    let mut conversation = Conversation::new('0', true, vec![parse_field("M.1").unwrap().0], 1_000);
    assert!(!conversation.hear(b"10001\r\n"), "another sensor's answer");
    assert!(conversation.hear(b"00001\r\n"));
    assert!(!conversation.hear(b"0+3.15OqZ\r\n"), "spoilt");
    conversation.silence();
    assert_eq!(conversation.turn(), Turn::Done);
    assert_eq!(conversation.outcome(), (vec![], Cause::Checksum));
}
