use sitian_profile::encode;

use super::*;
use crate::library::Library;

/// A device that really has this kind and order, read with a profile that says otherwise: what is advised?
fn check(profile: &str, key: &str, kind: Kind, order: Order, values: &[f64], words: &str) {
    let library = Library::builtin().unwrap();
    let point = library.get(profile).unwrap().point(key).unwrap().1.clone();
    let real = ProfilePoint { kind, order, ..point.clone() };
    let samples: Vec<(Vec<u16>, Context)> = values
        .iter()
        .map(|value| {
            (encode(&real, *value, Context::default()), Context { status: Some(0), ..Context::default() })
        })
        .collect();
    let readings = rank(&point, &samples);
    let said = verdict(&point, &readings, &samples);
    assert!(said.contains(words), "{profile} {key} {kind:?} {order:?}: {said}\n{readings:#?}");
}

#[test]
fn the_order_that_gives_steady_plausible_values_is_found() {
    let oxygen = [7.86, 7.87, 7.85, 7.86, 7.88];
    check("yosemitech-y504", "water_do", Kind::F32, Order::Dcba, &oxygen, "the profile fits");
    check("yosemitech-y504", "water_do", Kind::F32, Order::Abcd, &oxygen, "order = \"ABCD\"");
    check("yosemitech-y504", "water_do", Kind::F32, Order::Cdab, &oxygen, "order = \"CDAB\"");
    check("yosemitech-y504", "water_do", Kind::F32, Order::Badc, &oxygen, "order = \"BADC\"");
    let flow = [12.5, 12.61, 12.48, 12.55, 12.52];
    check("tuf-2000m", "water_flow", Kind::F32, Order::Abcd, &flow, "order = \"ABCD\"");
}

#[test]
fn a_sign_that_is_missing_and_a_wrong_power_of_ten_are_found() {
    let frost = [-20.5, -20.4, -20.5];
    check("xy-md02", "air_temperature", Kind::S16, Order::Abcd, &frost, "the profile fits");
    let library = Library::builtin().unwrap();
    let unsigned = ProfilePoint {
        kind: Kind::U16,
        ..library.get("xy-md02").unwrap().point("air_temperature").unwrap().1.clone()
    };
    let samples = vec![(vec![0xFF33], Context::default()); 3];
    assert!(verdict(&unsigned, &rank(&unsigned, &samples), &samples).contains("kind = \"s16\""));
    let ph = library.get("renke-soil-7in1").unwrap().point("soil_ph").unwrap().1.clone();
    let samples = vec![(vec![655], Context::default()); 3];
    assert!(verdict(&ph, &rank(&ph, &samples), &samples).contains("scale = 0.01"), "pH in hundredths");
}

#[test]
fn registers_that_fit_nothing_are_said_to_fit_nothing() {
    let library = Library::builtin().unwrap();
    let point = library.get("yosemitech-y504").unwrap().point("water_do").unwrap().1.clone();
    let samples = vec![(vec![0xFFFF, 0xFFFF], Context::default()); 3];
    assert!(verdict(&point, &rank(&point, &samples), &samples).contains("nothing fits"));
}
