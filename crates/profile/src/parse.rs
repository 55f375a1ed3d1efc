//! From the text of a profile to a [`Profile`], with every fault found.

use sitian_model::{ConfigFault, PointKey};

use crate::catalogue::Measurement;
use crate::section::Section;
use crate::{
    Catalogue, Decimal, DecimalsRegister, Function, Kind, Order, Parity, PreRead, Profile, ProfilePoint,
    Range, Serial, UnitRegister, Verified,
};

const FUNCTIONS: [(&str, Function); 4] = [
    ("coils", Function::Coils),
    ("discrete", Function::Discrete),
    ("holding", Function::Holding),
    ("input", Function::Input),
];
const PARITIES: [(&str, Parity); 3] = [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
const MARKS: [(&str, Verified); 3] =
    [("F", Verified::Frame), ("V", Verified::Source), ("U", Verified::Unverified)];
const ORDERS: [(&str, Order); 4] =
    [("ABCD", Order::Abcd), ("CDAB", Order::Cdab), ("BADC", Order::Badc), ("DCBA", Order::Dcba)];
const ORDERS_64: [(&str, Order); 4] = [
    ("ABCDEFGH", Order::Abcd),
    ("GHEFCDAB", Order::Cdab),
    ("BADCFEHG", Order::Badc),
    ("HGFEDCBA", Order::Dcba),
];
/// `bits` stands for a mask that is read separately.
const KINDS: [(&str, Kind); 9] = [
    ("u16", Kind::U16),
    ("s16", Kind::S16),
    ("u32", Kind::U32),
    ("s32", Kind::S32),
    ("u64", Kind::U64),
    ("s64", Kind::S64),
    ("f32", Kind::F32),
    ("f64", Kind::F64),
    ("bits", Kind::Bits(u16::MAX)),
];
/// Coils and discrete inputs have one bit for each address.
const ONE_BIT: Kind = Kind::Bits(1);
const POINTS_MAX: usize = 500;

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
    let delay_ms = section.integer_or("delay_ms", 0, 600_000, 0);
    let every_ms = section.integer_or("every_ms", 0, 86_400_000, 0);
    let (function, address, count) = (function?, address?, count? as u16);
    if u32::from(address) + u32::from(count) > 0x1_0000 {
        section.fault(
            format!("{count} registers from {address:#06x} end beyond 0xFFFF"),
            "lower address or count",
        );
    }
    Some(PreRead { function, address, count, delay_ms: delay_ms? as u32, every_ms: every_ms? as u32 })
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
    points
}

