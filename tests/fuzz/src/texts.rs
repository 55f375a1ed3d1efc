//! Texts that people write.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use sitian_alert::{Rules, Vocabulary};
use sitian_dialect::DialectProfile;
use sitian_dialect::line::Pattern;
use sitian_profile::{Catalogue, Profile, catalogue_text};
use sitian_supervision::Territory;

use crate::bytes::files;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    files(&format!("{CONFIG}/{folder}")).into_iter().map(String::into_bytes).collect()
}

fn known() -> Catalogue {
    thread_local! {
        static KNOWN: Catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    }
    KNOWN.with(Clone::clone)
}

/// The catalogue of measurements.
pub fn catalogue(data: &[u8]) {
    let _ = Catalogue::parse("f.toml", &String::from_utf8_lossy(data));
}

pub(crate) fn catalogue_seeds() -> Vec<Vec<u8>> {
    catalogue_text().split("\n\n").map(|part| part.as_bytes().to_vec()).collect()
}

/// Device profiles, with and without Modbus.
pub fn profiles(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let catalogue = known();
    let _ = Profile::parse("f.toml", &text, &catalogue);
    let _ = DialectProfile::parse("f.toml", &text, &catalogue);
    let _ = DialectProfile::is_meant(&text);
}

pub(crate) fn profile_seeds() -> Vec<Vec<u8>> {
    [seeds("profiles"), seeds("profiles/dialects")].concat()
}

/// A pattern, and a line that it is tried on.
pub fn pattern(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, line) = text.split_once('\n').unwrap_or((&text, "T=21.5C,RH=48%"));
    let _ = Pattern::parse(pattern).map(|pattern| pattern.read(line));
}

pub(crate) fn pattern_seeds() -> Vec<Vec<u8>> {
    ["T={t}C,RH={rh}%\nT=21.5C,RH=48%", "R{range}\nR1234", "{},{a} {b}\nx,1 2"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

/// Alert rules.
pub fn rules(data: &[u8]) {
    let _ = Rules::parse(&[("f.toml", &String::from_utf8_lossy(data))], &Vocabulary::any());
}

pub(crate) fn rule_seeds() -> Vec<Vec<u8>> {
    seeds("rules")
}

/// The territory.
pub fn territory(data: &[u8]) {
    let _ = Territory::parse("f.toml", &String::from_utf8_lossy(data));
}

pub(crate) fn territory_seeds() -> Vec<Vec<u8>> {
    seeds("territory")
}

/// A configuration file on top of the gateway's defaults.
pub fn settings(data: &[u8]) {
    let defaults = include_str!("../../../config/gateway.toml");
    let text = String::from_utf8_lossy(data);
    let nothing = std::iter::empty::<(String, String)>();
    let _ = sitian_settings::load::<BTreeMap<String, IgnoredAny>>(
        defaults,
        Some(("f.toml", &text)),
        nothing,
        "X_",
        &[],
    );
}

pub(crate) fn settings_seeds() -> Vec<Vec<u8>> {
    let own = "[gateway]\nid = \"a\"\n[[bus]]\nname = \"b\"\nkind = \"rtu\"\npath = \"/dev/x\"\n[[device]]\nid = \"d\"\nbus = \"b\"\nprofile = \"xy-md02\"\n";
    [seeds("."), vec![own.as_bytes().to_vec()]].concat()
}
