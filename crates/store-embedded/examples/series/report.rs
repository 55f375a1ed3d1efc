//! Figures and how they are printed.

use std::path::Path;
use std::time::{Duration, Instant};

/// What was measured of one engine.
#[derive(Debug, Default)]
pub struct Figures {
    pub name: &'static str,
    pub ingest_per_s: f64,
    pub bytes_per_reading: f64,
    pub latest: Duration,
    pub hourly: Duration,
    /// None if it cannot be told.
    pub peak_bytes: Option<u64>,
    pub note: &'static str,
}

impl Figures {
    pub fn heading() {
        println!(
            "{:<22} {:>14} {:>10} {:>14} {:>16} {:>10}  note",
            "engine", "readings/s", "B/reading", "latest 1,000", "hourly 50×30 d", "memory"
        );
    }

    pub fn print(&self) {
        let peak =
            self.peak_bytes.map_or_else(|| "not told".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        println!(
            "{:<22} {:>14.0} {:>10.2} {:>11.1} ms {:>13.1} ms {:>10}  {}",
            self.name,
            self.ingest_per_s,
            self.bytes_per_reading,
            self.latest.as_secs_f64() * 1e3,
            self.hourly.as_secs_f64() * 1e3,
            peak,
            self.note
        );
    }
}

/// The shortest of five tries: what the engine needs when nothing else runs.
pub fn best<T>(mut question: impl FnMut() -> super::Outcome<T>) -> super::Outcome<(T, Duration)> {
    let mut best: Option<(T, Duration)> = None;
    for _ in 0..5 {
        let begin = Instant::now();
        let answer = question()?;
        let took = begin.elapsed();
        if best.as_ref().is_none_or(|(_, shortest)| took < *shortest) {
            best = Some((answer, took));
        }
    }
    best.ok_or_else(|| "nothing was asked".into())
}

/// Bytes of all files below a folder, as `du --apparent-size` counts them.
pub fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The most memory a process has held so far (`VmHWM`), in bytes; of this one if there is no number.
pub fn peak_bytes(pid: Option<u32>) -> Option<u64> {
    let of = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let status = std::fs::read_to_string(format!("/proc/{of}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).map(|kb| kb << 10)
}
