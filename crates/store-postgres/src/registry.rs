//! Writes what `ingest` decides about gateways, points, epochs, gaps, quarantine and incidents. Knows no readings.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use sitian_ingest::{
    Effect, EpochEntry, EpochState, GapCommitted, Incident, IncidentEnded, PointEntry, Quarantined,
    Redecoded, Undated,
};
use sitian_model::{GatewayId, Slot, Timestamp};
use sitian_registry::manifest;

use crate::connection::Sql;
use crate::fault::DatabaseError;

pub(crate) mod answers;
pub(crate) mod lists;

/// Numbers of the gateways that a transaction names.
type Gateways = HashMap<String, i64>;

/// Writes effects, all but rows. What comes by the hundred goes in one statement each.
pub(crate) fn write(sql: &mut Sql<'_>, effects: &[Effect]) -> Result<(), DatabaseError> {
    let gateways = gateways(sql, effects)?;
    let (mut points, mut marks) = (BTreeMap::new(), BTreeMap::new());
    for effect in effects {
        match effect {
            Effect::Point(entry) => drop(points.insert(entry.no, entry)),
            Effect::Watermark(state) => drop(marks.insert(state.no, state)),
            _ => {}
        }
    }
    write_points(sql, &gateways, &points.into_values().collect::<Vec<_>>())?;
    for effect in effects {
        match effect {
            Effect::Rows(_) | Effect::Point(_) | Effect::Watermark(_) => {}
            Effect::Epoch(entry) => write_epoch(sql, &gateways, entry)?,
            Effect::Gap(gap) => write_gap(sql, gap)?,
            Effect::Quarantine(quarantined) => write_quarantine(sql, &gateways, quarantined)?,
            Effect::Redecoded(redecoded) => write_redecoded(sql, redecoded)?,
            Effect::Incident(incident) => write_incident(sql, &gateways, incident)?,
            Effect::Ended(ended) => end_incident(sql, ended)?,
            Effect::Undated(undated) => undated.iter().try_for_each(|one| write_undated(sql, one))?,
        }
    }
    write_watermarks(sql, &marks.into_values().collect::<Vec<_>>())
}

/// Text as the server takes it: everything but the character of the number 0.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Gives numbers to gateways that are mentioned for the first time.
fn gateways(sql: &mut Sql<'_>, effects: &[Effect]) -> Result<Gateways, DatabaseError> {
    let mut named: BTreeMap<&GatewayId, Timestamp> = BTreeMap::new();
    for effect in effects {
        let (gateway, at) = match effect {
            Effect::Point(entry) => (&entry.id.gateway, entry.at),
            Effect::Epoch(entry) => (&entry.gateway, entry.at),
            Effect::Quarantine(quarantined) => (&quarantined.gateway, quarantined.at),
            Effect::Incident(incident) => (&incident.gateway, incident.at),
            _ => continue,
        };
        named.entry(gateway).or_insert(at);
    }
    let mut found = Gateways::new();
    for insert in [false, true] {
        let missing = named.iter().filter(|(id, _)| !found.contains_key(id.as_str()));
        let missing: Vec<(&str, i16, i64)> =
            missing.map(|(id, at)| (id.as_str(), i16::from(Slot::of(id).number()), at.0)).collect();
        if missing.is_empty() {
            break;
        }
        let ids: Vec<&str> = missing.iter().map(|(id, ..)| *id).collect();
        let lines = if insert {
            let slots: Vec<i16> = missing.iter().map(|(_, slot, _)| *slot).collect();
            let firsts: Vec<i64> = missing.iter().map(|(.., at)| *at).collect();
            sql.query(
                "INSERT INTO gateway (id, slot, first_ms) SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[])
                 RETURNING id, no",
                &[&ids, &slots, &firsts],
            )?
        } else {
            sql.query("SELECT id, no FROM gateway WHERE id = ANY($1)", &[&ids])?
        };
        found.extend(lines.iter().map(|line| (line.get::<_, String>(0), line.get::<_, i64>(1))));
    }
    Ok(found)
}

fn number(gateways: &Gateways, gateway: &GatewayId) -> Result<i64, DatabaseError> {
    let number = gateways.get(gateway.as_str()).copied();
    number.ok_or_else(|| DatabaseError::Damaged(format!("gateway {gateway} has no number")))
}

