//! Makes sure that the folder to embed exists, and rebuilds the room when the console has been built anew.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/dist");
    let room = env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::create_dir_all(Path::new(&room).join("web/dist"))
}
