//! What a gateway can switch, and how it stands.

use prost::Message;

use crate::body::WIRE_BYTES_MAX;
use crate::control::{NAME_BYTES_MAX, cut, name, text};
use crate::fault::{DecodeError, at_most, known_version, malformed, parse};
use crate::proto;

/// A gateway tells of at most this many outputs.
pub const OUTPUTS_MAX: usize = 256;
/// Of each with at most this many requirements.
pub const REQUIREMENTS_MAX: usize = 16;
const LABEL_BYTES_MAX: usize = 128;

/// The outputs of a gateway at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// Unix milliseconds by the gateway's clock.
    pub at_ms: i64,
    /// All of them, at most [`OUTPUTS_MAX`].
    pub outputs: Vec<Output>,
}

/// One output.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Id of its device, 1 to 64 bytes.
    pub device: String,
    /// Key of the point that is written, 1 to 64 bytes.
    pub point: String,
    /// Key of the device's point that tells its state, 1 to 64 bytes.
    pub read: String,
    /// What people call it, at most 128 bytes; may be empty.
    pub name: String,
    /// Name in the catalogue of measurements.
    pub measurement: String,
    /// Symbol.
    pub unit: String,
    /// The least value that may be written; finite.
    pub min: f64,
    /// The greatest; finite.
    pub max: f64,
    /// The value that does no harm; finite.
    pub safe: f64,
    /// Longest time away from it, in seconds; 0: no limit.
    pub on_max_s: u32,
    /// The centre may command it.
    pub from_centre: bool,
    /// Back to the safe value when the link has been down for so many seconds; 0: never.
    pub safe_without_link_s: u32,
    /// It may differ from its safe value.
    pub away: bool,
    /// When its time is over, Unix milliseconds by the gateway's clock.
    pub until_ms: Option<i64>,
    /// What has to hold while it is away, at most [`REQUIREMENTS_MAX`].
    pub requirements: Vec<Requirement>,
}

/// A point of the gateway that has to be within bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// Id of its device.
    pub device: String,
    /// Its key.
    pub point: String,
    /// Lower bound; finite.
    pub min: Option<f64>,
    /// Upper bound; finite.
    pub max: Option<f64>,
    /// Whether it is now.
    pub holds: Holds,
}

/// Whether a requirement is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It is.
    Yes,
    /// There is no value that is young enough.
    Unknown,
    /// The value is below the lower bound.
    Below,
    /// The value is above the upper bound.
    Above,
}

/// Encodes outputs; too long texts are cut, and what is beyond the limits is left out.
pub fn encode_outputs(outputs: &Outputs) -> Vec<u8> {
    let mut message = proto::Outputs {
        version: crate::VERSION,
        at_ms: outputs.at_ms,
        outputs: outputs.outputs.iter().take(OUTPUTS_MAX).map(encode_output).collect(),
    };
    while message.encoded_len() > WIRE_BYTES_MAX {
        message.outputs.pop();
    }
    message.encode_to_vec()
}

/// Decodes outputs.
///
/// # Errors
///
/// Any [`DecodeError`].
pub fn decode_outputs(bytes: &[u8]) -> Result<Outputs, DecodeError> {
    if bytes.len() > WIRE_BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: bytes.len(), max: WIRE_BYTES_MAX });
    }
    let proto::Outputs { version, at_ms, outputs } = parse("outputs", bytes)?;
    known_version(version)?;
    at_most("outputs", outputs.len(), OUTPUTS_MAX)?;
    Ok(Outputs { at_ms, outputs: outputs.into_iter().map(decode_output).collect::<Result<_, _>>()? })
}

fn encode_output(output: &Output) -> proto::Output {
    let requirement = |r: &Requirement| proto::Requirement {
        device: cut(&r.device, NAME_BYTES_MAX),
        point: cut(&r.point, NAME_BYTES_MAX),
        min: r.min.filter(|value| value.is_finite()),
        max: r.max.filter(|value| value.is_finite()),
        holds: match r.holds {
            Holds::Yes => proto::Holds::Yes,
            Holds::Unknown => proto::Holds::Unknown,
            Holds::Below => proto::Holds::Below,
            Holds::Above => proto::Holds::Above,
        }
        .into(),
    };
    proto::Output {
        device: cut(&output.device, NAME_BYTES_MAX),
        point: cut(&output.point, NAME_BYTES_MAX),
        read: cut(&output.read, NAME_BYTES_MAX),
        name: cut(&output.name, LABEL_BYTES_MAX),
        measurement: cut(&output.measurement, NAME_BYTES_MAX),
        unit: cut(&output.unit, NAME_BYTES_MAX),
        min: output.min,
        max: output.max,
        safe: output.safe,
        on_max_s: output.on_max_s,
        from_centre: output.from_centre,
        safe_without_link_s: output.safe_without_link_s,
        away: output.away,
        until_ms: output.until_ms,
        requirements: output.requirements.iter().take(REQUIREMENTS_MAX).map(requirement).collect(),
    }
}

