//! A week without a link, written through the real rooms: readings, `encode_record`, the spool with its default limits on
//! the gateway's own disk. Only the sync is rarer than on a gateway, once in [`COMMIT_EVERY`] records: the frame that ends a
//! commit is written over by the next one, so that the files come out the same.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sitian_model::{
    DeviceId, DeviceInfo, Epoch, GatewayId, Manifest, PointInfo, PointKey, Quality, Reading, Record, Span,
    Timestamp,
};
use sitian_spool::{Limits, Spool};
use sitian_tests_system::backlog::disk::FolderDisk;

use crate::Outcome;

const DEVICES: u32 = 100;
const INTERVAL_MS: i64 = 10_000;
/// Devices whose answers fall into one gather window of 500 ms, where 100 devices answer one after the other in 10 s.
const DEVICES_PER_RECORD: u32 = 5;
const COMMIT_EVERY: u64 = 64;
/// Key, unit, decimals and first value in units of the last decimal: the points of `crates/xtask/src/bench/profile.toml`.
const POINTS: [(&str, &str, u8, i64); 10] = [
    ("soil_moisture", "%", 1, 260),
    ("soil_temperature", "°C", 1, 180),
    ("soil_ec", "µS/cm", 0, 420),
    ("soil_ph", "", 1, 72),
    ("air_temperature", "°C", 1, 215),
    ("air_humidity", "%", 1, 550),
    ("air_co2", "ppm", 0, 520),
    ("wind_speed", "m/s", 1, 24),
    ("noise", "dB", 1, 410),
    ("water_level", "m", 2, 160),
];
/// One step of a value between two polls, in units of its last decimal, drawn evenly.
const STEPS: [i64; 5] = [-1, 0, 0, 0, 1];
/// How far a value may walk from where it began.
const STRAY_MAX: i64 = 20;
const POWERS: [f64; 3] = [1.0, 10.0, 100.0];

/// Fills `folder` with so many days of 1,000 points every 10 s, the last now.
pub fn fill(folder: &Path, gateway: &str, days: f64) -> Outcome<()> {
    let epoch = Epoch(std::array::from_fn(|_| fastrand::u8(..)));
    let (mut spool, _) = Spool::open(FolderDisk::open(folder)?, Limits::default(), epoch);
    spool.set_manifest(&sitian_wire::encode_manifest(&epoch, &manifest(gateway)?))?;
    let rounds = (days * 86_400_000.0 / INTERVAL_MS as f64) as i64;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let begin_ms = now_ms - rounds * INTERVAL_MS;
    let mut dice = fastrand::Rng::with_seed(7);
    let mut strayed = vec![0; DEVICES as usize * POINTS.len()];
    let (mut records, mut bytes) = (0, 0);
    for round in 0..rounds {
        for first in (0..DEVICES).step_by(DEVICES_PER_RECORD as usize) {
            let readings = (first..first + DEVICES_PER_RECORD)
                .flat_map(|device| answer(device, begin_ms + round * INTERVAL_MS, &mut strayed, &mut dice))
                .collect();
            let record = Record {
                boot: 0x5DEE_CE66_D1CE_B00C,
                mono_ms: (round * INTERVAL_MS) as u64 + 100 * u64::from(first),
                uncertainty_ms: Some(20),
                readings,
            };
            let (from, to) = (record.readings[0].at, record.readings[record.readings.len() - 1].at);
            let record = sitian_wire::encode_record(&record);
            spool.append(&record, Span { from, to: to.plus_ms(1) })?;
            (records, bytes) = (records + 1, bytes + record.len());
            if records % COMMIT_EVERY == 0 {
                spool.commit()?;
            }
        }
        if round % 8_640 == 8_639 {
            let mib = spool.state().bytes >> 20;
            eprintln!("  outage: {} of {days} days written, spool {mib} MiB", (round + 1) / 8_640);
        }
    }
    spool.commit()?;
    let (readings, spool) = (rounds * i64::from(DEVICES) * POINTS.len() as i64, spool.state());
    if spool.lost > 0 {
        return Err(format!("{} records did not fit the spool", spool.lost).into());
    }
    println!("{readings} {records} {bytes} {}", spool.bytes);
    Ok(())
}

/// The readings of one poll of a device: all of the same moment, a few milliseconds late.
fn answer(device: u32, round_ms: i64, strayed: &mut [i64], dice: &mut fastrand::Rng) -> Vec<Reading> {
    let at = Timestamp(round_ms + 100 * i64::from(device) + dice.i64(0..8));
    let reading = |(n, (_, _, decimals, first)): (usize, &(&str, &str, u8, i64))| {
        let point = device as usize * POINTS.len() + n;
        strayed[point] = (strayed[point] + STEPS[dice.usize(..5)]).clamp(-STRAY_MAX, STRAY_MAX);
        let value = (first + strayed[point]) as f64 / POWERS[usize::from(*decimals)];
        Reading { point: point as u32, at, value: Some(value), quality: Quality::Good }
    };
    POINTS.iter().enumerate().map(reading).collect()
}

/// Names the points as the gateway of the measurement does, so that the backlog and its fresh readings are of one series.
fn manifest(gateway: &str) -> Outcome<Manifest> {
    let device = |n: u32| -> Outcome<DeviceInfo> {
        Ok(DeviceInfo {
            id: DeviceId::new(&format!("device-{}", n + 1))?,
            name: format!("device-{}", n + 1),
            place: String::new(),
            profile: "bench-10".into(),
            bus: format!("bus-{}", n / 10 + 1),
        })
    };
    let point = |n: u32| -> Outcome<PointInfo> {
        let (key, unit, decimals, _) = POINTS[n as usize % POINTS.len()];
        Ok(PointInfo {
            device: n / POINTS.len() as u32,
            key: PointKey::new(key)?,
            measurement: key.into(),
            unit: unit.into(),
            decimals,
            interval_ms: INTERVAL_MS as u32,
        })
    };
    Ok(Manifest {
        gateway: GatewayId::new(gateway)?,
        software: "outage".into(),
        devices: (0..DEVICES).map(device).collect::<Outcome<_>>()?,
        points: (0..DEVICES * POINTS.len() as u32).map(point).collect::<Outcome<_>>()?,
    })
}
