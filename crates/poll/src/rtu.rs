//! The frames of Modbus RTU: checksum, request, and a reader of answers that believes nothing.
//!
//! A line is shared, slow and noisy: late replies, replies of other units, echoes of the own request and noise all
//! arrive in front of the answer. [`parse_response`] looks at the bytes so far and says what they are; [`Receiver`]
//! drives it and throws away what is not the answer while the caller's timer keeps running.

use crate::{Answer, Failure, Request};

/// Longest frame of the protocol, in bytes.
pub const FRAME_BYTES_MAX: usize = 256;
/// More bytes than this without an answer are babble: the attempt is over.
const BABBLE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;
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
        return Err(RtuFault::Foreign { unit: request.unit, bytes: REQUEST_BYTES });
    }
    let &[unit, function, ref rest @ ..] = bytes else {
        return Err(RtuFault::Incomplete);
    };
    if unit != request.unit || function & 0x7F != request.function.code() {
        return Err(foreign(bytes));
    }
    if function & 0x80 != 0 {
        return Err(exception(bytes));
    }
    let Some(&declared) = rest.first() else {
        return Err(RtuFault::Incomplete);
    };
    if usize::from(declared) != payload_bytes(request) {
        return Err(unexpected_length(bytes, &echo));
    }
    let Some(frame) = bytes.get(..response_bytes(request)) else {
        return Err(RtuFault::Incomplete);
    };
    if !is_whole(frame) {
        return Err(if echo.starts_with(bytes) { RtuFault::Incomplete } else { RtuFault::Checksum });
    }
    Ok(answer(request, &frame[3..frame.len() - 2]))
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
    let lengths: &[Option<usize>] = match bytes.get(1) {
        // Reads: the reply declares its length; another master's request has eight bytes.
        Some(1..=4) => &[declared, Some(REQUEST_BYTES)],
        Some(5 | 6 | 15 | 16) => &[Some(REQUEST_BYTES)],
        Some(0x81..=0xFF) => &[Some(EXCEPTION_BYTES)],
        None => return RtuFault::Incomplete,
        Some(_) => return RtuFault::Noise,
    };
    let mut fault = RtuFault::Noise;
    for length in lengths {
        match length {
            Some(length) if *length > FRAME_BYTES_MAX => {}
            Some(length) => match bytes.get(..*length) {
                Some(frame) if is_whole(frame) => {
                    return RtuFault::Foreign { unit: bytes[0], bytes: *length };
                }
                Some(_) => {}
                None => fault = RtuFault::Incomplete,
            },
            None => fault = RtuFault::Incomplete,
        }
    }
    fault
}

/// Collects the bytes of one attempt until there is an answer or a reason to give up.
#[derive(Debug, Clone)]
pub struct Receiver {
    request: Request,
    bytes: Vec<u8>,
    /// Bytes received in this attempt, discarded ones included.
    received: usize,
    foreign: Vec<u8>,
    noise: bool,
    strays: Vec<Vec<u8>>,
}

impl Receiver {
    /// A receiver for the answer to this request; the line was flushed before it was sent.
    pub fn new(request: Request) -> Self {
        Self {
            request,
            bytes: Vec::new(),
            received: 0,
            foreign: Vec::new(),
            noise: false,
            strays: Vec::new(),
        }
    }

    /// The same, where these packets may stand in front of a frame and mean nothing: the heartbeats and repeated
    /// registrations of a DTU. They are never sought within a frame, whose bytes may look the same by chance.
    pub fn skipping(mut self, strays: Vec<Vec<u8>>) -> Self {
        self.strays = strays.into_iter().filter(|packet| !packet.is_empty()).collect();
        self
    }

    /// Takes what arrived. `None`: keep waiting until the deadline of the request, then call [`Receiver::expire`].
    pub fn push(&mut self, bytes: &[u8]) -> Option<Result<Answer, Failure>> {
        self.received += bytes.len();
        if self.received > BABBLE_BYTES_MAX {
            return Some(Err(Failure::Malformed));
        }
        self.bytes.extend_from_slice(bytes);
        loop {
            match self.skip_stray() {
                Some(true) => continue,
                Some(false) => return None,
                None => {}
            }
            match parse_response(&self.request, &self.bytes) {
                Ok(answer) => return Some(Ok(answer)),
                Err(RtuFault::Incomplete) => return None,
                Err(RtuFault::Foreign { unit, bytes }) => {
                    self.bytes.drain(..bytes);
                    self.foreign.push(unit);
                }
                Err(RtuFault::Noise) => {
                    self.bytes.remove(0);
                    self.noise = true;
                }
                Err(RtuFault::Checksum) => return Some(Err(Failure::Checksum)),
                Err(RtuFault::Malformed) => return Some(Err(Failure::Malformed)),
                Err(RtuFault::Exception(code)) => return Some(Err(Failure::Exception(code))),
            }
        }
    }

    /// Drops a stray packet that the bytes begin with: true. False: they may still become one.
    fn skip_stray(&mut self) -> Option<bool> {
        let own = [self.request.unit, self.request.function.code()];
        if self.bytes.is_empty() || self.bytes.starts_with(&own) {
            return None;
        }
        if let Some(packet) = self.strays.iter().find(|packet| self.bytes.starts_with(packet)) {
            self.bytes.drain(..packet.len());
            return Some(true);
        }
        let begun = self.strays.iter().any(|packet| packet.starts_with(&self.bytes));
        (begun && self.bytes[0] != own[0]).then_some(false)
    }

    /// What to report when the deadline has passed: silence, or a frame that never became whole.
    pub fn expire(&self) -> Failure {
        if self.bytes.is_empty() && !self.noise { Failure::Timeout } else { Failure::Malformed }
    }

    /// Unit ids of the whole frames that were discarded, for [`crate::Poller::handle_foreign`].
    pub fn foreign(&self) -> &[u8] {
        &self.foreign
    }
}

#[cfg(test)]
mod tests;
