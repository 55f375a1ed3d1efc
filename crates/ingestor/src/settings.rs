//! The ingestor's settings as a person writes them, where they come from, and whether they can work.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sitian_model::ConfigFault;
use sitian_settings::{Faults, Loaded, environment, load, load_file};

/// The commented defaults, compiled in.
pub const DEFAULTS: &str = include_str!("../../../config/ingestor.toml");

/// Where the settings of one start come from.
#[derive(Debug, Clone, clap::Args)]
pub struct Source {
    /// Configuration file; without one the built-in defaults are used.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides one value, such as http.listen=127.0.0.1:9000; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = sitian_settings::key_and_value)]
    pub overrides: Vec<(String, String)>,
}

impl Source {
    /// Defaults, file, environment (`SITIAN_INGESTOR_…`) and overrides, merged.
    pub fn load(&self) -> Result<Loaded<Settings>, Faults> {
        let file = self.config.as_deref().map(load_file).transpose().map_err(|fault| Faults(vec![fault]))?;
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        load(DEFAULTS, file, environment(), "SITIAN_INGESTOR_", &self.overrides).map_err(Faults)
    }

    /// What relative paths in the configuration start from.
    pub fn folder(&self) -> &Path {
        self.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub http: HttpSection,
    pub broker: BrokerSection,
    pub mqtt: sitian_mqtt::Section,
    pub storage: StorageSection,
    pub registry: RegistrySection,
    pub territory: TerritorySection,
    pub alert: AlertSection,
    pub time: TimeSection,
    pub log: LogSection,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSection {
    pub listen: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSection {
    pub embedded: bool,
    pub listen: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSection {
    pub path: PathBuf,
    pub engine: String,
    pub url: String,
    pub organisation: String,
    pub bucket: String,
    pub token_file: PathBuf,
    pub retention: RetentionSection,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySection {
    pub kind: String,
    pub url: String,
    pub password_file: PathBuf,
    pub tls: String,
    pub ca_file: PathBuf,
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    pub member: String,
    pub shared: bool,
    pub lease_s: u32,
}

/// Days; 0 is for ever.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSection {
    pub raw_days: u32,
    pub hourly_days: u32,
    pub daily_days: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerritorySection {
    pub file: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSection {
    pub rules: PathBuf,
    pub start_grace_s: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeSection {
    pub zone: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    pub level: String,
    pub format: String,
}

/// Reads a loopback address; anything that other machines could reach is a fault.
pub fn loopback(loaded: &Loaded<Settings>, key: &str, text: &str) -> Result<SocketAddr, ConfigFault> {
    let address: SocketAddr = text.parse().map_err(|_| {
        loaded.fault(key, format!("{key}: {text:?} is not an address"), "write it as 127.0.0.1:8340")
    })?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    let what = format!("{key}: {address} is not a loopback address");
    Err(loaded.fault(
        key,
        what,
        "until access control exists use 127.0.0.1, and a tunnel (ssh -L) from elsewhere",
    ))
}
