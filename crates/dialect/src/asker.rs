//! The state machine of a bus where the gateway speaks first: one conversation at a time, the device that has waited
//! longest first. A device that stays silent twice is asked less and less often, so that it costs its neighbours little.

use std::collections::VecDeque;

use sitian_model::{Cause, Quality};

use crate::conversation::{Conversation, Turn};
use crate::plan::{BusPlan, DevicePlan};
use crate::talk::{Command, Sample};

/// A request whose answer was lost is sent once more.
const ATTEMPTS: u32 = 2;
const BACK_OFF_MS_MIN: u64 = 1_000;
const BACK_OFF_MS_MAX: u64 = 60_000;
/// Commands that wait for a caller who does not take them; then the oldest are dropped.
const COMMANDS_MAX: usize = 1_024;

#[derive(Debug, Clone)]
struct Device {
    due: u64,
    silent_rounds: u32,
    cause: Cause,
    probe_at: u64,
}

#[derive(Debug, Clone)]
struct Round {
    device: usize,
    conversation: Conversation,
    attempt: u32,
    until: u64,
    /// The device said something that belongs to the conversation.
    heard: bool,
}

/// Asks the devices of one bus.
#[derive(Debug)]
pub struct Asker {
    plan: BusPlan,
    devices: Vec<Device>,
    round: Option<Round>,
    up: bool,
    free_at: u64,
    now: u64,
    out: VecDeque<Command>,
}

impl Asker {
    /// A machine whose first conversations are due now. The link is taken for down until [`Self::handle_up`].
    pub fn new(plan: BusPlan, now_ms: u64) -> Self {
        let device = Device { due: now_ms, silent_rounds: 0, cause: Cause::Timeout, probe_at: 0 };
        let devices = vec![device; plan.devices.len()];
        Self { plan, devices, round: None, up: false, free_at: now_ms, now: now_ms, out: VecDeque::new() }
    }

    /// The link is there.
    pub fn handle_up(&mut self, now_ms: u64) {
        self.now = self.now.max(now_ms);
        self.up = true;
        self.drive();
    }

    /// The link is gone: the conversation under way ends.
    pub fn handle_down(&mut self, now_ms: u64) {
        self.now = self.now.max(now_ms);
        self.up = false;
        if let Some(round) = self.round.take() {
            self.tell_bad(round.device, Cause::Unreachable);
        }
        self.drive();
    }

    /// Bytes arrived. Between conversations they are late and mean nothing.
    pub fn handle_bytes(&mut self, bytes: &[u8], now_ms: u64) {
        self.now = self.now.max(now_ms);
        if let Some(round) = &mut self.round
            && round.conversation.hear(bytes)
        {
            round.heard = true;
            self.take_turn();
        }
        self.drive();
    }

