//! One attempt on a serial line: silence, request, answer. Everything here blocks.

use std::io;
use std::time::{Duration, Instant};

use sitian_poll::rtu::{FRAME_BYTES_MAX, Receiver, answer_bytes, encode, silence_us};
use sitian_poll::{Answer, Ask, Failure};

use crate::port::{Opener, Port};
use crate::rtu::{Outcome, RtuSettings};

/// Bits of one character at most: start, eight data, parity, stop.
const CHARACTER_BITS: u64 = 11;
/// A line that is never silent is given up after this time; the attempt is made nevertheless.
const UNREST_MAX: Duration = Duration::from_millis(200);

/// The serial line as the thread sees it.
pub(crate) struct Line {
    name: String,
    baud: u32,
    opener: Opener,
    /// What may stand in front of a frame and means nothing.
    strays: Vec<Vec<u8>>,
    /// The line gives back what is sent, as the latest answered read showed.
    echoes: bool,
    port: Option<Box<dyn Port>>,
    /// When the last byte went over the line, as far as we know.
    last_byte: Instant,
    last_complaint: String,
}

impl Line {
    pub(crate) fn new(name: &str, settings: RtuSettings) -> Self {
        let strays = settings.port.strays();
        Self {
            name: name.to_owned(),
            baud: settings.baud,
            opener: Opener::new(settings.port),
            strays,
            echoes: false,
            port: None,
            last_byte: Instant::now(),
            last_complaint: String::new(),
        }
    }

    /// Makes one attempt. A port that fails is closed, and opened anew for the next one.
    pub(crate) fn execute(&mut self, ask: &Ask) -> Outcome {
        let mut foreign = Vec::new();
        let result = self.attempt(ask, &mut foreign);
        let result = result.unwrap_or_else(|fault| {
            self.port = None;
            let reason = format!("{}: {fault}", self.opener.settings().describe());
            if reason != self.last_complaint {
                tracing::warn!(bus = %self.name, %reason, "the bus is unreachable");
                self.last_complaint.clone_from(&reason);
            }
            Err(Failure::Unreachable(reason))
        });
        Outcome { result, foreign }
    }

    fn attempt(&mut self, ask: &Ask, foreign: &mut Vec<u8>) -> io::Result<Result<Answer, Failure>> {
        let mut port = match self.port.take() {
            Some(port) => port,
            None => self.open()?,
        };
        let stale = self.wait_for_silence(port.as_mut())?;
        foreign.extend(foreign_in(ask, &stale));
        port.write(&encode(ask))?;
        self.last_byte = Instant::now();
        let mut receiver =
            Receiver::new(ask.clone()).skipping(self.strays.clone()).on_echoing_line(self.echoes);
        let result = self.receive(port.as_mut(), ask, &mut receiver)?;
        foreign.extend_from_slice(receiver.foreign());
        if let (Ask::Read(_), Ok(_)) = (ask, &result) {
            self.echoes = receiver.echoed();
        }
        self.port = Some(port);
        Ok(result)
    }

    fn open(&mut self) -> io::Result<Box<dyn Port>> {
        let port = self.opener.open()?;
        tracing::info!(bus = %self.name, port = %self.opener.settings().describe(), baud = self.baud, "port opened");
        self.last_complaint.clear();
        self.last_byte = Instant::now();
        Ok(port)
    }

    /// Reads away what nobody waits for, until the line has been silent for 3.5 characters. Returns what was read.
    fn wait_for_silence(&mut self, port: &mut dyn Port) -> io::Result<Vec<u8>> {
        let silence = Duration::from_micros(silence_us(self.baud).into());
        let began = Instant::now();
        let mut stale = Vec::new();
        loop {
            let missing = silence.saturating_sub(self.last_byte.elapsed());
            if !self.read(port, missing, &mut stale)? || began.elapsed() > UNREST_MAX {
                return Ok(stale);
            }
            stale.truncate(FRAME_BYTES_MAX);
        }
    }

    /// Reads until there is an answer, a reason to give up, or no time left. The time runs until the answer begins to
    /// be late: what the answer itself takes on the line comes on top.
    fn receive(
        &mut self,
        port: &mut dyn Port,
        ask: &Ask,
        receiver: &mut Receiver,
    ) -> io::Result<Result<Answer, Failure>> {
        let airtime_us = answer_bytes(ask) as u64 * CHARACTER_BITS * 1_000_000 / u64::from(self.baud.max(1));
        let deadline = Instant::now()
            + Duration::from_millis(ask.timeout_ms().into())
            + Duration::from_micros(airtime_us);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut bytes = Vec::new();
            self.read(port, left, &mut bytes)?;
            if let Some(result) = receiver.push(&bytes) {
                return Ok(result);
            }
            if Instant::now() >= deadline {
                return Ok(Err(receiver.expire()));
            }
        }
    }

    /// Appends what comes within `limit`. False if nothing came. Errors mean that the port is gone.
    fn read(&mut self, port: &mut dyn Port, limit: Duration, into: &mut Vec<u8>) -> io::Result<bool> {
        let mut bytes = [0; FRAME_BYTES_MAX];
        let count = port.read(&mut bytes, limit)?;
        if count > 0 {
            self.last_byte = Instant::now();
            into.extend_from_slice(&bytes[..count]);
        }
        Ok(count > 0)
    }
}

/// Unit ids of the whole frames in what was read away before the request; they are late, whatever they answer.
fn foreign_in(ask: &Ask, stale: &[u8]) -> Vec<u8> {
    let mut receiver = Receiver::new(ask.clone());
    let whole = matches!(receiver.push(stale), Some(Ok(_) | Err(Failure::Exception(_))));
    receiver.foreign().iter().copied().chain(whole.then_some(ask.unit())).collect()
}
