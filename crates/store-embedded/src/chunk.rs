//! A chunk: up to [`ROWS_MAX`] rows of one point, ordered, as columns of bytes, with the statistics that later spare
//! reading them. The bytes are drawn in the crate page. Knows no database.

use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec};

use crate::kept::{Kept, known_code};
use crate::varint::{Bytes, put, put_runs, runs};

/// Most rows of one chunk.
pub(crate) const ROWS_MAX: usize = 8_192;
/// Longest time from the first to the last row of a chunk, in milliseconds: 31 days. A search for the chunks that
/// touch a moment need not look further back.
pub(crate) const SPAN_MS_MAX: i64 = 31 * 86_400_000;

/// A chunk with so many rows is left alone by compaction. The index `chunk_small` of the schema says the same.
pub(crate) const FULL_ROWS: u32 = ROWS_MAX as u32 / 2;

const LAYOUT: u8 = 1;
/// Effort of the compressor, 0 to 12.
const LEVEL: usize = 4;

/// How a chunk is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Fast: it is rewritten when it is compacted.
    Fresh,
    /// Small: it stays.
    Lasting,
}

/// Why bytes are no chunk or no journal entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("layout {0} is not known to this version of the program")]
    Layout(u8),
    #[error("checksum does not match: the bytes were changed on disk")]
    Checksum,
    #[error("{0} column is malformed")]
    Column(&'static str),
    #[error("compress a column: {0}")]
    Compress(String),
}

/// What is known of a chunk without reading its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stats {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) good: u32,
    pub(crate) uncertain: u32,
    pub(crate) bad: u32,
    /// Over the values; `None` if no row has one.
    pub(crate) values: Option<ValueStats>,
}

/// Statistics of the values of a chunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ValueStats {
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) sum: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
}

impl Stats {
    /// Of at least one row, ordered by time; `None` of none.
    pub(crate) fn of(rows: &[Kept]) -> Option<Self> {
        let (start_ms, end_ms) = (rows.first()?.at, rows.last()?.at);
        let mut stats = Self { start_ms, end_ms, good: 0, uncertain: 0, bad: 0, values: None };
        for row in rows {
            match row.code {
                0 => stats.good += 1,
                1..=127 => stats.uncertain += 1,
                _ => stats.bad += 1,
            }
            let Some(value) = row.value() else { continue };
            let values = stats.values.get_or_insert(ValueStats {
                min: value,
                max: value,
                sum: 0.0,
                first: value,
                last: value,
            });
            values.min = values.min.min(value);
            values.max = values.max.max(value);
            values.sum += value;
            values.last = value;
        }
        Some(stats)
    }
}

/// Cuts ordered rows into pieces that fit a chunk each.
pub(crate) fn pieces(rows: &[Kept]) -> impl Iterator<Item = &[Kept]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let near = rest.partition_point(|row| row.at.saturating_sub(first.at) <= SPAN_MS_MAX);
        let (piece, tail) = rest.split_at(near.min(ROWS_MAX));
        rest = tail;
        Some(piece)
    })
}

/// The bytes of ordered rows, at most [`ROWS_MAX`].
pub(crate) fn encode(rows: &[Kept], effort: Effort) -> Result<Vec<u8>, CodecError> {
    let values: Vec<f64> = rows.iter().filter_map(Kept::value).collect();
    let at: Vec<i64> = rows.iter().map(|row| row.at).collect();
    let seq: Vec<u64> = rows.iter().map(|row| row.seq).collect();
    let stepwise =
        ChunkConfig::default().with_compression_level(LEVEL).with_delta_spec(DeltaSpec::TryConsecutive(1));
    let spec = match effort {
        Effort::Fresh => DeltaSpec::NoOp,
        Effort::Lasting => DeltaSpec::Auto,
    };
    let values_config = ChunkConfig::default().with_compression_level(LEVEL).with_delta_spec(spec);
    let compressed = |result: Result<Vec<u8>, pco::errors::PcoError>| {
        result.map_err(|error| CodecError::Compress(error.to_string()))
    };

    let mut out = vec![LAYOUT, 0, 0, 0, 0];
    put(&mut out, rows.len() as u64);
    put_runs(&mut out, rows.iter().map(|row| row.code), |out, code| out.push(code));
    put_runs(&mut out, rows.iter().map(|row| row.epoch), |out, epoch| put(out, u64::from(epoch)));
    for column in
        [compressed(simple_compress(&at, &stepwise))?, compressed(simple_compress(&seq, &stepwise))?]
    {
        put(&mut out, column.len() as u64);
        out.extend_from_slice(&column);
    }
    if !values.is_empty() {
        out.extend_from_slice(&compressed(simple_compress(&values, &values_config))?);
    }
    seal(&mut out);
    Ok(out)
}

