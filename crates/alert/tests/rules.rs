//! Rule files: what is accepted, what is refused and where, and what the built-in rules say.

#![allow(clippy::unwrap_used)]

use sitian_alert::{Rules, Severity, Vocabulary, rule};

const GOOD: &str = r#"[[rule]]
id = "ec"
name = { zh = "电导率", en = "EC" }
kind = "above"
measurement = "water_ec"
for = "10m"
levels = [
  { severity = "yellow", threshold = 700, clear = 650 },
  { severity = "red", threshold = 3000, clear = 2800 },
]
source = "FAO-29"
verified = "V"
"#;

const SILENT: &str = r#"[[rule]]
id = "dark"
name = { zh = "离线", en = "Dark" }
kind = "gateway_offline"
levels = [{ severity = "yellow", after = "30s" }]
source = "Sitian"
verified = "U"
"#;

fn vocabulary() -> Vocabulary<'static> {
    Vocabulary { measurement: &|id| id == "water_ec", node: &|id| id == "ganzhou" }
}

/// `text` has exactly these faults, given as `line:column: part of what`.
fn check(text: &str, expected: &[&str]) {
    let faults = match Rules::parse(&[("test.toml", text)], &vocabulary()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    };
    assert_eq!(faults.len(), expected.len(), "{faults:#?}\n{text}");
    for (fault, expected) in faults.iter().zip(expected) {
        let (place, what) = expected.split_once(": ").unwrap();
        assert_eq!(format!("{}:{}", fault.line, fault.column), place, "{fault}");
        assert!(fault.what.contains(what), "{fault}");
        assert!(!fault.help.is_empty(), "{fault}");
    }
}

#[test]
fn a_fault_says_where_and_what() {
    check(GOOD, &[]);
    check(SILENT, &[]);
    for (from, to, expected) in [
        ("for = ", "fro = ", "6:1: unknown field `fro`"),
        ("clear = 650", "clear = 650, color = 1", "8:56: unknown field `color`"),
        ("\"yellow\"", "\"purple\"", "8:16: severity \"purple\" is not known"),
        ("\"red\"", "\"yellow\"", "9:16: severity yellow is named twice"),
        ("clear = 650", "clear = 710", "8:51: clear = 710 is on the wrong side of threshold = 700"),
        ("clear = 650", "clear = 700", "8:51: wrong side"),
        ("threshold = 700, ", "", "8:16: the level has no threshold"),
        (", clear = 650", "", "8:16: the level has no clear"),
        ("700", "inf", "8:38: threshold = inf is not a number"),
        ("700", "\"700\"", "8:38: invalid type: string"),
        ("\"10m\"", "\"10 min\"", "6:7: \"10 min\" is not a duration"),
        ("\"10m\"", "\"99d\"", "6:7: \"99d\" is not a duration"),
        ("\"10m\"", "10", "6:7: invalid type: integer"),
        ("source = \"FAO-29\"\n", "", "2:6: has no source"),
        ("\"FAO-29\"", "\" \"", "11:10: has no source"),
        ("verified = \"V\"\n", "", "2:6: does not say how its limits were verified"),
        ("\"V\"", "\"yes\"", "12:12: verified mark \"yes\" is not known"),
        ("\"above\"", "\"over\"", "4:8: kind \"over\" is not known"),
        ("\"water_ec\"", "\"water_ce\"", "5:15: measurement \"water_ce\" is not in the catalogue"),
        ("measurement = \"water_ec\"\n", "", "2:6: does not say which measurement"),
        ("\"ec\"", "\"EC\"", "2:6: rule id \"EC\" is not usable"),
        ("\"EC\"", "\"\"", "3:8: lacks a name"),
        (", en = \"EC\"", "", "3:8: missing field `en`"),
        ("for = ", "territory = [\"ganzhou\", \"mars\"]\nfor = ", "6:25: territory has no node \"mars\""),
        ("2800", "640", "9:16: level red does not lie beyond level yellow"),
        ("kind =", "kind", "4:6: "),
    ] {
        assert!(GOOD.contains(from), "{from}");
        check(&GOOD.replacen(from, to, 1), &[expected]);
    }
    for (from, to, expected) in [
        ("\"30s\"", "\"soon\"", "5:42: \"soon\" is not a duration"),
        (", after = \"30s\"", "", "5:24: after how long"),
        ("after = \"30s\"", "after = \"30s\", intervals = 3", "5:61: key intervals does not belong here"),
        ("after = \"30s\"", "after = \"30s\", clear = 3", "5:57: key clear does not belong here"),
        ("levels", "measurement = \"water_ec\"\nlevels", "5:15: a gateway has no measurement"),
        ("levels", "place = [\"棚\"]\nlevels", "5:9: a gateway has no place"),
        ("levels", "for = \"1m\"\nlevels", "5:7: key for does not belong here"),
        ("[{ severity = \"yellow\", after = \"30s\" }]", "[]", "5:10: has no level"),
    ] {
        assert!(SILENT.contains(from), "{from}");
        check(&SILENT.replacen(from, to, 1), &[expected]);
    }
}

