//! Corrections: what a row should have said, who says so, and what it said before. The row itself is rewritten in the
//! same transaction; the history stays as long as the row.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction as Sql, TransactionBehavior, params};
use sitian_model::{Correction, CorrectionStored, PointNo, Row, Span, Timestamp};

use crate::chunk::{self, Effort};
use crate::fault::StoreError;
use crate::kept::{Kept, known_code};
use crate::shelf::{self, Prepared};
use crate::store::Store;

/// The corrections in force for a part of a point: later copies of a row do not undo them.
#[derive(Debug, Default)]
pub(crate) struct Corrected(Vec<Kept>);

impl Corrected {
    /// Those of rows from `from` up to `to` (excluded).
    pub(crate) fn between(
        connection: &Connection,
        point: u32,
        from: i64,
        to: i64,
    ) -> Result<Self, StoreError> {
        let mut statement = connection.prepare_cached(
            "SELECT at_ms, epoch, seq, code, value FROM correction
             WHERE point = ?1 AND at_ms >= ?2 AND at_ms < ?3 ORDER BY at_ms, id",
        )?;
        let mut lines = statement.query(params![point, from, to])?;
        let mut found: Vec<Kept> = Vec::new();
        while let Some(line) = lines.next()? {
            found.push(kept(line, 0, 3)?);
        }
        // The sort is stable: of two corrections of a row the later stays behind, and is the one that is found.
        found.sort_by_key(Kept::key);
        Ok(Self(found))
    }

    /// The row as it should be.
    pub(crate) fn apply(&self, row: Kept) -> Kept {
        let end = self.0.partition_point(|corrected| corrected.key() <= row.key());
        self.0[..end].last().filter(|last| last.key() == row.key()).copied().unwrap_or(row)
    }
}

/// A row whose time and label begin at one column, and whose quality and value at another.
fn kept(line: &rusqlite::Row<'_>, key: usize, what: usize) -> Result<Kept, StoreError> {
    let code = known_code(line.get(what)?);
    Ok(Kept {
        at: line.get(key)?,
        epoch: line.get(key + 1)?,
        seq: line.get::<_, i64>(key + 2)?.cast_unsigned(),
        code: code.ok_or_else(|| StoreError::damaged("a correction has no known quality"))?,
        value: line.get(what + 1)?,
    })
}

impl Store {
    /// Corrects a stored row, durably. False, and nothing is stored, if there is no such row (any more).
    ///
    /// # Errors
    /// Nothing was stored.
    pub fn correct(&mut self, correction: &Correction) -> Result<bool, StoreError> {
        Ok(self.correct_all(std::slice::from_ref(correction))? > 0)
    }

    /// Corrects stored rows of one point (that of the first), durably and all at once. Returns how many of them were there;
    /// about the others nothing is stored.
    ///
    /// # Errors
    /// Nothing was stored.
    pub fn correct_all(&mut self, corrections: &[Correction]) -> Result<usize, StoreError> {
        let Some(point) = corrections.first().map(|one| one.row.point.0) else { return Ok(0) };
        let here = corrections.iter().filter(|one| one.row.point.0 == point);
        let wanted: BTreeMap<_, _> = here
            .map(|one| {
                let new = Kept::of(&one.row);
                (new.key(), (new, one))
            })
            .collect();
        let from = wanted.values().map(|(new, _)| new.at).min().unwrap_or(0);
        let to = wanted.values().map(|(new, _)| new.at).max().unwrap_or(0).saturating_add(1);
        // Rows that rest in the journal become a chunk first; corrections are rare.
        if !self.shared().head().between(point, from, to).is_empty() {
            self.seal()?;
        }
        let (shared, connection) = self.writing();
        let _turn = shared.turn();
        let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let new = |key: &Key| wanted.get(key).map(|(new, _)| *new);
        let replaced = replace(&sql, point, from, to, new)?;
        for (key, old) in &replaced {
            if let Some((new, correction)) = wanted.get(key) {
                note(&sql, point, new, old, correction)?;
            }
        }
        sql.commit()?;
        for key in replaced.keys() {
            if let Some((new, _)) = wanted.get(key) {
                self.note_correction(point, *new);
            }
        }
        Ok(replaced.len())
    }
}

/// What names a row of a point.
type Key = (i64, u32, u64);

