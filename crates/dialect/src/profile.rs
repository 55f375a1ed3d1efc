//! What the profile of a sensor without Modbus says, and how it is read from its text.

use sitian_model::{Cause, ConfigFault, PointKey, Quality};
use sitian_profile::section::Section;
use sitian_profile::{Catalogue, Decimal, Measurement, Parity, Serial, Verified};

use crate::dialect::{Dialect, Station, Word};
use crate::hj212::Crc;
use crate::line::Pattern;
use crate::{Field, dlt645};

const PARITIES: [(&str, Parity); 3] = [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
const MARKS: [(&str, Verified); 3] =
    [("F", Verified::Frame), ("V", Verified::Source), ("U", Verified::Unverified)];
const POINTS_MAX: usize = 500;

/// One kind of sensor that does not speak Modbus.
#[derive(Debug, Clone, PartialEq)]
pub struct DialectProfile {
    /// Name of the profile: 1 to 48 characters from `a-z 0-9 -`; the built-in ones are named like their file.
    pub id: String,
    /// Who makes it.
    pub vendor: String,
    /// The maker's model name.
    pub model: String,
    /// What it is, in Chinese.
    pub name_zh: String,
    /// What it is, in English.
    pub name_en: String,
    /// Where its sayings were seen.
    pub source: String,
    /// How far that has been verified.
    pub verified: Verified,
    /// Serial settings as delivered.
    pub serial: Serial,
    /// What it speaks.
    pub dialect: Dialect,
    /// The points, in the order of the text; keys are unique.
    pub points: Vec<DialectPoint>,
}

/// One quantity of a sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct DialectPoint {
    /// Unique in the profile.
    pub key: PointKey,
    /// Name of the measurement in the catalogue.
    pub measurement: String,
    /// Unit symbol; always the catalogue's.
    pub unit: String,
    /// Name of the field in the dialect.
    pub field: String,
    /// The field's number times this, plus `offset`, is the value.
    pub scale: Decimal,
    /// Added after scaling, in the point's unit.
    pub offset: Decimal,
    /// Digits after the decimal point worth showing.
    pub decimals: u8,
    /// Lowest plausible value.
    pub min: f64,
    /// Highest plausible value.
    pub max: f64,
    /// The channel is not fitted on every device: it is read only where the device's configuration lists it.
    pub optional: bool,
}

impl DialectPoint {
    /// The value of a field in the point's unit, with its quality. A value is `None` exactly if the quality is bad.
    pub fn value(&self, field: &Field) -> (Option<f64>, Quality) {
        let Some(raw) = field.value else {
            return (None, Quality::Bad(field.cause.unwrap_or(Cause::NotANumber)));
        };
        let exact = raw.times(self.scale).and_then(|scaled| scaled.plus(self.offset));
        let value = exact.map(Decimal::to_f64).filter(|value| value.is_finite());
        match (value, field.cause) {
            (None, _) => (None, Quality::Bad(Cause::NotANumber)),
            (Some(value), Some(cause)) => (Some(value), Quality::Uncertain(cause)),
            (Some(value), None) if value < self.min || value > self.max => {
                (Some(value), Quality::Uncertain(Cause::Implausible))
            }
            (Some(value), None) => (Some(value), Quality::Good),
        }
    }
}

impl DialectProfile {
    /// True for texts that are meant as profile of a dialect: they have a key `dialect` at the top.
    pub fn is_meant(text: &str) -> bool {
        let top = text.lines().map(str::trim_start).take_while(|line| !line.starts_with('['));
        top.into_iter()
            .any(|line| line.strip_prefix("dialect").is_some_and(|rest| rest.trim_start().starts_with('=')))
    }

    /// Reads a profile text; `file` is how faults name it. Returns every fault found.
    pub fn parse(file: &str, text: &str, catalogue: &Catalogue) -> Result<Self, Vec<ConfigFault>> {
        let mut profile = None;
        let faults = Section::read(file, text, |root| profile = read_profile(root, catalogue));
        match profile {
            Some(profile) if faults.is_empty() => Ok(profile),
            _ => Err(faults),
        }
    }

    /// The point with this key and its position.
    pub fn point(&self, key: &str) -> Option<(usize, &DialectPoint)> {
        self.points.iter().enumerate().find(|(_, point)| point.key.as_str() == key)
    }
}

