//! DL/T 645: electricity meters, editions 1997 and 2007.
//!
//! ```text
//! [FE FE FE FE] 68 A0 A1 A2 A3 A4 A5 68 C L DATA CS 16
//!  wake-up         address, BCD,         │ │ │    └ sum of everything from the first 68
//!                  lowest digits first   │ │ └ L bytes, each + 33H on the wire
//!                                        │ └ at most 200
//!                                        └ control: 11 read (1997: 01), + 80 reply, + C0 refusal
//! ```
//!
//! Fields are named after the data identifier as the standard prints it: `00010000` (2007) or `9010` (1997). Their value
//! is the BCD number without its decimal point: the profile's scale puts it in.

use sitian_model::Cause;
use sitian_profile::Decimal;

use crate::Field;
use crate::checksum;
use crate::conversation::Turn;

const START: u8 = 0x68;
const END: u8 = 0x16;
const WAKE_UP: u8 = 0xFE;
const OFFSET: u8 = 0x33;
const HEAD_BYTES: usize = 10;
const DATA_BYTES_MAX: usize = 200;
/// More than this without a frame is noise.
const BUFFER_BYTES_MAX: usize = 1_024;
/// The address that every meter answers; of use while one alone is connected.
pub const ANY_ADDRESS: &str = "AAAAAAAAAAAA";

/// Which edition of the standard a meter speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edition {
    /// DL/T 645-1997: identifiers of two bytes, control 01.
    Of1997,
    /// DL/T 645-2007: identifiers of four bytes, control 11.
    Of2007,
}

impl Edition {
    fn read(self) -> u8 {
        match self {
            Self::Of1997 => 0x01,
            Self::Of2007 => 0x11,
        }
    }

    fn identifier_bytes(self) -> usize {
        match self {
            Self::Of1997 => 2,
            Self::Of2007 => 4,
        }
    }

    /// True if the text is an identifier of this edition: four or eight hexadecimal digits.
    pub fn knows(self, name: &str) -> bool {
        name.len() == 2 * self.identifier_bytes()
            && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
    }
}

/// One frame with a good checksum; addresses as printed on the meter, data without the offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Twelve digits, highest first.
    pub address: String,
    /// Control code.
    pub control: u8,
    /// Data, lowest byte first.
    pub data: Vec<u8>,
}

/// True for twelve digits, or the address that every meter answers.
pub fn is_address(text: &str) -> bool {
    text == ANY_ADDRESS || (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()))
}

impl Frame {
    /// The bytes for the wire, without wake-up bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![START];
        let digits = hexadecimal(&self.address);
        bytes.extend((0..6).map(|n| digits.get(5 - n).copied().unwrap_or(0xAA)));
        bytes.extend([START, self.control, self.data.len().min(DATA_BYTES_MAX) as u8]);
        bytes.extend(self.data.iter().take(DATA_BYTES_MAX).map(|byte| byte.wrapping_add(OFFSET)));
        bytes.extend([checksum::sum(&bytes), END]);
        bytes
    }
}

/// Bytes of a text of hexadecimal digits, in reading order.
fn hexadecimal(text: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).filter_map(pair).collect()
}

/// Finds frames in a stream of bytes.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    bytes: Vec<u8>,
    /// A frame with a wrong checksum went by.
    pub spoilt: bool,
}

impl Receiver {
    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(BUFFER_BYTES_MAX);
        self.bytes.drain(..excess);
    }

    /// The next whole frame. What cannot begin one is thrown away.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let start = self.bytes.iter().position(|byte| *byte == START).unwrap_or(self.bytes.len());
            self.bytes.drain(..start);
            let head = self.bytes.get(..HEAD_BYTES)?;
            let length = usize::from(head[9]);
            if head[7] != START || length > DATA_BYTES_MAX {
                self.bytes.remove(0);
                continue;
            }
            let frame = self.bytes.get(..HEAD_BYTES + length + 2)?;
            let (body, tail) = frame.split_at(HEAD_BYTES + length);
            if tail != [checksum::sum(body), END] {
                self.spoilt = true;
                self.bytes.remove(0);
                continue;
            }
            let address = body[1..7].iter().rev().map(|byte| format!("{byte:02X}")).collect();
            let data = body[HEAD_BYTES..].iter().map(|byte| byte.wrapping_sub(OFFSET)).collect();
            let whole = Frame { address, control: body[8], data };
            self.bytes.drain(..HEAD_BYTES + length + 2);
            return Some(whole);
        }
    }
}

