//! Bytes from wires, cards and brokers.

use std::sync::Arc;

use sitian_dialect::hj212::{Content, Framer, Message, Packets};
use sitian_dialect::{BusPlan, Command, DevicePlan, DialectProfile, PointPlan, Talk, builtin};
use sitian_model::{Epoch, Span, Timestamp};
use sitian_poll::rtu::Receiver;
use sitian_poll::{Ask, Function, Request, Values, WriteRequest};
use sitian_profile::{Catalogue, catalogue_text};
use sitian_spool::{Limits, Spool};
use sitian_wire::*;

use crate::disk::Memory;

/// What arrives over MQTT: read, and if it could be read, written and read again.
pub fn wire(data: &[u8]) {
    if let Ok(batch) = decode_batch(data) {
        assert_eq!(decode_batch(&encode_batch(&batch)).as_ref(), Ok(&batch));
    }
    if let Ok(ack) = decode_ack(data) {
        assert_eq!(decode_ack(&encode_ack(&ack)).as_ref(), Ok(&ack));
    }
    if let Ok((epoch, manifest)) = decode_manifest(data) {
        assert_eq!(decode_manifest(&encode_manifest(&epoch, &manifest)), Ok((epoch, manifest)));
    }
    if let Ok(record) = decode_record(data) {
        assert_eq!(decode_record(&encode_record(&record)).as_ref(), Ok(&record));
    }
    if let Ok(state) = decode_state(data) {
        assert_eq!(decode_state(&encode_state(&state)).as_ref(), Ok(&state));
    }
    if let Ok(command) = decode_command(data) {
        assert_eq!(decode_command(&encode_command(&command)), Ok(command));
    }
    if let Ok(result) = decode_result(data) {
        assert_eq!(decode_result(&encode_result(&result)), Ok(result));
    }
    if let Ok(outputs) = decode_outputs(data) {
        assert_eq!(decode_outputs(&encode_outputs(&outputs)), Ok(outputs));
    }
    let _ = std::str::from_utf8(data).map(Topic::parse);
}

pub(crate) fn wire_seeds() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/wire/v1");
    let digits = |text: String| text.bytes().filter(u8::is_ascii_hexdigit).collect::<Vec<u8>>();
    let bytes = |digits: Vec<u8>| {
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let kept = files(folder).into_iter().map(|text| bytes(digits(text)));
    kept.chain([encode_command(&CommandMessage::Write(write())), encode_outputs(&outputs())]).collect()
}

fn write() -> WriteCommand {
    let (id, device, point) = ("c-1".to_owned(), "relay-1".to_owned(), "relay_1".to_owned());
    WriteCommand { id, device, point, value: 1.0, by: "王".to_owned(), expires_ms: 60_000, for_s: 600 }
}

fn outputs() -> Outputs {
    let WriteCommand { device, point, .. } = write();
    let (min, max) = (Some(0.5), None);
    let level = Requirement {
        device: "level-1".to_owned(),
        point: "water_level".to_owned(),
        min,
        max,
        holds: Holds::Below,
    };
    let output = Output {
        device,
        read: point.clone(),
        point,
        name: "阀".to_owned(),
        measurement: "contact".to_owned(),
        unit: String::new(),
        min: 0.0,
        max: 1.0,
        safe: 0.0,
        on_max_s: 600,
        from_centre: true,
        safe_without_link_s: 0,
        away: true,
        until_ms: Some(1),
        requirements: vec![level],
    };
    Outputs { at_ms: 1, outputs: vec![output] }
}

/// The text of every file of a folder, subfolders apart.
pub(crate) fn files(folder: &str) -> Vec<String> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.into_iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

fn limits() -> Limits {
    Limits { segment_bytes: 16 << 10, bytes_max: 1 << 20, ..Limits::default() }
}

fn filled() -> Memory {
    let (mut spool, _) = Spool::open(Memory::default(), limits(), Epoch([1; 16]));
    spool.set_manifest(b"manifest").unwrap();
    for n in 0..20_u8 {
        let at = Span { from: Timestamp(i64::from(n)), to: Timestamp(i64::from(n) + 1) };
        spool.append(&[n; 40], at).unwrap();
        spool.commit().unwrap();
    }
    spool.into_disk()
}

/// The first file of a spool's folder holds anything: the spool opens, gives what it holds, and goes on.
pub fn spool(data: &[u8]) {
    let mut disk = filled();
    let name = disk.0.keys().next().unwrap().clone();
    disk.0.insert(name, data.to_vec());
    let (mut spool, _) = Spool::open(disk, limits(), Epoch([2; 16]));
    for held in spool.held() {
        let mut from = held.oldest;
        // A run moves on or ends; a thousand are more than the folder can hold.
        for _ in 0..1_000 {
            match spool.read(held.epoch, from, 1 << 16) {
                Ok(run) if !run.entries.is_empty() => {
                    from = run.entries.iter().fold(run.first, |seq, entry| seq.saturating_add(entry.width()));
                }
                _ => break,
            }
        }
        let _ = spool.manifest(held.epoch);
    }
    let span = Span { from: Timestamp(0), to: Timestamp(1) };
    spool.append(b"more", span).unwrap();
    spool.commit().expect("a healthy disk takes more");
}

pub(crate) fn spool_seeds() -> Vec<Vec<u8>> {
    filled().0.into_values().collect()
}

