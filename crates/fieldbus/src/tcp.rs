//! Modbus TCP: one connection per bus, kept as long as it is of use.
//!
//! A timeout does not end the connection: behind a gateway the next unit may well answer, and the filter discards late
//! replies. The connection ends on a transport error, on bytes that are no Modbus, and after [`SILENT_MAX`] timeouts
//! without a single byte received: it may be half-open.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sitian_poll::{Answer, Ask, Failure, Function, Request, Values, WriteRequest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::SlaveContext;
use tokio_modbus::{self as modbus, Slave};

use crate::mbap::{Filter, Seen};
use crate::tap::Tap;

/// Timeouts in a row, without a byte received, after which the connection is given up.
pub const SILENT_MAX: u32 = 3;
/// After a failed attempt to connect the next one waits this long, and requests fail at once meanwhile.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A Modbus TCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSettings {
    /// Host name or address.
    pub host: String,
    /// Port; 502 by custom.
    pub port: u16,
    /// How long connecting may take, name lookup included, in milliseconds.
    pub connect_timeout_ms: u32,
    /// Who is told every byte.
    pub tap: Option<Tap>,
}

impl TcpSettings {
    /// A server that is given 3 s to accept the connection.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, connect_timeout_ms: 3_000, tap: None }
    }
}

/// How a connection was lost.
enum Lost {
    /// Before a single byte of an answer.
    Unheard,
    /// With bytes received that are no answer.
    Midway(Failure),
}

/// A bus over a socket.
pub struct TcpBus {
    name: String,
    settings: TcpSettings,
    context: Option<Context>,
    seen: Arc<Seen>,
    silent: u32,
    refused: Option<(Instant, String)>,
}

impl TcpBus {
    pub(crate) fn new(name: &str, settings: TcpSettings) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            context: None,
            seen: Arc::default(),
            silent: 0,
            refused: None,
        }
    }

    pub(crate) fn take_foreign(&mut self) -> Vec<u8> {
        self.seen.take_foreign()
    }

    pub(crate) async fn execute(&mut self, ask: Ask) -> Result<Answer, Failure> {
        if self.context.is_some() {
            // Servers drop idle connections, which shows only when the next request is sent.
            match self.attempt(&ask).await {
                Err(Lost::Unheard) => {}
                Err(Lost::Midway(failure)) => return Err(failure),
                Ok(result) => return result,
            }
        }
        self.context = Some(self.connect().await?);
        self.attempt(&ask).await.unwrap_or_else(|lost| {
            Err(match lost {
                Lost::Unheard => Failure::Unreachable(self.describe("connection closed by the other side")),
                Lost::Midway(failure) => failure,
            })
        })
    }

    /// One attempt on the connection there is. `Err`: it is lost.
    async fn attempt(&mut self, ask: &Ask) -> Result<Result<Answer, Failure>, Lost> {
        let Some(context) = &mut self.context else {
            return Err(Lost::Unheard);
        };
        let heard_before = self.seen.bytes.load(Ordering::Relaxed);
        context.set_slave(Slave(ask.unit()));
        let call = context.call(library_request(ask));
        let result = timeout(Duration::from_millis(ask.timeout_ms().into()), call).await;
        let silent = self.seen.bytes.load(Ordering::Relaxed) == heard_before;
        let Ok(result) = result else {
            self.silent = if silent { self.silent + 1 } else { 0 };
            if self.silent >= SILENT_MAX {
                self.disconnect(&format!("nothing received for {SILENT_MAX} requests"));
            }
            return Ok(Err(Failure::Timeout));
        };
        self.silent = 0;
        match result {
            Ok(Ok(response)) => Ok(answer(ask, response).ok_or(Failure::Malformed)),
            Ok(Err(exception)) => Ok(Err(Failure::Exception(exception.into()))),
            // Right transaction, wrong unit or function: the stream is in order, the device is not.
            Err(modbus::Error::Protocol(_)) => Ok(Err(Failure::Malformed)),
            Err(modbus::Error::Transport(fault)) => {
                self.disconnect(&fault.to_string());
                Err(match fault.kind() {
                    // The filter passes whole frames only: one that ends too early says more than it holds.
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                        Lost::Midway(Failure::Malformed)
                    }
                    _ if silent => Lost::Unheard,
                    _ => Lost::Midway(Failure::Unreachable(self.describe("connection lost"))),
                })
            }
        }
    }

    async fn connect(&mut self) -> Result<Context, Failure> {
        if let Some((until, reason)) = &self.refused
            && Instant::now() < *until
        {
            return Err(Failure::Unreachable(reason.clone()));
        }
        let limit = Duration::from_millis(self.settings.connect_timeout_ms.into());
        let connecting = TcpStream::connect((self.settings.host.as_str(), self.settings.port));
        let fault = match timeout(limit, connecting).await {
            Ok(Ok(stream)) => {
                // Requests are a dozen bytes; without this they would wait for company.
                let _ = stream.set_nodelay(true);
                tracing::info!(bus = %self.name, server = %self.describe("up"), "connected");
                self.refused = None;
                self.silent = 0;
                self.seen = Arc::default();
                return Ok(tcp::attach(Filter::new(stream, self.seen.clone(), self.settings.tap.clone())));
            }
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => format!("no connection within {} ms", limit.as_millis()),
        };
        let reason = self.describe(&fault);
        if self.refused.as_ref().is_none_or(|(_, before)| *before != reason) {
            tracing::warn!(bus = %self.name, %reason, "the bus is unreachable");
        }
        self.refused = Some((Instant::now() + RECONNECT_PAUSE, reason.clone()));
        Err(Failure::Unreachable(reason))
    }

    fn disconnect(&mut self, reason: &str) {
        tracing::info!(bus = %self.name, %reason, "connection given up");
        self.context = None;
        self.silent = 0;
    }

    fn describe(&self, what: &str) -> String {
        format!("{}:{}: {what}", self.settings.host, self.settings.port)
    }
}

