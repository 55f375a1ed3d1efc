//! What the short commands print.

use anyhow::{Result, bail};
use sitian_profile::Profile;
use sitian_settings::{Faults, listing};

use crate::advice::format;
use crate::plan::Plan;
use crate::settings::{CalibrationSection, Settings, Source};

/// `check`: judges everything and starts nothing.
pub fn check(source: &Source) -> Result<()> {
    let loaded = source.load()?;
    let plan = Plan::make(&loaded, source.folder()).map_err(Faults)?;
    say!("{}: fine", source.config.display());
    say!("gateway {} publishes to {}:{}", plan.manifest.gateway, plan.link.host, plan.link.port);
    for bus in &plan.buses {
        let percent = |share: f64| (share * 100.0).ceil();
        say!(
            "bus {}: {} devices, {} points; in use for about {} % of its time, {} % while one device is dead",
            bus.name,
            bus.plan.devices.len(),
            bus.points(),
            percent(bus.airtime.share()),
            percent(bus.airtime.share_with_dead(1))
        );
    }
    for bus in &plan.talking {
        let (devices, points) = (bus.plan.devices.len(), bus.points());
        say!("bus {}: {devices} devices, {points} points, {}", bus.name, bus.settings.describe());
    }
    calibrations(&loaded.value).for_each(|line| say!("{line}"));
    let inherited = crate::heritage::look(&plan.spool_folder, plan.spool_limits, &plan.names)?;
    inherited.iter().for_each(|line| say!("{line}"));
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
    crate::screen::put(format_args!("{}", listing(&source.load()?)));
    Ok(())
}

/// What to show of the profiles.
#[derive(clap::Args)]
pub struct ProfilesOptions {
    /// One profile in full, such as xy-md02.
    profile: Option<String>,
}

/// `profiles`: the built-in device profiles, or one of them.
pub fn profiles(options: &ProfilesOptions) -> Result<()> {
    let library = crate::library::Library::builtin().map_err(Faults)?;
    if let Some(id) = &options.profile {
        let Some(profile) = library.get(id) else { bail!("find profile {id:?}: {}", library.nearest(id)) };
        one_profile(profile);
        return Ok(());
    }
    say!("{:<24} {:<4} {:>6} {:<5} points", "profile", "mark", "baud", "unit");
    for profile in library.profiles() {
        let points: Vec<&str> = profile.points.iter().map(|point| point.key.as_str()).collect();
        say!(
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
    say!("\nwithout Modbus:");
    for profile in library.dialects() {
        let points: Vec<&str> = profile.points.iter().map(|point| point.key.as_str()).collect();
        say!(
            "{:<24} {:<4} {:>6} {:<6} {}  ({} {})",
            profile.id,
            profile.verified.mark(),
            profile.serial.baud,
            profile.dialect.word().word(),
            points.join(" "),
            profile.vendor,
            profile.model
        );
    }
    say!("\nmark: V seen in a named source, F frames recomputed, U from memory: check before relying on it");
    Ok(())
}

fn one_profile(profile: &Profile) {
    say!("{} {} · {} · {}", profile.vendor, profile.model, profile.name_zh, profile.name_en);
    say!("source: {} (mark {})", profile.source, profile.verified.mark());
    say!("delivered with {}, unit id {}", format(&profile.serial), profile.default_unit);
    let setup = &profile.setup;
    let register = |at: u16| format!("holding 0x{at:04X}");
    if let Some(at) = setup.unit_register {
        say!("unit id: {}", register(at));
    }
    if let Some(at) = setup.baud_register {
        let codes: Vec<String> =
            setup.baud_codes.iter().map(|(baud, code)| format!("{code} = {baud}")).collect();
        let codes = if codes.is_empty() { "codes not known".to_owned() } else { codes.join(", ") };
        say!("baud rate: {} ({codes})", register(at));
    }
    if !setup.note.is_empty() {
        say!("note: {}", setup.note);
    }
    say!();
    for point in &profile.points {
        let place = format!("{} 0x{:04X}", point.function.word(), point.address);
        let range = format!("{} to {}", point.min, point.max);
        let more = [
            point.optional.then(|| "only where listed".to_owned()),
            point.counter.map(|_| "counter".to_owned()),
            point.write.as_ref().map(|write| match write.on_max_s {
                0 => format!("output, safe {}", write.safe),
                most => format!("output, safe {}, otherwise for {most} s at most", write.safe),
            }),
        ];
        let more: Vec<String> = more.into_iter().flatten().collect();
        let (key, unit) = (point.key.as_str(), &point.unit);
        say!("{}", format!("{key:<26} {place:<16} {range} {unit}  {}", more.join(", ")).trim_end());
    }
}
