//! Judges the settings and turns them into what the program works with: link, spool, manifest and one plan per bus.
//! Every fault is told at its place, all at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sitian_fieldbus::{BusSettings, RtuSettings, TcpSettings};
use sitian_model::{ConfigFault, DeviceId, DeviceInfo, GatewayId, Manifest, PointIndex, PointInfo};
use sitian_mqtt::{LinkSettings, SectionFault};
use sitian_poll::{BusPlan, DevicePlan, PointPlan};
use sitian_profile::{Catalogue, Profile, ProfilePoint, Serial, builtin, catalogue_text};
use sitian_settings::Loaded;
use sitian_spool::Limits;

use crate::settings::{BusKind, BusSection, DeviceSection, Parity, Settings};

/// The smallest spool that makes sense.
const SPOOL_BYTES_MIN: u64 = 8 << 20;
const INTERVAL_DEFAULT_S: f64 = 10.0;
const TIMEOUT_DEFAULT_MS: u32 = 500;
const PAUSE_DEFAULT_MS: u32 = 20;
/// A lost answer is asked for once more at once.
const RETRIES: u8 = 1;
const HOUR_MS: i64 = 3_600_000;

/// What the program works with.
pub struct Plan {
    /// The gateway, its devices and points.
    pub manifest: Manifest,
    /// The broker.
    pub link: LinkSettings,
    /// Where readings wait.
    pub spool_folder: PathBuf,
    /// How much may wait, and for how long.
    pub spool_limits: Limits,
    /// The buses, in configuration order.
    pub buses: Vec<PlannedBus>,
}

/// One bus with everything on it.
pub struct PlannedBus {
    /// Its name in the configuration.
    pub name: String,
    /// How to reach it.
    pub settings: BusSettings,
    /// What to poll on it.
    pub plan: BusPlan,
    /// Ids of the devices of the plan, in its order.
    pub devices: Vec<DeviceId>,
}

impl PlannedBus {
    /// Points polled on this bus.
    pub fn points(&self) -> usize {
        self.plan.devices.iter().map(|device| device.points.len()).sum()
    }
}

/// Device profiles by id.
pub struct Library(BTreeMap<String, Arc<Profile>>);

impl Library {
    /// The profiles that are compiled in.
    pub fn builtin() -> Result<Self, Vec<ConfigFault>> {
        let catalogue = Catalogue::parse("measurements.toml", catalogue_text())?;
        let mut library = Self(BTreeMap::new());
        for (file, text) in builtin() {
            library.add(Profile::parse(file, text, &catalogue)?);
        }
        Ok(library)
    }

    /// Adds every `*.toml` of a folder; a profile with the id of a built-in one takes its place.
    fn add_folder(&mut self, folder: &Path) -> Result<(), Vec<ConfigFault>> {
        let catalogue = Catalogue::parse("measurements.toml", catalogue_text())?;
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
        files.sort();
        let mut faults = Vec::new();
        for file in files {
            let parsed = sitian_settings::load_file(&file).map_err(|fault| vec![fault]);
            match parsed.and_then(|(name, text)| Profile::parse(&name, &text, &catalogue)) {
                Ok(profile) => self.add(profile),
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn add(&mut self, profile: Profile) {
        self.0.insert(profile.id.clone(), Arc::new(profile));
    }

    /// Every profile, by id.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.0.values()
    }

    fn nearest(&self, id: &str) -> String {
        let first = |n: usize| id.get(..n).unwrap_or(id);
        let close: Vec<&str> =
            self.0.keys().map(String::as_str).filter(|known| known.starts_with(first(5))).collect();
        if close.is_empty() {
            "`sitian-gateway profiles` lists them".to_owned()
        } else {
            format!("perhaps {}", close.join(", "))
        }
    }
}

impl Plan {
    /// Judges the settings; relative paths start from `folder`.
    pub fn make(loaded: &Loaded<Settings>, folder: &Path) -> Result<Self, Vec<ConfigFault>> {
        let mut judge = Judge { loaded, folder, faults: Vec::new() };
        let plan = judge.plan();
        match plan {
            Some(plan) if judge.faults.is_empty() => Ok(plan),
            _ => Err(judge.faults),
        }
    }
}

struct Judge<'a> {
    loaded: &'a Loaded<Settings>,
    folder: &'a Path,
    faults: Vec<ConfigFault>,
}

impl Judge<'_> {
    fn fault(&mut self, key: &str, what: String, help: impl Into<String>) {
        self.faults.push(self.loaded.fault(key, what, help));
    }

