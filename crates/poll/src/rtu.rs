//! The frames of Modbus RTU: checksum, request, and a reader of answers that believes nothing.
//!
//! A line is shared, slow and noisy: late replies, replies of other units, echoes of the own request and noise all
//! arrive in front of the answer. [`parse_response`] looks at the bytes so far and says what they are; [`Receiver`]
//! drives it and throws away what is not the answer while the caller's timer keeps running.

mod receiver;

pub use receiver::Receiver;

use sitian_model::Mutant;

use crate::{Answer, Ask, Request, Values, WriteRequest};

/// Longest frame of the protocol, in bytes.
pub const FRAME_BYTES_MAX: usize = 256;
const REQUEST_BYTES: usize = 8;
const EXCEPTION_BYTES: usize = 5;

/// CRC-16/MODBUS; on the wire the low byte goes first.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

/// The request as it goes on the wire.
pub fn encode_request(request: &Request) -> [u8; REQUEST_BYTES] {
    let [address_high, address_low] = request.address.to_be_bytes();
    let [count_high, count_low] = request.count.to_be_bytes();
    let body = [request.unit, request.function.code(), address_high, address_low, count_high, count_low];
    let [crc_low, crc_high] = crc16(&body).to_le_bytes();
    [body[0], body[1], body[2], body[3], body[4], body[5], crc_low, crc_high]
}

/// The write as it goes on the wire.
pub fn encode_write(request: &WriteRequest) -> Vec<u8> {
    let mut frame = vec![request.unit, request.function_code()];
    frame.extend(request.address.to_be_bytes());
    match &request.values {
        Values::Coil(on) => frame.extend([if *on { 0xFF } else { 0 }, 0]),
        Values::Register(word) => frame.extend(word.to_be_bytes()),
        Values::Coils(bits) => {
            frame.extend((bits.len() as u16).to_be_bytes());
            frame.push(bits.len().div_ceil(8) as u8);
            let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            frame.extend(bits.chunks(8).map(byte));
        }
        Values::Registers(words) => {
            frame.extend((words.len() as u16).to_be_bytes());
            frame.push((words.len() * 2) as u8);
            frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
    }
    frame.extend(crc16(&frame).to_le_bytes());
    frame
}

/// What is asked, as it goes on the wire.
pub fn encode(ask: &Ask) -> Vec<u8> {
    match ask {
        Ask::Read(request) => encode_request(request).to_vec(),
        Ask::Write(request) => encode_write(request),
    }
}

/// Bytes of the answer to whatever is asked, checksum included.
pub fn answer_bytes(ask: &Ask) -> usize {
    match ask {
        Ask::Read(request) => response_bytes(request),
        Ask::Write(_) => REQUEST_BYTES,
    }
}

/// Bytes of the answer to this request, checksum included.
pub fn response_bytes(request: &Request) -> usize {
    5 + payload_bytes(request)
}

fn payload_bytes(request: &Request) -> usize {
    let count = usize::from(request.count);
    if request.function.is_bits() { count.div_ceil(8) } else { count * 2 }
}

/// Microseconds of silence that end a frame: 3.5 characters of 11 bits, and never less than 1,750 µs.
pub fn silence_us(baud: u32) -> u32 {
    (38_500_000 / baud.max(1)).max(1_750)
}

/// What the bytes so far are, other than the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RtuFault {
    /// Nothing speaks against the bytes, but the frame is not complete: wait for more.
    #[error("the frame is not complete")]
    Incomplete,
    /// The first `bytes` are a whole frame with a good checksum that answers something else (a late reply, another
    /// unit, the echo of the request): discard them, keep the timer running.
    #[error("{bytes} bytes are a frame of unit {unit} that was not asked for")]
    Foreign {
        /// The unit id it carries.
        unit: u8,
        /// Length of the frame.
        bytes: usize,
        /// It is the reply of a device, not the request of another master.
        reply: bool,
    },
    /// The first `bytes` are our own request, which the line gives back: discard them, keep the timer running.
    #[error("{bytes} bytes are the echo of the request")]
    Echo {
        /// Length of the request.
        bytes: usize,
    },
    /// The first byte cannot begin any frame: discard it, keep the timer running.
    #[error("the first byte is noise")]
    Noise,
    /// The frame of the asked unit, function and length has a wrong checksum: the attempt is over.
    #[error("the checksum is wrong")]
    Checksum,
    /// The asked unit answers in a form that no frame has: the attempt is over.
    #[error("the byte count is impossible")]
    Malformed,
    /// The asked unit refuses.
    #[error("the device answered with exception {0}")]
    Exception(u8),
}