fn write_points(sql: &mut Sql<'_>, gateways: &Gateways, points: &[&PointEntry]) -> Result<(), DatabaseError> {
    if points.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = points.iter().map(|p| i64::from(p.no.0)).collect();
    let of = points.iter().map(|p| number(gateways, &p.id.gateway)).collect::<Result<Vec<i64>, _>>()?;
    let texts = |get: &dyn Fn(&PointEntry) -> String| -> Vec<String> {
        points.iter().map(|point| text(&get(point)).into_owned()).collect()
    };
    let longs = |get: &dyn Fn(&PointEntry) -> i64| -> Vec<i64> { points.iter().map(|p| get(p)).collect() };
    let decimals: Vec<i16> = points.iter().map(|p| i16::from(p.info.decimals)).collect();
    let changed = sql.execute(
        "INSERT INTO point SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
         $7::text[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::smallint[], $13::bigint[], $14::bigint[])
         ON CONFLICT (no) DO UPDATE SET device_name = excluded.device_name, place = excluded.place,
         profile = excluded.profile, bus = excluded.bus, device_index = excluded.device_index,
         measurement = excluded.measurement, unit = excluded.unit, decimals = excluded.decimals,
         interval_ms = excluded.interval_ms, described_ms = excluded.described_ms
         WHERE (point.gateway, point.device, point.key) = (excluded.gateway, excluded.device, excluded.key)",
        &[
            &numbers,
            &of,
            &texts(&|p| p.id.device.to_string()),
            &texts(&|p| p.id.key.to_string()),
            &texts(&|p| p.device.name.clone()),
            &texts(&|p| p.device.place.clone()),
            &texts(&|p| p.device.profile.clone()),
            &texts(&|p| p.device.bus.clone()),
            &longs(&|p| i64::from(p.info.device)),
            &texts(&|p| p.info.measurement.to_string()),
            &texts(&|p| p.info.unit.clone()),
            &decimals,
            &longs(&|p| i64::from(p.info.interval_ms)),
            &longs(&|p| p.at.0),
        ],
    )?;
    if changed == points.len() as u64 {
        return Ok(());
    }
    Err(DatabaseError::Wrong("a number of a point is another point's already".to_owned()))
}

fn write_epoch(sql: &mut Sql<'_>, gateways: &Gateways, entry: &EpochEntry) -> Result<(), DatabaseError> {
    let gateway = number(gateways, &entry.gateway)?;
    let body = manifest::encode(&entry.manifest);
    let known = sql.first("SELECT no FROM manifest WHERE gateway = $1 AND body = $2", &[&gateway, &body])?;
    let line = match known {
        Some(line) => Some(line),
        None => sql
            .first("INSERT INTO manifest (gateway, body) VALUES ($1, $2) RETURNING no", &[&gateway, &body])?,
    };
    let manifest: i64 = line.map_or(0, |line| line.get(0));
    let (no, label, points) =
        (i64::from(entry.no.0), entry.epoch.0.as_slice(), manifest::encode_points(&entry.points));
    sql.execute(
        "INSERT INTO epoch VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (no) DO NOTHING",
        &[&no, &gateway, &label, &manifest, &points, &entry.at.0],
    )?;
    let same = "SELECT 1 FROM epoch WHERE no = $1 AND gateway = $2 AND label = $3";
    match sql.first(same, &[&no, &gateway, &label])? {
        Some(_) => Ok(()),
        None => Err(DatabaseError::Wrong(format!("number {no} is another epoch's already"))),
    }
}

fn write_watermarks(sql: &mut Sql<'_>, states: &[&EpochState]) -> Result<(), DatabaseError> {
    if states.is_empty() {
        return Ok(());
    }
    let longs = |get: &dyn Fn(&EpochState) -> i64| -> Vec<i64> { states.iter().map(|s| get(s)).collect() };
    let flags = |get: &dyn Fn(&EpochState) -> bool| -> Vec<bool> { states.iter().map(|s| get(s)).collect() };
    let chains: Vec<Option<i64>> = states.iter().map(|s| s.chain.map(i64::from)).collect();
    let newest: Vec<Option<i64>> = states.iter().map(|s| s.newest_at.map(|at| at.0)).collect();
    sql.execute(
        "INSERT INTO watermark SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[],
         $6::boolean[], $7::boolean[], $8::bigint[], $9::bigint[], $10::bigint[])
         ON CONFLICT (epoch) DO UPDATE SET committed = excluded.committed, chain = excluded.chain,
         end_seq = excluded.end_seq, sealed = excluded.sealed, gone = excluded.gone,
         loss_reported = excluded.loss_reported, live_rank = excluded.live_rank, held_rank = excluded.held_rank,
         newest_ms = excluded.newest_ms",
        &[
            &longs(&|s| i64::from(s.no.0)),
            &longs(&|s| s.committed.cast_signed()),
            &chains,
            &longs(&|s| s.end.cast_signed()),
            &flags(&|s| s.sealed),
            &flags(&|s| s.gone),
            &flags(&|s| s.loss_reported),
            &longs(&|s| i64::from(s.live_rank)),
            &longs(&|s| i64::from(s.held_rank)),
            &newest,
        ],
    )?;
    Ok(())
}

