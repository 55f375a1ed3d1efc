//! The machine of a bus: who is asked when, what becomes a sample, and what is acknowledged.

use std::sync::Arc;

use sitian_dialect::{BusPlan, Command, DevicePlan, DialectProfile, PointPlan, Talk, builtin};
use sitian_model::{Cause, Quality};
use sitian_profile::{Catalogue, catalogue_text};

fn device(profile: &str, address: &str, interval_ms: u32, first_point: u32) -> DevicePlan {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let file = format!("{profile}.toml");
    let (_, text) = builtin().iter().find(|(name, _)| *name == file).unwrap();
    let profile = Arc::new(DialectProfile::parse(&file, text, &catalogue).unwrap());
    let wanted = profile.points.iter().enumerate().filter(|(_, point)| !point.optional);
    let points =
        wanted.zip(first_point..).map(|((at, _), point)| PointPlan { point, profile_point: at }).collect();
    DevicePlan { address: address.to_owned(), profile, points, interval_ms }
}

fn talk(devices: Vec<DevicePlan>) -> Talk {
    Talk::new(BusPlan { devices, timeout_ms: 1_000, pause_ms: 0 }, 0)
}

/// What the machine wants done, as text: `> bytes` for writes, `point=value quality` for samples.
fn drain(talk: &mut Talk) -> Vec<String> {
    let mut shown = Vec::new();
    while let Some(command) = talk.poll_command() {
        match command {
            Command::Write(link, bytes) => shown.push(format!("{link}> {}", bytes.escape_ascii())),
            Command::Stranger(name) => shown.push(format!("stranger {name}")),
            Command::Samples { samples, at, answer } => {
                for sample in samples {
                    let value = sample.value.map_or("none".to_owned(), |value| value.to_string());
                    let quality = match sample.quality {
                        Quality::Good => String::new(),
                        Quality::Uncertain(cause) => format!(" ?{}", cause.word()),
                        Quality::Bad(cause) => format!(" !{}", cause.word()),
                    };
                    let at = at.map_or(String::new(), |at| format!(" at {}", at.0));
                    shown.push(format!("{}={value}{quality}{at}", sample.point));
                }
                if let Some(answer) = answer {
                    shown.push("kept".to_owned());
                    talk.handle_kept(answer, 0);
                }
            }
        }
    }
    shown
}

#[test]
fn each_device_is_asked_in_its_turn_and_a_silent_one_costs_less_and_less() {
    let mut talk = talk(vec![device("acclima-tdr", "1", 10_000, 0), device("acclima-tdr", "2", 10_000, 4)]);
    talk.handle_up(0, 0);
    assert_eq!(drain(&mut talk), ["0> 1M!"]);
    talk.handle_bytes(0, b"10004\r\n", 100);
    assert_eq!(drain(&mut talk), ["0> 1D0!"]);
    talk.handle_bytes(0, b"1+33.5+18.2+", 200);
    talk.handle_bytes(0, b"12.1+640\r\n", 210);
    assert_eq!(drain(&mut talk), ["0=33.5", "1=18.2", "2=12.1", "3=640", "0> 2M!"]);
    // The second one is silent: asked twice, then no value; in the next round once.
    assert_eq!(talk.poll_timeout(), Some(1_210));
    talk.handle_timeout(1_210);
    assert_eq!(drain(&mut talk), ["0> 2M!"]);
    talk.handle_timeout(2_210);
    assert_eq!(
        drain(&mut talk),
        ["4=none !timeout", "5=none !timeout", "6=none !timeout", "7=none !timeout"]
    );
    assert_eq!(talk.poll_timeout(), Some(10_000));
    talk.handle_timeout(10_000);
    assert_eq!(drain(&mut talk), ["0> 1M!"]);
    talk.handle_bytes(0, b"10004\r\n", 10_100);
    talk.handle_bytes(0, b"1+33.5+18.2\r\n", 10_200);
    talk.handle_bytes(0, b"1+12.1+640\r\n", 10_300);
    assert_eq!(drain(&mut talk), ["0> 1D0!", "0> 1D1!", "0=33.5", "1=18.2", "2=12.1", "3=640", "0> 2M!"]);
    talk.handle_timeout(11_300);
    assert_eq!(drain(&mut talk).len(), 4, "one attempt");
    // Its back-off: in the rounds that lie within it, it is not asked at all.
    let asked = |talk: &mut Talk, at: u64| {
        talk.handle_timeout(at);
        talk.handle_bytes(0, b"10004\r\n", at);
        talk.handle_bytes(0, b"1+33.5+18.2+12.1+640\r\n", at);
        let asked = drain(talk).iter().any(|line| line == "0> 2M!");
        talk.handle_timeout(at + 1_000);
        drain(talk);
        asked
    };
    let rounds: Vec<bool> = (2..20).map(|round| asked(&mut talk, round * 10_000)).collect();
    assert!(rounds.iter().filter(|asked| **asked).count() < 10, "{rounds:?}");
    assert!(rounds[12..].contains(&true), "it is never given up: {rounds:?}");
}

