//! Which devices stand where: one kit per base of the territory, and the gateway configurations that fit them.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use anyhow::{Context, Result, anyhow};
use sitian_model::ConfigFault;
use sitian_profile::{Catalogue, Profile, builtin, catalogue_text};
use sitian_supervision::{Level, Territory};

use crate::station::{Device, Station, World};
use crate::weather::{Site, hash, mix};

/// One device of a kit: id, name, place, built-in profile, under glass.
type Item = (&'static str, &'static str, &'static str, &'static str, bool);

const GREENHOUSE: &[Item] = &[
    ("soil-1", "1号棚 土壤", "1号棚", "renke-soil-7in1", true),
    ("air-1", "1号棚 空气", "1号棚", "xy-md02", true),
    ("co2-1", "1号棚 二氧化碳", "1号棚", "senseair-s8", true),
    ("soil-2", "2号棚 土壤", "2号棚", "sensecap-mtec02", true),
    ("air-2", "2号棚 空气", "2号棚", "renke-ws-n01", true),
    ("light-2", "2号棚 光照", "2号棚", "renke-gzws-n01", true),
];
const FIELD: &[Item] = &[
    ("soil-1", "东地块 土壤", "东地块", "comwintop-soil-thc", false),
    ("soil-2", "西地块 土壤", "西地块", "jxct-soil-npk", false),
    ("weather-1", "气象站", "气象站", "comwintop-weather", false),
];
const WATER: &[Item] = &[
    ("water-1", "蓄水池 电导率", "蓄水池", "yosemitech-y520", false),
    ("water-2", "蓄水池 溶解氧", "蓄水池", "yosemitech-y504", false),
    ("water-3", "蓄水池 酸碱度", "蓄水池", "yosemitech-y532", false),
    ("level-1", "蓄水池 液位", "蓄水池", "qdy30a", false),
];

/// The one base whose outputs can be switched, and with what.
const SWITCHED: &str = "dangzhai-01";
const SWITCHES: &[Item] = &[("relay-1", "水泵房 继电器", "蓄水池", "waveshare-relay-8", false)];
/// A valve that salty water closes, a fan, and a pump that only people at the base may start.
const CONTROL: &str = r#"
[[control]]
device = "relay-1"
point = "relay_1"
name = "灌溉阀"
from_centre = true
safe_without_link_s = 120
[[control.require]]
device = "water-1"
point = "water_ec"
max = 3000.0
[[control.require]]
device = "level-1"
point = "water_level"
min = 0.2

[[control]]
device = "relay-1"
point = "relay_2"
name = "1号棚 风机"
from_centre = true

[[control]]
device = "relay-1"
point = "relay_3"
name = "补水泵"
"#;

/// How a station is reached.
pub enum Access {
    /// Modbus TCP on this loopback port.
    Tcp(u16),
    /// Modbus RTU at 9600 baud on a pseudo-terminal.
    Line,
}

/// One station per gateway of the territory, every fifth of them on a serial line.
pub fn stations(
    territory: &Territory,
    seed: u64,
    port: u16,
    world: World,
) -> Result<Vec<(Arc<Station>, Access)>> {
    let profiles = profiles()?;
    let mut stations = Vec::new();
    for base in territory.nodes().filter(|node| node.level == Level::Base) {
        for gateway in &base.gateways {
            let index = stations.len();
            let mut kit: Vec<&Item> = if index % 3 == 2 || gateway.as_str().starts_with("hongshui") {
                FIELD.iter().chain(WATER).collect()
            } else {
                GREENHOUSE.iter().chain(WATER).collect()
            };
            if gateway.as_str() == SWITCHED {
                kit.extend(SWITCHES);
            }
            let site = Site {
                seed: mix(seed ^ hash(gateway.as_str())),
                longitude: base.longitude,
                latitude: base.latitude,
                altitude_m: 1_500.0,
                greenhouse: false,
            };
            let devices = kit.iter().zip(1u8..).map(|(item, unit)| device(item, unit, &site, &profiles));
            let devices = devices.collect::<Result<Vec<_>>>()?;
            let access = if index % 5 == 1 {
                Access::Line
            } else {
                Access::Tcp(if port == 0 { 0 } else { port + index as u16 })
            };
            stations.push((Arc::new(Station { gateway: gateway.to_string(), devices, world }), access));
        }
    }
    Ok(stations)
}

fn device(item: &Item, unit: u8, site: &Site, profiles: &HashMap<String, Arc<Profile>>) -> Result<Device> {
    let (id, name, place, profile, greenhouse) = *item;
    let profile =
        profiles.get(profile).with_context(|| format!("failed to find the built-in profile {profile}"))?;
    let site = Site { greenhouse, ..site.clone() };
    Ok(Device {
        id: id.into(),
        name: name.into(),
        place: place.into(),
        unit,
        profile: profile.clone(),
        site,
        coils: AtomicU32::new(0),
    })
}

fn profiles() -> Result<HashMap<String, Arc<Profile>>> {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).map_err(first)?;
    let parsed = builtin().iter().map(|(file, text)| Profile::parse(file, text, &catalogue).map_err(first));
    parsed.map(|profile| profile.map(|p| (p.id.clone(), Arc::new(p)))).collect()
}

fn first(faults: Vec<ConfigFault>) -> anyhow::Error {
    faults.into_iter().next().map_or_else(|| anyhow!("failed to parse"), Into::into)
}

/// The configuration with which a gateway polls this station.
pub fn configuration(station: &Station, access: &Access, folder: &Path, mqtt: (&str, u16)) -> String {
    let mut text = format!(
        "# Written by the simulator; the next start writes it again.\n[gateway]\nid = \"{id}\"\n\n[spool]\n\
         directory = \"spool-{id}\"\nbytes_max = 67108864\n\n[mqtt]\nhost = \"{}\"\nport = {}\n\n[[bus]]\nname = \"line-1\"\n",
        mqtt.0,
        mqtt.1,
        id = station.gateway
    );
    // Writing to a String cannot fail.
    let _ = match access {
        Access::Tcp(port) => writeln!(text, "kind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}"),
        Access::Line => {
            let path = line_path(folder, &station.gateway);
            writeln!(text, "kind = \"rtu\"\npath = \"{}\"\nbaud = 9600\ntimeout_ms = 300", path.display())
        }
    };
    // A slow line carries fewer polls.
    let interval_s = if matches!(access, Access::Line) { 5 } else { 2 };
    for device in &station.devices {
        let _ = writeln!(
            text,
            "\n[[device]]\nid = \"{}\"\nname = \"{}\"\nplace = \"{}\"\nbus = \"line-1\"\nprofile = \"{}\"\nunit = {}\ninterval_s = {interval_s}",
            device.id, device.name, device.place, device.profile.id, device.unit
        );
        if SWITCHES.iter().any(|(id, ..)| *id == device.id) {
            text.push_str("points = [\"relay_1\", \"relay_2\", \"relay_3\"]\n");
        }
    }
    if station.gateway == SWITCHED {
        text.push_str(CONTROL);
    }
    text
}

/// Where a station's serial line is linked.
pub fn line_path(folder: &Path, gateway: &str) -> std::path::PathBuf {
    folder.join(format!("line-{gateway}"))
}
