//! Aggregates: from the hours of chunks wherever a whole hour falls into a window, from rows elsewhere.
//!
//! ```text
//!  windows   ├───────┼───────┼───────┼───────┼───────┤
//!  chunks    [ hours: 4 5 6 7 ][8 9 …    ]   [ 14 …  ]      alone in their time: hours count, nothing is read
//!  late rows             ·· ·                ▪              what shares its time with others is read and merged
//!  faded     [ 1 2 3 ]                                      hours or days are all there is
//! ```

use rusqlite::Connection;
use sitian_model::{PointNo, Timestamp};
use sitian_series::{AggregateQuery, QueryFault, SeriesError, Window, WindowFold, stop};

use super::engine;
use crate::corrections::Corrected;
use crate::fault::StoreError;
use crate::hours::HOUR_MS;
use crate::kept::Kept;
use crate::merge::Merge;
use crate::shelf::{self, Chunk};

/// Answers a query from the head's rows (in order) and one snapshot of the file.
pub(super) fn count(
    connection: &Connection,
    query: &AggregateQuery,
    head: Vec<Kept>,
) -> Result<Vec<Window>, SeriesError> {
    let (point, fold, reach) = (query.point, WindowFold::new(query)?, query.reach());
    let (from, to) = (reach.from.0, reach.to.0);
    let corrected = Corrected::between(connection, point.0, from, to).map_err(engine)?;
    let mut count = Count { connection, point, from, to, query, corrected, fold };
    if count.from < count.to {
        count.all(head)?;
    }
    Ok(count.fold.finish()?)
}

struct Count<'a> {
    connection: &'a Connection,
    point: PointNo,
    from: i64,
    to: i64,
    query: &'a AggregateQuery,
    corrected: Corrected,
    fold: WindowFold,
}

/// What shares its time: a chunk alone, or chunks, faded windows and rows of the head that have to be merged.
#[derive(Debug, Default)]
struct Cluster {
    chunks: Vec<Chunk>,
    faded: Vec<Window>,
    rows: Vec<Kept>,
    end_ms: Option<i64>,
}

/// One thing on the way through time.
enum Piece {
    Chunk(Chunk),
    Faded(Window),
    Row(Kept),
}

impl Piece {
    fn start_ms(&self) -> i64 {
        match self {
            Self::Chunk(chunk) => chunk.start_ms,
            Self::Faded(window) => window.from.0,
            Self::Row(row) => row.at,
        }
    }

    /// The last moment of it.
    fn end_ms(&self) -> i64 {
        match self {
            Self::Chunk(chunk) => chunk.end_ms,
            Self::Faded(window) => window.to.0 - 1,
            Self::Row(row) => row.at,
        }
    }
}

impl Count<'_> {
    fn all(&mut self, head: Vec<Kept>) -> Result<(), SeriesError> {
        let chunks = shelf::list(self.connection, self.point.0, self.from, self.to).map_err(engine)?;
        let faded = shelf::faded(self.connection, self.point.0, self.from, self.to).map_err(engine)?;
        let faded: Vec<Window> = faded.into_iter().flat_map(|faded| faded.windows).collect();
        let mut pieces: Vec<Piece> = chunks.into_iter().map(Piece::Chunk).collect();
        pieces.extend(faded.into_iter().map(Piece::Faded));
        pieces.extend(head.into_iter().map(Piece::Row));
        // Stable: rows of the head stay in their order.
        pieces.sort_by_key(Piece::start_ms);
        let mut open = Cluster::default();
        for piece in pieces {
            if open.end_ms.is_some_and(|end| piece.start_ms() > end) {
                self.cluster(std::mem::take(&mut open))?;
            }
            open.end_ms = open.end_ms.max(Some(piece.end_ms()));
            match piece {
                Piece::Chunk(chunk) => open.chunks.push(chunk),
                Piece::Faded(window) => open.faded.push(window),
                Piece::Row(row) => open.rows.push(row),
            }
        }
        self.cluster(open)
    }

    fn cluster(&mut self, cluster: Cluster) -> Result<(), SeriesError> {
        stop::wanted()?;
        if let ([chunk], [], []) = (&cluster.chunks[..], &cluster.faded[..], &cluster.rows[..])
            && self.by_hours(*chunk).map_err(engine)?
        {
            return Ok(());
        }
        for window in &cluster.faded {
            self.faded(window)?;
        }
        self.merged(cluster).map_err(engine)
    }

    /// Counts a chunk by its hours, reading its rows only where an hour does not suffice. False if it has none.
    fn by_hours(&mut self, chunk: Chunk) -> Result<bool, StoreError> {
        if self.query.extras.need_rows() {
            return Ok(false);
        }
        let Some(hours) = shelf::hours(self.connection, self.point.0, chunk.id)? else { return Ok(false) };
        let mut rows = None;
        for hour in &hours {
            if hour.to.0 <= self.from || hour.from.0 >= self.to || self.fold.observe_part(hour) {
                continue;
            }
            if rows.is_none() {
                rows = Some(shelf::rows(self.connection, self.point.0, chunk.id)?);
            }
            let rows: &[Kept] = rows.as_deref().unwrap_or_default();
            let start = rows.partition_point(|row| row.at < hour.from.0.max(self.from));
            let end = rows.partition_point(|row| row.at < hour.to.0.min(self.to));
            for row in &rows[start..end.max(start)] {
                observe(&mut self.fold, &self.corrected.apply(*row));
            }
        }
        Ok(true)
    }

    /// Counts a faded window, if it lies in the span. One that the windows asked for would cut is refused.
    fn faded(&mut self, window: &Window) -> Result<(), SeriesError> {
        let inside = window.from >= self.query.span.from && window.to <= self.query.span.to;
        if !inside || self.fold.observe_part(window) {
            return Ok(());
        }
        let step_h = (window.to.0 - window.from.0) / HOUR_MS;
        Err(QueryFault::Faded { step_h }.into())
    }

    fn merged(&mut self, cluster: Cluster) -> Result<(), StoreError> {
        let (from, to) = (self.from, self.to);
        let mut merge = Merge::new(cluster.rows);
        let (fold, corrected) = (&mut self.fold, &self.corrected);
        let mut each = |row: &Kept| {
            observe(fold, &corrected.apply(*row));
            true
        };
        for chunk in cluster.chunks {
            stop::wanted().map_err(|_| StoreError::Stopped)?;
            merge.drain_before(chunk.start_ms, &mut each);
            let rows = shelf::rows(self.connection, self.point.0, chunk.id)?;
            merge.add(rows.into_iter().filter(|row| (from..to).contains(&row.at)));
        }
        merge.drain(&mut each);
        Ok(())
    }
}

fn observe(fold: &mut WindowFold, row: &Kept) {
    fold.observe(Timestamp(row.at), row.value(), row.quality());
}
