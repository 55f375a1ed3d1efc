//! One bus of sensors that do not speak Modbus.

use std::collections::HashSet;
use std::sync::Arc;

use sitian_dialect::{BusPlan, DevicePlan, DialectProfile, PointPlan, Word};
use sitian_fieldbus::{PortSettings, SerialSettings, StreamSettings};
use sitian_model::{DeviceId, DeviceInfo, Manifest, PointIndex, PointInfo};
use sitian_profile::Serial;

use super::bus::parity;
use super::{Judge, PAUSE_DEFAULT_MS};
use crate::library::Library;
use crate::settings::{BusSection, DeviceSection};

const INTERVAL_DEFAULT_S: f64 = 60.0;
/// SDI-12 adapters and meters take their time.
const TIMEOUT_DEFAULT_MS: u32 = 1_000;

/// One bus of sensors that do not speak Modbus, with everything on it.
pub struct TalkingBus {
    /// Its name in the configuration.
    pub name: String,
    /// How to reach its devices.
    pub settings: StreamSettings,
    /// What to read on it.
    pub plan: BusPlan,
    /// Ids of the devices of the plan, in its order.
    pub devices: Vec<DeviceId>,
}

impl TalkingBus {
    /// Points read on this bus.
    pub fn points(&self) -> usize {
        self.plan.devices.iter().map(|device| device.points.len()).sum()
    }
}

