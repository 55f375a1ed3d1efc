//! Blobs that open with their layout and a checksum, and the numbers in them: one to ten bytes, seven bits each, lowest first;
//! signed ones zigzag. Knows no rows.
//!
//! ```text
//!  0        1            5
//!  ├────────┼────────────┼───────────────
//!  │ layout │ CRC-32C LE │ body
//!  │  1 B   │ of body    │
//! ```

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A newer program has written them.
    #[error("layout {0} is not known to this version of the program")]
    Layout(u8),
    /// They are not what was written.
    #[error("checksum does not match: the bytes were changed on disk")]
    Checksum,
    /// The checksum holds and they make no sense nevertheless.
    #[error("{0} column is malformed")]
    Column(&'static str),
    /// A compressor refused.
    #[error("compress a column: {0}")]
    Compress(String),
}

/// Appends an unsigned number.
pub fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a signed number.
pub fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, (n.cast_unsigned() << 1) ^ (n >> 63).cast_unsigned());
}

/// Reads what was put, front to back. Every method answers `None` where the bytes end or make no sense.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// So many bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// An unsigned number.
    pub fn number(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    /// A signed number.
    pub fn signed(&mut self) -> Option<i64> {
        let n = self.number()?;
        Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// A number that must be at most `max`, as a length.
    pub fn length(&mut self, max: usize) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|n| *n <= max)
    }
}

/// Appends equal neighbours as runs: how many runs, then each value (by `put_one`) with its length.
pub fn put_runs<T: PartialEq + Copy>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = T> + Clone,
    mut put_one: impl FnMut(&mut Vec<u8>, T),
) {
    let mut runs: Vec<(T, u64)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((last, length)) if *last == value => *length += 1,
            _ => runs.push((value, 1)),
        }
    }
    put(out, runs.len() as u64);
    for (value, length) in runs {
        put_one(out, value);
        put(out, length);
    }
}

/// Reads runs back into `n` values; `None` unless they make exactly `n`.
pub fn runs<'a, T: Copy>(
    bytes: &mut Bytes<'a>,
    n: usize,
    mut one: impl FnMut(&mut Bytes<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = bytes.length(n)?;
    let mut values = Vec::with_capacity(n);
    for _ in 0..count {
        let value = one(bytes)?;
        let length = bytes.length(n - values.len())?;
        values.resize(values.len() + length, value);
    }
    (values.len() == n).then_some(values)
}

/// Writes the checksum of everything behind it into bytes 1 to 4.
pub fn seal(out: &mut [u8]) {
    let sum = crc32c::crc32c(&out[5..]);
    out[1..5].copy_from_slice(&sum.to_le_bytes());
}

/// Checks layout and checksum; which of the layouts it is and what follows are returned.
///
/// # Errors
/// It is of another layout, or the bytes are not what was sealed.
pub fn open<'a>(blob: &'a [u8], layouts: &[u8]) -> Result<(u8, Bytes<'a>), CodecError> {
    let mut bytes = Bytes(blob);
    let found = bytes.byte().ok_or(CodecError::Checksum)?;
    let sum = bytes.take(4).ok_or(CodecError::Checksum)?;
    if crc32c::crc32c(bytes.0).to_le_bytes() != sum {
        return Err(CodecError::Checksum);
    }
    if layouts.contains(&found) { Ok((found, bytes)) } else { Err(CodecError::Layout(found)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_torn_ones_do_not() {
        for n in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, n);
            assert_eq!(Bytes(&out).number(), Some(n));
            assert_eq!(Bytes(&out[..out.len() - 1]).number(), None, "{n} torn");
        }
        for n in [0, -1, 1, 63, -64, 64, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_signed(&mut out, n);
            assert_eq!(Bytes(&out).signed(), Some(n));
        }
        assert_eq!(Bytes(&[0xff; 10]).number(), None, "more than 64 bits");
        assert_eq!(Bytes(&[0x80; 11]).number(), None, "endless");
    }

    #[test]
    fn runs_read_back_and_wrong_totals_do_not() {
        let values = [5u64, 5, 5, 9, 5, 5];
        let mut out = Vec::new();
        put_runs(&mut out, values.iter().copied(), put);
        assert_eq!(out, [3, 5, 3, 9, 1, 5, 2]);
        assert_eq!(runs(&mut Bytes(&out), 6, Bytes::number), Some(values.to_vec()));
        for n in [0, 5, 7] {
            assert_eq!(runs(&mut Bytes(&out), n, Bytes::number), None, "{n}");
        }
    }
}