fn decode_output(output: proto::Output) -> Result<Output, DecodeError> {
    at_most("requirements", output.requirements.len(), REQUIREMENTS_MAX)?;
    Ok(Output {
        device: name("device", output.device)?,
        point: name("point", output.point)?,
        read: name("read", output.read)?,
        name: text("name", output.name, LABEL_BYTES_MAX)?,
        measurement: text("measurement", output.measurement, NAME_BYTES_MAX)?,
        unit: text("unit", output.unit, NAME_BYTES_MAX)?,
        min: finite(output.min)?,
        max: finite(output.max)?,
        safe: finite(output.safe)?,
        on_max_s: output.on_max_s,
        from_centre: output.from_centre,
        safe_without_link_s: output.safe_without_link_s,
        away: output.away,
        until_ms: output.until_ms,
        requirements: output.requirements.into_iter().map(decode_requirement).collect::<Result<_, _>>()?,
    })
}

fn decode_requirement(requirement: proto::Requirement) -> Result<Requirement, DecodeError> {
    let holds = match proto::Holds::try_from(requirement.holds) {
        Ok(proto::Holds::Yes) => Holds::Yes,
        Ok(proto::Holds::Unknown) => Holds::Unknown,
        Ok(proto::Holds::Below) => Holds::Below,
        Ok(proto::Holds::Above) => Holds::Above,
        Ok(proto::Holds::Unspecified) | Err(_) => {
            return Err(malformed(format!("holds {} is unknown", requirement.holds)));
        }
    };
    Ok(Requirement {
        device: name("device", requirement.device)?,
        point: name("point", requirement.point)?,
        min: requirement.min.map(finite).transpose()?,
        max: requirement.max.map(finite).transpose()?,
        holds,
    })
}

fn finite(value: f64) -> Result<f64, DecodeError> {
    if value.is_finite() { Ok(value) } else { Err(malformed("a bound of an output is no number".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> Output {
        let requirement = |holds| Requirement {
            device: "tank".into(),
            point: "water_level".into(),
            min: Some(0.5),
            max: None,
            holds,
        };
        Output {
            device: "relay".into(),
            point: "relay_1".into(),
            read: "relay_1".into(),
            name: "灌溉阀".into(),
            measurement: "contact".into(),
            unit: String::new(),
            min: 0.0,
            max: 1.0,
            safe: 0.0,
            on_max_s: 600,
            from_centre: true,
            safe_without_link_s: 60,
            away: true,
            until_ms: Some(1_750_000_000_000),
            requirements: [Holds::Yes, Holds::Unknown, Holds::Below, Holds::Above].map(requirement).into(),
        }
    }

    #[test]
    fn outputs_read_back_what_they_encode() {
        for outputs in [vec![], vec![output(), Output { until_ms: None, ..output() }]] {
            let outputs = Outputs { at_ms: 1_750_000_000_000, outputs };
            assert_eq!(decode_outputs(&encode_outputs(&outputs)), Ok(outputs));
        }
    }

    #[test]
    fn outputs_of_many_words_are_fewer_but_readable() {
        let requirements = vec![output().requirements[0].clone(); REQUIREMENTS_MAX];
        let outputs = vec![Output { requirements, ..output() }; OUTPUTS_MAX];
        let found =
            decode_outputs(&encode_outputs(&Outputs { at_ms: 0, outputs })).expect("readable").outputs;
        assert!((50..OUTPUTS_MAX).contains(&found.len()), "{}", found.len());
    }

    #[test]
    fn what_would_mislead_is_refused() {
        let of = |output: Output| encode_outputs(&Outputs { at_ms: 0, outputs: vec![output] });
        for (bytes, words) in [
            (of(Output { max: f64::NAN, ..output() }), "no number"),
            (of(Output { read: String::new(), ..output() }), "read is empty"),
            (vec![0x08, 0x02], "version"),
            (vec![0x08, 0x01, 0x1A, 0x07, 0x7A, 0x05, 0x0A, 0x01, b'd', 0x12, 0x00], "is empty"),
            (vec![0; WIRE_BYTES_MAX + 1], "65537"),
        ] {
            let error = decode_outputs(&bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
