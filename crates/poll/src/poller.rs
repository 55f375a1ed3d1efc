//! The state machine of one bus.

use std::collections::VecDeque;

use sitian_model::{Cause, PointIndex, Quality};

use crate::device::Device;
use crate::plan::{self, BusPlan};
use crate::slot::Task;
use crate::trouble::Trouble;
use crate::{Answer, DeviceStats, Failure, Request};

/// Samples of this many full rounds wait for a caller that does not take them; then the oldest are dropped.
const ROUNDS_WAITING_MAX: usize = 4;
/// The budget of lost time, in timeouts of the slowest device.
const BURST_TIMEOUTS: u64 = 3;

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
    /// Pass these on; each belongs to the moment of the event that produced it.
    Samples(Vec<Sample>),
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
    out: VecDeque<Command>,
    samples_waiting: usize,
    samples_waiting_max: usize,
}

#[derive(Debug, Clone)]
struct Flight {
    task: usize,
    step: Step,
    request: Request,
    attempt: u32,
    sent_at: u64,
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
            out: VecDeque::new(),
            samples_waiting: 0,
            samples_waiting_max: ROUNDS_WAITING_MAX * points,
        };
        poller.drive();
        poller
    }

    /// The request under way has ended. Ignored if there is none.
    pub fn handle_answer(&mut self, result: Result<Answer, Failure>, now_ms: u64) {
        self.advance(now_ms);
        if let Some(flight) = self.in_flight.take() {
            self.free_at = self.now + u64::from(self.plan.pause_ms);
            // Length and kind are checked again here: a bus library may have let a late reply pass.
            let words = result.and_then(|answer| answer.words(&flight.request).ok_or(Failure::Malformed));
            match words {
                Ok(words) => self.answered(&flight, words),
                Err(failure) => self.failed(flight, &failure),
            }
        }
        self.drive();
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
        let command = self.out.pop_front();
        if let Some(Command::Samples(samples)) = &command {
            self.samples_waiting -= samples.len();
        }
        command
    }

    /// When to call [`Poller::handle_timeout`], in the caller's monotonic milliseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        let task_wakes = |(number, task): (usize, &Task)| match &task.slot {
            None => Some(task.due),
            Some(_) if self.is_busy(number) => None,
            Some(slot) if self.in_flight.is_some() => Some(slot.end),
            Some(slot) => {
                let ready =
                    self.next_request(number).map_or(0, |(_, request)| self.ready_at(number, &request));
                Some(slot.end.min(ready.max(self.free_at)))
            }
        };
        let again = self.again.as_ref().map(|_| self.free_at);
        self.tasks.iter().enumerate().filter_map(task_wakes).chain(again).min()
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
        if let Some(flight) = self.again.take() {
            return self.send(flight);
        }
        if let Some((task, step, request)) = self.pick() {
            self.send(Flight { task, step, request, attempt: 0, sent_at: self.now });
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
                self.push_samples(samples);
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
        [&self.in_flight, &self.again].into_iter().flatten().any(|flight| flight.task == task)
    }

    /// Who has waited for the most turns goes first; while the budget of lost time is exhausted, those that have
    /// answered since go before those that may be silent too.
    fn pick(&self) -> Option<(usize, Step, Request)> {
        let mut best: Option<((bool, u64, usize), Step, Request)> = None;
        for number in 0..self.tasks.len() {
            let device = self.tasks[number].device;
            if self.tasks[number].slot.is_none() {
                continue;
            }
            let Some((step, request)) = self.next_request(number) else { continue };
            if self.now < self.ready_at(number, &request) {
                continue;
            }
            let unproven =
                self.devices[device].stats.last_answer_ms.is_none_or(|at| at < self.trouble.since());
            let key = (self.trouble.exhausted(self.now) && unproven, self.tasks[number].served, number);
            if best.as_ref().is_none_or(|(other, ..)| key < *other) {
                best = Some((key, step, request));
            }
        }
        best.map(|((_, _, number), step, request)| (number, step, request))
    }

    /// What the task's slot asks next.
    fn next_request(&self, number: usize) -> Option<(Step, Request)> {
        let task = &self.tasks[number];
        let plan = &self.plan.devices[task.device];
        let (step, function, address, count) = match self.devices[task.device].pre_read(&plan.profile) {
            Some(n) => {
                let pre = &plan.profile.pre_read[n];
                (Step::PreRead(n), pre.function, pre.address, pre.count)
            }
            None => {
                let block = task.open_block()?;
                let asked = &task.round.blocks[block];
                (Step::Block(block), asked.function, asked.address, asked.count)
            }
        };
        let timeout_ms = plan.timeout_ms.max(1);
        Some((step, Request { unit: plan.unit, function, address, count, timeout_ms }))
    }

    fn ready_at(&self, number: usize, request: &Request) -> u64 {
        self.devices[self.tasks[number].device].ready_at(request)
    }

    fn send(&mut self, mut flight: Flight) {
        let device = self.tasks[flight.task].device;
        self.turn += 1;
        self.tasks[flight.task].served = self.turn;
        self.devices[device].sent(flight.attempt == 0);
        flight.sent_at = self.now;
        self.out.push_back(Command::Send(flight.request, device));
        self.in_flight = Some(flight);
    }

    fn answered(&mut self, flight: &Flight, words: Vec<u16>) {
        self.trouble.port_up();
        let number = self.tasks[flight.task].device;
        let profile = self.plan.devices[number].profile.clone();
        let device = &mut self.devices[number];
        device.stats.answers += 1;
        device.answered(self.now - flight.sent_at, profile.pause_ms, self.now);
        if device.expects_late_replies() {
            self.hold_off(flight.request);
        }
        match flight.step {
            Step::PreRead(n) => self.devices[number].prepared(n, profile.pre_read[n].delay_ms, self.now),
            Step::Block(block) => {
                self.tasks[flight.task].settle(block, Ok(words));
                self.take_samples(flight.task);
            }
        }
    }

    fn failed(&mut self, flight: Flight, failure: &Failure) {
        let device = &mut self.devices[self.tasks[flight.task].device];
        let stats = &mut device.stats;
        match failure {
            Failure::Timeout => stats.timeouts += 1,
            Failure::Checksum => stats.checksums += 1,
            Failure::Malformed => stats.malformed += 1,
            Failure::Exception(_) => stats.exceptions += 1,
            Failure::Unreachable(_) => stats.unreachable += 1,
        }
        match failure {
            Failure::Unreachable(_) => {
                self.trouble.port_down(self.now);
                device.forget_preparation();
                self.tasks[flight.task].give_up(Cause::Unreachable);
                self.take_samples(flight.task);
            }
            Failure::Exception(code @ ..=9) | Failure::Exception(code @ 12..) => self.refused(flight, *code),
            _ => self.lost(flight, failure.cause()),
        }
    }

    /// The device is awake and says no.
    fn refused(&mut self, flight: Flight, code: u8) {
        self.trouble.port_up();
        let number = self.tasks[flight.task].device;
        let plan = &self.plan.devices[number];
        let device = &mut self.devices[number];
        let attempts = device.attempts(plan);
        device.answered(self.now - flight.sent_at, plan.profile.pause_ms, self.now);
        if device.expects_late_replies() {
            self.hold_off(flight.request);
        }
        let busy = matches!(code, 5 | 6);
        if busy && self.may_repeat(&flight, attempts) {
            self.again = Some(Flight { attempt: flight.attempt + 1, ..flight });
            return;
        }
        match flight.step {
            Step::PreRead(_) => self.tasks[flight.task].give_up(Cause::Preparation),
            Step::Block(block) => self.tasks[flight.task].settle(block, Err(Cause::Exception)),
        }
        self.take_samples(flight.task);
    }

    /// There was no valid answer: repeat, or end the step.
    fn lost(&mut self, flight: Flight, cause: Cause) {
        self.trouble.port_up();
        let lost_ms = self.now - flight.sent_at;
        self.trouble.spend(lost_ms, self.now);
        let number = self.tasks[flight.task].device;
        let attempts = self.devices[number].attempts(&self.plan.devices[number]);
        self.devices[number].lost(cause);
        // While silence has used up its budget, it gets no second chance.
        let spare = cause != Cause::Timeout || !self.trouble.exhausted(self.now);
        if spare && self.may_repeat(&flight, attempts) {
            self.again = Some(Flight { attempt: flight.attempt + 1, ..flight });
            return;
        }
        self.hold_off(flight.request);
        let awake = self.tasks[flight.task].slot.as_ref().is_some_and(|slot| slot.answered);
        let task = &mut self.tasks[flight.task];
        match flight.step {
            Step::Block(block) if awake => task.settle_mute(block, cause),
            step => {
                if let Step::Block(block) = step {
                    task.first = (block + 1) % task.round.blocks.len();
                }
                task.give_up(cause);
                let silent = self.devices.iter().filter(|device| device.is_silent()).count() as u64;
                let turn_ms = if self.has_healthy() { Trouble::turn_ms(silent, lost_ms) } else { 0 };
                self.devices[number].silent_round(cause, turn_ms, self.now);
            }
        }
        self.take_samples(flight.task);
    }

    fn may_repeat(&self, flight: &Flight, attempts: u32) -> bool {
        let in_time = self.tasks[flight.task].slot.as_ref().is_some_and(|slot| self.now < slot.end);
        flight.attempt + 1 < attempts && in_time
    }

    /// Late replies carry a unit id and nothing else, so every device of that unit is held off.
    fn hold_off(&mut self, request: Request) {
        if !self.plan.hold_off {
            return;
        }
        for (device, plan) in self.devices.iter_mut().zip(&self.plan.devices) {
            if plan.unit == request.unit {
                device.hold_off(request, self.now);
            }
        }
    }

    fn take_samples(&mut self, number: usize) {
        let profile = &self.plan.devices[self.tasks[number].device].profile;
        let samples = self.tasks[number].take_samples(profile);
        self.push_samples(samples);
    }

    fn push_samples(&mut self, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        self.samples_waiting += samples.len();
        match self.out.back_mut() {
            Some(Command::Samples(waiting)) => waiting.extend(samples),
            _ => self.out.push_back(Command::Samples(samples)),
        }
        if self.samples_waiting > self.samples_waiting_max {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let mut excess = self.samples_waiting - self.samples_waiting_max;
        self.samples_waiting = self.samples_waiting_max;
        for command in &mut self.out {
            if let Command::Samples(samples) = command {
                let dropped = excess.min(samples.len());
                samples.drain(..dropped);
                excess -= dropped;
            }
        }
    }
}

#[cfg(test)]
mod tests;
