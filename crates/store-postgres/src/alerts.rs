//! Episodes, the alert log and the engine's memory in their tables. Knows no rules and no readings.

use sitian_alert::{
    About, Acknowledgement, Change, ChangeKind, Delta, Episode, Mark, Phase, SavedState, Severity, Subject,
};
use sitian_model::{BaseId, GatewayId, IdError, Numbers, PointId, PointNo, Slot, Timestamp};
use sitian_registry::{EpisodeFilter, LogLine, PhaseFilter};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::connection::Sql;
use crate::fault::DatabaseError;
use crate::keeper::ALL;
use crate::line::{at, at_if, count, small, value};
use crate::registry::answers::{numbers as numbers_above, part};
use crate::registry::lists::clamp;
use crate::registry::text;

/// "SITA": whoever adds to the alert log holds this lock until its transaction is over, so that cursors appear in order.
const LOGGING: i64 = 0x5349_5441;

/// Writes changes: the episodes as they are now, and a line of the log each. Returns the cursors.
pub(crate) fn write(sql: &mut Sql<'_>, changes: &[Change], at: Timestamp) -> Result<Vec<u64>, DatabaseError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    sql.execute("SELECT pg_advisory_xact_lock($1)", &[&LOGGING])?;
    let mut cursor = log_end(sql)?;
    let mut cursors = Vec::with_capacity(changes.len());
    for change in changes {
        cursor += 1;
        cursors.push(cursor);
        let fields = Fields::of(&change.episode);
        let mut values = fields.values();
        sql.execute("DELETE FROM episode WHERE id = $1", &[&fields.id])?;
        // What never fired was never an alert; the log remembers it.
        if change.kind != ChangeKind::Dropped || change.episode.fired_at.is_some() {
            sql.execute(
                "INSERT INTO episode VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
                &values,
            )?;
        }
        let (position, kind) = (cursor.cast_signed(), change.kind.word());
        values.splice(0..0, [&position as &(dyn ToSql + Sync), &kind, &at.0]);
        sql.execute(
            "INSERT INTO alert_log VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)",
            &values,
        )?;
    }
    Ok(cursors)
}

/// The columns of an episode.
struct Fields<'a> {
    id: i64,
    episode: &'a Episode,
    severity: &'static str,
    severity_worst: &'static str,
    point_no: Option<i64>,
    subject: String,
    base: Option<&'a str>,
    phase: &'static str,
    fired_ms: Option<i64>,
    resolved_ms: Option<i64>,
    ack_by: Option<String>,
    ack_ms: Option<i64>,
    ack_note: Option<String>,
    ack_severity: Option<&'static str>,
}

impl<'a> Fields<'a> {
    fn of(episode: &'a Episode) -> Self {
        let noted = episode.acknowledged.as_ref();
        let (point_no, subject) = match &episode.subject {
            Subject::Point(no, id) => (Some(i64::from(no.0)), id.to_string()),
            Subject::Gateway(gateway) => (None, gateway.to_string()),
        };
        Self {
            id: episode.id.cast_signed(),
            episode,
            severity: episode.severity.word(),
            severity_worst: episode.severity_worst.word(),
            point_no,
            subject,
            base: episode.base.as_ref().map(BaseId::as_str),
            phase: episode.phase.word(),
            fired_ms: episode.fired_at.map(|at| at.0),
            resolved_ms: episode.resolved_at.map(|at| at.0),
            ack_by: noted.map(|noted| text(&noted.by).into_owned()),
            ack_ms: noted.map(|noted| noted.at.0),
            ack_note: noted.map(|noted| text(&noted.note).into_owned()),
            ack_severity: noted.map(|noted| noted.severity.word()),
        }
    }

    /// In the order of the table.
    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.id,
            &self.episode.rule,
            &self.severity,
            &self.severity_worst,
            &self.point_no,
            &self.subject,
            &self.base,
            &self.phase,
            &self.episode.started_at.0,
            &self.fired_ms,
            &self.resolved_ms,
            &self.ack_by,
            &self.ack_ms,
            &self.ack_note,
            &self.ack_severity,
            &self.episode.value,
            &self.episode.threshold,
            &self.episode.peak,
            &self.episode.late,
        ]
    }
}

