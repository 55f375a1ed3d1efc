//! Reads the registry back: for a restart and for people.

use rusqlite::{Connection, OptionalExtension, Row as Line};
use sitian_ingest::{
    EpochEntry, EpochState, Form, GapCommitted, Incident, IncidentKind, PointEntry, Restored, RestoredEpoch,
};
use sitian_model::{
    DeviceId, DeviceInfo, EpochNo, Gap, GapReason, GatewayId, PointId, PointInfo, PointKey, PointNo, Span,
    Timestamp,
};
use sitian_registry::{
    EpochLine, GapStored, IncidentStored, ListFilter, QuarantineCounts, QuarantineStored, manifest,
};

use super::undated::of_epoch;
use super::{gateway, label, seq, time};
use crate::fault::StoreError;

/// Values of the parameters that every list has: id below, noticed since, gateways, at most.
fn values(filter: &ListFilter) -> (i64, i64, Option<String>, i64) {
    let list = |gateways: &Vec<GatewayId>| {
        // Ids need no escaping: their alphabet has neither quotes nor backslashes.
        let ids: Vec<String> = gateways.iter().map(|id| format!("\"{id}\"")).collect();
        format!("[{}]", ids.join(","))
    };
    let since = filter.since.map_or(i64::MIN, |at| at.0);
    (clamp(filter.before), since, filter.gateways.as_ref().map(list), clamp(Some(filter.limit as u64)))
}

/// Everything that `ingest` needs to continue.
pub(crate) fn restored(connection: &Connection) -> Result<Restored, StoreError> {
    let points = collect(
        connection,
        "SELECT p.no, g.id, p.device, p.key, p.device_name, p.place, p.profile, p.bus, p.device_index, p.measurement,
         p.unit, p.decimals, p.interval_ms, p.described_ms FROM point p JOIN gateway g ON g.no = p.gateway ORDER BY p.no",
        point,
    )?;
    let epochs = collect(
        connection,
        "SELECT e.no, g.id, e.label, e.points, w.committed, w.chain, w.end_seq, w.sealed, w.gone, w.loss_reported,
         w.live_rank, w.held_rank, w.newest_ms FROM epoch e JOIN gateway g ON g.no = e.gateway
         LEFT JOIN watermark w ON w.epoch = e.no ORDER BY e.no",
        restored_epoch,
    )?;
    let quarantined_bytes = collect(
        connection,
        "SELECT g.id, sum(length(q.raw)) FROM quarantine q JOIN gateway g ON g.no = q.gateway GROUP BY g.id",
        |line| Ok((gateway(line, 0)?, line.get::<_, i64>(1)?.cast_unsigned())),
    )?;
    let failed_spools = collect(
        connection,
        "SELECT g.id, i.label FROM incident i JOIN gateway g ON g.no = i.gateway
         WHERE i.kind = 'spool_failed' AND i.ended_ms IS NULL",
        |line| {
            let epoch = label(line, 1)?.ok_or_else(|| StoreError::damaged("a failed spool has no epoch"))?;
            Ok((gateway(line, 0)?, epoch))
        },
    )?;
    Ok(Restored { points, epochs, quarantined_bytes, failed_spools, ..Restored::default() })
}

/// The epoch that every gateway is in, with its manifest: the one that was seen live last, or the newest while none was.
/// Old epochs whose manifests arrive later, after a restoration of this store, were never seen live.
pub(crate) fn epochs(connection: &Connection) -> Result<Vec<EpochEntry>, StoreError> {
    collect(
        connection,
        "SELECT e.no, g.id, e.label, e.points, m.body, e.first_ms FROM epoch e JOIN gateway g ON g.no = e.gateway
         JOIN manifest m ON m.no = e.manifest
         WHERE e.no IN (SELECT no FROM (SELECT x.no, row_number() OVER (PARTITION BY x.gateway
         ORDER BY coalesce(w.live_rank, 0) DESC, x.no DESC) place FROM epoch x
         LEFT JOIN watermark w ON w.epoch = x.no) WHERE place = 1) ORDER BY g.id",
        entry,
    )
}

/// The epochs of a gateway in the order in which it was in them, as far as it was seen live; before them the others.
pub(crate) fn epoch_lines(
    connection: &Connection,
    gateway: &GatewayId,
) -> Result<Vec<EpochLine>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT e.no, e.label, e.first_ms, e.manifest, coalesce(w.committed, 0), coalesce(w.live_rank, 0), w.newest_ms
         FROM epoch e LEFT JOIN watermark w ON w.epoch = e.no WHERE e.gateway = (SELECT no FROM gateway WHERE id = ?1)
         ORDER BY coalesce(w.live_rank, 0), e.no",
    )?;
    let mut lines = statement.query([gateway.as_str()])?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        found.push(EpochLine {
            no: EpochNo(line.get(0)?),
            epoch: label(line, 1)?.ok_or_else(|| StoreError::damaged("an epoch has no label"))?,
            at: Timestamp(line.get(2)?),
            manifest: line.get(3)?,
            committed: line.get::<_, i64>(4)?.cast_unsigned(),
            live_rank: line.get(5)?,
            newest_at: time(line, 6)?,
        });
    }
    Ok(found)
}

