//! Commands to outputs, and what came of them.

use prost::Message;

use crate::fault::{DecodeError, known_version, malformed, parse};
use crate::proto;

const BYTES_MAX: usize = 4_096;
pub(crate) const NAME_BYTES_MAX: usize = 64;
const BY_BYTES_MAX: usize = 128;
const DETAIL_BYTES_MAX: usize = 512;

/// Give an output a value.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteCommand {
    /// Unique, 1 to 64 bytes: a gateway executes an id once.
    pub id: String,
    /// Id of the device, 1 to 64 bytes.
    pub device: String,
    /// Key of the point, 1 to 64 bytes.
    pub point: String,
    /// In the point's unit; finite.
    pub value: f64,
    /// Who wants it, at most 128 bytes.
    pub by: String,
    /// Unix milliseconds after which it must not be executed; 0: never.
    pub expires_ms: i64,
    /// Back to the safe value after so many seconds, or sooner; 0: as the gateway is configured.
    pub for_s: u32,
}

/// What the centre tells a gateway.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandMessage {
    /// Execute this.
    Write(WriteCommand),
    /// The result of the command with this id is stored.
    Confirm(String),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Written, and read back as wanted.
    Done,
    /// Nothing was written.
    Refused,
    /// Written or perhaps written, and not confirmed.
    Failed,
}

impl Outcome {
    /// `done`, `refused` or `failed`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What a gateway tells the centre.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandResult {
    /// What was wanted.
    pub command: WriteCommand,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, at most 512 bytes.
    pub detail: String,
    /// What was read back, in the unit of the point that was read.
    pub read_back: Option<f64>,
    /// Unix milliseconds of the end, by the gateway's clock.
    pub at_ms: i64,
}

/// Encodes a command; too long texts are cut.
pub fn encode_command(message: &CommandMessage) -> Vec<u8> {
    let kind = match message {
        CommandMessage::Write(write) => proto::command::Kind::Write(encode_write(write)),
        CommandMessage::Confirm(id) => proto::command::Kind::Confirm(cut(id, NAME_BYTES_MAX)),
    };
    proto::Command { version: crate::VERSION, kind: Some(kind) }.encode_to_vec()
}

/// Encodes a result; too long texts are cut.
pub fn encode_result(result: &CommandResult) -> Vec<u8> {
    let outcome = match result.outcome {
        Outcome::Done => proto::Outcome::Done,
        Outcome::Refused => proto::Outcome::Refused,
        Outcome::Failed => proto::Outcome::Failed,
    };
    let message = proto::CommandResult {
        version: crate::VERSION,
        write: Some(encode_write(&result.command)),
        outcome: outcome.into(),
        detail: cut(&result.detail, DETAIL_BYTES_MAX),
        read_back: result.read_back.filter(|value| value.is_finite()),
        at_ms: result.at_ms,
    };
    message.encode_to_vec()
}

/// Decodes a command.
///
/// # Errors
///
/// Any [`DecodeError`]; nothing is executed then.
pub fn decode_command(bytes: &[u8]) -> Result<CommandMessage, DecodeError> {
    let message: proto::Command = parse_short("command", bytes)?;
    known_version(message.version)?;
    match message.kind {
        Some(proto::command::Kind::Write(write)) => Ok(CommandMessage::Write(decode_write(write)?)),
        Some(proto::command::Kind::Confirm(id)) => Ok(CommandMessage::Confirm(name("id", id)?)),
        None => Err(malformed("the command says nothing".to_owned())),
    }
}

/// Decodes a result.
///
/// # Errors
///
/// Any [`DecodeError`].
pub fn decode_result(bytes: &[u8]) -> Result<CommandResult, DecodeError> {
    let message: proto::CommandResult = parse_short("result", bytes)?;
    known_version(message.version)?;
    let outcome = match proto::Outcome::try_from(message.outcome) {
        Ok(proto::Outcome::Done) => Outcome::Done,
        Ok(proto::Outcome::Refused) => Outcome::Refused,
        Ok(proto::Outcome::Failed) => Outcome::Failed,
        Ok(proto::Outcome::Unspecified) | Err(_) => {
            return Err(malformed(format!("outcome {} is unknown", message.outcome)));
        }
    };
    let write = message.write.ok_or_else(|| malformed("the result names no command".to_owned()))?;
    if message.read_back.is_some_and(|value| !value.is_finite()) {
        return Err(malformed("what was read back is no number".to_owned()));
    }
    Ok(CommandResult {
        command: decode_write(write)?,
        outcome,
        detail: text("detail", message.detail, DETAIL_BYTES_MAX)?,
        read_back: message.read_back,
        at_ms: message.at_ms,
    })
}