fn read_profile(root: &mut Section<'_, '_>, catalogue: &Catalogue) -> Option<DialectProfile> {
    let id = root.text("id");
    let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if let Some(id) = id.as_ref().filter(|id| id.len() > 48 || !id.bytes().all(slug)) {
        root.fault_at(root.offset("id"), format!("id {id:?} is not well-formed"), "use 1 to 48 of a-z 0-9 -");
    }
    let (vendor, model) = (root.text("vendor"), root.text("model"));
    let (name_zh, name_en) = (root.text("name_zh"), root.text("name_en"));
    let (source, verified) = (root.text("source"), root.word("verified", &MARKS));
    let word = root.word("dialect", &Word::ALL);
    let serial = match root.optional_section("serial") {
        Some(mut section) => {
            let serial = word.and_then(|word| read_serial(&mut section, word.serial()));
            section.finish();
            serial
        }
        None => word.map(Word::serial),
    };
    let dialect = word.and_then(|word| {
        let mut section = root.optional_section(word.word());
        let dialect = read_dialect(word, section.as_mut());
        if dialect.is_none() && section.is_none() {
            root.fault("[line] is missing", "add [line] with patterns = [\"T={t},RH={h}\"]");
        }
        if let Some(section) = section {
            section.finish();
        }
        dialect
    });
    let points = match &dialect {
        Some(dialect) => read_points(root, catalogue, dialect),
        None => {
            // Without a dialect nobody can say what a field is; one fault is enough.
            root.list("points").clear();
            Vec::new()
        }
    };
    Some(DialectProfile {
        id: id?,
        vendor: vendor?,
        model: model?,
        name_zh: name_zh?,
        name_en: name_en?,
        source: source?,
        verified: verified?,
        serial: serial?,
        dialect: dialect?,
        points,
    })
}

fn read_serial(section: &mut Section<'_, '_>, usual: Serial) -> Option<Serial> {
    let baud = section.integer_or("baud", 300, 921_600, usual.baud.into());
    let data_bits = section.integer_or("data_bits", 7, 8, usual.data_bits.into());
    let parity = section.optional_word("parity", &PARITIES).unwrap_or(usual.parity);
    let stop_bits = section.integer_or("stop_bits", 1, 2, usual.stop_bits.into());
    Some(Serial { baud: baud? as u32, data_bits: data_bits? as u8, parity, stop_bits: stop_bits? as u8 })
}

/// Reads the dialect's own table; only lines cannot do without.
fn read_dialect(word: Word, section: Option<&mut Section<'_, '_>>) -> Option<Dialect> {
    let Some(section) = section else {
        return match word {
            Word::Sdi12 => Some(Dialect::Sdi12 { crc: true }),
            Word::Nmea => Some(Dialect::Nmea { strict: true }),
            Word::Line => None,
            Word::Hj212 => Some(Dialect::Hj212(Station::standard())),
            Word::Dlt645 => Some(Dialect::Dlt645 { edition: dlt645::Edition::Of2007, wake_up: 4 }),
            Word::Mhz19 => Some(Dialect::Mhz19),
        };
    };
    match word {
        Word::Sdi12 => Some(Dialect::Sdi12 { crc: section.flag_or("crc", true)? }),
        Word::Nmea => Some(Dialect::Nmea { strict: section.flag_or("strict", true)? }),
        Word::Line => read_lines(section),
        Word::Hj212 => read_station(section).map(Dialect::Hj212),
        Word::Dlt645 => {
            let editions = [("1997", dlt645::Edition::Of1997), ("2007", dlt645::Edition::Of2007)];
            let edition = section.optional_word("edition", &editions).unwrap_or(dlt645::Edition::Of2007);
            let wake_up = section.integer_or("wake_up", 0, 16, 4)? as u8;
            Some(Dialect::Dlt645 { edition, wake_up })
        }
        Word::Mhz19 => Some(Dialect::Mhz19),
    }
}

fn read_station(section: &mut Section<'_, '_>) -> Option<Station> {
    let usual = Station::standard();
    let crcs = [("standard", Crc::Standard), ("modbus", Crc::Modbus)];
    let crc = section.optional_word("crc", &crcs).unwrap_or(usual.crc);
    let strict = section.flag_or("strict", usual.strict);
    let offset_min = section.integer_or("utc_offset_min", -720, 840, usual.offset_min.into());
    let mut commands = Vec::new();
    for (number, at) in section.integers("commands") {
        match u16::try_from(number).ok().filter(|number| (2_000..4_000).contains(number)) {
            Some(number) => commands.push(number),
            None => section.fault_at(
                at,
                format!("{number} is no command that carries data"),
                "2011 real time, 2051 minutes, 2061 hours, 2031 days",
            ),
        }
    }
    let commands = if commands.is_empty() { usual.commands } else { commands };
    Some(Station { crc, strict: strict?, commands, offset_min: offset_min? as i32 })
}