/// What a meter answered to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The value's bytes, lowest first.
    Value(Vec<u8>),
    /// The meter refuses, with this error word.
    Refused(u8),
}

/// The reply to the read of this identifier, if the frame is one.
pub fn reply(frame: &Frame, edition: Edition, address: &str, identifier: &str) -> Option<Reply> {
    if address != ANY_ADDRESS && frame.address != address {
        return None;
    }
    let refusal = edition.read() | 0xC0;
    if frame.control == refusal {
        return Some(Reply::Refused(frame.data.first().copied().unwrap_or(0)));
    }
    // Bit 5 says that more follows; what is there already is whole.
    if frame.control & !0x20 != edition.read() | 0x80 {
        return None;
    }
    let (echoed, value) = frame.data.split_at_checked(edition.identifier_bytes())?;
    let echoed: String = echoed.iter().rev().map(|byte| format!("{byte:02X}")).collect();
    (echoed == identifier).then(|| Reply::Value(value.to_vec()))
}

/// The BCD number of a value, without its decimal point. In quantities that have a direction (currents, powers, power
/// factors of the 2007 edition) the highest bit is the sign. Bytes FF mean that there is no value.
pub fn value(identifier: &str, bytes: &[u8]) -> Field {
    let directed = identifier.len() == 8
        && identifier
            .get(..4)
            .is_some_and(|group| matches!(group, "0202" | "0203" | "0204" | "0205" | "0206"));
    let mut digits: i128 = 0;
    let mut negative = false;
    if bytes.is_empty() || bytes.len() > 8 {
        return Field::missing(identifier, Cause::NotANumber);
    }
    for (n, byte) in bytes.iter().rev().enumerate() {
        let mut byte = *byte;
        if n == 0 && directed && byte != 0xFF {
            negative = byte & 0x80 != 0;
            byte &= 0x7F;
        }
        let (high, low) = (byte >> 4, byte & 0x0F);
        if high > 9 || low > 9 {
            return Field::missing(identifier, Cause::NotANumber);
        }
        digits = digits * 100 + i128::from(high * 10 + low);
    }
    let number = Decimal::integer(digits);
    Field::good(identifier, if negative { number.negated() } else { number })
}

/// All values of one meter, one after the other.
#[derive(Debug, Clone)]
pub struct Conversation {
    address: String,
    edition: Edition,
    wake_up: usize,
    timeout_ms: u32,
    todo: Vec<String>,
    receiver: Receiver,
    fields: Vec<Field>,
    cause: Option<Cause>,
}

impl Conversation {
    /// Reads these identifiers; every reply may take `timeout_ms`. `wake_up` bytes FE go in front of each request.
    pub fn new(
        address: &str,
        edition: Edition,
        wake_up: u8,
        identifiers: &[String],
        timeout_ms: u32,
    ) -> Self {
        Self {
            address: address.to_owned(),
            edition,
            wake_up: wake_up.into(),
            timeout_ms,
            todo: identifiers.iter().rev().cloned().collect(),
            receiver: Receiver::default(),
            fields: Vec::new(),
            cause: None,
        }
    }

    /// What to do next.
    pub fn turn(&self) -> Turn {
        let Some(identifier) = self.todo.last() else { return Turn::Done };
        let data = hexadecimal(identifier).into_iter().rev().collect();
        let frame = Frame { address: self.address.clone(), control: self.edition.read(), data };
        let mut bytes = vec![WAKE_UP; self.wake_up];
        bytes.extend(frame.encode());
        Turn::Say { bytes, wait_ms: self.timeout_ms }
    }

    /// Takes what arrived; true if the turn has changed.
    pub fn hear(&mut self, bytes: &[u8]) -> bool {
        self.receiver.push(bytes);
        while let Some(frame) = self.receiver.next_frame() {
            let Some(identifier) = self.todo.last().cloned() else { return false };
            match reply(&frame, self.edition, &self.address, &identifier) {
                Some(Reply::Value(bytes)) => self.fields.push(value(&identifier, &bytes)),
                Some(Reply::Refused(_)) => self.fields.push(Field::missing(identifier, Cause::Exception)),
                None => continue,
            }
            self.todo.pop();
            return true;
        }
        if self.receiver.spoilt {
            self.cause = Some(Cause::Checksum);
        }
        false
    }

    /// The reply did not come in time: a meter that is silent once is asked nothing more.
    pub fn silence(&mut self) {
        self.todo.clear();
    }

    /// What was said, and why anything else was not.
    pub fn outcome(self) -> (Vec<Field>, Cause) {
        (self.fields, self.cause.unwrap_or(Cause::Timeout))
    }
}