impl Judge<'_> {
    pub(super) fn talking_bus(
        &mut self,
        n: usize,
        bus: &BusSection,
        word: Word,
        library: &Library,
        manifest: &mut Manifest,
    ) -> Option<TalkingBus> {
        let here: Vec<(usize, &DeviceSection)> = self
            .loaded
            .value
            .device
            .iter()
            .enumerate()
            .filter(|(_, device)| device.bus == bus.name)
            .collect();
        let mut addresses = HashSet::new();
        let mut planned = Vec::new();
        for (d, device) in here {
            let Some(found) = self.talking_device(d, device, bus, word, library, manifest) else { continue };
            if !addresses.insert(found.1.address.clone()) {
                let what = match found.1.address.as_str() {
                    "" => format!("bus {:?} has another device already", bus.name),
                    address => format!("address {address} is taken by another device of bus {:?}", bus.name),
                };
                let help = "give each device of a bus its own address, or a bus of its own";
                self.fault(&format!("device[{d}].id"), what, help);
            }
            planned.push(found);
        }
        let first = planned.first().map(|(_, device)| device.profile.clone());
        let listens = first.as_ref().is_some_and(|profile| !profile.dialect.asks());
        if planned.iter().any(|(_, device)| device.profile.dialect.asks() == listens) {
            let what = format!("some devices of bus {:?} are asked and others speak by themselves", bus.name);
            self.fault(&format!("bus[{n}].name"), what, "give them buses of their own");
        }
        let settings = self.stream(n, bus, word, first.as_deref().map(|profile| profile.serial))?;
        let (devices, plans) = planned.into_iter().unzip();
        let plan = BusPlan {
            devices: plans,
            timeout_ms: bus.timeout_ms.unwrap_or(TIMEOUT_DEFAULT_MS),
            pause_ms: bus.pause_ms.unwrap_or(PAUSE_DEFAULT_MS),
        };
        Some(TalkingBus { name: bus.name.clone(), settings, plan, devices })
    }

    /// A serial port, a socket, or a listener.
    fn stream(
        &mut self,
        n: usize,
        bus: &BusSection,
        word: Word,
        serial: Option<Serial>,
    ) -> Option<StreamSettings> {
        let key = |name: &str| format!("bus[{n}].{name}");
        if bus.timeout_ms.is_some_and(|ms| !(20..=60_000).contains(&ms)) {
            let what = format!("timeout_ms: {} is out of range", bus.timeout_ms.unwrap_or(0));
            self.fault(&key("timeout_ms"), what, "20 to 60000 milliseconds");
        }
        match (&bus.path, &bus.host, &bus.listen) {
            (Some(path), None, None) => {
                let usual = serial.unwrap_or(Serial {
                    baud: 9_600,
                    data_bits: 8,
                    parity: sitian_profile::Parity::None,
                    stop_bits: 1,
                });
                let serial = Serial {
                    baud: bus.baud.unwrap_or(usual.baud),
                    data_bits: bus.data_bits.unwrap_or(usual.data_bits),
                    parity: bus.parity.map_or(usual.parity, parity),
                    stop_bits: bus.stop_bits.unwrap_or(usual.stop_bits),
                };
                let fits = (300..=1_000_000).contains(&serial.baud)
                    && matches!(serial.data_bits, 7 | 8)
                    && matches!(serial.stop_bits, 1 | 2);
                if !fits {
                    let help = "baud 300 to 1000000, data_bits 7 or 8, stop_bits 1 or 2";
                    self.fault(&key("path"), format!("no serial port can be set to {serial:?}"), help);
                }
                let path = self.path(path).to_string_lossy().into_owned();
                Some(StreamSettings::Port(PortSettings::Serial(SerialSettings { path, serial })))
            }
            (None, Some(_), None) if bus.port.is_none() => {
                let what = format!("bus {:?} has no port", bus.name);
                self.fault(&key("host"), what, "add port = 8899: that of the serial server");
                None
            }
            (None, Some(_), None) => {
                self.server(n, bus).map(|it| StreamSettings::Port(PortSettings::Tcp(it)))
            }
            (None, None, Some(listen)) if word == Word::Hj212 && bus.identity.is_none() => {
                if listen.parse::<std::net::SocketAddr>().is_err() {
                    let what = format!("listen: {listen:?} is no address with a port");
                    self.fault(&key("listen"), what, "for example listen = \"0.0.0.0:9212\"");
                }
                Some(StreamSettings::Listen(listen.clone()))
            }
            (None, None, Some(_)) => {
                self.dial_in(n, bus).map(|it| StreamSettings::Port(PortSettings::DialIn(it)))
            }
            _ => {
                let what = format!("bus {:?} must be reached in exactly one way", bus.name);
                let help = "write one of: path (serial port), host and port (serial server), listen (devices dial in)";
                self.fault(&key("name"), what, help);
                None
            }
        }
    }

    fn talking_device(
        &mut self,
        d: usize,
        device: &DeviceSection,
        bus: &BusSection,
        word: Word,
        library: &Library,
        manifest: &mut Manifest,
    ) -> Option<(DeviceId, DevicePlan)> {
        let key = |name: &str| format!("device[{d}].{name}");
        let id = match DeviceId::new(&device.id) {
            Ok(id) => id,
            Err(error) => {
                self.fault(&key("id"), error.to_string(), "use a name such as meter-1");
                return None;
            }
        };
        if manifest.devices.iter().any(|known| known.id == id) {
            self.fault(&key("id"), format!("device {id} is there twice"), "give each device its own id");
        }
        let profile = self.talking_profile(d, device, word, library)?;
        if device.unit.is_some() {
            let what = format!("unit means nothing to a device that speaks {}", word.word());
            self.fault(&key("unit"), what, "remove it; such devices have an address");
        }
        for (name, given) in [
            ("registers_max", device.registers_max.is_some()),
            ("gap_max", device.gap_max.is_some()),
            ("unreadable[0].function", !device.unreadable.is_empty()),
        ] {
            if given {
                let what = format!("a device that speaks {} has no registers", word.word());
                self.fault(&key(name), what, "remove it");
            }
        }
        let profile = self.adjusted_talk(d, device, &profile);
        let address = device.address.clone().unwrap_or_default();
        if let Err(wanted) = profile.dialect.check_address(&address) {
            let place = if device.address.is_some() { "address" } else { "id" };
            self.fault(
                &key(place),
                format!("{address:?} is no address of {}", word.word()),
                format!("give {wanted}"),
            );
        }
        let interval_s = Some(device.interval_s.unwrap_or(INTERVAL_DEFAULT_S));
        let interval_ms = self.interval_ms(&key("interval_s"), interval_s)?;
        let number = manifest.devices.len() as u32;
        manifest.devices.push(DeviceInfo {
            name: device.name.clone().unwrap_or_else(|| device.id.clone()),
            place: device.place.clone(),
            profile: profile.id.clone(),
            bus: bus.name.clone(),
            id: id.clone(),
        });
        let points = self.talking_points(d, device, &profile, (number, interval_ms), manifest);
        Some((id, DevicePlan { address, profile, points, interval_ms }))
    }

    fn talking_profile(
        &mut self,
        d: usize,
        device: &DeviceSection,
        word: Word,
        library: &Library,
    ) -> Option<Arc<DialectProfile>> {
        let place = format!("device[{d}].profile");
        let Some(profile) = library.dialect(&device.profile) else {
            let what = match library.get(&device.profile) {
                Some(_) => format!("profile {:?} is of a Modbus device", device.profile),
                None => format!("there is no profile {:?}", device.profile),
            };
            let of_word = library.dialects().filter(|profile| profile.dialect.word() == word);
            let known: Vec<&str> = of_word.map(|profile| profile.id.as_str()).collect();
            self.fault(&place, what, format!("profiles that speak {}: {}", word.word(), known.join(", ")));
            return None;
        };
        let speaks = profile.dialect.word();
        if speaks != word {
            let what =
                format!("profile {:?} speaks {}, its bus {}", device.profile, speaks.word(), word.word());
            self.fault(&place, what, format!("put the device on a bus of kind = {:?}", speaks.word()));
            return None;
        }
        Some(profile.clone())
    }

    fn talking_points(
        &mut self,
        d: usize,
        device: &DeviceSection,
        profile: &DialectProfile,
        (number, interval_ms): (u32, u32),
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
        let listed = |key: &str| device.points.iter().any(|wanted| wanted == key);
        let disabled = |key: &str| device.adjust.iter().any(|adjust| adjust.disabled && adjust.point == key);
        let mut plans = Vec::new();
        for (at, point) in profile.points.iter().enumerate() {
            let key = point.key.as_str();
            let wanted = if device.points.is_empty() { !point.optional } else { listed(key) };
            if !wanted || disabled(key) {
                continue;
            }
            plans.push(PointPlan { point: manifest.points.len() as PointIndex, profile_point: at });
            manifest.points.push(PointInfo {
                device: number,
                key: point.key.clone(),
                measurement: point.measurement.clone(),
                unit: point.unit.clone(),
                decimals: point.decimals,
                interval_ms,
            });
        }
        plans
    }
}
