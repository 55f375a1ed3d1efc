//! How far a reading may be trusted, and why not further.

/// Why a reading is not plainly good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cause {
    /// The value lies outside the device profile's plausible range.
    Implausible = 1,
    /// The device's own status says that it warms up, is in maintenance or has an error.
    DeviceStatus = 2,
    /// The gateway's clock was not trusted when the reading was taken.
    ClockUnknown = 3,
    /// No answer came before the deadline.
    Timeout = 4,
    /// An answer came, but its checksum was wrong.
    Checksum = 5,
    /// The device answered with a Modbus exception.
    Exception = 6,
    /// The serial port or the socket to the device is down.
    Unreachable = 7,
    /// The bus had no airtime left for this poll.
    BusOverrun = 8,
    /// The raw registers hold no number (NaN, infinite or a "not fitted" marker).
    NotANumber = 9,
    /// A write or pre-read command that the value depends on failed, or the sensor still starts up after it.
    Preparation = 10,
    /// An answer came, but it was not of the form that was asked for: not this protocol, or not this register map.
    Malformed = 11,
}

impl Cause {
    /// Every cause, in code order.
    pub const ALL: [Self; 11] = [
        Self::Implausible,
        Self::DeviceStatus,
        Self::ClockUnknown,
        Self::Timeout,
        Self::Checksum,
        Self::Exception,
        Self::Unreachable,
        Self::BusOverrun,
        Self::NotANumber,
        Self::Preparation,
        Self::Malformed,
    ];

    /// A stable snake_case word, used in JSON and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Implausible => "implausible",
            Self::DeviceStatus => "device_status",
            Self::ClockUnknown => "clock_unknown",
            Self::Timeout => "timeout",
            Self::Checksum => "checksum",
            Self::Exception => "exception",
            Self::Unreachable => "unreachable",
            Self::BusOverrun => "bus_overrun",
            Self::NotANumber => "not_a_number",
            Self::Preparation => "preparation",
            Self::Malformed => "malformed",
        }
    }
}

/// Quality of a reading. `Good` and `Uncertain` readings carry a value; `Bad` ones say why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quality {
    /// Nothing speaks against the value.
    Good,
    /// There is a value; the cause says what speaks against it.
    Uncertain(Cause),
    /// There is no value; the cause says why.
    Bad(Cause),
}

impl Quality {
    /// One byte: 0 good, 64 + cause uncertain, 128 + cause bad. Stable: it is stored and sent.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Uncertain(cause) => 64 + cause as u8,
            Self::Bad(cause) => 128 + cause as u8,
        }
    }

    /// The quality with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        let cause = |n: u8| Cause::ALL.into_iter().find(|c| *c as u8 == n);
        match code {
            0 => Some(Self::Good),
            65..=127 => cause(code - 64).map(Self::Uncertain),
            129..=191 => cause(code - 128).map(Self::Bad),
            _ => None,
        }
    }

    /// `good`, `uncertain` or `bad`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain(_) => "uncertain",
            Self::Bad(_) => "bad",
        }
    }

    /// Why the reading is not good, if it is not.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Good => None,
            Self::Uncertain(cause) | Self::Bad(cause) => Some(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quality_reads_back_from_its_code_and_no_other_code_means_anything() {
        let mut known = vec![Quality::Good];
        known.extend(Cause::ALL.map(Quality::Uncertain));
        known.extend(Cause::ALL.map(Quality::Bad));
        for code in 0..=255 {
            let expected = known.iter().copied().find(|q| q.code() == code);
            assert_eq!(Quality::from_code(code), expected, "{code}");
        }
    }
}
