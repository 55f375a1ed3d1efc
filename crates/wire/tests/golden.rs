//! The bytes of version 1. **Do not change the files in `tests/golden/wire/v1`**: gateways in the field speak them and
//! spools hold them. A change that makes this test fail is a new version with a folder of its own.

#![allow(clippy::unwrap_used)]
// The room reads no files; its proof does.
#![allow(clippy::disallowed_methods)]

use std::fmt::Debug;
use std::path::PathBuf;

use sitian_model::*;
use sitian_wire::*;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/wire/v1").join(name)
}

fn golden(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("failed to read {name}: {e}"));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n").collect()
}

fn check<T: PartialEq + Debug>(
    name: &str,
    value: T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    let bytes = golden(name);
    assert_eq!(hex(&encode(&value)), hex(&bytes), "{name} is written otherwise");
    assert_eq!(decode(&bytes), Ok(value), "{name} is read otherwise");
}

const EPOCH: Epoch = Epoch([0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255]);
const OLDER: Epoch = Epoch([9; 16]);
const AT: i64 = 1_790_000_000_000;

fn reading(point: u32, after_ms: i64, value: Option<f64>, quality: Quality) -> Reading {
    Reading { point, at: Timestamp(AT + after_ms), value, quality }
}

fn record() -> Record {
    let suspicious = Quality::Uncertain(Cause::Implausible);
    Record {
        boot: 0x1122_3344_5566_7788,
        mono_ms: 86_400_123,
        uncertainty_ms: Some(40),
        readings: vec![
            reading(0, 0, Some(25.6), Quality::Good),
            reading(1, 0, Some(-0.1), Quality::Good),
            reading(2, 0, Some(1.0 / 3.0), Quality::Good),
            reading(7, 35, Some(-0.0), suspicious),
            reading(8, 35, Some(120_000.0), suspicious),
            reading(3, 20, None, Quality::Bad(Cause::Timeout)),
            reading(4, 20, None, Quality::Bad(Cause::Timeout)),
        ],
    }
}

fn early_record() -> Record {
    Record {
        boot: 7,
        mono_ms: 900,
        uncertainty_ms: None,
        readings: vec![reading(0, 0, Some(7.0), Quality::Good)],
    }
}

fn batch(lane: Lane, first: Seq, entries: Vec<Entry>) -> Batch {
    Batch {
        epoch: EPOCH,
        first,
        entries,
        chain: 0xdead_beef,
        acked: 40,
        oldest: 12,
        held: vec![
            Held { epoch: OLDER, oldest: 0, end: 100, acked: 100 },
            Held { epoch: EPOCH, oldest: 12, end: 45, acked: 40 },
        ],
        clocks: vec![Clock { boot: 7, wall_at_zero_ms: AT - 1000, uncertainty_ms: 20 }],
        lane,
        spool: SpoolState { bytes: 3 << 20, bytes_max: 700 << 20, backlog: 5, lost: 2, healthy: true },
    }
}

fn gap(first: Seq, last: Seq, reason: GapReason, span: Option<(i64, i64)>) -> Entry {
    let span = span.map(|(from, to)| Span { from: Timestamp(from), to: Timestamp(to) });
    Entry::Gap(Gap { first, last, reason, span })
}

fn ack(action: Action, retry_after_ms: u32) -> Ack {
    let (window_bytes, server_ms, chain) = (262_144, AT, None);
    Ack { epoch: EPOCH, committed: 45, chain, action, retry_after_ms, window_bytes, server_ms }
}

fn manifest() -> Manifest {
    let device = |id: &str, name: &str, place: &str| DeviceInfo {
        id: DeviceId::new(id).unwrap(),
        name: name.into(),
        place: place.into(),
        profile: "soil-7in1".into(),
        bus: "rs485-1".into(),
    };
    let point = |device, key: &str, unit: &str, decimals, interval_ms| PointInfo {
        device,
        key: PointKey::new(key).unwrap(),
        measurement: key.into(),
        unit: unit.into(),
        decimals,
        interval_ms,
    };
    Manifest {
        gateway: GatewayId::new("gw-620702107-01").unwrap(),
        software: "0.1.0".into(),
        devices: vec![device("soil-1", "3号棚 土壤", "3号棚"), device("water-1", "渠口", "")],
        points: vec![
            point(0, "soil_moisture", "%", 1, 10_000),
            point(0, "soil_temperature", "°C", 1, 10_000),
            point(1, "water_ph", "", 2, 60_000),
        ],
    }
}

