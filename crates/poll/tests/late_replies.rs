//! A serial line on which replies come late, doubled, split, damaged, mixed with noise, echoes, foreign frames and babble:
//! no value may ever reach another point. `TRANSACTIONS=20000000` asks for more of them.

#![allow(clippy::unwrap_used)]
// The room is pure; how long its test runs may come from outside.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use sitian_model::Quality;
use sitian_poll::rtu::{Receiver, crc16, encode_request};
use sitian_poll::{BusPlan, Command, DevicePlan, Failure, PointPlan, Poller, Request, Sample};
use sitian_profile::{Catalogue, Context, Profile, builtin, catalogue_text, encode};

#[path = "../../../tests/system/src/tally.rs"]
mod tally;

const TIMEOUT_MS: u32 = 200;
const UNITS: u8 = 4;

/// A small seeded generator: the test is the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// The bytes on their way, each with the time of its arrival.
struct Line {
    dice: Dice,
    profile: Arc<Profile>,
    coming: Vec<(u64, Vec<u8>)>,
    seen: Seen,
}

/// How often the hard states were reached.
#[derive(Debug, Default)]
struct Seen {
    late: u64,
    damaged: u64,
    echoes: u64,
    foreign: u64,
    babble: u64,
    split: u64,
}

/// Three blocks of equal length on each of four units: nothing in a frame tells them apart but unit and time.
fn expected(unit: u8, point: usize) -> f64 {
    f64::from(unit) + point as f64 / 4.0
}

impl Line {
    fn answer(&mut self, request: &Request, now: u64) {
        if self.dice.below(50) == 0 {
            return;
        }
        let words: Vec<u16> = match self.profile.points.iter().position(|p| p.address == request.address) {
            Some(n) => encode(&self.profile.points[n], expected(request.unit, n), Context::default()),
            None => Vec::new(),
        };
        let mut frame = vec![request.unit, request.function.code(), words.len() as u8 * 2];
        frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        frame.extend(crc16(&frame).to_le_bytes());
        if self.dice.below(40) == 0 {
            self.damage(&mut frame);
        }
        // The line is given back what is sent for some time, as a badly wired adapter does.
        if now / 600_000 % 5 == 4 {
            self.seen.echoes += 1;
            self.coming.push((now + 1, encode_request(request).to_vec()));
        }
        // One answer in eight comes after the deadline, up to twice the timeout.
        let tail = if self.dice.below(8) == 0 {
            u64::from(TIMEOUT_MS) + self.dice.below(u64::from(TIMEOUT_MS))
        } else {
            20
        };
        self.seen.late += u64::from(tail > u64::from(TIMEOUT_MS));
        let split = self.dice.below(frame.len().max(1) as u64) as usize;
        self.seen.split += u64::from(split > 0);
        self.coming.push((now + tail, frame[..split].to_vec()));
        self.coming.push((now + tail + self.dice.below(4), frame[split..].to_vec()));
        self.disturb(now);
    }

    /// What a line does to a frame: flips of 1 to 3 bits, a burst of up to 16 bits, bytes lost, bytes inserted, an end cut off.
    fn damage(&mut self, frame: &mut Vec<u8>) {
        self.seen.damaged += 1;
        let bits = frame.len() as u64 * 8;
        let flip = |frame: &mut Vec<u8>, bit: u64| frame[bit as usize / 8] ^= 1 << (bit % 8);
        match self.dice.below(5) {
            0 => (0..=self.dice.below(3)).for_each(|_| flip(frame, self.dice.below(bits))),
            1 => {
                let from = self.dice.below(bits - 16);
                (from..from + 16).for_each(|bit| {
                    if self.dice.below(2) == 0 {
                        flip(frame, bit);
                    }
                });
            }
            2 => drop(frame.remove(self.dice.below(frame.len() as u64) as usize)),
            3 => frame.insert(self.dice.below(frame.len() as u64) as usize, self.dice.below(256) as u8),
            _ => frame.truncate(self.dice.below(frame.len() as u64) as usize),
        }
    }

