//! Reads the registry back: for a restart, and what gateways have.

use sitian_ingest::{EpochEntry, EpochState, PointEntry, Restored, RestoredEpoch};
use sitian_model::{
    DeviceId, DeviceInfo, EpochNo, GatewayId, IdError, Numbers, PointId, PointInfo, PointKey, PointNo, Slot,
};
use sitian_registry::{EpochLine, manifest};
use tokio_postgres::Row;

use crate::connection::Sql;
use crate::fault::DatabaseError;
use crate::line::{at, at_if, count, gateway, label, small, value};

/// A slot as a parameter: `NULL` for all of them.
pub(crate) fn part(slot: Option<Slot>) -> Option<i16> {
    slot.map(|slot| slot.number().into())
}

/// Everything that `ingest` needs to continue with these gateways.
pub(crate) fn restored(sql: &mut Sql<'_>, slot: Option<Slot>) -> Result<Restored, DatabaseError> {
    let of = part(slot);
    let points = sql.query(
        "SELECT p.no, g.id, p.device, p.key, p.device_name, p.place, p.profile, p.bus, p.device_index, p.measurement,
         p.unit, p.decimals, p.interval_ms, p.described_ms FROM point p JOIN gateway g ON g.no = p.gateway
         WHERE $1::smallint IS NULL OR g.slot = $1 ORDER BY p.no",
        &[&of],
    )?;
    let epochs = sql.query(
        "SELECT e.no, g.id, e.label, e.points, w.committed, w.chain, w.end_seq, w.sealed, w.gone, w.loss_reported,
         w.live_rank, w.held_rank, w.newest_ms FROM epoch e JOIN gateway g ON g.no = e.gateway
         LEFT JOIN watermark w ON w.epoch = e.no WHERE $1::smallint IS NULL OR g.slot = $1 ORDER BY e.no",
        &[&of],
    )?;
    let bytes = sql.query(
        "SELECT g.id, sum(length(q.raw))::bigint FROM quarantine q JOIN gateway g ON g.no = q.gateway
         WHERE $1::smallint IS NULL OR g.slot = $1 GROUP BY g.id ORDER BY g.id",
        &[&of],
    )?;
    let failed = sql.query(
        "SELECT g.id, i.label FROM incident i JOIN gateway g ON g.no = i.gateway
         WHERE i.kind = 'spool_failed' AND i.ended_ms IS NULL AND ($1::smallint IS NULL OR g.slot = $1) ORDER BY i.id",
        &[&of],
    )?;
    let (point_numbers, epoch_numbers) = match slot {
        None => Default::default(),
        Some(slot) => (
            numbers(sql, slot, "SELECT max(no) FROM point")?,
            numbers(sql, slot, "SELECT max(no) FROM epoch")?,
        ),
    };
    Ok(Restored {
        points: points.iter().map(point).collect::<Result<_, _>>()?,
        epochs: epochs.iter().map(restored_epoch).collect::<Result<_, _>>()?,
        quarantined_bytes: bytes
            .iter()
            .map(|line| Ok((gateway(line, 0)?, count(line, 1)?)))
            .collect::<Result<_, DatabaseError>>()?,
        failed_spools: failed
            .iter()
            .map(|line| Ok((gateway(line, 0)?, label(line, 1)?)))
            .collect::<Result<_, DatabaseError>>()?,
        point_numbers,
        epoch_numbers,
    })
}

/// The numbers of a slot, above all that anybody has given out: who counted before may have counted all of them.
pub(crate) fn numbers(
    sql: &mut Sql<'_>,
    slot: Slot,
    highest: &'static str,
) -> Result<Numbers, DatabaseError> {
    let mut numbers = Numbers::of(slot);
    if let Some(taken) =
        sql.first(highest, &[])?.map(|line| value::<Option<i64>>(&line, 0)).transpose()?.flatten()
    {
        numbers.pass(taken.cast_unsigned());
    }
    Ok(numbers)
}

/// The epoch that every gateway is in, with its manifest.
pub(crate) fn newest_epochs(sql: &mut Sql<'_>, slot: Option<Slot>) -> Result<Vec<EpochEntry>, DatabaseError> {
    let lines = sql.query(
        // Which they are is found out by numbers alone: a manifest may be as large as a thousand of those.
        "WITH newest AS (SELECT DISTINCT ON (e.gateway) e.no FROM epoch e JOIN gateway g ON g.no = e.gateway
         LEFT JOIN watermark w ON w.epoch = e.no WHERE $1::smallint IS NULL OR g.slot = $1
         ORDER BY e.gateway, coalesce(w.live_rank, 0) DESC, e.no DESC)
         SELECT e.no, g.id, e.label, e.points, m.body, e.first_ms FROM newest JOIN epoch e ON e.no = newest.no
         JOIN gateway g ON g.no = e.gateway JOIN manifest m ON m.no = e.manifest ORDER BY g.id",
        &[&part(slot)],
    )?;
    lines.iter().map(entry).collect()
}

