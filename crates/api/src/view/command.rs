//! Commands to the outputs of gateways.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// The gateway has not answered yet.
    Pending,
    /// The gateway did not answer before it expired; it will not be executed later.
    Expired,
    /// Written, and read back as wanted.
    Done,
    /// Nothing was written.
    Refused,
    /// Written or perhaps written, and not confirmed.
    Failed,
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCommand {
    /// Unique, 1 to 64 characters from a-z 0-9 - _; sent again with the same one, it is the same command.
    #[schema(example = "open-2026-05-04-1")]
    pub id: String,
    /// Which gateway.
    #[schema(example = "dangzhai-01")]
    pub gateway: String,
    /// Which of its devices.
    #[schema(example = "relay-1")]
    pub device: String,
    /// Which point of it.
    #[schema(example = "relay_1")]
    pub point: String,
    /// In the point's unit; 1 and 0 switch on and off.
    pub value: f64,
    /// Who wants it; 1 to 64 characters.
    pub by: String,
    /// It must be executed within so many seconds or not at all; 1 to 3,600, 60 if absent.
    pub within_s: Option<u32>,
}

/// A command with what came of it, the gateway's own and local ones too.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Command {
    /// Unique.
    pub id: String,
    /// Which gateway.
    pub gateway: String,
    /// Which of its devices.
    pub device: String,
    /// Which point of it.
    pub point: String,
    /// In the point's unit.
    pub value: f64,
    /// Who wanted it.
    pub by: String,
    /// Where it stands.
    pub state: CommandState,
    /// Why, in the gateway's words; empty while it is pending.
    pub detail: String,
    /// What was read back.
    pub read_back: Option<f64>,
    /// When the centre took it, or heard of it.
    pub at: Time,
    /// When it ended, by the gateway's clock.
    pub ended: Option<Time>,
}
