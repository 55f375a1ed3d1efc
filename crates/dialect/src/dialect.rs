//! The dialects, each with its own settings, and what may be named in them.

use sitian_profile::{Parity, Serial};

use crate::conversation::Conversation;
use crate::hj212::Crc;
use crate::line::Pattern;
use crate::{dlt645, line, mhz19, nmea, sdi12};

/// The dialects, by the word that profiles and buses use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// SDI-12 through an adapter.
    Sdi12,
    /// NMEA 0183.
    Nmea,
    /// Lines of text.
    Line,
    /// HJ 212 environment stations.
    Hj212,
    /// DL/T 645 electricity meters.
    Dlt645,
    /// MH-Z19-style nine-byte frames.
    Mhz19,
}

impl Word {
    /// Every dialect with its word.
    pub const ALL: [(&'static str, Self); 6] = [
        ("sdi12", Self::Sdi12),
        ("nmea", Self::Nmea),
        ("line", Self::Line),
        ("hj212", Self::Hj212),
        ("dlt645", Self::Dlt645),
        ("mhz19", Self::Mhz19),
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, word)| *word == self).map_or("", |(text, _)| text)
    }

    /// The serial settings that devices of this dialect are delivered with.
    pub(crate) fn serial(self) -> Serial {
        let (baud, parity) = match self {
            Self::Nmea => (4_800, Parity::None),
            Self::Dlt645 => (2_400, Parity::Even),
            _ => (9_600, Parity::None),
        };
        Serial { baud, data_bits: 8, parity, stop_bits: 1 }
    }
}

/// What a station of HJ 212 needs to be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Its checksum.
    pub crc: Crc,
    /// Refuses frames that are not as the standard says.
    pub strict: bool,
    /// The commands whose data become readings; all data are acknowledged.
    pub commands: Vec<u16>,
    /// Minutes that the station's clock is east of UTC.
    pub offset_min: i32,
}

/// A dialect with its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialect {
    /// SDI-12.
    Sdi12 {
        /// Asks for checksums.
        crc: bool,
    },
    /// NMEA 0183.
    Nmea {
        /// Refuses sentences without checksum.
        strict: bool,
    },
    /// Lines of text.
    Line {
        /// What makes the sensor print a line; empty if it does so by itself.
        request: String,
        /// What its lines look like.
        patterns: Vec<Pattern>,
    },
    /// HJ 212.
    Hj212(Station),
    /// DL/T 645.
    Dlt645 {
        /// Edition of the standard.
        edition: dlt645::Edition,
        /// Bytes FE in front of each request.
        wake_up: u8,
    },
    /// MH-Z19.
    Mhz19,
}

impl Dialect {
    /// Which dialect it is.
    pub fn word(&self) -> Word {
        match self {
            Self::Sdi12 { .. } => Word::Sdi12,
            Self::Nmea { .. } => Word::Nmea,
            Self::Line { .. } => Word::Line,
            Self::Hj212(_) => Word::Hj212,
            Self::Dlt645 { .. } => Word::Dlt645,
            Self::Mhz19 => Word::Mhz19,
        }
    }

    /// True if the gateway speaks first.
    pub fn asks(&self) -> bool {
        match self {
            Self::Sdi12 { .. } | Self::Dlt645 { .. } | Self::Mhz19 => true,
            Self::Line { request, .. } => !request.is_empty(),
            Self::Nmea { .. } | Self::Hj212(_) => false,
        }
    }

