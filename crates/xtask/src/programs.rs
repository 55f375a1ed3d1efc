//! Test programs as cargo builds them, and many of them at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Test programs by the folder of their package and their name.
pub type Programs = BTreeMap<(String, String), PathBuf>;

/// Those that take longest come first: nobody waits for a straggler in the end.
const LONGEST: [&str; 7] =
    ["power_cuts", "partitions", "system_calls", "kills", "copies", "brokers", "bad_line"];

/// These wait for minutes and compute for seconds: all of their tests run at once.
const WAITING: [&str; 1] = ["copies"];

/// Runs test programs, each as cargo would and `at_once` of them at a time; shows what they say when they end.
pub fn run(programs: Programs, at_once: usize) -> Result<()> {
    let mut programs: Vec<_> = programs.into_iter().collect();
    let rank = |name: &str| LONGEST.iter().position(|long| *long == name).unwrap_or(LONGEST.len());
    programs.sort_by_key(|((_, name), _)| std::cmp::Reverse(rank(name)));
    let failed = side_by_side(programs, at_once, |((folder, name), path)| {
        let start = Instant::now();
        let package = format!("sitian-{}", folder.trim_start_matches("crates/").replace('/', "-"));
        let mut command = Command::new(&path);
        command.current_dir(&folder).env("CARGO_PKG_NAME", package).stdin(Stdio::null());
        if WAITING.contains(&name.as_str()) {
            command.env("RUST_TEST_THREADS", "8");
        }
        let output = command.output().with_context(|| format!("failed to start {}", path.display()))?;
        println!("{folder}: {name}, {:.1} s", start.elapsed().as_secs_f64());
        print!("{}", String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok((!output.status.success()).then(|| format!("{folder}: {name}")))
    });
    let failed = failed.into_iter().collect::<Result<Vec<_>>>()?;
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    if failed.is_empty() { Ok(()) } else { bail!("tests failed in {}", failed.join(", ")) }
}

/// Works on `at_once` items at a time, the last ones first; gives what came of each, in no order.
pub fn side_by_side<I: Send, O: Send>(items: Vec<I>, at_once: usize, work: impl Fn(I) -> O + Sync) -> Vec<O> {
    let waiting = Mutex::new(items);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|_| scope.spawn(|| std::iter::from_fn(next).map(&work).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    })
}

/// Runs cargo; gives the test programs that it built.
pub fn built(command: &mut Command) -> Result<Programs> {
    command.args(["--locked", "--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = command.output().context("failed to start cargo")?;
    if !output.status.success() {
        bail!("failed to build with {command:?}");
    }
    let here = std::env::current_dir().context("failed to name this folder")?;
    let mut programs = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let (manifest, target) = (&message["manifest_path"], &message["target"]);
        if let (Some(program), Some(manifest)) = (message["executable"].as_str(), manifest.as_str())
            && message["profile"]["test"] == true
            && let Some(Ok(package)) = Path::new(manifest).parent().map(|folder| folder.strip_prefix(&here))
        {
            let name = target["name"].as_str().unwrap_or_default().to_owned();
            programs.insert((package.display().to_string(), name), program.into());
        }
    }
    Ok(programs)
}
