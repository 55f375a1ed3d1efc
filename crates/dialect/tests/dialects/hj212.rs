use sitian_dialect::hj212::{Content, Crc, Frame, FrameFault, Framer, Message, Packets, encode};

use crate::shown;

/// The printed vectors of the editions of 2017 and 2025.
const PRINTED: [&str; 2] = [
    "##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&1C80\r\n",
    "##0087QN=20240601085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&&&2200\r\n",
];
/// A composed exchange.
const COMPOSED: [&str; 10] = [
    "##0087QN=20260610080000001;ST=91;CN=2011;PW=123456;MN=620702107000000000000001;Flag=5;CP=&&&&5CC0\r\n",
    "##0094QN=20260610080000001;ST=91;CN=9011;PW=123456;MN=620702107000000000000001;Flag=4;CP=&&QnRtn=1&&BB01\r\n",
    "##0095QN=20260610080000001;ST=91;CN=9012;PW=123456;MN=620702107000000000000001;Flag=4;CP=&&ExeRtn=1&&1A40\r\n",
    "##0349QN=20260610090010000;ST=21;CN=2061;PW=123456;MN=620702107000000000000001;Flag=5;CP=&&DataTime=20260610080000;w01010-Min=11.2,w01010-Avg=12.6,w01010-Max=14.1,w01010-Flag=N;w01001-Min=7.9,w01001-Avg=8.1,w01001-Max=8.2,w01001-Flag=N;w01009-Min=6.8,w01009-Avg=7.4,w01009-Max=8.0,w01009-Flag=N;w01014-Min=610,w01014-Avg=640,w01014-Max=702,w01014-Flag=N&&0D80\r\n",
    "##0087QN=20260610090010000;ST=91;CN=9014;PW=123456;MN=620702107000000000000001;Flag=4;CP=&&&&6600\r\n",
    "##0112QN=20260610090100000;ST=91;CN=1012;PW=123456;MN=620702107000000000000001;Flag=5;CP=&&SystemTime=20260610090100&&7F80\r\n",
    "##0153QN=20260610090200000;ST=22;CN=2051;PW=123456;MN=620702107000000000000001;Flag=7;PNUM=2;PNO=1;CP=&&DataTime=20260610090000;a01001-Avg=18.2,a01001-Flag=N&&8081\r\n",
    "##0151QN=20260610090200000;ST=22;CN=2051;PW=123456;MN=620702107000000000000001;Flag=7;PNUM=2;PNO=2;CP=&&DataTime=20260610090000;a34004-Avg=31,a34004-Flag=N&&F141\r\n",
    "##0087QN=20260610090300000;ST=91;CN=9015;PW=123456;MN=620702107000000000000001;Flag=8;CP=&&&&6600\r\n",
    "##0144QN=20260610090400000;ST=22;CN=2061;PW=123456;MN=620702107000000000000001;Flag=9;RF=1;CP=&&DataTime=20260610050000;a01001-Avg=9.9,a01001-Flag=N&&2700\r\n",
];
/// A packet whose numbers are written with five digits, as one maker does.
const PADDED: &str = "QN=20260610090200000;ST=22;CN=2051;PW=123456;MN=620702107000000000000001;Flag=11;PNUM=00002;PNO=00001;CP=&&a01001-Avg=18.2&&";
const WILD_LENGTH: &str = "##0131ST=22;CN=2011;PW=123456;MN=120112TJTGGN13;CP=&&DataTime=20150811151200;PM10-Rtd=89.59,PM10-Flag=N;TSP-Rtd=133.71,TSP-Flag=N&&C241\r\n";
const WILD_CRC: &str =
    "##0077QN=20170516010101001;ST=22;CN=1011;PW=123456;MN=ABCDEFG1234567;Flag=3;CP=&&&&8411\r\n";

fn frames(bytes: &str) -> Vec<Result<Frame, FrameFault>> {
    let whole = Framer::default().push(bytes.as_bytes());
    // However it arrives, the same comes out.
    let mut framer = Framer::default();
    let pieces: Vec<_> = bytes.as_bytes().chunks(1).flat_map(|byte| framer.push(byte)).collect();
    let good = |frames: &[Result<Frame, FrameFault>]| frames.iter().flatten().cloned().collect::<Vec<_>>();
    assert_eq!(good(&whole), good(&pieces), "{bytes}");
    whole
}

fn message(frame: &str) -> Message {
    Message::parse(&frames(frame)[0].as_ref().unwrap().segment).unwrap()
}

#[test]
fn every_printed_and_composed_frame_is_whole_exact_and_written_back_byte_for_byte() {
    for text in PRINTED.iter().chain(&COMPOSED) {
        let found = frames(text);
        let [Ok(frame)] = &found[..] else { panic!("{text}: {found:?}") };
        assert_eq!((frame.crc, frame.exact), (Crc::Standard, true), "{text}");
        assert_eq!(String::from_utf8(encode(&frame.segment, Crc::Standard)).unwrap(), *text);
    }
}

