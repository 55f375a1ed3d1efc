//! The state machine of one bus.

mod choice;
mod outbox;
mod writing;

pub use writing::{WriteDone, WriteOrder};

use sitian_model::{Cause, Mutant, PointIndex, Quality};

use crate::device::Device;
use crate::plan::{self, BusPlan};
use crate::slot::Task;
use crate::trouble::Trouble;
use crate::{Answer, Ask, DeviceStats, Failure, Request, WriteRequest};
use outbox::Outbox;
use writing::Writings;

/// The budget of lost time, in timeouts of the slowest device: a living device on a bad line seldom uses it up by chance.
const BURST_TIMEOUTS: u64 = 6;

/// One value of one point, or the statement that there is none and why. The caller adds the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Which point.
    pub point: PointIndex,
    /// In the point's unit; `None` exactly if the quality is bad.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
}

/// What the caller has to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Execute the request of this device (position in [`BusPlan::devices`]), then call [`Poller::handle_answer`].
    Send(Request, usize),
    /// Execute the write to this device, then call [`Poller::handle_answer`].
    Write(WriteRequest, usize),
    /// Pass these on; each belongs to the moment of the event that produced it.
    Samples(Vec<Sample>),
    /// A write of [`Poller::handle_write`] has come to its end.
    Written(WriteDone),
}

/// Polls one bus. After every `handle_…`, drain [`Poller::poll_command`] and wait for the answer or until
/// [`Poller::poll_timeout`], whichever comes first.
#[derive(Debug)]
pub struct Poller {
    plan: BusPlan,
    tasks: Vec<Task>,
    devices: Vec<Device>,
    trouble: Trouble,
    in_flight: Option<Flight>,
    /// A lost request that is repeated before anything else.
    again: Option<Flight>,
    /// The bus needs silence until then.
    free_at: u64,
    /// Counts requests, to serve who has waited for the most turns.
    turn: u64,
    now: u64,
    /// Milliseconds in which the bus was in use.
    busy_ms: u64,
    writings: Writings,
    out: Outbox,
}

#[derive(Debug, Clone)]
struct Flight {
    owner: Owner,
    device: usize,
    ask: Ask,
    attempt: u32,
    sent_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Task(usize, Step),
    /// A write, or reading it back, by its ticket.
    Writing(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    PreRead(usize),
    Block(usize),
}

impl Poller {
    /// A poller whose first slots begin now. Times are monotonic milliseconds.
    pub fn new(plan: BusPlan, now_ms: u64) -> Self {
        let mut tasks = Vec::new();
        for (number, device) in plan.devices.iter().enumerate() {
            tasks.extend(plan::rounds(device).into_iter().map(|round| Task::new(number, round, now_ms)));
        }
        let slowest = plan.devices.iter().map(|device| device.timeout_ms).max().unwrap_or(0);
        let points: usize = tasks.iter().map(|task| task.round.points.len()).sum();
        let mut poller = Self {
            devices: vec![Device::default(); plan.devices.len()],
            plan,
            tasks,
            trouble: Trouble::new(BURST_TIMEOUTS * u64::from(slowest.max(1))),
            in_flight: None,
            again: None,
            free_at: now_ms,
            turn: 0,
            now: now_ms,
            busy_ms: 0,
            writings: Writings::default(),
            out: Outbox::new(points),
        };
        poller.drive();
        poller
    }

    /// The request or write under way has ended. Ignored if there is none.
    pub fn handle_answer(&mut self, result: Result<Answer, Failure>, now_ms: u64) {
        self.advance(now_ms);
        if let Some(flight) = self.in_flight.take() {
            self.free_at = self.now + u64::from(self.plan.pause_ms);
            self.busy_ms += self.free_at - flight.sent_at;
            // Length and kind are checked again here: a bus library may have let a late reply pass.
            let words = result.and_then(|answer| match &flight.ask {
                Ask::Read(request) => answer.words(request).ok_or(Failure::Malformed),
                Ask::Write(_) if answer == Answer::Written => Ok(Vec::new()),
                Ask::Write(_) => Err(Failure::Malformed),
            });
            match words {
                Ok(words) => self.answered(&flight, words),
                Err(failure) => self.failed(flight, failure),
            }
        }
        self.drive();
    }

