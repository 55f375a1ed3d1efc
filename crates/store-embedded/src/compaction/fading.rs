//! Fading: what is older than retention says becomes hours, hours become days, days are forgotten. A point at a time.

use std::collections::VecDeque;

use rusqlite::{TransactionBehavior, params};
use sitian_model::Timestamp;
use sitian_series::{Class, Window};

use super::Compactor;
use crate::fault::StoreError;
use crate::hours;
use crate::shelf;

/// Between two rounds over all points.
const ROUND_MS: i64 = 3_600_000;
/// Chunks that fade in one transaction; their rows are in memory together.
const CHUNKS_MAX: usize = 8;
/// Records of hours that become days in one transaction.
const RECORDS_MAX: usize = 64;

/// Where the round over all points stands.
#[derive(Debug, Default)]
pub(super) struct Round {
    points: VecDeque<u32>,
    next: Option<Timestamp>,
}

impl Compactor {
    /// Lets the next point fade that has something to fade. False if none has.
    pub(super) fn fade(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        if Class::ALL.iter().all(|class| self.retention.days(*class).is_none()) {
            return Ok(false);
        }
        if self.fading.points.is_empty() && self.fading.next.is_none_or(|next| next <= now) {
            let mut statement =
                self.connection.prepare_cached("SELECT point FROM chunk UNION SELECT point FROM faded")?;
            let points = statement.query_map([], |line| line.get(0))?;
            self.fading.points = points.collect::<Result<_, _>>()?;
            self.fading.next = Some(now.plus_ms(ROUND_MS));
        }
        while let Some(point) = self.fading.points.front().copied() {
            if self.fade_raw(point, now)? || self.fade_hours(point, now)? || self.forget(point, now)? {
                return Ok(true);
            }
            self.fading.points.pop_front();
        }
        Ok(false)
    }

    fn fade_raw(&mut self, point: u32, now: Timestamp) -> Result<bool, StoreError> {
        let Some(cutoff) = self.retention.cutoff(Class::Raw, now) else { return Ok(false) };
        let mut chunks = shelf::list(&self.connection, point, i64::MIN, cutoff.0)?;
        chunks.retain(|chunk| chunk.end_ms < cutoff.0);
        chunks.truncate(CHUNKS_MAX);
        if chunks.is_empty() {
            return Ok(false);
        }
        let mut rows = Vec::new();
        self.merged(point, &chunks, |piece| {
            rows.extend_from_slice(piece);
            Ok(())
        })?;
        let windows = hours::of_rows(&rows);
        let _turn = self.shared.turn();
        let sql = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if shelf::remove(&sql, &chunks)? {
            shelf::put_faded(&sql, point, &windows, 1)?;
            let (first, last) = (rows.first().map(|row| row.at), rows.last().map(|row| row.at));
            sql.prepare_cached("DELETE FROM correction WHERE point = ?1 AND at_ms BETWEEN ?2 AND ?3")?
                .execute(params![point, first, last])?;
            sql.commit()?;
        }
        Ok(true)
    }

    fn fade_hours(&mut self, point: u32, now: Timestamp) -> Result<bool, StoreError> {
        let Some(cutoff) = self.retention.cutoff(Class::Hourly, now) else { return Ok(false) };
        let mut old = shelf::faded(&self.connection, point, i64::MIN, cutoff.0)?;
        old.retain(|faded| faded.step_h == 1 && faded.windows.last().is_none_or(|last| last.to <= cutoff));
        old.truncate(RECORDS_MAX);
        if old.is_empty() {
            return Ok(false);
        }
        let mut windows: Vec<Window> = old.iter().flat_map(|faded| faded.windows.iter().cloned()).collect();
        windows.sort_by_key(|window| window.from);
        let days = hours::by_day(&windows, self.retention.day_offset_ms);
        let _turn = self.shared.turn();
        let sql = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for faded in &old {
            sql.prepare_cached("DELETE FROM faded WHERE id = ?1")?.execute([faded.id])?;
        }
        shelf::put_faded(&sql, point, &days, hours::DAY_H)?;
        sql.commit()?;
        Ok(true)
    }

    fn forget(&mut self, point: u32, now: Timestamp) -> Result<bool, StoreError> {
        let Some(cutoff) = self.retention.cutoff(Class::Daily, now) else { return Ok(false) };
        let _turn = self.shared.turn();
        let gone = self
            .connection
            .prepare_cached("DELETE FROM faded WHERE point = ?1 AND step_h = ?2 AND end_ms <= ?3")?
            .execute(params![point, hours::DAY_H, cutoff.0])?;
        Ok(gone > 0)
    }
}
