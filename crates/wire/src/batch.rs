//! One batch: a frozen envelope with its own checksum, the gateway's position, and the sealed entries.

use std::ops::RangeInclusive;

use prost::Message;
use sitian_model::{
    Batch, Clock, Entry, Epoch, Gap, GapReason, Held, Lane, Seq, Span, SpoolState, Timestamp,
};

use crate::body::{DECODED_BYTES_MAX, Packed, WIRE_BYTES_MAX, pack, unpack};
use crate::fault::{Declared, DecodeError, at_most, epoch, known_version, malformed, parse, seq};
use crate::proto;
use crate::record::{RECORD_BYTES_MAX, RECORD_BYTES_MIN};

/// A batch has at most this many entries; every record being what it is, the byte limits come first.
pub const ENTRIES_MAX: usize = 16_384;

/// A batch lists at most this many held epochs; with more than that it lists none.
pub const HELD_MAX: usize = 512;

/// A batch carries at most this many clocks; the encoder keeps the last ones.
pub const CLOCKS_MAX: usize = 64;

const ENTRY_TAG: u32 = 1;

/// Lane, spool, held and clocks: what `rest_check` covers.
const REST: RangeInclusive<u32> = 9..=12;

/// Encodes a batch.
///
/// The result is readable if its entries keep to [`ENTRIES_MAX`] and [`DECODED_BYTES_MAX`], and the result to
/// [`WIRE_BYTES_MAX`]. Entries of at most 48 KiB in all, or a single record, always give that; more entries may, where
/// they compress well, and then the caller looks at the length.
pub fn encode_batch(batch: &Batch) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in &batch.entries {
        prost::encoding::message::encode(ENTRY_TAG, &entry_message(entry), &mut body);
    }
    let (first, end) = (batch.first, batch.end());
    let rest = proto::Batch {
        lane: match batch.lane {
            Lane::Live => proto::Lane::Live.into(),
            Lane::Backfill => proto::Lane::Backfill.into(),
        },
        spool: Some(spool_message(&batch.spool)),
        held: held_message(&batch.held),
        clocks: clocks_message(&batch.clocks),
        ..proto::Batch::default()
    };
    let message = proto::Batch {
        version: crate::VERSION,
        epoch: batch.epoch.0.to_vec(),
        first,
        end,
        check: envelope_check(crate::VERSION, &batch.epoch, first, end),
        acked: batch.acked,
        oldest: batch.oldest,
        chain: batch.chain,
        rest_check: Some(crc32c::crc32c(&rest.encode_to_vec())),
        body_check: body_check(&body, batch.acked, batch.oldest, batch.chain),
        body_bytes: body.len() as u32,
        body: match pack(body) {
            Packed::Plain(bytes) if bytes.is_empty() => None,
            Packed::Plain(bytes) => Some(proto::batch::Body::Plain(bytes)),
            Packed::Zstd(bytes) => Some(proto::batch::Body::Zstd(bytes)),
        },
        ..rest
    };
    message.encode_to_vec()
}

fn envelope_check(version: u32, epoch: &Epoch, first: Seq, end: Seq) -> u32 {
    let parts: [&[u8]; 4] = [&version.to_le_bytes(), &epoch.0, &first.to_le_bytes(), &end.to_le_bytes()];
    parts.into_iter().fold(0, crc32c::crc32c_append)
}

fn body_check(body: &[u8], acked: Seq, oldest: Seq, chain: u32) -> u32 {
    let parts: [&[u8]; 4] = [body, &acked.to_le_bytes(), &oldest.to_le_bytes(), &chain.to_le_bytes()];
    parts.into_iter().fold(0, crc32c::crc32c_append)
}

fn entry_message(entry: &Entry) -> proto::Entry {
    let entry = match entry {
        Entry::Record(payload) => proto::entry::Entry::Record(payload.clone()),
        Entry::Gap(gap) => proto::entry::Entry::Gap(proto::Gap {
            first: gap.first,
            last: gap.last,
            reason: match gap.reason {
                GapReason::Evicted => proto::GapReason::Evicted.into(),
                GapReason::Damaged => proto::GapReason::Damaged.into(),
                GapReason::Trimmed => proto::GapReason::Trimmed.into(),
            },
            from_ms: gap.span.map(|span| span.from.0),
            to_ms: gap.span.map(|span| span.to.0),
        }),
    };
    proto::Entry { entry: Some(entry) }
}

fn spool_message(spool: &SpoolState) -> proto::Spool {
    let SpoolState { bytes, bytes_max, backlog, lost, healthy } = *spool;
    proto::Spool { bytes, bytes_max, backlog, lost, healthy }
}

fn held_message(held: &[Held]) -> Option<proto::Held> {
    if held.is_empty() || held.len() > HELD_MAX {
        return None;
    }
    Some(proto::Held {
        epochs: held.iter().flat_map(|h| h.epoch.0).collect(),
        oldest: held.iter().map(|h| h.oldest).collect(),
        end: held.iter().map(|h| h.end).collect(),
        acked: held.iter().map(|h| h.acked).collect(),
    })
}

