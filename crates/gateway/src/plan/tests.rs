//! Configurations and what is said about them.

use super::*;
use crate::settings::DEFAULTS;

const LINE: &str = r#"
[gateway]
id = "gw-1"
[[bus]]
name = "line"
kind = "rtu"
path = "/dev/ttyS9"
baud = 9600
[[device]]
id = "soil-1"
bus = "line"
profile = "renke-soil-7in1"
unit = 1
interval_s = 1
[[device]]
id = "soil-2"
bus = "line"
profile = "renke-soil-7in1"
unit = 2
interval_s = 1
"#;

fn faults(text: &str) -> Vec<String> {
    let loaded =
        sitian_settings::load(DEFAULTS, Some(("gateway.toml", text)), [], "X_", &[]).expect("readable");
    match Plan::make(&loaded, Path::new("")) {
        Ok(_) => Vec::new(),
        Err(faults) => {
            faults.iter().map(|fault| format!("{}:{} {fault}", fault.line, fault.column)).collect()
        }
    }
}

/// Exactly one fault, at this place, with these words in it; or none.
fn check(text: &str, place: &str, words: &[&str]) {
    let found = faults(text);
    if place.is_empty() {
        assert_eq!(found, [""; 0]);
        return;
    }
    assert_eq!(found.len(), 1, "{found:#?}");
    for word in std::iter::once(&place).chain(words) {
        assert!(found[0].contains(word), "{word:?} is not in {found:#?}");
    }
}

#[test]
fn a_bus_without_time_for_its_points_is_refused_with_the_arithmetic() {
    check(LINE, "", &[]);
    // Four registers: 8 + 13 bytes of 10 bits at 9600 baud are 21.9 ms; 20 ms until the answer, 20 ms pause: 61.9 ms.
    let hasty = LINE.replace("interval_s = 1", "interval_s = 0.1");
    let words =
        ["124 %", "soil-1 62 % (1 request of 21 bytes: 21.9 ms on the wire + 40.0 ms waiting)", "1.4 times"];
    check(&hasty, "5:8", &words);
    check(&hasty.replace("baud = 9600", "baud = 9600\npause_ms = 0\nthinking_ms = 0"), "", &[]);
    check(&hasty.replace("baud = 9600", "baud = 1200"), "5:8", &["%", "soil-1"]);
}

#[test]
fn former_ids_are_ids_and_others_than_the_present_one() {
    for (ids, place, words) in [
        ("[]", "", vec![]),
        ("[\"gw-0\", \"gw-2\"]", "", vec![]),
        ("[\"gw-1\"]", "4:14", vec!["gw-1 is the present id"]),
        ("[\"Gw 0\"]", "4:14", vec!["\"Gw 0\""]),
    ] {
        check(&LINE.replace("id = \"gw-1\"", &format!("id = \"gw-1\"\nformer_ids = {ids}")), place, &words);
    }
}

#[test]
fn texts_that_the_centre_would_not_take_are_refused_where_they_stand() {
    let (long, words) = ("字".repeat(86), ["258 bytes are too long", "at most 256 bytes"]);
    let named = |key: &str, text: &str| {
        LINE.replace("id = \"soil-1\"", &format!("id = \"soil-1\"\n{key} = \"{text}\""))
    };
    for (key, place) in [("name", "11:8"), ("place", "11:9")] {
        check(&named(key, &long[3..]), "", &[]);
        check(&named(key, &long), place, &words);
    }
    check(&LINE.replace("\"line\"", &format!("{long:?}")), "5:8", &words);
}

#[test]
fn dtus_that_dial_in_need_an_identity_that_can_be_told_from_the_others() {
    let dial = |more: &str| {
        LINE.replace("kind = \"rtu\"\npath = \"/dev/ttyS9\"", &format!("kind = \"dial_in\"\n{more}"))
    };
    let good = "listen = \"0.0.0.0:8899\"\nidentity = \"8612\"\n";
    let second = "[[bus]]\nname = \"b\"\nkind = \"dial_in\"\nlisten = \"0.0.0.0:8899\"\nidentity = \"612\"\n\
                  [[device]]\nid = \"s3\"\nbus = \"b\"\nprofile = \"xy-md02\"\n";
    for (text, place, words) in [
        (dial(good), "", vec![]),
        (
            dial(&format!("{good}registration = \"REG:{{id}}\\r\\n\"\nheartbeat = \"hex:FE FE\"\n")),
            "",
            vec![],
        ),
        (dial("listen = \"0.0.0.0:8899\"\n"), "4:1", vec!["identity"]),
        (dial("listen = \"8899\"\nidentity = \"8612\"\n"), "7:10", vec!["no address with a port"]),
        (dial(&format!("{good}registration = \"REG\"\n")), "9:16", vec!["where the identity stands"]),
        (dial(&format!("{good}heartbeat = \"hex:F\"\n")), "9:13", vec!["no whole bytes"]),
        (dial(&format!("{good}heartbeat = \"hex:02 03\"\n")), "9:13", vec!["0x02", "unit 2"]),
        (dial(&format!("{good}host = \"a\"\n")), "9:8", vec!["host means nothing on this kind of bus"]),
        (dial(good) + second, "27:12", vec!["cannot be told"]),
    ] {
        check(&text, place, &words);
    }
    let converter =
        LINE.replace("kind = \"rtu\"\npath = \"/dev/ttyS9\"", "kind = \"rtu_tcp\"\nhost = \"10.0.0.2\"");
    check(&converter, "", &[]);
}

#[test]
fn limits_that_cannot_work_are_refused_with_their_range() {
    let with = |section: &str| format!("{section}\n{LINE}");
    check(&with("[uplink]\nbatch_bytes_max = 4096\nwindow_bytes_max = 65536"), "", &[]);
    for (section, word) in [
        ("[spool]\nbytes_max = 1048576", "8388608"),
        ("[uplink]\nbatch_bytes_max = 65536", "4096 to 49152"),
        ("[uplink]\nwindow_bytes_max = 4096", "65536 to 16777216"),
    ] {
        check(&with(section), "2:", &[word]);
    }
}
