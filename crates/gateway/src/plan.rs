//! Judges the settings and turns them into what the program works with: link, spool, manifest and one plan per bus.
//! Every fault is told at its place, all at once.

mod adjust;
mod airtime;
mod bus;
mod control;
mod device;
mod reach;
mod talk;

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sitian_fieldbus::BusSettings;
use sitian_model::{ConfigFault, DeviceId, GatewayId, Manifest};
use sitian_mqtt::{LinkSettings, SectionFault};
use sitian_poll::airtime::Airtime;
use sitian_poll::{BusPlan, DevicePlan};
use sitian_profile::Profile;
use sitian_settings::Loaded;
use sitian_spool::Limits;

use crate::control::Output;
use crate::heritage::Names;
use crate::library::Library;
use crate::settings::{BusKind, Settings};

pub use talk::TalkingBus;

/// The smallest spool that makes sense.
const SPOOL_BYTES_MIN: u64 = 8 << 20;
/// A batch holds a few readings at least, and at most what fits the wire uncompressed.
const BATCH_BYTES: RangeInclusive<usize> = 4 << 10..=48 << 10;
/// A window holds a batch at least; what is under way is in memory.
const WINDOW_BYTES: RangeInclusive<u64> = 64 << 10..=16 << 20;
const PAUSE_DEFAULT_MS: u32 = 20;
const HOUR_MS: i64 = 3_600_000;

/// What the program works with.
pub struct Plan {
    /// The gateway, its devices and points.
    pub manifest: Manifest,
    /// What the gateway is called, and was called.
    pub names: Names,
    /// The broker.
    pub link: LinkSettings,
    /// Where readings wait.
    pub spool_folder: PathBuf,
    /// How much may wait, and for how long.
    pub spool_limits: Limits,
    /// How much may be under way.
    pub uplink_limits: sitian_uplink::Limits,
    /// The Modbus buses, in configuration order.
    pub buses: Vec<PlannedBus>,
    /// The other buses, in configuration order.
    pub talking: Vec<TalkingBus>,
    /// What may be written.
    pub outputs: Vec<Output>,
}

/// One bus with everything on it.
#[derive(Clone)]
pub struct PlannedBus {
    /// Its name in the configuration.
    pub name: String,
    /// How to reach it.
    pub settings: BusSettings,
    /// What to poll on it.
    pub plan: BusPlan,
    /// Ids of the devices of the plan, in its order.
    pub devices: Vec<DeviceId>,
    /// What the plan takes of the bus's time.
    pub airtime: Airtime,
}

impl PlannedBus {
    /// Points polled on this bus.
    pub fn points(&self) -> usize {
        self.plan.devices.iter().map(|device| device.points.len()).sum()
    }
}

impl Plan {
    /// Judges the settings; relative paths start from `folder`.
    pub fn make(loaded: &Loaded<Settings>, folder: &Path) -> Result<Self, Vec<ConfigFault>> {
        Self::judge(loaded, folder, None)
    }

    /// As [`Self::make`], with the user's own profiles as name and text instead of those in their folder.
    pub fn make_with(
        loaded: &Loaded<Settings>,
        folder: &Path,
        profiles: &[(String, String)],
    ) -> Result<Self, Vec<ConfigFault>> {
        Self::judge(loaded, folder, Some(profiles))
    }