fn clocks_message(clocks: &[Clock]) -> Option<proto::Clocks> {
    let clocks = &clocks[clocks.len().saturating_sub(CLOCKS_MAX)..];
    if clocks.is_empty() {
        return None;
    }
    Some(proto::Clocks {
        boot: clocks.iter().map(|c| c.boot).collect(),
        wall_at_zero_ms: clocks.iter().map(|c| c.wall_at_zero_ms).collect(),
        uncertainty_ms: clocks.iter().map(|c| c.uncertainty_ms).collect(),
    })
}

/// Decodes a batch. Records inside stay encoded.
///
/// # Errors
///
/// Any [`DecodeError`]; wherever the frozen envelope is readable and matches its checksum, the error carries the labels
/// that the batch stood for.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, DecodeError> {
    if bytes.len() > WIRE_BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: bytes.len(), max: WIRE_BYTES_MAX });
    }
    let envelope = Envelope::read(bytes);
    let declared = envelope.declared();
    let batch = known_version(envelope.version).and_then(|()| decode_known(bytes, envelope.rest));
    batch.map_err(|e| e.with_declared(declared))
}

/// What is read before anything is understood: what every version says in the same place, and the checksum over the bytes
/// of the rest.
#[derive(Default)]
struct Envelope {
    version: u32,
    epoch: Option<Epoch>,
    first: Seq,
    end: Seq,
    check: u32,
    /// Over [`REST`], whatever later versions put into them.
    rest: u32,
}

impl Envelope {
    /// Reads as far as the bytes make sense.
    fn read(mut bytes: &[u8]) -> Self {
        let mut found = Self::default();
        while !bytes.is_empty() {
            if found.read_field(&mut bytes).is_none() {
                break;
            }
        }
        found
    }

    fn read_field(&mut self, bytes: &mut &[u8]) -> Option<()> {
        use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
        let field = *bytes;
        let (tag, wire_type) = decode_key(bytes).ok()?;
        match (tag, wire_type) {
            (1, WireType::Varint) => {
                self.version = u32::try_from(decode_varint(bytes).ok()?).unwrap_or(u32::MAX)
            }
            (2, WireType::LengthDelimited) => {
                let length = decode_varint(bytes).ok()?;
                let (epoch, rest) = bytes.split_first_chunk::<16>()?;
                if length != 16 {
                    return None;
                }
                (self.epoch, *bytes) = (Some(Epoch(*epoch)), rest);
            }
            (3, WireType::Varint) => self.first = decode_varint(bytes).ok()?,
            (4, WireType::Varint) => self.end = decode_varint(bytes).ok()?,
            (5, WireType::ThirtyTwoBit) => {
                let (check, rest) = bytes.split_first_chunk::<4>()?;
                (self.check, *bytes) = (u32::from_le_bytes(*check), rest);
            }
            _ => skip_field(wire_type, tag, bytes, DecodeContext::default()).ok()?,
        }
        if REST.contains(&tag) {
            self.rest = crc32c::crc32c_append(self.rest, &field[..field.len() - bytes.len()]);
        }
        Some(())
    }

    fn declared(&self) -> Option<Declared> {
        let (epoch, first, end) = (self.epoch?, self.first, self.end);
        let credible = envelope_check(self.version, &epoch, first, end) == self.check;
        (credible && first <= end && end < crate::SEQ_MAX).then_some(Declared { epoch, first, end })
    }
}

fn decode_known(bytes: &[u8], rest: u32) -> Result<Batch, DecodeError> {
    let mut message: proto::Batch = parse("batch", bytes).map_err(DecodeError::in_body)?;
    let epoch = epoch(&message.epoch)?;
    let (first, end) = (seq("first", message.first)?, seq("end", message.end)?);
    if envelope_check(message.version, &epoch, first, end) != message.check {
        return Err(malformed("batch envelope does not match its checksum"));
    }
    let body = sound_body(&mut message).map_err(DecodeError::in_body)?;
    // Records and labels are sound: they are not set aside for this, but awaited again.
    if message.rest_check.is_some_and(|check| check != rest) {
        let what = "lane, spool, held or clocks of a batch do not match their checksum".into();
        return Err(DecodeError::Damaged { what });
    }
    let lane = match proto::Lane::try_from(message.lane) {
        Ok(proto::Lane::Live) => Lane::Live,
        Ok(proto::Lane::Backfill) => Lane::Backfill,
        Ok(proto::Lane::Unspecified) | Err(_) => {
            return Err(malformed(format!("lane {} is unknown", message.lane)));
        }
    };
    let batch = Batch {
        epoch,
        first,
        entries: entries(&body, first)?,
        chain: message.chain,
        acked: seq("acked", message.acked)?,
        oldest: seq("oldest", message.oldest)?,
        held: held(&message.held.unwrap_or_default())?,
        clocks: clocks(&message.clocks.unwrap_or_default())?,
        lane,
        spool: spool(&message.spool.unwrap_or_default()),
    };
    if batch.end() == end {
        Ok(batch)
    } else {
        Err(malformed(format!("entries end at {}, but the envelope says {end}", batch.end())))
    }
}

