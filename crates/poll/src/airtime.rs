//! How much of a bus a plan takes, before anything is polled.
//!
//! One exchange costs: the request and the answer on the wire, the silence that ends each, what the device thinks about it,
//! and the pause that the bus or the device wants. What a plan takes is the sum over its requests, each as often as asked.

use crate::plan::{self, BusPlan, DevicePlan};
use crate::rtu::{response_bytes, silence_us};
use crate::trouble::SHARE;
use crate::{Block, Request};

const REQUEST_BYTES: u64 = 8;
/// A request of Modbus TCP; its answer is as much longer than one on a line.
const TCP_EXTRA_BYTES: u64 = 4;

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wire {
    /// Bits per second; 0: a network, where the bytes themselves take no time worth counting.
    pub baud: u32,
    /// Bits of one character on the line: start, data, parity, stop; 10 or 11 as a rule.
    pub character_bits: u32,
    /// Milliseconds that a device is believed to think before it answers.
    pub thinking_ms: u32,
}

/// What one device takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Requests in one round of all its points.
    pub requests: u32,
    /// Bytes sent and received in one round.
    pub bytes: u64,
    /// Microseconds of one round: bytes on the wire.
    pub wire_us: u64,
    /// Microseconds of one round: silence, thinking and pauses.
    pub waiting_us: u64,
    /// Share of the bus's time, 0 to 1 and beyond, at the intervals asked for.
    pub share: f64,
}

/// What a plan takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Airtime {
    /// Each device, in the order of [`BusPlan::devices`].
    pub devices: Vec<Share>,
}

impl Airtime {
    /// Share of the bus's time while all devices answer: above 1 the plan cannot be kept.
    pub fn share(&self) -> f64 {
        self.devices.iter().map(|device| device.share).sum()
    }

    /// Share while `dead` devices do not answer: the healthy ones still have their turns, and silence may take a tenth of
    /// the bus. Taken is the worst case, that the cheapest devices die.
    pub fn share_with_dead(&self, dead: usize) -> f64 {
        let mut shares: Vec<f64> = self.devices.iter().map(|device| device.share).collect();
        shares.sort_by(f64::total_cmp);
        let healthy: f64 = shares.iter().skip(dead).sum();
        let silence = if dead > 0 && healthy > 0.0 { 1.0 / SHARE as f64 } else { 0.0 };
        healthy + silence
    }

    /// The longest time one round of everything takes, in milliseconds: no interval can be shorter.
    pub fn round_ms(&self) -> u64 {
        self.devices.iter().map(|device| device.wire_us + device.waiting_us).sum::<u64>().div_ceil(1_000)
    }
}

/// What this plan takes on this wire.
pub fn airtime(plan: &BusPlan, wire: &Wire) -> Airtime {
    Airtime { devices: plan.devices.iter().map(|device| share(plan, device, wire)).collect() }
}

fn share(plan: &BusPlan, device: &DevicePlan, wire: &Wire) -> Share {
    let mut share = Share { requests: 0, bytes: 0, wire_us: 0, waiting_us: 0, share: 0.0 };
    let waiting_us = waiting_us(plan, device, wire);
    let mut add = |bytes: u64, interval_ms: u64| {
        let wire_us = wire_us(bytes, wire);
        share.requests += 1;
        share.bytes += bytes;
        share.wire_us += wire_us;
        share.waiting_us += waiting_us;
        share.share += (wire_us + waiting_us) as f64 / (interval_ms as f64 * 1_000.0);
    };
    for round in plan::rounds(device) {
        round.blocks.iter().for_each(|block| add(exchange_bytes(block, device, wire), round.interval_ms));
    }
    for pre in device.profile.pre_read.iter().filter(|pre| pre.every_ms > 0) {
        let block = Block { function: pre.function, address: pre.address, count: pre.count };
        add(exchange_bytes(&block, device, wire), pre.every_ms.into());
    }
    share
}

fn exchange_bytes(block: &Block, device: &DevicePlan, wire: &Wire) -> u64 {
    let Block { function, address, count } = *block;
    let request = Request { unit: device.unit, function, address, count, timeout_ms: device.timeout_ms };
    let extra = if wire.baud == 0 { 2 * TCP_EXTRA_BYTES } else { 0 };
    REQUEST_BYTES + response_bytes(&request) as u64 + extra
}

fn wire_us(bytes: u64, wire: &Wire) -> u64 {
    match wire.baud {
        0 => 0,
        baud => bytes * u64::from(wire.character_bits) * 1_000_000 / u64::from(baud),
    }
}

/// Silence ends the request for the device and the answer for us; thinking and pause may be longer than it.
fn waiting_us(plan: &BusPlan, device: &DevicePlan, wire: &Wire) -> u64 {
    let silence_us = if wire.baud == 0 { 0 } else { u64::from(silence_us(wire.baud)) };
    let pause_us = u64::from(plan.pause_ms.max(device.profile.pause_ms)) * 1_000;
    (u64::from(wire.thinking_ms) * 1_000).max(silence_us) + pause_us.max(silence_us)
}