    fn path(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { PathBuf::new() } else { self.folder.join(path) }
    }

    fn plan(&mut self) -> Option<Plan> {
        let settings = &self.loaded.value;
        let gateway = self.gateway_id(&settings.gateway.id);
        let link = self.link(&settings.gateway.id);
        let spool = &settings.spool;
        if spool.bytes_max < SPOOL_BYTES_MIN {
            let what = format!("spool.bytes_max: {} is less than {SPOOL_BYTES_MIN}", spool.bytes_max);
            self.fault("spool.bytes_max", what, "give the spool at least 8 MiB");
        }
        if sitian_telemetry::check(&settings.log.level).is_err() {
            self.fault(
                "log.level",
                format!("log.level: {:?} is no level", settings.log.level),
                "error, warn, info, debug or trace",
            );
        }
        if sitian_telemetry::Format::parse(&settings.log.format).is_none() {
            self.fault(
                "log.format",
                format!("log.format: {:?} is no format", settings.log.format),
                "text or json",
            );
        }
        let library = self.library()?;
        let mut manifest = Manifest {
            gateway: gateway?,
            software: concat!("sitian-gateway ", env!("CARGO_PKG_VERSION")).to_owned(),
            devices: Vec::new(),
            points: Vec::new(),
        };
        let buses = self.buses(&library, &mut manifest);
        // What the centre would not take is told before anything is polled.
        let sent = sitian_wire::encode_manifest(&sitian_model::Epoch([0; 16]), &manifest);
        if let Err(error) = sitian_wire::decode_manifest(&sent) {
            let what = format!(
                "{} devices with {} points are too much for one gateway: {error}",
                manifest.devices.len(),
                manifest.points.len()
            );
            self.fault("device", what, "spread them over two gateways, or poll fewer points");
        }
        let spool_limits = Limits {
            bytes_max: spool.bytes_max,
            keep_behind_ms: i64::from(spool.keep_hours) * HOUR_MS,
            ..Limits::default()
        };
        Some(Plan { manifest, link: link?, spool_folder: self.path(&spool.directory), spool_limits, buses })
    }

    fn gateway_id(&mut self, text: &str) -> Option<GatewayId> {
        match GatewayId::new(text) {
            Ok(id) => return Some(id),
            Err(_) if text.is_empty() => {
                let what = "gateway.id is missing".to_owned();
                self.fault(
                    "gateway.id",
                    what,
                    "name this gateway in the file: [gateway] id = \"dangzhai-01\"",
                );
            }
            Err(error) => {
                self.fault("gateway.id", format!("gateway.id: {error}"), "use a name such as dangzhai-01")
            }
        }
        None
    }

    fn link(&mut self, client_id: &str) -> Option<LinkSettings> {
        let link = self.loaded.value.mqtt.link(self.folder, client_id);
        let place =
            |fault: SectionFault| self.loaded.fault(&format!("mqtt.{}", fault.key), fault.what, fault.help);
        link.map_err(|faults| self.faults.extend(faults.into_iter().map(place))).ok()
    }

    fn library(&mut self) -> Option<Library> {
        let own = self.path(&self.loaded.value.profiles.directory);
        let built = Library::builtin().and_then(|mut library| {
            if !own.as_os_str().is_empty() {
                library.add_folder(&own)?;
            }
            Ok(library)
        });
        if !own.as_os_str().is_empty() && !own.is_dir() {
            let what = format!("profiles.directory: there is no folder {}", own.display());
            self.fault("profiles.directory", what, "make it or correct the path");
        }
        built.map_err(|faults| self.faults.extend(faults)).ok()
    }

