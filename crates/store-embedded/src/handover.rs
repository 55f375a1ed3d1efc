//! Readings that leave for another engine: what there is of them, and the one transaction in which they go.
//!
//! ```text
//!  chunk, hours, latest   gone        correction, faded   stay: no other engine keeps them
//!  meta                   rows_elsewhere                  watermark, point, epoch, quarantine … as they were
//! ```
//!
//! A kill before the end of that transaction leaves the readings here, one behind it finds them gone: never half of them.

use rusqlite::TransactionBehavior;
use sitian_ingest::Effect;
use sitian_model::PointNo;

use crate::fault::StoreError;
use crate::head::Head;
use crate::reader::Reader;
use crate::registry;
use crate::store::Store;

/// What a store holds of readings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holding {
    /// Points that have rows here, by their numbers.
    pub points: Vec<PointNo>,
    /// Points of which hours or days are left of rows that are gone.
    pub faded_points: u64,
    /// Corrections that were made.
    pub corrections: u64,
    /// The rows that belong to this store's watermarks were said to be in another engine.
    pub elsewhere: bool,
}

impl Reader {
    /// What there is.
    ///
    /// # Errors
    /// The file is damaged or the disk refuses.
    pub fn holding(&self) -> Result<Holding, StoreError> {
        let mut points: Vec<u32> = self.shared().head().points().collect();
        self.with(|connection| {
            let count = |sql| connection.query_row(sql, [], |line| line.get::<_, i64>(0));
            let mut statement = connection.prepare("SELECT DISTINCT point FROM chunk")?;
            let sealed = statement.query_map([], |line| line.get(0))?;
            points.extend(sealed.collect::<Result<Vec<u32>, _>>()?);
            points.sort_unstable();
            points.dedup();
            Ok(Holding {
                points: points.iter().map(|no| PointNo(*no)).collect(),
                faded_points: count("SELECT count(DISTINCT point) FROM faded")?.cast_unsigned(),
                corrections: count("SELECT count(*) FROM correction")?.cast_unsigned(),
                elsewhere: count("SELECT count(*) FROM meta WHERE key = 'rows_elsewhere'")? > 0,
            })
        })
    }
}

impl Store {
    /// Lets all rows go, durably and at once, and says for ever that they are in another engine; `kept` is stored in the same
    /// transaction. Corrections, and what rows of earlier times have faded to, stay.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn hand_over(&mut self, kept: &[Effect]) -> Result<(), StoreError> {
        self.seal()?;
        let (shared, connection) = self.writing();
        let turn = shared.turn();
        let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        kept.iter().try_for_each(|effect| registry::write(&sql, effect))?;
        sql.execute_batch("DELETE FROM hours; DELETE FROM chunk; DELETE FROM latest")?;
        sql.execute("INSERT OR REPLACE INTO meta VALUES ('rows_elsewhere', 1)", [])?;
        sql.commit()?;
        drop(turn);
        *shared.head_mut() = Head::default();
        Ok(())
    }

    /// Gives the file's free pages back to the disk. A kill leaves them free, and the compaction gives them back.
    ///
    /// # Errors
    /// Some are not given back.
    pub fn give_back_pages(&mut self) -> Result<(), StoreError> {
        let (shared, connection) = self.writing();
        {
            let _turn = shared.turn();
            let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
            // Every line that is fetched gives back one page.
            let mut pages = statement.query([])?;
            while pages.next()?.is_some() {}
        }
        self.checkpoint()
    }
}
