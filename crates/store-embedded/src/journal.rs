//! A journal entry: the rows of one commit as bytes, in the order in which they came. Written once, read only when
//! the store is opened, so it is made to be written fast. The bytes are drawn in the crate page. Knows no database.

use crate::kept::{Kept, known_code};
use sitian_registry::bytes::{Bytes, CodecError, open, put, put_runs, put_signed, runs, seal};

const LAYOUT: u8 = 2;

/// The bytes of rows with their points.
pub(crate) fn encode(rows: &[(u32, Kept)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * 12 + 64);
    out.extend([LAYOUT, 0, 0, 0, 0]);
    put(&mut out, rows.len() as u64);
    put_runs(&mut out, rows.iter().map(|(_, row)| row.code), |out, code| out.push(code));
    put_runs(&mut out, rows.iter().map(|(_, row)| (row.epoch, row.seq)), |out, (epoch, seq)| {
        put(out, u64::from(epoch));
        put(out, seq);
    });
    let (mut last_point, mut last_at) = (0, 0);
    for (point, row) in rows {
        put_signed(&mut out, i64::from(*point) - last_point);
        put_signed(&mut out, row.at.wrapping_sub(last_at));
        (last_point, last_at) = (i64::from(*point), row.at);
    }
    for (_, row) in rows.iter().filter(|(_, row)| row.has_value()) {
        out.extend_from_slice(&row.value.to_le_bytes());
    }
    seal(&mut out);
    out
}

/// The rows of these bytes.
pub(crate) fn decode(blob: &[u8]) -> Result<Vec<(u32, Kept)>, CodecError> {
    let (_, mut bytes) = open(blob, &[LAYOUT])?;
    // A row takes at least two bytes, so the blob bounds what is allocated.
    let n = bytes.length(blob.len()).ok_or(CodecError::Column("count"))?;
    let codes =
        runs(&mut bytes, n, |b| b.byte().and_then(known_code)).ok_or(CodecError::Column("quality"))?;
    let label = |b: &mut Bytes<'_>| Some((u32::try_from(b.number()?).ok()?, b.number()?));
    let labels = runs(&mut bytes, n, label).ok_or(CodecError::Column("label"))?;
    let mut rows = Vec::with_capacity(n);
    let (mut point, mut at) = (0i64, 0i64);
    for (code, (epoch, seq)) in codes.into_iter().zip(labels) {
        let steps = bytes.signed().zip(bytes.signed());
        let (point_step, at_step) = steps.ok_or(CodecError::Column("point"))?;
        (point, at) = (point.wrapping_add(point_step), at.wrapping_add(at_step));
        let no = u32::try_from(point).map_err(|_| CodecError::Column("point"))?;
        rows.push((no, Kept { at, seq, value: 0.0, epoch, code }));
    }
    for (_, row) in rows.iter_mut().filter(|(_, row)| row.has_value()) {
        let value = bytes.take(8).and_then(|b| b.try_into().ok()).ok_or(CodecError::Column("value"))?;
        row.value = f64::from_le_bytes(value);
    }
    if bytes.0.is_empty() { Ok(rows) } else { Err(CodecError::Column("value")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: u64) -> Vec<(u32, Kept)> {
        let row = |i: u64| {
            let code = if i % 9 == 8 { 132 } else { 0 };
            let value = if code == 0 { i as f64 / 3.0 } else { 0.0 };
            let at = if i % 5 == 4 { i64::MIN } else { i64::MAX - i as i64 };
            (
                (i * 2_654_435_761) as u32,
                Kept { at, seq: u64::MAX - i / 4, value, epoch: (i / 7) as u32, code },
            )
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn rows_read_back_from_their_bytes_in_their_order() {
        for n in [0, 1, 2, 60, 6_000] {
            assert_eq!(decode(&encode(&rows(n))).unwrap(), rows(n), "{n}");
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let blob = encode(&rows(40));
        for place in 0..blob.len() {
            let mut changed = blob.clone();
            changed[place] ^= 0x01;
            assert!(decode(&changed).is_err(), "byte {place} changed");
            assert!(decode(&blob[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_round_of_readings_costs_about_ten_bytes_each() {
        let round = |i: u32| {
            let at = 1_750_000_000_000 + i64::from(i);
            (1_000 + i, Kept { at, seq: 77, value: 25.6, epoch: 4, code: 0 })
        };
        let blob = encode(&(0..60).map(round).collect::<Vec<_>>());
        assert!(blob.len() < 60 * 10 + 40, "{} bytes for 60 rows", blob.len());
    }
}
