//! What came of the faults: every fault test leaves one row as a small JSON file below `target/faults`, which
//! `cargo xtask test` adds up to the table of tests/README.md.
//!
//! Leans on nothing but the standard library, so that tests of any room may include this file:
//!
//! ```text
//! #[path = "../../../tests/system/src/tally.rs"]
//! mod tally;
//!
//! let fault = tally::Fault { number: "F7", title: "disk full", injected: "tmpfs of 8 MiB" };
//! fault.came_to("20 fills", tally::Harm { lost: 0, doubled: 0, wrong: 0 }, "40 gaps, 812 readings in them");
//! fault.skipped("no root");
//! ```

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of pure rooms report too"
)]

use std::fmt::Display;
use std::path::PathBuf;

/// A fault and one way to inject it. `title` is unique among the rows of its `number`.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Its number in the fault matrix, such as `F3`.
    pub number: &'static str,
    /// What breaks, such as "power cut on a real ext4, gateway".
    pub title: &'static str,
    /// The means.
    pub injected: &'static str,
}

/// What became of accepted readings, against an oracle that is never faulted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Harm {
    /// Accepted, neither stored nor in a committed gap.
    pub lost: u64,
    /// Stored more than once.
    pub doubled: u64,
    /// Stored with a value that was never measured there.
    pub wrong: u64,
}

/// No harm at all.
pub const NONE: Harm = Harm { lost: 0, doubled: 0, wrong: 0 };

impl Harm {
    /// Both harms together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            wrong: self.wrong + other.wrong,
        }
    }
}

impl Fault {
    /// Leaves the row: how often it was injected, and what came of it. Says nothing on whether that is good.
    pub fn came_to(&self, many: impl Display, harm: Harm, note: impl Display) {
        println!("{} {}: {many}: {harm:?}; {note}", self.number, self.title);
        let Harm { lost, doubled, wrong } = harm;
        let (many, note) = (quoted(many), quoted(note));
        self.write(&format!(
            "\"many\": {many}, \"lost\": {lost}, \"doubled\": {doubled}, \"wrong\": {wrong}, \"note\": {note}"
        ));
    }

    /// Leaves a row that says why the fault cannot be injected on this machine.
    pub fn skipped(&self, why: impl Display) {
        println!("{} {}: skipped: {why}", self.number, self.title);
        self.write(&format!("\"skipped\": {}", quoted(why)));
    }

    fn write(&self, outcome: &str) {
        if teeth() {
            return;
        }
        let row = format!(
            "{{\"fault\": {}, \"title\": {}, \"injected\": {}, \"tier\": {}, \"command\": {}, {outcome}}}\n",
            quoted(self.number),
            quoted(self.title),
            quoted(self.injected),
            quoted(if night() { "N" } else { "P" }),
            quoted(command()),
        );
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = format!("{} {}", self.number, self.title).chars().map(plain).collect();
        let folder = folder();
        std::fs::create_dir_all(&folder).expect("a folder below target");
        std::fs::write(folder.join(name + ".json"), row).expect("a row below target");
    }
}

/// Whether this is a night run (`CHAOS=night`, tier N of the fault matrix).
pub fn night() -> bool {
    std::env::var("CHAOS").is_ok_and(|chaos| chaos == "night")
}

/// Whether deliberate mistakes are at work (`cargo xtask teeth`): counts are small, and no row is left.
pub fn teeth() -> bool {
    std::env::var("CHAOS").is_ok_and(|chaos| chaos == "teeth")
}

/// How often to inject: at every submission, or at night; a tenth of it where mistakes have to show.
pub fn times(submission: usize, at_night: usize) -> usize {
    match (night(), teeth()) {
        (true, _) => at_night,
        (_, true) => submission.div_ceil(10),
        _ => submission,
    }
}

/// `target/faults`: the test that asks is `target/<profile>/deps/<test>`.
fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test binary");
    test.ancestors().nth(3).expect("three folders above a test").join("faults")
}

/// The command that runs the test that asks.
fn command() -> String {
    let room = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let test = std::env::current_exe().ok();
    let stem = test.as_deref().and_then(|test| test.file_stem()?.to_str()).unwrap_or_default();
    let name = stem.rsplit_once('-').map_or(stem, |(name, _)| name);
    format!("{}cargo test -p {room} --test {name}", if night() { "CHAOS=night " } else { "" })
}

fn quoted(text: impl Display) -> String {
    let text = text.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\t'], " ");
    format!("\"{text}\"")
}
