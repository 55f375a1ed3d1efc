use super::*;
use crate::{Catalogue, Profile, builtin, catalogue_text};

fn profile(id: &str) -> Profile {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let file = format!("{id}.toml");
    let (file, text) = builtin().iter().find(|(name, _)| *name == file).unwrap();
    Profile::parse(file, text, &catalogue).unwrap()
}

/// One point of `kind`, with more lines of profile text.
fn point(kind: &str, more: &str) -> ProfilePoint {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let text = format!(
        "id = \"p\"\nvendor = \"v\"\nmodel = \"m\"\nname_zh = \"z\"\nname_en = \"e\"\nsource = \"s\"\nverified = \"U\"\n\
         default_unit = 1\n[serial]\nbaud = 9600\n[[points]]\nkey = \"water_orp\"\nunit = \"mV\"\nmin = -1e30\nmax = 1e30\n\
         function = \"holding\"\naddress = 0\nkind = \"{kind}\"\n{more}\n"
    );
    Profile::parse("p.toml", &text, &catalogue).unwrap().points.remove(0)
}

/// Payload of an answer whose first register stands at `first`.
fn registers_at(point: &ProfilePoint, first: u16, payload: &str) -> Vec<u16> {
    let bytes: Vec<u8> = payload.split(' ').map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect();
    let words: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    words[usize::from(point.address - first)..].to_vec()
}

fn check_worked_example(id: &str, first: u16, payload: &str, expected: &[(&str, f64)]) {
    let profile = profile(id);
    for (key, value) in expected {
        let (_, point) = profile.point(key).unwrap();
        let word = |address: u16| registers_at(&ProfilePoint { address, ..point.clone() }, first, payload)[0];
        let context = Context {
            unit: point.unit_register.as_ref().map(|unit| word(unit.address)),
            decimals: point.decimals_register.map(|decimals| word(decimals.address)),
            status: Some(0),
        };
        let decoded = decode(point, &registers_at(point, first, payload), context);
        assert_eq!(decoded, (Some(*value), Quality::Good), "{id} {key}");
    }
}

#[test]
fn worked_examples_decode_to_their_published_values() {
    check_worked_example(
        "renke-soil-7in1",
        0,
        "02 62 01 67 00 06 00 37",
        &[("soil_moisture", 61.0), ("soil_temperature", 35.9), ("soil_ec", 6.0), ("soil_ph", 5.5)],
    );
    check_worked_example("xy-md02", 1, "FF 33 02 22", &[("air_temperature", -20.5), ("air_humidity", 54.6)]);
    check_worked_example("senseair-s8", 3, "01 90", &[("air_co2", 400.0)]);
    check_worked_example("nhzd-light", 0, "00 00 01 28", &[("illuminance", 296.0)]);
    check_worked_example(
        "yosemitech-y504",
        0x2600,
        "00 00 48 41 7B 14 6E 3F 1F 85 FB 40",
        &[("water_temperature", 12.5), ("water_do_saturation", 93.0), ("water_do", 7.86)],
    );
    check_worked_example("qdy30a", 2, "00 11 00 01 04 D2", &[("water_level", 1.234)]);
    check_worked_example(
        "renke-ws-n01",
        0,
        "02 92 FF 9B",
        &[("air_humidity", 65.8), ("air_temperature", -10.1)],
    );
    check_worked_example(
        "comwintop-soil-thc",
        0,
        "02 92 FF 9B",
        &[("soil_moisture", 65.8), ("soil_temperature", -10.1)],
    );
    check_worked_example(
        "rika-rk500-22",
        0,
        "40 E0 51 EC C0 89 99 9A 41 C9 47 AE",
        &[("soil_ph", 7.01), ("electrode_potential", -4.3), ("soil_temperature", 25.16)],
    );
}

#[test]
fn the_soil_conductivity_example_agrees_to_the_digits_that_were_printed() {
    let profile = profile("rika-rk500-23");
    let payload = "3F 82 DC 81 41 1C 80 64 41 DC F9 0C 43 FF 96 AC 44 0C 92 DF";
    for (key, printed, digits) in
        [("soil_ec", 1022.0, 0), ("soil_temperature", 27.62, 2), ("soil_salinity", 562.3, 1)]
    {
        let (_, point) = profile.point(key).unwrap();
        let (value, quality) = decode(point, &registers_at(point, 0, payload), Context::default());
        let power = 10_f64.powi(digits);
        assert_eq!((value.unwrap() * power).round() / power, printed, "{key}");
        assert_eq!(quality, Quality::Good);
    }
}

fn check(kind: &str, more: &str, registers: &[u16], value: Option<f64>, quality: Quality) {
    let decoded = decode(&point(kind, more), registers, Context::default());
    assert_eq!(decoded, (value, quality), "{kind} {more} {registers:x?}");
}

