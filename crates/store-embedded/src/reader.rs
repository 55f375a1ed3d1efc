//! Queries: each on a read-only connection of its own, so that none blocks a commit and no commit blocks it.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use rusqlite::Connection;
use sitian_alert::Episode;
use sitian_ingest::{EpochEntry, Restored, Undated};
use sitian_model::{EpochNo, GatewayId, PointNo, Row, Span};
use sitian_series::{AggregateQuery, Cursor, Page, RangeQuery, Series, SeriesError, Window};

use crate::alerts::{self, EpisodeFilter, LogLine};
use crate::corrections::{self, Corrected, CorrectionStored};
use crate::fault::StoreError;
use crate::kept::Kept;
use crate::merge::Merge;
use crate::registry::{
    self, EpochLine, GapStored, IncidentStored, ListFilter, QuarantineCounts, QuarantineStored,
};
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

    /// Everything that `ingest` needs to continue.
    ///
    /// # Errors
    /// The file is damaged or the disk refuses; so for every method here.
    pub fn restored(&self) -> Result<Restored, StoreError> {
        self.with(registry::restored)
    }

    /// The epoch that every gateway is in, with the manifest in force: the one that was seen live last.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn newest_epochs(&self) -> Result<Vec<EpochEntry>, StoreError> {
        self.with(registry::epochs)
    }

    /// One epoch, with its manifest.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn epoch(&self, no: EpochNo) -> Result<Option<EpochEntry>, StoreError> {
        self.with(|connection| registry::epoch(connection, no))
    }

    /// The epochs of a gateway in the order in which it was in them, as far as it was seen live; before them the others.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn epoch_lines(&self, gateway: &GatewayId) -> Result<Vec<EpochLine>, StoreError> {
        self.with(|connection| registry::epoch_lines(connection, gateway))
    }

    /// Incidents, newest first.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn incidents(&self, filter: &ListFilter) -> Result<Vec<IncidentStored>, StoreError> {
        self.with(|connection| registry::incidents(connection, filter))
    }

    /// The readings of a point whose time nobody knows and that may have been taken inside a span, oldest epoch first.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn undated(&self, point: PointNo, span: Span) -> Result<Vec<Undated>, StoreError> {
        self.with(|connection| registry::undated(connection, point, span))
    }

    /// Committed gaps, newest first.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn gaps(&self, filter: &ListFilter) -> Result<Vec<GapStored>, StoreError> {
        self.with(|connection| registry::gaps(connection, filter))
    }

    /// What is in quarantine, newest first.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn quarantine(&self, filter: &ListFilter) -> Result<Vec<QuarantineStored>, StoreError> {
        self.with(|connection| registry::quarantine(connection, filter))
    }

    /// How much is in quarantine; `before` and `limit` of the filter do not count.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn quarantine_counts(&self, filter: &ListFilter) -> Result<QuarantineCounts, StoreError> {
        self.with(|connection| registry::quarantine_counts(connection, filter))
    }

    /// The bytes behind one entry of the quarantine.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn quarantine_raw(&self, id: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|connection| registry::raw(connection, id))
    }

    /// Episodes, newest first.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn episodes(&self, filter: &EpisodeFilter) -> Result<Vec<Episode>, StoreError> {
        self.with(|connection| alerts::episodes(connection, filter))
    }

    /// One episode.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn episode(&self, id: u64) -> Result<Option<Episode>, StoreError> {
        self.with(|connection| alerts::episode(connection, id))
    }

    /// The alert log behind a cursor, oldest first, at most `limit` lines.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn alert_log_after(&self, cursor: u64, limit: usize) -> Result<Vec<LogLine>, StoreError> {
        self.with(|connection| alerts::log_after(connection, cursor, limit))
    }

    /// The cursor of the last line of the alert log; 0 if there is none.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn alert_log_end(&self) -> Result<u64, StoreError> {
        self.with(alerts::log_end)
    }

    /// Runs a query on a connection of its own, in one snapshot of the file.
    fn with<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
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

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Corrections of a point's rows in a span, oldest first, with what the rows said before.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn corrections(&self, point: PointNo, span: Span) -> Result<Vec<CorrectionStored>, StoreError> {
        self.with(|connection| corrections::list(connection, point, span.from.0, span.to.0))
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
            let corrected = Corrected::between(connection, point.0, from, to)?;
            let mut each = |row: &Kept| each(&corrected.apply(*row));
            let mut merge = Merge::new(head);
            for chunk in shelf::list(connection, point.0, from, to)? {
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

    fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Window>, SeriesError> {
        let head = self.shared.head().between(query.point.0, query.reach().from.0, query.reach().to.0);
        // A query that cannot be answered is no fault of the file: it is taken out of the snapshot as it is.
        self.with(|connection| Ok(windows::count(connection, query, head))).map_err(engine)?
    }
}

pub(crate) fn engine(error: StoreError) -> SeriesError {
    SeriesError::Engine(Box::new(error))
}
