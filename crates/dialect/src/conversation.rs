//! One conversation with one device, whatever the dialect: say something, hear something, until all is said.

use sitian_model::Cause;

use crate::{Field, dlt645, line, mhz19, sdi12};

/// What a conversation wants to happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Send the bytes, and listen for at most this many milliseconds. Without bytes: only listen.
    Say {
        /// What to send.
        bytes: Vec<u8>,
        /// How long to listen.
        wait_ms: u32,
    },
    /// Nothing more.
    Done,
}

/// A conversation in one of the dialects where the gateway speaks first.
#[derive(Debug, Clone)]
pub enum Conversation {
    /// SDI-12.
    Sdi12(sdi12::Conversation),
    /// DL/T 645.
    Dlt645(dlt645::Conversation),
    /// MH-Z19.
    Mhz19(mhz19::Conversation),
    /// Lines on request.
    Line(line::Conversation),
}

impl Conversation {
    /// What to do next; the same until [`Self::hear`] returns true or [`Self::silence`] is called.
    pub fn turn(&self) -> Turn {
        match self {
            Self::Sdi12(inner) => inner.turn(),
            Self::Dlt645(inner) => inner.turn(),
            Self::Mhz19(inner) => inner.turn(),
            Self::Line(inner) => inner.turn(),
        }
    }

    /// Takes what arrived; true if the turn has changed.
    pub fn hear(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Sdi12(inner) => inner.hear(bytes),
            Self::Dlt645(inner) => inner.hear(bytes),
            Self::Mhz19(inner) => inner.hear(bytes),
            Self::Line(inner) => inner.hear(bytes),
        }
    }

    /// What was awaited did not come in time, however often it was asked for.
    pub fn silence(&mut self) {
        match self {
            Self::Sdi12(inner) => inner.silence(),
            Self::Dlt645(inner) => inner.silence(),
            Self::Mhz19(inner) => inner.silence(),
            Self::Line(inner) => inner.silence(),
        }
    }

    /// What was said, and why anything else was not.
    pub fn outcome(self) -> (Vec<Field>, Cause) {
        match self {
            Self::Sdi12(inner) => inner.outcome(),
            Self::Dlt645(inner) => inner.outcome(),
            Self::Mhz19(inner) => inner.outcome(),
            Self::Line(inner) => inner.outcome(),
        }
    }
}
