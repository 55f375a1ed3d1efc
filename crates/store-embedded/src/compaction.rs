//! Compaction: joins the small chunks that sealing leaves into large ones, beside commits and queries, and lets fade
//! what is kept no longer. One step at a time, so that its caller decides when and how often.
//!
//! ```text
//!  sealed:      ▪▪▪▪▪▪▪▪ ▪▪▪▪▪▪▪▪ ▪▪▪       a chunk of a point for every sealing
//!  eight of a size: ■■■ join ■■■■■■■■        each row is rewritten about three times in its life
//!  full:        ██████████ ██████████        what makes 8,192 rows is joined; left alone from 4,096 rows on, until late
//!                                            rows overlap them
//!  faded:       hours only, then days only   as retention says
//! ```
//!
//! A step reads and compresses while others write, and then replaces old chunks by new ones in one transaction that is
//! not synced by itself: after a power cut the old ones are there, or the new ones, never both and never none. Memory
//! does not grow with what is joined: chunks are read one behind the other, at most [`chunk::ROWS_MAX`] rows and what
//! overlaps at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sitian_model::Timestamp;
use sitian_series::Retention;

use crate::chunk::{self, Effort};
use crate::corrections::Corrected;
use crate::fault::StoreError;
use crate::kept::Kept;
use crate::merge::Merge;
use crate::schema;
use crate::shelf::{self, Chunk, Prepared};
use crate::store::Shared;

mod fading;
mod plan;
#[cfg(test)]
mod tests;

/// Small chunks of a point from which on it is looked at.
const SMALL_MIN: u32 = plan::JOIN_MIN as u32;
/// What `PRAGMA auto_vacuum` answers where pages can be given back.
const INCREMENTAL: i64 = 2;
/// Free pages that are always kept (4 KiB each).
const FREE_PAGES_MIN: i64 = 1_024;
/// Pages given back in one step.
const SHRINK_PAGES: u32 = 512;
/// Chunks that get their hours in one step.
const HOURS_AT_ONCE: u32 = 16;

/// Joins chunks and lets them fade, on a connection of its own. One per store; it may live on another thread.
#[derive(Debug)]
pub struct Compactor {
    connection: Connection,
    shared: Arc<Shared>,
    retention: Retention,
    /// Points to look at.
    due: VecDeque<u32>,
    /// Points with that many small chunks were looked at, and nothing could be joined.
    settled: HashMap<u32, u32>,
    /// Chunks behind this number may lack hours; `None` once none does.
    without_hours: Option<i64>,
    fading: fading::Round,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Chunks were joined: so many became so many.
    Joined {
        /// Chunks before.
        from: usize,
        /// Chunks after.
        to: usize,
    },
    /// Chunks that an older release has written got their hours.
    Rolled,
    /// Rows, or hours, of a point became coarser or were forgotten.
    Faded,
    /// Free pages went back to the disk.
    Shrunk,
    /// There is nothing to do now.
    Idle,
}

impl Compactor {
    pub(crate) fn new(shared: Arc<Shared>, retention: Retention) -> Result<Self, StoreError> {
        let connection = schema::second_writer(&shared.path)?;
        let given: Option<i64> = connection
            .query_row("SELECT value FROM meta WHERE key = 'hours_given'", [], |line| line.get(0))
            .optional()?;
        Ok(Self {
            connection,
            shared,
            retention,
            due: VecDeque::new(),
            settled: HashMap::new(),
            without_hours: if given.is_some() { None } else { Some(0) },
            fading: fading::Round::default(),
        })
    }

    /// Does the next piece of work, if there is any: that of one point.
    ///
    /// # Errors
    /// The file is damaged or the disk refuses; what was there is still there.
    pub fn step(&mut self, now: Timestamp) -> Result<Progress, StoreError> {
        if self.give_hours()? {
            return Ok(Progress::Rolled);
        }
        if self.due.is_empty() {
            self.due = self.points_due()?.into();
        }
        while let Some(point) = self.due.front().copied() {
            match self.join(point)? {
                Join::Done { from, to } => return Ok(Progress::Joined { from, to }),
                Join::Nothing { small } => {
                    self.due.pop_front();
                    self.settled.insert(point, small);
                }
            }
        }
        if self.fade(now)? {
            return Ok(Progress::Faded);
        }
        if self.shrink()? { Ok(Progress::Shrunk) } else { Ok(Progress::Idle) }
    }

    /// Gives some free pages back to the disk, if there are more than the next sealing will use. Files of releases
    /// before schema 2 keep theirs: what is free is used again.
    fn shrink(&mut self) -> Result<bool, StoreError> {
        let read = |pragma| self.connection.query_row(pragma, [], |line| line.get::<_, i64>(0));
        let (mode, pages, free) =
            (read("PRAGMA auto_vacuum")?, read("PRAGMA page_count")?, read("PRAGMA freelist_count")?);
        if mode != INCREMENTAL || free <= FREE_PAGES_MIN.max(pages / 50) {
            return Ok(false);
        }
        let _turn = self.shared.turn();
        let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({SHRINK_PAGES})"))?;
        // Every line that is fetched gives back one page.
        let mut pages = statement.query([])?;
        while pages.next()?.is_some() {}
        Ok(true)
    }

