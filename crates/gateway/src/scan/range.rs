//! What a scan is told on the command line, and what it tells in return.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sitian_fieldbus::{BusSettings, PortSettings};
use sitian_profile::Parity;

/// Unit ids, and whether the ids that any device may answer to were asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units(pub Vec<u8>, pub bool);

impl FromStr for Units {
    type Err = String;

    /// Reads `1-247`, `3`, `1-10,45,255`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no list of unit ids such as 1-20,45");
        let mut units = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u8>().ok().filter(|unit| *unit > 0);
            let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
            if first > last {
                return Err(wrong());
            }
            units.extend((first..=last).filter(|unit| !units.contains(unit)).collect::<Vec<u8>>());
        }
        let named = units.iter().any(|unit| super::ANYBODY.contains(unit)) || units.len() < 247;
        Ok(Self(units, named))
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => write!(f, "none"),
            [one] => write!(f, "{one}"),
            [first, .., last] if usize::from(last.abs_diff(*first)) + 1 == self.0.len() => {
                write!(f, "{first}-{last}")
            }
            units => write!(f, "{}", units.iter().map(u8::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

/// `none`, `even` or `odd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParityWord(pub Parity);

impl FromStr for ParityWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Parity::None, Parity::Even, Parity::Odd];
        let found = all.into_iter().find(|parity| parity.word() == text);
        found.map(Self).ok_or_else(|| format!("{text:?} is no parity: none, even or odd"))
    }
}

/// A time as people say it: `40 s`, `3 min 20 s`.
pub fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// The keys of a `[[bus]]` after its name.
pub fn bus_keys(settings: &BusSettings) -> String {
    match settings {
        BusSettings::Tcp(server) => {
            format!("kind = \"tcp\"\nhost = {:?}\nport = {}\n", server.host, server.port)
        }
        BusSettings::Rtu(line) => match &line.port {
            PortSettings::Serial(port) => {
                let path = stable_name(Path::new(&port.path));
                let parity = port.serial.parity.word();
                format!(
                    "kind = \"rtu\"\npath = \"{}\"\nbaud = {}\nparity = \"{parity}\"\n",
                    path.display(),
                    line.baud
                )
            }
            PortSettings::Tcp(server) => {
                format!(
                    "kind = \"rtu_tcp\"\nhost = {:?}\nport = {}\nbaud = {}\n",
                    server.host, server.port, line.baud
                )
            }
            PortSettings::DialIn(_) | PortSettings::Tapped(..) => "kind = \"dial_in\"\n".to_owned(),
        },
    }
}

/// The name that stays when things are replugged, if there is one.
fn stable_name(path: &Path) -> PathBuf {
    let Ok(target) = std::fs::canonicalize(path) else { return path.to_owned() };
    let names =
        std::fs::read_dir("/dev/serial/by-id").into_iter().flatten().flatten().map(|entry| entry.path());
    let same = |name: &PathBuf| std::fs::canonicalize(name).is_ok_and(|its| its == target);
    names.into_iter().find(same).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_ids_are_read_as_people_write_them() {
        for (text, units) in [
            ("3", Some((vec![3], true, "3"))),
            ("1-4", Some((vec![1, 2, 3, 4], true, "1-4"))),
            ("1-3,45,2", Some((vec![1, 2, 3, 45], true, "1,2,3,45"))),
            ("1-247", Some(((1..=247).collect(), false, "1-247"))),
            ("0", None),
            ("5-2", None),
            ("256", None),
            ("one", None),
        ] {
            let read = text.parse::<Units>().ok();
            let shown = read.as_ref().map(Units::to_string);
            assert_eq!(shown.as_deref(), units.as_ref().map(|(_, _, shown)| *shown), "{text}");
            assert_eq!(read, units.map(|(units, named, _)| Units(units, named)), "{text}");
        }
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        for (seconds, text) in [(0, "0 s"), (99, "99 s"), (200, "3 min 20 s")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
