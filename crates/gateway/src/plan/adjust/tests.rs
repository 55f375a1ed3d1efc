use std::path::Path;

use sitian_profile::{Context, decode};

use crate::plan::Plan;
use crate::settings::{DEFAULTS, Settings};

const HEAD: &str = "[gateway]\nid = \"g\"\n[[bus]]\nname = \"b\"\nkind = \"tcp\"\nhost = \"h\"\n[[device]]\nid = \"d\"\nbus = \"b\"\n";

fn plan(device: &str) -> Result<Plan, Vec<String>> {
    planned(&format!("{HEAD}{device}"))
}

fn planned(text: &str) -> Result<Plan, Vec<String>> {
    let none: [(String, String); 0] = [];
    let loaded =
        sitian_settings::load::<Settings>(DEFAULTS, Some(("g.toml", text)), none, "SITIAN_GATEWAY_", &[])
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Plan::make(&loaded, Path::new("")).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// One fault, at this place, with these words.
fn check(adjust: &str, place: &str, words: &str) {
    let device = format!("profile = \"renke-soil-7in1\"\n[[device.adjust]]\n{adjust}\n");
    let faults = plan(&device).err().unwrap_or_default();
    assert_eq!(faults.len(), 1, "{adjust}: {faults:?}");
    assert!(faults[0].starts_with(place) && faults[0].contains(words), "{adjust}: {}", faults[0]);
}

#[test]
fn an_adjustment_that_makes_no_sense_is_told_at_its_place() {
    check("point = \"soil_gold\"", "g.toml:12:9", "no point \"soil_gold\"");
    check("point = \"soil_ph\"\nscale = 0", "g.toml:13:9", "every value 0");
    check("point = \"soil_ph\"\nmin = 9.5\nmax = 4.0", "g.toml:13:7", "min 9.5 is above max 4");
    check("point = \"soil_ph\"\nmeasurement = \"gold\"", "g.toml:13:15", "\"gold\" is not known");
    check("point = \"soil_ph\"\norder = \"CDAB\"", "g.toml:13:9", "does not fit soil_ph");
    check("point = \"soil_ph\"\nkind = \"f32\"", "g.toml:13:8", "does not fit 1 registers");
    check("point = \"soil_ph\"\ninterval_s = 0.01", "g.toml:13:14", "interval_s: 0.01 is out of range");
    check("point = \"soil_ph\"\nhourly_max = 5", "g.toml:13:14", "no hourly_max");
    check("point = \"soil_ph\"\non_max_s = 5", "g.toml:11:1", "cannot be written");
    let calibration = |values: &str| format!("point = \"soil_ph\"\ncalibration = {{ {values} }}");
    check(&calibration("date = \"in May\", by = \"Wang\""), "g.toml:13:24", "no day");
    check(&calibration("date = \"2026-05-31\", by = \"\""), "g.toml:13:43", "nobody answers");
    check(&calibration("slope = 0, date = \"2026-05-31\", by = \"Wang\""), "g.toml:13:25", "no calibration");
}

#[test]
fn scale_and_calibration_are_folded_into_one_exact_step() {
    let plan = plan(
        "profile = \"renke-soil-7in1\"\n[[device.adjust]]\npoint = \"soil_ph\"\nscale = 0.01\ninterval_s = 60\nmin = 4.0\n\
         calibration = { slope = 1.02, offset = -0.1, date = \"2026-05-31\", by = \"Wang\" }\n\
         [[device.adjust]]\npoint = \"soil_ec\"\ndisabled = true\n",
    )
    .unwrap();
    let device = &plan.buses[0].plan.devices[0];
    let (at, ph) = device.profile.point("soil_ph").unwrap();
    let (value, _) = decode(ph, &[308], Context::default());
    assert_eq!(value, Some(3.0416), "1.02 × 3.08 − 0.1");
    let planned = device.points.iter().find(|point| point.profile_point == at).unwrap();
    assert_eq!(planned.interval_ms, 60_000);
    let keys: Vec<&str> = plan.manifest.points.iter().map(|point| point.key.as_str()).collect();
    assert_eq!(keys, ["soil_moisture", "soil_temperature", "soil_ph"], "soil_ec is disabled");
}

#[test]
fn a_sensor_without_modbus_is_adjusted_and_calibrated_like_any_other() {
    const METER: &str = "[gateway]\nid = \"g\"\n[[bus]]\nname = \"b\"\nkind = \"dlt645\"\npath = \"p\"\n[[device]]\nid = \"d\"\n\
                         bus = \"b\"\nprofile = \"dlt645-2007\"\naddress = \"000010604867\"\npoints = [\"energy\", \"power\"]\n\
                         [[device.adjust]]\n";
    let good = "point = \"energy\"\nscale = 0.1\nmax = 5000\n\
                calibration = { slope = 1.02, offset = -0.1, date = \"2026-05-31\", by = \"Wang\" }\n\
                [[device.adjust]]\npoint = \"power\"\ndisabled = true\n";
    let plan = planned(&format!("{METER}{good}")).unwrap();
    let device = &plan.talking[0].plan.devices[0];
    let (_, energy) = device.profile.point("energy").unwrap();
    assert_eq!((energy.scale.to_f64(), energy.offset.to_f64(), energy.max), (0.102, -0.1, 5_000.0));
    assert_eq!(plan.manifest.points.len(), 1, "power is disabled");
    for (adjust, place, words) in [
        ("point = \"gold\"", "g.toml:14:9", "no point \"gold\""),
        (
            "point = \"energy\"\norder = \"CDAB\"",
            "g.toml:15:9",
            "order means nothing to a device that speaks dlt645",
        ),
        ("point = \"energy\"\ninterval_s = 5", "g.toml:15:14", "interval_s means nothing"),
        ("point = \"energy\"\nscale = 0", "g.toml:15:9", "every value 0"),
    ] {
        let faults = planned(&format!("{METER}{adjust}\n")).err().unwrap_or_default();
        assert_eq!(faults.len(), 1, "{adjust}: {faults:?}");
        assert!(faults[0].starts_with(place) && faults[0].contains(words), "{adjust}: {}", faults[0]);
    }
}

#[test]
fn what_is_safe_at_an_output_is_said_where_it_is_wired() {
    let plan = plan(
        "profile = \"waveshare-relay-8\"\n[[device.adjust]]\npoint = \"relay_2\"\nsafe = 1\non_max_s = 60\n",
    )
    .unwrap();
    let profile = &plan.buses[0].plan.devices[0].profile;
    let write = profile.point("relay_2").unwrap().1.write.clone().unwrap();
    assert_eq!((write.safe, write.on_max_s), (1.0, 60));
    assert_eq!(profile.point("relay_1").unwrap().1.write.as_ref().unwrap().safe, 0.0);
}
