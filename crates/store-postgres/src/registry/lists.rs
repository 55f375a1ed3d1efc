//! What people ask for: incidents, gaps, quarantine, readings of unknown time.

use sitian_ingest::{Form, GapCommitted, Incident, IncidentKind, Taken, Undated};
use sitian_model::{EpochNo, Gap, GapReason, PointNo, Slot, Span};
use sitian_registry::{GapStored, IncidentStored, ListFilter, QuarantineCounts, QuarantineStored};
use tokio_postgres::Row;

use super::answers::part;
use crate::connection::Sql;
use crate::fault::DatabaseError;
use crate::line::{at, at_if, count, count_if, gateway, label_if, small, value};

/// Values of the parameters that every list has: id below, noticed since, gateways, at most.
fn values(filter: &ListFilter) -> (i64, i64, Option<Vec<&str>>, i64) {
    let gateways = filter.gateways.as_ref();
    let gateways = gateways.map(|ids| ids.iter().map(|id| id.as_str()).collect());
    let since = filter.since.map_or(i64::MIN, |at| at.0);
    (clamp(filter.before), since, gateways, clamp(Some(filter.limit as u64)))
}

/// Of so few gateways each is asked for its own newest lines; of more, whatever is newest is looked through.
const FEW: usize = 64;

fn few(filter: &ListFilter) -> bool {
    filter.gateways.as_ref().is_some_and(|ids| ids.len() <= FEW)
}

/// Absent means no bound; the server counts with a sign.
pub(crate) fn clamp(n: Option<u64>) -> i64 {
    n.and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX)
}

fn unknown(what: &str, word: &str) -> DatabaseError {
    DatabaseError::Damaged(format!("nobody knows {what} of kind {word:?}"))
}

/// Incidents, newest first.
pub(crate) fn incidents(
    sql: &mut Sql<'_>,
    filter: &ListFilter,
) -> Result<Vec<IncidentStored>, DatabaseError> {
    let (before, since, gateways, limit) = values(filter);
    let statement = if few(filter) {
        "SELECT i.id, i.kind, g.id, i.label, i.other, i.first_seq, i.last_seq, i.after_ms, i.at_ms, i.ended_ms,
         u.readings, u.after_ms, u.before_ms FROM gateway g
         CROSS JOIN LATERAL (SELECT * FROM incident n WHERE n.gateway = g.no AND n.id < $1 AND n.at_ms >= $2
         ORDER BY n.id DESC LIMIT $4) i
         LEFT JOIN LATERAL (SELECT sum(x.readings)::bigint readings, max(x.after_ms) after_ms, max(x.before_ms) before_ms
         FROM undated x JOIN epoch e ON e.no = x.epoch WHERE i.kind = 'clock_unknown' AND e.gateway = i.gateway
         AND e.label = i.label HAVING count(*) > 0) u ON true
         WHERE g.id = ANY($3::text[]) ORDER BY i.id DESC LIMIT $4"
    } else {
        "SELECT i.id, i.kind, g.id, i.label, i.other, i.first_seq, i.last_seq, i.after_ms, i.at_ms, i.ended_ms,
         u.readings, u.after_ms, u.before_ms FROM incident i JOIN gateway g ON g.no = i.gateway
         LEFT JOIN LATERAL (SELECT sum(x.readings)::bigint readings, max(x.after_ms) after_ms, max(x.before_ms) before_ms
         FROM undated x JOIN epoch e ON e.no = x.epoch WHERE i.kind = 'clock_unknown' AND e.gateway = i.gateway
         AND e.label = i.label HAVING count(*) > 0) u ON true
         WHERE i.id < $1 AND i.at_ms >= $2 AND ($3::text[] IS NULL OR g.id = ANY($3)) ORDER BY i.id DESC LIMIT $4"
    };
    let lines = sql.query(statement, &[&before, &since, &gateways, &limit])?;
    let one = |line: &Row| {
        let word: &str = value(line, 1)?;
        let kind = IncidentKind::ALL.into_iter().find(|kind| kind.word() == word);
        let incident = Incident {
            kind: kind.ok_or_else(|| unknown("incidents", word))?,
            gateway: gateway(line, 2)?,
            epoch: label_if(line, 3)?,
            other: label_if(line, 4)?,
            seqs: count_if(line, 5)?.zip(count_if(line, 6)?),
            after: at_if(line, 7)?,
            at: at(line, 8)?,
        };
        let undated = match count_if(line, 10)? {
            Some(readings) => Some((readings, Taken { after: at_if(line, 11)?, before: at(line, 12)? })),
            None => None,
        };
        Ok(IncidentStored { id: count(line, 0)?, incident, ended_at: at_if(line, 9)?, undated })
    };
    lines.iter().map(one).collect()
}