    /// Gives hours to some chunks that have none: those that an older release has written. True if there may be more.
    fn give_hours(&mut self) -> Result<bool, StoreError> {
        let Some(after) = self.without_hours else { return Ok(false) };
        let mut statement = self.connection.prepare_cached(
            "SELECT id, point FROM chunk WHERE id > ?1 AND good + uncertain + bad >= ?2
             AND NOT EXISTS (SELECT 1 FROM hours WHERE chunk = chunk.id) ORDER BY id LIMIT ?3",
        )?;
        let lines = statement.query_map(params![after, shelf::HOURS_ROWS_MIN, HOURS_AT_ONCE], |line| {
            Ok((line.get::<_, i64>(0)?, line.get::<_, u32>(1)?))
        })?;
        let found = lines.collect::<Result<Vec<_>, _>>()?;
        drop(statement);
        let mut made = Vec::with_capacity(found.len());
        for (id, point) in &found {
            let rows = shelf::rows(&self.connection, *point, *id)?;
            made.push((*id, shelf::hours_of(*point, &rows)?));
        }
        let _turn = self.shared.turn();
        let sql = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (id, body) in &made {
            shelf::put_hours(&sql, *id, body)?;
        }
        if found.is_empty() {
            sql.execute("INSERT OR REPLACE INTO meta VALUES ('hours_given', 1)", [])?;
        }
        sql.commit()?;
        self.without_hours = found.last().map(|(id, _)| *id);
        Ok(!found.is_empty())
    }

    /// Points with enough small chunks that were not looked at with as many.
    fn points_due(&self) -> Result<Vec<u32>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT point, count(*) FROM chunk INDEXED BY chunk_small WHERE good + uncertain + bad < 4096
             GROUP BY point HAVING count(*) >= ?1",
        )?;
        let mut lines = statement.query([SMALL_MIN])?;
        let mut due = Vec::new();
        while let Some(line) = lines.next()? {
            let (point, small): (u32, u32) = (line.get(0)?, line.get(1)?);
            if self.settled.get(&point) != Some(&small) {
                due.push(point);
            }
        }
        Ok(due)
    }

    /// Joins one group of chunks of a point.
    fn join(&mut self, point: u32) -> Result<Join, StoreError> {
        let small = self.small(point)?;
        let nothing = Join::Nothing { small: small.len() as u32 };
        let Some(first) = small.first() else { return Ok(nothing) };
        let around = shelf::list(&self.connection, point, first.start_ms, i64::MAX)?;
        let Some(group) = plan::group(&around) else { return Ok(nothing) };
        let mut prepared = Vec::new();
        self.merged(point, &group, |rows| {
            prepared.extend(Prepared::of(point, rows, Effort::Lasting)?);
            Ok(())
        })?;
        let _turn = self.shared.turn();
        let sql = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !shelf::remove(&sql, &group)? {
            // A correction was quicker: its chunk has a new number. Dropping the transaction undoes it.
            return Ok(nothing);
        }
        for chunk in &prepared {
            chunk.store(&sql, point)?;
        }
        sql.commit()?;
        Ok(Join::Done { from: group.len(), to: prepared.len() })
    }

    /// Hands out the rows of chunks that are ordered by their start: in order, each key once, corrected, in pieces of
    /// at most a chunk's worth.
    fn merged(
        &self,
        point: u32,
        chunks: &[Chunk],
        mut piece: impl FnMut(&[Kept]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (from, to) = (chunks.first().map_or(0, |c| c.start_ms), i64::MAX);
        let corrected = Corrected::between(&self.connection, point, from, to)?;
        let mut merge = Merge::new(Vec::new());
        let mut open: Vec<Kept> = Vec::with_capacity(chunk::ROWS_MAX);
        for chunk in chunks {
            collect(&mut merge, chunk.start_ms, &corrected, &mut open);
            full_pieces(&mut open, &mut piece)?;
            merge.add(shelf::rows(&self.connection, point, chunk.id)?.into_iter());
        }
        merge.drain(&mut |row| {
            open.push(corrected.apply(*row));
            true
        });
        chunk::pieces(&open).try_for_each(piece)
    }

    fn small(&self, point: u32) -> Result<Vec<Chunk>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, start_ms, end_ms, good + uncertain + bad FROM chunk INDEXED BY chunk_small
             WHERE point = ?1 AND good + uncertain + bad < 4096 ORDER BY start_ms",
        )?;
        Ok(statement.query_map([point], Chunk::read)?.collect::<Result<_, _>>()?)
    }
}

/// What became of an attempt to join.
enum Join {
    Done { from: usize, to: usize },
    Nothing { small: u32 },
}

fn collect(merge: &mut Merge, before: i64, corrected: &Corrected, open: &mut Vec<Kept>) {
    merge.drain_before(before, &mut |row| {
        open.push(corrected.apply(*row));
        true
    });
}

/// Hands out what makes full pieces, and keeps the rest.
fn full_pieces(
    open: &mut Vec<Kept>,
    piece: &mut impl FnMut(&[Kept]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut done = 0;
    for rows in chunk::pieces(open) {
        // The last piece may still grow.
        if done + rows.len() < open.len() {
            piece(rows)?;
            done += rows.len();
        }
    }
    open.drain(..done);
    Ok(())
}
