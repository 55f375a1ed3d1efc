//! MH-Z19 and its kin: CO2 sensors with nine-byte frames, asked with one fixed request.
//!
//! ```text
//! request  FF 01 86 00 00 00 00 00 79
//! reply    FF 86 HH LL TT SS .. .. CK     HH LL: CO2 in ppm, TT: °C + 40 (undocumented), CK: FF - sum(bytes 1 to 7) + 1
//! ```

use sitian_model::Cause;
use sitian_profile::Decimal;

use crate::Field;
use crate::conversation::Turn;

const START: u8 = 0xFF;
const READ: u8 = 0x86;
const FRAME_BYTES: usize = 9;
/// More than this without a reply is not an MH-Z19.
const BUFFER_BYTES_MAX: usize = 256;

/// The names of the fields.
pub const FIELDS: [&str; 2] = ["co2", "temperature"];

/// What makes the bytes 1 to 7 of a frame sum up to zero.
pub fn checksum(body: &[u8]) -> u8 {
    0xFF_u8.wrapping_sub(crate::checksum::sum(body)).wrapping_add(1)
}

/// The request for one reading.
pub fn request() -> [u8; FRAME_BYTES] {
    let mut frame = [START, 0x01, READ, 0, 0, 0, 0, 0, 0];
    frame[8] = checksum(&frame[1..8]);
    frame
}

/// One reading of one sensor.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    bytes: Vec<u8>,
    timeout_ms: u32,
    done: bool,
    cause: Option<Cause>,
    fields: Vec<Field>,
}

impl Conversation {
    /// Asks for a reading; the reply may take `timeout_ms`.
    pub fn new(timeout_ms: u32) -> Self {
        Self { timeout_ms, ..Self::default() }
    }

    /// What to do next.
    pub fn turn(&self) -> Turn {
        if self.done {
            return Turn::Done;
        }
        Turn::Say { bytes: request().to_vec(), wait_ms: self.timeout_ms }
    }

    /// Takes what arrived; true if the turn has changed.
    pub fn hear(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(BUFFER_BYTES_MAX);
        self.bytes.drain(..excess);
        loop {
            let starts = |pair: &[u8]| pair == [START, READ];
            match self.bytes.windows(2).position(starts) {
                Some(at) => drop(self.bytes.drain(..at)),
                None => return false,
            }
            let Some(frame) = self.bytes.get(..FRAME_BYTES) else { return false };
            if frame[8] == checksum(&frame[1..8]) {
                self.fields = fields(frame);
                self.done = true;
                return true;
            }
            self.cause = Some(Cause::Checksum);
            self.bytes.remove(0);
        }
    }

    /// The reply did not come in time.
    pub fn silence(&mut self) {
        self.done = true;
    }

    /// What was said, and why anything else was not.
    pub fn outcome(self) -> (Vec<Field>, Cause) {
        (self.fields, self.cause.unwrap_or(Cause::Timeout))
    }
}

fn fields(frame: &[u8]) -> Vec<Field> {
    let co2 = i128::from(u16::from_be_bytes([frame[2], frame[3]]));
    let temperature = i128::from(frame[4]) - 40;
    vec![Field::good(FIELDS[0], Decimal::integer(co2)), Field::good(FIELDS[1], Decimal::integer(temperature))]
}
