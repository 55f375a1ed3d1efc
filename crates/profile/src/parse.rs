//! From the text of a profile to a [`Profile`], with every fault found.

mod point;

use sitian_model::ConfigFault;

use crate::device::Setup;
use crate::section::Section;
use crate::{Catalogue, Function, Parity, PreRead, Profile, ProfilePoint, Range, Serial, Verified};

use point::{check_place, read_point};

const FUNCTIONS: [(&str, Function); 4] = [
    ("coils", Function::Coils),
    ("discrete", Function::Discrete),
    ("holding", Function::Holding),
    ("input", Function::Input),
];
const PARITIES: [(&str, Parity); 3] = [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
const MARKS: [(&str, Verified); 3] =
    [("F", Verified::Frame), ("V", Verified::Source), ("U", Verified::Unverified)];
const POINTS_MAX: usize = 500;
/// Registers that one function 16 may carry.
const WRITE_MAX: usize = 123;

impl Profile {
    /// Reads a profile text; `file` is how faults name it. Returns every fault found.
    pub fn parse(file: &str, text: &str, catalogue: &Catalogue) -> Result<Self, Vec<ConfigFault>> {
        let mut profile = None;
        let faults = Section::read(file, text, |root| profile = read_profile(root, catalogue));
        match profile {
            Some(profile) if faults.is_empty() => Ok(profile),
            _ => Err(faults),
        }
    }
}

fn read_profile(root: &mut Section<'_, '_>, catalogue: &Catalogue) -> Option<Profile> {
    let id = root.text("id");
    let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if let Some(id) = id.as_ref().filter(|id| id.len() > 48 || !id.bytes().all(slug)) {
        root.fault_at(root.offset("id"), format!("id {id:?} is not well-formed"), "use 1 to 48 of a-z 0-9 -");
    }
    let (vendor, model) = (root.text("vendor"), root.text("model"));
    let (name_zh, name_en) = (root.text("name_zh"), root.text("name_en"));
    let (source, verified) = (root.text("source"), root.word("verified", &MARKS));
    let default_unit = root.integer("default_unit", 1, 255);
    let registers_max = root.integer_or("registers_max", 1, 125, 125);
    let gap_max = root.integer_or("gap_max", 0, 120, 4);
    let pause_ms = root.integer_or("pause_ms", 0, 10_000, 0);
    let serial = match root.optional_section("serial") {
        Some(mut section) => {
            let serial = read_serial(&mut section);
            section.finish();
            serial
        }
        None => {
            root.fault("[serial] is missing", "add [serial] with the baud rate as delivered: baud = 9600");
            None
        }
    };
    let unreadable = each(root.list("unreadable"), read_range);
    let pre_read = each(root.list("pre_read"), read_pre_read);
    let post_read = each(root.list("post_read"), read_pre_read);
    let setup = root.optional_section("setup").map_or_else(|| Some(Setup::default()), read_setup);
    let limit = registers_max.unwrap_or(125) as u16;
    let points = read_points(root, catalogue, limit, &unreadable);
    Some(Profile {
        id: id?,
        vendor: vendor?,
        model: model?,
        name_zh: name_zh?,
        name_en: name_en?,
        source: source?,
        verified: verified?,
        serial: serial?,
        default_unit: default_unit? as u8,
        registers_max: registers_max? as u16,
        gap_max: gap_max? as u16,
        pause_ms: pause_ms? as u32,
        unreadable,
        pre_read,
        post_read,
        setup: setup?,
        points,
    })
}

fn each<'t, 'd, T>(
    sections: Vec<Section<'t, 'd>>,
    mut read: impl FnMut(&mut Section<'t, 'd>) -> Option<T>,
) -> Vec<T> {
    let mut items = Vec::new();
    for mut section in sections {
        items.extend(read(&mut section));
        section.finish();
    }
    items
}

fn read_serial(section: &mut Section<'_, '_>) -> Option<Serial> {
    let baud = section.integer("baud", 300, 921_600);
    let data_bits = section.integer_or("data_bits", 7, 8, 8);
    let parity = section.optional_word("parity", &PARITIES).unwrap_or(Parity::None);
    let stop_bits = section.integer_or("stop_bits", 1, 2, 1);
    Some(Serial { baud: baud? as u32, data_bits: data_bits? as u8, parity, stop_bits: stop_bits? as u8 })
}

fn read_range(section: &mut Section<'_, '_>) -> Option<Range> {
    let function = section.word("function", &FUNCTIONS);
    let (first, last) = (address(section, "first"), address(section, "last"));
    let (function, first, last) = (function?, first?, last?);
    if first > last {
        section.fault(format!("first {first:#06x} is above last {last:#06x}"), "exchange the two");
        return None;
    }
    Some(Range { function, first, last })
}

fn read_pre_read(section: &mut Section<'_, '_>) -> Option<PreRead> {
    let function = section.word("function", &FUNCTIONS);
    let address = address(section, "address");
    let count = section.integer_or("count", 0, 125, 1);
    let write = section.has("write").then(|| read_write_list(section, function));
    section.integers("write");
    let delay_ms = section.integer_or("delay_ms", 0, 600_000, 0);
    let every_ms = section.integer_or("every_ms", 0, 86_400_000, 0);
    let (function, address, count) = (function?, address?, count? as u16);
    let reach = write.as_ref().map_or(u32::from(count), |words| words.len() as u32);
    if u32::from(address) + reach > 0x1_0000 {
        section.fault(
            format!("{reach} registers from {address:#06x} end beyond 0xFFFF"),
            "lower address or count",
        );
    }
    let (delay_ms, every_ms) = (delay_ms? as u32, every_ms? as u32);
    Some(PreRead { function, address, count, write, delay_ms, every_ms })
}

fn read_write_list(section: &mut Section<'_, '_>, function: Option<Function>) -> Vec<u16> {
    let at = section.offset("write");
    let words = section.integers("write");
    if matches!(function, Some(Function::Discrete | Function::Input)) {
        section.fault_at(at, "inputs cannot be written", "use function = \"holding\" or \"coils\"");
    }
    if section.has("count") {
        section.fault_at(
            section.offset("count"),
            "a write has no count",
            "remove count; write = [] writes none",
        );
    }
    if words.len() > WRITE_MAX {
        section.fault_at(
            at,
            format!("{} registers are too many", words.len()),
            format!("at most {WRITE_MAX}"),
        );
    }
    for (word, at) in words.iter().filter(|(word, _)| !(0..=0xFFFF).contains(word)) {
        section.fault_at(*at, format!("{word} does not fit into a register"), "use 0 to 65535");
    }
    words.into_iter().map(|(word, _)| word as u16).collect()
}

fn read_setup(mut section: Section<'_, '_>) -> Option<Setup> {
    let register = |section: &mut Section<'_, '_>, key: &str| {
        section.integer_or(key, 0, 0xFFFF, -1).map(|n| u16::try_from(n).ok())
    };
    let unit_register = register(&mut section, "unit_register");
    let baud_register = register(&mut section, "baud_register");
    let mut baud_codes = Vec::new();
    if let Some(mut table) = section.optional_section("baud_codes") {
        for (baud, code, at) in table.decimals() {
            let code = code.to_f64();
            match baud.parse::<u32>() {
                Ok(baud) if code.fract() == 0.0 && (0.0..=65_535.0).contains(&code) => {
                    baud_codes.push((baud, code as u16))
                }
                _ => section.fault_at(
                    at,
                    format!("{baud} = {code} is no baud code"),
                    "write 9600 = 2: rate = code",
                ),
            }
        }
        table.finish();
    }
    let note = section.optional_text("note").unwrap_or_default();
    section.finish();
    baud_codes.sort_unstable();
    Some(Setup { unit_register: unit_register?, baud_register: baud_register?, baud_codes, note })
}

fn address(section: &mut Section<'_, '_>, key: &str) -> Option<u16> {
    section.integer(key, 0, 0xFFFF).map(|address| address as u16)
}

fn read_points(
    root: &mut Section<'_, '_>,
    catalogue: &Catalogue,
    registers_max: u16,
    unreadable: &[Range],
) -> Vec<ProfilePoint> {
    let sections = root.list("points");
    if sections.is_empty() {
        root.fault("the profile has no [[points]]", "add at least one [[points]] table");
    }
    if sections.len() > POINTS_MAX {
        root.fault(format!("{} points are too many", sections.len()), format!("use at most {POINTS_MAX}"));
        return Vec::new();
    }
    let mut points: Vec<ProfilePoint> = Vec::new();
    for mut section in sections {
        let point = read_point(&mut section, catalogue);
        if let Some(point) = point {
            check_place(&section, &point, registers_max, unreadable);
            if points.iter().any(|other| other.key == point.key) {
                let what = format!("the key {} is used twice", point.key);
                section.fault_at(section.offset("key"), what, "give every point of the profile its own key");
            }
            points.push(point);
        }
        section.finish();
    }
    for point in &points {
        let wanted = point.write.as_ref().and_then(|write| write.read_back.as_ref());
        if let Some(key) = wanted.filter(|key| points.iter().all(|other| other.key != **key)) {
            let what = format!("{} is read back from {key}, which is no point of the profile", point.key);
            root.fault(what, "name a point of this profile in read_back, or remove it");
        }
    }
    points
}

#[cfg(test)]
mod tests;