/// The plain body, if its checksum vouches for it.
fn sound_body(message: &mut proto::Batch) -> Result<Vec<u8>, DecodeError> {
    let packed = match message.body.take() {
        Some(proto::batch::Body::Plain(bytes)) => Packed::Plain(bytes),
        Some(proto::batch::Body::Zstd(bytes)) => Packed::Zstd(bytes),
        None => Packed::Plain(Vec::new()),
    };
    let body = unpack(packed, message.body_bytes)?;
    if body_check(&body, message.acked, message.oldest, message.chain) == message.body_check {
        Ok(body)
    } else {
        Err(malformed("batch body does not match its checksum"))
    }
}

/// Walks the body entry by entry, so that only as much is allocated as is really there.
fn entries(mut body: &[u8], first: Seq) -> Result<Vec<Entry>, DecodeError> {
    use prost::encoding::{WireType, decode_key, decode_varint};
    debug_assert!(body.len() <= DECODED_BYTES_MAX);
    let broken = |e: prost::DecodeError| malformed(format!("batch body is no list of entries: {e}"));
    let mut entries = Vec::new();
    let mut next = first;
    while !body.is_empty() {
        if decode_key(&mut body).map_err(broken)? != (ENTRY_TAG, WireType::LengthDelimited) {
            return Err(malformed("batch body is no list of entries"));
        }
        let length = decode_varint(&mut body).map_err(broken)?;
        let split = usize::try_from(length).ok().and_then(|n| body.split_at_checked(n));
        let (bytes, rest) = split.ok_or_else(|| malformed("an entry is longer than the body"))?;
        body = rest;
        let entry = entry(parse("entry", bytes)?, next)?;
        next += entry.width();
        entries.push(entry);
        at_most("entries", entries.len(), ENTRIES_MAX)?;
    }
    Ok(entries)
}

fn entry(message: proto::Entry, next: Seq) -> Result<Entry, DecodeError> {
    match message.entry {
        Some(proto::entry::Entry::Record(payload)) => {
            if (RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&payload.len()) {
                Ok(Entry::Record(payload))
            } else {
                Err(malformed(format!("record {next} has {} bytes", payload.len())))
            }
        }
        Some(proto::entry::Entry::Gap(gap)) => gap_entry(gap, next).map(Entry::Gap),
        None => Err(malformed(format!("entry {next} is of an unknown kind"))),
    }
}

fn gap_entry(gap: proto::Gap, next: Seq) -> Result<Gap, DecodeError> {
    let (first, last) = (seq("gap.first", gap.first)?, seq("gap.last", gap.last)?);
    if first != next || last < first {
        return Err(malformed(format!("gap {first} to {last} stands at {next}")));
    }
    let reason = match proto::GapReason::try_from(gap.reason) {
        Ok(proto::GapReason::Evicted) => GapReason::Evicted,
        Ok(proto::GapReason::Damaged) => GapReason::Damaged,
        Ok(proto::GapReason::Trimmed) => GapReason::Trimmed,
        Ok(proto::GapReason::Unspecified) | Err(_) => {
            return Err(malformed(format!("reason {} of a gap is unknown", gap.reason)));
        }
    };
    let span = match (gap.from_ms, gap.to_ms) {
        (Some(from), Some(to)) => Some(Span { from: Timestamp(from), to: Timestamp(to) }),
        (None, None) => None,
        _ => return Err(malformed("a gap has one bound of its time span without the other")),
    };
    Ok(Gap { first, last, reason, span })
}

fn spool(message: &proto::Spool) -> SpoolState {
    let proto::Spool { bytes, bytes_max, backlog, lost, healthy } = *message;
    SpoolState { bytes, bytes_max, backlog, lost, healthy }
}

fn held(columns: &proto::Held) -> Result<Vec<Held>, DecodeError> {
    let (epochs, rest) = columns.epochs.as_chunks::<16>();
    let lengths = [columns.oldest.len(), columns.end.len(), columns.acked.len()];
    if !rest.is_empty() || lengths != [epochs.len(); 3] {
        return Err(malformed("columns of held differ in length"));
    }
    at_most("held epochs", epochs.len(), HELD_MAX)?;
    let row = |(i, epoch): (usize, &[u8; 16])| {
        Ok(Held {
            epoch: Epoch(*epoch),
            oldest: seq("held.oldest", columns.oldest[i])?,
            end: seq("held.end", columns.end[i])?,
            acked: seq("held.acked", columns.acked[i])?,
        })
    };
    epochs.iter().enumerate().map(row).collect()
}

fn clocks(columns: &proto::Clocks) -> Result<Vec<Clock>, DecodeError> {
    let count = columns.boot.len();
    if [columns.wall_at_zero_ms.len(), columns.uncertainty_ms.len()] != [count; 2] {
        return Err(malformed("columns of clocks differ in length"));
    }
    at_most("clocks", count, CLOCKS_MAX)?;
    let row = |i: usize| Clock {
        boot: columns.boot[i],
        wall_at_zero_ms: columns.wall_at_zero_ms[i],
        uncertainty_ms: columns.uncertainty_ms[i],
    };
    Ok((0..count).map(row).collect())
}
