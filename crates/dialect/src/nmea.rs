//! NMEA 0183 as weather stations speak it: `$TTSSS,field,…*HH`, once a second, asked by nobody.
//!
//! Every sentence becomes fields in SI units with names of the form `sentence.quantity`, so that a profile need not know
//! units and positions: wind in m/s and degrees, temperatures in °C, pressures in hPa, humidity in percent. Transducer
//! values (`XDR`) are named after the transducer: `xdr.temp`; those without a name after their type: `xdr.c`.

use sitian_model::Cause;
use sitian_profile::Decimal;

use crate::Field;
use crate::checksum;
use crate::field::number;

/// Fields that a sentence may have at most.
const PARTS_MAX: usize = 128;

/// Why a line is no sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NmeaFault {
    /// There is no `$` in front of five letters or digits.
    #[error("the line is no NMEA sentence")]
    NoSentence,
    /// There is no `*HH` at the end although it is required.
    #[error("the checksum is missing")]
    NoChecksum,
    /// The checksum is not that of the text.
    #[error("the checksum is wrong")]
    Checksum,
}

/// One sentence with a good checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Who speaks: two characters, such as `WI` for weather instruments.
    pub talker: String,
    /// What is said: three characters, such as `MWV`.
    pub kind: String,
    /// The fields; the first one after the sentence's name is number 0.
    pub parts: Vec<String>,
}

/// Reads one line. Junk in front of the `$` is skipped. `strict` refuses sentences without checksum.
pub fn parse_sentence(line: &str, strict: bool) -> Result<Sentence, NmeaFault> {
    let start = line.rfind('$').ok_or(NmeaFault::NoSentence)?;
    let text = &line[start + 1..];
    let body = match text.split_once('*') {
        Some((body, sum)) => {
            let sum = u8::from_str_radix(sum.trim(), 16).map_err(|_| NmeaFault::Checksum)?;
            if checksum::xor(body.as_bytes()) != sum {
                return Err(NmeaFault::Checksum);
            }
            body
        }
        None if strict => return Err(NmeaFault::NoChecksum),
        None => text.trim_end(),
    };
    let mut parts = body.split(',').take(PARTS_MAX).map(|part| part.trim().to_owned());
    let name = parts.next().unwrap_or_default();
    if name.len() != 5 || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(NmeaFault::NoSentence);
    }
    let (talker, kind) = name.split_at(2);
    Ok(Sentence { talker: talker.to_owned(), kind: kind.to_owned(), parts: parts.collect() })
}