fn read_point(section: &mut Section<'_, '_>, catalogue: &Catalogue) -> Option<ProfilePoint> {
    let key = section.text("key").and_then(|text| match PointKey::new(&text) {
        Ok(key) => Some(key),
        Err(error) => {
            section.fault_at(section.offset("key"), error.to_string(), "for example soil_moisture");
            None
        }
    });
    // Most keys are the measurement's name, so it need not be said twice.
    let measurement = match section.optional_text("measurement") {
        Some(text) => Some(("measurement", text)),
        None => key.as_ref().map(|key| ("key", key.to_string())),
    };
    let measurement = measurement.and_then(|(at, id)| {
        let found = catalogue.get(&id).cloned();
        if found.is_none() {
            let help =
                "name a measurement of config/measurements.toml with measurement = \"…\", or add it there";
            section.fault_at(section.offset(at), format!("the measurement {id:?} is not known"), help);
        }
        found
    });
    let unit = read_unit(section, measurement.as_ref());
    let function = section.word("function", &FUNCTIONS);
    let address = address(section, "address");
    let kind = read_kind(section, function);
    let order = read_order(section, kind);
    let scale = read_scale(section);
    let offset = section.optional_decimal("offset").map_or(Decimal::ZERO, |(offset, _)| offset);
    let decimals =
        section.integer_or("decimals", 0, 9, measurement.as_ref().map_or(0, |m| m.decimals.into()));
    let range = read_limits(section, measurement.as_ref());
    let unit_register = section.optional_section("unit_register").and_then(read_unit_register);
    let decimals_register = section.optional_section("decimals_register").and_then(read_decimals_register);
    let missing = read_missing(section, kind);
    let optional = section.flag_or("optional", false);
    Some(ProfilePoint {
        key: key?,
        measurement: measurement?.id,
        unit: unit?,
        function: function?,
        address: address?,
        kind: kind?,
        order: order?,
        scale: scale?,
        offset,
        decimals: decimals? as u8,
        min: range?.0,
        max: range?.1,
        unit_register,
        decimals_register,
        missing,
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

fn read_kind(section: &mut Section<'_, '_>, function: Option<Function>) -> Option<Kind> {
    let one_bit = function.is_some_and(Function::is_bits);
    if one_bit && !section.has("kind") {
        return Some(ONE_BIT);
    }
    let kind = section.word("kind", &KINDS)?;
    if one_bit {
        section.fault_at(section.offset("kind"), "coils and discrete inputs have no kind", "remove kind");
        return None;
    }
    match (kind, section.has("mask")) {
        (Kind::Bits(_), true) => section.integer("mask", 1, 0xFFFF).map(|mask| Kind::Bits(mask as u16)),
        (Kind::Bits(_), false) => {
            section.fault("kind \"bits\" needs a mask", "add mask = 0x0001 for the lowest bit");
            None
        }
        (_, true) => {
            section.fault_at(
                section.offset("mask"),
                "only kind \"bits\" has a mask",
                "remove mask, or change kind",
            );
            section.integer("mask", i64::MIN, i64::MAX);
            None
        }
        (kind, false) => Some(kind),
    }
}

fn read_order(section: &mut Section<'_, '_>, kind: Option<Kind>) -> Option<Order> {
    let given = section.has("order");
    match kind.map(Kind::registers) {
        Some(1) if given => {
            let what = "order has no meaning for a single register";
            section.fault_at(section.offset("order"), what, "remove order, or use a 32-bit or 64-bit kind");
            section.optional_text("order");
            None
        }
        Some(2) if given => section.word("order", &ORDERS),
        Some(4) if given => section.word("order", &[ORDERS, ORDERS_64].concat()),
        Some(1) => Some(Order::Abcd),
        Some(_) => {
            section.fault(
                "order is missing",
                "say how the bytes of the number travel: ABCD, CDAB, BADC or DCBA",
            );
            None
        }
        None => section.optional_text("order").and(None),
    }
}

fn read_scale(section: &mut Section<'_, '_>) -> Option<Decimal> {
    if !section.has("scale") {
        section.optional_decimal("scale");
        return Some(Decimal::ONE);
    }
    let (scale, at) = section.optional_decimal("scale")?;
    if scale.digits == 0 {
        section.fault_at(
            at,
            "scale 0 would make every value 0",
            "write what one raw step is worth, such as 0.1",
        );
        return None;
    }
    Some(scale)
}

fn read_limits(section: &mut Section<'_, '_>, measurement: Option<&Measurement>) -> Option<(f64, f64)> {
    let (min, max) = (section.optional_decimal("min"), section.optional_decimal("max"));
    let plausible = measurement.and_then(|m| m.plausible);
    let (low, high) = plausible.unwrap_or((f64::MIN, f64::MAX));
    let low = min.map_or(low, |(min, _)| min.to_f64());
    let high = max.map_or(high, |(max, _)| max.to_f64());
    if low > high {
        let at = min.or(max).map_or(0, |(_, at)| at);
        section.fault_at(at, format!("min {low} is above max {high}"), "exchange them, or give both");
        return None;
    }
    Some((low, high))
}

fn read_unit_register(mut section: Section<'_, '_>) -> Option<UnitRegister> {
    let address = address(&mut section, "address");
    let mut codes = Vec::new();
    match section.optional_section("codes") {
        Some(mut table) => {
            for (key, factor, at) in table.decimals() {
                match key.parse::<u16>() {
                    Ok(code) if factor.digits != 0 => codes.push((code, factor)),
                    Ok(_) => {
                        section.fault_at(at, format!("unit code {key} has the factor 0"), "write a factor")
                    }
                    Err(_) => {
                        section.fault_at(
                            at,
                            format!("{key} is no unit code"),
                            "use a number from 0 to 65535",
                        );
                    }
                }
            }
            table.finish();
        }
        None => {
            section.fault("codes is missing", "add codes = { 17 = 0.01 }: code = factor to the point's unit")
        }
    }
    section.finish();
    codes.sort_unstable_by_key(|(code, _)| *code);
    Some(UnitRegister { address: address?, codes })
}

fn read_decimals_register(mut section: Section<'_, '_>) -> Option<DecimalsRegister> {
    let address = address(&mut section, "address");
    let max = section.integer_or("max", 0, 9, 4);
    section.finish();
    Some(DecimalsRegister { address: address?, max: max? as u8 })
}

fn read_missing(section: &mut Section<'_, '_>, kind: Option<Kind>) -> Vec<i128> {
    let markers = section.integers("missing");
    let Some(kind) = kind else { return Vec::new() };
    let width = u32::from(kind.registers()) * 16;
    let min = if kind.is_signed() { -(1_i128 << (width - 1)) } else { 0 };
    for (marker, at) in &markers {
        if !(min..1_i128 << width).contains(marker) {
            let what = format!("the missing marker {marker} does not fit into {width} bits");
            section.fault_at(*at, what, "write the raw number that the registers hold");
        }
    }
    markers.into_iter().map(|(marker, _)| marker).collect()
}

/// The registers of a point must exist, fit into one request and be readable.
fn check_place(section: &Section<'_, '_>, point: &ProfilePoint, registers_max: u16, unreadable: &[Range]) {
    let count = point.kind.registers();
    let end = u32::from(point.address) + u32::from(count);
    let at = section.offset("address");
    if end > 0x1_0000 {
        let what = format!("{count} registers from address {:#06x} end beyond 0xFFFF", point.address);
        section.fault_at(at, what, "addresses are 0-based; lower the address");
    }
    if count > registers_max {
        let what = format!("the point needs {count} registers, but registers_max is {registers_max}");
        section.fault_at(section.offset("kind"), what, "raise registers_max, or use a shorter kind");
    }
    let hit = |range: &&Range| {
        range.function == point.function
            && u32::from(range.first) < end
            && u32::from(point.address) <= u32::from(range.last)
    };
    if let Some(range) = unreadable.iter().find(hit) {
        let what =
            format!("the point lies in the unreadable range {:#06x} to {:#06x}", range.first, range.last);
        section.fault_at(at, what, "move the point or narrow the range");
    }
}

#[cfg(test)]
mod tests;
