//! Bad configuration gets one clear error with file, line and column and exit code 2, and nothing starts.

use std::path::Path;
use std::process::Command;

use sitian_tests_system::program::ours;

const GOOD: &str = r#"[gateway]
id = "dangzhai-01"

[[bus]]
name = "line-1"
kind = "tcp"
host = "127.0.0.1"
port = 502

[[device]]
id = "soil-1"
name = "1号棚 土壤"
bus = "line-1"
profile = "renke-soil-7in1"
"#;

const PROFILE: &str = r#"id = "own-probe"
vendor = "somebody"
model = "probe"
name_zh = "探头"
name_en = "probe"
source = "bench"
verified = "U"
default_unit = 1

[serial]
baud = 9600

[[points]]
key = "soil_moisture"
measurement = "soil_moisture"
unit = "%"
function = "holding"
address = 0
kind = "u16"
scale = 0.1
min = 0
max = 100
"#;

/// Runs `program arguments` and expects exit code 2, exactly one fault, and `place` and `words` in it.
fn check(program: &str, folder: &Path, arguments: &[&str], place: &str, words: &str) {
    let mut command: Command = ours(program);
    let output = command.current_dir(folder).args(arguments).output().expect("our program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?} {words}: {said}");
    assert!(said.contains(place), "{words}: no {place} in: {said}");
    assert!(said.contains(words), "{words} is not in: {said}");
    assert!(said.contains("help:"), "{words}: no advice in: {said}");
    assert_eq!(said.matches("help:").count(), 1, "one fault, one message: {said}");
}

#[test]
fn every_bad_gateway_configuration_is_told_at_its_place() {
    let rows: &[(&str, &str, &str, &str)] = &[
        ("[gateway]", "[gateway", "gateway.toml:1:9", "unclosed table"),
        ("id = \"dangzhai-01\"", "id = \"Dang Zhai\"", "gateway.toml:2:6", "gateway id"),
        ("id = \"dangzhai-01\"", "idd = \"dangzhai-01\"", "gateway.toml:2:1", "idd"),
        ("port = 502", "port = 70000", "gateway.toml:8:8", "70000"),
        ("port = 502", "port = \"502\"", "gateway.toml:8:8", "port"),
        ("kind = \"tcp\"", "kind = \"can\"", "gateway.toml:6:8", "can"),
        ("bus = \"line-1\"", "bus = \"line-9\"", "gateway.toml:13:7", "line-9"),
        (
            "profile = \"renke-soil-7in1\"",
            "profile = \"renke-soil-8in1\"",
            "gateway.toml:14:11",
            "renke-soil-8in1",
        ),
        ("id = \"soil-1\"", "id = \"soil/1\"", "gateway.toml:11:6", "soil/1"),
        ("bus = \"line-1\"", "bus = \"line-1\"\ninterval_s = 0", "gateway.toml:14:14", "interval_s"),
        ("bus = \"line-1\"", "bus = \"line-1\"\nunit = 300", "gateway.toml:14:8", "unit"),
        ("bus = \"line-1\"", "bus = \"line-1\"\npoints = [\"soil_gold\"]", "gateway.toml:14:11", "soil_gold"),
    ];
    for (good, bad, place, words) in rows {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(GOOD.contains(good), "the row changes something: {good}");
        std::fs::write(folder.path().join("gateway.toml"), GOOD.replacen(good, bad, 1))
            .expect("a fresh folder");
        for verb in ["check", "run"] {
            check("sitian-gateway", folder.path(), &[verb, "--config", "gateway.toml"], place, words);
        }
        assert!(!folder.path().join("spool").exists(), "nothing started: {bad}");
    }
}

#[test]
fn every_bad_device_profile_is_told_at_its_place() {
    let rows: &[(&str, &str, &str, &str)] = &[
        (
            "measurement = \"soil_moisture\"",
            "measurement = \"soil_mojsture\"",
            "own.toml:15:15",
            "soil_mojsture",
        ),
        ("unit = \"%\"", "unit = \"kPa\"", "own.toml:16:8", "kPa"),
        ("kind = \"u16\"", "kind = \"u17\"", "own.toml:19:8", "u17"),
        ("min = 0", "min = 200", "own.toml:21:7", "200"),
        ("address = 0", "address = 65536", "own.toml:18:11", "65536"),
        ("scale = 0.1", "scal = 0.1", "own.toml:20:1", "scal"),
    ];
    for (good, bad, place, words) in rows {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(PROFILE.contains(good), "the row changes something: {good}");
        std::fs::create_dir(folder.path().join("profiles")).expect("a fresh folder");
        std::fs::write(folder.path().join("profiles/own.toml"), PROFILE.replacen(good, bad, 1))
            .expect("a fresh folder");
        let config = format!("{}\n[profiles]\ndirectory = \"profiles\"\n", GOOD);
        std::fs::write(folder.path().join("gateway.toml"), config).expect("a fresh folder");
        check("sitian-gateway", folder.path(), &["check", "--config", "gateway.toml"], place, words);
    }
}

#[test]
fn every_bad_ingestor_configuration_is_told_at_its_place() {
    let rows: &[(&str, &str, &str)] = &[
        ("[http]\nlisten = \"0.0.0.0:8340\"\n", "ingestor.toml:2:10", "loopback"),
        ("[http]\nlisten = \"here\"\n", "ingestor.toml:2:10", "here"),
        ("[broker]\nlisten = \"0.0.0.0:1883\"\n", "ingestor.toml:2:10", "loopback"),
        (
            "[broker]\nembedded = false\n[mqtt]\nca_file = \"nowhere.pem\"\n",
            "ingestor.toml:4:11",
            "nowhere.pem",
        ),
        ("[storage]\npaht = \"x\"\n", "ingestor.toml:2:1", "paht"),
        ("[time]\nzone = \"Asia/Zhangye\"\n", "ingestor.toml:2:8", "Asia/Zhangye"),
        ("[territory]\nfile = \"nowhere.toml\"\n", "ingestor.toml:2:8", "nowhere.toml"),
        ("[log]\nlevel = \"loud\"\n", "ingestor.toml:2:9", "loud"),
    ];
    for (text, place, words) in rows {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("ingestor.toml"), text).expect("a fresh folder");
        for verb in ["check", "run"] {
            check("sitian-ingestor", folder.path(), &[verb, "--config", "ingestor.toml"], place, words);
        }
        assert!(!folder.path().join("sitian-data").exists(), "nothing started: {text}");
    }
}