#[test]
fn a_link_that_is_down_makes_bad_samples_and_no_requests() {
    let mut talk = talk(vec![device("mh-z19", "", 5_000, 0)]);
    talk.handle_timeout(0);
    assert_eq!(drain(&mut talk), ["0=none !unreachable"]);
    talk.handle_up(0, 6_000);
    assert_eq!(drain(&mut talk)[0], "0> \\xff\\x01\\x86\\x00\\x00\\x00\\x00\\x00y");
    talk.handle_down(0, 6_100);
    assert_eq!(drain(&mut talk), ["0=none !unreachable"]);
    talk.handle_up(0, 9_000);
    talk.handle_timeout(10_000);
    assert_eq!(drain(&mut talk).len(), 1);
    // Rounds that the machine could not begin in time are one bad sample.
    talk.handle_bytes(0, &crate::hex("FF 86 02 60 47 00 00 00 D1"), 10_050);
    assert_eq!(drain(&mut talk), ["0=608"]);
    talk.handle_timeout(31_000);
    assert_eq!(drain(&mut talk)[0], "0=none !bus_overrun");
}

#[test]
fn a_station_that_speaks_every_second_gives_one_reading_an_interval_and_its_silence_is_told() {
    let mut talk = talk(vec![device("nmea-weather", "WI", 10_000, 0)]);
    talk.handle_up(0, 0);
    for second in 0..21 {
        talk.handle_bytes(0, b"$WIMWV,315.4,R,10.0,N,A*11\r\n$GPMWV,1,R,1,M,A*29\r\n", second * 1_000);
    }
    let wind = ["0=5.14444", "1=315.4"];
    assert_eq!(drain(&mut talk), [&wind[..], &["stranger GP"], &wind, &wind].concat());
    // No composite sentence ever came, and after two intervals the wind is missed too.
    talk.handle_timeout(20_000);
    assert_eq!(drain(&mut talk), ["2=none !timeout", "3=none !timeout", "4=none !timeout"]);
    talk.handle_timeout(40_000);
    assert_eq!(drain(&mut talk).len(), 5);
    talk.handle_down(0, 41_000);
    talk.handle_timeout(50_000);
    assert_eq!(drain(&mut talk)[0], "0=none !unreachable");
}

const MN: &str = "620702107000000000000001";
const DATA: &str = "QN=20260610090010000;ST=22;CN=2011;PW=123456;MN=620702107000000000000001;Flag=5;CP=&&DataTime=20260610090000;a34004-Rtd=31,a34004-Flag=N;a01001-Rtd=18.2,a01001-Flag=D&&";

fn frame(segment: &str) -> Vec<u8> {
    sitian_dialect::hj212::encode(segment, sitian_dialect::hj212::Crc::Standard)
}