/// The rows of these bytes. Allocates at most what [`ROWS_MAX`] rows take, whatever the bytes say.
pub(crate) fn decode(blob: &[u8]) -> Result<Vec<Kept>, CodecError> {
    let mut bytes = open(blob, LAYOUT)?;
    let n = bytes.length(ROWS_MAX).ok_or(CodecError::Column("count"))?;
    let codes =
        runs(&mut bytes, n, |b| b.byte().and_then(known_code)).ok_or(CodecError::Column("quality"))?;
    let epochs =
        runs(&mut bytes, n, |b| u32::try_from(b.number()?).ok()).ok_or(CodecError::Column("epoch"))?;
    let (mut at, mut seq) = (vec![0i64; n], vec![0u64; n]);
    fill(sized(&mut bytes, "at")?, &mut at, "at")?;
    fill(sized(&mut bytes, "seq")?, &mut seq, "seq")?;
    let mut rows: Vec<Kept> = (0..n)
        .map(|i| Kept { at: at[i], seq: seq[i], value: 0.0, epoch: epochs[i], code: codes[i] })
        .collect();
    let mut values = vec![0f64; rows.iter().filter(|row| row.has_value()).count()];
    if !values.is_empty() {
        fill(bytes.0, &mut values, "value")?;
    }
    rows.iter_mut().filter(|row| row.has_value()).zip(values).for_each(|(row, value)| row.value = value);
    Ok(rows)
}

fn sized<'a>(bytes: &mut Bytes<'a>, column: &'static str) -> Result<&'a [u8], CodecError> {
    let found = bytes.length(usize::MAX).and_then(|n| bytes.take(n));
    found.ok_or(CodecError::Column(column))
}

fn fill<T: pco::data_types::Number>(
    bytes: &[u8],
    out: &mut [T],
    column: &'static str,
) -> Result<(), CodecError> {
    let progress = simple_decompress_into(bytes, out).map_err(|_| CodecError::Column(column))?;
    if progress.n_processed == out.len() && progress.finished {
        Ok(())
    } else {
        Err(CodecError::Column(column))
    }
}

/// Writes the checksum of everything behind it into bytes 1 to 4.
pub(crate) fn seal(out: &mut [u8]) {
    let sum = crc32c::crc32c(&out[5..]);
    out[1..5].copy_from_slice(&sum.to_le_bytes());
}

/// Checks layout and checksum; what follows them is returned.
pub(crate) fn open(blob: &[u8], layout: u8) -> Result<Bytes<'_>, CodecError> {
    let mut bytes = Bytes(blob);
    let found = bytes.byte().ok_or(CodecError::Checksum)?;
    let sum = bytes.take(4).ok_or(CodecError::Checksum)?;
    if crc32c::crc32c(bytes.0).to_le_bytes() != sum {
        return Err(CodecError::Checksum);
    }
    if found == layout { Ok(bytes) } else { Err(CodecError::Layout(found)) }
}

#[cfg(test)]
mod tests {
    use sitian_model::{Cause, Quality};

    use super::*;

