//! Reads the workspace as a text, for the tests that hold the house to its plan. Knows no room's insides.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One crate of `crates/`.
pub struct Room {
    /// Its folder's name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What `[dependencies]` and `[build-dependencies]` name.
    pub dependencies: BTreeSet<String>,
}

/// The workspace's folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the workspace is two folders up").to_owned()
}

/// Every crate of `crates/`, by name.
pub fn rooms() -> Vec<Room> {
    let mut folders: Vec<PathBuf> = folders_in(&root().join("crates"));
    folders.sort();
    folders.into_iter().map(|folder| Room::read(&folder)).collect()
}

impl Room {
    fn read(folder: &Path) -> Self {
        let manifest = folder.join("Cargo.toml");
        let text =
            std::fs::read_to_string(&manifest).unwrap_or_else(|e| panic!("{}: {e}", manifest.display()));
        let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{}: {e}", manifest.display()));
        let named = |section: &str| -> BTreeSet<String> {
            table
                .get(section)
                .and_then(|t| t.as_table())
                .map(|t| t.keys().cloned().collect())
                .unwrap_or_default()
        };
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let dependencies = named("dependencies").union(&named("build-dependencies")).cloned().collect();
        Self { name, folder: folder.to_owned(), dependencies }
    }

    /// Its Rust sources that are not tests, with their text up to the first test module.
    pub fn sources(&self) -> Vec<(PathBuf, String)> {
        let files = files_below(&self.folder.join("src"), "rs");
        let product = files.into_iter().filter(|file| !is_test(&self.folder, file));
        product.map(|file| (file.clone(), before_tests(&read(&file)))).collect()
    }
}

fn is_test(folder: &Path, file: &Path) -> bool {
    let inside = file.strip_prefix(folder).unwrap_or(file);
    inside.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs")
}

fn before_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

/// The text of a file of the workspace.
pub fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("Cargo.toml").exists()).collect()
}

/// Every file below `folder` with this extension; built and installed folders are left out.
pub fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !["target", "node_modules", "dist", ".git"].contains(&name.as_str()) {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}