#[test]
fn stations_are_acknowledged_after_their_data_are_kept_and_repetitions_are_not_read_twice() {
    let answer = "##0087QN=20260610090010000;ST=91;CN=9014;PW=123456;MN=620702107000000000000001;Flag=4;CP=&&&&6600\\r\\n";
    let mut talk = talk(vec![device("hj212-air", MN, 60_000, 0)]);
    talk.handle_up(7, 0);
    talk.handle_bytes(7, &frame(DATA), 1_000);
    let first = drain(&mut talk);
    let expected =
        ["0=31 at 1781053200000", "2=18.2 ?device_status at 1781053200000", "kept", &format!("7> {answer}")];
    assert_eq!(first, expected);
    // The acknowledgement got lost: the station calls again and repeats itself.
    talk.handle_down(7, 2_000);
    talk.handle_up(8, 3_000);
    talk.handle_bytes(8, &frame(DATA), 4_000);
    assert_eq!(drain(&mut talk), [format!("8> {answer}")]);
    // Spoilt, and from a station that nobody configured: no answer.
    talk.handle_bytes(
        8,
        &frame(DATA).iter().map(|b| if *b == b'3' { b'4' } else { *b }).collect::<Vec<_>>(),
        5_000,
    );
    assert_eq!(drain(&mut talk), [""; 0]);
    talk.handle_bytes(8, &frame(&DATA.replace(MN, "0000")), 6_000);
    assert_eq!(drain(&mut talk), ["stranger 0000"]);
    // Hour data of a profile that reads real-time data: acknowledged, not read.
    talk.handle_bytes(
        8,
        &frame(&DATA.replace("CN=2011", "CN=2061").replace("090010000", "090020000")),
        7_000,
    );
    let told = drain(&mut talk);
    assert!(
        told.len() == 1 && told[0].starts_with("8> ##0087QN=20260610090020000;ST=91;CN=9014"),
        "{told:?}"
    );
    // The time of the station is asked for: a notice.
    talk.handle_bytes(
        8,
        &frame(&DATA.replace("CN=2011", "CN=1013").replace("090010000", "090030000")),
        8_000,
    );
    assert!(drain(&mut talk)[0].contains("CN=9013"));
}

#[test]
fn what_was_not_kept_is_not_acknowledged_and_read_again_when_it_is_repeated() {
    let mut talk = talk(vec![device("hj212-air", MN, 60_000, 0)]);
    talk.handle_up(1, 0);
    for moment in [10, 20] {
        talk.handle_bytes(1, &frame(DATA), moment);
        let told: Vec<Command> = std::iter::from_fn(|| talk.poll_command()).collect();
        assert!(matches!(&told[..], [Command::Samples { answer: Some(_), .. }]), "{told:?}");
    }
}

#[test]
fn a_split_message_is_read_when_its_last_packet_has_come() {
    let mut talk = talk(vec![device("hj212-air", MN, 60_000, 0)]);
    let packet = |number: u32, qn: u32, body: &str| {
        frame(&format!(
            "QN=2026061009000000{qn};ST=22;CN=2011;PW=123456;MN={MN};Flag=7;PNUM=2;PNO={number};CP=&&{body}&&"
        ))
    };
    talk.handle_up(1, 0);
    talk.handle_bytes(1, &packet(1, 1, "DataTime=20260610090000;a34004-Rt"), 10);
    let told = drain(&mut talk);
    assert!(told.len() == 1 && told[0].contains("CN=9014"), "{told:?}");
    talk.handle_bytes(1, &packet(2, 2, "d=31,a34004-Flag=N;a01002-Rtd=48"), 20);
    let told = drain(&mut talk);
    assert_eq!(told[..2], ["0=31 at 1781053200000", "3=48 at 1781053200000"]);
    assert!(told[2] == "kept" && told[3].starts_with("1> ##"), "{told:?}");
}

#[test]
fn values_outside_of_the_plausible_range_are_kept_and_doubted() {
    let mut talk = talk(vec![device("mh-z19", "", 5_000, 0)]);
    talk.handle_up(0, 0);
    drain(&mut talk);
    talk.handle_bytes(0, &crate::hex("FF 86 00 00 47 00 00 00 33"), 50);
    assert_eq!(drain(&mut talk), [format!("0=0 ?{}", Cause::Implausible.word())]);
}
