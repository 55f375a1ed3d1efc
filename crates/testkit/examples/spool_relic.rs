//! Writes the spool directory of `sitian_testkit::relic` into an empty folder, once per released format. Never run it over
//! a folder that is committed: add the next version beside it.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/relic".into()));
    std::fs::create_dir_all(&folder)?;
    if std::fs::read_dir(&folder)?.next().is_some() {
        return Err(std::io::Error::other(format!(
            "{} is not empty: a released format never changes",
            folder.display()
        )));
    }
    let disk =
        sitian_testkit::relic::write().ok_or_else(|| std::io::Error::other("the relic cannot be written"))?;
    for (name, bytes) in disk.files() {
        std::fs::write(folder.join(name), bytes)?;
        println!("{name} {} bytes", bytes.len());
    }
    Ok(())
}
