//! Carries requests to devices and answers back: Modbus TCP over a socket; Modbus RTU over a serial port, over a socket
//! that ends in one, or over the connection of a DTU that dialled in.
//!
//! ```text
//!                         ┌─ Tcp ─► tokio-modbus ─► Filter (whole frames of this transaction only) ─► socket
//!  poll::Request ─► Bus ──┤                                                                          ┌─ serial
//!                         └─ Rtu ─► channel ─► thread "bus-…" ─► silence, flush, write, read ─► Port ┼─ socket
//!                                                                                                    └─ seat ◄─ DTU
//! ```
//!
//! What holds:
//! - One request is under way per bus; a bus decides nothing about when. It sends a request a second time only if a
//!   kept connection turns out to have been closed by the other side meanwhile.
//! - An answer is given only if unit id, function and byte count are those of the request, and on a serial line the
//!   checksum too. Late and foreign frames are discarded while the timer runs.
//! - A lost socket or port is opened anew for the next request. Until then the failure says why.
//! - Blocking calls sit on the bus's own thread, never on the runtime.
//! - The room knows no profiles, points or readings.
//!
//! Reading order: [`Bus`], [`tcp`] and `mbap` (the filter), [`rtu`] and `line` (one attempt on a serial line), [`port`]
//! (bytes to devices, whatever they speak), [`stream`] (the same without requests, for what is no Modbus), [`dial`] (DTUs
//! that connect to us), [`tap`] (who records).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod dial;
mod line;
mod mbap;
pub mod port;
pub mod rtu;
pub mod stream;
pub mod tap;
pub mod tcp;

use std::io;

use sitian_poll::{Answer, Ask, Failure};

pub use dial::DialSettings;
pub use port::{PortSettings, SerialSettings};
pub use rtu::RtuSettings;
pub use stream::{Stream, StreamEvent, StreamSettings};
pub use tap::{Tap, Way};
pub use tcp::TcpSettings;

/// How to reach the devices of a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusSettings {
    /// A Modbus TCP server, or a gateway in front of a serial line.
    Tcp(TcpSettings),
    /// A serial line, wherever it ends.
    Rtu(RtuSettings),
}

impl BusSettings {
    /// The same bus, every byte of which the tap is told.
    pub fn tapped(self, tap: Tap) -> Self {
        match self {
            Self::Tcp(settings) => Self::Tcp(TcpSettings { tap: Some(tap), ..settings }),
            Self::Rtu(settings) => Self::Rtu(RtuSettings {
                port: PortSettings::Tapped(Box::new(settings.port), tap),
                ..settings
            }),
        }
    }
}

/// One bus: executes one request at a time.
#[derive(Debug)]
pub enum Bus {
    /// Over a socket.
    Tcp(tcp::TcpBus),
    /// Over a serial line.
    Rtu(rtu::RtuBus),
}

impl Bus {
    /// Prepares a bus. Socket or port are opened by the first request, so that a bus that is not there yet is no
    /// error. Fails only if the operating system gives no thread. `name` is for logs and the thread.
    pub fn open(name: &str, settings: BusSettings) -> io::Result<Self> {
        Ok(match settings {
            BusSettings::Tcp(settings) => Self::Tcp(tcp::TcpBus::new(name, settings)),
            BusSettings::Rtu(settings) => Self::Rtu(rtu::RtuBus::start(name, settings)?),
        })
    }

    /// Sends the request or write and waits for its answer, at most the request's timeout after it was sent, plus what opening
    /// takes if the bus was closed ([`TcpSettings::connect_timeout_ms`]), plus on a serial line the time that request
    /// and answer themselves take. May be dropped half-way: a late answer is discarded then.
    pub async fn execute(&mut self, ask: impl Into<Ask>) -> Result<Answer, Failure> {
        match self {
            Self::Tcp(bus) => bus.execute(ask.into()).await,
            Self::Rtu(bus) => bus.execute(ask.into()).await,
        }
    }

    /// Unit ids of the whole frames that were discarded since the last call (late replies, other units), for the
    /// poller. At most 16.
    pub fn take_foreign(&mut self) -> Vec<u8> {
        match self {
            Self::Tcp(bus) => bus.take_foreign(),
            Self::Rtu(bus) => bus.take_foreign(),
        }
    }
}

/// Frames are counted out to the poller; a babbling line must not fill the memory meanwhile.
const FOREIGN_MAX: usize = 16;

fn remember_foreign(kept: &mut Vec<u8>, new: &[u8]) {
    let room = FOREIGN_MAX.saturating_sub(kept.len());
    kept.extend(new.iter().take(room));
}
