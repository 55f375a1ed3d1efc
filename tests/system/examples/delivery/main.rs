//! What `cargo xtask bench delivery` needs of the rooms: a spool as a long outage leaves it, and the price of a commit on
//! a card.
//!
//! ```text
//! delivery fill <folder> <gateway> <days>    prints: readings, records, bytes of records, bytes on disk
//! delivery card <commits>                    prints a table
//! ```

mod card;
mod outage;

use std::path::Path;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["fill", folder, gateway, days] => outage::fill(Path::new(folder), gateway, days.parse()?),
        ["card", commits] => card::measure(commits.parse()?),
        _ => Err("say: fill <folder> <gateway> <days>, or: card <commits>".into()),
    }
}
