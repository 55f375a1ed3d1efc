//! The state machine of one bus, whoever speaks first on it.

use sitian_model::{PointIndex, Quality, Timestamp};

use crate::asker::Asker;
use crate::listener::Listener;
use crate::plan::BusPlan;

/// One value of one point, or the statement that there is none and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Which point.
    pub point: PointIndex,
    /// In the point's unit; `None` exactly if the quality is bad.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
}

/// Names a connection: a serial port and an outgoing socket are link 0, a listening port has one for each that dialled in.
pub type Link = u64;

/// What a device is told once its readings are durable: it forgets them then. Hand it to [`Talk::handle_kept`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub(crate) link: Link,
    pub(crate) bytes: Vec<u8>,
    /// Recognises the repetition of what is answered.
    pub(crate) known: Option<Known>,
}

/// Station, request number and packet: what the repetitions of a message have in common.
pub(crate) type Known = (String, String, Option<(usize, usize)>);

/// What the caller has to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Write these bytes to this link.
    Write(Link, Vec<u8>),
    /// Pass the samples on. If the device said when they were taken, `at` is that moment; otherwise they belong to the
    /// moment of the event that produced them.
    Samples {
        /// The samples; never empty.
        samples: Vec<Sample>,
        /// When they were taken, if the device said so.
        at: Option<Timestamp>,
        /// For [`Talk::handle_kept`], once the samples are durable.
        answer: Option<Answer>,
    },
    /// Tell people that a device speaks that is not in the plan; once each.
    Stranger(String),
}

/// One bus. After every `handle_…`, drain [`Talk::poll_command`] and wait for bytes or until [`Talk::poll_timeout`].
#[derive(Debug)]
pub enum Talk {
    /// The gateway asks.
    Ask(Asker),
    /// The devices speak by themselves.
    Listen(Listener),
}

impl Talk {
    /// The machine for a plan; its devices' profiles decide who speaks first. Times are monotonic milliseconds.
    pub fn new(plan: BusPlan, now_ms: u64) -> Self {
        let asks = plan.devices.first().is_some_and(|device| device.profile.dialect.asks());
        if asks { Self::Ask(Asker::new(plan, now_ms)) } else { Self::Listen(Listener::new(plan, now_ms)) }
    }

    /// A link is there.
    pub fn handle_up(&mut self, link: Link, now_ms: u64) {
        match self {
            Self::Ask(asker) => asker.handle_up(now_ms),
            Self::Listen(listener) => listener.handle_up(link, now_ms),
        }
    }

    /// A link is gone.
    pub fn handle_down(&mut self, link: Link, now_ms: u64) {
        match self {
            Self::Ask(asker) => asker.handle_down(now_ms),
            Self::Listen(listener) => listener.handle_down(link, now_ms),
        }
    }

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, link: Link, bytes: &[u8], now_ms: u64) {
        match self {
            Self::Ask(asker) => asker.handle_bytes(bytes, now_ms),
            Self::Listen(listener) => listener.handle_bytes(link, bytes, now_ms),
        }
    }

    /// The samples that came with this answer are durable.
    pub fn handle_kept(&mut self, answer: Answer, now_ms: u64) {
        if let Self::Listen(listener) = self {
            listener.handle_kept(answer, now_ms);
        }
    }

    /// The time that [`Talk::poll_timeout`] asked for has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        match self {
            Self::Ask(asker) => asker.handle_timeout(now_ms),
            Self::Listen(listener) => listener.handle_timeout(now_ms),
        }
    }

    /// What to do next; call until it is `None`.
    pub fn poll_command(&mut self) -> Option<Command> {
        match self {
            Self::Ask(asker) => asker.poll_command(),
            Self::Listen(listener) => listener.poll_command(),
        }
    }

    /// When to call [`Talk::handle_timeout`], in the caller's monotonic milliseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        match self {
            Self::Ask(asker) => asker.poll_timeout(),
            Self::Listen(listener) => listener.poll_timeout(),
        }
    }
}
