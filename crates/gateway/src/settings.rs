//! The gateway's settings as a person writes them, and where they come from. Judging them is [`crate::plan`]'s business.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sitian_settings::{Faults, Loaded, environment, load, load_file};

/// The commented defaults, compiled in.
pub const DEFAULTS: &str = include_str!("../../../config/gateway.toml");

/// Where the settings of one start come from.
#[derive(Debug, Clone, clap::Args)]
pub struct Source {
    /// Configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/sitian/gateway.toml")]
    pub config: PathBuf,
    /// Overrides one value, such as mqtt.host=192.168.1.2; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = sitian_settings::key_and_value)]
    pub overrides: Vec<(String, String)>,
}

impl Source {
    /// Defaults, file, environment (`SITIAN_GATEWAY_…`) and overrides, merged.
    pub fn load(&self) -> Result<Loaded<Settings>, Faults> {
        let (name, text) = load_file(&self.config).map_err(|fault| Faults(vec![fault]))?;
        self.load_text(&name, &text)
    }

    /// As [`Self::load`], of the text of a file.
    pub fn load_text(&self, name: &str, text: &str) -> Result<Loaded<Settings>, Faults> {
        load(DEFAULTS, Some((name, text)), environment(), "SITIAN_GATEWAY_", &self.overrides).map_err(Faults)
    }

    /// What relative paths in the configuration start from.
    pub fn folder(&self) -> &Path {
        self.config.parent().unwrap_or(Path::new(""))
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub gateway: GatewaySection,
    pub spool: SpoolSection,
    pub uplink: UplinkSection,
    pub mqtt: sitian_mqtt::Section,
    pub profiles: ProfilesSection,
    pub log: LogSection,
    #[serde(default)]
    pub bus: Vec<BusSection>,
    #[serde(default)]
    pub device: Vec<DeviceSection>,
    #[serde(default)]
    pub control: Vec<ControlSection>,
}

/// What holds for one output.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    pub device: String,
    pub point: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub from_centre: bool,
    #[serde(default)]
    pub safe_without_link_s: u32,
    #[serde(default)]
    pub require: Vec<RequireSection>,
}

/// A point that has to be within bounds while an output is away from its safe value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequireSection {
    pub device: String,
    pub point: String,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub max_age_s: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySection {
    pub id: String,
    pub former_ids: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolSection {
    pub directory: PathBuf,
    pub bytes_max: u64,
    pub keep_hours: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkSection {
    pub batch_bytes_max: usize,
    pub window_bytes_max: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfilesSection {
    pub directory: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    pub level: String,
    pub format: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusKind {
    /// Modbus RTU on a serial port of this machine.
    Rtu,
    /// Modbus TCP.
    Tcp,
    /// Modbus RTU frames over a socket that we open: a serial converter that listens.
    RtuTcp,
    /// Modbus RTU frames over a socket that a DTU opens to us.
    DialIn,
    /// SDI-12 through an adapter.
    Sdi12,
    /// NMEA 0183 weather stations.
    Nmea,
    /// Sensors that print lines of text.
    Line,
    /// HJ 212 environment stations.
    Hj212,
    /// DL/T 645 electricity meters.
    Dlt645,
    /// MH-Z19-style CO2 modules.
    Mhz19,
}

impl BusKind {
    /// What its devices speak, if it is not Modbus.
    pub fn dialect(self) -> Option<sitian_dialect::Word> {
        use sitian_dialect::Word;
        match self {
            Self::Rtu | Self::Tcp | Self::RtuTcp | Self::DialIn => None,
            Self::Sdi12 => Some(Word::Sdi12),
            Self::Nmea => Some(Word::Nmea),
            Self::Line => Some(Word::Line),
            Self::Hj212 => Some(Word::Hj212),
            Self::Dlt645 => Some(Word::Dlt645),
            Self::Mhz19 => Some(Word::Mhz19),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    None,
    Even,
    Odd,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusSection {
    pub name: String,
    pub kind: BusKind,
    pub path: Option<PathBuf>,
    pub baud: Option<u32>,
    pub parity: Option<Parity>,
    pub data_bits: Option<u8>,
    pub stop_bits: Option<u8>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub listen: Option<String>,
    pub identity: Option<String>,
    pub registration: Option<String>,
    pub heartbeat: Option<String>,
    pub timeout_ms: Option<u32>,
    pub pause_ms: Option<u32>,
    pub thinking_ms: Option<u32>,
}

impl BusSection {
    /// Keys that are set although this kind of bus knows nothing of them.
    pub fn foreign_keys(&self) -> Vec<&'static str> {
        use BusKind::{DialIn, Rtu, RtuTcp, Tcp};
        let set: [(&str, bool, &[BusKind]); 11] = [
            ("path", self.path.is_some(), &[Rtu]),
            ("baud", self.baud.is_some(), &[Rtu, RtuTcp, DialIn]),
            ("parity", self.parity.is_some(), &[Rtu]),
            ("data_bits", self.data_bits.is_some(), &[Rtu]),
            ("stop_bits", self.stop_bits.is_some(), &[Rtu]),
            ("host", self.host.is_some(), &[Tcp, RtuTcp]),
            ("port", self.port.is_some(), &[Tcp, RtuTcp]),
            ("listen", self.listen.is_some(), &[DialIn]),
            ("identity", self.identity.is_some(), &[DialIn]),
            ("registration", self.registration.is_some(), &[DialIn]),
            ("heartbeat", self.heartbeat.is_some(), &[DialIn]),
        ];
        set.into_iter()
            // A bus without Modbus may be reached in any way: all keys may mean something.
            .filter(|(_, set, kinds)| *set && !kinds.contains(&self.kind) && self.kind.dialect().is_none())
            .map(|(key, ..)| key)
            .collect()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSection {
    pub id: String,
    pub name: Option<String>,
    #[serde(default)]
    pub place: String,
    pub bus: String,
    pub profile: String,
    pub unit: Option<u8>,
    pub address: Option<String>,
    pub interval_s: Option<f64>,
    pub priority: Option<u8>,
    pub registers_max: Option<u16>,
    pub gap_max: Option<u16>,
    #[serde(default)]
    pub unreadable: Vec<UnreadableSection>,
    #[serde(default)]
    pub points: Vec<String>,
    #[serde(default)]
    pub adjust: Vec<AdjustSection>,
}

/// Registers of one device that must not be asked for, both ends included.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreadableSection {
    pub function: String,
    pub first: u16,
    pub last: u16,
}

/// What differs from the profile at one point of one device.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdjustSection {
    pub point: String,
    #[serde(default)]
    pub disabled: bool,
    pub interval_s: Option<f64>,
    pub measurement: Option<String>,
    pub kind: Option<String>,
    pub order: Option<String>,
    pub scale: Option<f64>,
    pub offset: Option<f64>,
    pub decimals: Option<u8>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub hourly_max: Option<f64>,
    pub safe: Option<f64>,
    pub on_max_s: Option<u32>,
    pub calibration: Option<CalibrationSection>,
}

/// A comparison with a reference, by somebody on some day.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationSection {
    #[serde(default = "one")]
    pub slope: f64,
    #[serde(default)]
    pub offset: f64,
    pub date: String,
    pub by: String,
}

fn one() -> f64 {
    1.0
}
