use std::path::Path;

use sitian_poll::plan::blocks;

use crate::plan::Plan;
use crate::settings::{DEFAULTS, Settings};

const HEAD: &str = "[gateway]\nid = \"g\"\n[[bus]]\nname = \"b\"\nkind = \"tcp\"\nhost = \"h\"\n[[device]]\nid = \"d\"\nbus = \"b\"\n\
                    profile = \"jxct-soil-npk\"\n";

fn plan(device: &str) -> Result<Plan, Vec<String>> {
    let (none, text): ([(String, String); 0], _) = ([], format!("{HEAD}{device}"));
    let loaded = sitian_settings::load::<Settings>(DEFAULTS, Some(("g.toml", &text)), none, "S_", &[]);
    let told = |faults: Vec<sitian_model::ConfigFault>| faults.iter().map(ToString::to_string).collect();
    Plan::make(&loaded.map_err(told)?, Path::new("")).map_err(told)
}

/// The blocks that are asked for: address and count.
fn asked(device: &str) -> Vec<(u16, u16)> {
    let plan = plan(device).unwrap_or_else(|faults| panic!("{faults:?}"));
    let device = &plan.buses[0].plan.devices[0];
    let points = device.points.iter().map(|point| &device.profile.points[point.profile_point]);
    blocks(&device.profile, points).iter().map(|block| (block.address, block.count)).collect()
}

#[test]
fn a_device_is_asked_for_less_than_its_profile_would() {
    // pH at 6; moisture, temperature and conductivity at 0x12, 0x13 and 0x15.
    assert_eq!(asked(""), [(6, 1), (0x12, 4)]);
    assert_eq!(asked("registers_max = 2"), [(6, 1), (0x12, 2), (0x15, 1)]);
    assert_eq!(asked("gap_max = 0"), [(6, 1), (0x12, 2), (0x15, 1)]);
    assert_eq!(asked("gap_max = 20"), [(6, 16)]);
    let hole = "[[device.unreadable]]\nfunction = \"holding\"\nfirst = 0x14\nlast = 0x14\n";
    assert_eq!(asked(hole), [(6, 1), (0x12, 2), (0x15, 1)]);
    let other = hole.replace("holding", "input");
    assert_eq!(asked(&other), [(6, 1), (0x12, 4)], "another table");
    let without = format!(
        "{hole}[[device.unreadable]]\nfunction = \"holding\"\nfirst = 6\nlast = 6\n\
                           [[device.adjust]]\npoint = \"soil_ph\"\ndisabled = true\n"
    );
    assert_eq!(asked(&without), [(0x12, 2), (0x15, 1)]);
}

#[test]
fn a_reach_that_makes_no_sense_is_told_at_its_place() {
    let range = |function: &str, first: u16, last: u16| {
        format!("[[device.unreadable]]\nfunction = \"{function}\"\nfirst = {first}\nlast = {last}\n")
    };
    for (device, place, words) in [
        ("registers_max = 0".to_owned(), "g.toml:11:17", "registers_max: 0 is out of range"),
        ("gap_max = 121".to_owned(), "g.toml:11:11", "gap_max: 121 is out of range"),
        (range("holdings", 1, 2), "g.toml:12:12", "function \"holdings\" is not known"),
        (range("holding", 2, 1), "g.toml:13:9", "first 0x0002 is above last 0x0001"),
        (range("holding", 6, 9), "g.toml:13:9", "soil_ph needs registers of this range"),
    ] {
        let faults = plan(&device).err().unwrap_or_default();
        assert!(
            faults.iter().any(|fault| fault.starts_with(place) && fault.contains(words)),
            "{device}: {faults:?}"
        );
    }
}
