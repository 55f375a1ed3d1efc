//! Reads the journal back into memory: when the store is opened, and for readers without a writer.

use rusqlite::{Connection, Row as Line};

use super::seal;
use crate::fault::StoreError;
use crate::head::Head;
use crate::kept::{Kept, known_code};
use crate::marks::Marks;
use crate::{journal, marks};

/// What the journal says.
pub(crate) struct Loaded {
    /// Its rows, and the newest row of every point.
    pub(crate) head: Head,
    /// The alert engine's marks.
    pub(crate) marks: Marks,
    /// Where a sealing was interrupted.
    pub(super) unfinished: Option<seal::Unfinished>,
    /// Rows of each entry that is not being sealed.
    pub(super) open_rows: Vec<usize>,
}

/// Reads all of it; in one snapshot if the connection is in one.
pub(crate) fn load(connection: &Connection) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded {
        head: Head::default(),
        marks: Marks::load(connection)?,
        unfinished: seal::unfinished(connection)?,
        open_rows: Vec::new(),
    };
    let mut statement = connection.prepare("SELECT point, at_ms, epoch, seq, code, value FROM latest")?;
    let mut lines = statement.query([])?;
    while let Some(line) = lines.next()? {
        let (point, row) = latest(line)?;
        loaded.head.note_latest(point, row);
    }
    let mut statement = connection.prepare("SELECT id, rows, marks FROM journal ORDER BY id")?;
    let mut lines = statement.query([])?;
    while let Some(line) = lines.next()? {
        let id: i64 = line.get(0)?;
        let torn = |error| StoreError::damaged(format!("journal entry {id}: {error}"));
        let rows = journal::decode(line.get_ref(1)?.as_blob().unwrap_or_default()).map_err(torn)?;
        let noted = marks::decode(line.get_ref(2)?.as_blob().unwrap_or_default()).map_err(torn)?;
        loaded.marks.note(&noted);
        let sealing = loaded.unfinished.filter(|unfinished| id <= unfinished.journal);
        if sealing.is_none() {
            loaded.open_rows.push(rows.len());
        }
        for (point, row) in rows {
            match sealing {
                None => loaded.head.insert(point, row),
                Some(sealing) if i64::from(point) < sealing.point => {}
                Some(_) => loaded.head.insert_frozen(point, row),
            }
        }
    }
    Ok(loaded)
}

fn latest(line: &Line<'_>) -> Result<(u32, Kept), StoreError> {
    let point: u32 = line.get(0)?;
    let code = known_code(line.get(4)?);
    let row = Kept {
        at: line.get(1)?,
        epoch: line.get(2)?,
        seq: line.get::<_, i64>(3)?.cast_unsigned(),
        code: code.ok_or_else(|| {
            StoreError::damaged(format!("latest row of point {point} has no known quality"))
        })?,
        value: line.get(5)?,
    };
    Ok((point, row))
}