/// Looks at the bytes received since the request was sent. Unit id, function, byte count and checksum must all be
/// those of the answer to exactly this request.
pub fn parse_response(request: &Request, bytes: &[u8]) -> Result<Answer, RtuFault> {
    let echo = encode_request(request);
    if bytes.starts_with(&echo) {
        return Err(RtuFault::Echo { bytes: REQUEST_BYTES });
    }
    let &[unit, function, ref rest @ ..] = bytes else {
        return Err(RtuFault::Incomplete);
    };
    let foreign_unit = unit != request.unit && !Mutant::ForeignUnitAccepted.lives();
    if foreign_unit || function & 0x7F != request.function.code() {
        return Err(foreign(bytes));
    }
    if function & 0x80 != 0 {
        return Err(exception(bytes));
    }
    let Some(&declared) = rest.first() else {
        return Err(RtuFault::Incomplete);
    };
    if usize::from(declared) != payload_bytes(request) && !Mutant::ByteCountNotChecked.lives() {
        return Err(unexpected_length(bytes, &echo));
    }
    let Some(frame) = bytes.get(..response_bytes(request)) else {
        return Err(RtuFault::Incomplete);
    };
    if !is_whole(frame) && !Mutant::ReplyNotChecked.lives() {
        return Err(if echo.starts_with(bytes) { RtuFault::Incomplete } else { RtuFault::Checksum });
    }
    Ok(answer(request, &frame[3..frame.len() - 2]))
}

/// Looks at the bytes received since the write was sent. The confirmation repeats address and value (functions 5 and 6)
/// or address and count (15 and 16). `echo`: this line gives back what is sent, so that the first such frame is no
/// confirmation yet.
pub fn parse_confirmation(request: &WriteRequest, bytes: &[u8], echo: bool) -> Result<Answer, RtuFault> {
    let sent = encode_write(request);
    let mut expected = sent[..6].to_vec();
    expected.extend(crc16(&expected).to_le_bytes());
    if bytes.starts_with(&sent) && (echo || sent != expected) {
        return Err(RtuFault::Echo { bytes: sent.len() });
    }
    if bytes.starts_with(&expected) {
        return Ok(Answer::Written);
    }
    if expected.starts_with(bytes) || sent.starts_with(bytes) {
        return Err(RtuFault::Incomplete);
    }
    if bytes[0] == request.unit && bytes.get(1) == Some(&(request.function_code() | 0x80)) {
        return Err(exception(bytes));
    }
    match foreign(bytes) {
        // The right beginning and no whole frame: noise has hit the confirmation.
        RtuFault::Noise if expected[..2] == bytes[..2.min(bytes.len())] => Err(RtuFault::Checksum),
        fault => Err(fault),
    }
}

fn answer(request: &Request, payload: &[u8]) -> Answer {
    if request.function.is_bits() {
        let bit = |n: u16| payload[usize::from(n / 8)] >> (n % 8) & 1 == 1;
        return Answer::Bits((0..request.count).map(bit).collect());
    }
    Answer::Registers(payload.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
}

/// True if the last two bytes are the checksum of the others.
fn is_whole(frame: &[u8]) -> bool {
    frame.len() >= 4 && crc16(&frame[..frame.len() - 2]).to_le_bytes() == frame[frame.len() - 2..]
}

fn exception(bytes: &[u8]) -> RtuFault {
    match bytes.get(..EXCEPTION_BYTES) {
        None => RtuFault::Incomplete,
        Some(frame) if is_whole(frame) => RtuFault::Exception(frame[2]),
        Some(_) => RtuFault::Checksum,
    }
}

/// The asked unit and function with another byte count: a late reply to another request, or the echo on its way.
fn unexpected_length(bytes: &[u8], echo: &[u8]) -> RtuFault {
    if echo.starts_with(bytes) {
        return RtuFault::Incomplete;
    }
    match foreign(bytes) {
        RtuFault::Noise => RtuFault::Malformed,
        fault => fault,
    }
}

/// Whether the bytes begin with a whole frame of anybody, may still become one, or never will.
fn foreign(bytes: &[u8]) -> RtuFault {
    let declared = bytes.get(2).map(|count| 5 + usize::from(*count));
    let lengths: &[(Option<usize>, bool)] = match bytes.get(1) {
        // Reads: the reply declares its length; another master's request has eight bytes.
        Some(1..=4) => &[(declared, true), (Some(REQUEST_BYTES), false)],
        Some(5 | 6 | 15 | 16) => &[(Some(REQUEST_BYTES), false)],
        Some(0x81..=0xFF) => &[(Some(EXCEPTION_BYTES), true)],
        None => return RtuFault::Incomplete,
        Some(_) => return RtuFault::Noise,
    };
    let mut fault = RtuFault::Noise;
    for (length, reply) in lengths {
        match length {
            Some(length) if *length > FRAME_BYTES_MAX => {}
            Some(length) => match bytes.get(..*length) {
                Some(frame) if is_whole(frame) => {
                    return RtuFault::Foreign { unit: bytes[0], bytes: *length, reply: *reply };
                }
                Some(_) => {}
                None => fault = RtuFault::Incomplete,
            },
            None => fault = RtuFault::Incomplete,
        }
    }
    fault
}

#[cfg(test)]
mod tests;