    fn judge(
        loaded: &Loaded<Settings>,
        folder: &Path,
        profiles: Option<&[(String, String)]>,
    ) -> Result<Self, Vec<ConfigFault>> {
        let mut judge = Judge { loaded, folder, profiles, faults: Vec::new(), talking: Vec::new() };
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
    profiles: Option<&'a [(String, String)]>,
    faults: Vec<ConfigFault>,
    talking: Vec<TalkingBus>,
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
        let former = self.former_ids();
        let link = self.link(&settings.gateway.id);
        let spool = &settings.spool;
        if spool.bytes_max < SPOOL_BYTES_MIN {
            let what = format!("spool.bytes_max: {} is less than {SPOOL_BYTES_MIN}", spool.bytes_max);
            self.fault("spool.bytes_max", what, "give the spool at least 8 MiB");
        }
        let uplink_limits = self.uplink_limits();
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
        let outputs = self.outputs(&buses, &manifest);
        // What the centre would not take is told before anything is polled.
        let sent = sitian_wire::encode_manifest(&sitian_model::Epoch([0; 16]), &manifest);
        if !self.has_long_texts()
            && let Err(error) = sitian_wire::decode_manifest(&sent)
        {
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
        let talking = std::mem::take(&mut self.talking);
        let spool_folder = self.path(&spool.directory);
        let names = Names { own: manifest.gateway.clone(), former };
        Some(Plan {
            manifest,
            names,
            link: link?,
            spool_folder,
            spool_limits,
            uplink_limits,
            buses,
            talking,
            outputs,
        })
    }

    fn uplink_limits(&mut self) -> sitian_uplink::Limits {
        let crate::settings::UplinkSection { batch_bytes_max, window_bytes_max } = self.loaded.value.uplink;
        let (least, most) = BATCH_BYTES.into_inner();
        if !BATCH_BYTES.contains(&batch_bytes_max) {
            let what = format!("uplink.batch_bytes_max: {batch_bytes_max} is not within {least} to {most}");
            self.fault("uplink.batch_bytes_max", what, "a batch takes 4 to 48 KiB");
        }
        let (least, most) = WINDOW_BYTES.into_inner();
        if !WINDOW_BYTES.contains(&window_bytes_max) {
            let what = format!("uplink.window_bytes_max: {window_bytes_max} is not within {least} to {most}");
            self.fault("uplink.window_bytes_max", what, "64 KiB to 16 MiB may be under way");
        }
        let limits = sitian_uplink::Limits::default();
        let window_bytes = limits.window_bytes.min(window_bytes_max);
        sitian_uplink::Limits { batch_bytes_max, window_bytes, window_bytes_max, ..limits }
    }

    fn former_ids(&mut self) -> Vec<GatewayId> {
        let section = &self.loaded.value.gateway;
        let (mut ids, help) = (Vec::new(), "name ids that this gateway had before, or leave it empty");
        for text in &section.former_ids {
            match GatewayId::new(text) {
                Ok(_) if *text == section.id => {
                    let what = format!("gateway.former_ids: {text} is the present id");
                    self.fault("gateway.former_ids", what, help);
                }
                Ok(id) => ids.push(id),
                Err(error) => {
                    self.fault("gateway.former_ids", format!("gateway.former_ids: {text:?}: {error}"), help)
                }
            }
        }
        ids
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
        if let Some(texts) = self.profiles {
            let added = Library::builtin().and_then(|mut library| library.add(texts).map(|()| library));
            return added.map_err(|faults| self.faults.extend(faults)).ok();
        }
        let own = self.path(&self.loaded.value.profiles.directory);
        let built = Library::of(self.loaded, self.folder);
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
            if let Some(word) = bus.kind.dialect() {
                self.neighbours(n, bus, &[]);
                let talking = self.talking_bus(n, bus, word, library, manifest);
                self.talking.extend(talking);
                continue;
            }
            let here = || settings.device.iter().enumerate().filter(|(_, device)| device.bus == bus.name);
            let planned: Vec<(DeviceId, DevicePlan)> =
                here().filter_map(|(d, device)| self.device(d, device, bus, library, manifest)).collect();
            let profiles: Vec<&Arc<Profile>> =
                here().filter_map(|(_, device)| library.get(&device.profile)).collect();
            self.neighbours(n, bus, &profiles);
            if let Some(reached) = self.bus(n, bus, profiles.first().copied()) {
                let hold_off = bus.kind != BusKind::Tcp;
                let pause_ms = bus.pause_ms.unwrap_or(PAUSE_DEFAULT_MS);
                let (devices, plans): (Vec<_>, Vec<_>) = planned.into_iter().unzip();
                let plan = BusPlan { devices: plans, pause_ms, hold_off };
                let airtime = self.airtime(n, bus, &reached, &plan, &devices);
                buses.push(PlannedBus { name: bus.name.clone(), settings: reached, plan, devices, airtime });
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
}

#[cfg(test)]
mod tests;
