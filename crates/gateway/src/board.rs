//! What the program knows about its buses at this moment, for people who look (`watch`). Nothing here decides anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sitian_model::{Cause, DeviceId, Manifest, PointIndex};
use sitian_poll::{DeviceStats, Sample};

use crate::plan::{PlannedBus, TalkingBus};

/// Airtime is measured over windows of this length.
const WINDOW_MS: u64 = 10_000;

/// A bus as people see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BusRow {
    /// Its name in the configuration.
    pub name: String,
    /// Path or address, and the line's settings.
    pub place: String,
    /// Share of the last ten seconds in which a request was under way, in percent; `None` before the first window.
    pub airtime_percent: Option<f64>,
    /// What is on it.
    pub devices: Vec<DeviceRow>,
    #[serde(skip)]
    number: u64,
    #[serde(skip)]
    window: Window,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    began_ms: u64,
    busy_ms: u64,
}

/// A device as people see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Id and name.
    pub id: String,
    pub name: String,
    /// Modbus unit id, or the address that its dialect knows it by.
    pub unit: String,
    pub profile: String,
    /// Milliseconds from request to answer.
    pub latency_ms: Option<u32>,
    /// Requests sent, and what came of those that failed. Without Modbus: rounds of readings, and what those without any
    /// value lacked.
    pub polls: u64,
    pub timeouts: u64,
    pub checksums: u64,
    pub exceptions: u64,
    pub unreachable: u64,
    /// Rounds in a row without any answer.
    pub silent_rounds: u32,
    /// The last failure in words; empty while the device answers.
    pub trouble: String,
    pub points: Vec<PointRow>,
}

/// A point as people see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PointRow {
    pub key: String,
    pub unit: String,
    pub decimals: u8,
    pub value: Option<f64>,
    /// `good`, `uncertain`, `bad`, or empty before the first sample.
    pub quality: String,
    /// Why it is not good.
    pub cause: String,
    /// Seconds since the sample.
    pub age_s: Option<f64>,
    #[serde(skip)]
    number: u32,
    #[serde(skip)]
    at_ms: u64,
}

/// All of it; cheap to clone, shared by the buses and those who look.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Vec<BusRow>>>);

impl Board {
    /// A board for these buses, numbered from 0 in this order, on which nothing has happened yet.
    pub fn new(buses: &[PlannedBus], talking: &[TalkingBus], manifest: &Manifest) -> Self {
        let modbus = buses.iter().map(|bus| BusRow::of_modbus(bus, manifest));
        let rows = modbus.chain(talking.iter().map(|bus| BusRow::of_talking(bus, manifest)));
        let board = Self::default();
        board.renew((0..).zip(rows).collect());
        board
    }

    /// Shows these buses by their numbers from now on. What is known of one that is there already stays.
    pub fn renew(&self, fresh: Vec<(u64, BusRow)>) {
        let mut rows = self.rows();
        let row = |(number, fresh)| {
            let fresh = BusRow { number, ..fresh };
            let Some(at) = rows.iter().position(|row| row.number == number) else { return fresh };
            let mut known = rows.swap_remove(at);
            known.devices.iter_mut().zip(fresh.devices).for_each(|(device, fresh)| device.name = fresh.name);
            known
        };
        *rows = fresh.into_iter().map(row).collect();
    }

    /// A request of this device is over; it took `busy_ms` of the bus.
    pub fn asked(
        &self,
        place: (u64, usize),
        stats: &DeviceStats,
        trouble: Option<String>,
        busy_ms: u64,
        now: u64,
    ) {
        let mut rows = self.rows();
        let Some(bus) = rows.iter_mut().find(|bus| bus.number == place.0) else { return };
        bus.window.busy_ms += busy_ms;
        let elapsed = now.saturating_sub(bus.window.began_ms);
        if elapsed >= WINDOW_MS {
            let share = 100.0 * bus.window.busy_ms as f64 / elapsed as f64;
            bus.airtime_percent = (bus.window.began_ms > 0).then_some(share.min(100.0));
            bus.window = Window { began_ms: now, busy_ms: 0 };
        }
        let Some(device) = bus.devices.get_mut(place.1) else { return };
        device.latency_ms = stats.last_latency_ms;
        device.polls = stats.polls;
        device.timeouts = stats.timeouts;
        device.checksums = stats.checksums + stats.malformed;
        device.exceptions = stats.exceptions;
        device.unreachable = stats.unreachable;
        device.silent_rounds = stats.silent_rounds;
        device.trouble = trouble.unwrap_or_default();
    }