    fn buses(&mut self, library: &Library, manifest: &mut Manifest) -> Vec<PlannedBus> {
        let settings = &self.loaded.value;
        let mut names = HashSet::new();
        let mut buses = Vec::new();
        for (n, bus) in settings.bus.iter().enumerate() {
            if !names.insert(&bus.name) {
                self.fault(
                    &format!("bus[{n}].name"),
                    format!("bus name {:?} is there twice", bus.name),
                    "give each bus its own name",
                );
            }
            let here = || settings.device.iter().enumerate().filter(|(_, device)| device.bus == bus.name);
            let planned: Vec<(DeviceId, DevicePlan)> =
                here().filter_map(|(d, device)| self.device(d, device, bus, library, manifest)).collect();
            let profiles: Vec<&Arc<Profile>> =
                here().filter_map(|(_, device)| library.0.get(&device.profile)).collect();
            self.neighbours(n, bus, &profiles);
            if let Some(reached) = self.bus(n, bus, profiles.first().copied()) {
                let hold_off = bus.kind == BusKind::Rtu;
                let pause_ms = bus.pause_ms.unwrap_or(PAUSE_DEFAULT_MS);
                let (devices, plans) = planned.into_iter().unzip();
                let plan = BusPlan { devices: plans, pause_ms, hold_off };
                buses.push(PlannedBus { name: bus.name.clone(), settings: reached, plan, devices });
            }
        }
        for (d, device) in settings.device.iter().enumerate() {
            if !settings.bus.iter().any(|bus| bus.name == device.bus) {
                let known: Vec<&str> = settings.bus.iter().map(|bus| bus.name.as_str()).collect();
                let help =
                    format!("write [[bus]] name = {:?}, or use one of: {}", device.bus, known.join(", "));
                self.fault(&format!("device[{d}].bus"), format!("there is no bus {:?}", device.bus), help);
            }
        }
        if settings.device.is_empty() {
            self.fault(
                "device",
                "there is no device to poll".to_owned(),
                "add a [[bus]] and a [[device]], see the comments of config/gateway.toml",
            );
        }
        buses
    }

