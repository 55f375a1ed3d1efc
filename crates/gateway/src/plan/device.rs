//! One device: its profile, its points, its place in the manifest.

use sitian_model::{DeviceId, DeviceInfo, Manifest, PointIndex, PointInfo, TEXT_BYTES_MAX};
use sitian_poll::{DevicePlan, PointPlan};
use sitian_profile::{Profile, ProfilePoint};

use super::Judge;
use crate::library::Library;
use crate::settings::{BusSection, DeviceSection};

const INTERVAL_DEFAULT_S: f64 = 10.0;
const TIMEOUT_DEFAULT_MS: u32 = 500;
/// A lost answer is asked for once more at once.
const RETRIES: u8 = 1;

impl Judge<'_> {
    pub(super) fn device(
        &mut self,
        d: usize,
        device: &DeviceSection,
        bus: &BusSection,
        library: &Library,
        manifest: &mut Manifest,
    ) -> Option<(DeviceId, DevicePlan)> {
        let key = |name: &str| format!("device[{d}].{name}");
        let id = match DeviceId::new(&device.id) {
            Ok(id) => id,
            Err(error) => {
                self.fault(&key("id"), error.to_string(), "use a name such as soil-1");
                return None;
            }
        };
        if manifest.devices.iter().any(|known| known.id == id) {
            self.fault(&key("id"), format!("device {id} is there twice"), "give each device its own id");
        }
        let Some(profile) = library.get(&device.profile) else {
            self.fault(
                &key("profile"),
                format!("there is no profile {:?}", device.profile),
                library.nearest(&device.profile),
            );
            return None;
        };
        let profile = &self.adjusted(d, device, profile);
        let profile = &self.reached(d, device, profile);
        if device.address.is_some() {
            let what = "address means nothing to a Modbus device".to_owned();
            self.fault(&key("address"), what, "write unit = 1 instead");
        }
        let interval_ms = self.interval_ms(&key("interval_s"), device.interval_s)?;
        let unit = device.unit.unwrap_or(profile.default_unit);
        if unit == 0 {
            self.fault(
                &key("unit"),
                "unit: 0 is the broadcast address; nobody answers it".to_owned(),
                "1 to 247, or what the maker says up to 255",
            );
        }
        let number = manifest.devices.len() as u32;
        manifest.devices.push(DeviceInfo {
            name: device.name.clone().unwrap_or_else(|| device.id.clone()),
            place: device.place.clone(),
            profile: profile.id.clone(),
            bus: bus.name.clone(),
            id: id.clone(),
        });
        let points = self.points(d, device, profile, number, interval_ms, manifest);
        self.out_of_reach(d, device, profile, &points);
        let timeout_ms = bus.timeout_ms.unwrap_or(TIMEOUT_DEFAULT_MS);
        let priority = device.priority.unwrap_or(0);
        let profile = profile.clone();
        Some((id, DevicePlan { unit, profile, points, timeout_ms, retries: RETRIES, priority }))
    }

    /// Whether a text that travels to the centre is longer than it takes.
    pub(super) fn has_long_texts(&mut self) -> bool {
        let settings = &self.loaded.value;
        let buses = settings.bus.iter().enumerate().map(|(n, bus)| (format!("bus[{n}].name"), &bus.name));
        let devices = settings.device.iter().enumerate().flat_map(|(n, device)| {
            let name = device.name.iter().map(move |name| (format!("device[{n}].name"), name));
            name.chain([(format!("device[{n}].place"), &device.place)])
        });
        let long: Vec<(String, usize)> = buses
            .chain(devices)
            .map(|(key, text)| (key, text.len()))
            .filter(|(_, bytes)| *bytes > TEXT_BYTES_MAX)
            .collect();
        for (key, bytes) in &long {
            let what = format!("{key}: {bytes} bytes are too long");
            let help = format!("write at most {TEXT_BYTES_MAX} bytes: a Chinese character takes three");
            self.fault(key, what, help);
        }
        !long.is_empty()
    }

    pub(super) fn interval_ms(&mut self, place: &str, seconds: Option<f64>) -> Option<u32> {
        let interval_s = seconds.unwrap_or(INTERVAL_DEFAULT_S);
        if !(0.1..=86_400.0).contains(&interval_s) {
            self.fault(place, format!("interval_s: {interval_s} is out of range"), "0.1 to 86400 seconds");
            return None;
        }
        Some((interval_s * 1_000.0).round() as u32)
    }

    fn points(
        &mut self,
        d: usize,
        device: &DeviceSection,
        profile: &Profile,
        number: u32,
        interval_ms: u32,
        manifest: &mut Manifest,
    ) -> Vec<PointPlan> {
        for (n, wanted) in device.points.iter().enumerate() {
            if profile.point(wanted).is_none() {
                let known: Vec<&str> = profile.points.iter().map(|point| point.key.as_str()).collect();
                let what = format!("profile {} has no point {wanted:?}", profile.id);
                self.fault(
                    &format!("device[{d}].points[{n}]"),
                    what,
                    format!("it has: {}", known.join(", ")),
                );
            }
        }
        let adjusted = |point: &ProfilePoint| {
            device.adjust.iter().enumerate().find(|(_, adjust)| adjust.point == point.key.as_str())
        };
        let chosen = |point: &ProfilePoint| {
            if adjusted(point).is_some_and(|(_, adjust)| adjust.disabled) {
                false
            } else if device.points.is_empty() {
                !point.optional
            } else {
                device.points.iter().any(|key| key == point.key.as_str())
            }
        };
        let mut plans = Vec::new();
        for (at, point) in profile.points.iter().enumerate().filter(|(_, point)| chosen(point)) {
            let own = adjusted(point).filter(|(_, adjust)| adjust.interval_s.is_some());
            let interval_ms = own.map_or(Some(interval_ms), |(n, adjust)| {
                self.interval_ms(&format!("device[{d}].adjust[{n}].interval_s"), adjust.interval_s)
            });
            let Some(interval_ms) = interval_ms else { continue };
            let index = manifest.points.len() as PointIndex;
            manifest.points.push(PointInfo {
                device: number,
                key: point.key.clone(),
                measurement: point.measurement.clone(),
                unit: point.unit.clone(),
                decimals: point.decimals,
                interval_ms,
            });
            plans.push(PointPlan { point: index, profile_point: at, interval_ms });
        }
        plans
    }
}
