//! Layers, origins and faults, on a program's settings small enough to read.

#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use sitian_model::ConfigFault;
use sitian_settings::{Loaded, Origin, Place, load};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    gateway: Gateway,
    mqtt: Mqtt,
    #[serde(default)]
    device: Vec<Device>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gateway {
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mqtt {
    host: String,
    port: u16,
    keep_alive_s: u16,
    embedded: bool,
    format: Format,
    password: String,
    label: Option<String>,
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    id: String,
    #[serde(default)]
    unit: u8,
    #[serde(default)]
    points: Vec<String>,
}

const DEFAULTS: &str = r#"# Comment.
[gateway]
id = ""

[mqtt]
host = "127.0.0.1"
port = 1883
keep_alive_s = 20
embedded = true
format = "text"
password = "changeme"
"#;

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Loaded<Settings>, Vec<ConfigFault>> {
    load(DEFAULTS, Some(("gw.toml", file)), pairs(environment), "SITIAN_GATEWAY_", &pairs(flags))
}

#[test]
fn later_layers_win_and_every_value_knows_its_origin() {
    let file = "[mqtt]\nport = 8883\nhost = \"broker\"\n\n[[device]]\nid = \"a\"\nunit = 7\npoints = [\"x\", \"y\"]\n";
    let environment = [
        ("SITIAN_GATEWAY_MQTT_HOST", "other"),
        ("SITIAN_GATEWAY_MQTT_KEEP_ALIVE_S", "45"),
        ("SITIAN_GATEWAY_MQTT__LABEL", "12"),
        ("SITIAN_GATEWAY_MQTT_LIMIT", "12"),
        ("SITIAN_GATEWAY_GATEWAY_ID", "7"),
        ("HOME", "/root"),
    ];
    let flags = [("mqtt.embedded", "false"), ("mqtt.format", "json")];
    let loaded = loaded(file, &environment, &flags).unwrap();
    let mqtt = &loaded.value.mqtt;
    assert_eq!((mqtt.host.as_str(), mqtt.port, mqtt.keep_alive_s, mqtt.embedded), ("other", 8883, 45, false));
    assert_eq!((mqtt.label.as_deref(), mqtt.limit, &mqtt.format), (Some("12"), Some(12), &Format::Json));
    assert_eq!((loaded.value.gateway.id.as_str(), mqtt.password.as_str()), ("7", "changeme"));
    assert_eq!(loaded.value.device[0].points, ["x", "y"]);
    assert_eq!((loaded.value.device[0].id.as_str(), loaded.value.device[0].unit), ("a", 7));

    let effective: Vec<_> = loaded
        .effective()
        .into_iter()
        .map(|row| format!("{} = {} ({})", row.key, row.value, row.origin))
        .collect();
    assert_eq!(
        effective,
        [
            "device[0].id = \"a\" (gw.toml:6)",
            "device[0].points = [\"x\", \"y\"] (gw.toml:8)",
            "device[0].unit = 7 (gw.toml:7)",
            "gateway.id = \"7\" (environment SITIAN_GATEWAY_GATEWAY_ID)",
            "mqtt.embedded = false (flag)",
            "mqtt.format = \"json\" (flag)",
            "mqtt.host = \"other\" (environment SITIAN_GATEWAY_MQTT_HOST)",
            "mqtt.keep_alive_s = 45 (environment SITIAN_GATEWAY_MQTT_KEEP_ALIVE_S)",
            "mqtt.label = 12 (environment SITIAN_GATEWAY_MQTT__LABEL)",
            "mqtt.limit = 12 (environment SITIAN_GATEWAY_MQTT_LIMIT)",
            "mqtt.password = *** (default)",
            "mqtt.port = 8883 (gw.toml:2)",
        ]
    );
}

#[test]
fn arrays_of_tables_replace_whole() {
    let defaults = format!("{DEFAULTS}[[device]]\nid = \"one\"\n[[device]]\nid = \"two\"\n");
    let ids = |file| {
        let loaded: Loaded<Settings> = load(&defaults, file, [], "S_", &[]).unwrap();
        loaded.value.device.into_iter().map(|device| device.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None), ["one", "two"]);
    assert_eq!(ids(Some(("f", ""))), ["one", "two"]);
    assert_eq!(ids(Some(("f", "[[device]]\nid = \"three\"\n"))), ["three"]);
    assert_eq!(ids(Some(("f", "device = []\n"))), Vec::<String>::new());
}

#[test]
fn places_are_found_for_sections_array_elements_and_absent_keys() {
    let file =
        "[mqtt]\nport = 8883\n\n[[device]]\nid = \"a\"\n[[device]]\nid = \"b\"\npoints = [\"x\", \"y\"]\n";
    let loaded = loaded(file, &[("SITIAN_GATEWAY_MQTT_HOST", "other")], &[]).unwrap();
    let at = |origin: Origin, line, column, offset| Place { origin, line, column, offset };
    let in_file = |line, column, offset| at(Origin::File("gw.toml".into()), line, column, offset);
    for (key, expected) in [
        ("mqtt.port", in_file(2, 8, 14)),
        ("mqtt", in_file(1, 1, 0)),
        ("mqtt.label", in_file(1, 1, 0)),
        ("device[1]", in_file(6, 1, 40)),
        ("device[1].id", in_file(7, 6, 56)),
        ("device[1].points[1]", in_file(8, 16, 75)),
        ("device[1].unit", in_file(6, 1, 40)),
        ("nothing", in_file(1, 1, 0)),
        ("mqtt.keep_alive_s", at(Origin::Default, 8, 16, 83)),
        ("mqtt.host", at(Origin::Environment("SITIAN_GATEWAY_MQTT_HOST".into()), 1, 1, 0)),
    ] {
        assert_eq!(loaded.place(key), expected, "{key}");
    }
    let fault = loaded.fault("device[1].id", "device b twice", "rename one");
    assert_eq!(fault.to_string(), "gw.toml:7:6: device b twice\n  help: rename one");
}

fn check(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)], expected: &[&str]) {
    let faults = loaded(file, environment, flags).unwrap_err();
    let faults: Vec<_> = faults.iter().map(|fault| fault.to_string().replace("\n  help: ", " | ")).collect();
    assert_eq!(faults, expected, "{file}");
}

