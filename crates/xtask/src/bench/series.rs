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

/// A step of the measurement, to be run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// The embedded store: ingest, size, queries, memory.
    Alone,
    /// The same beside other engines, on 8.6 million readings.
    Compare,
    /// kill -9 in compaction; needs `--kills`.
    Kills,
}

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Million readings of the steps alone and kills.
    pub millions: u32,
    /// How many kills.
    pub kills: u32,
    /// One step; all of them without it.
    pub only: Option<Step>,
}

/// Measures.
pub fn measure(folder: &Path, wanted: Wanted) -> Result<()> {
    let Wanted { millions, kills, only } = wanted;
    let (folder, before) = (folder.display().to_string(), process::load());
    let (series, each) = (SERIES.to_string(), (millions * (1_000_000 / SERIES)).to_string());
    println!("\n== series: {millions} million readings in the embedded store; other engines beside it");
    println!("repeat with      cargo xtask bench series --millions {millions} --kills {kills}");
    let step = |step| only.is_none_or(|only| only == step);
    if step(Step::Alone) {
        example(&["alone", &folder, &series, &each])?;
    }
    if step(Step::Compare) {
        setup::debian(&[("victoria-metrics", "victoria-metrics"), ("influxd", "influxdb")])?;
        example(&["compare", &folder, COMPARED.0, COMPARED.1])?;
    }
    if step(Step::Kills) && kills > 0 {
        example(&["kills", &folder, &series, &each, &kills.to_string()])?;
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
