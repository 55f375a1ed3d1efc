//! Queries: each on a read-only connection of its own, so that none blocks a commit and no commit blocks it.

use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, params};
use sitian_alert::Episode;
use sitian_ingest::{EpochEntry, Restored};
use sitian_model::{PointNo, Row, Span, Timestamp};
use sitian_series::{AggregateQuery, Cursor, Page, RangeQuery, Series, SeriesError, Window, WindowFold};

use crate::alerts::{self, EpisodeFilter, LogLine};
use crate::chunk::{self, SPAN_MS_MAX};
use crate::fault::StoreError;
use crate::kept::Kept;
use crate::merge::Merge;
use crate::registry::{self, GapStored, IncidentStored, ListFilter, QuarantineStored};
use crate::schema;
use crate::store::Shared;

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

    /// Everything that `ingest` needs to continue.
    ///
    /// # Errors
    /// The file is damaged or the disk refuses; so for every method here.
    pub fn restored(&self) -> Result<Restored, StoreError> {
        self.with(registry::restored)
    }

    /// The newest epoch of every gateway, with the manifest in force.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn newest_epochs(&self) -> Result<Vec<EpochEntry>, StoreError> {
        self.with(registry::epochs)
    }

    /// Incidents, newest first.
    ///
    /// # Errors
    /// As [`Self::restored`].
    pub fn incidents(&self, filter: &ListFilter) -> Result<Vec<IncidentStored>, StoreError> {
        self.with(|connection| registry::incidents(connection, filter))
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

    /// Hands the rows of a point from `from` up to `to` (excluded) to `each`, in order and each once, until it says
    /// stop by returning false.
    ///
    /// The head is copied before the snapshot of the file is taken. Rows that are sealed in between are met twice and
    /// reported once; rows can never be missed, because they leave the head only after the file has them.
    fn rows(
        &self,
        point: PointNo,
        span: Span,
        mut each: impl FnMut(&Kept) -> bool,
    ) -> Result<(), StoreError> {
        let Span { from, to } = span;
        if from >= to {
            return Ok(());
        }
        let head = self.shared.head().between(point.0, from.0, to.0);
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, start_ms, body FROM chunk
                 WHERE point = ?1 AND start_ms >= ?2 AND start_ms < ?3 AND end_ms >= ?4 ORDER BY start_ms",
            )?;
            let reach = from.0.saturating_sub(SPAN_MS_MAX);
            let mut lines = statement.query(params![point.0, reach, to.0, from.0])?;
            let mut merge = Merge::new(head);
            while let Some(line) = lines.next()? {
                let (id, start_ms): (i64, i64) = (line.get(0)?, line.get(1)?);
                if !merge.drain_before(start_ms, &mut each) {
                    return Ok(());
                }
                let rows = chunk::decode(line.get_ref(2)?.as_blob().unwrap_or_default())
                    .map_err(|e| StoreError::damaged(format!("chunk {id} of point {}: {e}", point.0)))?;
                merge.add(rows.into_iter().filter(|row| (from.0..to.0).contains(&row.at)));
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
        let mut fold = WindowFold::new(query)?;
        let count = |row: &Kept| {
            fold.observe(Timestamp(row.at), row.value(), row.quality());
            true
        };
        self.rows(query.point, query.reach(), count).map_err(engine)?;
        Ok(fold.finish()?)
    }
}

fn engine(error: StoreError) -> SeriesError {
    SeriesError::Engine(Box::new(error))
}
