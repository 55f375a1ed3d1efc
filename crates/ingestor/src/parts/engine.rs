//! Where readings are kept, as the settings say it.

use std::path::Path;

use sitian_store_influx::Token;
use sitian_store_influx::influx::Bucket;

use super::Judge;
use crate::readings::{Kind, Place, Server};

/// Where the token of an engine is if no file is named.
pub(super) const TOKEN_VARIABLE: &str = "SITIAN_STORAGE_TOKEN";

impl Judge<'_> {
    pub(super) fn place(&mut self) -> Option<Place> {
        let section = &self.loaded.value.storage;
        let influx: [(&str, bool); 3] = [
            ("organisation", section.organisation.is_empty()),
            ("bucket", section.bucket.is_empty()),
            ("token_file", section.token_file.as_os_str().is_empty()),
        ];
        let kind = match section.engine.as_str() {
            "embedded" => None,
            "victoriametrics" => Some("http://127.0.0.1:8428"),
            "influxdb2" => Some("http://127.0.0.1:8086"),
            engine => {
                let what = format!("storage.engine: {engine:?} is no engine");
                self.fault("storage.engine", what, "embedded, influxdb2 or victoriametrics");
                return None;
            }
        };
        let before = self.faults.len();
        if section.engine != "influxdb2" {
            for (key, _) in influx.iter().filter(|(_, empty)| !empty) {
                let what = format!("storage.{key}: only InfluxDB 2 has one");
                self.fault(
                    &format!("storage.{key}"),
                    what,
                    "remove it, or set storage.engine = \"influxdb2\"",
                );
            }
        }
        let Some(example) = kind else {
            if !section.url.is_empty() {
                let what = "storage.url: the embedded engine has none".to_owned();
                self.fault("storage.url", what, "remove it, or choose another storage.engine");
            }
            return (self.faults.len() == before).then_some(Place::Own);
        };
        let url = section.url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let what = format!("storage.url: {url:?} is no address of an engine");
            self.fault("storage.url", what, &format!("write it as {example}"));
        }
        let keeps = &section.retention;
        if keeps.hourly_days + keeps.daily_days > 0 {
            let what =
                "storage.retention: another engine keeps readings only, no hours and no days".to_owned();
            self.fault("storage.engine", what, "leave hourly_days and daily_days at 0");
        }
        let kind = match section.engine.as_str() {
            "victoriametrics" => Some(Kind::Victoria),
            _ => self.bucket().map(Kind::Influx),
        };
        let keep_days = (keeps.raw_days > 0).then_some(keeps.raw_days);
        let server = Server { url, keep_days, kind: kind? };
        (self.faults.len() == before).then_some(Place::Elsewhere(server))
    }

    fn bucket(&mut self) -> Option<Bucket> {
        let section = &self.loaded.value.storage;
        let before = self.faults.len();
        for (key, name) in [("organisation", &section.organisation), ("bucket", &section.bucket)] {
            if name.is_empty() {
                let what = format!("storage.{key}: InfluxDB 2 needs one");
                self.fault(&format!("storage.{key}"), what, "name one that is there");
            }
        }
        let token = self.token();
        (self.faults.len() == before).then_some(Bucket {
            organisation: section.organisation.clone(),
            bucket: section.bucket.clone(),
            token: token?,
        })
    }

    /// From a file or a variable: arguments and settings are seen by others.
    fn token(&mut self) -> Option<Token> {
        let file = &self.loaded.value.storage.token_file;
        let (key, help) =
            ("storage.token_file", "name a file that holds the token alone, or set SITIAN_STORAGE_TOKEN");
        if file.as_os_str().is_empty() {
            let token = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
            let token = token.map(|token| Token(token.to_owned()));
            if token.is_none() {
                self.fault(key, "storage.token_file: InfluxDB 2 needs a token".to_owned(), help);
            }
            return token;
        }
        let path = self.folder.join(file);
        let token = std::fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
        match token {
            Some(token) if !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic()) => {
                if exposed(&path) {
                    self.warnings.push(format!(
                        "{} can be read by everybody on this machine: chmod 600 it",
                        path.display()
                    ));
                }
                Some(Token(token))
            }
            Some(_) => {
                self.fault(key, format!("storage.token_file: {} holds no token", path.display()), help);
                None
            }
            None => {
                self.fault(key, format!("storage.token_file: {} cannot be read", path.display()), help);
                None
            }
        }
    }
}

/// True if others than owner and group may read it.
pub(super) fn exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
