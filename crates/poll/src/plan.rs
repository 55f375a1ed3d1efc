//! What is to be polled on a bus, and how registers share requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use sitian_model::PointIndex;
use sitian_profile::{Function, Profile, ProfilePoint, Range};

/// Bits of coils or discrete inputs that one request may ask for.
const BITS_MAX: u16 = 2000;
const HOLD_OFF_MS_MIN: u64 = 1_000;

/// One bus: a serial line, or one Modbus TCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct BusPlan {
    /// The devices on it; a position in this list names a device in commands and statistics.
    pub devices: Vec<DevicePlan>,
    /// Silence between an answer and the next request, in milliseconds.
    pub pause_ms: u32,
    /// True where a late reply cannot be told from the awaited one (RTU). False where something else in the frame
    /// tells (the transaction number of Modbus TCP).
    pub hold_off: bool,
}

impl BusPlan {
    /// How long to leave the bus alone before the first poller on it is made, in milliseconds. An earlier process may have
    /// been killed between a request and its late reply; nobody remembers what that would answer.
    pub fn settle_ms(&self) -> u64 {
        let slowest = self.devices.iter().map(|device| device.timeout_ms).max().unwrap_or(0);
        if self.hold_off { hold_off_ms(slowest) } else { 0 }
    }
}

/// How long a reply may be late, in milliseconds.
pub(crate) fn hold_off_ms(timeout_ms: u32) -> u64 {
    (2 * u64::from(timeout_ms)).max(HOLD_OFF_MS_MIN)
}

/// One device on a bus.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePlan {
    /// Modbus unit id, 1 to 255.
    pub unit: u8,
    /// What its registers mean.
    pub profile: Arc<Profile>,
    /// What to poll. Points whose `profile_point` does not exist are left out.
    pub points: Vec<PointPlan>,
    /// How long to wait for an answer, in milliseconds; at least 1.
    pub timeout_ms: u32,
    /// Immediate repeats of a request whose answer was lost.
    pub retries: u8,
    /// When the bus has not enough time for all, devices of higher priority go first; 0 is normal.
    pub priority: u8,
}

/// One point to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PointPlan {
    /// Its number in samples.
    pub point: PointIndex,
    /// Position in [`Profile::points`].
    pub profile_point: usize,
    /// Milliseconds between two polls; at least 1.
    pub interval_ms: u32,
}

/// Registers or bits read with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// Which table.
    pub function: Function,
    /// First address.
    pub address: u16,
    /// How many.
    pub count: u16,
}

/// The points of one device that share an interval, with the blocks that hold them.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) interval_ms: u64,
    pub(crate) blocks: Vec<Block>,
    pub(crate) points: Vec<RoundPoint>,
}

/// One point of a round and where its registers arrive.
#[derive(Debug, Clone)]
pub(crate) struct RoundPoint {
    pub(crate) point: PointIndex,
    pub(crate) profile_point: usize,
    pub(crate) own: Place,
    /// Registers or bits of the value itself.
    pub(crate) length: u16,
    pub(crate) unit: Option<Place>,
    pub(crate) decimals: Option<Place>,
    pub(crate) status: Option<Place>,
}

impl RoundPoint {
    /// Everything the value depends on.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        [Some(self.own), self.unit, self.decimals, self.status].into_iter().flatten()
    }

    fn places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        [Some(&mut self.own), self.unit.as_mut(), self.decimals.as_mut(), self.status.as_mut()]
            .into_iter()
            .flatten()
    }

    fn lengths(&self) -> impl Iterator<Item = (Place, u16)> {
        let own = (self.own, self.length);
        let one = |place: Option<Place>| place.map(|place| (place, 1));
        [Some(own), one(self.unit), one(self.decimals), one(self.status)].into_iter().flatten()
    }
}

