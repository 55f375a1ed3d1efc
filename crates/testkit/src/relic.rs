//! A small spool directory as a gateway in the field leaves it: several epochs, an evicted gap, an ack, a manifest each,
//! a torn tail, half full. Every released format keeps one under `tests/golden/spool`, written once by the program of its
//! day (`cargo run -p sitian-testkit --example spool_relic -- tests/golden/spool/vN`) and never again: later programs
//! must open and forward it. What it holds is a function of the label, so that a test knows it without a list.

use sitian_model::{
    DeviceId, DeviceInfo, Epoch, GatewayId, Manifest, PointInfo, PointKey, Quality, Reading, Record, Seq,
    Span, Timestamp,
};
use sitian_spool::{Limits, Owner, Spool};

use crate::disk::CardDisk;

/// Points of its one device; most records have the first few of them.
const POINTS: u32 = 60;
const POINTS_OFTEN: u32 = 12;
/// The time of record 0 of epoch 0.
const BEGIN_MS: i64 = 1_790_000_000_000;
/// Records of each epoch, in the order they were written.
pub const RECORDS: [Seq; 3] = [420, 40, 60];
/// Of the first epoch the centre has said that so many are stored.
pub const ACKED: Seq = 20;

/// The limits it was written under; a later program may use others.
pub fn limits() -> Limits {
    Limits {
        segment_bytes: 8 * 1024,
        bytes_max: 80 * 1024,
        keep_behind_ms: 72 * 3_600_000,
        record_bytes_max: 2048,
        memory_bytes_max: 16 * 1024,
        ack_every: 8,
    }
}

/// The name of its epoch number `n`.
pub fn epoch(n: usize) -> Epoch {
    Epoch([0xE0 + n as u8; 16])
}

/// Whose spool it is. The names are constants and well-formed.
pub fn manifest() -> Option<Manifest> {
    let device = DeviceInfo {
        id: DeviceId::new("soil-1").ok()?,
        name: "3号棚 土壤".into(),
        place: "3号棚".into(),
        profile: "renke-soil-7in1".into(),
        bus: "line-1".into(),
    };
    let point = |n: u32| {
        Some(PointInfo {
            device: 0,
            key: PointKey::new(&format!("soil_{n}")).ok()?,
            measurement: "soil_moisture".into(),
            unit: "%".into(),
            decimals: 1,
            interval_ms: 10_000,
        })
    };
    let points = (0..POINTS).map(point).collect::<Option<_>>()?;
    let gateway = GatewayId::new("relic-01").ok()?;
    Some(Manifest { gateway, software: "sitian-gateway 0.1.0".into(), devices: vec![device], points })
}

/// The record under this label: many small ones, now and then a large one.
pub fn record(n: usize, seq: Seq) -> Record {
    let at = Timestamp(BEGIN_MS + n as i64 * 86_400_000 + seq as i64 * 10_000);
    let points = if seq % 7 == 3 { POINTS } else { POINTS_OFTEN };
    let reading = |point: u32| Reading {
        point,
        at,
        value: Some((n as f64 * 1e6 + seq as f64 * 1e3 + f64::from(point)) / 16.0),
        quality: Quality::Good,
    };
    let readings = (0..points).map(reading).collect();
    Record { boot: 7 + n as u64, mono_ms: seq * 10_000, uncertainty_ms: Some(50), readings }
}

fn span(record: &Record) -> Span {
    let at = |r: &Reading| r.at;
    let from = record.readings.first().map_or(Timestamp(0), at);
    Span { from, to: record.readings.last().map_or(from, at).plus_ms(1) }
}

/// Writes it: three lives of a gateway, the last one ended by a power cut in the middle of a write.
pub fn write() -> Option<CardDisk> {
    let manifest = manifest()?;
    let mut disk = CardDisk::default();
    for (n, records) in RECORDS.into_iter().enumerate() {
        let mut spool = Spool::open(disk.process_death(), limits(), epoch(n)).0;
        spool.set_manifest(&sitian_wire::encode_manifest(&epoch(n), &manifest)).ok()?;
        let owner = Owner::new(manifest.gateway.as_str())?;
        spool.set_owner(owner);
        (0..n).for_each(|before| spool.set_owner_of(epoch(before), owner));
        for seq in 0..records {
            let record = record(n, seq);
            spool.append(&sitian_wire::encode_record(&record), span(&record)).ok()?;
            spool.commit().ok()?;
            if n == 0 && seq == ACKED {
                spool.release(epoch(0), ACKED);
            }
        }
        if n + 1 == RECORDS.len() {
            // Half of the next record reaches the card.
            let record = record(n, records);
            spool.append(&sitian_wire::encode_record(&record), span(&record)).ok()?;
            let calls = spool.disk_mut().calls;
            spool.disk_mut().faults.power_off_at = Some(calls);
            spool.commit().err()?;
        }
        disk = spool.into_disk();
    }
    Some(disk)
}
