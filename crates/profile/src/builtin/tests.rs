use super::*;
use crate::{Catalogue, Context, Kind, Medium, Profile, Verified, decode, encode};

fn catalogue() -> Catalogue {
    Catalogue::parse("config/measurements.toml", catalogue_text()).unwrap()
}

fn profiles() -> Vec<Profile> {
    let catalogue = catalogue();
    builtin().iter().map(|(file, text)| Profile::parse(file, text, &catalogue).unwrap()).collect()
}

#[test]
fn every_file_of_the_folder_is_compiled_in_and_named_like_its_profile() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/profiles");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    let listed: Vec<&str> = builtin().iter().map(|(file, _)| *file).collect();
    assert_eq!(listed, files);
    for ((file, _), profile) in builtin().iter().zip(profiles()) {
        assert_eq!(*file, format!("{}.toml", profile.id));
    }
}

#[test]
fn soil_water_and_air_are_each_served_by_several_profiles_seen_in_a_source() {
    let catalogue = catalogue();
    let profiles = profiles();
    for medium in [Medium::Soil, Medium::Water, Medium::Air] {
        let count = profiles
            .iter()
            .filter(|p| p.verified != Verified::Unverified)
            .filter(|p| {
                p.points.iter().any(|point| catalogue.get(&point.measurement).unwrap().medium == medium)
            })
            .count();
        assert!(count >= 9, "{medium:?}: {count}");
    }
}

#[test]
fn every_point_of_every_profile_reads_back_what_it_encodes() {
    for profile in profiles() {
        for point in &profile.points {
            let context = Context {
                unit: point.unit_register.as_ref().map(|unit| unit.codes[0].0),
                decimals: point.decimals_register.map(|_| 1),
                status: Some(0),
            };
            let samples: &[u16] =
                if matches!(point.kind, Kind::Bits(_)) { &[0, 1] } else { &[0, 1, 300, 1234] };
            for raw in samples {
                let mut registers = vec![0; usize::from(point.kind.registers())];
                registers[0] = *raw;
                let (value, _) = decode(point, &registers, context);
                let again = encode(point, value.unwrap(), context);
                let (value_again, _) = decode(point, &again, context);
                assert_eq!(value, value_again, "{} {} {raw}", profile.id, point.key);
            }
        }
    }
}

#[test]
fn medium_words_are_the_words_that_catalogues_use() {
    for (word, medium) in Medium::WORDS {
        assert_eq!(medium.word(), word);
    }
}
