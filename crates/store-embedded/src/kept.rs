//! A row without its point: what the head and the chunks hold. Knows no bytes and no files.

use sitian_model::{Cause, EpochNo, PointNo, Quality, Row, Timestamp};

/// Quality codes from here on say that there is no value.
const BAD_FROM: u8 = 128;

/// 32 bytes of one row. There is a value exactly if the quality is not bad, and it is finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    pub(crate) at: i64,
    pub(crate) seq: u64,
    /// 0 where there is no value.
    pub(crate) value: f64,
    pub(crate) epoch: u32,
    pub(crate) code: u8,
}

impl Kept {
    /// Keeps a row. One that breaks the law of `Row` (value and quality contradict each other, or the value is not
    /// finite) is kept as "not a number", or loses its value: a stored number is always a number.
    pub(crate) fn of(row: &Row) -> Self {
        let (value, quality) = match (row.value, row.quality) {
            (_, Quality::Bad(cause)) => (0.0, Quality::Bad(cause)),
            (Some(value), quality) if value.is_finite() => (value, quality),
            _ => (0.0, Quality::Bad(Cause::NotANumber)),
        };
        Self { at: row.at.0, seq: row.seq, value, epoch: row.epoch.0, code: quality.code() }
    }

    pub(crate) fn has_value(&self) -> bool {
        self.code < BAD_FROM
    }

    pub(crate) fn value(&self) -> Option<f64> {
        self.has_value().then_some(self.value)
    }

    pub(crate) fn quality(&self) -> Quality {
        // Codes are checked where bytes become rows.
        Quality::from_code(self.code).unwrap_or(Quality::Bad(Cause::NotANumber))
    }

    pub(crate) fn row(&self, point: PointNo) -> Row {
        Row {
            point,
            at: Timestamp(self.at),
            value: self.value(),
            quality: self.quality(),
            epoch: EpochNo(self.epoch),
            seq: self.seq,
        }
    }

    /// The natural key without the point; rows are ordered by it.
    pub(crate) fn key(&self) -> (i64, u32, u64) {
        (self.at, self.epoch, self.seq)
    }
}

/// Checks a quality code read from a file.
pub(crate) fn known_code(code: u8) -> Option<u8> {
    Quality::from_code(code).map(|_| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_contradicts_itself_is_kept_without_a_number() {
        let row = |value, quality| Row {
            point: PointNo(1),
            at: Timestamp(5),
            value,
            quality,
            epoch: EpochNo(2),
            seq: 3,
        };
        let timeout = Quality::Bad(Cause::Timeout);
        let not_a_number = Quality::Bad(Cause::NotANumber);
        for (given, kept) in [
            (row(Some(1.5), Quality::Good), row(Some(1.5), Quality::Good)),
            (row(None, timeout), row(None, timeout)),
            (row(Some(1.5), timeout), row(None, timeout)),
            (row(None, Quality::Good), row(None, not_a_number)),
            (row(Some(f64::NAN), Quality::Good), row(None, not_a_number)),
            (row(Some(f64::INFINITY), Quality::Uncertain(Cause::Implausible)), row(None, not_a_number)),
        ] {
            assert_eq!(Kept::of(&given).row(PointNo(1)), kept, "{given:?}");
        }
        assert_eq!(size_of::<Kept>(), 32);
    }
}
