//! Collects the bytes of one attempt, and throws away what is not the answer.

use super::{FRAME_BYTES_MAX, RtuFault, parse_confirmation, parse_response};
use crate::{Answer, Ask, Failure};

/// More bytes than this without an answer are babble: the attempt is over.
const BABBLE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// Collects the bytes of one attempt until there is an answer or a reason to give up.
#[derive(Debug, Clone)]
pub struct Receiver {
    ask: Ask,
    bytes: Vec<u8>,
    /// Bytes received in this attempt, discarded ones included.
    received: usize,
    foreign: Vec<u8>,
    noise: bool,
    strays: Vec<Vec<u8>>,
    /// The line gives back what is sent, and has not done so yet in this attempt.
    echo_due: bool,
    echoed: bool,
}

impl Receiver {
    /// A receiver for the answer to this; the line was flushed before it was sent.
    pub fn new(ask: impl Into<Ask>) -> Self {
        Self {
            ask: ask.into(),
            bytes: Vec::new(),
            received: 0,
            foreign: Vec::new(),
            noise: false,
            strays: Vec::new(),
            echo_due: false,
            echoed: false,
        }
    }

    /// The same, where these packets may stand in front of a frame and mean nothing: the heartbeats and repeated
    /// registrations of a DTU. They are never sought within a frame, whose bytes may look the same by chance.
    pub fn skipping(mut self, strays: Vec<Vec<u8>>) -> Self {
        self.strays = strays.into_iter().filter(|packet| !packet.is_empty()).collect();
        self
    }

    /// The same, on a line that is known to give back what is sent, or not to. It matters for writes, whose confirmation
    /// may look exactly like their echo; see [`Receiver::echoed`].
    pub fn on_echoing_line(mut self, echo: bool) -> Self {
        self.echo_due = echo;
        self
    }

    /// Takes what arrived. `None`: keep waiting until the deadline of the request, then call [`Receiver::expire`].
    pub fn push(&mut self, bytes: &[u8]) -> Option<Result<Answer, Failure>> {
        self.received += bytes.len();
        if self.received > BABBLE_BYTES_MAX {
            return Some(Err(Failure::Malformed));
        }
        self.bytes.extend_from_slice(bytes);
        while !self.bytes.is_empty() {
            match self.skip_stray() {
                Some(true) => continue,
                Some(false) => return None,
                None => {}
            }
            match self.parse(&self.bytes) {
                Ok(answer) => return Some(Ok(answer)),
                Err(RtuFault::Incomplete) => return self.behind_noise(),
                Err(RtuFault::Foreign { unit, bytes, reply }) => {
                    self.bytes.drain(..bytes);
                    self.foreign.extend(reply.then_some(unit));
                }
                Err(RtuFault::Echo { bytes }) => {
                    self.bytes.drain(..bytes);
                    self.echo_due = false;
                    self.echoed = true;
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
        None
    }

    fn parse(&self, bytes: &[u8]) -> Result<Answer, RtuFault> {
        match &self.ask {
            Ask::Read(request) => parse_response(request, bytes),
            Ask::Write(request) => parse_confirmation(request, bytes, self.echo_due),
        }
    }

    /// Idle lines and drivers that switch on make a byte or two that look like the beginning of somebody's frame. An answer
    /// that is whole behind them is the answer: unit, function, length and checksum say so.
    fn behind_noise(&self) -> Option<Result<Answer, Failure>> {
        let own = [self.ask.unit(), self.ask.function_code()];
        if self.bytes.starts_with(&own[..self.bytes.len().min(2)]) {
            return None;
        }
        (1..self.bytes.len())
            .filter(|at| self.bytes[*at..].starts_with(&own))
            .find_map(|at| self.parse(&self.bytes[at..]).ok().map(Ok))
    }

    /// Drops a stray packet that the bytes begin with: true. False: they may still become one.
    fn skip_stray(&mut self) -> Option<bool> {
        let own = [self.ask.unit(), self.ask.function_code()];
        if self.bytes.starts_with(&own) {
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

    /// Unit ids of the whole replies that were discarded, for [`crate::Poller::handle_foreign`]. Echoes and requests of
    /// another master are none: a hold-off must not end because of them.
    pub fn foreign(&self) -> &[u8] {
        &self.foreign
    }

    /// Whether the line gave back what was sent. A read tells for certain.
    pub fn echoed(&self) -> bool {
        self.echoed
    }
}