#[test]
fn what_stations_make_of_the_standard_is_read_and_marked() {
    let modbus = |frame: &Frame| frame.crc == Crc::Modbus;
    for (text, exact, is_modbus) in [
        (WILD_LENGTH.to_owned(), false, false),
        (WILD_CRC.to_owned(), true, true),
        // Lower-case checksum, no line end, three digits of length, a length that counts the checksum alone.
        (PRINTED[0].replace("1C80", "1c80"), true, false),
        (PRINTED[0].trim_end().to_owned(), true, false),
        (PRINTED[1].replace("##0087", "##087"), false, false),
        (PRINTED[1].replace("##0087", "##0091"), false, false),
        (PRINTED[1].replace("##0087", "##0093"), false, false),
    ] {
        let found = frames(&text);
        let frame = found.iter().flatten().next().unwrap_or_else(|| panic!("{text}: {found:?}"));
        assert_eq!((frame.exact, modbus(frame)), (exact, is_modbus), "{text}");
    }
}

/// What four other stations send, whose checksum is that of Modbus: none of them can be the standard's, which has 256 values.
#[test]
fn a_checksum_of_modbus_is_never_taken_for_the_standards() {
    let standard: std::collections::BTreeSet<u16> =
        (0..=u16::MAX).map(|n| sum(&encode(&format!("{n}&&"), Crc::Standard))).collect();
    assert_eq!(standard.len(), 256);
    for other in [0x8411, 0xE1C4, 0x30A5, 0xB388] {
        assert!(!standard.contains(&other), "{other:04X}");
    }
}

fn sum(frame: &[u8]) -> u16 {
    let digits = &frame[frame.len() - 6..frame.len() - 2];
    u16::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
}

/// The standard of 2025 sums up the plain text and encrypts afterwards: to us it is a spoilt frame, and not acknowledged.
#[test]
fn an_encrypted_body_is_refused_and_the_next_frame_is_read() {
    let cipher = PRINTED[0].replace("RtdInterval=30", "{0xE4,0x3E,0x11,0x90,0x5A,0x01}Rtd=30");
    let found = frames(&format!("{cipher}{}", PRINTED[1]));
    assert!(matches!(&found[..], [Err(FrameFault::Checksum), Ok(_)]), "{found:?}");
}

#[test]
fn after_junk_and_spoilt_frames_the_next_whole_one_is_found() {
    for (before, faults) in [
        ("", vec![]),
        ("\r\n\r\n", vec![]),
        ("noise", vec![FrameFault::Noise]),
        ("#", vec![FrameFault::Noise]),
        ("##", vec![FrameFault::Noise; 2]),
        ("##99x", vec![FrameFault::Noise; 2]),
        (
            "##0087QN=20260610080000001;ST=91;CN=2011;PW=123456;MN=620702107000000000000002;Flag=5;CP=&&&&5CC0\r\n",
            vec![FrameFault::Checksum],
        ),
        // Cut off half-way, without a line end.
        ("##0349QN=20260610090010000;ST=21;CN=2061;PW=12345", vec![FrameFault::Checksum]),
        ("##9999QN=2026", vec![FrameFault::Checksum]),
    ] {
        let found = frames(&format!("{before}{}", PRINTED[0]));
        assert_eq!(found.iter().flatten().count(), 1, "{before}: {found:?}");
        let mut told: Vec<_> = found.iter().filter_map(|frame| frame.as_ref().err().copied()).collect();
        told.dedup();
        let mut expected = faults;
        expected.dedup();
        assert_eq!(told, expected, "{before}");
    }
}

#[test]
fn the_head_says_edition_wishes_and_packets() {
    for (frame, version, cn, packet, belated) in [
        (PRINTED[0], 1, 1062, None, false),
        (PRINTED[1], 2, 1011, None, false),
        (WILD_LENGTH, 0, 2011, None, false),
        (COMPOSED[6], 1, 2051, Some((2, 1)), false),
        (COMPOSED[7], 1, 2051, Some((2, 2)), false),
        (COMPOSED[9], 2, 2061, None, true),
    ] {
        let said = message(frame);
        assert_eq!(
            (said.version(), said.cn, said.packet, said.belated),
            (version, cn, packet, belated),
            "{frame}"
        );
    }
    let padded = Message::parse(PADDED).unwrap();
    assert_eq!((padded.version(), padded.packet), (2, Some((2, 1))));
    for segment in
        ["", "CP=&&&&", "MN=1;CP=&&&&", "CN=x;MN=1;CP=&&&&", "CN=2011;MN=;CP=&&&&", "CN=99999;MN=1;CP=&&&&"]
    {
        assert!(Message::parse(segment).is_err(), "{segment}");
    }
}

