//! Device profiles by id: the built-in ones, and those of the user on top.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sitian_dialect::DialectProfile;
use sitian_model::ConfigFault;
use sitian_profile::{Catalogue, Profile, builtin, catalogue_text};
use sitian_settings::Loaded;

use crate::settings::Settings;

/// Device profiles by id.
#[derive(Default)]
pub struct Library {
    modbus: BTreeMap<String, Arc<Profile>>,
    dialects: BTreeMap<String, Arc<DialectProfile>>,
}

impl Library {
    /// The profiles that are compiled in.
    pub fn builtin() -> Result<Self, Vec<ConfigFault>> {
        let catalogue = Catalogue::parse("measurements.toml", catalogue_text())?;
        let mut library = Self::default();
        for (file, text) in builtin() {
            library.read(file, text, &catalogue)?;
        }
        for (file, text) in sitian_dialect::builtin() {
            library.read(file, text, &catalogue)?;
        }
        Ok(library)
    }

    /// The built-in profiles with those of the configured folder on top.
    pub fn of(loaded: &Loaded<Settings>, folder: &Path) -> Result<Self, Vec<ConfigFault>> {
        let own = &loaded.value.profiles.directory;
        let mut library = Self::builtin()?;
        if !own.as_os_str().is_empty() {
            library.add(&Self::texts(&folder.join(own))?)?;
        }
        Ok(library)
    }

    /// Name and text of every `*.toml` of a folder.
    pub fn texts(folder: &Path) -> Result<Vec<(String, String)>, Vec<ConfigFault>> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
        files.sort();
        let (mut texts, mut faults) = (Vec::new(), Vec::new());
        for file in files {
            match sitian_settings::load_file(&file) {
                Ok(text) => texts.push(text),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(texts) } else { Err(faults) }
    }

    /// Adds the profiles of these files; one with the id of a built-in one takes its place.
    pub fn add(&mut self, texts: &[(String, String)]) -> Result<(), Vec<ConfigFault>> {
        let catalogue = Catalogue::parse("measurements.toml", catalogue_text())?;
        let mut faults = Vec::new();
        for (name, text) in texts {
            faults.extend(self.read(name, text, &catalogue).err().into_iter().flatten());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn read(&mut self, file: &str, text: &str, catalogue: &Catalogue) -> Result<(), Vec<ConfigFault>> {
        if DialectProfile::is_meant(text) {
            let profile = DialectProfile::parse(file, text, catalogue)?;
            self.dialects.insert(profile.id.clone(), Arc::new(profile));
        } else {
            let profile = Profile::parse(file, text, catalogue)?;
            self.modbus.insert(profile.id.clone(), Arc::new(profile));
        }
        Ok(())
    }

    /// The profile of a sensor without Modbus with this id.
    pub fn dialect(&self, id: &str) -> Option<&Arc<DialectProfile>> {
        self.dialects.get(id)
    }

    /// Every profile of a sensor without Modbus, by id.
    pub fn dialects(&self) -> impl Iterator<Item = &Arc<DialectProfile>> {
        self.dialects.values()
    }

    /// Every profile, by id.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.modbus.values()
    }

    /// The profile with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Profile>> {
        self.modbus.get(id)
    }

    /// What the user may have meant.
    pub fn nearest(&self, id: &str) -> String {
        if let Some(profile) = self.dialects.get(id) {
            return format!(
                "it speaks no Modbus: put the device on a bus of kind = {:?}",
                profile.dialect.word().word()
            );
        }
        let first = |n: usize| id.get(..n).unwrap_or(id);
        let close: Vec<&str> =
            self.modbus.keys().map(String::as_str).filter(|known| known.starts_with(first(5))).collect();
        if close.is_empty() {
            "`sitian-gateway profiles` lists them".to_owned()
        } else {
            format!("perhaps {}", close.join(", "))
        }
    }
}