/// Puts and forgets pieces of the engine's memory. Every piece is filed under the slot of what it speaks of, so that other
/// keepers find it when the slots are divided anew.
pub(crate) fn write_states(
    sql: &mut Sql<'_>,
    slot: Option<Slot>,
    states: &[SavedState],
) -> Result<(), DatabaseError> {
    let own = part(slot).unwrap_or(ALL);
    let (mut keys, mut bodies, mut slots, mut points) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut forgotten: Vec<&str> = Vec::new();
    for state in states {
        let Some(body) = &state.body else {
            forgotten.push(&state.key);
            continue;
        };
        let about = if slot.is_some() { None } else { state.about() };
        keys.push(state.key.as_str());
        bodies.push(text(body).into_owned());
        slots.push(match &about {
            Some(About::Gateway(gateway)) => Some(i16::from(Slot::of(gateway).number())),
            _ => None,
        });
        points.push(match about {
            Some(About::Point(point)) => Some(i64::from(point.0)),
            _ => None,
        });
    }
    if !forgotten.is_empty() {
        sql.execute(
            "DELETE FROM alert_state WHERE key = ANY($1) AND ($2::smallint IS NULL OR slot = $2)",
            &[&forgotten, &part(slot)],
        )?;
    }
    if !keys.is_empty() {
        sql.execute(
            "INSERT INTO alert_state SELECT coalesce(x.slot, g.slot, $5), x.key, x.body
             FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[]) x (key, body, slot, point)
             LEFT JOIN point p ON p.no = x.point LEFT JOIN gateway g ON g.no = p.gateway
             ON CONFLICT (slot, key) DO UPDATE SET body = excluded.body",
            &[&keys, &bodies, &slots, &points, &own],
        )?;
    }
    Ok(())
}

/// Marks that moved.
pub(crate) fn write_marks(sql: &mut Sql<'_>, marks: &[Mark]) -> Result<(), DatabaseError> {
    if marks.is_empty() {
        return Ok(());
    }
    let points: Vec<i64> = marks.iter().map(|mark| i64::from(mark.point.0)).collect();
    let newest: Vec<Option<i64>> = marks.iter().map(|mark| mark.newest_at.map(|at| at.0)).collect();
    let data: Vec<Option<i64>> = marks.iter().map(|mark| mark.data_at.map(|at| at.0)).collect();
    sql.execute(
        "INSERT INTO mark SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
         ON CONFLICT (point) DO UPDATE SET newest_ms = excluded.newest_ms, data_ms = excluded.data_ms",
        &[&points, &newest, &data],
    )?;
    Ok(())
}

/// The engine's memory, by key and by point. Who keeps all slots takes up everything but the counters of their keepers.
pub(crate) fn memory(sql: &mut Sql<'_>, slot: Option<Slot>) -> Result<Delta, DatabaseError> {
    let states = match part(slot) {
        Some(slot) => {
            sql.query("SELECT key, body FROM alert_state WHERE slot = $1 ORDER BY key", &[&slot])?
        }
        None => sql.query(
            "SELECT key, body FROM alert_state WHERE slot = -1 OR key <> 'counter' ORDER BY key",
            &[],
        )?,
    };
    let state = |line: &Row| Ok(SavedState { key: value(line, 0)?, body: Some(value(line, 1)?) });
    let marks = sql.query(
        "SELECT m.point, m.newest_ms, m.data_ms FROM mark m LEFT JOIN point p ON p.no = m.point
         LEFT JOIN gateway g ON g.no = p.gateway WHERE $1::smallint IS NULL OR g.slot = $1 ORDER BY m.point",
        &[&part(slot)],
    )?;
    let mark = |line: &Row| {
        Ok(Mark { point: PointNo(small(line, 0)?), newest_at: at_if(line, 1)?, data_at: at_if(line, 2)? })
    };
    Ok(Delta {
        states: states.iter().map(state).collect::<Result<_, DatabaseError>>()?,
        marks: marks.iter().map(mark).collect::<Result<_, DatabaseError>>()?,
    })
}

/// The numbers of new episodes, above all that anybody has given out.
pub(crate) fn numbers(sql: &mut Sql<'_>, slot: Option<Slot>) -> Result<Numbers, DatabaseError> {
    const HIGHEST: &str = "SELECT greatest((SELECT max(id) FROM alert_log), (SELECT max(id) FROM episode))";
    match slot {
        Some(slot) => numbers_above(sql, slot, HIGHEST),
        None => {
            let mut numbers = Numbers::ALL;
            let taken = sql.first(HIGHEST, &[])?.map(|line| value::<Option<i64>>(&line, 0)).transpose()?;
            taken.flatten().into_iter().for_each(|taken| numbers.pass(taken.cast_unsigned()));
            Ok(numbers)
        }
    }
}