/// One epoch with its manifest.
pub(crate) fn epoch(connection: &Connection, no: EpochNo) -> Result<Option<EpochEntry>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT e.no, g.id, e.label, e.points, m.body, e.first_ms FROM epoch e JOIN gateway g ON g.no = e.gateway
         JOIN manifest m ON m.no = e.manifest WHERE e.no = ?1",
    )?;
    let mut lines = statement.query([no.0])?;
    lines.next()?.map(entry).transpose()
}

fn entry(line: &Line<'_>) -> Result<EpochEntry, StoreError> {
    let gateway = gateway(line, 1)?;
    Ok(EpochEntry {
        no: EpochNo(line.get(0)?),
        epoch: label(line, 2)?.ok_or_else(|| StoreError::damaged("an epoch has no label"))?,
        points: points(line, 3)?,
        manifest: manifest::decode(line.get_ref(4)?.as_blob().unwrap_or_default(), gateway.clone())
            .map_err(|error| StoreError::damaged(format!("manifest of gateway {gateway}: {error}")))?,
        gateway,
        at: Timestamp(line.get(5)?),
    })
}

/// Incidents, newest first.
pub(crate) fn incidents(
    connection: &Connection,
    filter: &ListFilter,
) -> Result<Vec<IncidentStored>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT i.id, i.kind, g.id, i.label, i.other, i.first_seq, i.last_seq, i.after_ms, i.at_ms, i.ended_ms
         FROM incident i
         JOIN gateway g ON g.no = i.gateway WHERE i.id < ?1 AND i.at_ms >= ?2
         AND (?3 IS NULL OR g.id IN (SELECT value FROM json_each(?3))) ORDER BY i.id DESC LIMIT ?4",
    )?;
    let mut lines = statement.query(values(filter))?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        let word: String = line.get(1)?;
        let kind = IncidentKind::ALL.into_iter().find(|kind| kind.word() == word);
        let incident = Incident {
            kind: kind
                .ok_or_else(|| StoreError::damaged(format!("nobody knows incidents of kind {word:?}")))?,
            gateway: gateway(line, 2)?,
            epoch: label(line, 3)?,
            other: label(line, 4)?,
            seqs: seq(line, 5)?.zip(seq(line, 6)?),
            after: time(line, 7)?,
            at: Timestamp(line.get(8)?),
        };
        let (id, ended_at) = (line.get::<_, i64>(0)?.cast_unsigned(), time(line, 9)?);
        let undated = match (incident.kind, incident.epoch) {
            (IncidentKind::ClockUnknown, Some(epoch)) => of_epoch(connection, &incident.gateway, epoch)?,
            _ => None,
        };
        found.push(IncidentStored { id, incident, ended_at, undated });
    }
    Ok(found)
}

/// Gaps, newest first.
pub(crate) fn gaps(connection: &Connection, filter: &ListFilter) -> Result<Vec<GapStored>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT x.id, g.id, x.epoch, x.first_seq, x.last_seq, x.reason, x.from_ms, x.to_ms, x.at_ms FROM gap x
         JOIN epoch e ON e.no = x.epoch JOIN gateway g ON g.no = e.gateway WHERE x.id < ?1 AND x.at_ms >= ?2
         AND (?3 IS NULL OR g.id IN (SELECT value FROM json_each(?3))) ORDER BY x.id DESC LIMIT ?4",
    )?;
    let mut lines = statement.query(values(filter))?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        let word: String = line.get(5)?;
        let reasons = [GapReason::Evicted, GapReason::Damaged, GapReason::Trimmed];
        let reason = reasons.into_iter().find(|reason| reason.word() == word);
        let gap = Gap {
            first: line.get::<_, i64>(3)?.cast_unsigned(),
            last: line.get::<_, i64>(4)?.cast_unsigned(),
            reason: reason
                .ok_or_else(|| StoreError::damaged(format!("nobody knows gaps of kind {word:?}")))?,
            span: time(line, 6)?.zip(time(line, 7)?).map(|(from, to)| Span { from, to }),
        };
        let committed = GapCommitted { epoch: EpochNo(line.get(2)?), gap, at: Timestamp(line.get(8)?) };
        found.push(GapStored {
            id: line.get::<_, i64>(0)?.cast_unsigned(),
            gateway: gateway(line, 1)?,
            committed,
        });
    }
    Ok(found)
}

