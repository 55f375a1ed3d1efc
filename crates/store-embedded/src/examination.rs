//! Looks at every byte of a store, says what is wrong, and repairs what can be repaired. What cannot be read any more is
//! set aside, never thrown away; what follows from other bytes is made anew.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use crate::chunk::{self, Effort, Stats, ValueStats};
use crate::fault::StoreError;
use crate::kept::Kept;
use crate::lock::Lock;
use crate::shelf::{self, HOURS_ROWS_MIN, Prepared};
use crate::store::seal::write_latest;
use crate::{hours, journal, marks, schema};

/// Most findings that are told apart.
const FINDINGS_MAX: usize = 1_000;

/// What an examination came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examination {
    /// Readings in chunks and in the journal.
    pub readings: u64,
    /// Chunks.
    pub chunks: u64,
    /// What is wrong, at most 1,000 things.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where, in words: `chunk 7 of point 3`.
    pub place: String,
    /// What.
    pub what: String,
    /// What was done about it; `None` if nothing was.
    pub repair: Option<&'static str>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        self.repair.map_or(Ok(()), |repair| write!(f, " ({repair})"))
    }
}

/// Examines a store in one snapshot, whether or not a process writes to it. Nothing is changed.
///
/// # Errors
/// There is no store, or the disk refuses. Damage is no error here: it is found.
pub fn examine(path: &Path) -> Result<Examination, StoreError> {
    let mut connection = schema::existing(path)?;
    let snapshot = connection.transaction()?;
    Doctor { sql: &snapshot, repairs: false, found: Examination::default() }.all()
}

/// Examines a store that no process has open, and repairs what it finds.
///
/// # Errors
/// There is no store, a process has it open, or the disk refuses. Nothing was changed then.
pub fn repair(path: &Path) -> Result<Examination, StoreError> {
    let _lock = Lock::take(path)?;
    let mut connection = schema::patient(path)?;
    let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = Doctor { sql: &sql, repairs: true, found: Examination::default() }.all()?;
    sql.commit()?;
    Ok(found)
}

struct Doctor<'a> {
    sql: &'a Connection,
    repairs: bool,
    found: Examination,
}

