//! Questions, each in one snapshot: about the gateways of a slot where a restart asks, about all of them where people do.

use sitian_alert::Episode;
use sitian_ingest::{EpochEntry, Restored, Undated};
use sitian_model::{EpochNo, GatewayId, PointNo, Slot, Span};
use sitian_registry::{
    EpisodeFilter, EpochLine, GapStored, IncidentStored, ListFilter, LogLine, QuarantineCounts,
    QuarantineStored, Registry, RegistryError,
};

use crate::alerts;
use crate::database::Database;
use crate::registry::{answers, lists};

/// The read side.
#[derive(Debug)]
pub(crate) struct Reader {
    database: Database,
    slot: Option<Slot>,
}

impl Reader {
    pub(crate) fn new(database: Database, slot: Option<Slot>) -> Self {
        Self { database, slot }
    }
}

impl Registry for Reader {
    fn restored(&self) -> Result<Restored, RegistryError> {
        Ok(self.database.read(|sql| answers::restored(sql, self.slot))?)
    }

    fn newest_epochs(&self) -> Result<Vec<EpochEntry>, RegistryError> {
        Ok(self.database.read(|sql| answers::newest_epochs(sql, self.slot))?)
    }

    fn epoch(&self, no: EpochNo) -> Result<Option<EpochEntry>, RegistryError> {
        Ok(self.database.read(|sql| answers::epoch(sql, no))?)
    }

    fn epoch_lines(&self, gateway: &GatewayId) -> Result<Vec<EpochLine>, RegistryError> {
        Ok(self.database.read(|sql| answers::epoch_lines(sql, gateway))?)
    }

    fn incidents(&self, filter: &ListFilter) -> Result<Vec<IncidentStored>, RegistryError> {
        Ok(self.database.read(|sql| lists::incidents(sql, filter))?)
    }

    fn undated(&self, point: PointNo, span: Span) -> Result<Vec<Undated>, RegistryError> {
        Ok(self.database.read(|sql| lists::undated(sql, point, span))?)
    }

    fn gaps(&self, filter: &ListFilter) -> Result<Vec<GapStored>, RegistryError> {
        Ok(self.database.read(|sql| lists::gaps(sql, filter))?)
    }

    fn quarantine(&self, filter: &ListFilter) -> Result<Vec<QuarantineStored>, RegistryError> {
        Ok(self.database.read(|sql| lists::quarantine(sql, self.slot, filter))?)
    }

    fn quarantine_counts(&self, filter: &ListFilter) -> Result<QuarantineCounts, RegistryError> {
        Ok(self.database.read(|sql| lists::quarantine_counts(sql, filter))?)
    }

    fn quarantine_raw(&self, id: u64) -> Result<Option<Vec<u8>>, RegistryError> {
        Ok(self.database.read(|sql| lists::quarantine_raw(sql, id))?)
    }

    fn episodes(&self, filter: &EpisodeFilter) -> Result<Vec<Episode>, RegistryError> {
        Ok(self.database.read(|sql| alerts::episodes(sql, filter))?)
    }

    fn episode(&self, id: u64) -> Result<Option<Episode>, RegistryError> {
        Ok(self.database.read(|sql| alerts::episode(sql, id))?)
    }

    fn alert_log_after(&self, cursor: u64, limit: usize) -> Result<Vec<LogLine>, RegistryError> {
        Ok(self.database.read(|sql| alerts::log_after(sql, cursor, limit))?)
    }

    fn alert_log_end(&self) -> Result<u64, RegistryError> {
        Ok(self.database.read(alerts::log_end)?)
    }
}
