//! The state machine of a bus where the devices speak by themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sitian_model::{Cause, Quality, Timestamp};

use crate::dialect::Dialect;
use crate::hj212::{Content, Frame, Framer, Message, Packets, encode};
use crate::lines::Lines;
use crate::plan::BusPlan;
use crate::talk::{Answer, Command, Known, Link, Sample};
use crate::{Field, line, nmea};

/// Stations and talkers that people are told about.
const STRANGERS_MAX: usize = 32;
/// Messages remembered in order to recognise their repetition.
const REMEMBERED_MAX: usize = 64;
/// Commands that wait for a caller who does not take them; then the oldest are dropped.
const COMMANDS_MAX: usize = 4_096;
/// Connections at a time; more are not listened to.
const LINKS_MAX: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Watch {
    /// The next reading is taken from then on.
    due: u64,
    /// Without one until then, there is none.
    deadline: u64,
}

/// What is being received on one connection.
#[derive(Debug, Default)]
struct Receiving {
    lines: Lines,
    framer: Framer,
    packets: Packets,
}

/// Listens to the devices of one bus.
#[derive(Debug)]
pub struct Listener {
    plan: BusPlan,
    /// Per device and point.
    watches: Vec<Vec<Watch>>,
    links: BTreeMap<Link, Receiving>,
    strangers: BTreeSet<String>,
    /// Acknowledged messages, oldest first: a station that missed the acknowledgement repeats them.
    remembered: VecDeque<Known>,
    now: u64,
    out: VecDeque<Command>,
}

impl Listener {
    /// A machine that listens from now on.
    pub fn new(plan: BusPlan, now_ms: u64) -> Self {
        let watches = plan
            .devices
            .iter()
            .map(|device| {
                let deadline = now_ms + 2 * u64::from(device.interval_ms.max(1));
                vec![Watch { due: now_ms, deadline }; device.points.len()]
            })
            .collect();
        Self {
            plan,
            watches,
            links: BTreeMap::new(),
            strangers: BTreeSet::new(),
            remembered: VecDeque::new(),
            now: now_ms,
            out: VecDeque::new(),
        }
    }

    /// A link is there.
    pub fn handle_up(&mut self, link: Link, now_ms: u64) {
        self.now = self.now.max(now_ms);
        if self.links.len() < LINKS_MAX {
            self.links.insert(link, Receiving::default());
        }
    }

    /// A link is gone, with what was half received.
    pub fn handle_down(&mut self, link: Link, now_ms: u64) {
        self.now = self.now.max(now_ms);
        self.links.remove(&link);
    }

    /// Bytes arrived. Those of a link that was never announced are ignored.
    pub fn handle_bytes(&mut self, link: Link, bytes: &[u8], now_ms: u64) {
        self.now = self.now.max(now_ms);
        let Some(receiving) = self.links.get_mut(&link) else { return };
        let Some(dialect) = self.plan.devices.first().map(|device| device.profile.dialect.clone()) else {
            return;
        };
        match dialect {
            Dialect::Nmea { strict } => {
                for text in receiving.lines.push(bytes) {
                    self.hear_sentence(&text, strict);
                }
            }
            Dialect::Line { patterns, .. } => {
                for text in receiving.lines.push(bytes) {
                    if let Some(fields) = line::read(&patterns, &text) {
                        self.hear(0, &fields, None, None);
                    }
                }
            }
            Dialect::Hj212(_) => {
                for frame in receiving.framer.push(bytes).into_iter().flatten() {
                    self.hear_frame(link, &frame);
                }
            }
            _ => {}
        }
    }