fn write_gap(sql: &mut Sql<'_>, committed: &GapCommitted) -> Result<(), DatabaseError> {
    let gap = &committed.gap;
    sql.execute(
        "INSERT INTO gap (epoch, first_seq, last_seq, reason, from_ms, to_ms, at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &i64::from(committed.epoch.0),
            &gap.first.cast_signed(),
            &gap.last.cast_signed(),
            &gap.reason.word(),
            &gap.span.map(|span| span.from.0),
            &gap.span.map(|span| span.to.0),
            &committed.at.0,
        ],
    )?;
    Ok(())
}

fn write_quarantine(
    sql: &mut Sql<'_>,
    gateways: &Gateways,
    bytes: &Quarantined,
) -> Result<(), DatabaseError> {
    let (label, first, end) = match &bytes.range {
        Some((epoch, first, end)) => {
            (Some(epoch.0.as_slice()), Some(first.cast_signed()), Some(end.cast_signed()))
        }
        None => (None, None, None),
    };
    sql.execute(
        "INSERT INTO quarantine (gateway, label, first_seq, end_seq, form, reason, at_ms, raw)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            &number(gateways, &bytes.gateway)?,
            &label,
            &first,
            &end,
            &bytes.form.word(),
            &text(&bytes.reason),
            &bytes.at.0,
            &bytes.raw,
        ],
    )?;
    Ok(())
}

fn write_incident(sql: &mut Sql<'_>, gateways: &Gateways, incident: &Incident) -> Result<(), DatabaseError> {
    sql.execute(
        "INSERT INTO incident (kind, gateway, label, other, first_seq, last_seq, after_ms, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            &incident.kind.word(),
            &number(gateways, &incident.gateway)?,
            &incident.epoch.as_ref().map(|epoch| epoch.0.as_slice()),
            &incident.other.as_ref().map(|epoch| epoch.0.as_slice()),
            &incident.seqs.map(|(first, _)| first.cast_signed()),
            &incident.seqs.map(|(_, last)| last.cast_signed()),
            &incident.after.map(|at| at.0),
            &incident.at.0,
        ],
    )?;
    Ok(())
}

/// Refuses an entry that is none, or that was read again before: its rows would be stored twice.
fn write_redecoded(sql: &mut Sql<'_>, redecoded: &Redecoded) -> Result<(), DatabaseError> {
    let changed = sql.execute(
        "UPDATE quarantine SET redecoded_ms = $2, readings = $3, raw = '' WHERE id = $1 AND redecoded_ms IS NULL",
        &[&redecoded.id.cast_signed(), &redecoded.at.0, &redecoded.readings.cast_signed()],
    )?;
    if changed == 1 {
        return Ok(());
    }
    Err(DatabaseError::Damaged(format!("quarantine entry {} is not there to be read again", redecoded.id)))
}

fn end_incident(sql: &mut Sql<'_>, ended: &IncidentEnded) -> Result<(), DatabaseError> {
    sql.execute(
        "UPDATE incident SET ended_ms = $3 WHERE kind = $1 AND ended_ms IS NULL
         AND gateway = (SELECT no FROM gateway WHERE id = $2)",
        &[&ended.kind.word(), &ended.gateway.as_str(), &ended.at.0],
    )?;
    Ok(())
}

/// Adds to what is known of this point and epoch.
fn write_undated(sql: &mut Sql<'_>, undated: &Undated) -> Result<(), DatabaseError> {
    sql.execute(
        "INSERT INTO undated VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (point, epoch) DO UPDATE SET
         readings = undated.readings + excluded.readings, first_seq = least(undated.first_seq, excluded.first_seq),
         last_seq = greatest(undated.last_seq, excluded.last_seq), from_ms = least(undated.from_ms, excluded.from_ms),
         to_ms = greatest(undated.to_ms, excluded.to_ms), after_ms = greatest(undated.after_ms, excluded.after_ms),
         before_ms = greatest(undated.before_ms, excluded.before_ms)",
        &[
            &i64::from(undated.point.0),
            &i64::from(undated.epoch.0),
            &undated.readings.cast_signed(),
            &undated.seqs.0.cast_signed(),
            &undated.seqs.1.cast_signed(),
            &undated.stamped.from.0,
            &undated.stamped.to.0,
            &undated.taken.after.map(|at| at.0),
            &undated.taken.before.0,
        ],
    )?;
    Ok(())
}
