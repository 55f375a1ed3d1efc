//! Readings whose time nobody knows: how many, where their rows lie, and when they were taken.

use rusqlite::{Connection, Row as Line, params};
use sitian_ingest::{Taken, Undated};
use sitian_model::{Epoch, EpochNo, GatewayId, PointNo, Span, Timestamp};

use super::time;
use crate::fault::StoreError;

/// Adds to what is known of this point and epoch.
pub(super) fn write(connection: &Connection, undated: &Undated) -> Result<(), StoreError> {
    let known = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM undated WHERE point = ?1 AND epoch = ?2"))?
        .query_map(params![undated.point.0, undated.epoch.0], line)?
        .next()
        .transpose()?;
    let mut all = known.unwrap_or(*undated);
    if known.is_some() {
        all.join(undated);
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO undated VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute(params![
            all.point.0,
            all.epoch.0,
            all.readings.cast_signed(),
            all.seqs.0.cast_signed(),
            all.seqs.1.cast_signed(),
            all.stamped.from.0,
            all.stamped.to.0,
            all.taken.after.map(|at| at.0),
            all.taken.before.0,
        ])?;
    Ok(())
}

/// Those of one point that may have been taken inside a span, oldest epoch first.
pub(crate) fn of_point(
    connection: &Connection,
    point: PointNo,
    span: Span,
) -> Result<Vec<Undated>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM undated WHERE point = ?1 ORDER BY epoch"))?;
    let all = statement.query_map([point.0], line)?.collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|undated| undated.taken.touches(span)).collect())
}

/// How many all points of an epoch have, and when they were taken; `None` if there are none.
pub(super) fn of_epoch(
    connection: &Connection,
    gateway: &GatewayId,
    epoch: Epoch,
) -> Result<Option<(u64, Taken)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sum(u.readings), max(u.after_ms), max(u.before_ms) FROM undated u JOIN epoch e ON e.no = u.epoch
         JOIN gateway g ON g.no = e.gateway WHERE e.label = ?1 AND g.id = ?2 HAVING count(*) > 0",
    )?;
    let mut lines = statement.query(params![epoch.0, gateway.as_str()])?;
    let Some(line) = lines.next()? else { return Ok(None) };
    let taken = Taken { after: time(line, 1)?, before: Timestamp(line.get(2)?) };
    Ok(Some((line.get::<_, i64>(0)?.cast_unsigned(), taken)))
}

const COLUMNS: &str = "point, epoch, readings, first_seq, last_seq, from_ms, to_ms, after_ms, before_ms";

fn line(line: &Line<'_>) -> rusqlite::Result<Undated> {
    let number = |column| line.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(Undated {
        point: PointNo(line.get(0)?),
        epoch: EpochNo(line.get(1)?),
        readings: number(2)?,
        seqs: (number(3)?, number(4)?),
        stamped: Span { from: Timestamp(line.get(5)?), to: Timestamp(line.get(6)?) },
        taken: Taken {
            after: line.get::<_, Option<i64>>(7)?.map(Timestamp),
            before: Timestamp(line.get(8)?),
        },
    })
}