#[test]
fn faults_name_place_key_and_remedy() {
    let known = "host, port, keep_alive_s, embedded, format, password, label, limit";
    check(
        "[mqtt]\nprot = 1\n",
        &[],
        &[],
        &["gw.toml:2:1: mqtt.prot is no setting | did you mean mqtt.port?"],
    );
    check("[mqt]\nport = 1\n", &[], &[], &["gw.toml:1:2: mqt is no setting | did you mean mqtt?"]);
    check("x.y = 1\n", &[], &[], &["gw.toml:1:1: x is no setting | settings here: gateway, mqtt, device"]);
    check(
        "[mqtt]\ntopics = 1\n",
        &[],
        &[],
        &[&format!("gw.toml:2:1: mqtt.topics is no setting | settings here: {known}")],
    );
    check(
        "[mqtt]\n  port = \"1883\"\n",
        &[],
        &[],
        &[
            "gw.toml:2:10: mqtt.port must be a whole number from 0 to 65535, not string \"1883\" | the default is 1883",
        ],
    );
    check(
        "[mqtt]\nport = 70000\n",
        &[],
        &[],
        &[
            "gw.toml:2:8: mqtt.port must be a whole number from 0 to 65535, not integer 70000 | the default is 1883",
        ],
    );
    check(
        "[mqtt]\nformat = \"jsno\"\n",
        &[],
        &[],
        &["gw.toml:2:10: mqtt.format cannot be \"jsno\" | did you mean \"json\"?"],
    );
    check("[[device]]\nunit = 1\n", &[], &[], &["gw.toml:1:1: id is missing in device | add id = …"]);
    check(
        "mqtt = 1\n",
        &[],
        &[],
        &[
            "gw.toml:1:8: mqtt must be a section, not integer 1 | see the commented defaults for what is possible here",
        ],
    );
}

#[test]
fn faults_in_variables_and_flags_name_them() {
    check(
        "",
        &[("SITIAN_GATEWAY_MQTT_PROT", "1"), ("SITIAN_GATEWAY_MQTT_PORT", "many")],
        &[("mqtt.embedded", "perhaps")],
        &[
            "environment SITIAN_GATEWAY_MQTT_PORT:1:1: mqtt.port must be a whole number from 0 to 65535, not string \
             \"many\" | the default is 1883",
            "environment SITIAN_GATEWAY_MQTT_PROT:1:1: mqtt.prot is no setting | did you mean mqtt.port?",
            "flag mqtt.embedded:1:1: mqtt.embedded must be true or false, not string \"perhaps\" | the default is true",
        ],
    );
}

#[test]
fn all_faults_of_a_file_are_reported_at_once() {
    let file = "[mqtt]\nport = \"x\"\nhots = 1\nembedded = 7\n\n[[device]]\nunit = 1\n[[device]]\nid = 3\n[[device]]\n\
                id = \"c\"\nuint = 1\n\n[gateway]\nid = 9\n";
    let faults = loaded(file, &[], &[]).unwrap_err();
    let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [2, 3, 4, 6, 9, 12, 15], "{faults:#?}");
}

#[test]
fn broken_toml_is_reported_with_its_place() {
    check(
        "[mqtt\nport = 1\n",
        &[],
        &[],
        &["gw.toml:1:6: unclosed table, expected `]` | correct the TOML here"],
    );
    let faults = loaded("a = 1\na = 2\n[b]\nc = \n", &[], &[]).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column)).collect();
    assert_eq!(places, [(2, 1), (4, 5)], "{faults:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_too() {
    let fault = sitian_settings::load_file("/nowhere/gw.toml".as_ref()).unwrap_err();
    assert!(
        fault.to_string().starts_with("/nowhere/gw.toml:1:1: the configuration file cannot be read: "),
        "{fault}"
    );
}
