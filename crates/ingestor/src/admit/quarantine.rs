//! After a start, what is in quarantine is read again, a few entries after each commit, newest first: a program that was
//! upgraded may understand what the one before it did not, and an engine may take what it has refused.

use anyhow::{Context, Result, anyhow, bail};
use sitian_ingest::{Effect, Form, IncidentKind, Retry};
use sitian_model::{Entry, Timestamp};
use sitian_registry::{ListFilter, QuarantineStored};
use tracing::{debug, info};

use super::Admission;
use crate::readings::Put;

/// Entries tried between two commits: at most a megabyte of raw bytes.
const ENTRIES_AT_ONCE: usize = 16;

/// A gateway whose quarantine is full, and whose readings the engine refuses, is heard again after this time: somebody may
/// have mended the engine.
const HELD_BACK_MS: i64 = 60_000;

/// How far the quarantine has been gone through.
#[derive(Debug, Default)]
pub(super) struct Rereading {
    /// Only entries with a smaller number are left.
    before: Option<u64>,
    done: bool,
    understood: u64,
    left: u64,
}

impl Admission {
    /// Adds what the engine refused to the effects, as entries of the quarantine. `None` if a gateway's quarantine is full:
    /// then nothing is committed, and that gateway has to keep what it has for a while.
    pub(super) fn keep_aside(&mut self, put: Put, now: Timestamp) -> Option<Vec<Effect>> {
        let Put { mut effects, aside } = put;
        for entry in aside {
            let gateway = entry.gateway.clone();
            if !self.ingest.reserve(&gateway, entry.raw.len() as u64) {
                self.recover(
                    &anyhow!("keep what the engine refuses of {gateway}: its quarantine is full"),
                    now,
                );
                self.ingest.hold_back(&gateway, now.plus_ms(HELD_BACK_MS));
                self.ingest.report(IncidentKind::Quota, &gateway, now);
                return None;
            }
            self.ingest.report(IncidentKind::Quarantined, &gateway, now);
            effects.push(Effect::Quarantine(entry));
        }
        Some(effects)
    }

    /// Goes through the whole quarantine at once. Says how many entries were understood and stored, and how many were not.
    ///
    /// # Errors
    /// Registry or engine does not answer, or does not store; what was not told as stored stays in quarantine.
    pub fn reread_all(&mut self, now: Timestamp) -> Result<(u64, u64)> {
        let failures = self.board().counts.failures;
        while !self.rereading.done && !self.ending {
            self.reread_some(now)?;
            self.settle(now);
            if self.board().counts.failures > failures {
                bail!("store what was understood: the line above says why not");
            }
        }
        Ok((self.rereading.understood, self.rereading.left))
    }

    /// Tries the next few entries; what is understood is stored with the next commit.
    ///
    /// # Errors
    /// Registry or engine does not answer; the entry is tried again the next time.
    pub(super) fn reread_some(&mut self, now: Timestamp) -> Result<()> {
        if self.rereading.done || self.ingest.is_full() {
            return Ok(());
        }
        let before = self.rereading.before;
        let filter = ListFilter { gateways: None, since: None, before, limit: ENTRIES_AT_ONCE };
        let page = self.keeper.reader().quarantine(&filter).context("list the quarantine")?;
        for stored in &page {
            if stored.redecoded_at.is_none() && stored.form != Form::Rival {
                match self.reread(stored, now)? {
                    Ok(()) => self.rereading.understood += 1,
                    Err(reason) => {
                        self.rereading.left += 1;
                        debug!(id = stored.id, gateway = %stored.gateway, reason, "still not understood");
                    }
                }
            }
            self.rereading.before = Some(stored.id);
        }
        self.rereading.done = page.len() < ENTRIES_AT_ONCE;
        let Rereading { understood, left, .. } = self.rereading;
        if self.rereading.done && understood + left > 0 {
            info!(understood, left, "quarantine read again");
        }
        Ok(())
    }

    /// The inner error: the entry is still not understood, or refused.
    fn reread(&mut self, stored: &QuarantineStored, now: Timestamp) -> Result<Result<(), String>> {
        let raw =
            self.keeper.reader().quarantine_raw(stored.id).context("read an entry of the quarantine")?;
        let decode = |bytes: &[u8]| sitian_wire::decode_record(bytes).map_err(|error| error.to_string());
        let retry = match retry(stored, raw.unwrap_or_default()) {
            Ok(retry) => retry,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Some(elsewhere) = &mut self.elsewhere {
            let rows = match self.ingest.read_again(&retry, &decode, now) {
                Ok(rows) => rows,
                Err(reason) => return Ok(Err(reason)),
            };
            // What it refuses again stays one entry, and is not said to be stored.
            if let Some(why) =
                elsewhere.refuses(&rows).context("ask the engine whether it takes what it refused")?
            {
                return Ok(Err(format!("the engine still refuses it: {why}")));
            }
        }
        Ok(self.ingest.handle_retry(&retry, &decode, now))
    }

    /// Whatever was decided and not stored has to be tried again.
    pub(super) fn reread_anew(&mut self) {
        self.rereading = Rereading::default();
    }
}

/// Takes an entry apart, as far as this program understands it.
fn retry(stored: &QuarantineStored, raw: Vec<u8>) -> Result<Retry, String> {
    let (epoch, from, end) = stored.range.ok_or("it does not say what it stands for")?;
    let (first, entries, clocks) = match stored.form {
        Form::Record => (from, vec![Entry::Record(raw)], Vec::new()),
        Form::Message | Form::Rival => {
            let batch = sitian_wire::decode_batch(&raw).map_err(|error| error.to_string())?;
            if batch.epoch != epoch {
                return Err("it is of another epoch than it said".to_owned());
            }
            (batch.first, batch.entries, batch.clocks)
        }
    };
    let (id, gateway, range) = (stored.id, stored.gateway.clone(), (from, end));
    Ok(Retry { id, gateway, epoch, range, first, entries, clocks })
}
