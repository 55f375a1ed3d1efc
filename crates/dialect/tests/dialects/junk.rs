//! Bytes that nobody meant: nothing panics, nothing grows, and what comes after is understood.

use proptest::prelude::*;
use sitian_dialect::dlt645::{self, Edition};
use sitian_dialect::hj212::{Content, Framer, Message, Packets};
use sitian_dialect::line::Pattern;
use sitian_dialect::lines::{LINE_BYTES_MAX, Lines};
use sitian_dialect::{mhz19, nmea, sdi12};

/// Bytes that look like those of the dialects more often than chance would have it.
fn lookalikes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec![
            &b"##0087"[..],
            b"##",
            b"CP=&&",
            b"&&",
            b"\r\n",
            b"MN=1;",
            b"CN=2011;",
            b"Flag=7;",
            b"PNUM=2;PNO=1;",
            b"QN=",
            b"a01001-Rtd=1,",
            b"$WIMWV,",
            b"*11",
            b"0+3.14OqZ",
            b"0D0!",
            b"00013",
            b"\x68",
            b"\xFE\xFE",
            b"\x16",
            b"\xFF\x86",
            b"T=",
            b",",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(word, 0..64).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in lookalikes(), piece in 1_usize..40) {
        let mut framer = Framer::default();
        let mut packets = Packets::default();
        let mut lines = Lines::default();
        let mut meters = dlt645::Receiver::default();
        let mut co2 = mhz19::Conversation::new(1);
        let measurement = sdi12::parse_field("M.1").unwrap().0;
        let mut probe = sdi12::Conversation::new('0', true, vec![measurement], 1);
        let mut meter = dlt645::Conversation::new("000000000001", Edition::Of2007, 4, &["00010000".to_owned()], 1);
        let pattern = Pattern::parse("T={t},RH={rh}{}");
        for chunk in bytes.chunks(piece) {
            for frame in framer.push(chunk).into_iter().flatten() {
                if let Ok(message) = Message::parse(&frame.segment) {
                    let _ = message.acknowledgement();
                    if let Some(body) = packets.join(&message) {
                        let _ = Content::parse(&body).at(480);
                    }
                }
            }
            for line in lines.push(chunk) {
                if let Ok(sentence) = nmea::parse_sentence(&line, false) {
                    let _ = nmea::fields(&sentence);
                }
                let _ = sdi12::parse_data(&line, true);
                let _ = sdi12::parse_data(&line, false);
                let _ = pattern.as_ref().map(|pattern| pattern.read(&line));
            }
            prop_assert!(lines.partial().len() <= LINE_BYTES_MAX);
            meters.push(chunk);
            while meters.next_frame().is_some() {}
            let _ = (co2.hear(chunk), probe.hear(chunk), meter.hear(chunk));
        }
        let _ = Pattern::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn after_any_junk_a_decoder_finds_the_next_frame(junk in lookalikes()) {
        let good = "##0087QN=20240601085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&&&2200\r\n";
        let mut framer = Framer::default();
        let _ = framer.push(&junk);
        // A line end shows where the junk is over.
        let _ = framer.push(b"\r\n");
        let found = framer.push(good.as_bytes()).into_iter().flatten().filter(|frame| frame.segment.contains("010000A8900016F000169DC0")).count();
        prop_assert_eq!(found, 1);
        let mut lines = Lines::default();
        lines.push(&junk);
        lines.push(b"\r\n");
        prop_assert_eq!(lines.push(b"$WIXDR,C,023.2,C,,*56\r\n"), ["$WIXDR,C,023.2,C,,*56"]);
        let mut meters = dlt645::Receiver::default();
        meters.push(&junk);
        while meters.next_frame().is_some() {}
        // What the junk promised is over after the longest frame at most.
        meters.push(&[0; 256]);
        while meters.next_frame().is_some() {}
        meters.push(&crate::hex("68 67 48 60 10 00 00 68 93 06 9A 7B 93 43 33 33 D9 16"));
        prop_assert_eq!(meters.next_frame().map(|frame| frame.address), Some("000010604867".to_owned()));
    }
}
