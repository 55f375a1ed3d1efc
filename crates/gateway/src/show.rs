//! What the short commands print.

use anyhow::Result;
use sitian_settings::{Faults, listing};

use crate::plan::Plan;
use crate::settings::{CalibrationSection, Settings, Source};

/// `check`: judges everything and starts nothing.
pub fn check(source: &Source) -> Result<()> {
    let loaded = source.load()?;
    let plan = Plan::make(&loaded, source.folder()).map_err(Faults)?;
    println!("{}: fine", source.config.display());
    println!("gateway {} publishes to {}:{}", plan.manifest.gateway, plan.link.host, plan.link.port);
    for bus in &plan.buses {
        println!("bus {}: {} devices, {} points", bus.name, bus.plan.devices.len(), bus.points());
    }
    calibrations(&loaded.value).for_each(|line| println!("{line}"));
    Ok(())
}

/// Every calibration in force, for those who check and for the log.
pub fn calibrations(settings: &Settings) -> impl Iterator<Item = String> {
    settings.device.iter().flat_map(|device| {
        device.adjust.iter().filter_map(move |adjust| {
            let CalibrationSection { slope, offset, date, by } = adjust.calibration.as_ref()?;
            let point = &adjust.point;
            Some(format!("calibrated {}/{point}: value × {slope} + {offset}, {date}, {by}", device.id))
        })
    })
}

/// `config`: every value in force and its origin.
pub fn config(source: &Source) -> Result<()> {
    print!("{}", listing(&source.load()?));
    Ok(())
}

/// `profiles`: the built-in device profiles.
pub fn profiles() -> Result<()> {
    let library = crate::library::Library::builtin().map_err(Faults)?;
    println!("{:<24} {:<4} {:>6} {:<5} points", "profile", "mark", "baud", "unit");
    for profile in library.profiles() {
        let points: Vec<&str> = profile.points.iter().map(|point| point.key.as_str()).collect();
        println!(
            "{:<24} {:<4} {:>6} {:<5} {}  ({} {})",
            profile.id,
            profile.verified.mark(),
            profile.serial.baud,
            profile.default_unit,
            points.join(" "),
            profile.vendor,
            profile.model
        );
    }
    println!(
        "\nmark: V seen in a named source, F frames recomputed, U from memory: check before relying on it"
    );
    Ok(())
}