#[test]
fn every_kind_and_order_reads_the_bytes_where_they_are() {
    let good = |kind: &str, more: &str, registers: &[u16], value: f64| {
        check(kind, more, registers, Some(value), Quality::Good)
    };
    good("u16", "", &[0xFF33], 65331.0);
    good("s16", "", &[0xFF33], -205.0);
    good("s16", "scale = 0.1\noffset = -40", &[0xFF33], -60.5);
    good("u16", "scale = \"0.1\"", &[3], 0.3);
    good("bits", "mask = 0xFF00", &[0x0407], 4.0);
    good("bits", "mask = 0x0004", &[0x0407], 1.0);
    for (order, registers) in [
        ("ABCD", [0x0102, 0x0304]),
        ("CDAB", [0x0304, 0x0102]),
        ("BADC", [0x0201, 0x0403]),
        ("DCBA", [0x0403, 0x0201]),
    ] {
        good("u32", &format!("order = \"{order}\""), &registers, f64::from(0x0102_0304));
    }
    good("s32", "order = \"CDAB\"", &[0xFFFE, 0xFFFF], -2.0);
    good("u32", "order = \"ABCD\"", &[0xFFFF, 0xFFFF], 4_294_967_295.0);
    let big = f64::from_bits(0x4009_21FB_5444_2D18);
    for (order, registers) in [
        ("ABCD", [0x4009, 0x21FB, 0x5444, 0x2D18]),
        ("GHEFCDAB", [0x2D18, 0x5444, 0x21FB, 0x4009]),
        ("BADCFEHG", [0x0940, 0xFB21, 0x4454, 0x182D]),
        ("DCBA", [0x182D, 0x4454, 0xFB21, 0x0940]),
    ] {
        good("f64", &format!("order = \"{order}\""), &registers, big);
    }
    good("s64", "order = \"ABCD\"\nscale = 0.001", &[0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], -0.001);
    good("u64", "order = \"ABCD\"", &[0, 0, 1, 0], 65536.0);
}

#[test]
fn what_holds_no_number_gives_no_value() {
    let none = |kind: &str, more: &str, registers: &[u16]| {
        check(kind, more, registers, None, Quality::Bad(Cause::NotANumber))
    };
    none("f32", "order = \"ABCD\"", &[0x7FC0, 0]);
    none("f32", "order = \"ABCD\"", &[0x7F80, 0]);
    none("f32", "order = \"DCBA\"", &[0, 0x80FF]);
    none("f64", "order = \"ABCD\"", &[0x7FF8, 0, 0, 0]);
    none("u16", "missing = [0xFFFF]", &[0xFFFF]);
    none("s16", "missing = [0x8000]", &[0x8000]);
    none("s16", "missing = [-32768]", &[0x8000]);
    none("f32", "order = \"ABCD\"\nmissing = [0xC61C3C00]", &[0xC61C, 0x3C00]);
    none("u32", "order = \"ABCD\"", &[1]);
    none("u16", "", &[]);
    check("u16", "missing = [0xFFFF]", &[0xFFFE], Some(65534.0), Quality::Good);
}

#[test]
fn an_implausible_value_is_kept_and_marked() {
    let md02 = profile("xy-md02");
    let (_, temperature) = md02.point("air_temperature").unwrap();
    for (raw, value, quality) in [
        (0xFF33, -20.5, Quality::Good),
        (600, 60.0, Quality::Good),
        (601, 60.1, Quality::Uncertain(Cause::Implausible)),
        (0x8000, -3276.8, Quality::Uncertain(Cause::Implausible)),
    ] {
        assert_eq!(decode(temperature, &[raw], Context::default()), (Some(value), quality), "{raw}");
    }
}

#[test]
fn ph_in_tenths_and_in_hundredths_are_two_profiles() {
    for (id, value, quality) in [
        ("renke-soil-7in1", 30.8, Quality::Uncertain(Cause::Implausible)),
        ("renke-soil-7in1-ph2", 3.08, Quality::Good),
    ] {
        let profile = profile(id);
        let (_, ph) = profile.point("soil_ph").unwrap();
        assert_eq!(decode(ph, &[0x0134], Context::default()), (Some(value), quality), "{id}");
    }
}

#[test]
fn a_level_follows_the_unit_and_decimals_that_the_device_states() {
    let qdy30a = profile("qdy30a");
    let (_, level) = qdy30a.point("water_level").unwrap();
    let good = |value| (Some(value), Quality::Good);
    let bad = |cause| (None, Quality::Bad(cause));
    for (unit, decimals, raw, expected) in [
        (Some(17), Some(1), 1234, good(1.234)),
        (Some(16), Some(3), 1234, good(1.234)),
        (Some(16), Some(2), 436, good(4.36)),
        (Some(18), Some(0), 1234, good(1.234)),
        (Some(1), Some(1), 100, good(1.019716213)),
        (Some(17), Some(1), 0xFFFF, (Some(-0.001), Quality::Uncertain(Cause::Implausible))),
        (Some(99), Some(1), 1234, bad(Cause::NotANumber)),
        (Some(17), Some(9), 1234, bad(Cause::NotANumber)),
        (None, Some(1), 1234, bad(Cause::Preparation)),
        (Some(17), None, 1234, bad(Cause::Preparation)),
    ] {
        assert_eq!(
            decode(level, &[raw], Context { unit, decimals, status: None }),
            expected,
            "{unit:?} {decimals:?} {raw}"
        );
    }
}