    /// Writes before the next poll, and reads back; [`Command::Written`] tells what came of it. A write to a device that is
    /// backed off is made nevertheless. Gives the order back if too many wait.
    pub fn handle_write(&mut self, order: WriteOrder, now_ms: u64) -> Result<(), WriteOrder> {
        self.advance(now_ms);
        if order.device >= self.devices.len() {
            return Err(order);
        }
        self.writings.take(order, self.now)?;
        self.drive();
        Ok(())
    }

    /// The time that [`Poller::poll_timeout`] asked for has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.advance(now_ms);
        self.drive();
    }

    /// A whole frame of this unit was seen and discarded while another answer was awaited: the late reply that its
    /// hold-off waits for.
    pub fn handle_foreign(&mut self, unit: u8, now_ms: u64) {
        self.advance(now_ms);
        for (device, plan) in self.devices.iter_mut().zip(&self.plan.devices) {
            if plan.unit == unit && device.expects_late_replies() {
                device.late_reply();
            }
        }
        self.drive();
    }

    /// What to do next; call until it is `None`. Samples that nobody takes are dropped, oldest first, beyond four
    /// rounds of the whole bus.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.out.pop()
    }

    /// When to call [`Poller::handle_timeout`], in the caller's monotonic milliseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        let task_wakes = |(number, task): (usize, &Task)| match &task.slot {
            None => Some(task.due),
            Some(_) if self.is_busy(number) => None,
            Some(slot) if self.in_flight.is_some() => Some(slot.end),
            Some(slot) => {
                let ready = self.next_ask(number).map_or(0, |(_, ask)| self.ready_at(number, &ask));
                Some(slot.end.min(ready.max(self.free_at)))
            }
        };
        let again = self.again.as_ref().map(|_| self.free_at);
        let write = |(_, device, at, ask)| self.write_ready_at(device, at, &ask).max(self.free_at);
        let writes = self.writings.next().map(write).filter(|_| self.in_flight.is_none());
        self.tasks.iter().enumerate().filter_map(task_wakes).chain(again).chain(writes).min()
    }

    /// Milliseconds in which the bus was in use since the start: requests, answers, waiting for them, pauses.
    pub fn busy_ms(&self) -> u64 {
        self.busy_ms
    }

    /// How each device has answered, in the order of [`BusPlan::devices`].
    pub fn stats(&self) -> impl Iterator<Item = &DeviceStats> {
        self.devices.iter().map(|device| &device.stats)
    }

    fn advance(&mut self, now_ms: u64) {
        self.now = self.now.max(now_ms);
    }

    fn drive(&mut self) {
        for task in 0..self.tasks.len() {
            self.keep_schedule(task);
        }
        if self.in_flight.is_some() || self.now < self.free_at {
            return;
        }
        let ready = |(_, device, at, ask): &(u64, usize, u64, Ask)| {
            self.now >= self.write_ready_at(*device, *at, ask)
        };
        let write = self.writings.next().find(ready);
        if let Some((ticket, device, _, ask)) = write {
            return self.send(Flight { owner: Owner::Writing(ticket), device, ask, attempt: 0, sent_at: 0 });
        }
        if let Some(flight) = self.again.take() {
            return self.send(flight);
        }
        if let Some((task, step, ask)) = self.pick() {
            let device = self.tasks[task].device;
            self.send(Flight { owner: Owner::Task(task, step), device, ask, attempt: 0, sent_at: 0 });
        }
    }

    /// Ends a slot whose time is over or that cannot be served, and begins the one that is due.
    fn keep_schedule(&mut self, number: usize) {
        if self.is_busy(number) {
            return;
        }
        let device = self.tasks[number].device;
        if let Some(end) = self.tasks[number].slot.as_ref().map(|slot| slot.end) {
            let cause = if self.now >= end {
                let cause = self.devices[device].waiting_for(self.now);
                self.devices[device].stats.overruns += u64::from(cause == Cause::BusOverrun);
                Some(cause)
            } else {
                self.blocked(device)
            };
            if let Some(cause) = cause {
                self.tasks[number].give_up(cause);
                self.take_samples(number);
            }
        }
        if self.tasks[number].slot.is_none() && self.now >= self.tasks[number].due {
            let missed = self.tasks[number].begin(self.now);
            if missed > 0 {
                // One sample stands for all of them: bunching would only delay what is fresh.
                self.devices[device].stats.overruns += missed;
                let samples = self.tasks[number].bad(Cause::BusOverrun);
                self.out.push_samples(samples);
            }
            if let Some(cause) = self.blocked(device) {
                self.devices[device].stats.skipped += 1;
                self.tasks[number].give_up(cause);
            }
            self.devices[device].refresh_preparation(&self.plan.devices[device].profile, self.now);
            self.take_samples(number);
        }
    }

    /// Why the device is not asked now, if so.
    fn blocked(&self, number: usize) -> Option<Cause> {
        if self.trouble.is_down(self.now) {
            return Some(Cause::Unreachable);
        }
        let device = &self.devices[number];
        let waits = self.now < device.probe_at || (self.trouble.exhausted(self.now) && self.has_healthy());
        (device.is_silent() && waits).then(|| device.cause.unwrap_or(Cause::Timeout))
    }

    fn has_healthy(&self) -> bool {
        self.devices.iter().any(Device::is_healthy)
    }

    /// A request of this task is under way or about to be repeated.
    fn is_busy(&self, task: usize) -> bool {
        let of_task = |flight: &Flight| matches!(flight.owner, Owner::Task(number, _) if number == task);
        [&self.in_flight, &self.again].into_iter().flatten().any(of_task)
    }

    fn send(&mut self, mut flight: Flight) {
        self.turn += 1;
        if let Owner::Task(task, _) = flight.owner {
            self.tasks[task].served = self.turn;
        }
        self.devices[flight.device].sent(flight.attempt == 0 && matches!(flight.ask, Ask::Read(_)), self.now);
        flight.sent_at = self.now;
        self.out.push(match flight.ask.clone() {
            Ask::Read(request) => Command::Send(request, flight.device),
            Ask::Write(request) => Command::Write(request, flight.device),
        });
        self.in_flight = Some(flight);
    }

    fn answered(&mut self, flight: &Flight, words: Vec<u16>) {
        self.trouble.port_up();
        let profile = self.plan.devices[flight.device].profile.clone();
        self.devices[flight.device].stats.answers += 1;
        self.awake(flight, profile.pause_ms);
        match flight.owner {
            Owner::Writing(ticket) => self.settle_write(ticket, Ok(words)),
            Owner::Task(_, Step::PreRead(n)) => {
                self.devices[flight.device].prepared(n, profile.pre_read[n].delay_ms, self.now);
            }
            Owner::Task(task, Step::Block(block)) => {
                self.tasks[task].settle(block, Ok(words));
                self.take_samples(task);
            }
        }
    }

    /// The device has said something to what was asked.
    fn awake(&mut self, flight: &Flight, pause_ms: u32) {
        let device = &mut self.devices[flight.device];
        device.answered(self.now - flight.sent_at, pause_ms, self.now);
        if device.expects_late_replies() {
            self.hold_off(&flight.ask);
        }
    }

    fn failed(&mut self, flight: Flight, failure: Failure) {
        let device = &mut self.devices[flight.device];
        device.stats.count(&failure);
        match (&failure, flight.owner) {
            (Failure::Unreachable(_), owner) => {
                self.trouble.port_down(self.now);
                device.forget_preparation();
                match owner {
                    Owner::Writing(ticket) => self.settle_write(ticket, Err(failure)),
                    Owner::Task(task, _) => {
                        self.tasks[task].give_up(Cause::Unreachable);
                        self.take_samples(task);
                    }
                }
            }
            (Failure::Exception(code @ (..=9 | 12..)), owner) => {
                self.trouble.port_up();
                self.awake(&flight, self.plan.devices[flight.device].profile.pause_ms);
                match owner {
                    Owner::Writing(ticket) => self.settle_write(ticket, Err(failure)),
                    Owner::Task(task, step) => self.refused(task, step, *code, flight),
                }
            }
            (_, owner) => {
                self.trouble.port_up();
                let lost_ms = self.now - flight.sent_at;
                let cause = failure.cause();
                self.devices[flight.device].lost(cause, matches!(flight.ask, Ask::Read(_)));
                // The budget is for devices that may be dead. One lost answer is what a bad line costs the living.
                if self.devices[flight.device].is_losing() {
                    self.trouble.spend(lost_ms, self.now);
                }
                match owner {
                    Owner::Writing(ticket) => {
                        self.hold_off(&flight.ask);
                        self.settle_write(ticket, Err(failure));
                    }
                    Owner::Task(task, step) => self.lost(task, step, cause, lost_ms, flight),
                }
            }
        }
    }

    fn settle_write(&mut self, ticket: u64, result: Result<Vec<u16>, Failure>) {
        if let Some(done) = self.writings.settle(ticket, result, self.now) {
            self.out.push(Command::Written(done));
        }
    }

    /// The device is awake and says no.
    fn refused(&mut self, task: usize, step: Step, code: u8, flight: Flight) {
        let attempts = self.devices[flight.device].attempts(&self.plan.devices[flight.device]);
        let busy = matches!(code, 5 | 6);
        if busy && self.may_repeat(task, &flight, attempts) {
            self.again = Some(Flight { attempt: flight.attempt + 1, ..flight });
            return;
        }
        match step {
            Step::PreRead(_) => self.tasks[task].give_up(Cause::Preparation),
            // Some register of the block does not exist: which one shows when it is asked for in parts.
            Step::Block(block) if code == 2 && self.tasks[task].part(block) => {
                self.devices[flight.device].stats.parted += 1;
            }
            Step::Block(block) if code == 2 => self.tasks[task].settle_mute(block, Cause::Exception),
            Step::Block(block) => self.tasks[task].settle(block, Err(Cause::Exception)),
        }
        self.take_samples(task);
    }

    /// There was no valid answer: repeat, or end the step.
    fn lost(&mut self, task: usize, step: Step, cause: Cause, lost_ms: u64, flight: Flight) {
        let attempts = self.devices[flight.device].attempts(&self.plan.devices[flight.device]);
        // While silence has used up its budget, who was silent before gets no second chance.
        let losing = cause == Cause::Timeout && self.devices[flight.device].is_losing();
        let spare = !losing || !self.trouble.exhausted(self.now);
        if spare && self.may_repeat(task, &flight, attempts) {
            self.again = Some(Flight { attempt: flight.attempt + 1, ..flight });
            return;
        }
        self.hold_off(&flight.ask);
        let awake = self.tasks[task].slot.as_ref().is_some_and(|slot| slot.answered);
        match step {
            Step::Block(block) if awake => self.tasks[task].settle_mute(block, cause),
            step => {
                let task = &mut self.tasks[task];
                if let Step::Block(block) = step {
                    task.first = (block + 1) % task.round.blocks.len();
                }
                task.give_up(cause);
                let silent = self.devices.iter().filter(|device| device.is_silent()).count() as u64;
                let turn_ms = if self.has_healthy() { Trouble::turn_ms(silent, lost_ms) } else { 0 };
                self.devices[flight.device].silent_round(cause, turn_ms, self.now);
            }
        }
        self.take_samples(task);
    }

    fn may_repeat(&self, task: usize, flight: &Flight, attempts: u32) -> bool {
        let in_time = self.tasks[task].slot.as_ref().is_some_and(|slot| self.now < slot.end);
        flight.attempt + 1 < attempts && in_time
    }

    /// Late replies carry a unit id and nothing else, so every device of that unit is held off. The confirmation of a
    /// write cannot be mistaken for an answer to a read.
    fn hold_off(&mut self, ask: &Ask) {
        let Ask::Read(request) = ask else { return };
        if !self.plan.hold_off || Mutant::NoHoldOff.lives() {
            return;
        }
        for (device, plan) in self.devices.iter_mut().zip(&self.plan.devices) {
            if plan.unit == request.unit {
                device.hold_off(*request, self.now);
            }
        }
    }

    fn take_samples(&mut self, number: usize) {
        let profile = &self.plan.devices[self.tasks[number].device].profile;
        let samples = self.tasks[number].take_samples(profile);
        self.out.push_samples(samples);
    }
}

#[cfg(test)]
mod tests;
