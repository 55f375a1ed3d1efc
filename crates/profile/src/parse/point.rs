//! One `[[points]]` table: where the number stands, what it means, and what may be written.

use sitian_model::PointKey;

use super::{FUNCTIONS, address};
use crate::catalogue::Measurement;
use crate::device::{Counter, StatusRegister, Write};
use crate::section::Section;
use crate::{Catalogue, Decimal, DecimalsRegister, Function, Kind, Order, ProfilePoint, Range, UnitRegister};

const ORDERS_64: [(&str, Order); 4] = [
    ("ABCDEFGH", Order::Abcd),
    ("GHEFCDAB", Order::Cdab),
    ("BADCFEHG", Order::Badc),
    ("HGFEDCBA", Order::Dcba),
];
/// Coils and discrete inputs have one bit for each address.
const ONE_BIT: Kind = Kind::Bits(1);

pub(super) fn read_point(section: &mut Section<'_, '_>, catalogue: &Catalogue) -> Option<ProfilePoint> {
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
    let status_register = section.optional_section("status_register").and_then(read_status_register);
    let counter = section.optional_section("counter").and_then(|counter| read_counter(counter, kind));
    let write = section.optional_section("write").and_then(|write| read_write(write, function));
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
        status_register,
        counter,
        write,
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
    let kind = section.word("kind", &Kind::WORDS)?;
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
        Some(2) if given => section.word("order", &Order::WORDS),
        Some(4) if given => section.word("order", &[Order::WORDS, ORDERS_64].concat()),
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

fn read_status_register(mut section: Section<'_, '_>) -> Option<StatusRegister> {
    let address = address(&mut section, "address");
    let (bad, uncertain) =
        (section.integer_or("bad", 0, 0xFFFF, 0), section.integer_or("uncertain", 0, 0xFFFF, 0));
    if bad == Some(0) && uncertain == Some(0) {
        section
            .fault("no bit of the status register means anything", "add bad = 0x0001 or uncertain = 0x0001");
    }
    section.finish();
    Some(StatusRegister { address: address?, bad: bad? as u16, uncertain: uncertain? as u16 })
}

fn read_counter(mut section: Section<'_, '_>, kind: Option<Kind>) -> Option<Counter> {
    let wrap = section.integer_or("wrap", 0, i64::MAX, -1);
    let hourly_max = limit(&mut section, "hourly_max");
    if hourly_max.is_some_and(|most| most <= 0.0) {
        section.fault_at(
            section.offset("hourly_max"),
            "a counter that never grows counts nothing",
            "write the largest increase within an hour that is believed, in the point's unit",
        );
    }
    section.finish();
    let wrap = match (wrap?, kind?) {
        (-1, Kind::U16) => Some(1 << 16),
        (-1, Kind::U32) => Some(1 << 32),
        (-1 | 0, _) => None,
        (wrap, _) => u64::try_from(wrap).ok(),
    };
    Some(Counter { wrap, hourly_max: hourly_max? })
}

fn read_write(mut section: Section<'_, '_>, function: Option<Function>) -> Option<Write> {
    if matches!(function, Some(Function::Discrete | Function::Input)) {
        section.fault("inputs cannot be written", "remove write, or name the coil or holding register");
    }
    let (min, max) = (limit(&mut section, "min"), limit(&mut section, "max"));
    let safe = limit(&mut section, "safe");
    let on_max_s = section.integer("on_max_s", 0, 604_800);
    let multiple = section.flag_or("multiple", false);
    let settle_ms = section.integer_or("settle_ms", 0, 600_000, 0);
    let read_back = section.optional_text("read_back").and_then(|text| PointKey::new(&text).ok());
    let tolerance = section.optional_decimal("tolerance").map_or(0.0, |(number, _)| number.to_f64());
    let (low, high, harmless) = (min?, max?, safe?);
    if !(low <= harmless && harmless <= high) {
        let what = format!("safe {harmless} is not between min {low} and max {high}");
        section.fault_at(section.offset("safe"), what, "the safe value is one that may be written");
    }
    section.finish();
    Some(Write {
        min: low,
        max: high,
        safe: harmless,
        on_max_s: on_max_s? as u32,
        multiple: multiple?,
        settle_ms: settle_ms? as u32,
        read_back,
        tolerance,
    })
}

/// A number that must be there.
fn limit(section: &mut Section<'_, '_>, key: &str) -> Option<f64> {
    if !section.has(key) {
        section.fault(format!("{key} is missing"), format!("add {key} = …"));
    }
    section.optional_decimal(key).map(|(number, _)| number.to_f64())
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
pub(super) fn check_place(
    section: &Section<'_, '_>,
    point: &ProfilePoint,
    registers_max: u16,
    unreadable: &[Range],
) {
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