impl fmt::Debug for TcpBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = self.context.is_some();
        f.debug_struct("TcpBus").field("settings", &self.settings).field("connected", &connected).finish()
    }
}

fn library_request(ask: &Ask) -> modbus::Request<'static> {
    match ask {
        Ask::Read(Request { function, address, count, .. }) => match function {
            Function::Coils => modbus::Request::ReadCoils(*address, *count),
            Function::Discrete => modbus::Request::ReadDiscreteInputs(*address, *count),
            Function::Holding => modbus::Request::ReadHoldingRegisters(*address, *count),
            Function::Input => modbus::Request::ReadInputRegisters(*address, *count),
        },
        Ask::Write(WriteRequest { address, values, .. }) => match values.clone() {
            Values::Coil(on) => modbus::Request::WriteSingleCoil(*address, on),
            Values::Register(word) => modbus::Request::WriteSingleRegister(*address, word),
            Values::Coils(bits) => modbus::Request::WriteMultipleCoils(*address, bits.into()),
            Values::Registers(words) => modbus::Request::WriteMultipleRegisters(*address, words.into()),
        },
    }
}

/// The answer, if it is what this ask is answered with.
fn answer(ask: &Ask, response: modbus::Response) -> Option<Answer> {
    match ask {
        Ask::Read(request) => content(request, response),
        Ask::Write(request) => confirms(request, &response).then_some(Answer::Written),
    }
}

/// The device repeats address and value, or address and count.
fn confirms(request: &WriteRequest, response: &modbus::Response) -> bool {
    let address = request.address;
    *response
        == match &request.values {
            Values::Coil(on) => modbus::Response::WriteSingleCoil(address, *on),
            Values::Register(word) => modbus::Response::WriteSingleRegister(address, *word),
            Values::Coils(bits) => modbus::Response::WriteMultipleCoils(address, bits.len() as u16),
            Values::Registers(words) => modbus::Response::WriteMultipleRegisters(address, words.len() as u16),
        }
}

/// The content, if it is of the function and length that were asked for: the library checks the length in debug builds
/// only, and with a panic.
fn content(request: &Request, response: modbus::Response) -> Option<Answer> {
    let count = usize::from(request.count);
    match (request.function, response) {
        (Function::Holding, modbus::Response::ReadHoldingRegisters(words))
        | (Function::Input, modbus::Response::ReadInputRegisters(words)) => {
            (words.len() == count).then_some(Answer::Registers(words))
        }
        (Function::Coils, modbus::Response::ReadCoils(mut bits))
        | (Function::Discrete, modbus::Response::ReadDiscreteInputs(mut bits)) => {
            let fits = bits.len() == count.next_multiple_of(8);
            bits.truncate(count);
            fits.then_some(Answer::Bits(bits))
        }
        _ => None,
    }
}
