//! A chunk: up to [`ROWS_MAX`] rows of one point, ordered, as columns of bytes, with the statistics that later spare
//! reading them. The bytes are drawn in the crate page. Knows no database.

use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use crate::decimal::Decimals;
use crate::kept::{Kept, known_code};
use sitian_registry::bytes::{Bytes, CodecError, open, put, put_runs, put_signed, runs, seal};

/// Most rows of one chunk.
pub(crate) const ROWS_MAX: usize = 8_192;
/// Longest time from the first to the last row of a chunk, in milliseconds: 31 days. A search for the chunks that
/// touch a moment need not look further back.
pub(crate) const SPAN_MS_MAX: i64 = 31 * 86_400_000;

/// A chunk with so many rows is left alone by compaction. The index `chunk_small` of the schema says the same.
pub(crate) const FULL_ROWS: u32 = ROWS_MAX as u32 / 2;

const LAYOUT: u8 = 6;
/// What releases before schema 5 wrote.
const LAYOUT_OLD: u8 = 1;
/// Effort of the compressor, 0 to 12.
const LEVEL: usize = 4;
/// Stands for a number of decimals: values are written as they are.
pub(crate) const PLAIN: u8 = 255;
/// Sensors are read every so many whole seconds.
const SECOND_MS: i64 = 1_000;

/// How a chunk is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Fast: it is rewritten when it is compacted.
    Fresh,
    /// Small: it stays.
    Lasting,
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
    let seq: Vec<u64> = rows.iter().map(|row| row.seq).collect();
    let mut out = vec![LAYOUT, 0, 0, 0, 0];
    put(&mut out, rows.len() as u64);
    put_runs(&mut out, rows.iter().map(|row| row.code), |out, code| out.push(code));
    put_runs(&mut out, rows.iter().map(|row| row.epoch), |out, epoch| put(out, u64::from(epoch)));
    put_times(&mut out, rows, effort)?;
    put_sized(&mut out, &compress(&seq, &stepwise(ModeSpec::Classic))?);
    put_values(&mut out, rows, effort)?;
    seal(&mut out);
    Ok(out)
}

/// Times, counted from an origin. Those of a steady rhythm become the number of the beat and how late it was: the origin
/// lies half a beat before the first, so that early and late ones fall on the same side.
fn put_times(out: &mut Vec<u8>, rows: &[Kept], effort: Effort) -> Result<(), CodecError> {
    let first = rows.first().map_or(0, |row| row.at);
    let since = |origin: i64| -> Vec<u64> {
        rows.iter().map(|row| row.at.wrapping_sub(origin).cast_unsigned()).collect()
    };
    let mut best = (first, compress(&since(first), &stepwise(ModeSpec::Classic))?);
    if let Some(beat_ms) = rhythm(rows).filter(|_| effort == Effort::Lasting) {
        let origin = first.wrapping_sub(beat_ms / 2);
        let beats = ModeSpec::TryIntMult(beat_ms.cast_unsigned());
        let column = compress(&since(origin), &stepwise(beats))?;
        if column.len() < best.1.len() {
            best = (origin, column);
        }
    }
    put_signed(out, best.0);
    put_sized(out, &best.1);
    Ok(())
}

/// The usual time from one row to the next, in whole seconds where there are any.
fn rhythm(rows: &[Kept]) -> Option<i64> {
    let mut steps: Vec<i64> = rows.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect();
    let middle = steps.len() / 2;
    let (_, median, _) = (!steps.is_empty()).then(|| steps.select_nth_unstable(middle))?;
    let seconds = (*median).saturating_add(SECOND_MS / 2) / SECOND_MS * SECOND_MS;
    Some(if seconds > 0 { seconds } else { *median }).filter(|beat_ms| *beat_ms > 1)
}

/// Values, as whole numbers of their last decimal where that gives every one back to the bit.
fn put_values(out: &mut Vec<u8>, rows: &[Kept], effort: Effort) -> Result<(), CodecError> {
    let values: Vec<f64> = rows.iter().filter_map(Kept::value).collect();
    if values.is_empty() {
        return Ok(());
    }
    let decimals = Decimals::of(values.iter().copied());
    out.push(decimals.map_or(PLAIN, Decimals::count));
    let column = match decimals {
        Some(decimals) => {
            let whole: Vec<i64> = values.iter().filter_map(|value| decimals.whole(*value)).collect();
            let fresh = effort == Effort::Fresh;
            compress(&whole, &if fresh { stepwise(ModeSpec::Classic) } else { searching(effort) })?
        }
        None => compress(&values, &searching(effort))?,
    };
    out.extend_from_slice(&column);
    Ok(())
}