    /// What the parts of one bus, and two buses, have to agree on.
    fn neighbours(&mut self, n: usize, bus: &BusSection, profiles: &[&Arc<Profile>]) {
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
        let serial_only = [("path", bus.path.is_some()), ("baud", bus.baud.is_some())];
        let tcp_only = [("host", bus.host.is_some()), ("port", bus.port.is_some())];
        let foreign = if bus.kind == BusKind::Tcp { serial_only } else { tcp_only };
        for (name, _) in foreign.into_iter().filter(|(_, set)| *set) {
            self.fault(
                &key(name),
                format!("{name} means nothing on this kind of bus"),
                "remove it, or change kind",
            );
        }
        let bauds: BTreeSet<u32> = profiles.iter().map(|profile| profile.serial.baud).collect();
        if bus.kind == BusKind::Rtu && bus.baud.is_none() && bauds.len() > 1 {
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
    }

    fn bus(&mut self, n: usize, bus: &BusSection, first: Option<&Arc<Profile>>) -> Option<BusSettings> {
        let key = |name: &str| format!("bus[{n}].{name}");
        if bus.timeout_ms.is_some_and(|ms| !(20..=60_000).contains(&ms)) {
            self.fault(
                &key("timeout_ms"),
                format!("timeout_ms: {} is out of range", bus.timeout_ms.unwrap_or(0)),
                "20 to 60000 milliseconds",
            );
        }
        match bus.kind {
            BusKind::Tcp => {
                let Some(host) = bus.host.clone().filter(|host| !host.is_empty()) else {
                    self.fault(
                        &key("host"),
                        format!("bus {:?} has no host", bus.name),
                        "add host = \"192.168.1.50\"",
                    );
                    return None;
                };
                Some(BusSettings::Tcp(TcpSettings::new(host, bus.port.unwrap_or(502))))
            }
            BusKind::Rtu => {
                let Some(path) = &bus.path else {
                    self.fault(
                        &key("path"),
                        format!("bus {:?} has no path", bus.name),
                        "add path = \"/dev/serial/by-id/…\"",
                    );
                    return None;
                };
                let baud = bus.baud.or(first.map(|p| p.serial.baud)).unwrap_or(9_600);
                if !(300..=1_000_000).contains(&baud) {
                    self.fault(
                        &key("baud"),
                        format!("baud: {baud} is out of range"),
                        "300 to 1000000; usual are 4800, 9600, 19200",
                    );
                }
                let data_bits = bus.data_bits.or(first.map(|p| p.serial.data_bits)).unwrap_or(8);
                let stop_bits = bus.stop_bits.or(first.map(|p| p.serial.stop_bits)).unwrap_or(1);
                if data_bits != 7 && data_bits != 8 {
                    self.fault(
                        &key("data_bits"),
                        format!("data_bits: {data_bits}"),
                        "7 or 8; Modbus RTU always has 8",
                    );
                }
                if stop_bits != 1 && stop_bits != 2 {
                    self.fault(&key("stop_bits"), format!("stop_bits: {stop_bits}"), "1 or 2");
                }
                let parity = bus
                    .parity
                    .map(parity)
                    .or(first.map(|p| p.serial.parity))
                    .unwrap_or(sitian_profile::Parity::None);
                let path = self.path(path).to_string_lossy().into_owned();
                Some(BusSettings::Rtu(RtuSettings {
                    path,
                    serial: Serial { baud, data_bits, parity, stop_bits },
                }))
            }
        }
    }

    fn device(
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
        let Some(profile) = library.0.get(&device.profile) else {
            self.fault(
                &key("profile"),
                format!("there is no profile {:?}", device.profile),
                library.nearest(&device.profile),
            );
            return None;
        };
        let interval_s = device.interval_s.unwrap_or(INTERVAL_DEFAULT_S);
        if !(0.1..=86_400.0).contains(&interval_s) {
            self.fault(
                &key("interval_s"),
                format!("interval_s: {interval_s} is out of range"),
                "0.1 to 86400 seconds",
            );
            return None;
        }
        let unit = device.unit.unwrap_or(profile.default_unit);
        if unit == 0 {
            self.fault(
                &key("unit"),
                "unit: 0 is the broadcast address; nobody answers it".to_owned(),
                "1 to 247, or what the maker says up to 255",
            );
        }
        let interval_ms = (interval_s * 1_000.0).round() as u32;
        let number = manifest.devices.len() as u32;
        manifest.devices.push(DeviceInfo {
            name: device.name.clone().unwrap_or_else(|| device.id.clone()),
            place: device.place.clone(),
            profile: profile.id.clone(),
            bus: bus.name.clone(),
            id: id.clone(),
        });
        let points = self.points(d, device, profile, number, interval_ms, manifest);
        let timeout_ms = bus.timeout_ms.unwrap_or(TIMEOUT_DEFAULT_MS);
        Some((id, DevicePlan { unit, profile: profile.clone(), points, timeout_ms, retries: RETRIES }))
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
        let chosen = |point: &ProfilePoint| {
            if device.points.is_empty() {
                !point.optional
            } else {
                device.points.iter().any(|key| key == point.key.as_str())
            }
        };
        let mut plans = Vec::new();
        for (at, point) in profile.points.iter().enumerate().filter(|(_, point)| chosen(point)) {
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

fn parity(parity: Parity) -> sitian_profile::Parity {
    match parity {
        Parity::None => sitian_profile::Parity::None,
        Parity::Even => sitian_profile::Parity::Even,
        Parity::Odd => sitian_profile::Parity::Odd,
    }
}
