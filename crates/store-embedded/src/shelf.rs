//! The tables of chunks: puts rows into them, lists them, takes them out. Knows no order between points.

use rusqlite::{Connection, params};
use sitian_series::Window;

use crate::chunk::{self, Effort, SPAN_MS_MAX, Stats};
use crate::fault::StoreError;
use crate::hours;
use crate::kept::Kept;

/// Chunks of fewer rows have no hours: reading them is as quick.
pub(crate) const HOURS_ROWS_MIN: u32 = 64;
/// Most windows of one faded record: 8 days of hours, 192 days of days.
pub(crate) const FADED_WINDOWS_MAX: i64 = 192;

/// A chunk without its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) id: i64,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) rows: u32,
}

impl Chunk {
    /// From columns id, start, end, rows.
    pub(crate) fn read(line: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: line.get(0)?, start_ms: line.get(1)?, end_ms: line.get(2)?, rows: line.get(3)? })
    }
}

/// A chunk that is ready to be put on the shelf.
#[derive(Debug)]
pub(crate) struct Prepared {
    stats: Stats,
    body: Vec<u8>,
    hours: Option<Vec<u8>>,
}

impl Prepared {
    /// Of at least one ordered row, at most a chunk's worth; `None` of none.
    pub(crate) fn of(point: u32, rows: &[Kept], effort: Effort) -> Result<Option<Self>, StoreError> {
        let Some(stats) = Stats::of(rows) else { return Ok(None) };
        let body = chunk::encode(rows, effort)
            .map_err(|e| StoreError::damaged(format!("rows of point {point}: {e}")))?;
        let hours = if rows.len() >= HOURS_ROWS_MIN as usize { Some(hours_of(point, rows)?) } else { None };
        Ok(Some(Self { stats, body, hours }))
    }

    /// Puts it there.
    pub(crate) fn store(&self, connection: &Connection, point: u32) -> Result<(), StoreError> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO chunk (point, start_ms, end_ms, good, uncertain, bad, min, max, sum, first, last, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?;
        let (stats, values) = (&self.stats, self.stats.values);
        let id = statement.insert(params![
            point,
            stats.start_ms,
            stats.end_ms,
            stats.good,
            stats.uncertain,
            stats.bad,
            values.map(|v| v.min),
            values.map(|v| v.max),
            values.map(|v| v.sum),
            values.map(|v| v.first),
            values.map(|v| v.last),
            self.body,
        ])?;
        if let Some(hours) = &self.hours {
            put_hours(connection, id, hours)?;
        }
        Ok(())
    }
}

/// Cuts ordered rows into chunks and puts them on the shelf.
pub(crate) fn put(
    connection: &Connection,
    point: u32,
    rows: &[Kept],
    effort: Effort,
) -> Result<(), StoreError> {
    for piece in chunk::pieces(rows) {
        if let Some(prepared) = Prepared::of(point, piece, effort)? {
            prepared.store(connection, point)?;
        }
    }
    Ok(())
}

/// The bytes of the hours of a chunk's rows.
pub(crate) fn hours_of(point: u32, rows: &[Kept]) -> Result<Vec<u8>, StoreError> {
    encoded(point, &hours::of_rows(rows), 1)
}

fn encoded(point: u32, windows: &[Window], step_h: u32) -> Result<Vec<u8>, StoreError> {
    hours::encode(windows, step_h).map_err(|e| StoreError::damaged(format!("hours of point {point}: {e}")))
}

/// Puts the hours of a chunk beside it, in the place of older ones.
pub(crate) fn put_hours(connection: &Connection, id: i64, body: &[u8]) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO hours (chunk, body) VALUES (?1, ?2)")?
        .execute(params![id, body])?;
    Ok(())
}

/// Takes chunks off the shelf. False, and nothing is done, if one of them is no longer there.
pub(crate) fn remove(connection: &Connection, chunks: &[Chunk]) -> Result<bool, StoreError> {
    for chunk in chunks {
        if connection.prepare_cached("DELETE FROM chunk WHERE id = ?1")?.execute([chunk.id])? != 1 {
            return Ok(false);
        }
        connection.prepare_cached("DELETE FROM hours WHERE chunk = ?1")?.execute([chunk.id])?;
    }
    Ok(true)
}

/// The chunks of a point that may hold rows from `from` up to `to` (excluded), by their start.
pub(crate) fn list(
    connection: &Connection,
    point: u32,
    from: i64,
    to: i64,
) -> Result<Vec<Chunk>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, start_ms, end_ms, good + uncertain + bad FROM chunk
         WHERE point = ?1 AND start_ms >= ?2 AND start_ms < ?3 AND end_ms >= ?4 ORDER BY start_ms, id",
    )?;
    let reach = from.saturating_sub(SPAN_MS_MAX);
    let lines = statement.query_map(params![point, reach, to, from], Chunk::read)?;
    Ok(lines.collect::<Result<_, _>>()?)
}

