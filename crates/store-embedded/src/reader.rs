//! Queries: each on a read-only connection of its own, so that none blocks a commit and no commit blocks it.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use rusqlite::Connection;
use sitian_alert::Episode;
use sitian_ingest::{EpochEntry, Restored, Undated};
use sitian_model::{CorrectionStored, EpochNo, GatewayId, PointNo, Row, Span};
use sitian_registry::{
    EpisodeFilter, EpochLine, GapStored, IncidentStored, ListFilter, LogLine, QuarantineCounts,
    QuarantineStored, Registry, RegistryError,
};
use sitian_series::{AggregateQuery, Cursor, Page, RangeQuery, Series, SeriesError, Window, stop};

use crate::alerts;
use crate::corrections::{self, Corrected};
use crate::fault::StoreError;
use crate::kept::Kept;
use crate::merge::Merge;
use crate::registry;
use crate::schema;
use crate::shelf;
use crate::store::Shared;
use crate::store::load;

mod windows;

/// Connections kept open between queries.
const IDLE_MAX: usize = 8;

/// A view of the store for queries. Its methods read the disk: call them where waiting is allowed.
#[derive(Debug, Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Opens a store for reading only, beside whatever process writes to it: what that one stores later in its journal is
    /// not seen.
    ///
    /// # Errors
    /// There is no store, it is not of this schema, it is damaged, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = schema::existing(path)?;
        let snapshot = connection.transaction()?;
        let head = load::load(&snapshot)?.head;
        drop(snapshot);
        Ok(Self::new(Arc::new(Shared::new(path, head))))
    }

    /// Runs a query on a connection of its own, in one snapshot of the file.
    pub(crate) fn with<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::reader(&self.shared.path)?,
        };
        let snapshot = connection.transaction()?;
        let answer = query(&snapshot);
        // Nothing was written. A connection that cannot even end its snapshot is not used again.
        if snapshot.rollback().is_ok() {
            let mut idle = self.idle();
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
        answer
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the rows of a point inside a span to `each`, in order and each once, until it says stop by returning
    /// false.
    ///
    /// The head is copied before the snapshot of the file is taken. Rows that are sealed in between are met twice and
    /// reported once; rows can never be missed, because they leave the head only after the file has them.
    fn rows(
        &self,
        point: PointNo,
        span: Span,
        mut each: impl FnMut(&Kept) -> bool,
    ) -> Result<(), StoreError> {
        if span.from >= span.to {
            return Ok(());
        }
        let (from, to) = (span.from.0, span.to.0);
        let head = self.shared.head().between(point.0, from, to);
        self.with(|connection| {
            stop::wanted().map_err(|_| StoreError::Stopped)?;
            let corrected = Corrected::between(connection, point.0, from, to)?;
            let mut each = |row: &Kept| each(&corrected.apply(*row));
            let mut merge = Merge::new(head);
            for chunk in shelf::list(connection, point.0, from, to)? {
                stop::wanted().map_err(|_| StoreError::Stopped)?;
                if !merge.drain_before(chunk.start_ms, &mut each) {
                    return Ok(());
                }
                let rows = shelf::rows(connection, point.0, chunk.id)?;
                merge.add(rows.into_iter().filter(|row| (from..to).contains(&row.at)));
            }
            merge.drain(&mut each);
            Ok(())
        })
    }
}

/// Every question in one snapshot of the file.
impl Registry for Reader {
    fn restored(&self) -> Result<Restored, RegistryError> {
        Ok(self.with(registry::restored)?)
    }

    fn newest_epochs(&self) -> Result<Vec<EpochEntry>, RegistryError> {
        Ok(self.with(registry::epochs)?)
    }

    fn epoch(&self, no: EpochNo) -> Result<Option<EpochEntry>, RegistryError> {
        Ok(self.with(|connection| registry::epoch(connection, no))?)
    }

    fn epoch_lines(&self, gateway: &GatewayId) -> Result<Vec<EpochLine>, RegistryError> {
        Ok(self.with(|connection| registry::epoch_lines(connection, gateway))?)
    }

