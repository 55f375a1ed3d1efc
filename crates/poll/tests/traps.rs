//! The traps that were met while the register maps were collected: each one as a test, by its number in the list.

#![allow(clippy::unwrap_used)]

use sitian_model::{Cause, Quality};
use sitian_poll::rtu::{RtuFault, encode_request, parse_response};
use sitian_poll::{Answer, Request};
use sitian_profile::{
    Catalogue, Context, Function, Order, Parity, Profile, ProfilePoint, builtin, catalogue_text, decode,
};

fn profile(id: &str) -> Profile {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let (file, text) = builtin().iter().find(|(file, _)| *file == format!("{id}.toml")).unwrap();
    Profile::parse(file, text, &catalogue).unwrap()
}

fn point(id: &str, key: &str) -> ProfilePoint {
    profile(id).point(key).unwrap().1.clone()
}

/// The point reads this value as good.
fn check(id: &str, key: &str, registers: &[u16], value: f64) {
    let found = decode(&point(id, key), registers, Context::default());
    assert_eq!(found, (Some(value), Quality::Good), "{id} {key}");
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn request(unit: u8, function: Function, address: u16, count: u16) -> Request {
    Request { unit, function, address, count, timeout_ms: 500 }
}

#[test]
fn trap_1_one_shell_is_sold_with_ph_in_tenths_and_in_hundredths() {
    check("renke-soil-7in1-ph2", "soil_ph", &[0x0134], 3.08);
    check("renke-soil-7in1", "soil_ph", &[0x0037], 5.5);
    let wrong = decode(&point("renke-soil-7in1", "soil_ph"), &[0x0134], Context::default());
    assert_eq!(wrong, (Some(30.8), Quality::Uncertain(Cause::Implausible)), "the wrong profile is noticed");
}

#[test]
fn trap_2_temperatures_below_zero_are_signed_in_every_profile() {
    for (file, text) in builtin() {
        let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
        let profile = Profile::parse(file, text, &catalogue).unwrap();
        for point in profile.points.iter().filter(|point| point.unit == "°C") {
            assert!(point.kind.is_signed() || point.kind.is_float(), "{file} {}", point.key);
        }
    }
    check("xy-md02", "air_temperature", &[0xFF33], -20.5);
}

#[test]
fn trap_3_a_published_reply_with_a_wrong_checksum_is_refused() {
    let request = request(0xFE, Function::Input, 3, 1);
    assert_eq!(parse_response(&request, &bytes("FE 04 02 03 88 D5 C5")), Err(RtuFault::Checksum));
    let right = parse_response(&request, &bytes("FE 04 02 03 88 AD B2"));
    assert_eq!(right, Ok(Answer::Registers(vec![0x0388])));
}

#[test]
fn trap_4_manuals_that_count_from_one_are_translated() {
    assert_eq!(point("tuf-2000m", "water_flow").address, 0, "R1 of the manual");
    assert_eq!(point("tuf-2000m", "signal_quality").address, 91, "R92 of the manual");
    assert_eq!(point("comwintop-weather", "wind_speed").address, 0x01F4, "501 of the document");
}

#[test]
fn trap_5_byte_orders_are_those_that_the_data_show() {
    assert_eq!(point("tuf-2000m", "water_flow").order, Order::Cdab, "the manual says BADC");
    check("tuf-2000m", "water_flow", &[0x0000, 0x3FC0], 1.5);
    assert_eq!(point("yosemitech-y504", "water_do").order, Order::Dcba);
    check("yosemitech-y504", "water_do", &[0x1F85, 0xFB40], 7.86);
}

#[test]
fn trap_6_replies_carry_the_unit_id_that_was_asked_also_if_any_sensor_answers_to_it() {
    assert_eq!(profile("senseair-s8").default_unit, 0xFE);
    let any = request(0xFE, Function::Input, 3, 1);
    assert_eq!(parse_response(&any, &bytes("FE 04 02 01 90 AC D8")), Ok(Answer::Registers(vec![400])));
    assert_eq!(profile("lc-relay-8").default_unit, 255);
    let identity = request(0xFF, Function::Holding, 0x07D0, 1);
    assert_eq!(encode_request(&identity).as_slice(), bytes("FF 03 07 D0 00 01 91 59"));
    // A Renke answers that question with its real id; polling must not take it for an answer of unit 255.
    let (unit, frame) = (1, "01 03 02 00 01 79 84");
    let foreign = RtuFault::Foreign { unit, bytes: 7, reply: true };
    assert_eq!(parse_response(&identity, &bytes(frame)), Err(foreign));
}

#[test]
fn trap_7_parity_is_a_setting_of_the_bus_that_overrides_the_profile() {
    let delivered = profile("xy-md02").serial;
    assert_eq!((delivered.baud, delivered.parity), (9600, Parity::None), "some are delivered with even");
}

#[test]
fn trap_8_channels_that_may_not_be_fitted_and_answer_0_are_optional() {
    for key in ["pm25", "pm10", "illuminance", "noise"] {
        assert!(point("comwintop-weather", key).optional, "{key}");
    }
}

#[test]
fn trap_9_units_and_decimals_are_read_from_the_device() {
    let level = point("qdy30a", "water_level");
    for (unit, decimals, raw, metres) in [(17, 1, 1234, 1.234), (16, 2, 436, 4.36), (18, 0, 1234, 1.234)] {
        let context = Context { unit: Some(unit), decimals: Some(decimals), status: None };
        assert_eq!(decode(&level, &[raw], context), (Some(metres), Quality::Good), "{unit} {decimals}");
    }
}

#[test]
fn trap_10_baud_codes_are_those_of_the_maker() {
    let code = |id: &str, baud: u32| {
        profile(id).setup.baud_codes.iter().find(|(rate, _)| *rate == baud).map(|(_, code)| *code)
    };
    assert_eq!(code("renke-soil-7in1", 9600), Some(2));
    assert_eq!(code("sensecap-mtec02", 9600), Some(3));
    assert_eq!(code("renke-fxjt-n01", 115_200), Some(6));
    assert_eq!(code("xy-md02", 9600), None, "unknown is said to be unknown");
}

#[test]
fn trap_11_the_order_of_registers_is_the_device_s() {
    for (id, moisture, temperature) in
        [("renke-soil-ecth", 0, 1), ("rika-soil-tm", 1, 0), ("sensecap-mtec02", 1, 0)]
    {
        assert_eq!(point(id, "soil_moisture").address, moisture, "{id}");
        assert_eq!(point(id, "soil_temperature").address, temperature, "{id}");
    }
}

#[test]
fn trap_12_sensors_that_must_be_started_are_started_and_stopped() {
    let y504 = profile("yosemitech-y504");
    let start = &y504.pre_read[0];
    assert_eq!((start.function, start.address, start.count), (Function::Holding, 0x2500, 0));
    assert_eq!((y504.post_read[0].address, y504.post_read[0].count), (0x2E00, 0));
}

#[test]
fn trap_13_two_products_with_one_default_id_say_so() {
    assert_eq!(profile("dfrobot-sen0482").default_unit, profile("dfrobot-sen0483").default_unit);
    assert!(profile("renke-soil-7in1").setup.note.contains("power cycle"));
}

#[test]
fn trap_14_a_profile_with_another_speed_says_how_to_change_it() {
    let renke = profile("renke-soil-7in1");
    assert_eq!((renke.serial.baud, renke.setup.baud_register), (4800, Some(0x07D1)));
    assert_eq!(profile("xy-md02").serial.baud, 9600);
}

#[test]
fn trap_15_npk_values_are_named_indicative_and_are_optional() {
    for id in ["renke-soil-7in1", "jxct-soil-npk", "dfrobot-sen0601"] {
        for key in ["soil_n_indicative", "soil_p_indicative", "soil_k_indicative"] {
            assert!(point(id, key).optional, "{id} {key}");
        }
    }
}
