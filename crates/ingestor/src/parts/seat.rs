//! Where the registry is kept, as the settings say it.

use std::path::Path;

use sitian_store_postgres::Access;

use super::Judge;
use super::engine::exposed;
use crate::keeping::Seat;

impl Judge<'_> {
    pub(super) fn seat(&mut self) -> Option<Seat> {
        let section = self.loaded.value.registry.clone();
        let set = [
            ("registry.url", !section.url.is_empty()),
            ("registry.password_file", !section.password_file.as_os_str().is_empty()),
            ("registry.member", !section.member.is_empty()),
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
            "postgresql" => {}
            kind => {
                let what = format!("registry.kind: {kind:?} is no kind of registry");
                self.fault("registry.kind", what, "embedded or postgresql");
                return None;
            }
        }
        let password = self.password(&section.password_file)?;
        match Access::new(&section.url, password.as_deref()) {
            Ok(access) => Some(Seat::Postgres { access: Box::new(access), member: member(&section.member) }),
            Err(why) => {
                // The address itself is not repeated: somebody may have put a password into it.
                let help = "write it as postgresql://sitian@db.example:5432/sitian, and the password into registry.password_file";
                self.fault("registry.url", format!("registry.url: {why}"), help);
                None
            }
        }
    }

    /// The password in a file, if there is to be one.
    #[allow(clippy::option_option)] // No password is not no answer.
    fn password(&mut self, file: &Path) -> Option<Option<String>> {
        if file.as_os_str().is_empty() {
            return Some(None);
        }
        let path = self.folder.join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => {
                if exposed(&path) {
                    let what =
                        format!("{} can be read by everybody on this machine: chmod 600 it", path.display());
                    self.warnings.push(what);
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

/// This ingestor's name in a registry that others share: the machine's unless it was given one.
fn member(given: &str) -> String {
    if !given.is_empty() {
        return given.to_owned();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "ingestor".to_owned() } else { name.trim().to_owned() }
}
