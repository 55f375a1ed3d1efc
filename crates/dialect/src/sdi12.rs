//! SDI-12 through an adapter: the adapter makes breaks and levels, here are the commands and replies.
//!
//! ```text
//!  aM!  ─► atttn      ttt seconds until n values are ready; then, or earlier, the service request `a`
//!  aD0! ─► a+1.5-2…   values, each with its sign; aD1! for those that did not fit, up to aD9!
//!  aMC! ─► the same, and the data carry a checksum of three characters
//!  aC!  ─► atttnn     without service request;   aR0! ─► values at once
//! ```
//!
//! Fields are named after the command without address and checksum letter, and the value's place: `M.1`, `C2.3`, `R0.1`.

use std::collections::VecDeque;

use sitian_model::Cause;
use sitian_profile::Decimal;

use crate::Field;
use crate::checksum;
use crate::conversation::Turn;
use crate::field::number;
use crate::lines::Lines;

/// A sensor that has nothing to wait for answers within 15 ms; the rest is the adapter's.
const PAGES_MAX: u8 = 10;
/// Values of one measurement: two digits in the reply of a concurrent one.
const VALUES_MAX: usize = 99;

/// True for what may address a sensor: a digit or a letter.
pub fn is_address(text: &str) -> bool {
    matches!(text.as_bytes(), [a] if a.is_ascii_alphanumeric())
}

/// How values are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `M`: the sensor says when it is ready.
    Measure,
    /// `C`: the sensor says how long it takes.
    Concurrent,
    /// `R`: at once.
    Continuous,
}

/// One measurement command, without address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Measurement {
    /// How.
    pub kind: Kind,
    /// Which one, 0 to 9. `M` and `C` without a digit are 0.
    pub number: u8,
}

impl Measurement {
    /// The command without address, checksum letter and exclamation mark.
    pub fn name(self) -> String {
        match (self.kind, self.number) {
            (Kind::Measure, 0) => "M".to_owned(),
            (Kind::Concurrent, 0) => "C".to_owned(),
            (Kind::Measure, n) => format!("M{n}"),
            (Kind::Concurrent, n) => format!("C{n}"),
            (Kind::Continuous, n) => format!("R{n}"),
        }
    }

    /// What to send.
    fn command(self, address: char, crc: bool) -> String {
        let letter = match self.kind {
            Kind::Measure => 'M',
            Kind::Concurrent => 'C',
            Kind::Continuous => 'R',
        };
        let crc = if crc { "C" } else { "" };
        match (self.kind, self.number) {
            (Kind::Measure | Kind::Concurrent, 0) => format!("{address}{letter}{crc}!"),
            (_, n) => format!("{address}{letter}{crc}{n}!"),
        }
    }
}

/// Reads a field's name: the measurement and the value's place, counted from 1.
pub fn parse_field(name: &str) -> Option<(Measurement, usize)> {
    let (command, place) = name.split_once('.')?;
    let (kind, digit) = match command.split_at_checked(1)? {
        ("M", digit) => (Kind::Measure, digit),
        ("C", digit) => (Kind::Concurrent, digit),
        ("R", digit) => (Kind::Continuous, digit),
        _ => return None,
    };
    let number = match digit.as_bytes() {
        [] if kind != Kind::Continuous => 0,
        [b'0'] if kind == Kind::Continuous => 0,
        [n @ b'1'..=b'9'] => n - b'0',
        _ => return None,
    };
    let place = place.parse().ok().filter(|n| (1..=VALUES_MAX).contains(n) && !place.starts_with('+'))?;
    Some((Measurement { kind, number }, place))
}

/// Reads the reply to a measurement command: seconds to wait and how many values there will be.
pub fn parse_start(line: &str, address: char) -> Option<(u32, usize)> {
    let rest = line.strip_prefix(address)?;
    if !(4..=6).contains(&rest.len()) || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (seconds, count) = rest.split_at(3);
    Some((seconds.parse().ok()?, count.parse().ok()?))
}

/// Why a line is no data reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DataFault {
    /// The three checksum characters are not those of the text.
    #[error("the checksum is wrong")]
    Checksum,
    /// This is no address followed by signed numbers.
    #[error("the reply is malformed")]
    Malformed,
}

/// The three characters of a checksum.
pub fn crc_characters(text: &str) -> [u8; 3] {
    let crc = checksum::arc(text.as_bytes());
    [12, 6, 0].map(|shift| 0x40 | (crc >> shift & 0x3F) as u8)
}

/// Reads a data reply: address and values; `crc` if it ends with a checksum.
pub fn parse_data(line: &str, crc: bool) -> Result<(char, Vec<Decimal>), DataFault> {
    let text = if crc {
        let (text, sum) =
            line.len().checked_sub(3).and_then(|at| line.split_at_checked(at)).ok_or(DataFault::Malformed)?;
        if sum.as_bytes() != crc_characters(text) {
            return Err(DataFault::Checksum);
        }
        text
    } else {
        line
    };
    let mut characters = text.chars();
    let address = characters.next().filter(char::is_ascii_alphanumeric).ok_or(DataFault::Malformed)?;
    let mut rest = characters.as_str().trim_end();
    let mut values = Vec::new();
    while !rest.is_empty() {
        let unsigned = rest.strip_prefix(['+', '-']).ok_or(DataFault::Malformed)?;
        let end = unsigned.find(['+', '-']).map_or(rest.len(), |at| at + 1);
        let (value, after) = rest.split_at(end);
        let plain = value[1..].bytes().all(|b| b.is_ascii_digit() || b == b'.');
        values.push(number(value).filter(|_| plain).ok_or(DataFault::Malformed)?);
        rest = after;
        if values.len() > VALUES_MAX {
            return Err(DataFault::Malformed);
        }
    }
    Ok((address, values))
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// The measurement is asked for.
    Start,
    /// The sensor measures; it said for how long.
    Wait { seconds: u32, expected: usize },
    /// Values are fetched, page by page.
    Data { expected: usize, page: u8, values: Vec<Decimal> },
}

