//! One configuration as a whole: what the files say, judged, and the copy of the last one that was good.
//!
//! The copy holds the text of the file and of the user's own profiles, since either can be broken. It stands where no
//! configuration decides: in the folder that the service manager gives (`STATE_DIRECTORY`), or beside the file itself.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sitian_settings::{Faults, Loaded, load_file};
use tracing::warn;

use crate::library::Library;
use crate::plan::Plan;
use crate::settings::{Settings, Source};

/// A broker's password may stand in it.
const MODE: u32 = 0o600;

/// What the files say, judged.
pub struct Configuration {
    /// The settings.
    pub loaded: Loaded<Settings>,
    /// What follows from them.
    pub plan: Plan,
    texts: Texts,
}

#[derive(Clone, Serialize, Deserialize)]
struct Texts {
    configuration: (String, String),
    profiles: Vec<(String, String)>,
}

impl Configuration {
    /// Reads and judges what the files say now.
    pub fn read(source: &Source) -> Result<Self, Faults> {
        let configuration = load_file(&source.config).map_err(|fault| Faults(vec![fault]))?;
        let loaded = source.load_text(&configuration.0, &configuration.1)?;
        let own = &loaded.value.profiles.directory;
        let folder = source.folder().join(own);
        if own.as_os_str().is_empty() || !folder.is_dir() {
            let plan = Plan::make(&loaded, source.folder()).map_err(Faults)?;
            return Ok(Self { loaded, plan, texts: Texts { configuration, profiles: Vec::new() } });
        }
        let profiles = Library::texts(&folder).map_err(Faults)?;
        let plan = Plan::make_with(&loaded, source.folder(), &profiles).map_err(Faults)?;
        Ok(Self { loaded, plan, texts: Texts { configuration, profiles } })
    }

    /// The last one that was good, if there is a copy, and it is still good together with flags and environment.
    pub fn last_good(source: &Source) -> Option<Self> {
        let texts: Texts = serde_json::from_slice(&fs::read(copy(source)).ok()?).ok()?;
        let loaded = source.load_text(&texts.configuration.0, &texts.configuration.1).ok()?;
        let plan = Plan::make_with(&loaded, source.folder(), &texts.profiles).ok()?;
        Some(Self { loaded, plan, texts })
    }

    /// Makes this the last good one, whole or not at all. That it cannot be kept is told, and changes nothing today.
    pub fn keep(&self, source: &Source) {
        let copy = copy(source);
        let Ok(text) = serde_json::to_vec_pretty(&self.texts) else { return };
        if fs::read(&copy).is_ok_and(|kept| kept == text) {
            return;
        }
        let new = copy.with_extension("good-new");
        let write = || {
            let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&new)?;
            out.write_all(&text)?;
            out.sync_all()?;
            fs::rename(&new, &copy)?;
            copy.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        if let Err(error) = write() {
            let copy = copy.display();
            warn!(%copy, %error, "the last good configuration is not kept: a faulty file will prevent a start");
        }
    }
}

fn copy(source: &Source) -> PathBuf {
    let given = std::env::var_os("STATE_DIRECTORY").filter(|folder| !folder.is_empty());
    let folder = given.map_or_else(
        || match source.folder() {
            beside if beside.as_os_str().is_empty() => PathBuf::from("."),
            beside => beside.to_owned(),
        },
        PathBuf::from,
    );
    let mut name = source.config.file_name().unwrap_or_default().to_owned();
    name.push(".good");
    folder.join(name)
}