    fn incidents(&self, filter: &ListFilter) -> Result<Vec<IncidentStored>, RegistryError> {
        Ok(self.with(|connection| registry::incidents(connection, filter))?)
    }

    fn undated(&self, point: PointNo, span: Span) -> Result<Vec<Undated>, RegistryError> {
        Ok(self.with(|connection| registry::undated(connection, point, span))?)
    }

    fn gaps(&self, filter: &ListFilter) -> Result<Vec<GapStored>, RegistryError> {
        Ok(self.with(|connection| registry::gaps(connection, filter))?)
    }

    fn quarantine(&self, filter: &ListFilter) -> Result<Vec<QuarantineStored>, RegistryError> {
        Ok(self.with(|connection| registry::quarantine(connection, filter))?)
    }

    fn quarantine_counts(&self, filter: &ListFilter) -> Result<QuarantineCounts, RegistryError> {
        Ok(self.with(|connection| registry::quarantine_counts(connection, filter))?)
    }

    fn quarantine_raw(&self, id: u64) -> Result<Option<Vec<u8>>, RegistryError> {
        Ok(self.with(|connection| registry::raw(connection, id))?)
    }

    fn episodes(&self, filter: &EpisodeFilter) -> Result<Vec<Episode>, RegistryError> {
        Ok(self.with(|connection| alerts::episodes(connection, filter))?)
    }

    fn episode(&self, id: u64) -> Result<Option<Episode>, RegistryError> {
        Ok(self.with(|connection| alerts::episode(connection, id))?)
    }

    fn alert_log_after(&self, cursor: u64, limit: usize) -> Result<Vec<LogLine>, RegistryError> {
        Ok(self.with(|connection| alerts::log_after(connection, cursor, limit))?)
    }

    fn alert_log_end(&self) -> Result<u64, RegistryError> {
        Ok(self.with(alerts::log_end)?)
    }
}

impl Series for Reader {
    fn latest(&self, points: &[PointNo]) -> Result<Vec<Option<Row>>, SeriesError> {
        let head = self.shared.head();
        Ok(points.iter().map(|point| head.latest(point.0).map(|row| row.row(*point))).collect())
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, SeriesError> {
        query.check()?;
        let after = query.after.map(|cursor| (cursor.at.0, cursor.epoch.0, cursor.seq));
        let from = query.after.map_or(query.span.from, |Cursor { at, .. }| at.max(query.span.from));
        let mut rows = Vec::new();
        let take = |row: &Kept| {
            if after.is_none_or(|after| row.key() > after) {
                rows.push(row.row(query.point));
            }
            rows.len() <= query.limit
        };
        self.rows(query.point, Span { from, ..query.span }, take).map_err(engine)?;
        Ok(Page::cut(rows, query.limit))
    }

    fn walk(
        &self,
        point: PointNo,
        span: Span,
        each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), SeriesError> {
        self.rows(point, span, |row| each(&row.row(point))).map_err(engine)
    }

    fn resting_rows(&self) -> Option<u64> {
        Some(self.shared.head().rows() as u64)
    }

    fn corrections(
        &self,
        point: PointNo,
        span: Span,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<CorrectionStored>, SeriesError> {
        self.with(|connection| corrections::list(connection, point, span, before, limit)).map_err(engine)
    }

    fn sent(&self, point: PointNo, span: Span) -> Result<Vec<Row>, SeriesError> {
        self.with(|connection| corrections::sent(connection, point, span)).map_err(engine)
    }

    fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Window>, SeriesError> {
        let head = self.shared.head().between(query.point.0, query.reach().from.0, query.reach().to.0);
        // A query that cannot be answered is no fault of the file: it is taken out of the snapshot as it is.
        self.with(|connection| Ok(windows::count(connection, query, head))).map_err(engine)?
    }
}

pub(crate) fn engine(error: StoreError) -> SeriesError {
    match error {
        StoreError::Stopped => SeriesError::Stopped,
        error => SeriesError::Engine(Box::new(error)),
    }
}
