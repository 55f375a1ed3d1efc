//! Writes what `ingest` decides about gateways, points, epochs, gaps, quarantine and incidents, and reads it back.
//! Knows no readings.

use rusqlite::{Connection, OptionalExtension, Row as Line, params};
use sitian_ingest::{
    Effect, EpochEntry, EpochState, GapCommitted, Incident, IncidentEnded, PointEntry, Quarantined, Redecoded,
};
use sitian_model::{Epoch, GatewayId, Timestamp};
use sitian_registry::manifest;

use crate::fault::StoreError;

mod answers;
mod undated;

pub(crate) use answers::{
    epoch, epoch_lines, epochs, gaps, incidents, quarantine, quarantine_counts, raw, restored,
};
pub(crate) use undated::of_point as undated;

/// Writes one effect; rows are written elsewhere.
pub(crate) fn write(connection: &Connection, effect: &Effect) -> Result<(), StoreError> {
    match effect {
        Effect::Rows(_) => Ok(()),
        Effect::Point(entry) => write_point(connection, entry),
        Effect::Epoch(entry) => write_epoch(connection, entry),
        Effect::Watermark(state) => write_watermark(connection, state),
        Effect::Gap(gap) => write_gap(connection, gap),
        Effect::Quarantine(quarantined) => write_quarantine(connection, quarantined),
        Effect::Redecoded(redecoded) => write_redecoded(connection, redecoded),
        Effect::Incident(incident) => write_incident(connection, incident),
        Effect::Ended(ended) => end_incident(connection, ended),
        Effect::Undated(undated) => undated.iter().try_for_each(|one| undated::write(connection, one)),
    }
}

/// The number of a gateway, given at its first mention.
fn gateway_no(connection: &Connection, gateway: &GatewayId, at: Timestamp) -> Result<i64, StoreError> {
    let found = connection
        .prepare_cached("SELECT no FROM gateway WHERE id = ?1")?
        .query_row([gateway.as_str()], |line| line.get(0))
        .optional()?;
    match found {
        Some(no) => Ok(no),
        None => Ok(connection
            .prepare_cached("INSERT INTO gateway (id, first_ms) VALUES (?1, ?2)")?
            .insert(params![gateway.as_str(), at.0])?),
    }
}

fn write_point(connection: &Connection, entry: &PointEntry) -> Result<(), StoreError> {
    let gateway = gateway_no(connection, &entry.id.gateway, entry.at)?;
    let (device, info) = (&entry.device, &entry.info);
    connection
        .prepare_cached(
            "INSERT INTO point VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (no) DO UPDATE SET device_name = ?5, place = ?6, profile = ?7, bus = ?8, device_index = ?9,
             measurement = ?10, unit = ?11, decimals = ?12, interval_ms = ?13, described_ms = ?14",
        )?
        .execute(params![
            entry.no.0,
            gateway,
            entry.id.device.as_str(),
            entry.id.key.as_str(),
            device.name,
            device.place,
            device.profile,
            device.bus,
            info.device,
            info.measurement,
            info.unit,
            info.decimals,
            info.interval_ms,
            entry.at.0,
        ])?;
    Ok(())
}

fn write_epoch(connection: &Connection, entry: &EpochEntry) -> Result<(), StoreError> {
    let gateway = gateway_no(connection, &entry.gateway, entry.at)?;
    let body = manifest::encode(&entry.manifest);
    let known = connection
        .prepare_cached("SELECT no FROM manifest WHERE gateway = ?1 AND body = ?2")?
        .query_row(params![gateway, body], |line| line.get(0))
        .optional()?;
    let manifest: i64 = match known {
        Some(no) => no,
        None => connection
            .prepare_cached("INSERT INTO manifest (gateway, body) VALUES (?1, ?2)")?
            .insert(params![gateway, body])?,
    };
    connection
        .prepare_cached("INSERT INTO epoch VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (no) DO NOTHING")?
        .execute(params![
            entry.no.0,
            gateway,
            entry.epoch.0,
            manifest,
            manifest::encode_points(&entry.points),
            entry.at.0,
        ])?;
    Ok(())
}