    /// The time that was asked for has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.now = self.now.max(now_ms);
        if let Some(round) = &mut self.round
            && self.now >= round.until
        {
            match round.conversation.turn() {
                Turn::Say { bytes, wait_ms }
                    if !bytes.is_empty() && round.attempt + 1 < attempts(&self.devices[round.device]) =>
                {
                    round.attempt += 1;
                    round.until = self.now + u64::from(wait_ms);
                    self.write(bytes);
                }
                _ => {
                    round.conversation.silence();
                    self.take_turn();
                }
            }
        }
        self.drive();
    }

    /// What to do next.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.out.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<u64> {
        if let Some(round) = &self.round {
            return Some(round.until);
        }
        self.devices.iter().map(|device| device.due.max(self.free_at)).min()
    }

    /// Says what the conversation wants said, or ends it.
    fn take_turn(&mut self) {
        let Some(round) = &mut self.round else { return };
        match round.conversation.turn() {
            Turn::Say { bytes, wait_ms } => {
                round.attempt = 0;
                round.until = self.now + u64::from(wait_ms);
                if !bytes.is_empty() {
                    self.write(bytes);
                }
            }
            Turn::Done => self.finish(),
        }
    }

    fn finish(&mut self) {
        let Some(round) = self.round.take() else { return };
        let plan = &self.plan.devices[round.device];
        let (fields, cause) = round.conversation.outcome();
        let samples: Vec<Sample> = plan
            .points
            .iter()
            .filter_map(|point| {
                let meaning = plan.profile.points.get(point.profile_point)?;
                let field = fields.iter().find(|field| field.name == meaning.field);
                let (value, quality) =
                    field.map_or((None, Quality::Bad(cause)), |field| meaning.value(field));
                Some(Sample { point: point.point, value, quality })
            })
            .collect();
        self.free_at = self.now + u64::from(self.plan.pause_ms);
        let device = &mut self.devices[round.device];
        if round.heard {
            device.silent_rounds = 0;
        } else {
            device.silent_rounds = device.silent_rounds.saturating_add(1);
            device.cause = cause;
            let wait = BACK_OFF_MS_MIN << device.silent_rounds.saturating_sub(2).min(6);
            device.probe_at = if device.silent_rounds < 2 { 0 } else { self.now + wait.min(BACK_OFF_MS_MAX) };
        }
        self.tell(samples);
    }

    /// Begins the conversation that is due.
    fn drive(&mut self) {
        // Each pass either begins a conversation or moves a device's due time into the future.
        while self.round.is_none() {
            let waiting = self.devices.iter().enumerate().filter(|(_, device)| device.due <= self.now);
            let Some((number, _)) = waiting.min_by_key(|(_, device)| device.due) else { return };
            if self.up && self.now < self.free_at {
                return;
            }
            let plan = &self.plan.devices[number];
            let interval = u64::from(plan.interval_ms.max(1));
            let device = &mut self.devices[number];
            let missed = (self.now - device.due) / interval;
            device.due += (missed + 1) * interval;
            let (silent, cause) = (self.now < device.probe_at, device.cause);
            if missed > 0 {
                // One sample stands for all rounds that the bus had no time for.
                self.tell_bad(number, if self.up { Cause::BusOverrun } else { Cause::Unreachable });
            }
            if !self.up {
                self.tell_bad(number, Cause::Unreachable);
            } else if silent {
                self.tell_bad(number, cause);
            } else {
                self.begin(number);
            }
        }
    }

    fn begin(&mut self, number: usize) {
        let plan = &self.plan.devices[number];
        let conversation = conversation(plan, self.plan.timeout_ms.max(1));
        let Some(conversation) = conversation else { return };
        self.round = Some(Round { device: number, conversation, attempt: 0, until: self.now, heard: false });
        self.take_turn();
    }

    fn write(&mut self, bytes: Vec<u8>) {
        self.push(Command::Write(0, bytes));
    }

    fn tell_bad(&mut self, device: usize, cause: Cause) {
        let points = &self.plan.devices[device].points;
        let bad = |point: &crate::PointPlan| Sample {
            point: point.point,
            value: None,
            quality: Quality::Bad(cause),
        };
        let samples = points.iter().map(bad).collect();
        self.tell(samples);
    }

    fn tell(&mut self, samples: Vec<Sample>) {
        if !samples.is_empty() {
            self.push(Command::Samples { samples, at: None, answer: None });
        }
    }

    fn push(&mut self, command: Command) {
        if self.out.len() >= COMMANDS_MAX {
            self.out.pop_front();
        }
        self.out.push_back(command);
    }
}

/// How often a request is sent in a row: a silent device gets one chance.
fn attempts(device: &Device) -> u32 {
    if device.silent_rounds > 0 { 1 } else { ATTEMPTS }
}

/// The conversation that reads all points of a device.
fn conversation(plan: &DevicePlan, timeout_ms: u32) -> Option<Conversation> {
    let points = plan.points.iter().filter_map(|point| plan.profile.points.get(point.profile_point));
    plan.profile.dialect.conversation(&plan.address, points.map(|point| point.field.as_str()), timeout_ms)
}