/// For columns whose neighbours are alike.
fn stepwise(mode: ModeSpec) -> ChunkConfig {
    ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(mode)
        .with_delta_spec(DeltaSpec::TryConsecutive(1))
}

/// For columns of which nothing is known.
fn searching(effort: Effort) -> ChunkConfig {
    let spec = if effort == Effort::Lasting { DeltaSpec::Auto } else { DeltaSpec::NoOp };
    ChunkConfig::default().with_compression_level(LEVEL).with_delta_spec(spec)
}

/// The bytes of a column.
pub(crate) fn compress<T: Number>(column: &[T], config: &ChunkConfig) -> Result<Vec<u8>, CodecError> {
    simple_compress(column, config).map_err(|error| CodecError::Compress(error.to_string()))
}

/// Appends the bytes of a column, their length before them.
pub(crate) fn put_sized(out: &mut Vec<u8>, column: &[u8]) {
    put(out, column.len() as u64);
    out.extend_from_slice(column);
}

/// The rows of these bytes. Allocates at most what [`ROWS_MAX`] rows take, whatever the bytes say.
pub(crate) fn decode(blob: &[u8]) -> Result<Vec<Kept>, CodecError> {
    let (layout, mut bytes) = open(blob, &[LAYOUT, LAYOUT_OLD])?;
    let n = bytes.length(ROWS_MAX).ok_or(CodecError::Column("count"))?;
    let codes =
        runs(&mut bytes, n, |b| b.byte().and_then(known_code)).ok_or(CodecError::Column("quality"))?;
    let epochs =
        runs(&mut bytes, n, |b| u32::try_from(b.number()?).ok()).ok_or(CodecError::Column("epoch"))?;
    let at: Vec<i64> = if layout == LAYOUT_OLD {
        sized(&mut bytes, n, "at")?
    } else {
        let origin = bytes.signed().ok_or(CodecError::Column("at"))?;
        let since: Vec<u64> = sized(&mut bytes, n, "at")?;
        since.into_iter().map(|ms| origin.wrapping_add(ms.cast_signed())).collect()
    };
    let seq: Vec<u64> = sized(&mut bytes, n, "seq")?;
    let mut rows: Vec<Kept> = (0..n)
        .map(|i| Kept { at: at[i], seq: seq[i], value: 0.0, epoch: epochs[i], code: codes[i] })
        .collect();
    let count = rows.iter().filter(|row| row.has_value()).count();
    let scale = if layout == LAYOUT_OLD || count == 0 { Some(PLAIN) } else { bytes.byte() };
    let values = values(bytes.0, count, scale.ok_or(CodecError::Column("value"))?)?;
    rows.iter_mut().filter(|row| row.has_value()).zip(values).for_each(|(row, value)| row.value = value);
    Ok(rows)
}

fn values(bytes: &[u8], count: usize, scale: u8) -> Result<Vec<f64>, CodecError> {
    match Decimals::known(scale) {
        _ if count == 0 => Ok(Vec::new()),
        Some(decimals) => {
            let whole: Vec<i64> = fill(bytes, count, "value")?;
            Ok(whole.into_iter().map(|whole| decimals.value(whole)).collect())
        }
        None if scale == PLAIN => fill(bytes, count, "value"),
        None => Err(CodecError::Column("value")),
    }
}

/// Reads `n` numbers that were put with their length before them.
pub(crate) fn sized<T: Number + Default>(
    bytes: &mut Bytes<'_>,
    n: usize,
    column: &'static str,
) -> Result<Vec<T>, CodecError> {
    let found = bytes.length(usize::MAX).and_then(|length| bytes.take(length));
    fill(found.ok_or(CodecError::Column(column))?, n, column)
}

fn fill<T: Number + Default>(bytes: &[u8], n: usize, column: &'static str) -> Result<Vec<T>, CodecError> {
    let mut out = vec![T::default(); n];
    let progress = simple_decompress_into(bytes, &mut out).map_err(|_| CodecError::Column(column))?;
    let whole = progress.n_processed == out.len() && progress.finished;
    if whole { Ok(out) } else { Err(CodecError::Column(column)) }
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
