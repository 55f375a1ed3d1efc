//! The house's laws, read off the workspace. A failure here is a conversation about the plan, not about a test.

use std::path::Path;

use sitian_tests_architecture::{Room, files_below, read, rooms, root};

const STOREYS: &[(u8, &[&str])] = &[
    (0, &["model"]),
    (
        1,
        &[
            "wire",
            "profile",
            "dialect",
            "poll",
            "spool",
            "uplink",
            "ingest",
            "tenure",
            "series",
            "export",
            "alert",
            "registry",
            "supervision",
        ],
    ),
    (
        2,
        &[
            "fieldbus",
            "mqtt",
            "broker",
            "store-embedded",
            "store-influx",
            "store-postgres",
            "api",
            "console",
            "settings",
            "telemetry",
        ],
    ),
    (3, &["gateway", "ingestor"]),
    (4, &["simulator", "testkit", "xtask"]),
];

/// Arrows between rooms of one storey, as the plan names them.
const SIBLINGS: &[(&str, &str)] = &[
    ("poll", "profile"),
    ("dialect", "profile"),
    ("registry", "ingest"),
    ("registry", "alert"),
    ("api", "console"),
];

/// What the pure rooms may lean on: formats and arithmetic, nothing that acts.
const PURE: &[&str] =
    &["bytes", "crc32c", "parquet", "prost", "prost-build", "protox", "serde", "thiserror", "toml", "zstd"];

/// Foreign things that exactly one room may name.
const FOREIGN: &[(&str, &str)] = &[
    ("rumqttc", "mqtt"),
    ("rumqttd", "broker"),
    ("tokio-modbus", "fieldbus"),
    ("serialport", "fieldbus"),
    ("tokio-postgres", "store-postgres"),
    ("tokio-rustls", "store-postgres"),
    ("rusqlite", "store-embedded"),
    ("pco", "store-embedded"),
    ("axum", "api"),
    ("utoipa", "api"),
    ("rust-embed", "console"),
    ("tracing-subscriber", "telemetry"),
    ("prometheus-client", "telemetry"),
    ("parquet", "export"),
    ("prost", "wire"),
    ("zstd", "wire"),
];

fn storey(name: &str) -> u8 {
    let found = STOREYS.iter().find(|(_, names)| names.contains(&name));
    found.unwrap_or_else(|| panic!("room {name} stands on no storey: add it to the plan first")).0
}

fn lower_rooms(room: &Room) -> impl Iterator<Item = &str> {
    room.dependencies.iter().filter_map(|name| name.strip_prefix("sitian-"))
}

#[test]
fn arrows_only_go_down() {
    for room in rooms() {
        for target in lower_rooms(&room) {
            let down = storey(target) < storey(&room.name);
            let named = SIBLINGS.contains(&(room.name.as_str(), target));
            assert!(down || named, "{} must not know {target}", room.name);
        }
    }
}

#[test]
fn storeys_0_and_1_are_pure() {
    let acting =
        ["tokio::", "std::fs", "std::net", "std::thread", "Instant::now", "SystemTime::now", "cfg(feature"];
    for room in rooms().iter().filter(|room| storey(&room.name) <= 1) {
        for name in room.dependencies.iter().filter(|name| !name.starts_with("sitian-")) {
            assert!(PURE.contains(&name.as_str()), "pure room {} must not lean on {name}", room.name);
        }
        for (file, text) in room.sources() {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<String>();
            let found = acting.iter().find(|word| code.contains(*word));
            assert!(found.is_none(), "{} acts: {found:?}", file.display());
        }
        let lints = read(&room.folder.join("clippy.toml"));
        assert!(lints.contains("std::time::Instant::now"), "{} does not link the purity lints", room.name);
    }
}

#[test]
fn one_room_per_foreign_thing() {
    for (library, home) in FOREIGN {
        for room in rooms().iter().filter(|room| room.dependencies.contains(*library)) {
            assert_eq!(&room.name, home, "{library} lives in {home} alone");
        }
    }
}

#[test]
fn rooms_files_and_functions_stay_small() {
    for room in rooms() {
        assert!(!room.sources().is_empty(), "{} has sources to judge", room.name);
        for (file, text) in room.sources() {
            let lines = text.lines().count();
            let most = if file.ends_with("main.rs") { 60 } else { 500 };
            assert!(lines <= most, "{} has {lines} lines, more than {most}", file.display());
        }
    }
    let lints = read(&root().join("Cargo.toml"));
    assert!(lints.contains("too_many_lines = "), "clippy watches the length of functions");
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let empty = ["mod", "prelude", "types", "util", "utils", "common", "helpers", "core", "misc", "base"];
    for file in files_below(&root(), "rs").into_iter().chain(rooms().into_iter().map(|room| room.folder)) {
        let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        assert!(!empty.contains(&stem.as_str()), "{}: name it after what it is for", file.display());
    }
}

#[test]
fn every_source_opens_by_saying_what_it_is_for() {
    for (file, text) in rooms().iter().flat_map(Room::sources) {
        assert!(text.starts_with("//!"), "{} does not open with //!", file.display());
    }
}

#[test]
fn every_configuration_file_parses() {
    let files = files_below(&root().join("config"), "toml");
    assert!(files.len() > 10, "the configuration folder is where it was");
    for file in files {
        let fault = read(&file).parse::<toml::Table>().err();
        assert_eq!(fault, None, "{}", file.display());
    }
}

#[test]
fn the_house_plan_names_every_room() {
    let plan = read(&root().join("crates/README.md"));
    for room in rooms() {
        assert!(plan.contains(&format!("`{}`", room.name)), "crates/README.md does not name {}", room.name);
    }
    assert!(Path::new(&root().join("LICENSE")).exists());
}
