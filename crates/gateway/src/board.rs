//! What the program knows about its buses at this moment, for people who look (`watch`). Nothing here decides anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sitian_model::Manifest;
use sitian_poll::{DeviceStats, Sample};
use sitian_profile::Profile;

use crate::plan::PlannedBus;

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
    pub unit: u8,
    pub profile: String,
    /// Milliseconds from request to answer.
    pub latency_ms: Option<u32>,
    /// Requests sent, and what came of those that failed.
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
    /// A board for these buses, numbered from 0, on which nothing has happened yet.
    pub fn new(buses: &[PlannedBus], manifest: &Manifest) -> Self {
        let board = Self::default();
        board.renew((0..).zip(buses), manifest);
        board
    }

    /// Shows these buses by their numbers from now on. What is known of one that is there already stays.
    pub fn renew<'a>(&self, buses: impl Iterator<Item = (u64, &'a PlannedBus)>, manifest: &Manifest) {
        let mut rows = self.rows();
        let row = |(number, bus)| {
            let fresh = BusRow { number, ..bus_row(bus, manifest) };
            let Some(at) = rows.iter().position(|row| row.number == number) else { return fresh };
            let mut known = rows.swap_remove(at);
            known.devices.iter_mut().zip(fresh.devices).for_each(|(device, fresh)| device.name = fresh.name);
            known
        };
        *rows = buses.map(row).collect();
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

fn bus_row(bus: &PlannedBus, manifest: &Manifest) -> BusRow {
    let device = |(id, plan): (&sitian_model::DeviceId, &sitian_poll::DevicePlan)| {
        let info = manifest.devices.iter().find(|info| info.id == *id);
        let profile: &Profile = &plan.profile;
        let points = plan.points.iter().filter_map(|planned| {
            let point = profile.points.get(planned.profile_point)?;
            Some(PointRow {
                key: point.key.to_string(),
                unit: point.unit.clone(),
                decimals: point.decimals,
                value: None,
                quality: String::new(),
                cause: String::new(),
                age_s: None,
                number: planned.point,
                at_ms: 0,
            })
        });
        DeviceRow {
            id: id.to_string(),
            name: info.map_or_else(String::new, |info| info.name.clone()),
            unit: plan.unit,
            profile: profile.id.clone(),
            latency_ms: None,
            polls: 0,
            timeouts: 0,
            checksums: 0,
            exceptions: 0,
            unreachable: 0,
            silent_rounds: 0,
            trouble: String::new(),
            points: points.collect(),
        }
    };
    BusRow {
        name: bus.name.clone(),
        place: crate::advice::describe(&bus.settings),
        airtime_percent: None,
        devices: bus.devices.iter().zip(&bus.plan.devices).map(device).collect(),
        number: 0,
        window: Window::default(),
    }
}
