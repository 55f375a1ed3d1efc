//! Runs one command after the other and keeps the score.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// A command as a person would type it; its environment stays out.
fn typed(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

/// Runs a command with its output on the terminal; an exit code other than 0 is an error.
pub fn loud(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to start {}", typed(command)))?;
    if status.success() { Ok(()) } else { bail!("{} ended with {status}", typed(command)) }
}

/// Runs a command silently; its output is shown only if it fails.
pub fn quiet(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {}", typed(command)))?;
    if output.status.success() {
        return Ok(());
    }
    eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    bail!("{} ended with {}", typed(command), output.status)
}

/// The score of a run of named steps.
#[derive(Default)]
pub struct Score {
    rows: Vec<(String, bool, f64)>,
}

impl Score {
    /// Runs one step under a heading; a failure is remembered, and the next steps still run.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let outcome = work();
        if let Err(error) = &outcome {
            eprintln!("FAILED {name}: {error:#}");
        }
        self.rows.push((name.to_owned(), outcome.is_ok(), start.elapsed().as_secs_f64()));
    }

    /// Prints every step with its seconds and the closing count; an error if any step failed.
    pub fn finish(self) -> Result<()> {
        println!("\n== summary");
        for (name, passed, seconds) in &self.rows {
            println!("{} {seconds:7.1} s  {name}", if *passed { "passed" } else { "FAILED" });
        }
        let failed = self.rows.iter().filter(|(_, passed, _)| !passed).count();
        println!("total  {:7.1} s", self.rows.iter().map(|row| row.2).sum::<f64>());
        println!("{} passed, {failed} failed", self.rows.len() - failed);
        if failed == 0 { Ok(()) } else { bail!("{failed} step(s) failed, see above") }
    }
}
