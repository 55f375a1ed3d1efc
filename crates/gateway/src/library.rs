//! Device profiles by id: the built-in ones, and those of the user on top.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sitian_model::ConfigFault;
use sitian_profile::{Catalogue, Profile, builtin, catalogue_text};
use sitian_settings::Loaded;

use crate::settings::Settings;

/// Device profiles by id.
pub struct Library(BTreeMap<String, Arc<Profile>>);

impl Library {
    /// The profiles that are compiled in.
    pub fn builtin() -> Result<Self, Vec<ConfigFault>> {
        let catalogue = Catalogue::parse("measurements.toml", catalogue_text())?;
        let mut library = Self(BTreeMap::new());
        for (file, text) in builtin() {
            library.add(Profile::parse(file, text, &catalogue)?);
        }
        Ok(library)
    }

    /// The built-in profiles with those of the configured folder on top.
    pub fn of(loaded: &Loaded<Settings>, folder: &Path) -> Result<Self, Vec<ConfigFault>> {
        let own = &loaded.value.profiles.directory;
        let mut library = Self::builtin()?;
        if !own.as_os_str().is_empty() {
            library.add_folder(&folder.join(own))?;
        }
        Ok(library)
    }

    /// Adds every `*.toml` of a folder; a profile with the id of a built-in one takes its place.
    fn add_folder(&mut self, folder: &Path) -> Result<(), Vec<ConfigFault>> {
        let catalogue = Catalogue::parse("measurements.toml", catalogue_text())?;
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
        files.sort();
        let mut faults = Vec::new();
        for file in files {
            let parsed = sitian_settings::load_file(&file).map_err(|fault| vec![fault]);
            match parsed.and_then(|(name, text)| Profile::parse(&name, &text, &catalogue)) {
                Ok(profile) => self.add(profile),
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn add(&mut self, profile: Profile) {
        self.0.insert(profile.id.clone(), Arc::new(profile));
    }

    /// Every profile, by id.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.0.values()
    }

    /// The profile with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Profile>> {
        self.0.get(id)
    }

    /// What the user may have meant.
    pub fn nearest(&self, id: &str) -> String {
        let first = |n: usize| id.get(..n).unwrap_or(id);
        let close: Vec<&str> =
            self.0.keys().map(String::as_str).filter(|known| known.starts_with(first(5))).collect();
        if close.is_empty() {
            "`sitian-gateway profiles` lists them".to_owned()
        } else {
            format!("perhaps {}", close.join(", "))
        }
    }
}
