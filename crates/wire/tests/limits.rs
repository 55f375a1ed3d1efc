//! Where the limits lie, what a poisoned batch still tells, and how small readings are.

#![allow(clippy::unwrap_used)]

use prost::encoding;
use sitian_model::*;
use sitian_wire::*;

const EPOCH: Epoch = Epoch([5; 16]);

fn batch(first: Seq, entries: Vec<Entry>) -> Batch {
    Batch {
        epoch: EPOCH,
        first,
        entries,
        chain: 1,
        acked: first,
        oldest: 0,
        held: vec![Held { epoch: EPOCH, oldest: 0, end: first + 1, acked: first }],
        clocks: vec![],
        lane: Lane::Live,
        spool: SpoolState::default(),
    }
}

/// One second of 20 devices with 10 points each, values as such sensors give them.
fn second(n: u64) -> Record {
    let reading = |i: u32| {
        let noise = ((u64::from(i) * 7919 + n * 104_729) % 400) as i64;
        let (value, power) =
            [(251 + noise, 10.0), (612 + noise, 100.0), (1200 + noise, 1.0)][(i % 3) as usize];
        let at = Timestamp(1_790_000_000_000 + (n * 1000) as i64 + i64::from(i / 10) * 23 + (noise % 3));
        Reading { point: i, at, value: Some(value as f64 / power), quality: Quality::Good }
    };
    Record {
        boot: u64::MAX / 3,
        mono_ms: n * 1000,
        uncertainty_ms: Some(20),
        readings: (0..200).map(reading).collect(),
    }
}

#[test]
fn two_hundred_readings_take_at_most_six_bytes_each_on_the_wire() {
    let records: Vec<Vec<u8>> = (0..10).map(|n| encode_record(&second(n))).collect();
    let one = encode_batch(&batch(0, vec![Entry::Record(records[0].clone())])).len();
    let ten = encode_batch(&batch(0, records.iter().cloned().map(Entry::Record).collect())).len();
    println!(
        "bytes per reading: record {:.2}, batch of 1 s {:.2}, batch of 10 s {:.2}",
        records[0].len() as f64 / 200.0,
        one as f64 / 200.0,
        ten as f64 / 2000.0
    );
    assert!(one <= 1200, "{one}");
    assert!(ten <= 12_000, "{ten}");
}

