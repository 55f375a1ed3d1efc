//! What the short commands print, and how faults and errors look to a person.

use std::process::ExitCode;

use anyhow::Result;
use sitian_model::ConfigFault;

use crate::plan::Plan;
use crate::settings::Source;

/// Faults in the configuration, all of them.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} fault(s)", .0.len())]
pub struct Faults(pub Vec<ConfigFault>);

/// `check`: judges everything and starts nothing.
pub fn check(source: &Source) -> Result<()> {
    let loaded = source.load().map_err(Faults)?;
    let plan = Plan::make(&loaded, source.folder()).map_err(Faults)?;
    println!("{}: fine", source.config.display());
    println!("gateway {} publishes to {}:{}", plan.manifest.gateway, plan.link.host, plan.link.port);
    for bus in &plan.buses {
        println!("bus {}: {} devices, {} points", bus.name, bus.plan.devices.len(), bus.points());
    }
    Ok(())
}

/// `config`: every value in force and its origin.
pub fn config(source: &Source) -> Result<()> {
    let loaded = source.load().map_err(Faults)?;
    let values = loaded.effective();
    let widest = values.iter().map(|v| v.key.len() + v.value.len()).max().unwrap_or(0).min(70);
    for value in values {
        let setting = format!("{} = {}", value.key, value.value);
        println!("{setting:<width$}  # {}", value.origin, width = widest + 3);
    }
    Ok(())
}

/// `profiles`: the built-in device profiles.
pub fn profiles() -> Result<()> {
    let library = crate::plan::Library::builtin().map_err(Faults)?;
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
    println!("\nmark: V seen in a named source, F frames recomputed, U from memory: check before relying on it");
    Ok(())
}

/// Exit code 0, 1 for an error, 2 for faults in the configuration; both are told on standard error.
pub fn exit_code(outcome: Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if let Some(Faults(faults)) = error.downcast_ref::<Faults>() {
        faults.iter().for_each(|fault| eprintln!("{fault}"));
        return ExitCode::from(2);
    }
    eprintln!("failed to {error:#}");
    ExitCode::FAILURE
}
