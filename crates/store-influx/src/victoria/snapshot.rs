//! Snapshots are asked for because they bring everything to the disk, and are of no use themselves. One that stays holds on
//! to files that the server would otherwise give back: so one that could not be removed is removed later, one whose name the
//! server was too slow to say with the next that comes, and one that a kill left behind at the next start.
//!
//! ```text
//!  note: from when ─► create ─► delete ─► note removed
//!                  │         └ no answer: the server makes it all the same, some time before the next one that it answers
//!                  │           for; then what was made in between is removed
//!                  └ killed: the next start finds the note, and removes what was made within a minute of it
//! ```
//!
//! Nothing tells our snapshots from others': what somebody else makes in such a minute goes with ours. But none that the server is
//! still making: it ends when one of those is removed. It makes one at a time, so that all with lesser names than the one that it
//! has just made for us are whole.
//!
//! One snapshot serves everybody who had written before it began: writers that come while one is made share the next.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::engine::now_ms;
use crate::fault::EngineError;
use crate::moment::milliseconds;
use crate::server::Server;
use crate::victoria::turns::Turns;

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
    left: Mutex<Left>,
    turns: Turns,
}

/// What of ours is still on the server, as far as is known.
#[derive(Debug, Default)]
struct Left {
    /// Those that could not be removed.
    names: Vec<String>,
    /// When the first was asked for whose name nobody has heard.
    unheard_ms: Option<i64>,
}

impl Snapshots {
    pub(super) fn new(server: Server, note: Option<PathBuf>) -> Self {
        Self { server, note, left: Mutex::default(), turns: Turns::default() }
    }

    /// Takes the first snapshot, and removes what a kill has left behind.
    pub(super) fn begin(&self) -> Result<(), EngineError> {
        let noted = self.noted();
        let own = self.make()?;
        if let Some((first_ms, last_ms)) = noted {
            self.sweep(first_ms..last_ms, &own)?;
        }
        self.forget();
        Ok(())
    }

    /// When the first and the last were asked for that may still be there.
    fn noted(&self) -> Option<(i64, i64)> {
        let text = std::fs::read_to_string(self.note.as_ref()?).ok()?;
        let mut asked = text.split_whitespace().map_while(|ms| ms.parse().ok());
        let first_ms = asked.next()?;
        Some((first_ms, asked.last().unwrap_or(first_ms)))
    }

    /// Removes what was made between two moments of this clock, and within a minute of them, before `own`.
    fn sweep(&self, asked_ms: Range<i64>, own: &str) -> Result<(), EngineError> {
        let server = &self.server;
        let list: List = serde_json::from_str(&server.get("/snapshot/list")?)
            .map_err(|error| server.nonsense(format!("its list of snapshots: {error}")))?;
        let span = asked_ms.start - APART_MS..=asked_ms.end + APART_MS;
        let ours = |name: &String| {
            name.as_str() < own && made_ms(name).is_some_and(|made_ms| span.contains(&made_ms))
        };
        for name in list.snapshots.into_iter().filter(ours) {
            tracing::info!(snapshot = name, "a snapshot that was left behind is removed from the engine");
            self.remove(name);
        }
        Ok(())
    }

    /// Returns when everything that was written before is on the server's disk.
    pub(super) fn take(&self) -> Result<(), EngineError> {
        self.turns.take(|| {
            self.make()?;
            self.forget();
            Ok(())
        })
    }

    /// Makes one and removes it, with what is left of earlier ones. Returns its name.
    fn make(&self) -> Result<String, EngineError> {
        let asked_ms = now_ms();
        self.remember(asked_ms);
        let own = self.create().inspect_err(|_| {
            self.left().unheard_ms.get_or_insert(asked_ms);
        })?;
        let before = std::mem::take(&mut *self.left());
        before.names.into_iter().chain([own.clone()]).for_each(|name| self.remove(name));
        // The server makes one after the other: all that was asked for before is there now.
        if let Some(first_ms) = before.unheard_ms
            && let Err(error) = self.sweep(first_ms..now_ms(), &own)
        {
            tracing::warn!(%error, "snapshots stay on the engine for now");
            self.left().unheard_ms = before.unheard_ms;
        }
        Ok(own)
    }

    fn create(&self) -> Result<String, EngineError> {
        let text = self.server.get("/snapshot/create")?;
        let made: Made = serde_json::from_str(&text)
            .map_err(|error| self.server.nonsense(format!("a snapshot: {error}")))?;
        made.snapshot.ok_or_else(|| self.server.busy(200, &made.msg.unwrap_or(text)))
    }

    fn remove(&self, name: String) {
        if let Err(error) = self.server.get(&format!("/snapshot/delete?snapshot={name}")) {
            tracing::warn!(%error, snapshot = name, "a snapshot stays on the engine for now");
            self.left().names.push(name);
        }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, asked_ms: i64) {
        let Some(note) = &self.note else { return };
        let first_ms = self.noted().map_or(asked_ms, |(first_ms, _)| first_ms);
        if let Err(error) = std::fs::write(note, format!("{first_ms} {asked_ms}")) {
            tracing::warn!(%error, note = %note.display(), "a snapshot is not noted; a kill may leave it behind");
        }
    }

    fn forget(&self) {
        let left = self.left();
        if left.names.is_empty()
            && left.unheard_ms.is_none()
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