/// What is in quarantine, newest first.
pub(crate) fn quarantine(
    connection: &Connection,
    filter: &ListFilter,
) -> Result<Vec<QuarantineStored>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT q.id, g.id, q.label, q.first_seq, q.end_seq, q.form, q.reason, length(q.raw), q.at_ms,
         q.redecoded_ms, q.readings FROM quarantine q
         JOIN gateway g ON g.no = q.gateway WHERE q.id < ?1 AND q.at_ms >= ?2
         AND (?3 IS NULL OR g.id IN (SELECT value FROM json_each(?3))) ORDER BY q.id DESC LIMIT ?4",
    )?;
    let mut lines = statement.query(values(filter))?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        let seqs = seq(line, 3)?.zip(seq(line, 4)?);
        found.push(QuarantineStored {
            id: line.get::<_, i64>(0)?.cast_unsigned(),
            gateway: gateway(line, 1)?,
            range: label(line, 2)?.zip(seqs).map(|(epoch, (first, end))| (epoch, first, end)),
            form: form(&line.get::<_, String>(5)?),
            reason: line.get(6)?,
            bytes: line.get::<_, i64>(7)?.cast_unsigned(),
            at: Timestamp(line.get(8)?),
            redecoded_at: time(line, 9)?,
            readings: seq(line, 10)?,
        });
    }
    Ok(found)
}

fn form(word: &str) -> Form {
    [Form::Record, Form::Rival].into_iter().find(|form| form.word() == word).unwrap_or(Form::Message)
}

/// How much is in quarantine, of these gateways or of all.
pub(crate) fn quarantine_counts(
    connection: &Connection,
    filter: &ListFilter,
) -> Result<QuarantineCounts, StoreError> {
    let (_, since, gateways, _) = values(filter);
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE q.redecoded_ms IS NULL), coalesce(sum(length(q.raw)), 0), count(q.redecoded_ms)
         FROM quarantine q JOIN gateway g ON g.no = q.gateway
         WHERE q.at_ms >= ?1 AND (?2 IS NULL OR g.id IN (SELECT value FROM json_each(?2)))",
    )?;
    Ok(statement.query_row((since, gateways), |line| {
        let count = |column| line.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok(QuarantineCounts { waiting: count(0)?, bytes: count(1)?, redecoded: count(2)? })
    })?)
}

/// The bytes of one entry of the quarantine.
pub(crate) fn raw(connection: &Connection, id: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT raw FROM quarantine WHERE id = ?1")?;
    Ok(statement.query_row([clamp(Some(id))], |line| line.get(0)).optional()?)
}

/// Absent means no bound; SQLite counts with a sign.
fn clamp(n: Option<u64>) -> i64 {
    n.and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX)
}

fn collect<T>(
    connection: &Connection,
    sql: &str,
    mut one: impl FnMut(&Line<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare(sql)?;
    let mut lines = statement.query([])?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        found.push(one(line)?);
    }
    Ok(found)
}

fn point(line: &Line<'_>) -> Result<PointEntry, StoreError> {
    let bad = |error: sitian_model::IdError| StoreError::damaged(error.to_string());
    let device = DeviceId::new(&line.get::<_, String>(2)?).map_err(bad)?;
    let key = PointKey::new(&line.get::<_, String>(3)?).map_err(bad)?;
    Ok(PointEntry {
        no: PointNo(line.get(0)?),
        id: PointId { gateway: gateway(line, 1)?, device: device.clone(), key: key.clone() },
        device: DeviceInfo {
            id: device,
            name: line.get(4)?,
            place: line.get(5)?,
            profile: line.get(6)?,
            bus: line.get(7)?,
        },
        info: PointInfo {
            device: line.get(8)?,
            key,
            measurement: line.get(9)?,
            unit: line.get(10)?,
            decimals: line.get(11)?,
            interval_ms: line.get(12)?,
        },
        at: Timestamp(line.get(13)?),
    })
}

fn points(line: &Line<'_>, column: usize) -> Result<Vec<PointNo>, StoreError> {
    let blob = line.get_ref(column)?.as_blob().unwrap_or_default();
    manifest::decode_points(blob).map_err(|error| StoreError::damaged(format!("points of an epoch: {error}")))
}

fn restored_epoch(line: &Line<'_>) -> Result<RestoredEpoch, StoreError> {
    let no = EpochNo(line.get(0)?);
    let state = match seq(line, 4)? {
        None => EpochState::fresh(no),
        Some(committed) => EpochState {
            no,
            committed,
            chain: line.get(5)?,
            end: line.get::<_, i64>(6)?.cast_unsigned(),
            sealed: line.get(7)?,
            gone: line.get(8)?,
            loss_reported: line.get(9)?,
            live_rank: line.get(10)?,
            held_rank: line.get(11)?,
            newest_at: time(line, 12)?,
        },
    };
    Ok(RestoredEpoch {
        gateway: gateway(line, 1)?,
        epoch: label(line, 2)?.ok_or_else(|| StoreError::damaged("an epoch has no label"))?,
        points: points(line, 3)?,
        state,
    })
}
