//! One record as columns: what neighbours share is written once, and a decimal is written as the integer it is.

use prost::Message;
use sitian_model::{Cause, PointIndex, Quality, Reading, Record, Timestamp};

use crate::fault::{DecodeError, at_most, known_version, malformed, parse};
use crate::proto;
use crate::runs::{RunReader, RunWriter};

/// A gateway gathers at most this many readings into one record; any such record fits into [`RECORD_BYTES_MAX`].
pub const READINGS_MAX: usize = 2048;

/// No encoded record is longer, in bytes: one always fits into a batch.
pub const RECORD_BYTES_MAX: usize = 60 * 1024;

/// No encoded record is shorter, in bytes.
pub const RECORD_BYTES_MIN: usize = 8;

/// The scale that says: the value is among the raw ones.
const SCALE_RAW: u32 = 15;

/// Powers of ten that a value is tried with; each is exact as an f64.
const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Integers up to here are exact as an f64.
const DECIMAL_MAX: f64 = 9_007_199_254_740_992.0;

/// Encodes a record of at most [`READINGS_MAX`] readings into at most [`RECORD_BYTES_MAX`] bytes, uncompressed.
///
/// A reading that contradicts itself (a value that is not finite, or none under a quality that promises one) is written
/// as bad, [`Cause::NotANumber`]; a bad one loses its value.
pub fn encode_record(record: &Record) -> Vec<u8> {
    let at_ms = record.readings.first().map_or(0, |r| r.at.0);
    let mut columns = proto::Record {
        version: crate::VERSION,
        boot: record.boot,
        mono_ms: record.mono_ms,
        uncertainty_ms: record.uncertainty_ms,
        at_ms,
        ..Default::default()
    };
    let mut steps = RunWriter::new();
    let mut qualities = RunWriter::new();
    let mut scales = RunWriter::new();
    let (mut point_next, mut at_before) = (0_i64, at_ms);
    for reading in &record.readings {
        columns.points.push(i64::from(reading.point) - point_next);
        point_next = i64::from(reading.point) + 1;
        let step = reading.at.0.wrapping_sub(at_before);
        at_before = reading.at.0;
        if step == 0 && !steps.values.is_empty() {
            steps.extend()
        } else {
            steps.open(step)
        }
        let (quality, value) = consistent(reading);
        qualities.push(u32::from(quality.code()));
        if let Some(value) = value {
            match as_decimal(value) {
                Some((scale, decimal)) => {
                    scales.push(scale);
                    columns.decimals.push(decimal);
                }
                None => {
                    scales.push(SCALE_RAW);
                    columns.raw.extend_from_slice(&value.to_le_bytes());
                }
            }
        }
    }
    (columns.steps, columns.steps_runs) = (steps.values, steps.runs);
    (columns.qualities, columns.qualities_runs) = (qualities.values, qualities.runs);
    (columns.scales, columns.scales_runs) = (scales.values, scales.runs);
    let mut bytes = columns.encode_to_vec();
    // An empty record of a young boot is shorter than the least length; an unknown empty field fills it up.
    while bytes.len() < RECORD_BYTES_MIN {
        bytes.extend_from_slice(&[0xfa, 0x01, 0x00]);
    }
    bytes
}

fn consistent(reading: &Reading) -> (Quality, Option<f64>) {
    match (reading.quality, reading.value) {
        (Quality::Bad(cause), _) => (Quality::Bad(cause), None),
        (quality, Some(value)) if value.is_finite() => (quality, Some(value)),
        _ => (Quality::Bad(Cause::NotANumber), None),
    }
}

/// The smallest power of ten at which the value is an integer that divides back to the very same bits.
fn as_decimal(value: f64) -> Option<(u32, i64)> {
    for (scale, power) in POWERS.iter().enumerate() {
        let decimal = (value * power).round();
        if decimal.abs() > DECIMAL_MAX {
            return None;
        }
        // The way through i64 is the way the reader takes; it loses the sign of -0.0, which therefore travels raw.
        if ((decimal as i64) as f64 / power).to_bits() == value.to_bits() {
            return Some((scale as u32, decimal as i64));
        }
    }
    None
}

