//! What the short commands print.

use anyhow::Result;
use sitian_settings::{Faults, listing};
use sitian_supervision::Level;

use crate::parts::Parts;
use crate::settings::Source;

/// `check`: judges everything and starts nothing.
pub fn check(source: &Source) -> Result<()> {
    let loaded = source.load()?;
    let parts = Parts::judge(&loaded, source.folder()).map_err(Faults)?;
    let count = |level| parts.territory.nodes().filter(|node| node.level == level).count();
    println!("configuration: fine");
    println!(
        "territory: {} counties, {} towns, {} bases",
        count(Level::County),
        count(Level::Town),
        count(Level::Base)
    );
    let unverified = parts.rules.iter().filter(|rule| rule.verified.needs_check()).count();
    println!(
        "rules: {}, of which {unverified} have limits that a person has to check",
        parts.rules.iter().len()
    );
    parts.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    println!("console and API: http://{}/", parts.http);
    Ok(())
}

/// `config`: every value in force and its origin.
pub fn config(source: &Source) -> Result<()> {
    print!("{}", listing(&source.load()?));
    Ok(())
}
