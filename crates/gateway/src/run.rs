//! stub
use crate::settings::Source;
pub fn run(_source: &Source) -> anyhow::Result<()> { anyhow::bail!("not yet") }