#[test]
fn documents_that_count_from_one_have_been_translated() {
    for (id, key, address, order) in [
        ("tuf-2000m", "water_flow", 0, Order::Cdab),
        ("tuf-2000m", "water_total", 8, Order::Cdab),
        ("tuf-2000m", "signal_quality", 91, Order::Abcd),
        ("comwintop-weather", "wind_speed", 0x01F4, Order::Abcd),
        ("yosemitech-y4000", "water_do", 0x2601, Order::Dcba),
        ("yosemitech-y532", "water_ph", 0x2800, Order::Dcba),
    ] {
        let profile = profile(id);
        let (_, point) = profile.point(key).unwrap();
        assert_eq!((point.address, point.order), (address, order), "{id} {key}");
    }
    let flow = profile("tuf-2000m");
    // 1.5 is 0x3FC00000; the meter sends the low word first.
    assert_eq!(decode(&flow.points[0], &[0x0000, 0x3FC0], Context::default()), (Some(1.5), Quality::Good));
}

#[test]
fn channels_that_may_not_be_fitted_are_optional() {
    let station = profile("comwintop-weather");
    for (key, optional) in
        [("pm25", true), ("illuminance", true), ("wind_speed", false), ("air_temperature", false)]
    {
        assert_eq!(station.point(key).unwrap().1.optional, optional, "{key}");
    }
}

#[test]
fn encoding_is_the_inverse_of_decoding_and_clamps() {
    for (kind, more, value, registers) in [
        ("s16", "scale = 0.1", -20.5, vec![0xFF33]),
        ("s16", "scale = 0.1", -20.54, vec![0xFF33]),
        ("s16", "scale = 0.1\noffset = -40", -60.5, vec![0xFF33]),
        ("u16", "", -1.0, vec![0]),
        ("u16", "", 1e9, vec![0xFFFF]),
        ("u16", "missing = [0xFFFF]", f64::NAN, vec![0xFFFF]),
        ("u16", "scale = -1\noffset = 100", 30.0, vec![70]),
        ("f32", "order = \"DCBA\"", 12.5, vec![0x0000, 0x4841]),
        ("f32", "order = \"ABCD\"", f64::INFINITY, vec![0x7FC0, 0]),
        ("u32", "order = \"CDAB\"", 65538.0, vec![2, 1]),
        ("bits", "mask = 0xFF00", 4.0, vec![0x0400]),
        ("bits", "mask = 0x0001", 7.0, vec![1]),
    ] {
        assert_eq!(encode(&point(kind, more), value, Context::default()), registers, "{kind} {more} {value}");
    }
}

#[test]
fn every_16_bit_value_survives_the_way_there_and_back() {
    for more in
        ["scale = 0.1", "scale = 0.01\noffset = -273.15", "scale = \"0.2\"", "scale = 2.5e-3", "scale = -3"]
    {
        for kind in ["u16", "s16"] {
            let point = point(kind, more);
            for raw in 0..=u16::MAX {
                let (value, _) = decode(&point, &[raw], Context::default());
                assert_eq!(encode(&point, value.unwrap(), Context::default()), [raw], "{kind} {more} {raw}");
            }
        }
    }
}

#[test]
fn floats_survive_the_way_there_and_back() {
    let mut bits = 1_u32;
    for scale in ["1", "100", "0.001"] {
        let point = point("f32", &format!("order = \"CDAB\"\nscale = {scale}"));
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let registers = [bits as u16, (bits >> 16) as u16];
            if let (Some(value), _) = decode(&point, &registers, Context::default()) {
                let again = encode(&point, value, Context::default());
                assert_eq!(again, registers, "{scale} {bits:#x}");
            }
        }
    }
}

#[test]
fn status_bits_of_the_device_become_quality() {
    let point = point("u16", "status_register = { address = 9, bad = 0x0001, uncertain = 0x00F0 }");
    for (status, expected) in [
        (Some(0x0000), (Some(7.0), Quality::Good)),
        (Some(0xFF00), (Some(7.0), Quality::Good)),
        (Some(0x0010), (Some(7.0), Quality::Uncertain(Cause::DeviceStatus))),
        (Some(0x0011), (None, Quality::Bad(Cause::DeviceStatus))),
        (None, (None, Quality::Bad(Cause::Preparation))),
    ] {
        let context = Context { status, ..Context::default() };
        assert_eq!(decode(&point, &[7], context), expected, "{status:?}");
    }
}