fn write_watermark(connection: &Connection, state: &EpochState) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO watermark VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            state.no.0,
            state.committed.cast_signed(),
            state.chain,
            state.end.cast_signed(),
            state.sealed,
            state.gone,
            state.loss_reported,
            state.live_rank,
            state.held_rank,
            state.newest_at.map(|at| at.0),
        ])?;
    Ok(())
}

fn write_gap(connection: &Connection, committed: &GapCommitted) -> Result<(), StoreError> {
    let gap = &committed.gap;
    connection
        .prepare_cached(
            "INSERT INTO gap (epoch, first_seq, last_seq, reason, from_ms, to_ms, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            committed.epoch.0,
            gap.first.cast_signed(),
            gap.last.cast_signed(),
            gap.reason.word(),
            gap.span.map(|span| span.from.0),
            gap.span.map(|span| span.to.0),
            committed.at.0,
        ])?;
    Ok(())
}

fn write_quarantine(connection: &Connection, bytes: &Quarantined) -> Result<(), StoreError> {
    let gateway = gateway_no(connection, &bytes.gateway, bytes.at)?;
    connection
        .prepare_cached(
            "INSERT INTO quarantine (gateway, label, first_seq, end_seq, form, reason, at_ms, raw)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            gateway,
            bytes.range.map(|(epoch, ..)| epoch.0),
            bytes.range.map(|(_, first, _)| first.cast_signed()),
            bytes.range.map(|(.., end)| end.cast_signed()),
            bytes.form.word(),
            bytes.reason,
            bytes.at.0,
            bytes.raw,
        ])?;
    Ok(())
}

fn write_incident(connection: &Connection, incident: &Incident) -> Result<(), StoreError> {
    let gateway = gateway_no(connection, &incident.gateway, incident.at)?;
    connection
        .prepare_cached(
            "INSERT INTO incident (kind, gateway, label, other, first_seq, last_seq, after_ms, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            incident.kind.word(),
            gateway,
            incident.epoch.map(|epoch| epoch.0),
            incident.other.map(|epoch| epoch.0),
            incident.seqs.map(|(first, _)| first.cast_signed()),
            incident.seqs.map(|(_, last)| last.cast_signed()),
            incident.after.map(|at| at.0),
            incident.at.0,
        ])?;
    Ok(())
}

/// Refuses an entry that is none, or that was read again before: its rows would be stored twice.
fn write_redecoded(connection: &Connection, redecoded: &Redecoded) -> Result<(), StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE quarantine SET redecoded_ms = ?2, readings = ?3, raw = x'' WHERE id = ?1 AND redecoded_ms IS NULL",
        )?
        .execute(params![redecoded.id.cast_signed(), redecoded.at.0, redecoded.readings.cast_signed()])?;
    if changed == 1 {
        return Ok(());
    }
    Err(StoreError::damaged(format!("quarantine entry {} is not there to be read again", redecoded.id)))
}

fn end_incident(connection: &Connection, ended: &IncidentEnded) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE incident SET ended_ms = ?3 WHERE kind = ?1 AND ended_ms IS NULL
             AND gateway = (SELECT no FROM gateway WHERE id = ?2)",
        )?
        .execute(params![ended.kind.word(), ended.gateway.as_str(), ended.at.0])?;
    Ok(())
}

fn gateway(line: &Line<'_>, column: usize) -> Result<GatewayId, StoreError> {
    let text: String = line.get(column)?;
    GatewayId::new(&text).map_err(|error| StoreError::damaged(error.to_string()))
}

fn label(line: &Line<'_>, column: usize) -> Result<Option<Epoch>, StoreError> {
    Ok(line.get::<_, Option<[u8; 16]>>(column)?.map(Epoch))
}

fn time(line: &Line<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(line.get::<_, Option<i64>>(column)?.map(Timestamp))
}

fn seq(line: &Line<'_>, column: usize) -> Result<Option<u64>, StoreError> {
    Ok(line.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
}
