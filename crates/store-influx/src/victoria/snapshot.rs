//! Snapshots are asked for because they bring everything to the disk, and are of no use themselves. One that stays holds on
//! to files that the server would otherwise give back: so one that could not be removed is removed later, and one that a kill
//! left behind at the next start. Other people's snapshots stay.
//!
//! ```text
//!  note: from when ─► create ─► delete ─► note removed
//!                  └ killed: the next start finds the note, and removes what was made since then and within a minute
//! ```

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::engine::now_ms;
use crate::fault::EngineError;
use crate::moment::milliseconds;
use crate::server::Server;

/// How far apart a snapshot's name and the note may lie: the server has a clock of its own, and may take its time.
const APART_MS: i64 = 60_000;

#[derive(Deserialize)]
struct Made {
    snapshot: Option<String>,
    msg: Option<String>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    snapshots: Vec<String>,
}

/// Asks for snapshots and clears them away.
#[derive(Debug)]
pub(super) struct Snapshots {
    server: Server,
    /// A file that is there while one of ours is on the server; without one nothing is remembered over a kill.
    note: Option<PathBuf>,
    /// Those that could not be removed so far.
    left: Mutex<Vec<String>>,
}

impl Snapshots {
    pub(super) fn new(server: Server, note: Option<PathBuf>) -> Self {
        Self { server, note, left: Mutex::default() }
    }

    /// Removes what a kill has left behind.
    pub(super) fn clear(&self) -> Result<(), EngineError> {
        let Some(note) = &self.note else { return Ok(()) };
        let text = std::fs::read_to_string(note).unwrap_or_default();
        let Ok(asked_ms) = text.trim().parse::<i64>() else { return Ok(()) };
        let server = &self.server;
        let list: List = serde_json::from_str(&server.get("/snapshot/list")?)
            .map_err(|error| server.nonsense(format!("its list of snapshots: {error}")))?;
        let ours =
            |name: &String| made_ms(name).is_some_and(|made_ms| (made_ms - asked_ms).abs() <= APART_MS);
        for name in list.snapshots.into_iter().filter(ours) {
            tracing::info!(snapshot = name, "a snapshot that was left behind is removed from the engine");
            self.remove(name);
        }
        self.forget();
        Ok(())
    }

    /// Returns when everything that was written before is on the server's disk.
    pub(super) fn take(&self) -> Result<(), EngineError> {
        self.remember();
        let text = self.server.get("/snapshot/create")?;
        let made: Made = serde_json::from_str(&text)
            .map_err(|error| self.server.nonsense(format!("a snapshot: {error}")))?;
        let Some(name) = made.snapshot else {
            return Err(self.server.busy(200, &made.msg.unwrap_or(text)));
        };
        let before = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        before.into_iter().chain([name]).for_each(|name| self.remove(name));
        self.forget();
        Ok(())
    }

    fn remove(&self, name: String) {
        if let Err(error) = self.server.get(&format!("/snapshot/delete?snapshot={name}")) {
            tracing::warn!(%error, snapshot = name, "a snapshot stays on the engine for now");
            self.left.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        }
    }

    /// The note of an earlier one stays if that one does.
    fn remember(&self) {
        if let Some(note) = self.note.as_ref().filter(|note| !note.exists())
            && let Err(error) = std::fs::write(note, now_ms().to_string())
        {
            tracing::warn!(%error, note = %note.display(), "a snapshot is not noted; a kill may leave it behind");
        }
    }

    fn forget(&self) {
        if self.left.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
            && let Some(note) = &self.note
        {
            // One that stays is looked at by the next start, and nothing comes of it.
            let _ = std::fs::remove_file(note);
        }
    }
}

/// When a snapshot was made: its name begins with that moment, such as `20241004000000-16C1DDB61673BA11`.
fn made_ms(name: &str) -> Option<i64> {
    let digits = name.get(..14).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let part = |from: usize, to: usize| &digits[from..to];
    let (date, time) = ((part(0, 4), part(4, 6), part(6, 8)), (part(8, 10), part(10, 12), part(12, 14)));
    milliseconds(&format!("{}-{}-{}T{}:{}:{}Z", date.0, date.1, date.2, time.0, time.1, time.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshots_name_says_when_it_was_made() {
        for (name, ms) in [
            ("20241004000000-16C1DDB61673BA11", Some(1_728_000_000_000)),
            ("20240229120000-0", Some(1_709_208_000_000)),
            ("2024100400000-16C1", None),
            ("backup", None),
            ("", None),
        ] {
            assert_eq!(made_ms(name), ms, "{name}");
        }
    }
}
