//! One bus: how to reach it, and what its devices have to agree on.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use sitian_fieldbus::{BusSettings, DialSettings, PortSettings, RtuSettings, SerialSettings, TcpSettings};
use sitian_profile::{Profile, Serial};

use super::Judge;
use crate::settings::{BusKind, BusSection, DeviceSection, Parity};

/// What a DTU sends first, unless the bus says otherwise: its identity and nothing else.
const REGISTRATION_DEFAULT: &str = "{id}";
const IDENTITY: &str = "{id}";

impl Judge<'_> {
    /// What the parts of one bus, and two buses, have to agree on.
    pub(super) fn neighbours(&mut self, n: usize, bus: &BusSection, profiles: &[&Arc<Profile>]) {
        let settings = &self.loaded.value;
        let key = |name: &str| format!("bus[{n}].{name}");
        // A device with a mistyped bus is told where it stands; its bus is not to blame as well.
        let known = |device: &DeviceSection| settings.bus.iter().any(|bus| bus.name == device.bus);
        let empty = !settings.device.iter().any(|device| device.bus == bus.name);
        if empty && !settings.device.is_empty() && settings.device.iter().all(known) {
            let what = format!("no device is on bus {:?}", bus.name);
            self.fault(&key("name"), what, "add a [[device]] with this bus, or remove the bus");
        }
        let same_port = |other: &BusSection| other.path.is_some() && other.path == bus.path;
        if settings.bus[..n].iter().any(same_port) {
            let what = format!("another bus has the path {:?} already", bus.path.clone().unwrap_or_default());
            self.fault(&key("path"), what, "one serial port is one bus: put its devices on one [[bus]]");
        }
        self.same_identity(n, bus);
        for name in bus.foreign_keys() {
            let what = format!("{name} means nothing on this kind of bus");
            self.fault(&key(name), what, "remove it, or change kind");
        }
        let bauds: BTreeSet<u32> = profiles.iter().map(|profile| profile.serial.baud).collect();
        if bus.kind != BusKind::Tcp && bus.baud.is_none() && bauds.len() > 1 {
            let what =
                format!("the devices of bus {:?} are delivered with different speeds: {bauds:?}", bus.name);
            self.fault(&key("name"), what, "set all devices to one speed and write it here as baud");
        }
        let mut units = HashSet::new();
        for (d, device) in settings.device.iter().enumerate().filter(|(_, device)| device.bus == bus.name) {
            let profile = profiles.iter().find(|profile| profile.id == device.profile);
            let unit = device.unit.or(profile.map(|profile| profile.default_unit));
            if let Some(unit) = unit.filter(|unit| !units.insert(*unit)) {
                let place = if device.unit.is_some() { "unit" } else { "id" };
                let what = format!("unit {unit} is taken by another device of bus {:?}", bus.name);
                let help = "give each device of a bus its own unit id, on the device and here";
                self.fault(&format!("device[{d}].{place}"), what, help);
            }
        }
        let heartbeat = bus.heartbeat.as_deref().map(bytes).and_then(Result::ok).unwrap_or_default();
        if let Some(unit) = heartbeat.first().filter(|first| units.contains(first)) {
            let what = format!("heartbeat begins with {unit:#04x}, as do the answers of unit {unit}");
            self.fault(&key("heartbeat"), what, "set another heartbeat in the DTU, such as \"ping\"");
        }
    }

    /// One listener has to tell its DTUs apart.
    fn same_identity(&mut self, n: usize, bus: &BusSection) {
        let own = registration(bus).unwrap_or_default();
        let contains = |long: &[u8], short: &[u8]| long.windows(short.len().max(1)).any(|part| part == short);
        let clash = |other: &&BusSection| {
            let its = registration(other).unwrap_or_default();
            other.kind == BusKind::DialIn
                && other.listen == bus.listen
                && (contains(&own, &its) || contains(&its, &own))
        };
        if bus.kind != BusKind::DialIn || own.is_empty() {
            return;
        }
        if let Some(other) = self.loaded.value.bus[..n].iter().find(clash) {
            let what = format!("the registration of bus {:?} cannot be told from this one", other.name);
            let help = "give each DTU of a listener an identity that is no part of another one";
            self.fault(&format!("bus[{n}].identity"), what, help);
        }
    }

    pub(super) fn bus(
        &mut self,
        n: usize,
        bus: &BusSection,
        first: Option<&Arc<Profile>>,
    ) -> Option<BusSettings> {
        let key = |name: &str| format!("bus[{n}].{name}");
        if bus.timeout_ms.is_some_and(|ms| !(20..=60_000).contains(&ms)) {
            let what = format!("timeout_ms: {} is out of range", bus.timeout_ms.unwrap_or(0));
            self.fault(&key("timeout_ms"), what, "20 to 60000 milliseconds");
        }
        let baud = bus.baud.or(first.map(|p| p.serial.baud)).unwrap_or(9_600);
        if !(300..=1_000_000).contains(&baud) {
            let what = format!("baud: {baud} is out of range");
            self.fault(&key("baud"), what, "300 to 1000000; usual are 4800, 9600, 19200");
        }
        let port = match bus.kind {
            BusKind::Tcp => return self.server(n, bus).map(BusSettings::Tcp),
            BusKind::RtuTcp => PortSettings::Tcp(self.server(n, bus)?),
            BusKind::DialIn => PortSettings::DialIn(self.dial_in(n, bus)?),
            // Not Modbus.
            BusKind::Sdi12
            | BusKind::Nmea
            | BusKind::Line
            | BusKind::Hj212
            | BusKind::Dlt645
            | BusKind::Mhz19 => return None,
            BusKind::Rtu => PortSettings::Serial(self.serial(n, bus, first, baud)?),
        };
        Some(BusSettings::Rtu(RtuSettings { port, baud }))
    }

    pub(super) fn server(&mut self, n: usize, bus: &BusSection) -> Option<TcpSettings> {
        let Some(host) = bus.host.clone().filter(|host| !host.is_empty()) else {
            let what = format!("bus {:?} has no host", bus.name);
            self.fault(&format!("bus[{n}].host"), what, "add host = \"192.168.1.50\"");
            return None;
        };
        Some(TcpSettings::new(host, bus.port.unwrap_or(502)))
    }

    pub(super) fn dial_in(&mut self, n: usize, bus: &BusSection) -> Option<DialSettings> {
        let key = |name: &str| format!("bus[{n}].{name}");
        let listen = bus.listen.clone().unwrap_or_default();
        if listen.parse::<std::net::SocketAddr>().is_err() {
            let what = format!("listen: {listen:?} is no address with a port");
            self.fault(&key("listen"), what, "add listen = \"0.0.0.0:8899\": where the DTUs connect to");
        }
        if bus.identity.as_deref().is_none_or(|identity| identity.trim().is_empty()) {
            let what = format!("bus {:?} has no identity", bus.name);
            let help = "add identity = \"…\": what the DTU sends when it has connected (registration packet)";
            self.fault(&key("identity"), what, help);
            return None;
        }
        let pattern = bus.registration.as_deref().unwrap_or(REGISTRATION_DEFAULT);
        if !pattern.contains(IDENTITY) {
            let what = format!("registration: {pattern:?} does not say where the identity stands");
            self.fault(&key("registration"), what, "for example registration = \"REG:{id}\\r\\n\"");
        }
        let mut read = |name: &str, result: Result<Vec<u8>, String>| {
            result.map_err(|what| self.fault(&key(name), what, "write pairs of hex digits after hex:")).ok()
        };
        let registration = read("identity", registration(bus));
        let heartbeat = read("heartbeat", bytes(bus.heartbeat.as_deref().unwrap_or_default()));
        Some(DialSettings { listen, registration: registration?, heartbeat: heartbeat? })
    }

    fn serial(
        &mut self,
        n: usize,
        bus: &BusSection,
        first: Option<&Arc<Profile>>,
        baud: u32,
    ) -> Option<SerialSettings> {
        let key = |name: &str| format!("bus[{n}].{name}");
        let Some(path) = &bus.path else {
            let what = format!("bus {:?} has no path", bus.name);
            self.fault(&key("path"), what, "add path = \"/dev/serial/by-id/…\"");
            return None;
        };
        let data_bits = bus.data_bits.or(first.map(|p| p.serial.data_bits)).unwrap_or(8);
        let stop_bits = bus.stop_bits.or(first.map(|p| p.serial.stop_bits)).unwrap_or(1);
        if data_bits != 7 && data_bits != 8 {
            let what = format!("data_bits: {data_bits}");
            self.fault(&key("data_bits"), what, "7 or 8; Modbus RTU always has 8");
        }
        if stop_bits != 1 && stop_bits != 2 {
            self.fault(&key("stop_bits"), format!("stop_bits: {stop_bits}"), "1 or 2");
        }
        let parity =
            bus.parity.map(parity).or(first.map(|p| p.serial.parity)).unwrap_or(sitian_profile::Parity::None);
        let path = self.path(path).to_string_lossy().into_owned();
        Some(SerialSettings { path, serial: Serial { baud, data_bits, parity, stop_bits } })
    }
}

/// The registration packet that the DTU of this bus sends.
fn registration(bus: &BusSection) -> Result<Vec<u8>, String> {
    let identity = bytes(bus.identity.as_deref().unwrap_or_default())?;
    let pattern = bus.registration.as_deref().unwrap_or(REGISTRATION_DEFAULT);
    let (before, after) = pattern.split_once(IDENTITY).unwrap_or_default();
    let packet = [&bytes(before)?, &identity, &bytes(after)?].map(Vec::as_slice).concat();
    Ok(packet)
}

/// A text as it is, or `hex:` with pairs of digits.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let Some(digits) = text.strip_prefix("hex:") else { return Ok(text.as_bytes().to_vec()) };
    let digits: Vec<u32> = digits
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).ok_or(format!("{c:?} is no hex digit")))
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(format!("{} hex digits are no whole bytes", digits.len()));
    }
    Ok(digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

pub(super) fn parity(parity: Parity) -> sitian_profile::Parity {
    match parity {
        Parity::None => sitian_profile::Parity::None,
        Parity::Even => sitian_profile::Parity::Even,
        Parity::Odd => sitian_profile::Parity::Odd,
    }
}
