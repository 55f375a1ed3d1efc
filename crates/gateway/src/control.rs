//! Control: decides about commands to outputs, and brings outputs back to safety.
//!
//! ```text
//!  order ─► refuse, or keep (disk) ─► write ─► read back ─► result: keep (disk) ─► tell whoever asked
//!  samples, link, time, start ─► an output away from its safe value whose reason is gone ─► write the safe value
//! ```
//!
//! What holds: nothing but the safe value is written before the order is on disk, and no result is told before the disk
//! took it or failed to; an id is executed once, and answered for ever with the same result (as long as it is
//! remembered). A move to the safe value waits for nothing: no interlock, no card. When this process dies nobody writes: the safe value is restored at the next start, and until then by the
//! device's own watchdog if it has one. Knows no sockets, files or clocks.

pub mod desk;
pub mod door;
mod interlock;
pub mod journal;
mod output;
mod renew;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use sitian_poll::{Sample, WriteDone, WriteOrder};
use sitian_wire::{CommandResult, WriteCommand};

pub use output::{Output, Require};

/// Results that are remembered, so that a repeated order is not executed again.
pub const REMEMBERED_MAX: usize = 1_000;
/// Orders under way; more are refused.
const UNDER_WAY_MAX: usize = 64;
/// Records on their way to the disk; with more, orders are refused without a record.
pub const KEEPING_MAX: usize = 256;
/// A safe value that could not be written is tried again after this many milliseconds, then after twice as many, up to 64
/// times.
const AGAIN_MS: u64 = 5_000;
const DOUBLINGS_MAX: u32 = 6;

/// Somebody wants an output to have a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Unique; an order that is repeated has the same.
    pub id: String,
    pub device: String,
    pub point: String,
    /// In the point's unit.
    pub value: f64,
    /// Who wants it, for the records.
    pub by: String,
    /// It came from the centre.
    pub centre: bool,
    /// Unix milliseconds after which it must not be executed any more; 0: never.
    pub expires_ms: i64,
    /// Back to the safe value after so many seconds, if that is sooner than the output's own limit; 0: that limit.
    #[serde(default)]
    pub for_s: u32,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub order: Order,
    pub state: State,
    /// Why, in words.
    pub detail: String,
    /// What was read back, in the unit of the point that was read.
    pub read_back: Option<f64>,
    /// Unix milliseconds of the end, by the gateway's clock.
    pub at_ms: i64,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Written, and read back as wanted.
    Done,
    /// Nothing was written.
    Refused,
    /// Written or perhaps written, and not confirmed.
    Failed,
}

impl Order {
    /// What the centre sent.
    pub fn from_centre(write: WriteCommand) -> Self {
        let WriteCommand { id, device, point, value, by, expires_ms, for_s } = write;
        Self { id, device, point, value, by, centre: true, expires_ms, for_s }
    }
}

impl Outcome {
    /// What the centre is told.
    pub fn to_wire(&self) -> CommandResult {
        let Order { id, device, point, value, by, expires_ms, for_s, .. } = self.order.clone();
        CommandResult {
            command: WriteCommand { id, device, point, value, by, expires_ms, for_s },
            outcome: match self.state {
                State::Done => sitian_wire::Outcome::Done,
                State::Refused => sitian_wire::Outcome::Refused,
                State::Failed => sitian_wire::Outcome::Failed,
            },
            detail: self.detail.clone(),
            read_back: self.read_back,
            at_ms: self.at_ms,
        }
    }
}

/// What is kept on disk, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// It will be executed.
    Accepted(Order),
    /// It is over.
    Ended(Outcome),
    /// The centre has the result with this id.
    Confirmed(String),
}

/// What the shell does.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Make durable, then call [`Control::handle_kept`] or [`Control::handle_unkept`]; in order.
    Keep(Entry),
    /// Hand to the bus (its position), then call [`Control::handle_written`].
    Write(usize, WriteOrder),
    /// The result is durable: tell whoever asked, and the centre.
    Tell(Outcome),
}

#[derive(Debug, Clone, Default)]
struct Away {
    /// The output may differ from its safe value.
    away: bool,
    /// When its time is over, and how long it was in seconds.
    until_ms: Option<u64>,
    limit_s: u32,
    /// A write to safety is under way, or the next attempt is due then.
    returning: bool,
    again_ms: u64,
    tries: u32,
}

