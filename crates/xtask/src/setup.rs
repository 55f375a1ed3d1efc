//! Installs what is missing: Debian packages, Python and npm packages, the built console. What is there already is
//! left alone, so that a second run costs seconds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::steps;

/// The web console's source folder, relative to the workspace.
pub const CONSOLE: &str = "crates/console/web";
/// The Python environment of the tests, relative to the workspace.
pub const PYTHON: &str = "target/python";

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Installs the Debian packages among `wanted` that are missing (`wanted`: a program it brings, the package).
pub fn debian(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(probe, _)| !present(probe)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let become_root = if is_root() { "" } else { "sudo " };
    eprintln!("  installing Debian packages: {list}");
    let install = format!(
        "{become_root}apt-get update -qq && {become_root}env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {list}"
    );
    steps::quiet(Command::new("sh").args(["-c", &install]))
        .with_context(|| format!("failed to install {list}; install them by hand and run this again"))
}

fn present(probe: &str) -> bool {
    if probe.starts_with('/') {
        return Path::new(probe).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|folder| folder.join(probe).is_file())
}

fn is_root() -> bool {
    let answer = Command::new("id").arg("-u").output();
    answer.is_ok_and(|output| output.stdout.starts_with(b"0"))
}

/// Makes a Python environment under `target/` with the packages of `tests/requirements.txt`.
pub fn python() -> Result<()> {
    let stamp = Path::new(PYTHON).join("requirements.done");
    let wanted =
        std::fs::read_to_string("tests/requirements.txt").context("failed to read tests/requirements.txt")?;
    if std::fs::read_to_string(&stamp).is_ok_and(|done| done == wanted) {
        return Ok(());
    }
    let complete = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    if !complete.is_ok_and(|output| output.status.success()) {
        debian(&[("python3-with-venv", "python3-venv")])?;
    }
    eprintln!("  installing Python packages");
    steps::quiet(Command::new("python3").args(["-m", "venv", PYTHON]))?;
    steps::quiet(Command::new(format!("{PYTHON}/bin/pip")).args([
        "install",
        "-q",
        "-r",
        "tests/requirements.txt",
    ]))?;
    std::fs::write(stamp, wanted).context("failed to note the installed Python packages")
}

/// Installs the npm packages of `folder` when its lock file is newer than the installed ones.
pub fn npm(folder: &str) -> Result<()> {
    if !present("npm") {
        bail!("npm not found: install Node.js 20 or newer (Debian: apt-get install nodejs npm)");
    }
    let installed = Path::new(folder).join("node_modules/.package-lock.json");
    if modified(&installed) > modified(&Path::new(folder).join("package-lock.json")) {
        return Ok(());
    }
    eprintln!("  installing npm packages of {folder}");
    steps::quiet(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))
}

/// Builds the console's files when a source is newer than the built page.
pub fn console() -> Result<()> {
    npm(CONSOLE)?;
    let built = modified(&Path::new(CONSOLE).join("dist/index.html"));
    let sources = ["src", "public", "index.html", "vite.config.ts", "package-lock.json"];
    if sources.iter().all(|source| newest(&Path::new(CONSOLE).join(source)) < built) {
        return Ok(());
    }
    eprintln!("  building the console");
    steps::quiet(Command::new("npm").args(["run", "--silent", "build"]).current_dir(CONSOLE))
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn newest(path: &Path) -> SystemTime {
    let inside = std::fs::read_dir(path).into_iter().flatten().flatten();
    inside.map(|entry| newest(&entry.path())).fold(modified(path), SystemTime::max)
}

/// Builds all programs with cargo, whose own progress stays visible. Returns the folder that holds them. The whole
/// workspace at once, so that its libraries are built with the same features as for the tests, and only once.
pub fn programs(release: bool) -> Result<PathBuf> {
    let mut cargo = cargo(&["build", "--locked", "--workspace", "--bins"]);
    if release {
        cargo.arg("--release");
    }
    steps::loud(&mut cargo)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(target.join(if release { "release" } else { "debug" }))
}

/// A cargo command of the same toolchain, as a person would give it. `cargo xtask` describes itself to us in variables
/// that build scripts watch too; handed on, they would make cargo build some packages anew at every change of caller.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}
