//! The grammar of MQTT topics: `sitian/v1/<gateway>/<kind>` and `sitian/alert/v1/<base>`.
//!
//! A topic is built from validated ids only, so no wildcard and no extra level can enter one.

use std::fmt;

use sitian_model::{BaseId, GatewayId, IdError};

const ROOT: &str = "sitian/v1/";
const ALERT_ROOT: &str = "sitian/alert/v1/";

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Batches and probes, gateway to centre, QoS 1.
    Up(GatewayId),
    /// Acknowledgements, centre to gateway, QoS 0, not retained.
    Ack(GatewayId),
    /// Online or offline, retained; the Will.
    State(GatewayId),
    /// The points of the gateway's epochs, gateway to centre, QoS 1.
    Manifest(GatewayId),
    /// Commands, centre to gateway.
    Command(GatewayId),
    /// Results of commands, gateway to centre.
    Result(GatewayId),
    /// What a gateway can switch and how it stands, retained.
    Outputs(GatewayId),
    /// Alerts of one base, from the centre to whoever listens.
    Alert(BaseId),
}

/// The kinds of topic that exist once per gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// See [`Topic::Up`].
    Up,
    /// See [`Topic::Ack`].
    Ack,
    /// See [`Topic::State`].
    State,
    /// See [`Topic::Manifest`].
    Manifest,
    /// See [`Topic::Command`].
    Command,
    /// See [`Topic::Result`].
    Result,
    /// See [`Topic::Outputs`].
    Outputs,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Up, Self::Ack, Self::State, Self::Manifest, Self::Command, Self::Result, Self::Outputs];

    /// The last level of the topic.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ack => "ack",
            Self::State => "state",
            Self::Manifest => "manifest",
            Self::Command => "command",
            Self::Result => "result",
            Self::Outputs => "outputs",
        }
    }

    /// The topic of this kind of one gateway.
    pub fn of(self, gateway: GatewayId) -> Topic {
        match self {
            Self::Up => Topic::Up(gateway),
            Self::Ack => Topic::Ack(gateway),
            Self::State => Topic::State(gateway),
            Self::Manifest => Topic::Manifest(gateway),
            Self::Command => Topic::Command(gateway),
            Self::Result => Topic::Result(gateway),
            Self::Outputs => Topic::Outputs(gateway),
        }
    }
}

/// The subscription filter for one kind of topic of every gateway: `sitian/v1/+/<kind>`.
pub fn filter_all(kind: Kind) -> String {
    format!("{ROOT}+/{}", kind.word())
}

/// The same, shared: each message goes to one of all subscribers of this group. A broker keeps nothing for it.
pub fn filter_shared(group: &str, kind: Kind) -> String {
    format!("$share/{group}/{ROOT}+/{}", kind.word())
}

/// Why a text is no topic of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It does not have the levels `sitian/v1/<gateway>/<kind>` or `sitian/alert/v1/<base>`.
    #[error("topic is neither sitian/v1/<gateway>/<kind> nor sitian/alert/v1/<base>")]
    Shape,
    /// Its last level is no kind of topic.
    #[error("topic ends in an unknown kind")]
    Kind,
    /// The gateway or base in it is no id.
    #[error("topic names no valid id: {0}")]
    Id(#[from] IdError),
}

impl Topic {
    /// Reads a topic.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if let Some(base) = text.strip_prefix(ALERT_ROOT) {
            return Ok(Self::Alert(BaseId::new(base)?));
        }
        let (gateway, word) =
            text.strip_prefix(ROOT).and_then(|t| t.split_once('/')).ok_or(TopicError::Shape)?;
        let kind = Kind::ALL.into_iter().find(|k| k.word() == word).ok_or(TopicError::Kind)?;
        Ok(kind.of(GatewayId::new(gateway)?))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gateway, kind) = match self {
            Self::Up(gateway) => (gateway, Kind::Up),
            Self::Ack(gateway) => (gateway, Kind::Ack),
            Self::State(gateway) => (gateway, Kind::State),
            Self::Manifest(gateway) => (gateway, Kind::Manifest),
            Self::Command(gateway) => (gateway, Kind::Command),
            Self::Result(gateway) => (gateway, Kind::Result),
            Self::Outputs(gateway) => (gateway, Kind::Outputs),
            Self::Alert(base) => return write!(f, "{ALERT_ROOT}{base}"),
        };
        write!(f, "{ROOT}{gateway}/{}", kind.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back_what_they_display() {
        let gateway = GatewayId::new("gw-1").unwrap();
        for kind in Kind::ALL {
            let topic = kind.of(gateway.clone());
            assert_eq!(topic.to_string(), format!("sitian/v1/gw-1/{}", kind.word()));
            assert_eq!(Topic::parse(&topic.to_string()), Ok(topic));
        }
        let alert = Topic::Alert(BaseId::new("b-1").unwrap());
        assert_eq!(alert.to_string(), "sitian/alert/v1/b-1");
        assert_eq!(Topic::parse("sitian/alert/v1/b-1"), Ok(alert));
        assert_eq!(filter_all(Kind::Up), "sitian/v1/+/up");
        assert_eq!(filter_shared("centre", Kind::Up), "$share/centre/sitian/v1/+/up");
    }

    #[test]
    fn other_texts_are_refused_with_what_is_wrong() {
        for (text, expected) in [
            ("", "shape"),
            ("sitian", "shape"),
            ("sitian/v1/gw-1", "shape"),
            ("sitian/v2/gw-1/up", "shape"),
            ("$SYS/broker/uptime", "shape"),
            ("sitian/v1/gw-1/", "kind"),
            ("sitian/v1/gw-1/up/", "kind"),
            ("sitian/v1/gw-1/up/more", "kind"),
            ("sitian/v1/gw-1/UP", "kind"),
            ("sitian/v1//up", "id"),
            ("sitian/v1/+/up", "id"),
            ("sitian/v1/#/up", "id"),
            ("sitian/v1/GW/up", "id"),
            ("sitian/v1/gw 1/up", "id"),
            ("sitian/alert/v1/", "id"),
            ("sitian/alert/v1/a/b", "id"),
            ("sitian/alert/v1/+", "id"),
        ] {
            let found = match Topic::parse(text) {
                Ok(topic) => panic!("{text} became {topic}"),
                Err(TopicError::Shape) => "shape",
                Err(TopicError::Kind) => "kind",
                Err(TopicError::Id(_)) => "id",
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
