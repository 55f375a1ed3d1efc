//! Why bytes were not understood, and which labels they stood for all the same.

use sitian_model::{Epoch, Seq};

/// The labels that an undecodable batch stood for: the part of its envelope that is the same in every version, and that
/// carries its own checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Declared {
    /// Which epoch.
    pub epoch: Epoch,
    /// First sequence number.
    pub first: Seq,
    /// One past the last sequence number, at least `first`.
    pub end: Seq,
}

/// Why bytes were not understood. Each variant asks for something else from the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than anything this side would send: drop it, it does not come from a gateway of ours.
    #[error("message of {bytes} bytes is longer than {max}")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// Written by a newer program: keep the bytes, they can be read after an upgrade.
    #[error("message has version {version}, this program reads up to {}", crate::VERSION)]
    Newer {
        /// The version that it names.
        version: u32,
        /// The labels it stands for, if it is a batch and says so credibly.
        declared: Option<Declared>,
    },
    /// Damaged on the way, in what a batch says beside its labels and records: drop it, its gateway sends it again.
    #[error("{what}")]
    Damaged {
        /// What is wrong, naming the field.
        what: String,
    },
    /// Damaged on the way, in its body, for which its checksum does not vouch: its gateway may send it better.
    #[error("{what}")]
    DamagedBody {
        /// What is wrong, naming the field.
        what: String,
        /// The labels it stands for, if it says so credibly.
        declared: Option<Declared>,
    },
    /// Wrongly made: what its checksum vouches for makes no sense.
    #[error("{what}")]
    Malformed {
        /// What is wrong, naming the field.
        what: String,
        /// The labels it stands for, if it is a batch and says so credibly.
        declared: Option<Declared>,
    },
}

impl DecodeError {
    /// The labels that the undecodable bytes stood for, if they said so credibly.
    pub fn declared(&self) -> Option<Declared> {
        match self {
            Self::TooLong { .. } | Self::Damaged { .. } => None,
            Self::Newer { declared, .. }
            | Self::DamagedBody { declared, .. }
            | Self::Malformed { declared, .. } => *declared,
        }
    }

    pub(crate) fn with_declared(self, found: Option<Declared>) -> Self {
        match self {
            Self::TooLong { .. } | Self::Damaged { .. } => self,
            Self::Newer { version, .. } => Self::Newer { version, declared: found },
            Self::DamagedBody { what, .. } => Self::DamagedBody { what, declared: found },
            Self::Malformed { what, .. } => Self::Malformed { what, declared: found },
        }
    }

    /// Of bytes that no checksum vouches for.
    pub(crate) fn in_body(self) -> Self {
        Self::DamagedBody { what: self.to_string(), declared: None }
    }
}

pub(crate) fn malformed(what: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { what: what.into(), declared: None }
}

/// Decodes one protobuf message, naming it in the error.
pub(crate) fn parse<M: prost::Message + Default>(name: &str, bytes: &[u8]) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|e| malformed(format!("{name} is no protobuf of its kind: {e}")))
}

/// Accepts the version this room reads.
pub(crate) fn known_version(version: u32) -> Result<(), DecodeError> {
    match version {
        crate::VERSION => Ok(()),
        0 => Err(malformed("version is missing")),
        _ => Err(DecodeError::Newer { version, declared: None }),
    }
}

pub(crate) fn epoch(bytes: &[u8]) -> Result<Epoch, DecodeError> {
    bytes
        .try_into()
        .map(Epoch)
        .map_err(|_| malformed(format!("epoch has {} bytes instead of 16", bytes.len())))
}

pub(crate) fn seq(name: &str, value: u64) -> Result<Seq, DecodeError> {
    if value < crate::SEQ_MAX {
        Ok(value)
    } else {
        Err(malformed(format!("{name} {value} is not below 2^62")))
    }
}

pub(crate) fn at_most(name: &str, count: usize, max: usize) -> Result<(), DecodeError> {
    if count <= max { Ok(()) } else { Err(malformed(format!("{count} {name}, at most {max} are allowed"))) }
}
