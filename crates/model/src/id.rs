//! Names of gateways, devices, points and bases. A value of these types is always well-formed.

use std::fmt;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} id {text:?} must be 1 to {max} characters from {alphabet}")]
pub struct IdError {
    kind: &'static str,
    text: String,
    max: usize,
    alphabet: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            #[doc = concat!("Accepts 1 to ", stringify!($max), " characters from `a-z 0-9 ", $extra, "`.")]
            pub fn new(text: &str) -> Result<Self, IdError> {
                let fits = (1..=$max).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || $extra.as_bytes().contains(&b));
                if fits {
                    Ok(Self(text.into()))
                } else {
                    let text = text.chars().take(64).collect();
                    Err(IdError { kind: $kind, text, max: $max, alphabet: concat!("a-z 0-9 ", $extra) })
                }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One gateway program on one board; the same text names it in MQTT topics, certificates and the registry.
    GatewayId, "gateway", 32, "-"
);
id!(
    /// One physical device on one gateway; unique under its gateway.
    DeviceId, "device", 32, "-"
);
id!(
    /// One measured quantity of a device, such as `soil_moisture`; unique under its device.
    PointKey, "point", 48, "_-"
);
id!(
    /// One base (a place: the fourth level of the territory).
    BaseId, "base", 48, "-"
);

/// A point, network-wide: `gateway/device/key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PointId {
    /// The gateway that reads it.
    pub gateway: GatewayId,
    /// The device on that gateway.
    pub device: DeviceId,
    /// The quantity on that device.
    pub key: PointKey,
}

impl PointId {
    /// Reads `gateway/device/key`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        let (gateway, device, key) = (next(), next(), next());
        Ok(Self {
            gateway: GatewayId::new(gateway)?,
            device: DeviceId::new(device)?,
            key: PointKey::new(key)?,
        })
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.gateway, self.device, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_accept_their_alphabet_and_refuse_topic_syntax() {
        for (text, ok) in [
            ("gw-620702107-01", true),
            ("a", true),
            (&"a".repeat(32), true),
            ("", false),
            (&"a".repeat(33), false),
            ("gw/1", false),
            ("gw+1", false),
            ("#", false),
            ("GW1", false),
            ("网关", false),
            ("gw_1", false),
        ] {
            assert_eq!(GatewayId::new(text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn point_ids_read_back_what_they_display() {
        let point = PointId::parse("gw-1/soil-1/soil_moisture").expect("well-formed");
        assert_eq!(PointId::parse(&point.to_string()), Ok(point));
        for bad in ["", "gw", "gw/dev", "gw/dev/", "gw//key", "gw/dev/key/more"] {
            assert!(PointId::parse(bad).is_err(), "{bad}");
        }
    }
}