fn parse_short<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, DecodeError> {
    if bytes.len() > BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: bytes.len(), max: BYTES_MAX });
    }
    parse(what, bytes)
}

fn encode_write(write: &WriteCommand) -> proto::WriteCommand {
    proto::WriteCommand {
        id: cut(&write.id, NAME_BYTES_MAX),
        device: cut(&write.device, NAME_BYTES_MAX),
        point: cut(&write.point, NAME_BYTES_MAX),
        value: write.value,
        by: cut(&write.by, BY_BYTES_MAX),
        expires_ms: write.expires_ms,
        for_s: write.for_s,
    }
}

fn decode_write(write: proto::WriteCommand) -> Result<WriteCommand, DecodeError> {
    if !write.value.is_finite() {
        return Err(malformed("the value is no number".to_owned()));
    }
    Ok(WriteCommand {
        id: name("id", write.id)?,
        device: name("device", write.device)?,
        point: name("point", write.point)?,
        value: write.value,
        by: text("by", write.by, BY_BYTES_MAX)?,
        expires_ms: write.expires_ms,
        for_s: write.for_s,
    })
}

pub(crate) fn name(what: &str, value: String) -> Result<String, DecodeError> {
    if value.is_empty() {
        return Err(malformed(format!("{what} is empty")));
    }
    text(what, value, NAME_BYTES_MAX)
}

pub(crate) fn text(what: &str, value: String, bytes_max: usize) -> Result<String, DecodeError> {
    if value.len() > bytes_max {
        return Err(malformed(format!("{what} has {} bytes, at most {bytes_max} are allowed", value.len())));
    }
    Ok(value)
}

pub(crate) fn cut(value: &str, bytes_max: usize) -> String {
    value[..value.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write() -> WriteCommand {
        WriteCommand {
            id: "c-1".into(),
            device: "relay".into(),
            point: "relay_1".into(),
            value: 1.0,
            by: "王".into(),
            expires_ms: 5,
            for_s: 600,
        }
    }

    #[test]
    fn commands_and_results_read_back_what_they_encode() {
        for message in [CommandMessage::Write(write()), CommandMessage::Confirm("c-1".into())] {
            assert_eq!(decode_command(&encode_command(&message)), Ok(message));
        }
        for outcome in [Outcome::Done, Outcome::Refused, Outcome::Failed] {
            for read_back in [None, Some(-0.5)] {
                let detail = "why".to_owned();
                let result = CommandResult { command: write(), outcome, detail, read_back, at_ms: -3 };
                assert_eq!(decode_result(&encode_result(&result)), Ok(result));
            }
        }
    }

    #[test]
    fn what_no_gateway_should_execute_is_refused() {
        let encode = |write: WriteCommand| encode_command(&CommandMessage::Write(write));
        for (bytes, words) in [
            (encode(WriteCommand { value: f64::NAN, ..write() }), "no number"),
            (encode(WriteCommand { id: String::new(), ..write() }), "id is empty"),
            (encode(WriteCommand { point: String::new(), ..write() }), "point is empty"),
            (vec![0x08, 0x01], "says nothing"),
            (vec![0xFF; 5_000], "5000"),
        ] {
            let error = decode_command(&bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let long = CommandResult {
            command: write(),
            outcome: Outcome::Done,
            detail: "长".repeat(300),
            read_back: Some(f64::INFINITY),
            at_ms: 0,
        };
        let cut = decode_result(&encode_result(&long)).unwrap();
        assert_eq!((cut.detail.len(), cut.read_back), (510, None));
    }
}