    fn walk(n: usize) -> Vec<Kept> {
        let row = |i: usize| Kept {
            at: 1_750_000_000_000 + i as i64 * 60_000 + (i * 37 % 11) as i64,
            seq: 100 + i as u64,
            value: if i % 50 == 3 { 0.0 } else { 200.0 + (i * 7_919 % 100) as f64 / 10.0 },
            epoch: 3 + (i / 400) as u32,
            code: match i % 50 {
                3 => Quality::Bad(Cause::Timeout).code(),
                4 => Quality::Uncertain(Cause::Implausible).code(),
                _ => 0,
            },
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn rows_read_back_from_their_bytes() {
        for n in [0, 1, 2, 3, 50, 1_000, ROWS_MAX] {
            let rows = walk(n);
            for effort in [Effort::Fresh, Effort::Lasting] {
                let blob = encode(&rows, effort).unwrap();
                assert_eq!(decode(&blob).unwrap(), rows, "{n} {effort:?}");
            }
        }
        let silent: Vec<_> = walk(10).into_iter().map(|row| Kept { value: 0.0, code: 132, ..row }).collect();
        assert_eq!(decode(&encode(&silent, Effort::Lasting).unwrap()).unwrap(), silent);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let blob = encode(&walk(60), Effort::Fresh).unwrap();
        for place in 0..blob.len() {
            let mut changed = blob.clone();
            changed[place] ^= 0x10;
            assert!(decode(&changed).is_err(), "byte {place} changed");
            assert!(decode(&blob[..place]).is_err(), "cut at {place}");
        }
        let mut newer = blob;
        newer[0] = 9;
        assert_eq!(decode(&newer), Err(CodecError::Layout(9)));
    }

    #[test]
    fn bytes_that_lie_about_their_content_are_refused() {
        let mut body = vec![LAYOUT, 0, 0, 0, 0];
        put(&mut body, 4);
        body.extend([1, 0, 4, 1, 7, 4, 200, 1]);
        seal(&mut body);
        assert_eq!(decode(&body), Err(CodecError::Column("at")), "a column longer than the blob");
        let mut body = vec![LAYOUT, 0, 0, 0, 0];
        put(&mut body, u64::MAX);
        seal(&mut body);
        assert_eq!(decode(&body), Err(CodecError::Column("count")), "more rows than a chunk has");
        let mut body = vec![LAYOUT, 0, 0, 0, 0, 2, 1, 77, 2];
        seal(&mut body);
        assert_eq!(decode(&body), Err(CodecError::Column("quality")), "a quality that nobody knows");
    }

    #[test]
    fn pieces_keep_the_order_and_stay_within_count_and_span() {
        let at = |at: i64| Kept { at, ..walk(1)[0] };
        let far: Vec<_> = [0, 1, SPAN_MS_MAX, SPAN_MS_MAX + 1, i64::MAX].map(at).to_vec();
        for (rows, sizes) in
            [(walk(20_000), vec![8_192, 8_192, 3_616]), (far, vec![3, 1, 1]), (vec![], vec![])]
        {
            assert_eq!(pieces(&rows).map(<[Kept]>::len).collect::<Vec<_>>(), sizes);
            assert_eq!(pieces(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        }
    }

    #[test]
    fn statistics_count_qualities_and_look_only_at_values() {
        assert_eq!(Stats::of(&[]), None);
        let rows = walk(50);
        let stats = Stats::of(&rows).unwrap();
        assert_eq!((stats.good, stats.uncertain, stats.bad), (48, 1, 1));
        let values: Vec<_> = rows.iter().filter_map(Kept::value).collect();
        let expected = ValueStats {
            min: values.iter().copied().fold(f64::MAX, f64::min),
            max: values.iter().copied().fold(f64::MIN, f64::max),
            sum: values.iter().sum(),
            first: values[0],
            last: values[48],
        };
        assert_eq!(stats.values, Some(expected));
        assert_eq!(Stats::of(&[Kept { code: 132, ..rows[0] }]).unwrap().values, None);
    }
}