/// Writes down what was corrected, and corrects the newest row of the point if it is this one.
fn note(
    sql: &Sql<'_>,
    point: u32,
    new: &Kept,
    old: &Kept,
    correction: &Correction,
) -> Result<(), StoreError> {
    let (seq, Correction { by, note, at, .. }) = (new.seq.cast_signed(), correction);
    let mut insert = sql.prepare_cached(
        "INSERT INTO correction (point, at_ms, epoch, seq, code, value, old_code, old_value, by_whom, note, made_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    insert.execute(params![
        point, new.at, new.epoch, seq, new.code, new.value, old.code, old.value, by, note, at.0
    ])?;
    let mut update = sql.prepare_cached(
        "UPDATE latest SET code = ?5, value = ?6 WHERE point = ?1 AND at_ms = ?2 AND epoch = ?3 AND seq = ?4",
    )?;
    update.execute(params![point, new.at, new.epoch, seq, new.code, new.value])?;
    Ok(())
}

/// Rewrites every chunk that holds rows of which something new is said. Returns what they said.
fn replace(
    sql: &Sql<'_>,
    point: u32,
    from: i64,
    to: i64,
    new: impl Fn(&Key) -> Option<Kept>,
) -> Result<BTreeMap<Key, Kept>, StoreError> {
    let mut old = BTreeMap::new();
    for chunk in shelf::list(sql, point, from, to)? {
        let mut rows = shelf::rows(sql, point, chunk.id)?;
        let mut changed = false;
        for row in &mut rows {
            let Some(new) = new(&row.key()) else { continue };
            old.entry(row.key()).or_insert(*row);
            (*row, changed) = (new, true);
        }
        if !changed {
            continue;
        }
        shelf::remove(sql, &[chunk])?;
        for piece in chunk::pieces(&rows) {
            if let Some(prepared) = Prepared::of(point, piece, Effort::Lasting)? {
                prepared.store(sql, point)?;
            }
        }
    }
    Ok(old)
}

/// The newest corrections of a point's rows in a span, newest first.
pub(crate) fn list(
    connection: &Connection,
    point: PointNo,
    span: Span,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<CorrectionStored>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT at_ms, epoch, seq, code, value, old_code, old_value, by_whom, note, made_ms, id FROM correction
         WHERE point = ?1 AND at_ms >= ?2 AND at_ms < ?3 AND id < ?4 ORDER BY id DESC LIMIT ?5",
    )?;
    let before = before.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut lines = statement.query(params![point.0, span.from.0, span.to.0, before, limit])?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        let correction = Correction {
            row: kept(line, 0, 3)?.row(point),
            by: line.get(7)?,
            note: line.get(8)?,
            at: Timestamp(line.get(9)?),
        };
        let before = kept(line, 0, 5)?.row(point);
        found.push(CorrectionStored { id: line.get::<_, i64>(10)?.cast_unsigned(), correction, before });
    }
    Ok(found)
}

/// Rows as the sensor sent them, of those that say something else by now.
pub(crate) fn sent(connection: &Connection, point: PointNo, span: Span) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT old.at_ms, old.epoch, old.seq, old.old_code, old.old_value
         FROM (SELECT min(id) AS first, max(id) AS last FROM correction
               WHERE point = ?1 AND at_ms >= ?2 AND at_ms < ?3 GROUP BY at_ms, epoch, seq)
         JOIN correction old ON old.id = first JOIN correction new ON new.id = last
         WHERE old.old_code <> new.code OR old.old_value IS NOT new.value",
    )?;
    let mut lines = statement.query(params![point.0, span.from.0, span.to.0])?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        found.push(kept(line, 0, 3)?.row(point));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_correction_of_a_row_is_in_force_and_other_rows_stay() {
        let row = |at, value| Kept { at, seq: 1, value, epoch: 1, code: 0 };
        let corrected = Corrected(vec![row(5, 1.0), row(5, 2.0), row(9, 3.0)]);
        for (given, expected) in [(4, 7.0), (5, 2.0), (6, 7.0), (9, 3.0), (10, 7.0)] {
            assert_eq!(corrected.apply(row(given, 7.0)).value, expected, "{given}");
        }
        let other = Kept { seq: 2, ..row(5, 7.0) };
        assert_eq!(corrected.apply(other), other, "another label is another row");
    }
}
