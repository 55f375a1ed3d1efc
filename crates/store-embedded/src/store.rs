//! The writer: opens the file, commits transactions, and keeps the head that readers share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use sitian_alert::Delta;
use sitian_ingest::Effect;
use sitian_model::{Correction, Mutant, Row};
use sitian_registry::{Committed, Keep, Registry, RegistryError, Transaction};
use sitian_series::{Append, AppendError, Refused, Retention};

use crate::compaction::Compactor;
use crate::fault::StoreError;
use crate::head::Head;
use crate::kept::Kept;
use crate::lock::{Lock, beside};
use crate::marks::Marks;
use crate::reader::Reader;
use crate::{alerts, journal, marks, registry, schema};

pub(crate) mod load;
pub(crate) mod seal;
#[cfg(test)]
mod tests;

use load::Loaded;
use seal::Sealing;

/// When rows leave the journal for chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealLimits {
    /// Seal when the journal holds so many rows. Each takes 32 bytes of memory until it is sealed.
    pub rows: usize,
    /// Seal when the oldest row of the journal has been there for so long, counted from the opening of the store.
    pub age: Duration,
    /// Rows sealed in one go: the longest pause that sealing puts before a commit.
    pub slice_rows: usize,
}

impl Default for SealLimits {
    fn default() -> Self {
        Self { rows: 500_000, age: Duration::from_secs(3_600), slice_rows: 50_000 }
    }
}

/// What the writer and its readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    head: RwLock<Head>,
    /// Held by whoever writes into the file: a commit, a slice of a sealing, a step of the compaction.
    writing: Mutex<()>,
    /// Connections that readers have opened and do not use at the moment.
    pub(crate) idle: Mutex<Vec<Connection>>,
}

impl Shared {
    /// Of a file, with what its journal holds.
    pub(crate) fn new(path: &Path, head: Head) -> Self {
        let (writing, idle) = (Mutex::default(), Mutex::new(Vec::new()));
        Self { path: path.to_owned(), head: RwLock::new(head), writing, idle }
    }

    pub(crate) fn head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the right to write: in memory, not in the file, whose waiting is clumsy.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head_mut(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The store, open for writing. There is at most one per file; ask it for as many readers as you like.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    shared: Arc<Shared>,
    marks: Marks,
    limits: SealLimits,
    sealing: Option<Sealing>,
    /// What is in the journal and not being sealed, counted in rows; an entry without rows counts as one.
    journal_rows: usize,
    /// Since when, if it is anything.
    journal_since: Option<Instant>,
    /// Declared last, so that the file is closed before the lock is given back.
    _lock: Lock,
}

impl Store {
    /// Opens a store, or makes an empty one where there is none. Reads the journal back into memory.
    ///
    /// # Errors
    /// Another process has it open, it is no store, it is newer than this program, it is damaged, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, SealLimits::default())
    }