#[test]
fn the_largest_record_of_a_gateway_fits_into_a_batch_however_wild_its_values() {
    let wild = |i: usize| Reading {
        point: if i.is_multiple_of(2) { 0 } else { u32::MAX },
        at: Timestamp(if i.is_multiple_of(2) { i64::MIN } else { i64::MAX / 3 }),
        value: Some(f64::from_bits(0x3fd5_5555_5555_5555_u64.wrapping_mul(2 * i as u64 + 1) & !(1 << 62))),
        quality: if i.is_multiple_of(2) { Quality::Good } else { Quality::Uncertain(Cause::Implausible) },
    };
    let readings = (0..READINGS_MAX).map(wild).collect();
    let record = Record { boot: u64::MAX, mono_ms: u64::MAX, uncertainty_ms: Some(u32::MAX), readings };
    let bytes = encode_record(&record);
    assert!(bytes.len() <= RECORD_BYTES_MAX, "{}", bytes.len());
    assert_eq!(decode_record(&bytes), Ok(record));
    let noise: Vec<u8> =
        (0..RECORD_BYTES_MAX as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let full = batch(SEQ_MAX / 2, vec![Entry::Record(noise)]);
    let bytes = encode_batch(&full);
    assert!(bytes.len() <= WIRE_BYTES_MAX, "{}", bytes.len());
    assert_eq!(decode_batch(&bytes), Ok(full));
}

#[test]
fn a_reading_that_contradicts_itself_is_sent_as_not_a_number() {
    let not_a_number = Quality::Bad(Cause::NotANumber);
    let timeout = Quality::Bad(Cause::Timeout);
    for (value, quality, expected) in [
        (None, Quality::Good, not_a_number),
        (Some(f64::NAN), Quality::Good, not_a_number),
        (Some(f64::INFINITY), Quality::Uncertain(Cause::Implausible), not_a_number),
        (Some(1.0), timeout, timeout),
    ] {
        let readings = vec![Reading { point: 0, at: Timestamp(0), value, quality }];
        let record = Record { boot: 1, mono_ms: 1, uncertainty_ms: None, readings };
        let back = decode_record(&encode_record(&record)).unwrap();
        assert_eq!(
            (back.readings[0].value, back.readings[0].quality),
            (None, expected),
            "{value:?} {quality:?}"
        );
    }
}

/// Writes an arbitrary varint field in front of a message, where it overrides nothing that comes later.
fn with_field(tag: u32, value: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encoding::uint64::encode(tag, &value, &mut bytes);
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn poison_is_refused_and_still_declares_its_labels_where_they_are_credible() {
    let good = encode_batch(&batch(40, vec![Entry::Record(vec![9; 20]), Entry::Record(vec![8; 20])]));
    let truth = Some(Declared { epoch: EPOCH, first: 40, end: 42 });
    let appended = |tag, value| [good.clone(), with_field(tag, value, &[])].concat();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    for (name, bytes, expected) in [
        ("nothing", vec![], None),
        ("zeros", vec![0; 100], None),
        ("text", b"{\"temperature\": 25.6}".to_vec(), None),
        ("longer than the wire allows", vec![8; WIRE_BYTES_MAX + 1], None),
        ("cut in the middle", good[..good.len() / 2].to_vec(), truth),
        ("cut by one byte", good[..good.len() - 1].to_vec(), truth),
        ("damaged body", flipped(good.len() - 9), truth),
        ("damaged checksum of the rest", flipped(good.len() - 3), None),
        ("another lane", appended(9, 77), None),
        ("another spool", [good.clone(), vec![0x52, 2, 0x20, 9]].concat(), None),
        ("another acked", appended(6, 1 << 40), truth),
        ("another body length", appended(14, 1), truth),
        ("another end", appended(4, 1 << 40), None),
        ("damaged epoch", flipped(6), None),
        ("version 0", appended(1, 0), None),
    ] {
        let error = decode_batch(&bytes).map(|_| name).unwrap_err();
        assert_eq!(error.declared(), expected, "{name}: {error}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_batch_is_seen_or_changes_nothing() {
    let held = |n: u8| Held { epoch: Epoch([n; 16]), oldest: 300, end: 1 << 40, acked: 70_000 };
    let clock = |boot| Clock { boot, wall_at_zero_ms: 1_790_000_000_000, uncertainty_ms: 20 };
    let sent = Batch {
        held: vec![held(1), held(2)],
        clocks: vec![clock(7), clock(u64::MAX)],
        spool: SpoolState { bytes: 1 << 20, bytes_max: 1 << 30, backlog: 3, lost: 9, healthy: true },
        ..batch(40, vec![Entry::Record(vec![9; 20]), Entry::Record(vec![8; 20])])
    };
    let bytes = encode_batch(&sent);
    let mut sent_again = 0;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match decode_batch(&damaged) {
            Ok(batch) => assert_eq!(batch, sent, "bit {bit}"),
            Err(DecodeError::Damaged { .. }) => sent_again += 1,
            Err(_) => {}
        }
    }
    assert!(sent_again > 8 * 32, "most of the {sent_again} bits of the rest leave the records alone");
}

#[test]
fn what_a_newer_program_adds_to_the_rest_of_a_batch_is_checked_and_then_left_alone() {
    let check = [&1_u32.to_le_bytes()[..], &EPOCH.0, &7_u64.to_le_bytes(), &7_u64.to_le_bytes()].concat();
    // A live lane, and a spool that has lost 3 records and says something in its field 15.
    let rest = [0x48, 1, 0x52, 4, 0x20, 3, 0x78, 5];
    let probe = |rest_check: u32| {
        let mut bytes = Vec::new();
        encoding::uint32::encode(1, &1, &mut bytes);
        encoding::bytes::encode(2, &EPOCH.0.to_vec(), &mut bytes);
        encoding::uint64::encode(3, &7, &mut bytes);
        encoding::uint64::encode(4, &7, &mut bytes);
        encoding::fixed32::encode(5, &crc32c::crc32c(&check), &mut bytes);
        bytes.extend(rest);
        encoding::fixed32::encode(13, &crc32c::crc32c(&[0; 20]), &mut bytes);
        encoding::fixed32::encode(17, &rest_check, &mut bytes);
        decode_batch(&bytes)
    };
    let sound = crc32c::crc32c(&rest);
    assert_eq!(probe(sound).map(|batch| (batch.lane, batch.spool.lost)), Ok((Lane::Live, 3)));
    assert!(matches!(probe(sound ^ 1), Err(DecodeError::Damaged { .. })));
}

#[test]
fn a_newer_batch_declares_its_labels_through_the_frozen_envelope() {
    let check = [&2_u32.to_le_bytes()[..], &EPOCH.0, &7_u64.to_le_bytes(), &9_u64.to_le_bytes()].concat();
    let mut bytes = Vec::new();
    encoding::uint32::encode(1, &2, &mut bytes);
    encoding::bytes::encode(2, &EPOCH.0.to_vec(), &mut bytes);
    encoding::uint64::encode(3, &7, &mut bytes);
    encoding::uint64::encode(4, &9, &mut bytes);
    encoding::fixed32::encode(5, &crc32c::crc32c(&check), &mut bytes);
    // What version 2 made of field 9 is none of our business.
    encoding::bytes::encode(9, &b"not a lane".to_vec(), &mut bytes);
    let declared = Some(Declared { epoch: EPOCH, first: 7, end: 9 });
    assert_eq!(decode_batch(&bytes), Err(DecodeError::Newer { version: 2, declared }));
}

#[test]
fn newer_records_acks_manifests_and_states_say_so() {
    let record = encode_record(&second(0));
    let newer = |bytes: Vec<u8>| [bytes, with_field(1, 9, &[])].concat();
    let expected = DecodeError::Newer { version: 9, declared: None };
    assert_eq!(decode_record(&newer(record)), Err(expected.clone()));
    let ack = Ack {
        epoch: EPOCH,
        committed: 1,
        chain: None,
        action: Action::Ok,
        retry_after_ms: 0,
        window_bytes: 0,
        server_ms: 0,
    };
    assert_eq!(decode_ack(&newer(encode_ack(&ack))), Err(expected.clone()));
    let state = State { online: true, since_ms: 0, software: "1".into(), boot: 0 };
    assert_eq!(decode_state(&newer(encode_state(&state))), Err(expected.clone()));
    let gateway = GatewayId::new("gw").unwrap();
    let manifest = Manifest { gateway, software: String::new(), devices: vec![], points: vec![] };
    assert_eq!(decode_manifest(&newer(encode_manifest(&EPOCH, &manifest))), Err(expected));
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let device = |id: &str| DeviceInfo {
        id: DeviceId::new(id).unwrap(),
        name: "n".into(),
        place: String::new(),
        profile: "p".into(),
        bus: "b".into(),
    };
    let point = |device, key: &str| PointInfo {
        device,
        key: PointKey::new(key).unwrap(),
        measurement: "m".into(),
        unit: "u".into(),
        decimals: 0,
        interval_ms: 1,
    };
    let many = (0..POINTS_MAX).map(|i| point(0, &format!("p{i}"))).collect::<Vec<_>>();
    for (name, devices, points, ok) in [
        ("sound", vec![device("a"), device("b")], vec![point(0, "x"), point(1, "x")], true),
        ("device twice", vec![device("a"), device("a")], vec![], false),
        ("point twice", vec![device("a")], vec![point(0, "x"), point(0, "x")], false),
        ("point of no device", vec![device("a")], vec![point(1, "x")], false),
        ("as many points as allowed", vec![device("a")], many.clone(), true),
        ("one point more", vec![device("a")], [many, vec![point(0, "y")]].concat(), false),
    ] {
        let gateway = GatewayId::new("gw").unwrap();
        let manifest = Manifest { gateway, software: String::new(), devices, points };
        let bytes = encode_manifest(&EPOCH, &manifest);
        let back = decode_manifest(&bytes);
        assert_eq!(back.is_ok(), ok, "{name}: {back:?}");
    }
}

#[test]
fn a_manifest_with_a_text_that_is_too_long_is_refused_with_what_it_is() {
    let long = "字".repeat(85) + "xy";
    assert_eq!(long.len(), TEXT_BYTES_MAX + 1);
    let check = |change: &dyn Fn(&mut DeviceInfo, &mut PointInfo, &str), what: &str| {
        let mut device = DeviceInfo {
            id: DeviceId::new("soil-1").unwrap(),
            name: String::new(),
            place: String::new(),
            profile: String::new(),
            bus: String::new(),
        };
        let mut point = PointInfo {
            device: 0,
            key: PointKey::new("ec").unwrap(),
            measurement: String::new(),
            unit: String::new(),
            decimals: 0,
            interval_ms: 1,
        };
        let mut told = |text: &str| {
            change(&mut device, &mut point, text);
            let gateway = GatewayId::new("gw").unwrap();
            let (devices, points) = (vec![device.clone()], vec![point.clone()]);
            let manifest = Manifest { gateway, software: String::new(), devices, points };
            decode_manifest(&encode_manifest(&EPOCH, &manifest)).map(|(_, back)| assert_eq!(back, manifest))
        };
        assert_eq!(told(&long[..TEXT_BYTES_MAX]), Ok(()), "{what}");
        let error = told(&long).unwrap_err().to_string();
        assert_eq!(error, format!("{what} has 257 bytes, at most 256 are allowed"));
    };
    check(&|device, _, text| device.name = text.into(), "name of device soil-1");
    check(&|device, _, text| device.place = text.into(), "place of device soil-1");
    check(&|device, _, text| device.profile = text.into(), "profile of device soil-1");
    check(&|device, _, text| device.bus = text.into(), "bus of device soil-1");
    check(&|_, point, text| point.measurement = text.into(), "measurement of point ec");
    check(&|_, point, text| point.unit = text.into(), "unit of point ec");
}

#[test]
fn more_held_epochs_than_can_be_listed_are_not_listed_at_all() {
    for (count, expected) in [(HELD_MAX, HELD_MAX), (HELD_MAX + 1, 0)] {
        let held = |i: usize| Held { epoch: Epoch([i as u8; 16]), oldest: 0, end: 1, acked: 0 };
        let batch = Batch { held: (0..count).map(held).collect(), ..batch(0, vec![]) };
        assert_eq!(decode_batch(&encode_batch(&batch)).map(|b| b.held.len()), Ok(expected));
    }
}

#[test]
fn small_messages_cannot_grow_into_large_ones() {
    // A run of 2^32 readings without points to carry them.
    let mut bytes = with_field(1, 1, &[]);
    encoding::uint32::encode_packed(9, &[128 + 4], &mut bytes);
    encoding::uint32::encode_packed(10, &[u32::MAX], &mut bytes);
    assert!(decode_record(&bytes).is_err());
    // Half a million devices in a few compressed bytes.
    let body = [0x1a, 0x00].repeat(130_000);
    let mut bytes = with_field(1, 1, &[]);
    encoding::bytes::encode(2, &EPOCH.0.to_vec(), &mut bytes);
    encoding::uint32::encode(3, &(body.len() as u32), &mut bytes);
    encoding::fixed32::encode(4, &crc32c::crc32c(&body), &mut bytes);
    encoding::bytes::encode(6, &zstd::bulk::compress(&body, 3).unwrap(), &mut bytes);
    let error = decode_manifest(&bytes).unwrap_err().to_string();
    assert_eq!(error, "130000 devices, at most 1024 are allowed");
}
