//! Writes the store that is kept as a sample of this release's schema:
//! `cargo run -p sitian-store-embedded --example released -- tests/golden/store/v1.db`, once per schema version.

#[allow(dead_code, reason = "the test that reads the story uses the rest")]
#[path = "../tests/released/story.rs"]
mod story;

use sitian_store_embedded::Store;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name the file to write")?;
    story::write(&mut Store::open(path.as_ref())?)?;
    std::fs::remove_file(format!("{path}.lock"))?;
    Ok(())
}
