//! `replay`: reads a captured bus and tells what each frame means, with the decoder that the gateway itself uses. Opens no
//! port.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use sitian_poll::rtu::{Receiver, crc16};
use sitian_poll::{Answer, Failure, Request};
use sitian_profile::{Function, Profile, decode};
use sitian_settings::Faults;

use crate::advice::Seen;
use crate::ask::{Words, hex, read};
use crate::library::Library;
use crate::screen::{coloured, number, quality_colour, quality_words};

/// Transaction id, protocol id and length of a Modbus TCP frame.
const MBAP_BYTES: usize = 6;

/// What to read.
#[derive(clap::Args)]
pub struct Options {
    /// A file that `capture` wrote.
    file: PathBuf,
    /// Reads a unit with this profile instead of the captured one, such as 3=xy-md02; may be repeated.
    #[arg(long = "profile", value_name = "UNIT=PROFILE", value_parser = unit_and_profile)]
    profiles: Vec<(u8, String)>,
    /// Only what went wrong.
    #[arg(long)]
    faults: bool,
}

fn unit_and_profile(text: &str) -> Result<(u8, String), String> {
    let wrong = || format!("{text:?}: write UNIT=PROFILE, such as 3=xy-md02");
    let (unit, profile) = text.split_once('=').ok_or_else(wrong)?;
    Ok((unit.parse().map_err(|_| wrong())?, profile.to_owned()))
}

/// Tells every frame of the file, and what went wrong.
pub fn replay(options: &Options) -> Result<()> {
    let shown = options.file.display();
    let Ok(text) = std::fs::read_to_string(&options.file) else { bail!("read {shown}: no such text file") };
    let mut tape = Tape::new(Library::builtin().map_err(Faults)?);
    for (unit, profile) in &options.profiles {
        tape.follow(*unit, profile, true).map_err(anyhow::Error::msg)?;
    }
    let say = |told: Vec<Told>| {
        told.iter().filter(|told| told.fault || !options.faults).for_each(|told| say!("{}", told.text));
    };
    for (n, line) in text.lines().enumerate() {
        match tape.handle_line(line) {
            Ok(told) => say(told),
            Err(what) => bail!("read {shown}:{}: {what}", n + 1),
        }
    }
    say(tape.handle_end());
    say!("\n{}", tape.summary());
    Ok(())
}

/// A line to say.
#[derive(Debug)]
struct Told {
    text: String,
    fault: bool,
}

fn plain(text: String) -> Told {
    Told { text, fault: false }
}

fn fault(text: &str) -> Told {
    Told { text: coloured(&format!("    {text}"), "31"), fault: true }
}

/// A request that waits for its answer.
struct Open {
    at: jiff::Timestamp,
    request: Request,
    transaction: [u8; 2],
    receiver: Receiver,
}

/// The state of telling.
struct Tape {
    library: Library,
    units: BTreeMap<u8, (Arc<Profile>, bool)>,
    begun: bool,
    tcp: bool,
    open: Option<Open>,
    /// Received bytes of a Modbus TCP frame that is not whole yet.
    pending: Vec<u8>,
    seen: Seen,
    foreign: usize,
}

impl Tape {
    fn new(library: Library) -> Self {
        Self {
            library,
            units: BTreeMap::new(),
            begun: false,
            tcp: false,
            open: None,
            pending: Vec::new(),
            seen: Seen::default(),
            foreign: 0,
        }
    }

    /// From now on the unit is read with this profile; what the user said is not overruled by the file.
    fn follow(&mut self, unit: u8, profile: &str, said: bool) -> Result<(), String> {
        match self.library.get(profile) {
            Some(_) if !said && self.units.get(&unit).is_some_and(|(_, said)| *said) => {}
            Some(found) => drop(self.units.insert(unit, (found.clone(), said))),
            // The captured gateway had a profile of its own; registers are shown without it.
            None if !said => {}
            None => return Err(format!("find profile {profile:?}: {}", self.library.nearest(profile))),
        }
        Ok(())
    }

    fn handle_line(&mut self, line: &str) -> Result<Vec<Told>, String> {
        let line = line.trim();
        if !self.begun {
            self.begun = line == "# sitian capture 1";
            return if self.begun {
                Ok(Vec::new())
            } else {
                Err("this is no capture of version 1".to_owned())
            };
        }
        if line.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(head) = line.strip_prefix('#') {
            return self.head(head.trim()).map(|()| vec![plain(line.to_owned())]);
        }
        let mut parts = line.splitn(3, ' ');
        let (at, way, bytes) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let at: jiff::Timestamp =
            at.and_then(|at| at.parse().ok()).ok_or("the line does not begin with a time")?;
        let bytes: Option<Vec<u8>> =
            bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        let bytes = bytes.ok_or("not every byte is two hex digits")?;
        match way {
            Some(">") => Ok(self.sent(at, &bytes)),
            Some("<") => Ok(self.received(at, &bytes)),
            _ => Err("neither > nor < stands after the time".to_owned()),
        }
    }