#[test]
fn records_are_written_and_read_as_in_version_1() {
    check("record.hex", record(), encode_record, decode_record);
    check("record-early.hex", early_record(), encode_record, decode_record);
    let empty = Record { boot: 0, mono_ms: 0, uncertainty_ms: None, readings: vec![] };
    check("record-empty.hex", empty, encode_record, decode_record);
}

/// The checksum of the rest came later: batches without it are read for ever, and written no more.
#[test]
fn batches_are_written_and_read_as_in_version_1() {
    let live = vec![Entry::Record(encode_record(&record()))];
    let kept = vec![Entry::Record(encode_record(&early_record()))];
    let gaps = vec![
        gap(12, 20, GapReason::Evicted, Some((AT, AT + 9000))),
        gap(21, 21, GapReason::Damaged, None),
        gap(22, 1_000_000, GapReason::Trimmed, Some((-5, 5))),
    ];
    for (name, batch) in [
        ("live", batch(Lane::Live, 40, live)),
        ("backfill", batch(Lane::Backfill, 12, kept)),
        ("probe", batch(Lane::Live, 45, vec![])),
        ("gap", batch(Lane::Backfill, 12, gaps)),
    ] {
        let unchecked = format!("batch-{name}.hex");
        assert_eq!(decode_batch(&golden(&unchecked)).as_ref(), Ok(&batch), "{unchecked} is read otherwise");
        check(&format!("batch-{name}-checked.hex"), batch, encode_batch, decode_batch);
    }
}

/// Only read, not written: another release of the compressor may choose other bytes.
#[test]
fn a_compressed_batch_is_read_as_in_version_1() {
    let entries = vec![Entry::Record(encode_record(&record())); 50];
    assert_eq!(decode_batch(&golden("batch-zstd.hex")), Ok(batch(Lane::Backfill, 40, entries)));
}

#[test]
fn acknowledgements_are_written_and_read_as_in_version_1() {
    for (name, action, retry_after_ms) in [
        ("ack-ok.hex", Action::Ok, 0),
        ("ack-rewind.hex", Action::Rewind, 0),
        ("ack-slow.hex", Action::Slow, 5000),
        ("ack-quarantined.hex", Action::Quarantined, 0),
        ("ack-fork.hex", Action::Fork, 0),
        ("ack-manifest.hex", Action::Manifest, 1000),
    ] {
        check(name, ack(action, retry_after_ms), encode_ack, decode_ack);
    }
    // The chain came later; without it an acknowledgement is written and read as before.
    let chain = Some(0xdead_beef);
    check("ack-chain.hex", Ack { chain, ..ack(Action::Ok, 0) }, encode_ack, decode_ack);
    let chain = Some(0);
    check("ack-chain-zero.hex", Ack { chain, ..ack(Action::Rewind, 0) }, encode_ack, decode_ack);
}

#[test]
fn manifests_and_states_are_written_and_read_as_in_version_1() {
    // Short enough to travel plain, so that its bytes do not depend on the compressor.
    let small = Manifest { devices: vec![], points: vec![], ..manifest() };
    check("manifest-empty.hex", (EPOCH, small), |(e, m)| encode_manifest(e, m), decode_manifest);
    assert_eq!(decode_manifest(&golden("manifest-zstd.hex")), Ok((EPOCH, manifest())));
    for (name, online) in [("state-online.hex", true), ("state-offline.hex", false)] {
        let state = State { online, since_ms: AT, software: "0.1.0".into(), boot: 7 };
        check(name, state, encode_state, decode_state);
    }
}