fn read_lines(section: &mut Section<'_, '_>) -> Option<Dialect> {
    let request = section.optional_text("request").unwrap_or_default();
    let mut patterns = Vec::new();
    for (text, at) in section.texts("patterns") {
        match Pattern::parse(&text) {
            Ok(pattern) => patterns.push(pattern),
            Err(fault) => section.fault_at(
                at,
                format!("the pattern {text:?} is no pattern: {fault}"),
                "write the line as it looks, with {name} for each number and {} for what does not matter",
            ),
        }
    }
    if patterns.is_empty() && !section.has("patterns") {
        section.fault("patterns is missing", "add patterns = [\"T={t},RH={h}\"]");
    }
    Some(Dialect::Line { request, patterns })
}

fn read_points(root: &mut Section<'_, '_>, catalogue: &Catalogue, dialect: &Dialect) -> Vec<DialectPoint> {
    let sections = root.list("points");
    if sections.is_empty() {
        root.fault("the profile has no [[points]]", "add at least one [[points]] table");
    }
    if sections.len() > POINTS_MAX {
        root.fault(format!("{} points are too many", sections.len()), format!("use at most {POINTS_MAX}"));
        return Vec::new();
    }
    let mut points: Vec<DialectPoint> = Vec::new();
    for mut section in sections {
        if let Some(point) = read_point(&mut section, catalogue, dialect) {
            if points.iter().any(|other| other.key == point.key) {
                let what = format!("the key {} is used twice", point.key);
                section.fault_at(section.offset("key"), what, "give every point of the profile its own key");
            }
            points.push(point);
        }
        section.finish();
    }
    points
}

fn read_point(
    section: &mut Section<'_, '_>,
    catalogue: &Catalogue,
    dialect: &Dialect,
) -> Option<DialectPoint> {
    let key = section.text("key").and_then(|text| match PointKey::new(&text) {
        Ok(key) => Some(key),
        Err(error) => {
            section.fault_at(section.offset("key"), error.to_string(), "for example soil_moisture");
            None
        }
    });
    let (at, id) = match section.optional_text("measurement") {
        Some(text) => ("measurement", Some(text)),
        None => ("key", key.as_ref().map(ToString::to_string)),
    };
    let measurement = id.and_then(|id| {
        let found = catalogue.get(&id);
        if found.is_none() {
            let help =
                "name a measurement of config/measurements.toml with measurement = \"…\", or add it there";
            section.fault_at(section.offset(at), format!("the measurement {id:?} is not known"), help);
        }
        found
    });
    let field = section.text("field");
    if let Some((name, Err(help))) = field.as_ref().map(|name| (name, dialect.check_field(name))) {
        let what = format!("field {name:?} is no field of {}", dialect.word().word());
        section.fault_at(section.offset("field"), what, format!("use {help}"));
    }
    let unit = read_unit(section, measurement);
    let scale = match section.optional_decimal("scale") {
        Some((scale, at)) if scale.digits == 0 => {
            section.fault_at(
                at,
                "scale 0 would make every value 0",
                "write what one unit of the field is worth",
            );
            None
        }
        Some((scale, _)) => Some(scale),
        None => Some(Decimal::ONE),
    };
    let offset = section.optional_decimal("offset").map_or(Decimal::ZERO, |(offset, _)| offset);
    let usual = measurement.map_or(0, |measurement| measurement.decimals.into());
    let decimals = section.integer_or("decimals", 0, 9, usual);
    let range = read_range(section, measurement);
    let optional = section.flag_or("optional", false);
    Some(DialectPoint {
        key: key?,
        measurement: measurement?.id.clone(),
        unit: unit?,
        field: field?,
        scale: scale?,
        offset,
        decimals: decimals? as u8,
        min: range?.0,
        max: range?.1,
        optional: optional?,
    })
}

fn read_unit(section: &mut Section<'_, '_>, measurement: Option<&Measurement>) -> Option<String> {
    let unit = section.text_maybe_empty("unit")?;
    let measurement = measurement?;
    if unit != measurement.unit {
        let (id, wanted) = (&measurement.id, &measurement.unit);
        let what = format!("unit {unit:?} is not the unit of {id}, which is {wanted:?}");
        let help = format!("write unit = {wanted:?} and let scale and offset convert to it");
        section.fault_at(section.offset("unit"), what, help);
    }
    Some(unit)
}

fn read_range(section: &mut Section<'_, '_>, measurement: Option<&Measurement>) -> Option<(f64, f64)> {
    let (min, max) = (section.optional_decimal("min"), section.optional_decimal("max"));
    let (low, high) = measurement.and_then(|m| m.plausible).unwrap_or((f64::MIN, f64::MAX));
    let low = min.map_or(low, |(min, _)| min.to_f64());
    let high = max.map_or(high, |(max, _)| max.to_f64());
    if low > high {
        let at = min.or(max).map_or(0, |(_, at)| at);
        section.fault_at(at, format!("min {low} is above max {high}"), "exchange them, or give both");
        return None;
    }
    Some((low, high))
}