    /// What nobody asked for: single bytes, whole frames of other units, babble.
    fn disturb(&mut self, now: u64) {
        if self.dice.below(30) == 0 {
            self.coming.push((now + self.dice.below(20), vec![self.dice.below(256) as u8]));
        }
        if self.dice.below(60) == 0 {
            self.seen.foreign += 1;
            let mut frame = vec![9, 3, 4, 1, 2, 3, 4];
            frame.extend(crc16(&frame).to_le_bytes());
            self.coming.push((now + self.dice.below(40), frame));
        }
        if self.dice.below(2_000) == 0 {
            self.seen.babble += 1;
            let bytes = 200 + self.dice.below(1_200);
            let noise = (0..bytes).map(|_| self.dice.below(256) as u8).collect();
            self.coming.push((now + self.dice.below(20), noise));
        }
    }

    /// Sends, receives and returns when and how it ended; bytes from before are flushed.
    fn execute(
        &mut self,
        request: Request,
        now: u64,
    ) -> (u64, Receiver, Result<sitian_poll::Answer, Failure>) {
        self.coming.retain(|(at, _)| *at > now);
        self.answer(&request, now);
        self.coming.sort_by_key(|(at, _)| *at);
        let mut receiver = Receiver::new(request);
        let deadline = now + u64::from(TIMEOUT_MS);
        while self.coming.first().is_some_and(|(at, _)| *at < deadline) {
            let (at, bytes) = self.coming.remove(0);
            if let Some(end) = receiver.push(&bytes) {
                return (at, receiver, end);
            }
        }
        let failure = receiver.expire();
        (deadline, receiver, Err(failure))
    }
}

/// Whether the sample, if it has a value, has the value of its own point.
fn is_right(sample: &Sample) -> bool {
    let (unit, point) = ((sample.point / 10) as u8, sample.point as usize % 10);
    sample.value.is_none_or(|value| value == expected(unit, point))
}

#[test]
fn late_and_broken_replies_never_become_the_value_of_another_point() {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let (file, text) = builtin().iter().find(|(name, _)| *name == "yosemitech-y532.toml").unwrap();
    let profile = Arc::new(Profile::parse(file, text, &catalogue).unwrap());
    let device = |unit: u8| DevicePlan {
        unit,
        profile: profile.clone(),
        points: (0..3)
            .map(|n| PointPlan {
                point: u32::from(unit) * 10 + n as u32,
                profile_point: n,
                interval_ms: 3_000,
            })
            .collect(),
        timeout_ms: TIMEOUT_MS,
        retries: 2,
        priority: 0,
    };
    let plan = BusPlan { devices: (1..=UNITS).map(device).collect(), pause_ms: 5, hold_off: true };
    let mut poller = Poller::new(plan, 0);
    let mut line = Line { dice: Dice(7), profile, coming: Vec::new(), seen: Seen::default() };
    let (mut now, mut requests, mut foreign, mut values, mut slots) = (0, 0_u64, 0_u64, 0_u64, 0_u64);
    let asked = std::env::var("TRANSACTIONS").ok().and_then(|text| text.parse().ok());
    let transactions: u64 = asked.unwrap_or(1_000_000);
    while requests < transactions {
        let mut sent = None;
        while let Some(command) = poller.poll_command() {
            match command {
                Command::Send(request, _) => sent = Some(request),
                Command::Write(..) | Command::Written(_) => panic!("nobody writes"),
                Command::Samples(samples) => {
                    for sample in samples {
                        slots += 1;
                        values += u64::from(sample.quality == Quality::Good);
                        assert!(is_right(&sample), "{sample:?} after {requests} requests");
                    }
                }
            }
        }
        let Some(request) = sent else {
            now = poller.poll_timeout().unwrap().max(now);
            poller.handle_timeout(now);
            continue;
        };
        requests += 1;
        let (at, receiver, end) = line.execute(request, now);
        now = at;
        for unit in receiver.foreign() {
            foreign += 1;
            poller.handle_foreign(*unit, now);
        }
        poller.handle_answer(end, now);
    }
    // The hard states were reached, and the bus still worked.
    let seen = &line.seen;
    for (count, one_in) in [
        (seen.late, 12),
        (seen.damaged, 60),
        (seen.echoes, 10),
        (seen.foreign, 90),
        (seen.babble, 3_000),
        (seen.split, 2),
        (foreign, 600),
    ] {
        assert!(count > transactions / one_in, "{seen:?}, {foreign} frames discarded");
    }
    assert!(values > slots / 2, "{values} values in {slots} samples");
    println!("{transactions} transactions, {slots} samples, {values} values, 0 misattributed; {seen:?}");
}
