//! Episodes, the alert log and the engine's memory in their tables. Knows no rules and no readings.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row as Line, params, params_from_iter};
use sitian_alert::{Acknowledgement, Change, ChangeKind, Episode, Phase, SavedState, Severity, Subject};
use sitian_model::{BaseId, GatewayId, PointId, PointNo, Timestamp};
use sitian_registry::{EpisodeFilter, LogLine, PhaseFilter};

use crate::fault::StoreError;

/// The columns of an episode, in the order of [`values`].
const COLUMNS: &str = "id, rule, severity, severity_worst, point_no, subject, base, phase, started_ms, fired_ms, \
                       resolved_ms, ack_by, ack_ms, ack_note, ack_severity, value, threshold, peak, late";

/// Writes changes: the episodes as they are now, and a line of the log each. Returns the cursors.
pub(crate) fn write(
    connection: &Connection,
    changes: &[Change],
    at: Timestamp,
) -> Result<Vec<u64>, StoreError> {
    let mut cursors = Vec::with_capacity(changes.len());
    for change in changes {
        let episode = values(&change.episode);
        let marks = "?,".repeat(episode.len() - 1);
        if change.kind == ChangeKind::Dropped && change.episode.fired_at.is_none() {
            // It never fired, so it was never an alert; the log remembers it.
            connection
                .prepare_cached("DELETE FROM episode WHERE id = ?1")?
                .execute([change.episode.id.cast_signed()])?;
        } else {
            let sql = format!("INSERT OR REPLACE INTO episode ({COLUMNS}) VALUES ({marks} ?)");
            connection.prepare_cached(&sql)?.execute(params_from_iter(&episode))?;
        }
        let sql = format!("INSERT INTO alert_log (kind, at_ms, {COLUMNS}) VALUES (?, ?, {marks} ?)");
        let line = [Value::from(change.kind.word().to_owned()), Value::from(at.0)].into_iter().chain(episode);
        let cursor = connection.prepare_cached(&sql)?.insert(params_from_iter(line))?;
        cursors.push(cursor.cast_unsigned());
    }
    Ok(cursors)
}

/// Puts and forgets pieces of the engine's memory.
pub(crate) fn write_states(connection: &Connection, states: &[SavedState]) -> Result<(), StoreError> {
    for state in states {
        match &state.body {
            Some(body) => connection
                .prepare_cached("INSERT OR REPLACE INTO alert_state VALUES (?1, ?2)")?
                .execute(params![state.key, body])?,
            None => {
                connection.prepare_cached("DELETE FROM alert_state WHERE key = ?1")?.execute([&state.key])?
            }
        };
    }
    Ok(())
}

/// The engine's memory, by key.
pub(crate) fn states(connection: &Connection) -> Result<Vec<SavedState>, StoreError> {
    let mut statement = connection.prepare("SELECT key, body FROM alert_state ORDER BY key")?;
    let lines =
        statement.query_map([], |line| Ok(SavedState { key: line.get(0)?, body: Some(line.get(1)?) }))?;
    Ok(lines.collect::<Result<_, _>>()?)
}

/// Episodes, newest first.
pub(crate) fn episodes(connection: &Connection, filter: &EpisodeFilter) -> Result<Vec<Episode>, StoreError> {
    let mut sql = format!("SELECT {COLUMNS} FROM episode WHERE id < ?");
    let before = filter.before.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX);
    let mut values = vec![Value::from(before)];
    match filter.phase {
        None => {}
        Some(PhaseFilter::Open) => sql.push_str(" AND phase <> 'resolved'"),
        Some(PhaseFilter::Only(phase)) => {
            if phase != Phase::Resolved {
                // Implied, but only so does the index of the open episodes serve.
                sql.push_str(" AND phase <> 'resolved'");
            }
            sql.push_str(" AND phase = ?");
            values.push(Value::from(phase.word().to_owned()));
        }
    }
    if let Some(severity) = filter.severity {
        sql.push_str(" AND severity = ?");
        values.push(Value::from(severity.word().to_owned()));
    }
    if let Some(bases) = &filter.bases {
        // Ids need no escaping: their alphabet has neither quotes nor backslashes.
        let list: Vec<String> = bases.iter().map(|base| format!("\"{base}\"")).collect();
        sql.push_str(" AND base IN (SELECT value FROM json_each(?))");
        values.push(Value::from(format!("[{}]", list.join(","))));
    }
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(Value::from(i64::try_from(filter.limit).unwrap_or(i64::MAX)));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut lines = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        found.push(read(line, 0)?);
    }
    Ok(found)
}