/// One epoch with its manifest.
pub(crate) fn epoch(sql: &mut Sql<'_>, no: EpochNo) -> Result<Option<EpochEntry>, DatabaseError> {
    let line = sql.first(
        "SELECT e.no, g.id, e.label, e.points, m.body, e.first_ms FROM epoch e JOIN gateway g ON g.no = e.gateway
         JOIN manifest m ON m.no = e.manifest WHERE e.no = $1",
        &[&i64::from(no.0)],
    )?;
    line.as_ref().map(entry).transpose()
}

/// The epochs of a gateway in the order in which it was in them.
pub(crate) fn epoch_lines(sql: &mut Sql<'_>, id: &GatewayId) -> Result<Vec<EpochLine>, DatabaseError> {
    let lines = sql.query(
        "SELECT e.no, e.label, e.first_ms, e.manifest, coalesce(w.committed, 0), coalesce(w.live_rank, 0), w.newest_ms
         FROM epoch e LEFT JOIN watermark w ON w.epoch = e.no WHERE e.gateway = (SELECT no FROM gateway WHERE id = $1)
         ORDER BY coalesce(w.live_rank, 0), e.no",
        &[&id.as_str()],
    )?;
    let one = |line: &Row| {
        Ok(EpochLine {
            no: EpochNo(small(line, 0)?),
            epoch: label(line, 1)?,
            at: at(line, 2)?,
            manifest: value(line, 3)?,
            committed: count(line, 4)?,
            live_rank: small(line, 5)?,
            newest_at: at_if(line, 6)?,
        })
    };
    lines.iter().map(one).collect()
}

fn entry(line: &Row) -> Result<EpochEntry, DatabaseError> {
    let gateway = gateway(line, 1)?;
    let damaged = |error| DatabaseError::Damaged(format!("manifest of gateway {gateway}: {error}"));
    Ok(EpochEntry {
        no: EpochNo(small(line, 0)?),
        epoch: label(line, 2)?,
        points: points(line, 3)?,
        manifest: manifest::decode(value(line, 4)?, gateway.clone()).map_err(damaged)?,
        gateway,
        at: at(line, 5)?,
    })
}

fn points(line: &Row, column: usize) -> Result<Vec<PointNo>, DatabaseError> {
    let damaged = |error| DatabaseError::Damaged(format!("points of an epoch: {error}"));
    manifest::decode_points(value(line, column)?).map_err(damaged)
}

fn point(line: &Row) -> Result<PointEntry, DatabaseError> {
    let bad = |error: IdError| DatabaseError::Damaged(error.to_string());
    let device = DeviceId::new(value(line, 2)?).map_err(bad)?;
    let key = PointKey::new(value(line, 3)?).map_err(bad)?;
    Ok(PointEntry {
        no: PointNo(small(line, 0)?),
        id: PointId { gateway: gateway(line, 1)?, device: device.clone(), key: key.clone() },
        device: DeviceInfo {
            id: device,
            name: value(line, 4)?,
            place: value(line, 5)?,
            profile: value(line, 6)?,
            bus: value(line, 7)?,
        },
        info: PointInfo {
            device: small(line, 8)?,
            key,
            measurement: value(line, 9)?,
            unit: value(line, 10)?,
            decimals: value::<i16>(line, 11)?.try_into().unwrap_or(u8::MAX),
            interval_ms: small(line, 12)?,
        },
        at: at(line, 13)?,
    })
}

fn restored_epoch(line: &Row) -> Result<RestoredEpoch, DatabaseError> {
    let no = EpochNo(small(line, 0)?);
    let state = match value::<Option<i64>>(line, 4)? {
        None => EpochState::fresh(no),
        Some(committed) => EpochState {
            no,
            committed: committed.cast_unsigned(),
            chain: match value::<Option<i64>>(line, 5)? {
                Some(_) => Some(small(line, 5)?),
                None => None,
            },
            end: count(line, 6)?,
            sealed: value(line, 7)?,
            gone: value(line, 8)?,
            loss_reported: value(line, 9)?,
            live_rank: small(line, 10)?,
            held_rank: small(line, 11)?,
            newest_at: at_if(line, 12)?,
        },
    };
    Ok(RestoredEpoch { gateway: gateway(line, 1)?, epoch: label(line, 2)?, points: points(line, 3)?, state })
}
