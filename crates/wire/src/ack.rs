//! What the centre answers about one epoch.

use prost::Message;
use sitian_model::{Ack, Action};

use crate::fault::{DecodeError, epoch, known_version, malformed, parse, seq};
use crate::proto;

/// Far more than any acknowledgement takes, in bytes; a newer one may be longer than ours.
const ACK_BYTES_MAX: usize = 1024;

/// Encodes an acknowledgement.
pub fn encode_ack(ack: &Ack) -> Vec<u8> {
    let action = match ack.action {
        Action::Ok => proto::Action::Ok,
        Action::Rewind => proto::Action::Rewind,
        Action::Slow => proto::Action::Slow,
        Action::Quarantined => proto::Action::Quarantined,
        Action::Fork => proto::Action::Fork,
        Action::Manifest => proto::Action::Manifest,
    };
    let message = proto::Ack {
        version: crate::VERSION,
        epoch: ack.epoch.0.to_vec(),
        committed: ack.committed,
        action: action.into(),
        retry_after_ms: ack.retry_after_ms,
        window_bytes: ack.window_bytes,
        server_ms: ack.server_ms,
        chain: ack.chain,
    };
    message.encode_to_vec()
}

/// Decodes an acknowledgement.
///
/// # Errors
///
/// Any [`DecodeError`]; an acknowledgement that is not understood is as good as lost, and the next one repeats it.
pub fn decode_ack(bytes: &[u8]) -> Result<Ack, DecodeError> {
    if bytes.len() > ACK_BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: bytes.len(), max: ACK_BYTES_MAX });
    }
    let message: proto::Ack = parse("ack", bytes)?;
    known_version(message.version)?;
    let action = match proto::Action::try_from(message.action) {
        Ok(proto::Action::Ok) => Action::Ok,
        Ok(proto::Action::Rewind) => Action::Rewind,
        Ok(proto::Action::Slow) => Action::Slow,
        Ok(proto::Action::Quarantined) => Action::Quarantined,
        Ok(proto::Action::Fork) => Action::Fork,
        Ok(proto::Action::Manifest) => Action::Manifest,
        Ok(proto::Action::Unspecified) | Err(_) => {
            return Err(malformed(format!("action {} is unknown", message.action)));
        }
    };
    Ok(Ack {
        epoch: epoch(&message.epoch)?,
        committed: seq("committed", message.committed)?,
        action,
        retry_after_ms: message.retry_after_ms,
        window_bytes: message.window_bytes,
        server_ms: message.server_ms,
        chain: message.chain,
    })
}