/// Gaps, newest first.
pub(crate) fn gaps(sql: &mut Sql<'_>, filter: &ListFilter) -> Result<Vec<GapStored>, DatabaseError> {
    let (before, since, gateways, limit) = values(filter);
    let statement = if few(filter) {
        "SELECT x.id, g.id, x.epoch, x.first_seq, x.last_seq, x.reason, x.from_ms, x.to_ms, x.at_ms FROM gateway g
         JOIN epoch e ON e.gateway = g.no CROSS JOIN LATERAL (SELECT * FROM gap n WHERE n.epoch = e.no AND n.id < $1
         AND n.at_ms >= $2 ORDER BY n.id DESC LIMIT $4) x WHERE g.id = ANY($3::text[]) ORDER BY x.id DESC LIMIT $4"
    } else {
        "SELECT x.id, g.id, x.epoch, x.first_seq, x.last_seq, x.reason, x.from_ms, x.to_ms, x.at_ms FROM gap x
         JOIN epoch e ON e.no = x.epoch JOIN gateway g ON g.no = e.gateway WHERE x.id < $1 AND x.at_ms >= $2
         AND ($3::text[] IS NULL OR g.id = ANY($3)) ORDER BY x.id DESC LIMIT $4"
    };
    let lines = sql.query(statement, &[&before, &since, &gateways, &limit])?;
    let one = |line: &Row| {
        let word: &str = value(line, 5)?;
        let reasons = [GapReason::Evicted, GapReason::Damaged, GapReason::Trimmed];
        let reason = reasons.into_iter().find(|reason| reason.word() == word);
        let gap = Gap {
            first: count(line, 3)?,
            last: count(line, 4)?,
            reason: reason.ok_or_else(|| unknown("gaps", word))?,
            span: at_if(line, 6)?.zip(at_if(line, 7)?).map(|(from, to)| Span { from, to }),
        };
        let committed = GapCommitted { epoch: EpochNo(small(line, 2)?), gap, at: at(line, 8)? };
        Ok(GapStored { id: count(line, 0)?, gateway: gateway(line, 1)?, committed })
    };
    lines.iter().map(one).collect()
}

/// What is in quarantine, newest first.
pub(crate) fn quarantine(
    sql: &mut Sql<'_>,
    slot: Option<Slot>,
    filter: &ListFilter,
) -> Result<Vec<QuarantineStored>, DatabaseError> {
    let (before, since, gateways, limit) = values(filter);
    let lines = sql.query(
        "SELECT q.id, g.id, q.label, q.first_seq, q.end_seq, q.form, q.reason, length(q.raw)::bigint, q.at_ms,
         q.redecoded_ms, q.readings FROM quarantine q JOIN gateway g ON g.no = q.gateway
         WHERE q.id < $1 AND q.at_ms >= $2 AND ($3::text[] IS NULL OR g.id = ANY($3))
         AND ($5::smallint IS NULL OR g.slot = $5) ORDER BY q.id DESC LIMIT $4",
        &[&before, &since, &gateways, &limit, &part(slot)],
    )?;
    let one = |line: &Row| {
        let seqs = count_if(line, 3)?.zip(count_if(line, 4)?);
        Ok(QuarantineStored {
            id: count(line, 0)?,
            gateway: gateway(line, 1)?,
            range: label_if(line, 2)?.zip(seqs).map(|(epoch, (first, end))| (epoch, first, end)),
            form: form(value(line, 5)?),
            reason: value(line, 6)?,
            bytes: count(line, 7)?,
            at: at(line, 8)?,
            redecoded_at: at_if(line, 9)?,
            readings: count_if(line, 10)?,
        })
    };
    lines.iter().map(one).collect()
}

fn form(word: &str) -> Form {
    [Form::Record, Form::Rival].into_iter().find(|form| form.word() == word).unwrap_or(Form::Message)
}

/// How much is in quarantine, of these gateways or of all.
pub(crate) fn quarantine_counts(
    sql: &mut Sql<'_>,
    filter: &ListFilter,
) -> Result<QuarantineCounts, DatabaseError> {
    let (_, since, gateways, _) = values(filter);
    let line = sql.first(
        "SELECT count(*) FILTER (WHERE q.redecoded_ms IS NULL), coalesce(sum(length(q.raw)), 0)::bigint,
         count(q.redecoded_ms) FROM quarantine q JOIN gateway g ON g.no = q.gateway
         WHERE q.at_ms >= $1 AND ($2::text[] IS NULL OR g.id = ANY($2))",
        &[&since, &gateways],
    )?;
    let Some(line) = line else { return Ok(QuarantineCounts::default()) };
    Ok(QuarantineCounts { waiting: count(&line, 0)?, bytes: count(&line, 1)?, redecoded: count(&line, 2)? })
}

/// The bytes of one entry of the quarantine.
pub(crate) fn quarantine_raw(sql: &mut Sql<'_>, id: u64) -> Result<Option<Vec<u8>>, DatabaseError> {
    let line = sql.first("SELECT raw FROM quarantine WHERE id = $1", &[&clamp(Some(id))])?;
    line.map(|line| value(&line, 0)).transpose()
}

/// Readings of unknown time of one point that may have been taken inside a span, oldest epoch first.
pub(crate) fn undated(sql: &mut Sql<'_>, point: PointNo, span: Span) -> Result<Vec<Undated>, DatabaseError> {
    let lines = sql.query(
        "SELECT point, epoch, readings, first_seq, last_seq, from_ms, to_ms, after_ms, before_ms FROM undated
         WHERE point = $1 ORDER BY epoch",
        &[&i64::from(point.0)],
    )?;
    let one = |line: &Row| {
        Ok(Undated {
            point: PointNo(small(line, 0)?),
            epoch: EpochNo(small(line, 1)?),
            readings: count(line, 2)?,
            seqs: (count(line, 3)?, count(line, 4)?),
            stamped: Span { from: at(line, 5)?, to: at(line, 6)? },
            taken: Taken { after: at_if(line, 7)?, before: at(line, 8)? },
        })
    };
    let all = lines.iter().map(one).collect::<Result<Vec<_>, DatabaseError>>()?;
    Ok(all.into_iter().filter(|undated| undated.taken.touches(span)).collect())
}