    /// Like [`Self::open`], with other limits.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, limits: SealLimits) -> Result<Self, StoreError> {
        let lock = Lock::take(path)?;
        let connection = schema::writer(path)?;
        let shared = Shared::new(path, Head::default());
        let mut store = Self {
            marks: Marks::default(),
            connection,
            shared: Arc::new(shared),
            limits,
            sealing: None,
            journal_rows: 0,
            journal_since: None,
            _lock: lock,
        };
        store.load()?;
        Ok(store)
    }

    /// A view of the registry, the quarantine and the incidents of a store that another process may have open. It does not
    /// see the newest readings.
    ///
    /// # Errors
    /// There is no store of this program's schema.
    pub fn look_into(path: &Path) -> Result<Reader, StoreError> {
        schema::existing(path)?;
        let shared = Shared::new(path, Head::default());
        Ok(Reader::new(Arc::new(shared)))
    }

    /// A view for queries. Cheap; clone it freely.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// What the alert engine has to be given back after a restart.
    ///
    /// # Errors
    /// The file is damaged or the disk refuses.
    pub fn alert_memory(&self) -> Result<Delta, StoreError> {
        Ok(Delta { states: alerts::states(&self.connection)?, marks: self.marks.all() })
    }

    /// Stores a transaction whole, or not at all. When it returns, everything of it survives a power cut, and every
    /// query that starts from now on sees it. Before that it may seal a slice of older rows.
    ///
    /// # Errors
    /// Nothing was stored: the same transaction may be committed again.
    pub fn commit(&mut self, transaction: &Transaction) -> Result<Committed, StoreError> {
        self.maintain()?;
        let rows: Vec<(u32, Kept)> =
            rows(&transaction.effects).map(|row| (row.point.0, Kept::of(row))).collect();
        let state = &transaction.alert_state;

        let turn = self.shared.turn();
        let sql = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for effect in &transaction.effects {
            registry::write(&sql, effect)?;
        }
        let sql = if Mutant::RowsInAnotherTransaction.lives() {
            sql.commit()?;
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?
        } else {
            sql
        };
        if !rows.is_empty() || !state.marks.is_empty() {
            sql.prepare_cached("INSERT INTO journal (at_ms, rows, marks) VALUES (?1, ?2, ?3)")?
                .execute(params![transaction.at.0, journal::encode(&rows), marks::encode(&state.marks)])?;
        }
        let alert_cursors = alerts::write(&sql, &transaction.alerts, transaction.at)?;
        alerts::write_states(&sql, &state.states)?;
        sql.commit()?;
        drop(turn);

        self.marks.note(&state.marks);
        if !rows.is_empty() || !state.marks.is_empty() {
            self.count_journal(rows.len());
        }
        let mut head = self.shared.head_mut();
        for (point, row) in rows {
            head.insert(point, row);
        }
        Ok(Committed { alert_cursors })
    }

    /// True if this store's rows were said to be in another engine.
    ///
    /// # Errors
    /// The file is damaged or the disk refuses.
    pub fn keeps_rows_elsewhere(&self) -> Result<bool, StoreError> {
        let said = "SELECT count(*) FROM meta WHERE key = 'rows_elsewhere'";
        Ok(self.connection.query_row(said, [], |line| line.get::<_, i64>(0))? > 0)
    }

    /// Says for ever that the rows which belong to this store's watermarks are in another engine.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn keep_rows_elsewhere(&mut self) -> Result<(), StoreError> {
        let _turn = self.shared.turn();
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('rows_elsewhere', 1)", [])?;
        Ok(())
    }

    /// The parts that a correction writes with.
    pub(crate) fn writing(&mut self) -> (Arc<Shared>, &mut Connection) {
        (Arc::clone(&self.shared), &mut self.connection)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Takes note of a durable correction.
    pub(crate) fn note_correction(&mut self, point: u32, row: Kept) {
        self.shared.head_mut().correct_latest(point, row);
    }

    /// What joins chunks and lets them fade, to be stepped now and then, from whatever thread. There is at most one.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn compactor(&self, retention: Retention) -> Result<Compactor, StoreError> {
        Compactor::new(Arc::clone(&self.shared), retention)
    }

    fn count_journal(&mut self, rows: usize) {
        self.journal_rows += rows.max(1);
        self.journal_since.get_or_insert_with(Instant::now);
    }

    /// Fills the head from the file.
    fn load(&mut self) -> Result<(), StoreError> {
        let Loaded { head, marks, unfinished, open_rows } = load::load(&self.connection)?;
        self.marks = marks;
        open_rows.into_iter().for_each(|rows| self.count_journal(rows));
        self.sealing = unfinished.map(|u| Sealing::new(u.journal, head.frozen_points()));
        tracing::debug!(rows = head.rows(), path = %self.shared.path.display(), "the store is open");
        *self.shared.head_mut() = head;
        Ok(())
    }

    /// How much there is.
    ///
    /// # Errors
    /// The file is damaged or the disk refuses.
    pub fn extent(&self) -> Result<Extent, StoreError> {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        let head_rows = self.shared.head().rows() as u64;
        let chunks: i64 = self.connection.query_row("SELECT count(*) FROM chunk", [], |line| line.get(0))?;
        let (bytes, wal_bytes) = (size(&self.shared.path), size(&beside(&self.shared.path, "-wal")));
        Ok(Extent { bytes, wal_bytes, head_rows, chunks: chunks.cast_unsigned() })
    }
}

/// The writer closes the file last: who only reads cannot clear the log away, and would leave it to its own account.
impl Drop for Store {
    fn drop(&mut self) {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What a file keeps, rows included. A commit that failed has left nothing behind.
impl Keep for Store {
    fn commit(&mut self, transaction: &Transaction) -> Result<Committed, RegistryError> {
        if transaction.is_empty() {
            return Ok(Committed::default());
        }
        Ok(Self::commit(self, transaction)?)
    }

    fn assure(&mut self) -> Result<(), RegistryError> {
        Ok(())
    }

    fn correct(&mut self, corrections: &[Correction]) -> Result<usize, RegistryError> {
        Ok(self.correct_all(corrections)?)
    }

    fn alert_memory(&self) -> Result<Delta, RegistryError> {
        Ok(Self::alert_memory(self)?)
    }

    fn reader(&self) -> Arc<dyn Registry> {
        Arc::new(Self::reader(self))
    }

    fn tidy(&mut self) -> Result<(), RegistryError> {
        self.maintain()?;
        Ok(())
    }

    fn close(&mut self) -> Result<(), RegistryError> {
        Ok(self.checkpoint()?)
    }
}

/// Rows alone, in one durable transaction.
impl Append for Store {
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        let effects = vec![Effect::Rows(rows.to_vec())];
        match self.commit(&Transaction { effects, ..Transaction::default() }) {
            Ok(_) => Ok(Vec::new()),
            Err(error @ StoreError::DiskFull) => {
                Err(AppendError::Later { retry_after_ms: None, source: Box::new(error) })
            }
            Err(error) => Err(AppendError::Never(Box::new(error))),
        }
    }
}

/// How much the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Size of the database file.
    pub bytes: u64,
    /// Size of its write-ahead log.
    pub wal_bytes: u64,
    /// Rows that are in the journal and in memory only.
    pub head_rows: u64,
    /// Sealed chunks.
    pub chunks: u64,
}

fn rows(effects: &[Effect]) -> impl Iterator<Item = &Row> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Rows(rows) => Some(rows),
            _ => None,
        })
        .flatten()
}