impl Doctor<'_> {
    fn all(mut self) -> Result<Examination, StoreError> {
        self.pages()?;
        // A damaged page ends the search behind it; what was found before it is told.
        let mut newest = HashMap::new();
        let searches =
            [("chunks", self.chunks(&mut newest)), ("journal", self.journal()), ("faded", self.faded())];
        for (table, result) in searches {
            if let Err(error) = result {
                self.note(table, format!("cannot be read further: {error}"), None);
            }
        }
        self.latest(&newest)?;
        Ok(self.found)
    }

    fn note(&mut self, place: impl Into<String>, what: impl Into<String>, repair: Option<&'static str>) {
        if self.found.findings.len() < FINDINGS_MAX {
            let repair = repair.filter(|_| self.repairs);
            self.found.findings.push(Finding { place: place.into(), what: what.into(), repair });
        }
    }

    /// Pages and indexes, as SQLite sees them.
    fn pages(&mut self) -> Result<(), StoreError> {
        let read = |sql: &Connection| -> Result<Vec<String>, StoreError> {
            let mut statement = sql.prepare("PRAGMA integrity_check(100)")?;
            let lines = statement.query_map([], |line| line.get(0))?;
            Ok(lines.collect::<Result<_, _>>()?)
        };
        let sound = |found: &[String]| found.len() == 1 && found[0] == "ok";
        let found = match read(self.sql) {
            Ok(found) => found,
            Err(error) => vec![error.to_string()],
        };
        if sound(&found) {
            return Ok(());
        }
        let mended = self.repairs
            && self.sql.execute_batch("REINDEX").is_ok()
            && read(self.sql).is_ok_and(|f| sound(&f));
        for what in found {
            self.note("file", what, mended.then_some("indexes made anew"));
        }
        Ok(())
    }

    fn chunks(&mut self, newest: &mut HashMap<u32, Kept>) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare(
            "SELECT c.id, c.point, c.start_ms, c.end_ms, c.good, c.uncertain, c.bad, c.min, c.max, c.sum, c.first, c.last,
             c.body, h.body FROM chunk c LEFT JOIN hours h ON h.chunk = c.id WHERE c.id > ?1 ORDER BY c.id LIMIT 1",
        )?;
        let mut after = i64::MIN;
        loop {
            let mut lines = statement.query([after])?;
            let Some(line) = lines.next()? else { break };
            let (id, point): (i64, u32) = (line.get(0)?, line.get(1)?);
            after = id;
            self.found.chunks += 1;
            let place = format!("chunk {id} of point {point}");
            let body = line.get_ref(12)?.as_blob().unwrap_or_default();
            let rows = match chunk::decode(body) {
                Ok(rows) if rows.windows(2).all(|pair| pair[0].key() < pair[1].key()) && !rows.is_empty() => {
                    rows
                }
                found => {
                    let what = found.err().map_or("its rows are out of order".to_owned(), |e| e.to_string());
                    self.set_aside(&what, "chunk", id, Some((point, line.get(2)?, line.get(3)?)), body)?;
                    self.note(place, what, Some("set aside"));
                    continue;
                }
            };
            self.found.readings += rows.len() as u64;
            if let Some(last) = rows.last() {
                newest
                    .entry(point)
                    .and_modify(|row| {
                        if last.key() > row.key() {
                            *row = *last
                        }
                    })
                    .or_insert(*last);
            }
            let made = shelf::hours_of(point, &rows)?;
            let kept = line.get_ref(13)?.as_blob_or_null().unwrap_or_default();
            // Older releases wrote the same windows in another way.
            let same =
                |kept| kept == made || hours::decode(kept).is_ok_and(|kept| Ok(kept) == hours::decode(&made));
            if kept.is_some_and(|kept| !same(kept))
                || (kept.is_none() && rows.len() >= HOURS_ROWS_MIN as usize)
            {
                self.hours(&place, id, &made, kept.is_some())?;
            }
            if Stats::of(&rows) != Some(stats(line)?) {
                self.rewrite(&place, id, point, &rows)?;
            }
        }
        let orphans = "FROM hours WHERE chunk NOT IN (SELECT id FROM chunk)";
        let count: i64 = self.sql.query_row(&format!("SELECT count(*) {orphans}"), [], |line| line.get(0))?;
        if count > 0 {
            if self.repairs {
                self.sql.execute_batch(&format!("DELETE {orphans}"))?;
            }
            self.note("hours", format!("{count} belong to no chunk"), Some("removed"));
        }
        Ok(())
    }

    fn hours(&mut self, place: &str, id: i64, made: &[u8], wrong: bool) -> Result<(), StoreError> {
        if self.repairs {
            shelf::put_hours(self.sql, id, made)?;
        }
        // The compaction gives hours to chunks of older releases in its own time.
        if wrong {
            self.note(place, "its hours do not follow from its rows", Some("made anew"));
        }
        Ok(())
    }

    fn rewrite(&mut self, place: &str, id: i64, point: u32, rows: &[Kept]) -> Result<(), StoreError> {
        if self.repairs
            && let Some(prepared) = Prepared::of(point, rows, Effort::Lasting)?
        {
            self.sql.execute("DELETE FROM chunk WHERE id = ?1", [id])?;
            self.sql.execute("DELETE FROM hours WHERE chunk = ?1", [id])?;
            prepared.store(self.sql, point)?;
        }
        self.note(place, "its statistics do not follow from its rows", Some("made anew"));
        Ok(())
    }

    fn journal(&mut self) -> Result<(), StoreError> {
        let mut statement =
            self.sql.prepare("SELECT id, rows, marks FROM journal WHERE id > ?1 ORDER BY id LIMIT 1")?;
        let mut after = i64::MIN;
        loop {
            let mut lines = statement.query([after])?;
            let Some(line) = lines.next()? else { return Ok(()) };
            after = line.get(0)?;
            let body = line.get_ref(1)?.as_blob().unwrap_or_default();
            let noted = marks::decode(line.get_ref(2)?.as_blob().unwrap_or_default());
            match journal::decode(body).and_then(|rows| noted.map(|_| rows)) {
                Ok(rows) => self.found.readings += rows.len() as u64,
                Err(error) => {
                    self.set_aside(&error.to_string(), "journal", after, None, body)?;
                    self.note(format!("journal entry {after}"), error.to_string(), Some("set aside"));
                }
            }
        }
    }

    fn faded(&mut self) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare(
            "SELECT id, point, start_ms, end_ms, step_h, body FROM faded WHERE id > ?1 ORDER BY id LIMIT 1",
        )?;
        let mut after = i64::MIN;
        loop {
            let mut lines = statement.query([after])?;
            let Some(line) = lines.next()? else { return Ok(()) };
            after = line.get(0)?;
            let (point, step_h): (u32, u32) = (line.get(1)?, line.get(4)?);
            let body = line.get_ref(5)?.as_blob().unwrap_or_default();
            let what = match hours::decode(body) {
                Ok((windows, step)) if step == step_h && !windows.is_empty() => continue,
                Ok(_) => "it is not what its columns say".to_owned(),
                Err(error) => error.to_string(),
            };
            self.set_aside(&what, "faded", after, Some((point, line.get(2)?, line.get(3)?)), body)?;
            self.note(format!("faded windows {after} of point {point}"), what, Some("set aside"));
        }
    }

    /// Moves bytes that nobody can read out of the way.
    fn set_aside(
        &self,
        why: &str,
        origin: &str,
        id: i64,
        extent: Option<(u32, i64, i64)>,
        body: &[u8],
    ) -> Result<(), StoreError> {
        if !self.repairs {
            return Ok(());
        }
        self.sql.execute(
            "INSERT INTO set_aside (origin, point, start_ms, end_ms, why, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![origin, extent.map(|e| e.0), extent.map(|e| e.1), extent.map(|e| e.2), why, body],
        )?;
        self.sql.execute(&format!("DELETE FROM {origin} WHERE id = ?1"), [id])?;
        Ok(())
    }

    /// The newest sealed row of a point must not be older than what its chunks hold.
    fn latest(&mut self, newest: &HashMap<u32, Kept>) -> Result<(), StoreError> {
        for (point, row) in newest {
            let mut statement =
                self.sql.prepare_cached("SELECT at_ms, epoch, seq FROM latest WHERE point = ?1")?;
            let mut lines = statement.query([point])?;
            let known = lines.next()?.map(|line| -> rusqlite::Result<_> {
                Ok((line.get::<_, i64>(0)?, line.get::<_, u32>(1)?, line.get::<_, i64>(2)?.cast_unsigned()))
            });
            if known.transpose()?.is_some_and(|key| key >= row.key()) {
                continue;
            }
            if self.repairs {
                write_latest(self.sql, *point, row)?;
            }
            self.note(
                format!("latest row of point {point}"),
                "a chunk holds a newer one",
                Some("brought up to date"),
            );
        }
        Ok(())
    }
}

/// What the columns say of a chunk.
fn stats(line: &rusqlite::Row<'_>) -> Result<Stats, StoreError> {
    let number = |column: usize| line.get::<_, Option<f64>>(column);
    let values = match (number(7)?, number(8)?, number(9)?, number(10)?, number(11)?) {
        (Some(min), Some(max), Some(sum), Some(first), Some(last)) => {
            Some(ValueStats { min, max, sum, first, last })
        }
        _ => None,
    };
    Ok(Stats {
        start_ms: line.get(2)?,
        end_ms: line.get(3)?,
        good: line.get(4)?,
        uncertain: line.get(5)?,
        bad: line.get(6)?,
        values,
    })
}