    /// The time that was asked for has come: what did not speak in its time has no value.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.now = self.now.max(now_ms);
        let cause = if self.links.is_empty() { Cause::Unreachable } else { Cause::Timeout };
        let mut samples = Vec::new();
        for (device, watches) in self.plan.devices.iter().zip(&mut self.watches) {
            let interval = u64::from(device.interval_ms.max(1));
            for (point, watch) in device.points.iter().zip(watches) {
                if self.now >= watch.deadline {
                    // One sample stands for all intervals that went by at once.
                    watch.deadline += ((self.now - watch.deadline) / interval + 1) * interval;
                    samples.push(Sample { point: point.point, value: None, quality: Quality::Bad(cause) });
                }
            }
        }
        self.tell(samples, None, None);
    }

    /// What to do next.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.out.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<u64> {
        self.watches.iter().flatten().map(|watch| watch.deadline).min()
    }

    fn hear_sentence(&mut self, text: &str, strict: bool) {
        let Ok(sentence) = nmea::parse_sentence(text, strict) else { return };
        let fields = nmea::fields(&sentence);
        let ours = |address: &str| address.is_empty() || address == sentence.talker;
        if let Some(number) = self.plan.devices.iter().position(|device| ours(&device.address)) {
            self.hear(number, &fields, None, None);
        } else if !fields.is_empty() {
            self.meet_stranger(&sentence.talker);
        }
    }

    /// One frame of a station. What is not kept is not acknowledged: a spoilt frame, a foreign station.
    fn hear_frame(&mut self, link: Link, frame: &Frame) {
        let Ok(message) = Message::parse(&frame.segment) else { return };
        let Some(number) = self.plan.devices.iter().position(|device| device.address == message.mn) else {
            return self.meet_stranger(&message.mn);
        };
        let Dialect::Hj212(station) = &self.plan.devices[number].profile.dialect else { return };
        if frame.crc != station.crc || (station.strict && !frame.exact) {
            return;
        }
        let station = station.clone();
        let known = message.qn.clone().map(|qn| (message.mn.clone(), qn, message.packet));
        let repeated = known.as_ref().is_some_and(|known| self.remembered.contains(known));
        let answer = message.acknowledgement().map(|segment| encode(&segment, station.crc));
        let answer = answer.map(|bytes| Answer { link, bytes, known });
        if repeated || !message.carries_data() {
            return self.answer(answer);
        }
        let Some(receiving) = self.links.get_mut(&link) else { return };
        // The packets before the last are acknowledged at once: the station sends no more before.
        let Some(body) = receiving.packets.join(&message) else { return self.answer(answer) };
        let content = Content::parse(&body);
        let wanted = station.commands.contains(&message.cn);
        let fields = if wanted { &content.fields[..] } else { &[] };
        // A value without its time is as old as its arrival.
        self.hear(number, fields, content.at(station.offset_min), answer);
    }

    /// The samples that came with this answer are durable: the station may forget them.
    pub fn handle_kept(&mut self, answer: Answer, now_ms: u64) {
        self.now = self.now.max(now_ms);
        self.answer(Some(answer));
    }

    fn answer(&mut self, answer: Option<Answer>) {
        let Some(Answer { link, bytes, known }) = answer else { return };
        if let Some(known) = known.filter(|known| !self.remembered.contains(known)) {
            if self.remembered.len() >= REMEMBERED_MAX {
                self.remembered.pop_front();
            }
            self.remembered.push_back(known);
        }
        // A station that has hung up meanwhile repeats itself, and is answered then.
        if self.links.contains_key(&link) {
            self.push(Command::Write(link, bytes));
        }
    }

    /// Takes what a device said. Readings with a time of their own are all taken, others at most once in an interval.
    fn hear(&mut self, number: usize, fields: &[Field], at: Option<Timestamp>, answer: Option<Answer>) {
        let device = &self.plan.devices[number];
        let interval = u64::from(device.interval_ms.max(1));
        let mut samples = Vec::new();
        for (point, watch) in device.points.iter().zip(&mut self.watches[number]) {
            let Some(meaning) = device.profile.points.get(point.profile_point) else { continue };
            let Some(field) = fields.iter().find(|field| field.name == meaning.field) else { continue };
            watch.deadline = self.now + 2 * interval;
            if at.is_some() || self.now >= watch.due {
                watch.due += (self.now.saturating_sub(watch.due) / interval + 1) * interval;
                let (value, quality) = meaning.value(field);
                samples.push(Sample { point: point.point, value, quality });
            }
        }
        if samples.is_empty() {
            return self.answer(answer);
        }
        self.tell(samples, at, answer);
    }

    fn meet_stranger(&mut self, name: &str) {
        let name: String = name.chars().take(64).collect();
        if self.strangers.len() < STRANGERS_MAX && self.strangers.insert(name.clone()) {
            self.push(Command::Stranger(name));
        }
    }

    fn tell(&mut self, samples: Vec<Sample>, at: Option<Timestamp>, answer: Option<Answer>) {
        if !samples.is_empty() {
            self.push(Command::Samples { samples, at, answer });
        }
    }

    fn push(&mut self, command: Command) {
        if self.out.len() >= COMMANDS_MAX {
            self.out.pop_front();
        }
        self.out.push_back(command);
    }
}
