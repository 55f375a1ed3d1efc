//! The alert engine's marks: how far every point has come. They move with almost every row, so they travel in the
//! journal like rows and reach their table only when the journal is sealed.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};
use sitian_alert::Mark;
use sitian_model::{PointNo, Timestamp};

use crate::fault::StoreError;
use sitian_registry::bytes::{Bytes, CodecError, open, put, put_signed, seal};

const LAYOUT: u8 = 4;

/// Every mark, and which ones the table does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    newest: BTreeMap<u32, Mark>,
    unsealed: BTreeSet<u32>,
}

impl Marks {
    /// Reads the sealed ones.
    pub(crate) fn load(connection: &Connection) -> Result<Self, StoreError> {
        let mut marks = Self::default();
        let mut statement = connection.prepare("SELECT point, newest_ms, data_ms FROM mark")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let point: u32 = row.get(0)?;
            let time = |column| row.get::<_, Option<i64>>(column).map(|ms| ms.map(Timestamp));
            let mark = Mark { point: PointNo(point), newest_at: time(1)?, data_at: time(2)? };
            marks.newest.insert(point, mark);
        }
        Ok(marks)
    }

    /// Takes note of durable marks that are only in the journal.
    pub(crate) fn note(&mut self, marks: &[Mark]) {
        for mark in marks {
            self.newest.insert(mark.point.0, *mark);
            self.unsealed.insert(mark.point.0);
        }
    }

    /// Writes what the table does not know; [`Self::sealed`] once that is durable.
    pub(crate) fn write(&self, connection: &Connection) -> Result<(), StoreError> {
        let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO mark VALUES (?1, ?2, ?3)")?;
        for mark in self.unsealed.iter().filter_map(|point| self.newest.get(point)) {
            statement.execute(params![
                mark.point.0,
                mark.newest_at.map(|t| t.0),
                mark.data_at.map(|t| t.0)
            ])?;
        }
        Ok(())
    }

    /// The table knows everything.
    pub(crate) fn sealed(&mut self) {
        self.unsealed.clear();
    }

    /// Every mark, by point.
    pub(crate) fn all(&self) -> Vec<Mark> {
        self.newest.values().copied().collect()
    }
}

/// The bytes of marks; no bytes for none.
pub(crate) fn encode(marks: &[Mark]) -> Vec<u8> {
    if marks.is_empty() {
        return Vec::new();
    }
    let mut out = vec![LAYOUT, 0, 0, 0, 0];
    put(&mut out, marks.len() as u64);
    let (mut last_point, mut last_at) = (0, 0i64);
    for mark in marks {
        put_signed(&mut out, i64::from(mark.point.0) - last_point);
        last_point = i64::from(mark.point.0);
        out.push(u8::from(mark.newest_at.is_some()) | u8::from(mark.data_at.is_some()) << 1);
        for at in [mark.newest_at, mark.data_at].into_iter().flatten() {
            put_signed(&mut out, at.0.wrapping_sub(last_at));
            last_at = at.0;
        }
    }
    seal(&mut out);
    out
}

/// The marks of these bytes.
pub(crate) fn decode(blob: &[u8]) -> Result<Vec<Mark>, CodecError> {
    if blob.is_empty() {
        return Ok(Vec::new());
    }
    let (_, mut bytes) = open(blob, &[LAYOUT])?;
    let n = bytes.length(blob.len()).ok_or(CodecError::Column("count"))?;
    let (mut point, mut at) = (0i64, 0i64);
    let marks = (0..n).map(|_| one(&mut bytes, &mut point, &mut at)).collect::<Option<Vec<_>>>();
    marks.ok_or(CodecError::Column("mark"))
}

fn one(bytes: &mut Bytes<'_>, point: &mut i64, at: &mut i64) -> Option<Mark> {
    *point = point.wrapping_add(bytes.signed()?);
    let set = bytes.byte()?;
    let mut time = |bit: u8| -> Option<Option<Timestamp>> {
        if set & bit == 0 {
            return Some(None);
        }
        *at = at.wrapping_add(bytes.signed()?);
        Some(Some(Timestamp(*at)))
    };
    let (newest_at, data_at) = (time(1)?, time(2)?);
    Some(Mark { point: PointNo(u32::try_from(*point).ok()?), newest_at, data_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back_and_torn_ones_do_not() {
        let mark = |point, newest_at: Option<i64>, data_at: Option<i64>| Mark {
            point: PointNo(point),
            newest_at: newest_at.map(Timestamp),
            data_at: data_at.map(Timestamp),
        };
        let marks = [
            mark(7, Some(1_750_000_000_000), Some(1_750_000_000_000)),
            mark(9, None, Some(-4)),
            mark(u32::MAX, Some(i64::MAX), None),
            mark(0, None, None),
        ];
        let blob = encode(&marks);
        assert_eq!(decode(&blob).unwrap(), marks);
        assert_eq!((encode(&[]), decode(&[]).unwrap()), (vec![], vec![]));
        for cut in 1..blob.len() {
            assert!(decode(&blob[..cut]).is_err(), "cut at {cut}");
        }
    }
}
