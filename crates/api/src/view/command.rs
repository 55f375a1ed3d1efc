//! Outputs of gateways, commands to them, and what came of those.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Name, Time};

/// Whether a condition of an output is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// It is.
    Yes,
    /// There is no value that is young enough: the gateway counts that as not met.
    Unknown,
    /// The value is below `min`.
    Below,
    /// The value is above `max`.
    Above,
}

/// A point that has to be within bounds while an output is away from its safe value.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Condition {
    /// `gateway/device/key`.
    pub point: String,
    /// What people call its device.
    pub device_name: String,
    /// Name of its measurement.
    pub name: Name,
    /// Unit symbol.
    pub unit: String,
    /// Lower bound.
    pub min: Option<f64>,
    /// Upper bound.
    pub max: Option<f64>,
    /// The newest value that the centre has.
    pub value: Option<f64>,
    /// Whether it is met, as the gateway says, which decides.
    pub holds: Holds,
}

/// Something that a gateway can switch or set, as its configuration says.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Output {
    /// Which gateway.
    #[schema(example = "dangzhai-01")]
    pub gateway: String,
    /// Which of its devices.
    #[schema(example = "relay-1")]
    pub device: String,
    /// Which point of it is written.
    #[schema(example = "relay_1")]
    pub point: String,
    /// What people call the device.
    pub device_name: String,
    /// Where the device stands; may be empty.
    pub place: String,
    /// What people call the output: as the gateway's configuration says, otherwise the name of its measurement.
    pub name: Name,
    /// Unit symbol; none for what is switched.
    pub unit: String,
    /// The least value that may be written; 0 together with a `max` of 1 is a switch.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The value that does no harm; it may be written at any time.
    pub safe: f64,
    /// Longest time away from the safe value, in seconds; null: no limit.
    pub on_max_s: Option<u32>,
    /// The gateway takes commands for it from the centre.
    pub from_centre: bool,
    /// It goes back to the safe value when the link has been down for so many seconds; null: it stays.
    pub safe_without_link_s: Option<u32>,
    /// The newest value read from it; null if none is polled.
    pub value: Option<f64>,
    /// When that was read.
    pub value_at: Option<Time>,
    /// It may differ from its safe value.
    pub away: bool,
    /// When its time is over and it goes back by itself.
    pub until: Option<Time>,
    /// What has to hold while it is away from its safe value.
    pub conditions: Vec<Condition>,
    /// When the gateway said so, by its clock; it tells changes at once.
    pub told_at: Time,
    /// The newest command for it.
    pub last: Option<Command>,
}

/// `event: outputs` of the live stream: what has changed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OutputsEvent {
    /// The outputs that are new or stand otherwise than before.
    pub items: Vec<Output>,
}

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
    /// Who wants it; 1 to 64 characters. Nobody checks it until there is access control.
    pub by: String,
    /// Why; at most 200 characters.
    pub reason: Option<String>,
    /// Back to the safe value after so many seconds, or sooner if the output's own limit is shorter; 1 to 86,400; that
    /// limit if absent.
    pub for_s: Option<u32>,
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
    /// Who wanted it, as they said themselves: nobody checks it until there is access control.
    pub by: String,
    /// Why, in their words; empty if they did not say.
    pub reason: String,
    /// The gateway's own move to safety, and why; null for a person's command.
    pub own: Option<Name>,
    /// Back to the safe value after so many seconds; null: after the output's own limit.
    pub for_s: Option<u32>,
    /// Where it stands.
    pub state: CommandState,
    /// Why, in the gateway's words; empty while it is pending.
    pub detail: String,
    /// The same in both languages, as far as it is known; empty while it is pending.
    pub sentence: Name,
    /// What was read back.
    pub read_back: Option<f64>,
    /// When the centre took it, or heard of it.
    pub at: Time,
    /// Without an answer until then it is not executed any more; null for local ones and the gateway's own.
    pub expires: Option<Time>,
    /// When it ended, by the gateway's clock.
    pub ended: Option<Time>,
}
