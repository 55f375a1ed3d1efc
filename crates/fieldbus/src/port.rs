//! A stream of bytes to devices: a serial port, a socket, or a device that dialled in. Everything here blocks and belongs
//! on a thread of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use serialport::{DataBits, FlowControl, SerialPort, StopBits};
use sitian_profile::{Parity, Serial};

use crate::TcpSettings;
use crate::dial::{self, DialSettings, Seat};
use crate::tap::{Tap, Tapped};

/// Longest time for the operating system to take what is written.
const WRITE_MAX: Duration = Duration::from_secs(2);
/// A silent socket is asked for a sign of life after this long, and given up after three that do not come.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Bytes to and from devices. An error means that the port is gone and has to be opened anew.
pub trait Port: Send {
    /// Reads what comes within `limit`; 0: nothing came. That the other side closed is an error.
    fn read(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize>;
    /// Writes everything, and returns once it is on its way.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialSettings {
    /// Path of the port, such as `/dev/serial/by-id/…`. It is locked, and looked up anew whenever the port is reopened.
    pub path: String,
    /// Speed and character format.
    pub serial: Serial,
}

/// Where the bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortSettings {
    /// A serial port of this machine.
    Serial(SerialSettings),
    /// A serial line behind a converter that listens on a socket.
    Tcp(TcpSettings),
    /// A serial line behind a DTU that connects to us.
    DialIn(DialSettings),
    /// Any of the others, every byte of which somebody records.
    Tapped(Box<PortSettings>, Tap),
}

impl PortSettings {
    /// What to call it in a message: path, address or identity.
    pub fn describe(&self) -> String {
        match self {
            Self::Serial(serial) => serial.path.clone(),
            Self::Tcp(server) => format!("{}:{}", server.host, server.port),
            Self::Tapped(port, _) => port.describe(),
            Self::DialIn(dial) => format!("{} at {}", dial.registration.escape_ascii(), dial.listen),
        }
    }

    /// Packets that are no part of the conversation with devices and may stand in front of any frame.
    pub fn strays(&self) -> Vec<Vec<u8>> {
        match self {
            Self::DialIn(dial) => vec![dial.heartbeat.clone(), dial.registration.clone()],
            Self::Tapped(port, _) => port.strays(),
            _ => Vec::new(),
        }
    }
}

/// Opens a port as often as it is needed.
#[derive(Debug)]
pub struct Opener {
    settings: PortSettings,
    seat: Option<Arc<Seat>>,
}

impl Opener {
    /// Opens nothing yet.
    pub fn new(settings: PortSettings) -> Self {
        Self { settings, seat: None }
    }

    /// What is opened.
    pub fn settings(&self) -> &PortSettings {
        &self.settings
    }

    /// Opens the port now, or says why that is not possible. A DTU that has not dialled in yet is an error too.
    pub fn open(&mut self) -> io::Result<Box<dyn Port>> {
        let (settings, tap) = match &self.settings {
            PortSettings::Tapped(settings, tap) => (settings.as_ref(), Some(tap.clone())),
            settings => (settings, None),
        };
        let port: Box<dyn Port> = match settings {
            PortSettings::Tapped(..) => return Err(io::Error::new(ErrorKind::InvalidInput, "tapped twice")),
            PortSettings::Serial(settings) => Box::new(open_serial(settings)?),
            PortSettings::Tcp(settings) => Box::new(Socket::new(connect(settings)?)?),
            PortSettings::DialIn(settings) => {
                let seat = match &self.seat {
                    Some(seat) => seat,
                    None => self.seat.insert(dial::seat(settings)?),
                };
                Box::new(Socket::new(seat.take()?)?)
            }
        };
        Ok(match tap {
            Some(tap) => Box::new(Tapped { port, tap }),
            None => port,
        })
    }
}

struct SerialLine(Box<dyn SerialPort>);

fn open_serial(settings: &SerialSettings) -> io::Result<SerialLine> {
    let serial = &settings.serial;
    let parity = match serial.parity {
        Parity::None => serialport::Parity::None,
        Parity::Even => serialport::Parity::Even,
        Parity::Odd => serialport::Parity::Odd,
    };
    let port = serialport::new(&settings.path, serial.baud)
        .data_bits(if serial.data_bits == 7 { DataBits::Seven } else { DataBits::Eight })
        .parity(parity)
        .stop_bits(if serial.stop_bits == 2 { StopBits::Two } else { StopBits::One })
        .flow_control(FlowControl::None)
        .exclusive(true)
        .open()?;
    Ok(SerialLine(port))
}

impl Port for SerialLine {
    fn read(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
        self.0.set_timeout(limit)?;
        arrived(self.0.read(buffer))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.set_timeout(WRITE_MAX)?;
        self.0.write_all(bytes)?;
        self.0.flush()
    }
}

struct Socket(TcpStream);

fn connect(settings: &TcpSettings) -> io::Result<TcpStream> {
    let limit = Duration::from_millis(settings.connect_timeout_ms.into());
    let mut fault = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (settings.host.as_str(), settings.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(other) => fault = other,
        }
    }
    Err(fault)
}

impl Socket {
    fn new(stream: TcpStream) -> io::Result<Self> {
        // Requests are a dozen bytes; without this they would wait for company.
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_MAX))?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEP_ALIVE / 4)?;
        sockopt::set_tcp_keepcnt(&stream, 3)?;
        Ok(Self(stream))
    }
}

impl Port for Socket {
    fn read(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let ready = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit));
        match ready {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(0),
            Ok(_) => arrived(self.0.read(buffer)),
            Err(fault) => Err(fault.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

fn arrived(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Ok(0) => {
            Err(io::Error::new(ErrorKind::UnexpectedEof, "the port has been closed from the other side"))
        }
        Err(fault) if matches!(fault.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => Ok(0),
        other => other,
    }
}
