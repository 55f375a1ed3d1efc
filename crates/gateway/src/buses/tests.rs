use std::path::Path;

use super::*;
use crate::plan::Plan;
use crate::settings::{DEFAULTS, Settings};

const GOOD: &str = r#"
[gateway]
id = "g"
[[bus]]
name = "a"
kind = "tcp"
host = "h"
[[bus]]
name = "b"
kind = "tcp"
host = "i"
[[bus]]
name = "c"
kind = "line"
host = "j"
port = 8899
[[device]]
id = "air-1"
bus = "a"
profile = "xy-md02"
unit = 1
[[device]]
id = "rain-1"
bus = "b"
profile = "slix-rain"
[[device]]
id = "tank-1"
bus = "c"
profile = "maxbotix-hrxl"
"#;

fn plan(text: &str) -> Plan {
    let none: [(String, String); 0] = [];
    let loaded =
        sitian_settings::load::<Settings>(DEFAULTS, Some(("g.toml", text)), none, "S_", &[]).unwrap();
    Plan::make(&loaded, Path::new("")).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// What ends and what starts when the first occurrence of `old` in the good file becomes `new`.
fn check(old: &str, new: &str, ends: &str, starts: &str) {
    assert!(GOOD.contains(old), "{old}");
    let (before, after) = (plan(GOOD), plan(&GOOD.replacen(old, new, 1)));
    let (before, after) = (shapes(&before.buses, &before.talking), shapes(&after.buses, &after.talking));
    let names = |these: &[Shape], others: &[Shape]| {
        let missing = missing(these.iter(), others);
        missing.into_iter().map(|at| these[at].name().to_owned()).collect::<String>()
    };
    assert_eq!((names(&before, &after).as_str(), names(&after, &before).as_str()), (ends, starts), "{new}");
}

#[test]
fn only_buses_that_are_polled_otherwise_end_and_start() {
    check("", "", "", "");
    check("[gateway]", "# a comment\n[gateway]", "", "");
    check("id = \"g\"", "id = \"h\"", "", "");
    check("id = \"air-1\"", "id = \"air-1\"\nname = \"other\"\nplace = \"elsewhere\"", "", "");
    check("unit = 1", "unit = 1\ninterval_s = 3", "a", "a");
    check("id = \"air-1\"", "id = \"air-2\"", "a", "a");
    check("host = \"i\"", "host = \"k\"", "b", "b");
    check("name = \"c\"", "name = \"c\"\npause_ms = 40", "c", "c");
    // A point less on the first bus: the points of the others have other numbers, and are polled as ever.
    check("unit = 1", "unit = 1\npoints = [\"air_temperature\"]", "a", "a");
    // A device more in front of all others.
    let more = "[[device]]\nid = \"air-0\"\nbus = \"a\"\nprofile = \"xy-md02\"\nunit = 9\n[[device]]\nid = \"air-1\"";
    check("[[device]]\nid = \"air-1\"", more, "a", "a");
    let bus = "[[bus]]\nname = \"d\"\nkind = \"tcp\"\nhost = \"l\"\n[[device]]\nid = \"air-4\"\nbus = \"d\"\nprofile = \"xy-md02\"\n";
    check("[[bus]]", &format!("{bus}[[bus]]"), "", "d");
}

#[tokio::test]
async fn samples_of_a_bus_that_stays_are_numbered_as_the_present_manifest_says() {
    let before = plan(GOOD);
    let after = plan(&GOOD.replacen("unit = 1", "unit = 1\npoints = [\"air_temperature\"]", 1));
    let rain = |plan: &Plan| plan.buses[1].plan.devices[0].points[0].point;
    let (old, new) = (rain(&before), rain(&after));
    assert_ne!(old, new);
    let (mut buses, _listen) = Buses::start(before.buses, before.talking, &Board::default());
    let translated = |buses: &Buses, number| {
        let mut samples = vec![Sample { point: old, value: Some(1.0), quality: sitian_model::Quality::Good }];
        buses.translate(number, &mut samples);
        samples.first().map(|sample| sample.point)
    };
    assert_eq!(translated(&buses, 1), Some(old));
    let ended = buses.end_others(&after.buses, &after.talking);
    assert_eq!((ended.len(), buses.are_settled()), (1, false));
    assert_eq!(translated(&buses, 1), Some(old), "the manifest is still the old one");
    buses.handle_ended(0);
    assert!(buses.are_settled());
    buses.go_on(after.buses, after.talking, &after.manifest);
    assert_eq!(translated(&buses, 1), Some(new));
    assert_eq!(translated(&buses, 0), None, "a bus that is gone says nothing any more");
}
