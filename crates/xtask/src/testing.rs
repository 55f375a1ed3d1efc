//! `cargo xtask test`: everything that has to hold before a change lands, from a clean clone.

use std::process::Command;

use anyhow::Result;

use crate::faults;
use crate::programs::{self, Programs};
use crate::setup::{self, CONSOLE, cargo};
use crate::steps::{self, Score};

/// What the real-parts tests need, as (a program or file it brings, the Debian package).
const PACKAGES: &[(&str, &str)] = &[
    ("/usr/include/modbus/modbus.h", "libmodbus-dev"),
    ("gcc", "gcc"),
    ("mosquitto", "mosquitto"),
    ("socat", "socat"),
    ("strace", "strace"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("faketime", "faketime"),
    ("mkfs.ext4", "e2fsprogs"),
    ("chromium", "chromium"),
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", "fonts-noto-cjk"),
    ("victoria-metrics", "victoria-metrics"),
    ("/usr/lib/postgresql", "postgresql"),
];

/// Which tests to run.
#[derive(clap::Args)]
pub struct Options {
    /// Leave out the tests in the browser.
    #[arg(long)]
    no_browser: bool,
    /// Write what came of the faults into tests/README.md.
    #[arg(long)]
    record: bool,
}

/// Runs every step; ends with a summary and an error if one failed.
pub fn run(options: &Options) -> Result<()> {
    let mut score = Score::default();
    faults::forget()?;
    score.step("install what the tests need", || {
        setup::debian(PACKAGES)?;
        setup::python()?;
        setup::npm("tests/browser")
    });
    score.step("console: build", setup::console);
    score.step("console: types and unit tests", || {
        steps::loud(Command::new("npm").args(["run", "--silent", "check"]).current_dir(CONSOLE))?;
        steps::loud(Command::new("npm").args(["run", "--silent", "test"]).current_dir(CONSOLE))
    });
    score.step("format", || steps::loud(&mut cargo(&["fmt", "--all", "--check"])));
    score.step("clippy, warnings denied", || {
        steps::loud(&mut cargo(&[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    score.step("build", || steps::loud(&mut cargo(&["build", "--locked", "--workspace", "--all-targets"])));
    score.step("unit, architecture and golden tests", || {
        let (_, rooms) = test_programs()?;
        programs::run(rooms, 1)?;
        steps::loud(&mut cargo(&["test", "--locked", "--workspace", "--doc", "--quiet"]))
    });
    // They find the programs that were just built, and wait more than they compute.
    score.step("system tests", || programs::run(test_programs()?.0, 4));
    score.step("teeth: every deliberate mistake is caught", crate::teeth::run);
    if !options.no_browser {
        score.step("browser tests", || {
            steps::loud(Command::new("npm").args(["run", "--silent", "test"]).current_dir("tests/browser"))
        });
    }
    let night = std::env::var("CHAOS").is_ok_and(|chaos| chaos == "night");
    let command = if night { "`CHAOS=night cargo xtask test`" } else { "`cargo xtask test`" };
    faults::tell(options.record, command)?;
    score.finish()
}

/// The test programs of the real processes, and all others.
fn test_programs() -> Result<(Programs, Programs)> {
    let all = programs::built(&mut cargo(&["test", "--no-run", "--workspace"]))?;
    Ok(all.into_iter().partition(|((folder, _), _)| folder == "tests/system"))
}

/// Rewrites the committed `openapi.json`.
pub fn openapi() -> Result<()> {
    steps::loud(cargo(&["test", "--package", "sitian-api", "openapi"]).env("UPDATE", "1"))
}
