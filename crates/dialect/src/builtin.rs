//! The profiles that are compiled in: every file of `config/profiles/dialects`.

/// File name and text of every profile, ordered by file name.
pub fn builtin() -> &'static [(&'static str, &'static str)] {
    BUILTIN
}

macro_rules! profiles {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../config/profiles/dialects/", $file)))),*]
    };
}

const BUILTIN: &[(&str, &str)] = profiles![
    "acclima-tdr.toml",
    "dlt645-1997.toml",
    "dlt645-2007.toml",
    "ezo-ph.toml",
    "hj212-air-ng.toml",
    "hj212-air.toml",
    "hj212-water.toml",
    "maxbotix-hrxl.toml",
    "mh-z19.toml",
    "nmea-transducers.toml",
    "nmea-weather.toml",
    "sdi12-thermo-hygro.toml",
    "text-thermo-hygro.toml",
];

#[cfg(test)]
mod tests {
    use sitian_profile::{Catalogue, Verified, catalogue_text};

    use super::*;
    use crate::{DialectProfile, Word};

    fn profiles() -> Vec<DialectProfile> {
        let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
        builtin().iter().map(|(file, text)| DialectProfile::parse(file, text, &catalogue).unwrap()).collect()
    }

    #[test]
    fn every_file_of_the_folder_is_compiled_in_and_named_like_its_profile() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/profiles/dialects");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<&str> = builtin().iter().map(|(file, _)| *file).collect();
        assert_eq!(listed, files);
        for ((file, text), profile) in builtin().iter().zip(profiles()) {
            assert_eq!(*file, format!("{}.toml", profile.id));
            assert!(DialectProfile::is_meant(text), "{file}");
        }
    }

    #[test]
    fn every_dialect_has_a_profile_that_was_seen_in_a_source() {
        let profiles = profiles();
        for (text, word) in Word::ALL {
            let seen = |profile: &&DialectProfile| {
                profile.dialect.word() == word && profile.verified != Verified::Unverified
            };
            assert!(profiles.iter().any(|profile| seen(&profile)), "{text}");
        }
    }

    #[test]
    fn no_profile_of_a_modbus_device_is_taken_for_one_of_a_dialect() {
        for (file, text) in sitian_profile::builtin() {
            assert!(!DialectProfile::is_meant(text), "{file}");
        }
    }
}
