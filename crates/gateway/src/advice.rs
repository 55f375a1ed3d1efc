//! What is probably wrong with a bus, in the words of the person with the screwdriver.

use std::path::{Path, PathBuf};

use sitian_fieldbus::{BusSettings, PortSettings};
use sitian_poll::Failure;
use sitian_profile::Serial;

/// What a bus is, in one line: `/dev/ttyUSB0 9600 8N1` or `192.168.1.50:502`.
pub fn describe(settings: &BusSettings) -> String {
    match settings {
        BusSettings::Tcp(server) => format!("{}:{}", server.host, server.port),
        BusSettings::Rtu(line) => match &line.port {
            PortSettings::Serial(port) => format!("{} {}", port.path, format(&port.serial)),
            other => format!("{} {}", other.describe(), line.baud),
        },
    }
}

/// Path of the serial port of this machine that the bus uses, if it uses one.
pub fn serial_path(settings: &BusSettings) -> Option<&str> {
    match settings {
        BusSettings::Rtu(line) => match &line.port {
            PortSettings::Serial(port) => Some(&port.path),
            _ => None,
        },
        BusSettings::Tcp(_) => None,
    }
}

/// `9600 8N1`.
pub fn format(serial: &Serial) -> String {
    let parity = serial.parity.word().chars().next().unwrap_or('n').to_ascii_uppercase();
    format!("{} {}{parity}{}", serial.baud, serial.data_bits, serial.stop_bits)
}

/// What was seen on a bus until now, as evidence for a cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Valid answers, exceptions included.
    pub answers: u32,
    /// Requests without any byte in return.
    pub silences: u32,
    /// Answers with a wrong checksum or form.
    pub garbled: u32,
}

impl Seen {
    /// Counts one outcome.
    pub fn count<T>(&mut self, outcome: &Result<T, Failure>) {
        match outcome {
            Ok(_) | Err(Failure::Exception(_)) => self.answers += 1,
            Err(Failure::Timeout) => self.silences += 1,
            Err(Failure::Checksum | Failure::Malformed) => self.garbled += 1,
            Err(_) => {}
        }
    }

    /// The likely cause, most likely first; empty if all is well.
    pub fn likely(self, serial: bool) -> &'static str {
        match (self.answers, self.silences, self.garbled) {
            (_, 0, 0) => "",
            (0, _, 0) if serial => {
                "no byte came back: power of the device, A and B swapped, another baud rate, another unit id"
            }
            (0, _, 0) => "no answer: another unit id, or the device behind the converter has no power",
            (0, _, _) => {
                "bytes come back but no whole frame: wrong baud rate or parity, or two devices with this unit id"
            }
            (_, _, 0) => "some answers are missing: a loose contact, a weak supply, or too short a timeout",
            _ => {
                "some answers are damaged: two devices with one unit id, no termination at the ends, or noise near the cable"
            }
        }
    }
}

/// Says before anything is opened why a serial port cannot be: missing, no rights, or in use.
pub fn port_trouble(path: &Path) -> Option<String> {
    let shown = path.display();
    if !path.exists() {
        let ports = ports();
        let known: Vec<String> = ports.iter().map(|port| format!("  {}", port.display())).collect();
        let list = if known.is_empty() {
            "this machine has no serial port: is the adapter plugged in?".to_owned()
        } else {
            format!("this machine has:\n{}", known.join("\n"))
        };
        return Some(format!("there is no port {shown}; {list}"));
    }
    use rustix::fs::{Access, access};
    if access(path, Access::READ_OK | Access::WRITE_OK).is_err() {
        let group = group_of(path);
        let who = std::env::var("USER").unwrap_or_else(|_| "$USER".to_owned());
        return Some(format!(
            "you have no right to use {shown}; it belongs to the group {group}: sudo usermod -aG {group} {who}, then log in again"
        ));
    }
    holder(path).map(|who| {
        format!(
            "{shown} is in use by {who}; two programs on one line spoil each other's answers.\n  \
             watch looks at a running gateway without disturbing it; else stop it first: sudo systemctl stop sitian-gateway"
        )
    })
}

fn is_locked(path: &Path) -> bool {
    use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // Closing it gives the lock back.
    open(path, flags, Mode::empty())
        .and_then(|file| flock(&file, FlockOperation::NonBlockingLockExclusive))
        .is_err()
}

/// The programs that have this port open, as far as we may see them.
fn holder(path: &Path) -> Option<String> {
    let wanted = std::fs::canonicalize(path).ok()?;
    // Both ends of a pseudo-terminal are open in the program that made it; there only a lock counts.
    if wanted.starts_with("/dev/pts") && !is_locked(&wanted) {
        return None;
    }
    let own = std::process::id().to_string();
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if id == own || !id.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let open = std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        if open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|target| target == wanted) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            names.push(format!("{} (process {id})", name.trim()));
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// The stable names first; where there are none, the kernel's.
fn ports() -> Vec<PathBuf> {
    let inside = |folder: &str| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let stable = inside("/dev/serial/by-id");
    if !stable.is_empty() {
        return stable;
    }
    let serial = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ["ttyUSB", "ttyACM", "ttyAMA", "ttyS", "serial0"].iter().any(|start| name.starts_with(start))
    };
    inside("/dev").into_iter().filter(serial).collect()
}

fn group_of(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let id = std::fs::metadata(path).map(|data| data.gid()).unwrap_or_default().to_string();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let named = groups.lines().find(|line| line.split(':').nth(2) == Some(&id));
    named.and_then(|line| line.split(':').next()).unwrap_or("dialout").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_names_its_likely_cause() {
        for (answers, silences, garbled, words) in [
            (5, 0, 0, ""),
            (0, 3, 0, "A and B swapped"),
            (0, 1, 2, "wrong baud rate or parity"),
            (4, 2, 0, "loose contact"),
            (4, 0, 2, "two devices with one unit id"),
        ] {
            let seen = Seen { answers, silences, garbled };
            let likely = seen.likely(true);
            assert!(likely.contains(words) && likely.is_empty() == words.is_empty(), "{seen:?}: {likely}");
        }
    }

    #[test]
    fn a_port_that_does_not_exist_is_told_with_those_that_do() {
        let told = port_trouble(Path::new("/dev/no-such-port")).unwrap();
        assert!(told.contains("there is no port /dev/no-such-port"), "{told}");
        assert!(told.contains("this machine has"), "{told}");
    }
}