#[test]
fn data_are_acknowledged_with_9014_anything_else_with_9013_and_only_if_asked() {
    for (frame, answer) in [
        (COMPOSED[3], Some(COMPOSED[4])),
        (
            COMPOSED[9],
            Some(
                "##0087QN=20260610090400000;ST=91;CN=9014;PW=123456;MN=620702107000000000000001;Flag=8;CP=&&&&",
            ),
        ),
        (
            PRINTED[1],
            Some(
                "##0087QN=20240601085857223;ST=91;CN=9013;PW=123456;MN=010000A8900016F000169DC0;Flag=8;CP=&&&&",
            ),
        ),
        (COMPOSED[8], None),
        (WILD_LENGTH, None),
    ] {
        let said = message(frame).acknowledgement().map(|segment| encode(&segment, Crc::Standard));
        let said = said.map(|bytes| String::from_utf8(bytes).unwrap());
        let begins = said.as_deref().unwrap_or_default().starts_with(answer.unwrap_or_default());
        assert!(begins && said.is_some() == answer.is_some(), "{frame}: {said:?}");
    }
}

#[test]
fn pairs_become_fields_and_flags_become_doubt() {
    for (body, data_time, fields) in [
        (
            "DataTime=20260610080000;w01010-Avg=12.6,w01010-Flag=N;w01001-Avg=8.1,w01001-Flag=N",
            Some("20260610080000"),
            &["w01010-Avg=12.6", "w01001-Avg=8.1"][..],
        ),
        // Separators mixed, the flag in front, milliseconds.
        (
            "DataTime=20260610080000123;a01001-Flag=D;a01001-Max=9.70;a01001-Min=1",
            Some("20260610080000123"),
            &["a01001-Max=9.7?device_status", "a01001-Min=1?device_status"],
        ),
        ("a34004-Rtd=75600.000,a34004-Flag=T", None, &["a34004-Rtd=75600?implausible"]),
        ("a34004-Rtd=1,a34004-Flag=M", None, &["a34004-Rtd=1?device_status"]),
        ("a34004-Rtd=1,a34004-Flag=F", None, &["a34004-Rtd=1?device_status"]),
        ("a34004-Rtd=1,a34004-Flag=S", None, &["a34004-Rtd=1?device_status"]),
        ("a34004-Rtd=1,a34004-Flag=C", None, &["a34004-Rtd=1?device_status"]),
        ("a34004-Rtd=1,a34004-Flag=B", None, &["a34004-Rtd=1?device_status"]),
        ("a34004-Rtd=1,a34004-Flag=Z", None, &["a34004-Rtd=1?device_status"]),
        ("a34004-Rtd=,a34004-Flag=N", None, &["a34004-Rtd=!not_a_number"]),
        ("PM10-Rtd=89.59,PM10-Flag=N;TSP-Rtd=133.71", None, &["PM10-Rtd=89.59", "TSP-Rtd=133.71"]),
        ("a34004-SampleTime=20260610080000,a34004-Rtd=1", None, &["a34004-Rtd=1"]),
        ("RtdInterval=30;-Rtd=1;a-=1;=;;,", None, &[]),
    ] {
        let content = Content::parse(body);
        assert_eq!(content.data_time.as_deref(), data_time, "{body}");
        assert_eq!(shown(&content.fields), fields, "{body}");
    }
}

#[test]
fn packets_are_joined_in_order_wherever_they_were_cut() {
    let packet = |qn: &str, number: usize, count: usize, body: &str| Message {
        qn: Some(qn.to_owned()),
        cn: 2051,
        mn: "1".to_owned(),
        packet: Some((count, number)),
        body: body.to_owned(),
        ..Message::default()
    };
    let whole = "DataTime=20260610090000;a01001-Avg=18.2,a01001-Flag=N;a34004-Avg=31,a34004-Flag=N";
    for at in 0..=whole.len() {
        let mut packets = Packets::default();
        let (first, second) = whole.split_at(at);
        assert_eq!(packets.join(&packet("1", 1, 2, first)), None);
        let joined = packets.join(&packet("1", 2, 2, second)).unwrap();
        assert_eq!(Content::parse(&joined), Content::parse(whole), "cut at {at}");
    }
    // Each packet with its own time, out of order, with request numbers of their own.
    let mut packets = Packets::default();
    let (one, two) = (message(COMPOSED[6]), Message { qn: Some("other".to_owned()), ..message(COMPOSED[7]) });
    assert_eq!(packets.join(&two), None);
    let joined = packets.join(&one).unwrap();
    assert_eq!(shown(&Content::parse(&joined).fields), ["a01001-Avg=18.2", "a34004-Avg=31"]);
    // A message that was never completed makes room for the next one, and nonsense is no packet.
    let mut packets = Packets::default();
    assert_eq!(packets.join(&packet("1", 1, 2, "a01001-Avg=1")), None);
    assert_eq!(packets.join(&packet("2", 1, 2, "a01001-Avg=2")), None);
    assert_eq!(
        packets.join(&packet("2", 2, 2, ",a01001-Flag=N")).as_deref(),
        Some("a01001-Avg=2,a01001-Flag=N")
    );
    for (count, number) in [(2, 0), (2, 3), (65, 1), (usize::MAX, usize::MAX)] {
        assert_eq!(packets.join(&packet("3", number, count, "")), None, "{count} {number}");
    }
}
