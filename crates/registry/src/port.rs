//! The port itself: who keeps a registry, and who asks one.

use std::error::Error;
use std::sync::Arc;

use sitian_alert::{Delta, Episode};
use sitian_ingest::{EpochEntry, Restored, Undated};
use sitian_model::{Correction, EpochNo, GatewayId, Numbers, PointNo, Span};

use crate::alerts::{EpisodeFilter, LogLine};
use crate::lists::{EpochLine, GapStored, IncidentStored, ListFilter, QuarantineCounts, QuarantineStored};
use crate::transaction::{Committed, Transaction};

/// Why a registry did not do what it was asked to, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It is away, busy or full: read back later, and acknowledge nothing until then.
    #[error(transparent)]
    Later(Box<dyn Error + Send + Sync>),
    /// Another process has taken over what this keeper kept: it ends, and nothing of its memory counts any more.
    #[error("keep the registry: {0}")]
    Fenced(String),
    /// A person has to act: trying again changes nothing.
    #[error(transparent)]
    Never(Box<dyn Error + Send + Sync>),
}

impl RegistryError {
    /// True if waiting may help.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Later(_))
    }
}

/// The write side. There is one keeper of a gateway at a time.
pub trait Keep: Send {
    /// Stores a transaction whole, or not at all; rows only where readings are kept in the same place. When it returns,
    /// everything of it survives a power cut, and every question that is asked from now on sees it. An empty one asks only
    /// whether this keeper has been replaced.
    ///
    /// # Errors
    /// The keeper is not told whether it was stored: it calls [`Self::assure`], and its memory goes back to what it then
    /// reads.
    fn commit(&mut self, transaction: &Transaction) -> Result<Committed, RegistryError>;

    /// After a commit that failed, before anything is read back: from now on nothing of it can land any more.
    ///
    /// # Errors
    /// It could not be made sure of.
    fn assure(&mut self) -> Result<(), RegistryError>;

    /// Corrects stored readings of one point, durably and all at once, where readings are kept in the same place. Returns how
    /// many of them were there.
    ///
    /// # Errors
    /// Nothing was corrected.
    fn correct(&mut self, corrections: &[Correction]) -> Result<usize, RegistryError> {
        let _ = corrections;
        Ok(0)
    }

    /// What the alert engine has to be given back after a restart.
    ///
    /// # Errors
    /// The registry does not answer.
    fn alert_memory(&self) -> Result<Delta, RegistryError>;

    /// The numbers of episodes that begin: above all that were ever given out to another keeper.
    ///
    /// # Errors
    /// The registry does not answer.
    fn episode_numbers(&self) -> Result<Numbers, RegistryError> {
        Ok(Numbers::ALL)
    }

    /// The read side of what this keeper keeps.
    fn reader(&self) -> Arc<dyn Registry>;

    /// Work that can wait until nothing else is to be done.
    ///
    /// # Errors
    /// It is left for another time, but for [`RegistryError::Fenced`].
    fn tidy(&mut self) -> Result<(), RegistryError>;

    /// The last call.
    ///
    /// # Errors
    /// Nothing is lost; the next start takes longer.
    fn close(&mut self) -> Result<(), RegistryError>;
}

/// The read side. Its methods wait: call them where waiting is allowed. Every one fails if the registry does not answer, and
/// no answer is no empty answer.
#[allow(clippy::missing_errors_doc)] // Said once, above.
pub trait Registry: Send + Sync {
    /// Everything that `ingest` needs to continue.
    fn restored(&self) -> Result<Restored, RegistryError>;

    /// The epoch that every gateway is in, with the manifest in force: the one that was seen live last, or the newest while
    /// none was. Old epochs whose manifests arrive later, after a restoration of the centre, were never seen live.
    fn newest_epochs(&self) -> Result<Vec<EpochEntry>, RegistryError>;

    /// One epoch, with its manifest.
    fn epoch(&self, no: EpochNo) -> Result<Option<EpochEntry>, RegistryError>;

    /// The epochs of a gateway in the order in which it was in them, as far as it was seen live; before them the others.
    fn epoch_lines(&self, gateway: &GatewayId) -> Result<Vec<EpochLine>, RegistryError>;

    /// Incidents, newest first.
    fn incidents(&self, filter: &ListFilter) -> Result<Vec<IncidentStored>, RegistryError>;

    /// The readings of a point whose time nobody knows and that may have been taken inside a span, oldest epoch first.
    fn undated(&self, point: PointNo, span: Span) -> Result<Vec<Undated>, RegistryError>;

    /// Committed gaps, newest first.
    fn gaps(&self, filter: &ListFilter) -> Result<Vec<GapStored>, RegistryError>;

    /// What is in quarantine, newest first.
    fn quarantine(&self, filter: &ListFilter) -> Result<Vec<QuarantineStored>, RegistryError>;

    /// How much is in quarantine; `before` and `limit` of the filter do not count.
    fn quarantine_counts(&self, filter: &ListFilter) -> Result<QuarantineCounts, RegistryError>;

    /// The bytes behind one entry of the quarantine.
    fn quarantine_raw(&self, id: u64) -> Result<Option<Vec<u8>>, RegistryError>;

    /// Episodes, newest first.
    fn episodes(&self, filter: &EpisodeFilter) -> Result<Vec<Episode>, RegistryError>;

    /// One episode.
    fn episode(&self, id: u64) -> Result<Option<Episode>, RegistryError>;

    /// The alert log behind a cursor, oldest first, at most `limit` lines. A line never appears before a cursor that was
    /// read already.
    fn alert_log_after(&self, cursor: u64, limit: usize) -> Result<Vec<LogLine>, RegistryError>;

    /// The cursor of the last line of the alert log; 0 if there is none.
    fn alert_log_end(&self) -> Result<u64, RegistryError>;
}