/// The rows of a chunk.
pub(crate) fn rows(connection: &Connection, point: u32, id: i64) -> Result<Vec<Kept>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT body FROM chunk WHERE id = ?1")?;
    let mut lines = statement.query([id])?;
    let damaged = |what: String| StoreError::damaged(format!("chunk {id} of point {point}: {what}"));
    match lines.next()? {
        Some(line) => chunk::decode(line.get_ref(0)?.as_blob().unwrap_or_default())
            .map_err(|error| damaged(error.to_string())),
        None => Err(damaged("it is gone".to_owned())),
    }
}

/// The hours of a chunk, if it has any.
pub(crate) fn hours(connection: &Connection, point: u32, id: i64) -> Result<Option<Vec<Window>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT body FROM hours WHERE chunk = ?1")?;
    let mut lines = statement.query([id])?;
    let Some(line) = lines.next()? else { return Ok(None) };
    let (windows, _) = hours::decode(line.get_ref(0)?.as_blob().unwrap_or_default())
        .map_err(|error| StoreError::damaged(format!("hours of chunk {id} of point {point}: {error}")))?;
    Ok(Some(windows))
}

/// What remains of rows of a point that have faded: at most [`FADED_WINDOWS_MAX`] windows of one length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Faded {
    pub(crate) id: i64,
    pub(crate) step_h: u32,
    pub(crate) windows: Vec<Window>,
}

/// Puts faded windows on the shelf.
pub(crate) fn put_faded(
    connection: &Connection,
    point: u32,
    windows: &[Window],
    step_h: u32,
) -> Result<(), StoreError> {
    // Cut at fixed places, so that a record never waits long for its youngest window to grow old.
    let record_ms = FADED_WINDOWS_MAX * i64::from(step_h) * hours::HOUR_MS;
    let record = |window: &Window| window.from.0.div_euclid(record_ms);
    for part in windows.chunk_by(|a, b| record(a) == record(b)) {
        let Some((first, last)) = part.first().zip(part.last()) else { continue };
        connection
            .prepare_cached(
                "INSERT INTO faded (point, start_ms, end_ms, step_h, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![point, first.from.0, last.to.0, step_h, encoded(point, part, step_h)?])?;
    }
    Ok(())
}

/// What has faded of a point and reaches into `from` up to `to` (excluded), by its start.
pub(crate) fn faded(
    connection: &Connection,
    point: u32,
    from: i64,
    to: i64,
) -> Result<Vec<Faded>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, body FROM faded WHERE point = ?1 AND start_ms < ?2 AND end_ms > ?3 ORDER BY start_ms, id",
    )?;
    let mut lines = statement.query(params![point, to, from])?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        let id = line.get(0)?;
        let (windows, step_h) = hours::decode(line.get_ref(1)?.as_blob().unwrap_or_default())
            .map_err(|error| StoreError::damaged(format!("faded windows {id} of point {point}: {error}")))?;
        found.push(Faded { id, step_h, windows });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sensor that is read every so many seconds, up to 250 ms late, and walks in tenths.
    fn walk(interval_ms: i64, phase_ms: i64) -> Vec<Kept> {
        let (mut dice, mut tenths) = (0x9E37_79B9_7F4A_7C15_u64, 250);
        let mut row = |n: i64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            tenths += [-3, -2, -1, 0, 0, 1, 2, 3][(dice % 8) as usize];
            let late = (dice >> 32) as i64 % 250;
            let at = 1_750_000_000_000 + phase_ms + n * interval_ms + late;
            Kept { at, seq: n as u64, value: f64::from(tenths) / 10.0, epoch: 1, code: 0 }
        };
        (0..chunk::ROWS_MAX as i64).map(&mut row).collect()
    }

    #[test]
    fn a_reading_of_a_walking_sensor_takes_under_two_bytes_with_its_hours() {
        for (interval_ms, phase_ms) in
            [(300_000, 0), (300_000, 299_900), (60_000, 1), (10_000, 9_999), (1_000, 990)]
        {
            let rows = walk(interval_ms, phase_ms);
            let kept = Prepared::of(1, &rows, Effort::Lasting).unwrap().unwrap();
            let hours = kept.hours.as_deref().unwrap_or_default();
            let each = |bytes: &[u8]| bytes.len() as f64 / rows.len() as f64;
            let found = (each(&kept.body), each(hours));
            assert!(found.0 < 1.45 && found.1 < 0.45, "{interval_ms} ms, phase {phase_ms}: {found:?}");
        }
    }
}
