//! The series of the embedded store alone, then beside other engines on the same data. The measuring itself stands in the
//! store's example `series`, which knows readings.

use std::path::Path;

use anyhow::Result;

use super::process;
use crate::{setup, steps};

/// Series of the measurement alone.
const SERIES: u32 = 10_000;
/// Series and readings of each in the comparison: 30 days, every five minutes.
const COMPARED: (&str, &str) = ("1000", "8640");

/// Measures; `millions` of readings alone, then the comparison, then so many kills in compaction if any are asked for.
pub fn measure(folder: &Path, millions: u32, kills: u32) -> Result<()> {
    setup::debian(&[("victoria-metrics", "victoria-metrics"), ("influxd", "influxdb")])?;
    let (folder, before) = (folder.display().to_string(), process::load());
    let each = (millions * (1_000_000 / SERIES)).to_string();
    println!(
        "\n== series: {millions} million readings in the embedded store, then all engines beside each other"
    );
    println!("repeat with      cargo xtask bench series --millions {millions} --kills {kills}");
    example(&["alone", &folder, &SERIES.to_string(), &each])?;
    example(&["compare", &folder, COMPARED.0, COMPARED.1])?;
    if kills > 0 {
        example(&["kills", &folder, &SERIES.to_string(), &each, &kills.to_string()])?;
        std::fs::remove_dir_all(&folder)?;
    }
    println!("load average     {before} before, {} after", process::load());
    Ok(())
}

fn example(arguments: &[&str]) -> Result<()> {
    let mut cargo =
        setup::cargo(&["run", "--quiet", "--locked", "--release", "--package", "sitian-store-embedded"]);
    steps::loud(cargo.args(["--example", "series", "--"]).args(arguments))
}
