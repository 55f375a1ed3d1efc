//! Headers and frames: values to bytes and back. The layout is drawn on the crate's page.

use sitian_model::{Epoch, Mutant, Seq, Span, Timestamp};

use crate::owner::{OWNER_BYTES_MAX, Owner};

/// Bytes of a frame before its payload.
pub(crate) const HEAD_BYTES: usize = 40;
/// Bytes of a header; one copy at each end of the segment.
pub(crate) const HEADER_BYTES: usize = 80;
/// Where the first frame of a segment starts.
pub(crate) const FRAMES_AT: u64 = HEADER_BYTES as u64;
/// Frames start on multiples of this.
pub(crate) const ALIGN: usize = 16;

const MAGIC: [u8; 2] = [0x51, 0x5F];
const HEADER_MAGIC: [u8; 8] = *b"SITIANSP";
const VERSION: u32 = 1;

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One record.
    Data = 1,
    /// The manifest of the segment's epoch.
    Manifest = 2,
    /// How far an epoch is committed centrally.
    Ack = 3,
    /// What was evicted from an epoch without an ack.
    Gap = 4,
    /// How far the commits have come: behind the last frame of each, overwritten by the next.
    End = 5,
}

/// A frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub kind: Kind,
    pub length: usize,
    pub chain: u32,
    pub seq: Seq,
    pub from: i64,
    pub to: i64,
}

impl Head {
    /// The time span, if one is known.
    pub fn span(&self) -> Option<Span> {
        (self.from <= self.to).then_some(Span { from: Timestamp(self.from), to: Timestamp(self.to) })
    }
}

/// What lies at some offset.
pub(crate) enum Look {
    /// A valid frame: its payload follows the head.
    Frame(Head),
    /// It may be a frame, but this many bytes are needed to tell.
    Short(usize),
    /// No valid frame.
    Nothing,
}

/// Bytes that a frame with such a payload takes on disk.
pub(crate) fn frame_bytes(payload: usize) -> usize {
    (HEAD_BYTES + payload).next_multiple_of(ALIGN)
}

/// Appends a frame; `offset` is its place in segment `number`. The head's length is taken from the payload.
pub(crate) fn encode_frame(out: &mut Vec<u8>, number: u64, offset: u64, head: &Head, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[head.kind as u8, 0]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.chain.to_le_bytes());
    out.extend_from_slice(&head.seq.to_le_bytes());
    out.extend_from_slice(&head.from.to_le_bytes());
    out.extend_from_slice(&head.to.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = place_crc(number, offset, &out[start..start + 8], &out[start + 12..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + frame_bytes(payload.len()), 0);
}

/// Looks for a frame at the beginning of `bytes`, which lie at `offset` of segment `number`; no frame is longer than
/// `bytes_max`.
pub(crate) fn look(bytes: &[u8], number: u64, offset: u64, bytes_max: u64) -> Look {
    if bytes.len() < HEAD_BYTES {
        return if bytes_max < HEAD_BYTES as u64 { Look::Nothing } else { Look::Short(HEAD_BYTES) };
    }
    if bytes[..2] != MAGIC || bytes[3] != 0 {
        return Look::Nothing;
    }
    let kind = match bytes[2] {
        1 => Kind::Data,
        2 => Kind::Manifest,
        3 => Kind::Ack,
        4 => Kind::Gap,
        5 => Kind::End,
        _ => return Look::Nothing,
    };
    let length = u32_at(bytes, 4) as usize;
    let total = HEAD_BYTES + length;
    if total as u64 > bytes_max {
        return Look::Nothing;
    }
    if bytes.len() < total {
        return Look::Short(total);
    }
    let crc = place_crc(number, offset, &bytes[..8], &bytes[12..total]);
    if crc != u32_at(bytes, 8) && !Mutant::ChecksumNotChecked.lives() {
        return Look::Nothing;
    }
    let (from, to) = (u64_at(bytes, 24) as i64, u64_at(bytes, 32) as i64);
    Look::Frame(Head { kind, length, chain: u32_at(bytes, 12), seq: u64_at(bytes, 16), from, to })
}

/// What an ACK or GAP frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Ack {
        epoch: Epoch,
        committed: Seq,
    },
    /// The ack of an epoch that ends at `end`, where the chain is `chain`, and of which nothing else was left at `at_ms`.
    Gone {
        epoch: Epoch,
        end: Seq,
        chain: u32,
        at_ms: i64,
        owner: Owner,
    },
    Gap {
        epoch: Epoch,
        first: Seq,
        last: Seq,
        span: Option<Span>,
        chain: u32,
        owner: Owner,
    },
}

/// An END frame on disk: no other frame is smaller, so that the next commit covers it.
pub(crate) const END_BYTES: usize = HEAD_BYTES.next_multiple_of(ALIGN);

/// The largest mark on disk.
pub(crate) const MARK_BYTES: usize = (HEAD_BYTES + 24 + OWNER_BYTES_MAX).next_multiple_of(ALIGN);

impl Mark {
    /// Appends the mark as a frame.
    pub fn encode(&self, out: &mut Vec<u8>, number: u64, offset: u64) {
        match *self {
            Mark::Ack { epoch, committed } => {
                let head = Head { kind: Kind::Ack, length: 0, chain: 0, seq: committed, from: 0, to: 0 };
                encode_frame(out, number, offset, &head, &epoch.0);
            }
            Mark::Gone { epoch, end, chain, at_ms, owner } => {
                let head = Head { kind: Kind::Ack, length: 0, chain, seq: end, from: at_ms, to: at_ms };
                encode_frame(out, number, offset, &head, &labelled(epoch, end, owner));
            }
            Mark::Gap { epoch, first, last, span, chain, owner } => {
                let (from, to) = span.map_or((1, 0), |s| (s.from.0, s.to.0));
                let head = Head { kind: Kind::Gap, length: 0, chain, seq: first, from, to };
                encode_frame(out, number, offset, &head, &labelled(epoch, last, owner));
            }
        }
    }