/// Decodes a record.
///
/// # Errors
///
/// [`DecodeError::Newer`] or [`DecodeError::Malformed`]; never with declared labels, which only a batch has.
pub fn decode_record(bytes: &[u8]) -> Result<Record, DecodeError> {
    at_most("bytes of a record", bytes.len(), RECORD_BYTES_MAX)?;
    let columns: proto::Record = parse("record", bytes)?;
    known_version(columns.version)?;
    let mut steps = RunReader::new("steps", &columns.steps, &columns.steps_runs)?;
    let mut qualities = RunReader::new("qualities", &columns.qualities, &columns.qualities_runs)?;
    let mut values = Values::new(&columns)?;
    let mut readings = Vec::with_capacity(columns.points.len());
    let (mut point_next, mut at) = (0_i64, columns.at_ms);
    for delta in &columns.points {
        let point = point_next.checked_add(*delta).and_then(|p| PointIndex::try_from(p).ok());
        let point = point.ok_or_else(|| malformed("points: position out of range"))?;
        point_next = i64::from(point) + 1;
        if let (step, true) = steps.step()? {
            at = at.wrapping_add(step);
        }
        let code = qualities.step()?.0;
        let quality = u8::try_from(code).ok().and_then(Quality::from_code);
        let quality =
            quality.ok_or_else(|| malformed(format!("qualities: no quality has the code {code}")))?;
        let value = if matches!(quality, Quality::Bad(_)) { None } else { Some(values.next()?) };
        readings.push(Reading { point, at: Timestamp(at), value, quality });
    }
    steps.finish()?;
    qualities.finish()?;
    values.finish()?;
    let proto::Record { boot, mono_ms, uncertainty_ms, .. } = columns;
    Ok(Record { boot, mono_ms, uncertainty_ms, readings })
}

struct Values<'a> {
    scales: RunReader<'a, u32>,
    decimals: std::slice::Iter<'a, i64>,
    raw: &'a [u8],
}

impl<'a> Values<'a> {
    fn new(columns: &'a proto::Record) -> Result<Self, DecodeError> {
        Ok(Self {
            scales: RunReader::new("scales", &columns.scales, &columns.scales_runs)?,
            decimals: columns.decimals.iter(),
            raw: &columns.raw,
        })
    }

    fn next(&mut self) -> Result<f64, DecodeError> {
        let scale = self.scales.step()?.0;
        if scale == SCALE_RAW {
            let (bytes, rest) =
                self.raw.split_first_chunk::<8>().ok_or_else(|| malformed("raw ends too early"))?;
            self.raw = rest;
            let value = f64::from_le_bytes(*bytes);
            return if value.is_finite() {
                Ok(value)
            } else {
                Err(malformed("raw holds a value that is not finite"))
            };
        }
        let power =
            POWERS.get(scale as usize).ok_or_else(|| malformed(format!("scales: {scale} is no scale")))?;
        let decimal = *self.decimals.next().ok_or_else(|| malformed("decimals ends too early"))?;
        if decimal.unsigned_abs() > DECIMAL_MAX as u64 {
            return Err(malformed(format!("decimals: {decimal} is beyond 2^53")));
        }
        Ok(decimal as f64 / power)
    }

    fn finish(mut self) -> Result<(), DecodeError> {
        self.scales.finish()?;
        if self.decimals.next().is_some() || !self.raw.is_empty() {
            return Err(malformed("values go on after the last reading"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_with_the_same_bits_and_decimals_take_few_bytes() {
        for (value, expected) in [
            (0.0, Some((0, 0))),
            (25.6, Some((1, 256))),
            (-0.1, Some((1, -1))),
            (0.3, Some((1, 3))),
            (7.125, Some((3, 7125))),
            (1e-9, Some((9, 1))),
            (1_000_000.0, Some((0, 1_000_000))),
            (DECIMAL_MAX, Some((0, 9_007_199_254_740_992))),
            (0.1 + 0.2, None),
            (-0.0, None),
            (1.0 / 3.0, None),
            (f64::MAX, None),
            (f64::MIN_POSITIVE, None),
            (5e-324, None),
        ] {
            assert_eq!(as_decimal(value), expected, "{value}");
        }
    }
}