/// Episodes, newest first.
pub(crate) fn episodes(sql: &mut Sql<'_>, filter: &EpisodeFilter) -> Result<Vec<Episode>, DatabaseError> {
    let (open, phase) = match filter.phase {
        None => (false, None),
        Some(PhaseFilter::Open) => (true, None),
        Some(PhaseFilter::Only(phase)) => (phase != Phase::Resolved, Some(phase.word())),
    };
    let severity = filter.severity.map(Severity::word);
    let bases = filter.bases.as_ref();
    let bases: Option<Vec<&str>> = bases.map(|bases| bases.iter().map(BaseId::as_str).collect());
    let (before, limit) = (clamp(filter.before), clamp(Some(filter.limit as u64)));
    let values: &[&(dyn ToSql + Sync)] = &[&before, &phase, &severity, &bases, &limit];
    // Only with the condition in so many words the index of the open episodes serves.
    let lines = if open {
        sql.query(
            "SELECT * FROM episode WHERE phase <> 'resolved' AND id < $1 AND ($2::text IS NULL OR phase = $2)
             AND ($3::text IS NULL OR severity = $3) AND ($4::text[] IS NULL OR base = ANY($4))
             ORDER BY id DESC LIMIT $5",
            values,
        )?
    } else {
        sql.query(
            "SELECT * FROM episode WHERE id < $1 AND ($2::text IS NULL OR phase = $2)
             AND ($3::text IS NULL OR severity = $3) AND ($4::text[] IS NULL OR base = ANY($4))
             ORDER BY id DESC LIMIT $5",
            values,
        )?
    };
    lines.iter().map(|line| read(line, 0)).collect()
}

/// One episode.
pub(crate) fn episode(sql: &mut Sql<'_>, id: u64) -> Result<Option<Episode>, DatabaseError> {
    let line = sql.first("SELECT * FROM episode WHERE id = $1", &[&id.cast_signed()])?;
    line.map(|line| read(&line, 0)).transpose()
}

/// The log behind a cursor, oldest first.
pub(crate) fn log_after(sql: &mut Sql<'_>, cursor: u64, limit: usize) -> Result<Vec<LogLine>, DatabaseError> {
    let lines = sql.query(
        "SELECT * FROM alert_log WHERE cursor > $1 ORDER BY cursor LIMIT $2",
        &[&clamp(Some(cursor)), &clamp(Some(limit as u64))],
    )?;
    let one = |line: &Row| {
        let change = Change { kind: word(line, 1, ChangeKind::parse)?, episode: read(line, 3)? };
        Ok(LogLine { cursor: count(line, 0)?, change, at: at(line, 2)? })
    };
    lines.iter().map(one).collect()
}

/// The cursor of the last line of the log, 0 if there is none.
pub(crate) fn log_end(sql: &mut Sql<'_>) -> Result<u64, DatabaseError> {
    let line = sql.first("SELECT coalesce(max(cursor), 0) FROM alert_log", &[])?;
    line.map_or(Ok(0), |line| count(&line, 0))
}

/// Reads the columns of an episode, which begin at column `n`.
fn read(line: &Row, n: usize) -> Result<Episode, DatabaseError> {
    let bad = |error: IdError| DatabaseError::Damaged(error.to_string());
    let name: &str = value(line, n + 5)?;
    let subject = match value::<Option<i64>>(line, n + 4)? {
        Some(_) => Subject::Point(PointNo(small(line, n + 4)?), PointId::parse(name).map_err(bad)?),
        None => Subject::Gateway(GatewayId::new(name).map_err(bad)?),
    };
    let base = value::<Option<&str>>(line, n + 6)?;
    let acknowledged = match (value(line, n + 11)?, at_if(line, n + 12)?) {
        (Some(by), Some(at)) => Some(Acknowledgement {
            by,
            at,
            note: value::<Option<String>>(line, n + 13)?.unwrap_or_default(),
            severity: word(line, n + 14, Severity::parse)?,
        }),
        _ => None,
    };
    Ok(Episode {
        id: count(line, n)?,
        rule: value(line, n + 1)?,
        severity: word(line, n + 2, Severity::parse)?,
        severity_worst: word(line, n + 3, Severity::parse)?,
        subject,
        base: base.map(|base| BaseId::new(base).map_err(bad)).transpose()?,
        phase: word(line, n + 7, Phase::parse)?,
        started_at: at(line, n + 8)?,
        fired_at: at_if(line, n + 9)?,
        resolved_at: at_if(line, n + 10)?,
        acknowledged,
        value: value(line, n + 15)?,
        threshold: value(line, n + 16)?,
        peak: value(line, n + 17)?,
        late: value(line, n + 18)?,
    })
}

fn word<T>(line: &Row, column: usize, parse: impl Fn(&str) -> Option<T>) -> Result<T, DatabaseError> {
    let word: &str = value(line, column)?;
    let unknown = || DatabaseError::Damaged(format!("nobody knows the word {word:?} of an episode"));
    parse(word).ok_or_else(unknown)
}