/// Decides about all outputs of a gateway.
#[derive(Debug)]
pub struct Control {
    outputs: Vec<Output>,
    away: Vec<Away>,
    samples: BTreeMap<u32, (Sample, u64)>,
    results: VecDeque<Outcome>,
    /// Results that the centre has not confirmed.
    unconfirmed: BTreeMap<String, ()>,
    /// What is being kept, and the output it is for.
    keeping: VecDeque<(Entry, Option<usize>)>,
    /// On the bus: ticket, output, order.
    writing: BTreeMap<u64, (usize, Order)>,
    link_down_ms: Option<u64>,
    tickets: u64,
    /// The start, by both clocks.
    start: i64,
    began: u64,
    commands: VecDeque<Command>,
}

impl Control {
    /// Begins with what the journal says; `whole` unless something in it could not be read. Outputs that may be away from
    /// safety go back there, all of them if the journal is not whole; orders without an end have failed. `wall_ms`, the
    /// time of day of the start, makes the ids of this process's own orders unique.
    pub fn new(outputs: Vec<Output>, journal: Vec<Entry>, whole: bool, now: u64, wall_ms: i64) -> Self {
        let away = vec![Away::default(); outputs.len()];
        let mut control = Self {
            outputs,
            away,
            samples: BTreeMap::new(),
            results: VecDeque::new(),
            unconfirmed: BTreeMap::new(),
            keeping: VecDeque::new(),
            writing: BTreeMap::new(),
            link_down_ms: Some(now),
            tickets: 0,
            start: wall_ms,
            began: now,
            commands: VecDeque::new(),
        };
        control.replay(journal, wall_ms);
        for output in 0..control.outputs.len() {
            if control.away[output].away || !whole {
                control.away[output].away = true;
                control.go_safe(output, "the gateway has restarted", now);
            }
        }
        control
    }

    fn replay(&mut self, journal: Vec<Entry>, wall_ms: i64) {
        let mut open: Vec<Order> = Vec::new();
        for entry in journal {
            match entry {
                Entry::Accepted(order) => {
                    if let Some(output) = self.find(&order) {
                        // From here on nobody knows, until the end says so.
                        self.away[output].away = true;
                    }
                    open.push(order);
                }
                Entry::Ended(outcome) => {
                    open.retain(|order| order.id != outcome.order.id);
                    if let (Some(output), State::Done) = (self.find(&outcome.order), outcome.state) {
                        self.away[output].away = outcome.order.value != self.outputs[output].write.safe;
                    }
                    self.remember(outcome);
                }
                Entry::Confirmed(id) => drop(self.unconfirmed.remove(&id)),
            }
        }
        for order in open {
            self.end(order, State::Failed, "the gateway restarted before it knew".to_owned(), None, wall_ms);
        }
    }

    /// Somebody wants something. An id that is known already is answered with what came of it.
    pub fn handle_order(&mut self, order: Order, now: u64, wall_ms: i64) {
        if let Some(known) = self.results.iter().find(|outcome| outcome.order.id == order.id) {
            self.commands.push_back(Command::Tell(known.clone()));
            return;
        }
        let under_way = |(entry, _): &(Entry, Option<usize>)| match entry {
            Entry::Accepted(other) => other.id == order.id,
            Entry::Ended(outcome) => outcome.order.id == order.id,
            Entry::Confirmed(_) => false,
        };
        if self.keeping.iter().any(under_way) || self.writing.values().any(|(_, other)| other.id == order.id)
        {
            return;
        }
        if self.keeping.len() >= KEEPING_MAX {
            let detail = "too many commands wait for the card".to_owned();
            let outcome = Outcome { order, state: State::Refused, detail, read_back: None, at_ms: wall_ms };
            self.remember(outcome.clone());
            self.commands.push_back(Command::Tell(outcome));
            return;
        }
        match self.judge(&order, now, wall_ms) {
            Ok(output) if order.value == self.outputs[output].write.safe => {
                self.write_safe(output, order, now)
            }
            Ok(output) => self.keep(Entry::Accepted(order), Some(output)),
            Err(reason) => self.end(order, State::Refused, reason, None, wall_ms),
        }
    }

