//! Whether a gateway is there: the retained state message and the Will of its connection.

use prost::Message;

use crate::fault::{DecodeError, at_most, known_version, parse};
use crate::proto;

const STATE_BYTES_MAX: usize = 1024;
pub(crate) const SOFTWARE_BYTES_MAX: usize = 64;

/// Online or offline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// True while connected; the Will says false.
    pub online: bool,
    /// When the connection was made, Unix milliseconds by the gateway's clock.
    pub since_ms: i64,
    /// Version of the gateway program, at most 64 bytes; longer ones are cut when encoded.
    pub software: String,
    /// Which run of the board.
    pub boot: u64,
}

/// Encodes a state.
pub fn encode_state(state: &State) -> Vec<u8> {
    let message = proto::State {
        version: crate::VERSION,
        online: state.online,
        since_ms: state.since_ms,
        software: cut(&state.software, SOFTWARE_BYTES_MAX).to_owned(),
        boot: state.boot,
    };
    message.encode_to_vec()
}

/// Decodes a state.
///
/// # Errors
///
/// Any [`DecodeError`].
pub fn decode_state(bytes: &[u8]) -> Result<State, DecodeError> {
    if bytes.len() > STATE_BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: bytes.len(), max: STATE_BYTES_MAX });
    }
    let proto::State { version, online, since_ms, software, boot } = parse("state", bytes)?;
    known_version(version)?;
    at_most("bytes of software", software.len(), SOFTWARE_BYTES_MAX)?;
    Ok(State { online, since_ms, software, boot })
}

/// The longest prefix of at most `max` bytes that ends between two characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