impl Round {
    /// Replaces a block by its parts, the first of them in its place: what lies between gaps, or, without gaps, what
    /// each value needs. False if there is only one part.
    pub(crate) fn part(&mut self, block: usize) -> bool {
        let Block { function, address, count } = self.blocks[block];
        let mut needed: Vec<(u16, u16)> = Vec::new();
        for point in &self.points {
            for (place, length) in point.lengths() {
                if place.block == block {
                    needed.push((place.offset as u16, place.offset as u16 + length));
                }
            }
        }
        needed.sort_unstable();
        let join = |touching: bool| {
            let mut parts: Vec<(u16, u16)> = Vec::new();
            for (first, end) in &needed {
                match parts.last_mut() {
                    Some(last) if *first < last.1 || (touching && *first == last.1) => {
                        last.1 = last.1.max(*end);
                    }
                    _ => parts.push((*first, *end)),
                }
            }
            parts
        };
        let whole = |parts: &[(u16, u16)]| parts == [(0, count)];
        let mut parts = join(true);
        if whole(&parts) {
            parts = join(false);
        }
        if whole(&parts) || parts.is_empty() {
            return false;
        }
        let added = self.blocks.len();
        for (n, (first, end)) in parts.iter().enumerate() {
            let part = Block { function, address: address + first, count: end - first };
            if n == 0 { self.blocks[block] = part } else { self.blocks.push(part) }
        }
        for place in self.points.iter_mut().flat_map(RoundPoint::places_mut).filter(|p| p.block == block) {
            let holds = |(first, end): &(u16, u16)| (*first..*end).contains(&(place.offset as u16));
            let n = parts.iter().position(holds).unwrap_or(0);
            place.offset -= usize::from(parts[n].0);
            place.block = if n == 0 { block } else { added + n - 1 };
        }
        true
    }
}

/// A register within a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) block: usize,
    pub(crate) offset: usize,
}

/// The blocks that cover these points: neighbours share a request if the gap between them is at most the profile's
/// `gap_max`, no unreadable register lies in between and the whole stays within `registers_max`. Registers that
/// points state their unit or decimals in are covered too.
pub fn blocks<'p>(profile: &Profile, points: impl IntoIterator<Item = &'p ProfilePoint>) -> Vec<Block> {
    let mut wanted: Vec<(Function, u32, u32)> = Vec::new();
    for point in points {
        let first = u32::from(point.address);
        wanted.push((point.function, first, first + u32::from(point.kind.registers())));
        let extras = [
            point.unit_register.as_ref().map(|register| register.address),
            point.decimals_register.map(|register| register.address),
            point.status_register.map(|register| register.address),
        ];
        wanted.extend(extras.into_iter().flatten().map(u32::from).map(|at| (point.function, at, at + 1)));
    }
    wanted.sort_unstable();
    let mut merged: Vec<(Function, u32, u32)> = Vec::new();
    for (function, first, end) in wanted {
        let max = if function.is_bits() { BITS_MAX } else { profile.registers_max };
        if let Some(last) = merged.last_mut() {
            let joined = last.2.max(end);
            let fits = last.0 == function
                && first <= last.2 + u32::from(profile.gap_max)
                && joined - last.1 <= u32::from(max)
                && !profile.unreadable.iter().any(|range| hits(range, function, last.1, joined));
            if fits {
                last.2 = joined;
                continue;
            }
        }
        merged.push((function, first, end));
    }
    let block = |(function, first, end): (Function, u32, u32)| Block {
        function,
        address: first as u16,
        count: (end - first) as u16,
    };
    merged.into_iter().map(block).collect()
}

fn hits(range: &Range, function: Function, first: u32, end: u32) -> bool {
    range.function == function && u32::from(range.first) < end && first <= u32::from(range.last)
}

/// Groups a device's points by interval, shortest first.
pub(crate) fn rounds(device: &DevicePlan) -> Vec<Round> {
    let mut by_interval: BTreeMap<u64, Vec<PointPlan>> = BTreeMap::new();
    for point in &device.points {
        by_interval.entry(u64::from(point.interval_ms.max(1))).or_default().push(*point);
    }
    let round = |(interval_ms, plans): (u64, Vec<PointPlan>)| {
        let known = |plan: &PointPlan| device.profile.points.get(plan.profile_point);
        let blocks = blocks(&device.profile, plans.iter().filter_map(known));
        let points = plans.iter().filter_map(|plan| round_point(plan, known(plan)?, &blocks)).collect();
        Round { interval_ms, blocks, points }
    };
    by_interval.into_iter().map(round).filter(|round| !round.points.is_empty()).collect()
}

fn round_point(plan: &PointPlan, point: &ProfilePoint, blocks: &[Block]) -> Option<RoundPoint> {
    let place = |address: u16, count: u16| {
        let holds = |block: &Block| {
            block.function == point.function
                && block.address <= address
                && u32::from(address) + u32::from(count) <= u32::from(block.address) + u32::from(block.count)
        };
        let block = blocks.iter().position(holds)?;
        Some(Place { block, offset: usize::from(address - blocks[block].address) })
    };
    Some(RoundPoint {
        point: plan.point,
        profile_point: plan.profile_point,
        own: place(point.address, point.kind.registers())?,
        length: point.kind.registers(),
        unit: point.unit_register.as_ref().and_then(|register| place(register.address, 1)),
        decimals: point.decimals_register.and_then(|register| place(register.address, 1)),
        status: point.status_register.and_then(|register| place(register.address, 1)),
    })
}

#[cfg(test)]
mod tests;
