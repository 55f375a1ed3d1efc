//! The `[mqtt]` section of a program's configuration, and the link that it asks for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::settings::{Credentials, LinkSettings, Tls};

/// What a person may set about the link. Empty texts and paths mean: not used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Host name or address of the broker.
    pub host: String,
    /// Port of the broker.
    pub port: u16,
    /// Name at the broker.
    pub username: String,
    /// File with the password alone.
    pub password_file: PathBuf,
    /// PEM file of the authorities to trust; turns TLS on.
    pub ca_file: PathBuf,
    /// PEM file of our own certificate.
    pub certificate_file: PathBuf,
    /// PEM file of its key.
    pub key_file: PathBuf,
    /// Seconds of silence before a ping, 1 to 3600.
    pub keep_alive_s: u16,
}

/// What is wrong with one key of the section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionFault {
    /// The key within the section.
    pub key: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: &'static str,
}

impl Section {
    /// The link that the section asks for; relative paths start from `folder`. Returns every fault found.
    pub fn link(&self, folder: &Path, client_id: &str) -> Result<LinkSettings, Vec<SectionFault>> {
        let faults = self.faults(folder);
        if !faults.is_empty() {
            return Err(faults);
        }
        let path = |file: &PathBuf| (!file.as_os_str().is_empty()).then(|| folder.join(file));
        let mut link = LinkSettings::new(self.host.clone(), self.port, client_id);
        link.keep_alive = Duration::from_secs(self.keep_alive_s.into());
        if !self.username.is_empty() {
            let username = self.username.clone();
            link.credentials = Some(Credentials { username, password_file: path(&self.password_file) });
        }
        let client = path(&self.certificate_file).zip(path(&self.key_file));
        link.tls = path(&self.ca_file).map(|ca_file| Tls { ca_file, client });
        Ok(link)
    }

    fn faults(&self, folder: &Path) -> Vec<SectionFault> {
        let mut faults = Vec::new();
        let mut fault = |key, what: &str, help| {
            faults.push(SectionFault { key, what: format!("mqtt.{key}: {what}"), help })
        };
        if self.host.is_empty() {
            fault("host", "it is empty", "name the broker's host or address");
        }
        if !(1..=3_600).contains(&self.keep_alive_s) {
            fault("keep_alive_s", "a dead link would not be noticed in time", "use 5 to 60 seconds");
        }
        let files = [
            ("password_file", &self.password_file),
            ("ca_file", &self.ca_file),
            ("certificate_file", &self.certificate_file),
            ("key_file", &self.key_file),
        ];
        for (key, file) in files.into_iter().filter(|(_, file)| !file.as_os_str().is_empty()) {
            if !folder.join(file).is_file() {
                fault(key, &format!("there is no file {}", folder.join(file).display()), "check the path");
            }
        }
        let empty = |file: &PathBuf| file.as_os_str().is_empty();
        if empty(&self.certificate_file) != empty(&self.key_file) {
            fault(
                "certificate_file",
                "certificate and key come together",
                "set both certificate_file and key_file, or neither",
            );
        }
        if !empty(&self.certificate_file) && empty(&self.ca_file) {
            fault("ca_file", "a certificate is used with TLS only", "name the authority's file in ca_file");
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(change: impl FnOnce(&mut Section)) -> Section {
        let mut section = Section {
            host: "broker".into(),
            port: 1883,
            username: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            keep_alive_s: 20,
        };
        change(&mut section);
        section
    }

    #[test]
    fn each_fault_names_its_key() {
        let here = || PathBuf::from("Cargo.toml");
        let rows: [(Section, &[&str]); 7] = [
            (section(|_| {}), &[]),
            (section(|s| s.host.clear()), &["host"]),
            (section(|s| s.keep_alive_s = 0), &["keep_alive_s"]),
            (section(|s| s.ca_file = "nowhere.pem".into()), &["ca_file"]),
            (section(|s| (s.ca_file, s.key_file) = (here(), here())), &["certificate_file"]),
            (section(|s| (s.certificate_file, s.key_file) = (here(), here())), &["ca_file"]),
            (section(|s| (s.ca_file, s.certificate_file, s.key_file) = (here(), here(), here())), &[]),
        ];
        for (section, keys) in rows {
            let faults = section.link(Path::new(""), "gw").err().unwrap_or_default();
            assert_eq!(faults.iter().map(|fault| fault.key).collect::<Vec<_>>(), keys, "{section:?}");
        }
    }
}