    fn head(&mut self, head: &str) -> Result<(), String> {
        let words: Vec<&str> = head.split_whitespace().collect();
        match words.as_slice() {
            ["framing", framing] => self.tcp = *framing == "tcp",
            ["device", _, "unit", unit, "profile", profile] => {
                let unit = unit.parse().map_err(|_| format!("{unit} is no unit id"))?;
                self.follow(unit, profile, false)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn sent(&mut self, at: jiff::Timestamp, bytes: &[u8]) -> Vec<Told> {
        let mut told = self.handle_end();
        let time = crate::screen::moment(at.as_millisecond());
        let (transaction, body) = match (self.tcp, bytes) {
            (true, [first, second, _, _, _, _, body @ ..]) => ([*first, *second], body),
            _ => ([0; 2], bytes),
        };
        let &[unit, function @ 1..=4, high, low, count_high, count_low, ..] = body else {
            let shown: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            told.push(plain(format!("{time}  > {} (not a read)", shown.join(" "))));
            return told;
        };
        let table = [Function::Coils, Function::Discrete, Function::Holding, Function::Input]
            [usize::from(function) - 1];
        let (address, count) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([count_high, count_low]));
        let request = read(unit, table, address, count, 0);
        told.push(plain(format!("{time}  > unit {unit} {} 0x{address:04X} ×{count}", table.word())));
        self.pending.clear();
        self.open = Some(Open { at, request, transaction, receiver: Receiver::new(request) });
        told
    }

    fn received(&mut self, at: jiff::Timestamp, bytes: &[u8]) -> Vec<Told> {
        let frames = if self.tcp { self.tcp_frames(bytes) } else { vec![bytes.to_vec()] };
        let Some(open) = &mut self.open else {
            self.foreign += 1;
            return vec![fault("bytes that nobody asked for: a late answer, another master, or noise")];
        };
        let mut told = Vec::new();
        for frame in frames {
            let before = open.receiver.foreign().len();
            let outcome = open.receiver.push(&frame);
            for unit in &open.receiver.foreign()[before..] {
                self.foreign += 1;
                told.push(fault(&format!("a frame of unit {unit} that was not asked for was discarded")));
            }
            if let Some(outcome) = outcome {
                let waited = at.duration_since(open.at).as_millis();
                let request = open.request;
                self.open = None;
                told.extend(self.outcome(&request, outcome, waited));
                break;
            }
        }
        told
    }

    /// Whole frames of this transaction, as if they had come over a serial line.
    fn tcp_frames(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.pending.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(&[first, second, _, _, high, low]) = self.pending.first_chunk::<MBAP_BYTES>() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if self.pending.len() < MBAP_BYTES + length {
                break;
            }
            let mut frame: Vec<u8> = self.pending.drain(..MBAP_BYTES + length).skip(MBAP_BYTES).collect();
            frame.extend(crc16(&frame).to_le_bytes());
            if self.open.as_ref().is_some_and(|open| open.transaction == [first, second]) {
                frames.push(frame);
            } else {
                self.foreign += 1;
            }
        }
        frames
    }

    fn outcome(&mut self, request: &Request, outcome: Result<Answer, Failure>, waited_ms: i128) -> Vec<Told> {
        self.seen.count(&outcome);
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => return vec![fault(&format!("{failure} ({waited_ms} ms)"))],
        };
        let mut words = Words::default();
        let raw = words.take(request, answer);
        let mut told = vec![plain(format!("  < {}   ({waited_ms} ms)", hex(&raw)))];
        let Some((profile, _)) = self.units.get(&request.unit) else { return told };
        for point in &profile.points {
            let Some((own, context)) = words.of(point) else { continue };
            let (value, quality) = decode(point, &own, context);
            let value = number(value, point.decimals);
            let shown = coloured(&quality_words(quality), quality_colour(quality.word()));
            let text = format!("    {:<24} {value:>10} {:<8} {shown}", point.key.as_str(), point.unit);
            told.push(Told { text, fault: quality != sitian_model::Quality::Good });
        }
        told
    }

    /// Nothing more comes for the request that is open.
    fn handle_end(&mut self) -> Vec<Told> {
        let Some(open) = self.open.take() else { return Vec::new() };
        let failure = open.receiver.expire();
        self.seen.count::<()>(&Err(failure.clone()));
        let what = format!("unit {}: {failure}", open.request.unit);
        vec![fault(&what)]
    }

    fn summary(&self) -> String {
        let Seen { answers, silences, garbled } = self.seen;
        let likely = self.seen.likely(!self.tcp);
        let likely = if likely.is_empty() { String::new() } else { format!("\n{likely}") };
        let foreign = self.foreign;
        format!(
            "{answers} answers · {silences} without answer · {garbled} damaged · {foreign} foreign{likely}"
        )
    }
}

#[cfg(test)]
mod tests;
