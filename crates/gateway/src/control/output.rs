//! One output: how to write it, how to see that it was taken, and what has to hold meanwhile.

use std::sync::Arc;

use sitian_poll::{Request, Values, WriteDone, WriteOrder, WriteRequest};
use sitian_profile::{Context, Profile, ProfilePoint, Write, decode, encode};

use super::State;

/// A point that may be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub device: String,
    pub point: String,
    /// What people call it; may be empty.
    pub label: String,
    /// The configuration speaks of it: the centre is told.
    pub shown: bool,
    /// Position of its bus, and of the device on it.
    pub bus: usize,
    pub position: usize,
    /// Modbus unit id, and how long to wait for an answer.
    pub unit: u8,
    pub timeout_ms: u32,
    pub profile: Arc<Profile>,
    /// Position in [`Profile::points`] of what is written, and of what tells its state.
    pub written: usize,
    pub read: usize,
    /// Limits and safety.
    pub write: Write,
    /// The centre may command it.
    pub from_centre: bool,
    /// After the link has been down for so long it goes back to safety; 0: it stays.
    pub link_loss_ms: u64,
    /// What has to hold while it is away from its safe value.
    pub requires: Vec<Require>,
}

/// A point that has to be within bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Require {
    /// Its number in samples.
    pub point: u32,
    /// What people call it.
    pub name: String,
    pub min: f64,
    pub max: f64,
    /// An older value says nothing.
    pub age_max_ms: u64,
}

impl Output {
    /// What people call it.
    pub fn name(&self) -> String {
        format!("{}/{}", self.device, self.point)
    }

    /// Whether the other one is the same output under the same rules; where its bus stands and how samples are numbered
    /// does not matter.
    pub fn is_like(&self, other: &Self) -> bool {
        let plain = |output: &Self| {
            let requires = output.requires.iter().map(|require| Require { point: 0, ..require.clone() });
            Self { bus: 0, position: 0, requires: requires.collect(), ..output.clone() }
        };
        plain(self) == plain(other)
    }

    fn read_point(&self) -> &ProfilePoint {
        &self.profile.points[self.read]
    }

    /// The write of this value, with what is to be read back.
    pub fn order(&self, ticket: u64, value: f64) -> WriteOrder {
        let point = &self.profile.points[self.written];
        let words = encode(point, value, Context::default());
        let values = match (point.function.is_bits(), self.write.multiple, words.as_slice()) {
            (true, false, [word]) => Values::Coil(*word != 0),
            (true, _, words) => Values::Coils(words.iter().map(|word| *word != 0).collect()),
            (false, false, [word]) => Values::Register(*word),
            (false, _, words) => Values::Registers(words.to_vec()),
        };
        let (unit, timeout_ms) = (self.unit, self.timeout_ms);
        let read = self.read_point();
        let read_back = Request {
            unit,
            function: read.function,
            address: read.address,
            count: read.kind.registers(),
            timeout_ms,
        };
        WriteOrder {
            ticket,
            device: self.position,
            request: WriteRequest { unit, address: point.address, values, timeout_ms },
            read_back: Some(read_back),
            settle_ms: self.write.settle_ms,
        }
    }

    /// What came of writing this value: only what was read back counts as done.
    pub fn judge(&self, value: f64, done: &WriteDone) -> (State, String, Option<f64>) {
        let words = match &done.read_back {
            Some(Ok(words)) => words,
            Some(Err(failure)) => {
                return (State::Failed, format!("not read back: {failure}; {}", written(done)), None);
            }
            None => return (State::Failed, written(done), None),
        };
        let (read, _) = decode(self.read_point(), words, Context::default());
        // Registers hold steps: half a step is no difference.
        let tolerance = self.write.tolerance.max(self.read_point().scale.to_f64().abs() / 2.0);
        match read {
            Some(read) if (read - value).abs() <= tolerance => {
                (State::Done, format!("read back; {}", written(done)), Some(read))
            }
            Some(_) => (State::Failed, format!("read back as something else; {}", written(done)), read),
            None => (State::Failed, format!("read back as no number; {}", written(done)), None),
        }
    }
}

fn written(done: &WriteDone) -> String {
    match &done.written {
        Ok(()) => "the device confirmed".to_owned(),
        Err(failure) => format!("the device did not confirm: {failure}"),
    }
}