    /// Reads the mark out of a valid frame, if it is one.
    pub fn from_frame(head: &Head, payload: &[u8]) -> Option<Self> {
        let epoch = Epoch(payload.get(..16)?.try_into().ok()?);
        let owner = Owner::from_bytes(payload.get(24..).unwrap_or_default());
        match head.kind {
            Kind::Ack if payload.len() >= 24 => {
                let end = u64_at(payload, 16);
                (end == head.seq && end < Seq::MAX).then_some(Mark::Gone {
                    epoch,
                    end,
                    chain: head.chain,
                    at_ms: head.to,
                    owner,
                })
            }
            Kind::Ack => Some(Mark::Ack { epoch, committed: head.seq }),
            Kind::Gap if payload.len() >= 24 => {
                let last = u64_at(payload, 16);
                (head.seq <= last && last < Seq::MAX).then_some(Mark::Gap {
                    epoch,
                    first: head.seq,
                    last,
                    span: head.span(),
                    chain: head.chain,
                    owner,
                })
            }
            _ => None,
        }
    }
}

/// The payload of a mark that says whose epoch it is about.
fn labelled(epoch: Epoch, seq: Seq, owner: Owner) -> Vec<u8> {
    [&epoch.0[..], &seq.to_le_bytes(), owner.bytes()].concat()
}

/// What segment `number − 1` held when this one was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed {
    /// One past its last sequence number.
    pub end: Seq,
    /// The chain there.
    pub chain: u32,
    /// The latest time in it, in Unix ms.
    pub until: i64,
}

/// The first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub number: u64,
    pub epoch: Epoch,
    pub first: Seq,
    /// The chain before `first`.
    pub chain: u32,
    pub previous: Option<Closed>,
    /// Bytes of the segment.
    pub len: u64,
}

/// What the place of a header holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderLook {
    /// A good copy.
    Header(Header),
    /// All zero.
    Blank,
    /// Written by another version of this program.
    Foreign,
    /// Not readable.
    Damaged,
}

impl Header {
    /// One copy: [`HEADER_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        let closed = self.previous.unwrap_or(Closed { end: Seq::MAX, chain: 0, until: 0 });
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&HEADER_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.epoch.0);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.chain.to_le_bytes());
        out.extend_from_slice(&closed.chain.to_le_bytes());
        out.extend_from_slice(&closed.end.to_le_bytes());
        out.extend_from_slice(&closed.until.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        let crc = place_crc(self.number, 0, &out[..12], &out[16..]);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads one copy.
    pub fn look(copy: &[u8]) -> HeaderLook {
        if copy.iter().all(|b| *b == 0) {
            return HeaderLook::Blank;
        }
        if copy.len() < HEADER_BYTES
            || copy[..8] != HEADER_MAGIC
            || place_crc(u64_at(copy, 16), 0, &copy[..12], &copy[16..HEADER_BYTES]) != u32_at(copy, 12)
        {
            return HeaderLook::Damaged;
        }
        if u32_at(copy, 8) != VERSION {
            return HeaderLook::Foreign;
        }
        let mut epoch = [0; 16];
        epoch.copy_from_slice(&copy[24..40]);
        let end = u64_at(copy, 56);
        let closed = Closed { end, chain: u32_at(copy, 52), until: u64_at(copy, 64) as i64 };
        HeaderLook::Header(Header {
            number: u64_at(copy, 16),
            epoch: Epoch(epoch),
            first: u64_at(copy, 40),
            chain: u32_at(copy, 48),
            previous: (end != Seq::MAX).then_some(closed),
            len: u64_at(copy, 72),
        })
    }
}

/// CRC-32C of a place and of what is written there, leaving out the crc's own bytes.
fn place_crc(number: u64, offset: u64, before: &[u8], after: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(&number.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc = crc32c::crc32c_append(crc, before);
    crc32c::crc32c_append(crc, after)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_as_they_were_written_with_and_without_an_owner() {
        let (epoch, owner) = (Epoch([7; 16]), Owner::new("dangzhai-01").unwrap());
        let longest = Owner::new(&"a".repeat(OWNER_BYTES_MAX)).unwrap();
        let span = Some(Span { from: Timestamp(1), to: Timestamp(2) });
        let unknown = Owner::default();
        for (mark, payload_bytes) in [
            (Mark::Ack { epoch, committed: 3 }, 16),
            (Mark::Gone { epoch, end: 3, chain: 4, at_ms: 5, owner }, 24 + 11),
            (Mark::Gone { epoch, end: 3, chain: 4, at_ms: i64::MIN, owner: unknown }, 24),
            (Mark::Gap { epoch, first: 3, last: 5, span, chain: 4, owner: longest }, MARK_BYTES - HEAD_BYTES),
            (Mark::Gap { epoch, first: 3, last: 5, span: None, chain: 4, owner: unknown }, 24),
        ] {
            let mut bytes = Vec::new();
            mark.encode(&mut bytes, 9, 160);
            let Look::Frame(head) = look(&bytes, 9, 160, bytes.len() as u64) else { panic!("{mark:?}") };
            assert_eq!(head.length, payload_bytes);
            assert_eq!(Mark::from_frame(&head, &bytes[HEAD_BYTES..HEAD_BYTES + head.length]), Some(mark));
        }
    }
}
