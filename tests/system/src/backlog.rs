//! A spool as a long outage leaves it: written by the real spool room on the gateway's own disk, only faster than time.

use std::path::Path;

use sitian_model::{
    DeviceId, DeviceInfo, Epoch, GatewayId, Manifest, PointInfo, PointKey, Quality, Reading, Record, Span,
    Timestamp,
};
use sitian_spool::{Limits, Spool};

#[path = "../../../crates/gateway/src/disk.rs"]
#[allow(dead_code, missing_docs)]
pub mod disk;

/// Fills `folder` with `rounds` records of `points` readings each, ten seconds apart, the last at `until` (Unix ms).
/// Returns the bytes on disk. The value of point `p` in round `r` is `(r + p) % 10,000` tenths.
pub fn write(folder: &Path, gateway: &str, points: u32, rounds: u64, until: i64) -> u64 {
    let epoch = Epoch([7; 16]);
    let device = DeviceInfo {
        id: DeviceId::new("outage-1").expect("an id"),
        name: "outage".into(),
        place: String::new(),
        profile: "test".into(),
        bus: "a".into(),
    };
    let point = |n: u32| PointInfo {
        device: 0,
        key: PointKey::new(&format!("p{n}")).expect("a key"),
        measurement: "device_status".into(),
        unit: String::new(),
        decimals: 1,
        interval_ms: 10_000,
    };
    let manifest = Manifest {
        gateway: GatewayId::new(gateway).expect("an id"),
        software: "test".into(),
        devices: vec![device],
        points: (0..points).map(point).collect(),
    };
    let disk = disk::FolderDisk::open(folder).expect("a fresh folder");
    let (mut spool, _) = Spool::open(disk, Limits::default(), epoch);
    spool.set_manifest(&sitian_wire::encode_manifest(&epoch, &manifest)).expect("a small manifest");
    let begin = until - 10_000 * rounds as i64;
    for round in 0..rounds {
        let at = Timestamp(begin + 10_000 * round as i64);
        let value = |p: u32| ((round + u64::from(p)) % 10_000) as f64 / 10.0;
        let reading = |p: u32| Reading { point: p, at, value: Some(value(p)), quality: Quality::Good };
        let record = Record {
            boot: 7,
            mono_ms: 10_000 * round,
            uncertainty_ms: Some(50),
            readings: (0..points).map(reading).collect(),
        };
        let span = Span { from: at, to: at.plus_ms(1) };
        spool.append(&sitian_wire::encode_record(&record), span).expect("a record that fits");
        if round % 100 == 99 || round + 1 == rounds {
            spool.commit().expect("a healthy disk");
        }
    }
    spool.state().bytes
}
