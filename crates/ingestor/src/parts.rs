//! What the ingestor is made of before anything runs: territory, rules, catalogue, addresses. Every fault is told at its
//! place.

mod engine;
mod seat;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sitian_alert::Rules;
use sitian_alert::rule::{Vocabulary, builtin as builtin_rules};
use sitian_api::Zone;
use sitian_model::ConfigFault;
use sitian_mqtt::{LinkSettings, SectionFault};
use sitian_profile::{Catalogue, catalogue_text};
use sitian_series::{Class, Retention};
use sitian_settings::{Loaded, load_file};
use sitian_supervision::{Territory, territory};

use crate::keeping::Seat;
use crate::readings::Place;
use crate::settings::{Settings, loopback};

/// Everything judged and loaded; nothing opened.
pub struct Parts {
    /// Address of console and API.
    pub http: SocketAddr,
    /// Address of the embedded broker, if there is one.
    pub broker: Option<SocketAddr>,
    /// The link to the broker, embedded or not.
    pub link: LinkSettings,
    /// The store's file.
    pub storage: PathBuf,
    /// Where the registry is kept.
    pub seat: Seat,
    /// Where readings are kept.
    pub place: Place,
    /// How long what is kept.
    pub retention: Retention,
    /// What works and should not stay so.
    pub warnings: Vec<String>,
    /// The tree.
    pub territory: Arc<Territory>,
    /// The alert rules.
    pub rules: Arc<Rules>,
    /// Names and units.
    pub catalogue: Arc<Catalogue>,
    /// Zone of the API's times.
    pub zone: Zone,
    /// How long gateways get to come back after a start.
    pub start_grace: Duration,
}

impl Parts {
    /// Judges the settings; relative paths start from `folder`.
    pub fn judge(loaded: &Loaded<Settings>, folder: &Path) -> Result<Self, Vec<ConfigFault>> {
        Self::judge_with(loaded, folder, std::env::var(engine::TOKEN_VARIABLE).ok())
    }

    fn judge_with(
        loaded: &Loaded<Settings>,
        folder: &Path,
        token: Option<String>,
    ) -> Result<Self, Vec<ConfigFault>> {
        let mut judge = Judge { loaded, folder, token, faults: Vec::new(), warnings: Vec::new() };
        match judge.parts() {
            Some(parts) if judge.faults.is_empty() => Ok(parts),
            _ => Err(judge.faults),
        }
    }
}

struct Judge<'a> {
    loaded: &'a Loaded<Settings>,
    folder: &'a Path,
    /// The token of an engine, from the environment.
    token: Option<String>,
    faults: Vec<ConfigFault>,
    warnings: Vec<String>,
}

