//! Where the registry is kept, as the settings say it.

use std::path::Path;
use std::time::Duration;

use sitian_store_postgres::{Access, AccessError, Trust, Way};

use super::Judge;
use super::engine::exposed;
use crate::keeping::Seat;
use crate::settings::RegistrySection;

impl Judge<'_> {
    pub(super) fn seat(&mut self) -> Option<Seat> {
        let section = self.loaded.value.registry.clone();
        let set = [
            ("registry.url", !section.url.is_empty()),
            ("registry.password_file", is_set(&section.password_file)),
            ("registry.ca_file", is_set(&section.ca_file)),
            ("registry.certificate_file", is_set(&section.certificate_file)),
            ("registry.key_file", is_set(&section.key_file)),
            ("registry.member", !section.member.is_empty()),
            ("registry.shared", section.shared),
        ];
        match section.kind.as_str() {
            "embedded" => {
                let Some((key, _)) = set.into_iter().find(|(_, set)| *set) else { return Some(Seat::Own) };
                let what = format!("{key}: the registry in a file has none");
                self.fault(key, what, "remove it, or set registry.kind = \"postgresql\"");
                return None;
            }
            "postgresql" if self.loaded.value.storage.engine == "embedded" => {
                self.fault(
                    "registry.kind",
                    "registry.kind: the embedded engine keeps readings and registry in one file".to_owned(),
                    "set storage.engine = \"victoriametrics\" or \"influxdb2\", or registry.kind = \"embedded\"",
                );
                return None;
            }
            "postgresql" if section.shared && self.loaded.value.broker.embedded => {
                self.fault(
                    "registry.shared",
                    "registry.shared: several ingestors need one broker, and the embedded one is for this program".to_owned(),
                    "set broker.embedded = false, and name the broker in [mqtt]",
                );
                return None;
            }
            "postgresql" if !(3..=60).contains(&section.lease_s) => {
                let what = format!("registry.lease_s: {} s is no length for a lease", section.lease_s);
                self.fault("registry.lease_s", what, "use 3 to 60 seconds, the same for all ingestors");
                return None;
            }
            "postgresql" => {}
            kind => {
                let what = format!("registry.kind: {kind:?} is no kind of registry");
                self.fault("registry.kind", what, "embedded or postgresql");
                return None;
            }
        }
        let password = self.password(&section.password_file)?;
        let way = self.way(&section)?;
        match Access::new(&section.url, password.as_deref(), &way) {
            Ok(access) => {
                let lease = Duration::from_secs(section.lease_s.into());
                let (member, lease) = (member(&section.member), section.shared.then_some(lease));
                Some(Seat::Postgres { access: Box::new(access), member, lease })
            }
            Err(why @ AccessError::Open(_)) => {
                let help = "set registry.ca_file to the authority that signed the server's certificate; or registry.tls = \"off\", if the way there is a tunnel or a network of its own";
                self.fault("registry.url", format!("registry.url: {why}"), help);
                None
            }
            Err(why @ AccessError::Socket) => {
                self.fault("registry.ca_file", format!("registry.ca_file: {why}"), "remove it");
                None
            }
            Err(AccessError::Address(why)) => {
                // The address itself is not repeated: somebody may have put a password into it.
                let help = "write it as postgresql://sitian@db.example:5432/sitian, and the password into registry.password_file";
                self.fault("registry.url", format!("registry.url: {why}"), help);
                None
            }
        }
    }

    /// What protects the way to the server.
    fn way(&mut self, section: &RegistrySection) -> Option<Way> {
        let RegistrySection { ca_file, certificate_file, key_file, .. } = section;
        match section.tls.as_str() {
            "verify" | "off" => {}
            word => {
                let what = format!("registry.tls: {word:?} is no way to a server");
                self.fault("registry.tls", what, "verify or off");
                return None;
            }
        }
        let unused = match (section.tls.as_str(), is_set(ca_file)) {
            ("off", true) => Some(("registry.ca_file", "registry.tls is off")),
            (_, false) if is_set(certificate_file) => {
                Some(("registry.certificate_file", "there is no TLS without registry.ca_file"))
            }
            (_, false) if is_set(key_file) => {
                Some(("registry.key_file", "there is no TLS without registry.ca_file"))
            }
            ("off", false) => return Some(Way::Plain),
            (_, false) => return Some(Way::Here),
            (_, true) => None,
        };
        if let Some((key, why)) = unused {
            self.fault(key, format!("{key}: {why}"), "remove the one, or set the other");
            return None;
        }
        let trust = Trust::authorities(&self.folder.join(ca_file));
        let trust = self.usable("registry.ca_file", trust)?;
        match (is_set(certificate_file), is_set(key_file)) {
            (false, false) => Some(Way::Verified(trust)),
            (true, true) => {
                let (certificate, key) = (self.folder.join(certificate_file), self.folder.join(key_file));
                if exposed(&key) {
                    self.warn_of(&key);
                }
                let trust = trust.as_client(&certificate, &key);
                self.usable("registry.certificate_file", trust).map(Way::Verified)
            }
            (one, _) => {
                let key = if one { "registry.certificate_file" } else { "registry.key_file" };
                let what = format!("{key}: certificate and key come together");
                self.fault(key, what, "set both registry.certificate_file and registry.key_file, or neither");
                None
            }
        }
    }

    fn usable(&mut self, key: &str, trust: Result<Trust, String>) -> Option<Trust> {
        let fault = |why| {
            self.fault(key, format!("{key}: {why}"), "check the path, its permissions and what is in it")
        };
        trust.map_err(fault).ok()
    }

    fn warn_of(&mut self, path: &Path) {
        let what = format!("{} can be read by everybody on this machine: chmod 600 it", path.display());
        self.warnings.push(what);
    }

    /// The password in a file, if there is to be one.
    #[allow(clippy::option_option)] // No password is not no answer.
    fn password(&mut self, file: &Path) -> Option<Option<String>> {
        if !is_set(file) {
            return Some(None);
        }
        let path = self.folder.join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => {
                if exposed(&path) {
                    self.warn_of(&path);
                }
                Some(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            Ok(_) => {
                let what = format!("registry.password_file: {} is empty", path.display());
                self.fault("registry.password_file", what, "put the password alone into it");
                None
            }
            Err(error) => {
                let what = format!("registry.password_file: {} cannot be read ({error})", path.display());
                self.fault("registry.password_file", what, "check path and permissions");
                None
            }
        }
    }
}

fn is_set(file: &Path) -> bool {
    !file.as_os_str().is_empty()
}

/// This ingestor's name in a registry that others share: the machine's unless it was given one.
fn member(given: &str) -> String {
    if !given.is_empty() {
        return given.to_owned();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "ingestor".to_owned() } else { name.trim().to_owned() }
}
