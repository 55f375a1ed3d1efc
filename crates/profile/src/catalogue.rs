//! The catalogue of measurements: which quantities exist, in which unit, and what a sensor can plausibly say.

use std::collections::BTreeMap;

use sitian_model::{ConfigFault, TEXT_BYTES_MAX};

use crate::section::Section;

/// The medium a quantity belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Medium {
    /// Soil and substrate.
    Soil,
    /// Irrigation, pond and drain water.
    Water,
    /// Air, light, wind and rain.
    Air,
    /// Electricity.
    Power,
    /// Anything else, such as contacts and signal strength.
    Other,
}

impl Medium {
    /// Every medium with its word.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("soil", Self::Soil),
        ("water", Self::Water),
        ("air", Self::Air),
        ("power", Self::Power),
        ("other", Self::Other),
    ];

    /// A stable snake_case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Soil => "soil",
            Self::Water => "water",
            Self::Air => "air",
            Self::Power => "power",
            Self::Other => "other",
        }
    }
}

/// One quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Name, such as `soil_moisture`: 1 to 48 characters from `a-z 0-9 _`.
    pub id: String,
    /// Chinese name.
    pub name_zh: String,
    /// English name.
    pub name_en: String,
    /// Unit symbol, empty for plain numbers.
    pub unit: String,
    /// Digits after the decimal point worth showing.
    pub decimals: u8,
    /// Medium.
    pub medium: Medium,
    /// Lowest and highest value that a working sensor can give.
    pub plausible: Option<(f64, f64)>,
}

/// All quantities, by id.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalogue {
    items: BTreeMap<String, Measurement>,
}

impl Catalogue {
    /// Reads a catalogue text; `file` is how faults name it. Returns every fault found.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<ConfigFault>> {
        let mut items = BTreeMap::new();
        let faults = Section::read(file, text, |root| {
            for mut entry in root.sections() {
                let id = entry.name().to_owned();
                if let Some(item) = measurement(&id, &mut entry) {
                    items.insert(id, item);
                }
                entry.finish();
            }
        });
        if faults.is_empty() { Ok(Self { items }) } else { Err(faults) }
    }

    /// The quantity with this id.
    pub fn get(&self, id: &str) -> Option<&Measurement> {
        self.items.get(id)
    }

    /// Every quantity, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = &Measurement> {
        self.items.values()
    }
}

fn measurement(id: &str, entry: &mut Section<'_, '_>) -> Option<Measurement> {
    let alphabet = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if id.len() > 48 || !id.bytes().all(alphabet) {
        entry.fault(format!("the measurement id {id:?} is not well-formed"), "use 1 to 48 of a-z 0-9 _");
    }
    let (name_zh, name_en) = (entry.text("name_zh"), entry.text("name_en"));
    let unit = entry.text_maybe_empty("unit");
    if unit.as_ref().is_some_and(|unit| unit.len() > TEXT_BYTES_MAX) {
        let help = format!("write a symbol of at most {TEXT_BYTES_MAX} bytes");
        entry.fault_at(entry.offset("unit"), format!("the unit of {id} is too long"), help);
    }
    let decimals = entry.integer("decimals", 0, 9);
    let medium = entry.word("medium", &Medium::WORDS);
    let plausible = match (entry.optional_decimal("min"), entry.optional_decimal("max")) {
        (Some((min, _)), Some((max, at))) if min.to_f64() >= max.to_f64() => {
            entry.fault_at(at, format!("max {max} is not above min {min}"), "exchange the two");
            None
        }
        (Some((min, _)), Some((max, _))) => Some((min.to_f64(), max.to_f64())),
        (None, None) => None,
        _ => {
            entry.fault("a plausible range needs both min and max", "give both, or neither");
            None
        }
    };
    Some(Measurement {
        id: id.to_owned(),
        name_zh: name_zh?,
        name_en: name_en?,
        unit: unit?,
        decimals: decimals? as u8,
        medium: medium?,
        plausible,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_the_centre_would_not_take_is_refused_where_it_stands() {
        let text = |unit: &str| {
            format!(
                "[ec]\nname_zh = \"电导率\"\nname_en = \"EC\"\nunit = {unit:?}\ndecimals = 0\nmedium = \"soil\"\n"
            )
        };
        let long = "µS".repeat(86);
        assert!(Catalogue::parse("m.toml", &text(&long[..255])).is_ok());
        let faults = Catalogue::parse("m.toml", &text(&long)).unwrap_err();
        assert_eq!(
            faults[0].to_string(),
            "m.toml:4:8: the unit of ec is too long\n  help: write a symbol of at most 256 bytes"
        );
    }
}