    /// Judges a device's address. The error says what would be one.
    pub fn check_address(&self, address: &str) -> Result<(), &'static str> {
        let good = match self {
            Self::Sdi12 { .. } => sdi12::is_address(address),
            Self::Dlt645 { .. } => dlt645::is_address(address),
            Self::Hj212(_) => {
                (1..=64).contains(&address.len()) && address.bytes().all(|b| b.is_ascii_graphic())
            }
            Self::Nmea { .. } => {
                address.is_empty() || (address.len() == 2 && address.bytes().all(|b| b.is_ascii_uppercase()))
            }
            Self::Line { .. } | Self::Mhz19 => address.is_empty(),
        };
        let wanted = match self {
            Self::Sdi12 { .. } => "the sensor's address: one digit or letter, such as address = \"0\"",
            Self::Dlt645 { .. } => {
                "the twelve digits on the meter, such as address = \"000010604867\", or \"AAAAAAAAAAAA\" for the only one"
            }
            Self::Hj212(_) => "the station's MN, such as address = \"620702107000000000000001\"",
            Self::Nmea { .. } => "nothing, or the two letters of the talker, such as address = \"WI\"",
            Self::Line { .. } | Self::Mhz19 => "nothing: only one such sensor can be on a line",
        };
        if good { Ok(()) } else { Err(wanted) }
    }

    /// Judges a field's name. The error says what would be one.
    pub(crate) fn check_field(&self, name: &str) -> Result<(), String> {
        let wrong = |help: &str| Err(help.to_owned());
        match self {
            Self::Sdi12 { .. } if sdi12::parse_field(name).is_none() => {
                wrong("a measurement and a place: \"M.1\", \"M2.3\", \"C.1\", \"R0.1\"")
            }
            Self::Nmea { .. } if !nmea::knows(name) => {
                Err(format!("one of {}, or xdr.<transducer>", nmea::FIELDS.join(", ")))
            }
            Self::Line { patterns, .. }
                if !patterns.iter().any(|pattern| pattern.names().any(|n| n == name)) =>
            {
                wrong("a name that stands in braces in one of the patterns")
            }
            Self::Hj212(_) if !name.contains('-') => {
                wrong("a factor and a quantity: \"a34004-Rtd\", \"w01010-Avg\"")
            }
            Self::Dlt645 { edition, .. } if !edition.knows(name) => {
                wrong("a data identifier: \"00010000\" (2007), \"9010\" (1997)")
            }
            Self::Mhz19 if !mhz19::FIELDS.contains(&name) => wrong("co2 or temperature"),
            _ => Ok(()),
        }
    }

    /// The conversation that asks a device for these fields; `None` if the gateway does not speak first.
    pub fn conversation<'f>(
        &self,
        address: &str,
        fields: impl Iterator<Item = &'f str>,
        timeout_ms: u32,
    ) -> Option<Conversation> {
        match self {
            Self::Sdi12 { crc } => {
                let mut measurements: Vec<_> =
                    fields.filter_map(sdi12::parse_field).map(|(measurement, _)| measurement).collect();
                measurements.sort_unstable();
                measurements.dedup();
                let address = address.chars().next()?;
                Some(Conversation::Sdi12(sdi12::Conversation::new(address, *crc, measurements, timeout_ms)))
            }
            Self::Dlt645 { edition, wake_up } => {
                let mut identifiers: Vec<String> = Vec::new();
                for name in fields {
                    if !identifiers.iter().any(|known| known == name) {
                        identifiers.push(name.to_owned());
                    }
                }
                let inner = dlt645::Conversation::new(address, *edition, *wake_up, &identifiers, timeout_ms);
                Some(Conversation::Dlt645(inner))
            }
            Self::Mhz19 => Some(Conversation::Mhz19(mhz19::Conversation::new(timeout_ms))),
            Self::Line { request, patterns } if !request.is_empty() => {
                Some(Conversation::Line(line::Conversation::new(request, patterns, timeout_ms)))
            }
            Self::Line { .. } | Self::Nmea { .. } | Self::Hj212(_) => None,
        }
    }
}

impl Station {
    /// A station as the standard wants it, on Beijing time, whose real-time data are read.
    pub fn standard() -> Self {
        Self { crc: Crc::Standard, strict: false, commands: vec![2011], offset_min: 480 }
    }
}
