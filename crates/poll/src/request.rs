//! One request to a device, and what may come of it.

use sitian_model::Cause;
use sitian_profile::Function;

/// A read of consecutive registers or bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Modbus unit id, 1 to 255.
    pub unit: u8,
    /// Which table.
    pub function: Function,
    /// Protocol address of the first register or bit, 0-based.
    pub address: u16,
    /// Registers or bits asked for; 0 is a command of some makers.
    pub count: u16,
    /// How long to wait for the answer, in milliseconds.
    pub timeout_ms: u32,
}

impl Request {
    /// True if both ask the same thing.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let key = |r: &Self| (r.unit, r.function, r.address, r.count);
        key(self) == key(other)
    }
}

/// A write to consecutive registers or coils.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WriteRequest {
    /// Modbus unit id, 1 to 255.
    pub unit: u8,
    /// Protocol address of the first register or coil, 0-based.
    pub address: u16,
    /// What to write, and with which function.
    pub values: Values,
    /// How long to wait for the confirmation, in milliseconds.
    pub timeout_ms: u32,
}

/// Values to write. Lists hold at most 1,968 coils or 123 registers; an empty one is a command of some makers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Values {
    /// Function 5.
    Coil(bool),
    /// Function 6.
    Register(u16),
    /// Function 15.
    Coils(Vec<bool>),
    /// Function 16.
    Registers(Vec<u16>),
}

impl WriteRequest {
    /// The Modbus function code.
    pub fn function_code(&self) -> u8 {
        match self.values {
            Values::Coil(_) => 5,
            Values::Register(_) => 6,
            Values::Coils(_) => 15,
            Values::Registers(_) => 16,
        }
    }
}

/// Anything that a device is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Say what the registers hold.
    Read(Request),
    /// Take new values.
    Write(WriteRequest),
}

impl Ask {
    /// Modbus unit id.
    pub fn unit(&self) -> u8 {
        match self {
            Self::Read(request) => request.unit,
            Self::Write(request) => request.unit,
        }
    }

    /// How long to wait for the answer, in milliseconds.
    pub fn timeout_ms(&self) -> u32 {
        match self {
            Self::Read(request) => request.timeout_ms,
            Self::Write(request) => request.timeout_ms,
        }
    }

    /// The Modbus function code.
    pub fn function_code(&self) -> u8 {
        match self {
            Self::Read(request) => request.function.code(),
            Self::Write(request) => request.function_code(),
        }
    }
}

impl From<Request> for Ask {
    fn from(request: Request) -> Self {
        Self::Read(request)
    }
}

impl From<WriteRequest> for Ask {
    fn from(request: WriteRequest) -> Self {
        Self::Write(request)
    }
}

/// What a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The device confirms that it took what was written.
    Written,
    /// Contents of holding or input registers.
    Registers(Vec<u16>),
    /// States of coils or discrete inputs; may be padded to whole bytes.
    Bits(Vec<bool>),
}

impl Answer {
    /// The answer as one word per address, if it is of the request's kind and length.
    pub fn words(self, request: &Request) -> Option<Vec<u16>> {
        let count = usize::from(request.count);
        match self {
            Self::Registers(words) if !request.function.is_bits() && words.len() == count => Some(words),
            Self::Bits(bits) if request.function.is_bits() => {
                let fits = bits.len() == count || bits.len() == count.next_multiple_of(8);
                fits.then(|| bits.into_iter().take(count).map(u16::from).collect())
            }
            _ => None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing of use came before the deadline.
    #[error("no answer before the deadline")]
    Timeout,
    /// An answer came with a wrong checksum.
    #[error("the checksum of the answer is wrong")]
    Checksum,
    /// An answer came that is not of the form that was asked for.
    #[error("the answer is malformed")]
    Malformed,
    /// The device answered with a Modbus exception code.
    #[error("the device answered with exception {0} ({name})", name = exception_name(*.0))]
    Exception(u8),
    /// The port or socket is down; the text says why.
    #[error("the bus is unreachable: {0}")]
    Unreachable(String),
}

impl Failure {
    /// What a reading says about it.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Timeout => Cause::Timeout,
            Self::Checksum => Cause::Checksum,
            Self::Malformed => Cause::Malformed,
            // A Modbus TCP server in front of a serial line says so when the device behind it is silent.
            Self::Exception(10 | 11) => Cause::Timeout,
            Self::Exception(_) => Cause::Exception,
            Self::Unreachable(_) => Cause::Unreachable,
        }
    }
}

fn exception_name(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal address",
        3 => "illegal value",
        4 => "device failure",
        5 => "acknowledged, still working",
        6 => "device busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "the device behind the server does not answer",
        _ => "unknown",
    }
}