/// All measurements of one sensor, one after the other.
#[derive(Debug, Clone)]
pub struct Conversation {
    address: char,
    crc: bool,
    timeout_ms: u32,
    todo: VecDeque<Measurement>,
    step: Step,
    lines: Lines,
    fields: Vec<Field>,
    cause: Option<Cause>,
}

impl Conversation {
    /// Makes these measurements; every reply may take `timeout_ms`.
    pub fn new(address: char, crc: bool, measurements: Vec<Measurement>, timeout_ms: u32) -> Self {
        Self {
            address,
            crc,
            timeout_ms,
            todo: measurements.into(),
            step: Step::Start,
            lines: Lines::default(),
            fields: Vec::new(),
            cause: None,
        }
    }

    /// What to do next.
    pub fn turn(&self) -> Turn {
        let Some(measurement) = self.todo.front() else { return Turn::Done };
        match &self.step {
            Step::Start => self.say(measurement.command(self.address, self.crc)),
            // A sensor that is late gets the time of one reply on top.
            Step::Wait { seconds, .. } => {
                Turn::Say { bytes: Vec::new(), wait_ms: seconds * 1_000 + self.timeout_ms }
            }
            Step::Data { page, .. } => self.say(format!("{}D{page}!", self.address)),
        }
    }

    fn say(&self, command: String) -> Turn {
        Turn::Say { bytes: command.into_bytes(), wait_ms: self.timeout_ms }
    }

    /// Takes what arrived; true if the turn has changed.
    pub fn hear(&mut self, bytes: &[u8]) -> bool {
        let lines = self.lines.push(bytes);
        let mut changed = false;
        for line in lines {
            // Some adapters send back what they were told.
            let line = line.rsplit_once('!').map_or(line.as_str(), |(_, reply)| reply);
            changed |= self.hear_line(line.trim());
        }
        changed
    }

    fn hear_line(&mut self, line: &str) -> bool {
        let Some(measurement) = self.todo.front().copied() else { return false };
        if !line.starts_with(self.address) {
            return false;
        }
        match &self.step {
            Step::Start if measurement.kind == Kind::Continuous => self.hear_data(line, usize::MAX, 0, &[]),
            Step::Start => match parse_start(line, self.address) {
                Some((_, 0)) => self.end_measurement(&[]),
                Some((0, expected)) => self.go(Step::Data { expected, page: 0, values: Vec::new() }),
                Some((seconds, expected)) => self.go(Step::Wait { seconds, expected }),
                None => false,
            },
            Step::Wait { expected, .. } => {
                let service = line.len() == 1 && measurement.kind == Kind::Measure;
                let expected = *expected;
                service && self.go(Step::Data { expected, page: 0, values: Vec::new() })
            }
            Step::Data { expected, page, values } => {
                let (expected, page, values) = (*expected, *page, values.clone());
                self.hear_data(line, expected, page, &values)
            }
        }
    }

    fn hear_data(&mut self, line: &str, expected: usize, page: u8, before: &[Decimal]) -> bool {
        match parse_data(line, self.crc) {
            Ok((_, new)) => {
                let empty = new.is_empty();
                let values = [before, &new].concat();
                let more = values.len() < expected && page + 1 < PAGES_MAX;
                if empty || !more || expected == usize::MAX {
                    return self.end_measurement(&values);
                }
                self.go(Step::Data { expected, page: page + 1, values })
            }
            Err(_) => {
                self.cause = Some(Cause::Checksum);
                false
            }
        }
    }

    fn go(&mut self, step: Step) -> bool {
        self.step = step;
        true
    }

    fn end_measurement(&mut self, values: &[Decimal]) -> bool {
        if let Some(measurement) = self.todo.pop_front() {
            let name = measurement.name();
            let fields = values.iter().take(VALUES_MAX).zip(1..);
            self.fields.extend(fields.map(|(value, place)| Field::good(format!("{name}.{place}"), *value)));
        }
        // Values that were announced and did not come: the answer was there, but not as it should be.
        self.cause = Some(Cause::Checksum);
        self.step = Step::Start;
        true
    }

    /// The reply did not come in time. While the sensor measures that is no fault: its values are fetched now.
    pub fn silence(&mut self) {
        match self.step {
            Step::Wait { expected, .. } => {
                self.step = Step::Data { expected, page: 0, values: Vec::new() };
            }
            _ => {
                if self.fields.is_empty() {
                    self.cause = self.cause.or(Some(Cause::Timeout));
                }
                self.todo.clear();
            }
        }
    }

    /// What was said, and why anything else was not.
    pub fn outcome(self) -> (Vec<Field>, Cause) {
        (self.fields, self.cause.unwrap_or(Cause::Timeout))
    }
}
