//! `cargo xtask bench`: what the product costs on this machine.

use anyhow::Result;

/// What to measure.
#[derive(clap::Args)]
pub struct Options {}

/// Runs the measurements.
pub fn run(_options: &Options) -> Result<()> {
    anyhow::bail!("nothing to measure yet")
}
