//! Sealing: rows move from the journal into chunks, some points at a time, so that no commit waits for long.
//!
//! ```text
//!  freeze ──► slice: chunks of points a..b, seal_point = b ──► slice … ──► last slice: chunks, marks,
//!  (memory)   (one transaction each; commits go on between)                journal entries deleted, seal_* forgotten
//! ```
//!
//! A crash between two slices loses nothing and doubles nothing: opening skips what `seal_point` says is in chunks.
//! A reader that has copied the head before a slice and looks into the file after it meets rows twice; it drops doubles
//! by natural key.

use std::collections::VecDeque;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::Store;
use crate::chunk::Effort;
use crate::fault::StoreError;
use crate::kept::Kept;
use crate::shelf;

/// A sealing under way.
#[derive(Debug)]
pub(super) struct Sealing {
    /// Last journal entry concerned.
    journal: i64,
    /// Points still to be sealed, ascending.
    points: VecDeque<u32>,
}

impl Sealing {
    pub(super) fn new(journal: i64, points: Vec<u32>) -> Self {
        Self { journal, points: points.into() }
    }
}

/// A sealing that a crash has interrupted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unfinished {
    /// Last journal entry concerned.
    pub(super) journal: i64,
    /// Rows of points below are in chunks already.
    pub(super) point: i64,
}

/// Reads where an unfinished sealing stands, if there is one.
pub(super) fn unfinished(connection: &Connection) -> Result<Option<Unfinished>, StoreError> {
    let value = |key: &str| {
        connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |line| line.get(0)).optional()
    };
    let both = value("seal_journal")?.zip(value("seal_point")?);
    Ok(both.map(|(journal, point)| Unfinished { journal, point }))
}

impl Store {
    /// Seals one slice, if the journal is over its limits; more of them, if the head holds twice its limit, since commits of
    /// a backlog bring more rows than one slice takes. To be called now and then, also when nothing is committed;
    /// [`Store::commit`] calls it. Returns true if more is due.
    ///
    /// # Errors
    /// Nothing has changed: it is tried again by the next call.
    pub fn maintain(&mut self) -> Result<bool, StoreError> {
        let full = self.journal_rows >= self.limits.rows;
        let old = self.journal_since.is_some_and(|since| since.elapsed() >= self.limits.age);
        if self.sealing.is_none() && !full && !old {
            return Ok(false);
        }
        loop {
            self.seal_slice()?;
            if self.sealing.is_none() || self.shared.head().rows() < 2 * self.limits.rows {
                return Ok(self.sealing.is_some());
            }
        }
    }

    /// Moves the write-ahead log into the file, so that after a clean end the file alone is the whole store.
    ///
    /// # Errors
    /// Nothing is lost: the log stays beside the file, where the next start reads it.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    /// Seals everything that is in the journal.
    ///
    /// # Errors
    /// What was sealed before the error stays sealed, the rest stays in the journal.
    pub fn seal(&mut self) -> Result<(), StoreError> {
        while self.sealing.is_some() || self.journal_rows > 0 {
            self.seal_slice()?;
        }
        Ok(())
    }

    /// Seals a slice of the sealing under way, or of a new one.
    pub(crate) fn seal_slice(&mut self) -> Result<(), StoreError> {
        let mut sealing = match self.sealing.take() {
            Some(sealing) => sealing,
            None => self.begin()?,
        };
        let result = self.write_slice(&sealing);
        if let Ok(points) = &result {
            let mut head = self.shared.head_mut();
            for point in sealing.points.drain(..*points) {
                head.thaw(point);
            }
        }
        let done = result.is_ok() && sealing.points.is_empty();
        if done {
            self.marks.sealed();
        } else {
            self.sealing = Some(sealing);
        }
        result.map(|_| ())
    }

    fn begin(&mut self) -> Result<Sealing, StoreError> {
        let last: Option<i64> =
            self.connection.query_row("SELECT max(id) FROM journal", [], |line| line.get(0))?;
        let mut head = self.shared.head_mut();
        head.freeze();
        (self.journal_rows, self.journal_since) = (0, None);
        Ok(Sealing::new(last.unwrap_or(0), head.frozen_points()))
    }

    /// Writes the chunks of the next points in one transaction. Returns how many points that were.
    fn write_slice(&mut self, sealing: &Sealing) -> Result<usize, StoreError> {
        let _turn = self.shared.turn();
        let head = self.shared.head();
        let sql = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut points, mut rows) = (0, 0);
        for point in &sealing.points {
            let frozen = head.frozen(*point);
            shelf::put(&sql, *point, frozen, Effort::Fresh)?;
            if let Some(latest) = head.latest(*point) {
                write_latest(&sql, *point, latest)?;
            }
            points += 1;
            rows += frozen.len();
            if rows >= self.limits.slice_rows {
                break;
            }
        }
        match sealing.points.get(points) {
            Some(next) => {
                let mut put = sql.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
                put.execute(params!["seal_journal", sealing.journal])?;
                put.execute(params!["seal_point", next])?;
            }
            None => {
                self.marks.write(&sql)?;
                sql.execute("DELETE FROM journal WHERE id <= ?1", [sealing.journal])?;
                sql.execute("DELETE FROM meta WHERE key IN ('seal_journal', 'seal_point')", [])?;
            }
        }
        sql.commit()?;
        Ok(points)
    }
}

pub(crate) fn write_latest(sql: &Connection, point: u32, row: &Kept) -> Result<(), StoreError> {
    sql.prepare_cached("INSERT OR REPLACE INTO latest VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        point,
        row.at,
        row.epoch,
        row.seq.cast_signed(),
        row.code,
        row.value
    ])?;
    Ok(())
}