/// What the sentence says, in SI units. Sentences that no weather station sends say nothing.
pub fn fields(sentence: &Sentence) -> Vec<Field> {
    let reader = Reader(&sentence.parts);
    match sentence.kind.as_str() {
        "MWV" => wind(&reader),
        "MWD" => [
            reader.take("mwd.direction_true", 0, ONE),
            reader.take("mwd.direction_magnetic", 2, ONE),
            reader.take("mwd.speed", 6, ONE).or_else(|| reader.take("mwd.speed", 4, KNOT)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        "MDA" => composite(&reader),
        "MTA" => reader.take("mta.air_temperature", 0, ONE).into_iter().collect(),
        "MTW" => reader.take("mtw.water_temperature", 0, ONE).into_iter().collect(),
        "MHU" => reader.take("mhu.humidity", 0, ONE).into_iter().collect(),
        "MMB" => reader.take("mmb.pressure", 2, BAR).into_iter().collect(),
        "XDR" => transducers(&sentence.parts),
        _ => Vec::new(),
    }
}

/// True for names that [`fields`] can give; of `XDR` any.
pub fn knows(name: &str) -> bool {
    name.strip_prefix("xdr.").is_some_and(|rest| !rest.is_empty()) || FIELDS.contains(&name)
}

/// The names of the fields, those of transducers apart.
pub const FIELDS: [&str; 20] = [
    "mwv.angle_relative",
    "mwv.speed_relative",
    "mwv.angle_true",
    "mwv.speed_true",
    "mwd.direction_true",
    "mwd.direction_magnetic",
    "mwd.speed",
    "mda.pressure",
    "mda.air_temperature",
    "mda.water_temperature",
    "mda.humidity",
    "mda.humidity_absolute",
    "mda.dew_point",
    "mda.wind_direction_true",
    "mda.wind_direction_magnetic",
    "mda.wind_speed",
    "mta.air_temperature",
    "mtw.water_temperature",
    "mhu.humidity",
    "mmb.pressure",
];

const ONE: Decimal = Decimal::ONE;
const BAR: Decimal = Decimal { digits: 1, exponent: 3 };
const PASCAL: Decimal = Decimal { digits: 1, exponent: -2 };
/// 1852 m in an hour.
const KNOT: Decimal = Decimal { digits: 514_444, exponent: -6 };
const KMH: Decimal = Decimal { digits: 2_777_778, exponent: -7 };
const MPH: Decimal = Decimal { digits: 44_704, exponent: -5 };

struct Reader<'a>(&'a [String]);

impl Reader<'_> {
    fn text(&self, at: usize) -> &str {
        self.0.get(at).map_or("", String::as_str)
    }

    /// The part as number, times a factor; nothing if the part is empty: that channel is not fitted.
    fn take(&self, name: &str, at: usize, factor: Decimal) -> Option<Field> {
        let text = self.text(at);
        if text.is_empty() {
            return None;
        }
        Some(match number(text).and_then(|value| value.times(factor)) {
            Some(value) => Field::good(name, value),
            None => Field::missing(name, Cause::NotANumber),
        })
    }
}

fn wind(reader: &Reader<'_>) -> Vec<Field> {
    let names = match reader.text(1) {
        "R" => ["mwv.angle_relative", "mwv.speed_relative"],
        "T" => ["mwv.angle_true", "mwv.speed_true"],
        _ => return Vec::new(),
    };
    if reader.text(4) == "V" {
        return names.map(|name| Field::missing(name, Cause::DeviceStatus)).into();
    }
    let factor = match reader.text(3) {
        "N" => Some(KNOT),
        "M" => Some(ONE),
        "K" => Some(KMH),
        "S" => Some(MPH),
        _ => None,
    };
    let speed = factor.and_then(|factor| reader.take(names[1], 2, factor));
    reader.take(names[0], 0, ONE).into_iter().chain(speed).collect()
}

fn composite(reader: &Reader<'_>) -> Vec<Field> {
    /// One inch of mercury in hPa.
    const INCH: Decimal = Decimal { digits: 338_639, exponent: -4 };
    let pressure = reader.take("mda.pressure", 2, BAR).or_else(|| reader.take("mda.pressure", 0, INCH));
    let speed = reader.take("mda.wind_speed", 18, ONE).or_else(|| reader.take("mda.wind_speed", 16, KNOT));
    [
        pressure,
        reader.take("mda.air_temperature", 4, ONE),
        reader.take("mda.water_temperature", 6, ONE),
        reader.take("mda.humidity", 8, ONE),
        reader.take("mda.humidity_absolute", 9, ONE),
        reader.take("mda.dew_point", 10, ONE),
        reader.take("mda.wind_direction_true", 12, ONE),
        reader.take("mda.wind_direction_magnetic", 14, ONE),
        speed,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Quadruples of type, value, unit and name.
fn transducers(parts: &[String]) -> Vec<Field> {
    let quadruple = |four: &[String]| {
        let text = |n: usize| four.get(n).map_or("", String::as_str);
        let (kind, unit, name) = (text(0), text(2), text(3));
        let factor = match (kind, unit) {
            ("P", "B") => BAR,
            ("P", "P") => PASCAL,
            ("S" | "W", "N") => KNOT,
            ("S" | "W", "K") => KMH,
            _ => ONE,
        };
        let name = if name.is_empty() { kind } else { name };
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        named.then(|| Reader(four).take(&format!("xdr.{}", name.to_ascii_lowercase()), 1, factor)).flatten()
    };
    parts.chunks(4).filter_map(quadruple).collect()
}