    /// The output that the order is for, if it may be executed now.
    fn judge(&self, order: &Order, now: u64, wall_ms: i64) -> Result<usize, String> {
        let Some(at) = self.find(order) else {
            let known: Vec<String> = self.outputs.iter().map(Output::name).collect();
            let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!(
                "{}/{} is no output of this gateway; it has: {list}",
                order.device, order.point
            ));
        };
        let output = &self.outputs[at];
        if order.centre && !output.from_centre {
            return Err(format!("{} does not take commands from the centre: see from_centre", output.name()));
        }
        if !(output.write.min..=output.write.max).contains(&order.value) {
            let (min, max) = (output.write.min, output.write.max);
            return Err(format!("{} is not between {min} and {max}", order.value));
        }
        if order.expires_ms != 0 && wall_ms > order.expires_ms {
            return Err("it came too late".to_owned());
        }
        if self.keeping.len() + self.writing.len() >= UNDER_WAY_MAX {
            return Err("too many commands are under way".to_owned());
        }
        if order.value != output.write.safe {
            if let Some(reason) = self.interlock(output, now, true) {
                return Err(format!("interlock: {reason}"));
            }
            if self.link_lost(output, now) {
                return Err("interlock: the link to the centre is down".to_owned());
            }
        }
        Ok(at)
    }

    fn link_lost(&self, output: &Output, now: u64) -> bool {
        output.link_loss_ms > 0 && self.link_down_ms.is_some_and(|since| now >= since + output.link_loss_ms)
    }

    /// A reading came: an output whose precondition it breaks goes back to safety.
    pub fn handle_sample(&mut self, sample: &Sample, now: u64) {
        let of_interest =
            self.outputs.iter().any(|output| output.requires.iter().any(|r| r.point == sample.point));
        if !of_interest {
            return;
        }
        self.samples.insert(sample.point, (*sample, now));
        for at in 0..self.outputs.len() {
            if self.away[at].away
                && let Some(reason) = self.interlock(&self.outputs[at], now, false)
            {
                self.go_safe(at, &format!("interlock: {reason}"), now);
            }
        }
    }

    /// The link to the centre is up or down.
    pub fn handle_link(&mut self, up: bool, now: u64) {
        match (up, self.link_down_ms) {
            (true, _) => {
                self.link_down_ms = None;
                let waiting = self.results.iter().filter(|o| self.unconfirmed.contains_key(&o.order.id));
                self.commands.extend(waiting.cloned().map(Command::Tell));
            }
            (false, None) => self.link_down_ms = Some(now),
            (false, Some(_)) => {}
        }
    }

    /// The centre has stored this result.
    pub fn handle_confirmed(&mut self, id: &str) {
        if self.unconfirmed.remove(id).is_some() {
            self.keep(Entry::Confirmed(id.to_owned()), None);
        }
    }

    /// The oldest [`Command::Keep`] is durable.
    pub fn handle_kept(&mut self, now: u64) {
        match self.keeping.pop_front() {
            Some((Entry::Accepted(order), Some(output))) => self.write(output, order, now),
            Some((Entry::Ended(outcome), _)) => {
                self.remember(outcome.clone());
                self.commands.push_back(Command::Tell(outcome));
            }
            _ => {}
        }
    }

    /// The oldest [`Command::Keep`] failed, and is not durable. What has been done is told all the same; what has not been
    /// begun is refused.
    pub fn handle_unkept(&mut self, wall_ms: i64) {
        match self.keeping.pop_front() {
            Some((Entry::Accepted(order), Some(_))) => {
                self.end(order, State::Refused, "the card takes no records".to_owned(), None, wall_ms);
            }
            Some((Entry::Ended(mut outcome), _)) => {
                outcome.detail.push_str("; not recorded by the gateway: the card takes no records");
                self.remember(outcome.clone());
                self.commands.push_back(Command::Tell(outcome));
            }
            _ => {}
        }
    }

    /// The bus has done what it could.
    pub fn handle_written(&mut self, done: WriteDone, now: u64, wall_ms: i64) {
        let Some((at, order)) = self.writing.remove(&done.ticket) else { return };
        let output = &self.outputs[at];
        let (state, detail, read_back) = output.judge(order.value, &done);
        let to_safe = order.value == output.write.safe;
        let away = &mut self.away[at];
        if to_safe {
            away.returning = false;
            away.again_ms = now + (AGAIN_MS << away.tries.min(DOUBLINGS_MAX));
            away.tries += 1;
            if state == State::Done {
                *away = Away::default();
            }
        }
        self.end(order, state, detail, read_back, wall_ms);
    }

    /// Something is due: see [`Control::poll_timeout`].
    pub fn handle_timeout(&mut self, now: u64) {
        for at in 0..self.outputs.len() {
            if !self.away[at].away {
                continue;
            }
            if self.away[at].until_ms.is_some_and(|until| now >= until) {
                let seconds = self.away[at].limit_s;
                self.go_safe(at, &format!("its longest time of {seconds} s is over"), now);
            } else if self.link_lost(&self.outputs[at], now) {
                self.go_safe(at, "the link to the centre is down", now);
            } else if self.away[at].again_ms > 0 && now >= self.away[at].again_ms {
                self.go_safe(at, "it is not safe yet", now);
            }
        }
    }

    /// When to call [`Control::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<u64> {
        let due = |(output, away): (&Output, &Away)| {
            if !away.away || away.returning {
                return None;
            }
            let lost =
                self.link_down_ms.filter(|_| output.link_loss_ms > 0).map(|at| at + output.link_loss_ms);
            let again = Some(away.again_ms).filter(|at| *at > 0);
            let due = [away.until_ms, lost, again].into_iter().flatten().min()?;
            Some(due.max(away.again_ms))
        };
        self.outputs.iter().zip(&self.away).filter_map(due).min()
    }

    /// What to do next; call until it is `None`.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn find(&self, order: &Order) -> Option<usize> {
        let same = |output: &Output| output.device == order.device && output.point == order.point;
        self.outputs.iter().position(same)
    }

    fn go_safe(&mut self, at: usize, reason: &str, now: u64) {
        let away = &mut self.away[at];
        if away.returning || now < away.again_ms {
            return;
        }
        away.returning = true;
        self.tickets += 1;
        let output = &self.outputs[at];
        let order = Order {
            id: format!("safe-{}-{}", self.start, self.tickets),
            device: output.device.clone(),
            point: output.point.clone(),
            value: output.write.safe,
            by: format!("gateway: {reason}"),
            centre: false,
            expires_ms: 0,
            for_s: 0,
        };
        self.write_safe(at, order, now);
    }

    /// Recorded meanwhile: after a restart without the record, the output is away at worst, and goes back again.
    fn write_safe(&mut self, at: usize, order: Order, now: u64) {
        let mut overtaken = Vec::new();
        for (entry, output) in self.keeping.iter_mut().filter(|(_, output)| *output == Some(at)) {
            *output = None;
            if let Entry::Accepted(earlier) = entry {
                overtaken.push(earlier.clone());
            }
        }
        for earlier in overtaken {
            let detail = "a move to the safe value came before its record was kept".to_owned();
            let wall_ms = self.start + (now - self.began) as i64;
            self.end(earlier, State::Refused, detail, None, wall_ms);
        }
        self.keep(Entry::Accepted(order.clone()), None);
        self.write(at, order, now);
    }

    fn write(&mut self, at: usize, order: Order, now: u64) {
        self.tickets += 1;
        let output = &self.outputs[at];
        let write = output.order(self.tickets, order.value);
        let limits = [output.write.on_max_s, order.for_s].into_iter().filter(|limit| *limit > 0);
        let limit_s = limits.min();
        self.away[at].away = true;
        self.away[at].until_ms = limit_s.map(|limit_s| now + u64::from(limit_s) * 1_000);
        self.away[at].limit_s = limit_s.unwrap_or(0);
        self.commands.push_back(Command::Write(output.bus, write));
        self.writing.insert(self.tickets, (at, order));
    }

    fn end(&mut self, order: Order, state: State, detail: String, read_back: Option<f64>, at_ms: i64) {
        self.keep(Entry::Ended(Outcome { order, state, detail, read_back, at_ms }), None);
    }

    fn keep(&mut self, entry: Entry, output: Option<usize>) {
        self.keeping.push_back((entry.clone(), output));
        self.commands.push_back(Command::Keep(entry));
    }

    fn remember(&mut self, outcome: Outcome) {
        self.unconfirmed.insert(outcome.order.id.clone(), ());
        self.results.push_back(outcome);
        if self.results.len() > REMEMBERED_MAX
            && let Some(old) = self.results.pop_front()
        {
            self.unconfirmed.remove(&old.order.id);
        }
    }
}