#[test]
fn all_faults_are_told_at_once_and_ids_are_unique_over_all_files() {
    let text = GOOD.replace("yellow", "purple").replace("\"10m\"", "\"soon\"").replace("\"V\"", "\"W\"");
    check(&text, &["12:12: verified", "6:7: duration", "8:16: severity"]);
    let faults = Rules::parse(&[("a.toml", GOOD), ("b.toml", GOOD)], &vocabulary()).unwrap_err();
    assert_eq!(faults[0].to_string().lines().next(), Some("b.toml:2:6: rule id \"ec\" is taken"));
}

#[test]
fn levels_may_be_written_in_any_order() {
    let mut lines: Vec<_> = GOOD.lines().collect();
    lines.swap(7, 8);
    let rules = Rules::parse(&[("test.toml", &lines.join("\n"))], &vocabulary()).unwrap();
    let condition = &rules.get("ec").unwrap().condition;
    assert_eq!(condition.to_string(), "> 700 yellow, > 3000 red, for 10 min, clears at 650, 2800");
}

/// Id, worst severity, condition, verified mark, must a person check it?
const BUILT_IN: &[(&str, Severity, &str, &str, bool)] = &[
    (
        "frost",
        Severity::Red,
        "≤ 2 yellow, ≤ 0 orange, ≤ -2 red, for 2 min, clears at 2.5, 0.5, -1.5",
        "U",
        true,
    ),
    (
        "greenhouse-air-hot",
        Severity::Orange,
        "> 30 yellow, > 35 orange, for 15 min, clears at 28, 33",
        "U",
        true,
    ),
    ("humidity-disease", Severity::Yellow, "> 90 yellow, for 4 h, clears at 85", "U", true),
    (
        "wind",
        Severity::Red,
        "≥ 10.8 blue, ≥ 13.9 yellow, ≥ 17.2 orange, ≥ 24.5 red, for 2 min, clears at 9.5, 12.5, 15.5, 22",
        "U",
        true,
    ),
    ("co2-high", Severity::Red, "> 5000 red, for 5 min, clears at 4000", "U", true),
    (
        "soil-drought",
        Severity::Red,
        "< 22 blue, < 18 yellow, < 14 orange, < 10 red, for 30 min, clears at 23, 19, 15, 11",
        "V",
        false,
    ),
    ("soil-ec-high", Severity::Red, "> 2000 yellow, > 4000 red, for 30 min, clears at 1800, 3700", "U", true),
    ("soil-ph-low", Severity::Yellow, "< 5.5 yellow, for 30 min, clears at 5.7", "U", true),
    ("soil-ph-high", Severity::Yellow, "> 8.5 yellow, for 30 min, clears at 8.3", "U", true),
    ("soil-cold", Severity::Orange, "< 10 yellow, < 8 orange, for 30 min, clears at 10.5, 8.5", "U", true),
    ("water-ec-high", Severity::Red, "> 700 yellow, > 3000 red, for 1 min, clears at 650, 2800", "V", false),
    ("water-ph-low", Severity::Yellow, "< 5.5 yellow, for 10 min, clears at 5.7", "V-2005", true),
    ("water-ph-high", Severity::Yellow, "> 8.5 yellow, for 10 min, clears at 8.3", "V-2005", true),
    ("water-oxygen-low", Severity::Red, "< 4 yellow, < 2 red, for 10 min, clears at 4.5, 2.5", "U", true),
    ("water-hot", Severity::Yellow, "> 35 yellow, for 10 min, clears at 34", "V-2005", true),
    (
        "no-data",
        Severity::Yellow,
        "no value for 5 min and 5 intervals blue, 1 h and 10 intervals yellow",
        "U",
        true,
    ),
    ("gateway-offline", Severity::Orange, "offline for 30 s yellow, 30 min orange", "U", true),
];

#[test]
fn the_built_in_rules_are_sound_and_cover_what_they_should() {
    let rules = Rules::parse(rule::builtin(), &Vocabulary::any()).unwrap();
    for &(id, severity, condition, mark, needs_check) in BUILT_IN {
        let rule = rules.get(id).unwrap_or_else(|| panic!("{id}"));
        assert_eq!(rule.severity(), severity, "{id}");
        assert_eq!(rule.condition.to_string(), condition, "{id}");
        assert_eq!((rule.verified.mark(), rule.verified.needs_check()), (mark, needs_check), "{id}");
    }
}
