//! Finds whole frames in a stream of bytes, whatever stations make of the standard.

use crate::checksum;

/// Longest segment that is accepted, in bytes. The standard says 1,024; an encrypted one is written out three times longer.
const SEGMENT_BYTES_MAX: usize = 4_096;
const CRC_BYTES: usize = 4;
const MARK: &[u8] = b"##";

/// Which checksum a station sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Crc {
    /// The standard's own.
    #[default]
    Standard,
    /// CRC-16/MODBUS, against the standard.
    Modbus,
}

impl Crc {
    fn of(self, segment: &[u8]) -> u16 {
        match self {
            Self::Standard => checksum::hj212(segment),
            Self::Modbus => checksum::modbus(segment),
        }
    }
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What stands between the length and the checksum.
    pub segment: String,
    /// Which checksum it has.
    pub crc: Crc,
    /// True if the length has four digits and is that of the segment, as the standard wants it.
    pub exact: bool,
}

/// Why bytes were thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameFault {
    /// A frame whose checksum or length is wrong.
    #[error("the checksum or the length is wrong")]
    Checksum,
    /// Bytes that are no frame.
    #[error("there is no frame in the bytes")]
    Noise,
}

/// The frame of a segment.
pub fn encode(segment: &str, crc: Crc) -> Vec<u8> {
    format!("##{:04}{segment}{:04X}\r\n", segment.len(), crc.of(segment.as_bytes())).into_bytes()
}

/// Collects bytes until a frame is whole.
#[derive(Debug, Clone, Default)]
pub struct Framer {
    bytes: Vec<u8>,
}

enum Look {
    /// A whole frame, and the bytes it takes.
    Frame(Frame, usize),
    /// Throw away so many bytes; blanks without a reason.
    Skip(usize, Option<FrameFault>),
    /// Wait for more.
    Wait,
}

impl Framer {
    /// Takes what arrived and returns the frames that are whole, and what was wrong with other bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<Frame, FrameFault>> {
        let mut out = Vec::new();
        // Piece by piece, so that no burst is kept longer than a frame.
        for piece in bytes.chunks(SEGMENT_BYTES_MAX) {
            self.bytes.extend_from_slice(piece);
            loop {
                let (length, found) = match self.look() {
                    Look::Wait => break,
                    Look::Frame(frame, length) => (length, Some(Ok(frame))),
                    Look::Skip(length, fault) => (length, fault.map(Err)),
                };
                out.extend(found);
                self.bytes.drain(..length);
            }
        }
        out
    }

    fn look(&self) -> Look {
        // The last byte may be the first half of a mark.
        let kept = usize::from(self.bytes.last() == Some(&b'#'));
        let start = find(&self.bytes, MARK).unwrap_or(self.bytes.len() - kept);
        if start > 0 {
            let blank = self.bytes[..start].iter().all(u8::is_ascii_whitespace);
            return Look::Skip(start, (!blank).then_some(FrameFault::Noise));
        }
        let Some(head) = self.bytes.get(..6) else { return Look::Wait };
        let digits = head[2..].iter().take_while(|b| b.is_ascii_digit()).count();
        let declared = std::str::from_utf8(&head[2..2 + digits]).ok().and_then(|text| text.parse().ok());
        let Some(declared) = declared.filter(|_| digits >= 3) else {
            return Look::Skip(1, Some(FrameFault::Noise));
        };
        let from = 2 + digits;
        self.fitting(from, declared).unwrap_or_else(|| self.spoilt(from))
    }

    /// The frame at whose length everything fits: the declared one, or, as some stations count, less the checksum, or
    /// less checksum and line end.
    fn fitting(&self, from: usize, declared: usize) -> Option<Look> {
        let lengths = [declared, declared.wrapping_sub(4), declared.wrapping_sub(6)];
        lengths.into_iter().filter(|length| *length <= SEGMENT_BYTES_MAX).find_map(|length| {
            let end = from + length;
            let segment = self.bytes.get(from..end).filter(|segment| segment.ends_with(b"&&"))?;
            let sum = hexadecimal(self.bytes.get(end..end + CRC_BYTES)?)?;
            let crc = [Crc::Standard, Crc::Modbus].into_iter().find(|crc| crc.of(segment) == sum)?;
            let segment = String::from_utf8_lossy(segment).into_owned();
            let exact = length == declared && from == 6;
            Some(Look::Frame(Frame { segment, crc, exact }, end + CRC_BYTES))
        })
    }

    /// Nothing fits: either more is to come, or the line end or the next frame shows where the spoilt one ends.
    fn spoilt(&self, from: usize) -> Look {
        let line_end = find(&self.bytes, b"\r\n").map(|at| at + 2);
        let next = find(&self.bytes[MARK.len()..], MARK).map(|at| at + MARK.len());
        match line_end.into_iter().chain(next).min() {
            Some(end) => Look::Skip(end, Some(FrameFault::Checksum)),
            None if self.bytes.len() > from + SEGMENT_BYTES_MAX + CRC_BYTES => {
                Look::Skip(MARK.len(), Some(FrameFault::Noise))
            }
            None => Look::Wait,
        }
    }
}

fn hexadecimal(text: &[u8]) -> Option<u16> {
    let digits = text.iter().all(u8::is_ascii_hexdigit);
    digits.then(|| u16::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()).flatten()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