impl Judge<'_> {
    fn fault(&mut self, key: &str, what: String, help: &str) {
        self.faults.push(self.loaded.fault(key, what, help));
    }

    fn keep<T>(&mut self, result: Result<T, ConfigFault>) -> Option<T> {
        result.map_err(|fault| self.faults.push(fault)).ok()
    }

    fn keep_all<T>(&mut self, result: Result<T, Vec<ConfigFault>>) -> Option<T> {
        result.map_err(|faults| self.faults.extend(faults)).ok()
    }

    fn parts(&mut self) -> Option<Parts> {
        let settings = &self.loaded.value;
        let http = self.keep(loopback(self.loaded, "http.listen", &settings.http.listen));
        let broker = if settings.broker.embedded {
            self.keep(loopback(self.loaded, "broker.listen", &settings.broker.listen)).map(Some)
        } else {
            Some(None)
        };
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
        let zone = Zone::new(&settings.time.zone).ok();
        if zone.is_none() {
            self.fault(
                "time.zone",
                format!("time.zone: there is no zone {:?}", settings.time.zone),
                "use an IANA name such as Asia/Shanghai",
            );
        }
        let (place, seat) = (self.place(), self.seat());
        let retention = match place {
            // Another engine forgets by itself.
            Some(Place::Elsewhere(_)) => Some(Retention::default()),
            _ => self.retention(),
        };
        let catalogue = self.keep_all(Catalogue::parse("measurements.toml", catalogue_text()));
        let territory = self.territory();
        let rules = match (&catalogue, &territory) {
            (Some(catalogue), Some(territory)) => self.rules(catalogue, territory),
            _ => None,
        };
        let link = self.link(broker.flatten());
        Some(Parts {
            http: http?,
            broker: broker?,
            link: link?,
            storage: self.folder.join(&settings.storage.path),
            seat: seat?,
            place: place?,
            retention: retention?,
            warnings: std::mem::take(&mut self.warnings),
            territory: Arc::new(territory?),
            rules: Arc::new(rules?),
            catalogue: Arc::new(catalogue?),
            zone: zone?,
            start_grace: Duration::from_secs(settings.alert.start_grace_s.into()),
        })
    }

    fn retention(&mut self) -> Option<Retention> {
        let section = &self.loaded.value.storage.retention;
        let days = |days: u32| (days > 0).then_some(days);
        let retention = Retention {
            raw_days: days(section.raw_days),
            hourly_days: days(section.hourly_days),
            daily_days: days(section.daily_days),
            day_offset_ms: 0,
        };
        if let Err(fault) = retention.check() {
            let key = match fault.coarse {
                Class::Raw => "storage.retention.raw_days",
                Class::Hourly => "storage.retention.hourly_days",
                Class::Daily => "storage.retention.daily_days",
            };
            let what =
                format!("{key}: {} days are fewer than those of {}", fault.coarse_days, fault.fine.word());
            self.fault(key, what, "keep it at least as long as the finer class, or 0 for ever");
            return None;
        }
        Some(retention)
    }

    fn territory(&mut self) -> Option<Territory> {
        let file = &self.loaded.value.territory.file;
        if file.as_os_str().is_empty() {
            let (name, text) = territory::builtin();
            return self.keep_all(Territory::parse(name, text));
        }
        let path = self.folder.join(file);
        let Ok((name, text)) = load_file(&path) else {
            let what = format!("territory.file: {} cannot be read", path.display());
            self.fault("territory.file", what, "check the path, or leave it empty for the built-in sample");
            return None;
        };
        self.keep_all(Territory::parse(&name, &text))
    }

    fn rules(&mut self, catalogue: &Catalogue, territory: &Territory) -> Option<Rules> {
        let vocabulary = Vocabulary {
            measurement: &|id| catalogue.get(id).is_some(),
            node: &|id| territory.node(id).is_some(),
        };
        let folder = &self.loaded.value.alert.rules;
        if folder.as_os_str().is_empty() {
            // The built-in rules may speak of places that this territory does not have.
            let anywhere = Vocabulary { node: &|_| true, ..vocabulary };
            return self.keep_all(Rules::parse(builtin_rules(), &anywhere));
        }
        let path = self.folder.join(folder);
        let entries = std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> =
            entries.filter(|file| file.extension().is_some_and(|e| e == "toml")).collect();
        files.sort();
        if files.is_empty() {
            let what = format!("alert.rules: there is no *.toml in {}", path.display());
            self.fault(
                "alert.rules",
                what,
                "name a folder with rule files, or leave it empty for the built-in rules",
            );
        }
        let texts: Option<Vec<(String, String)>> =
            files.iter().map(|file| self.keep(load_file(file))).collect();
        let texts = texts?;
        let named: Vec<(&str, &str)> =
            texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        self.keep_all(Rules::parse(&named, &vocabulary))
    }

    fn link(&mut self, embedded: Option<SocketAddr>) -> Option<LinkSettings> {
        const CLIENT_ID: &str = "sitian-ingestor";
        let mut link = match embedded {
            Some(address) => LinkSettings::new(address.ip().to_string(), address.port(), CLIENT_ID),
            None => {
                let link = self.loaded.value.mqtt.link(self.folder, CLIENT_ID);
                let place = |fault: SectionFault| {
                    self.loaded.fault(&format!("mqtt.{}", fault.key), fault.what, fault.help)
                };
                link.map_err(|faults| self.faults.extend(faults.into_iter().map(place))).ok()?
            }
        };
        // The centre sits beside its broker: it comes back quickly, and takes whole bursts.
        link.reconnect_max = Duration::from_secs(2);
        link.queue_max = 4_096;
        link.events_max = 1_024;
        link.send_buffer_bytes = None;
        Some(link)
    }
}

#[cfg(test)]
#[path = "parts/tests.rs"]
mod tests;