/// What comes over a Modbus line after each kind of request.
pub fn rtu(data: &[u8]) {
    let read =
        |function, count| Ask::Read(Request { unit: 0x11, function, address: 0x6B, count, timeout_ms: 1 });
    let write = |values| Ask::Write(WriteRequest { unit: 0x11, address: 1, values, timeout_ms: 1 });
    let asks = [
        read(Function::Holding, 3),
        read(Function::Input, 125),
        read(Function::Coils, 19),
        read(Function::Holding, 0),
        write(Values::Coil(true)),
        write(Values::Registers(vec![10, 258])),
    ];
    for ask in asks {
        for piece in [1, 7, 300] {
            let mut receiver = Receiver::new(ask.clone());
            let answer = data.chunks(piece).find_map(|bytes| receiver.push(bytes));
            let _ = answer.unwrap_or_else(|| Err(receiver.expire()));
        }
    }
}

pub(crate) fn rtu_seeds() -> Vec<Vec<u8>> {
    let corpus = include_str!("../../golden/modbus/rtu.txt");
    let rows = corpus.lines().filter(|line| !line.starts_with('#'));
    let answers = rows.filter_map(|row| row.split('|').nth(3));
    answers
        .map(|text| text.split_whitespace().filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect())
        .collect()
}

/// One machine for each built-in profile, and the parts of HJ 212 without their checksum.
pub fn dialects(data: &[u8]) {
    for profile in profiles() {
        let address = match profile.dialect.word().word() {
            "sdi12" => "0",
            "dlt645" => "000010604867",
            "hj212" => "620702107000000000000001",
            _ => "",
        };
        let points =
            (0..profile.points.len()).map(|at| PointPlan { point: at as u32, profile_point: at }).collect();
        let device = DevicePlan { address: address.to_owned(), profile, points, interval_ms: 1_000 };
        let plan = BusPlan { devices: vec![device], timeout_ms: 100, pause_ms: 0 };
        let mut talk = Talk::new(plan, 0);
        talk.handle_up(0, 0);
        for (n, bytes) in data.chunks(23).enumerate() {
            let now = n as u64 * 40;
            talk.handle_bytes(0, bytes, now);
            if talk.poll_timeout().is_some_and(|at| at <= now) {
                talk.handle_timeout(now);
            }
            while let Some(command) = talk.poll_command() {
                if let Command::Samples { samples, answer, .. } = command {
                    let sound = |s: &sitian_dialect::Sample| {
                        s.value.is_none_or(f64::is_finite)
                            && s.value.is_none() == matches!(s.quality, sitian_model::Quality::Bad(_))
                    };
                    assert!(samples.iter().all(sound), "{samples:?}");
                    answer.into_iter().for_each(|answer| talk.handle_kept(answer, now));
                }
            }
        }
    }
    let text = String::from_utf8_lossy(data);
    let _ = Framer::default().push(data);
    let _ = Content::parse(&text).at(480);
    if let Ok(message) = Message::parse(&text) {
        let mut packets = Packets::default();
        let _ = (message.acknowledgement(), packets.join(&message), packets.join(&message));
    }
}

fn profiles() -> Vec<Arc<DialectProfile>> {
    thread_local! {
        static PROFILES: Vec<Arc<DialectProfile>> = {
            let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
            let parse = |(file, text): &(&str, &str)| Arc::new(DialectProfile::parse(file, text, &catalogue).unwrap());
            builtin().iter().map(parse).collect()
        };
    }
    PROFILES.with(Clone::clone)
}

pub(crate) fn dialect_seeds() -> Vec<Vec<u8>> {
    let segment = "QN=20260610090010000;ST=22;CN=2011;PW=123456;MN=620702107000000000000001;Flag=5;CP=&&DataTime=20260610090000;a34004-Rtd=31,a34004-Flag=N&&";
    let split = segment.replace("Flag=5;", "Flag=7;PNUM=2;PNO=1;");
    let frame = |segment: &str| sitian_dialect::hj212::encode(segment, sitian_dialect::hj212::Crc::Standard);
    vec![
        b"00013\r\n0\r\n0+3.14OqZ\r\n0+21.5+18.2-3.0\r\n".to_vec(),
        b"$WIMWV,315.4,R,12.2,N,A*11\r\n$WIMDA,3.02,I,1.01,B,23.4,C,,,40.2,,12.1,C,19.3,T,20.1,M,13.1,N,1.1,M*62\r\n".to_vec(),
        b"$WIXDR,C,022.0,C,,*52\r\n$IIXDR,P,1.015,B,Baro,C,22.0,C,AirTemp*21\r\n".to_vec(),
        vec![0xFF, 0x86, 0x02, 0x60, 0x47, 0, 0, 0, 0xD1],
        b"R1234\rT=21.5C,RH=48.0%\r\n7.012\r".to_vec(),
        vec![0xFE, 0xFE, 0x68, 0x67, 0x48, 0x60, 0x10, 0, 0, 0x68, 0x91, 8, 0x33, 0x33, 0x34, 0x33, 0xAB, 0x89, 0x67, 0x45, 0x35, 0x16],
        frame(segment),
        frame(&split),
        segment.as_bytes().to_vec(),
        split.into_bytes(),
    ]
}