    /// Samples of a bus arrived.
    pub fn sampled(&self, bus: u64, samples: &[Sample], now: u64) {
        let mut rows = self.rows();
        let Some(bus) = rows.iter_mut().find(|row| row.number == bus) else { return };
        for sample in samples {
            let mut points = bus.devices.iter_mut().flat_map(|device| &mut device.points);
            if let Some(point) = points.find(|point| point.number == sample.point) {
                point.value = sample.value;
                sample.quality.word().clone_into(&mut point.quality);
                point.cause = sample.quality.cause().map_or(String::new(), |cause| cause.word().to_owned());
                point.at_ms = now;
            }
        }
    }

    /// A round of readings of a bus without Modbus is over: what it brought is all that is known of its devices.
    pub fn said(&self, bus: u64, samples: &[Sample], now: u64) {
        self.sampled(bus, samples, now);
        let mut rows = self.rows();
        let Some(bus) = rows.iter_mut().find(|row| row.number == bus) else { return };
        for device in &mut bus.devices {
            let own = |sample: &&Sample| device.points.iter().any(|point| point.number == sample.point);
            let mut own = samples.iter().filter(own).peekable();
            if own.peek().is_none() {
                continue;
            }
            device.polls += 1;
            let silent = own.try_fold(None, |_, sample| match sample.value {
                Some(_) => Err(()),
                None => Ok(sample.quality.cause()),
            });
            let Ok(cause) = silent else {
                device.silent_rounds = 0;
                device.trouble.clear();
                continue;
            };
            match cause {
                Some(Cause::Timeout) => device.timeouts += 1,
                Some(Cause::Unreachable) => device.unreachable += 1,
                Some(Cause::Exception) => device.exceptions += 1,
                _ => device.checksums += 1,
            }
            device.silent_rounds += 1;
            device.trouble = cause.map_or(String::new(), |cause| format!("no value: {}", cause.word()));
        }
    }

    /// Everything as it is now.
    pub fn look(&self, now: u64) -> Vec<BusRow> {
        let mut rows = self.rows().clone();
        for point in rows.iter_mut().flat_map(|bus| &mut bus.devices).flat_map(|device| &mut device.points) {
            point.age_s = (point.at_ms > 0).then(|| now.saturating_sub(point.at_ms) as f64 / 1_000.0);
        }
        rows
    }

    fn rows(&self) -> MutexGuard<'_, Vec<BusRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BusRow {
    /// A bus of Modbus devices of which nothing is known yet.
    pub fn of_modbus(bus: &PlannedBus, manifest: &Manifest) -> Self {
        let devices = bus.devices.iter().zip(&bus.plan.devices).map(|(id, plan)| {
            let points = plan.points.iter().filter_map(|planned| {
                let point = plan.profile.points.get(planned.profile_point)?;
                Some(point_row(planned.point, point.key.to_string(), &point.unit, point.decimals))
            });
            device_row(id, (plan.unit.to_string(), &plan.profile.id), points.collect(), manifest)
        });
        Self::fresh(&bus.name, crate::advice::describe(&bus.settings), devices.collect())
    }

    /// A bus of other sensors of which nothing is known yet.
    pub fn of_talking(bus: &TalkingBus, manifest: &Manifest) -> Self {
        let devices = bus.devices.iter().zip(&bus.plan.devices).map(|(id, plan)| {
            let points = plan.points.iter().filter_map(|planned| {
                let point = plan.profile.points.get(planned.profile_point)?;
                Some(point_row(planned.point, point.key.to_string(), &point.unit, point.decimals))
            });
            let address = if plan.address.is_empty() { "–" } else { &plan.address };
            device_row(id, (address.to_owned(), &plan.profile.id), points.collect(), manifest)
        });
        let word = bus.plan.devices.first().map_or("", |device| device.profile.dialect.word().word());
        Self::fresh(&bus.name, format!("{} {word}", bus.settings.describe()), devices.collect())
    }

    fn fresh(name: &str, place: String, devices: Vec<DeviceRow>) -> Self {
        let (name, window) = (name.to_owned(), Window::default());
        Self { name, place, airtime_percent: None, devices, number: 0, window }
    }
}

fn device_row(
    id: &DeviceId,
    (unit, profile): (String, &str),
    points: Vec<PointRow>,
    manifest: &Manifest,
) -> DeviceRow {
    let info = manifest.devices.iter().find(|info| info.id == *id);
    DeviceRow {
        id: id.to_string(),
        name: info.map_or_else(String::new, |info| info.name.clone()),
        unit,
        profile: profile.to_owned(),
        latency_ms: None,
        polls: 0,
        timeouts: 0,
        checksums: 0,
        exceptions: 0,
        unreachable: 0,
        silent_rounds: 0,
        trouble: String::new(),
        points,
    }
}

fn point_row(number: PointIndex, key: String, unit: &str, decimals: u8) -> PointRow {
    PointRow {
        key,
        unit: unit.to_owned(),
        decimals,
        value: None,
        quality: String::new(),
        cause: String::new(),
        age_s: None,
        number,
        at_ms: 0,
    }
}
