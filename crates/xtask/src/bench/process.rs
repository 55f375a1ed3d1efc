//! What Linux tells about processes and the machine in `/proc`. Knows no Sitian.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const BYTES_PER_KIB: u64 = 1_024;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Seconds on a core, in its own code and in the kernel for it.
    pub cpu_s: f64,
    /// Bytes in memory now.
    pub resident: u64,
    /// The most bytes in memory so far.
    pub resident_peak: u64,
    /// Bytes that it caused to be sent to the disk.
    pub written: u64,
}

impl Usage {
    /// Of a running process.
    pub fn of(pid: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let read = |path: PathBuf| {
            std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
        };
        let tasks = std::fs::read_dir(folder.join("task")).context("failed to list a program's threads")?;
        let schedules = tasks.map(|task| read(task?.path().join("schedstat"))).collect::<Result<Vec<_>>>()?;
        Self::parse(&schedules, &read(folder.join("status"))?, &read(folder.join("io"))?)
            .context("failed to understand /proc")
    }

    /// From every thread's `schedstat`, which counts nanoseconds; `stat` would count hundredths of a second, too
    /// coarse for a program that sleeps most of the time. A thread that has ended is not counted.
    fn parse(schedules: &[String], status: &str, io: &str) -> Option<Self> {
        let ns =
            schedules.iter().map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Self {
            cpu_s: ns as f64 / 1e9,
            resident: number(status, "VmRSS:")? * BYTES_PER_KIB,
            resident_peak: number(status, "VmHWM:")? * BYTES_PER_KIB,
            written: number(io, "\nwrite_bytes:")?,
        })
    }
}

fn number(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Cores, processor, memory and kernel in one line.
pub fn machine() -> String {
    let text = |path: &str| std::fs::read_to_string(Path::new("/proc").join(path)).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = text("cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("processor without a name", |(_, name)| name);
    let memory_gib = number(&text("meminfo"), "MemTotal:").unwrap_or(0) / (1 << 20);
    format!("{cores} cores, {model}, {memory_gib} GiB, Linux {}", text("sys/kernel/osrelease").trim())
}

/// The load average of the last minute: what else keeps the cores busy.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_the_text_of_proc() {
        let schedules = ["2500000000 17 99\n", "500000000 3 1\n"].map(str::to_owned);
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let io = "rchar: 9\nsyscw: 3\nread_bytes: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        let usage = Usage { cpu_s: 3.0, resident: 1 << 20, resident_peak: 2 << 20, written: 4_096 };
        assert_eq!(Usage::parse(&schedules, status, io), Some(usage));
        assert_eq!(Usage::parse(&schedules, "", io), None);
    }
}