/// One episode.
pub(crate) fn episode(connection: &Connection, id: u64) -> Result<Option<Episode>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM episode WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut lines = statement.query([id.cast_signed()])?;
    lines.next()?.map(|line| read(line, 0)).transpose()
}

/// The log behind a cursor, oldest first.
pub(crate) fn log_after(
    connection: &Connection,
    cursor: u64,
    limit: usize,
) -> Result<Vec<LogLine>, StoreError> {
    let sql = format!(
        "SELECT cursor, kind, at_ms, {COLUMNS} FROM alert_log WHERE cursor > ?1 ORDER BY cursor LIMIT ?2"
    );
    let bounds = [i64::try_from(cursor).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)];
    let mut statement = connection.prepare_cached(&sql)?;
    let mut lines = statement.query(bounds)?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        let kind = word(line, 1, ChangeKind::parse)?;
        found.push(LogLine {
            cursor: line.get::<_, i64>(0)?.cast_unsigned(),
            change: Change { kind, episode: read(line, 3)? },
            at: Timestamp(line.get(2)?),
        });
    }
    Ok(found)
}

/// The cursor of the last line of the log, 0 if there is none.
pub(crate) fn log_end(connection: &Connection) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT max(cursor) FROM alert_log")?;
    let end: Option<Option<i64>> = statement.query_row([], |line| line.get(0)).optional()?;
    Ok(end.flatten().unwrap_or(0).cast_unsigned())
}

/// The values of [`COLUMNS`].
fn values(episode: &Episode) -> Vec<Value> {
    let text = |text: &str| Value::from(text.to_owned());
    let at = |at: Option<Timestamp>| Value::from(at.map(|at| at.0));
    let noted = episode.acknowledged.as_ref();
    let (point_no, subject) = match &episode.subject {
        Subject::Point(no, id) => (Some(i64::from(no.0)), id.to_string()),
        Subject::Gateway(gateway) => (None, gateway.to_string()),
    };
    vec![
        Value::from(episode.id.cast_signed()),
        text(&episode.rule),
        text(episode.severity.word()),
        text(episode.severity_worst.word()),
        Value::from(point_no),
        Value::from(subject),
        Value::from(episode.base.as_ref().map(|base| base.as_str().to_owned())),
        text(episode.phase.word()),
        Value::from(episode.started_at.0),
        at(episode.fired_at),
        at(episode.resolved_at),
        Value::from(noted.map(|noted| noted.by.clone())),
        at(noted.map(|noted| noted.at)),
        Value::from(noted.map(|noted| noted.note.clone())),
        Value::from(noted.map(|noted| noted.severity.word().to_owned())),
        Value::from(episode.value),
        Value::from(episode.threshold),
        Value::from(episode.peak),
        Value::from(episode.late),
    ]
}

/// Reads [`COLUMNS`], which begin at column `n`.
fn read(line: &Line<'_>, n: usize) -> Result<Episode, StoreError> {
    let time = |column: usize| line.get::<_, Option<i64>>(n + column).map(|ms| ms.map(Timestamp));
    let bad = |error: sitian_model::IdError| StoreError::damaged(error.to_string());
    let name: String = line.get(n + 5)?;
    let subject = match line.get::<_, Option<u32>>(n + 4)? {
        Some(no) => Subject::Point(PointNo(no), PointId::parse(&name).map_err(bad)?),
        None => Subject::Gateway(GatewayId::new(&name).map_err(bad)?),
    };
    let base =
        line.get::<_, Option<String>>(n + 6)?.map(|base| BaseId::new(&base).map_err(bad)).transpose()?;
    let acknowledged = match (line.get(n + 11)?, time(12)?) {
        (Some(by), Some(at)) => Some(Acknowledgement {
            by,
            at,
            note: line.get::<_, Option<String>>(n + 13)?.unwrap_or_default(),
            severity: word(line, n + 14, Severity::parse)?,
        }),
        _ => None,
    };
    Ok(Episode {
        id: line.get::<_, i64>(n)?.cast_unsigned(),
        rule: line.get(n + 1)?,
        severity: word(line, n + 2, Severity::parse)?,
        severity_worst: word(line, n + 3, Severity::parse)?,
        subject,
        base,
        phase: word(line, n + 7, Phase::parse)?,
        started_at: Timestamp(line.get(n + 8)?),
        fired_at: time(9)?,
        resolved_at: time(10)?,
        acknowledged,
        value: line.get(n + 15)?,
        threshold: line.get(n + 16)?,
        peak: line.get(n + 17)?,
        late: line.get(n + 18)?,
    })
}

fn word<T>(line: &Line<'_>, column: usize, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let word: String = line.get(column)?;
    parse(&word).ok_or_else(|| StoreError::damaged(format!("nobody knows the word {word:?} of an episode")))
}
