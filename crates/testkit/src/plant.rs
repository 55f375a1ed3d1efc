//! What stands in the field: buses, devices, registers. The same for every board of one gateway id.

use std::sync::Arc;

use sitian_model::{DeviceId, DeviceInfo, GatewayId, Manifest, PointIndex, PointInfo, PointKey};
use sitian_poll::{BusPlan, DevicePlan, PointPlan};
use sitian_profile::{Decimal, Function, Kind, Order, Parity, Profile, ProfilePoint, Serial, Verified};

use crate::dice::Dice;

/// Registers (points) of one device. Two share a block, the third has one of the same length as the fourth.
pub const POINTS: usize = 4;
/// Protocol addresses of the points: three blocks, of which two have equal length.
pub const ADDRESSES: [u16; POINTS] = [0, 4, 0x100, 0x200];
/// Unit id of a device is its number plus this.
pub const UNIT_FIRST: u8 = 1;
/// How long a device may take to answer, in milliseconds.
pub const TIMEOUT_MS: u32 = 200;

/// The field of one gateway.
#[derive(Debug, Clone)]
pub struct Plant {
    /// Its id.
    pub gateway: GatewayId,
    /// Its buses, with the number of devices on each.
    pub buses: Vec<BusPlant>,
}

/// One bus.
#[derive(Debug, Clone, Copy)]
pub struct BusPlant {
    /// Devices on it.
    pub devices: usize,
    /// Time between two polls of a point, in milliseconds.
    pub interval_ms: u32,
}

impl Plant {
    /// A plant of a size drawn from the die.
    pub fn draw(name: &str, dice: &mut Dice) -> Option<Self> {
        let bus = |dice: &mut Dice| BusPlant {
            devices: dice.between(1, 3) as usize,
            interval_ms: dice.pick(&[1_000, 1_500, 2_500, 5_000]),
        };
        let buses = (0..dice.between(1, 2)).map(|_| bus(dice)).collect();
        Some(Self { gateway: GatewayId::new(name).ok()?, buses })
    }

    /// Position of a point in the manifest.
    pub fn index(&self, bus: usize, device: usize, point: usize) -> PointIndex {
        let before: usize = self.buses[..bus].iter().map(|b| b.devices).sum();
        ((before + device) * POINTS + point) as PointIndex
    }

    /// What the gateway tells the centre about it.
    pub fn manifest(&self) -> Manifest {
        let (mut devices, mut points) = (Vec::new(), Vec::new());
        for (bus, plant) in self.buses.iter().enumerate() {
            for device in 0..plant.devices {
                let id = DeviceId::new(&format!("b{bus}d{device}"));
                let profile = "world".to_owned();
                let name = format!("device {device}");
                let Ok(id) = id else { continue };
                devices.push(DeviceInfo { id, name, place: String::new(), profile, bus: format!("b{bus}") });
                for point in 0..POINTS {
                    points.push(PointInfo {
                        device: devices.len() as u32 - 1,
                        key: key(point),
                        measurement: "wave".into(),
                        unit: "1".into(),
                        decimals: 0,
                        interval_ms: plant.interval_ms,
                    });
                }
            }
        }
        Manifest { gateway: self.gateway.clone(), software: "world".into(), devices, points }
    }

    /// What the poller of a bus is told.
    pub fn plan(&self, bus: usize, profile: &Arc<Profile>, hold_off: bool) -> BusPlan {
        let device = |device: usize| DevicePlan {
            unit: UNIT_FIRST + device as u8,
            profile: profile.clone(),
            points: (0..POINTS)
                .map(|point| PointPlan {
                    point: self.index(bus, device, point),
                    profile_point: point,
                    interval_ms: self.buses[bus].interval_ms,
                })
                .collect(),
            timeout_ms: TIMEOUT_MS,
            retries: 1,
            priority: 0,
        };
        BusPlan { devices: (0..self.buses[bus].devices).map(device).collect(), pause_ms: 5, hold_off }
    }
}

fn key(point: usize) -> PointKey {
    PointKey::new(["r0", "r1", "r2", "r3"][point]).unwrap_or_else(|_| unreachable!("the keys above are ids"))
}

/// The registers of every device: four 64-bit numbers.
pub fn profile() -> Profile {
    let point = |n: usize| ProfilePoint {
        key: key(n),
        measurement: "wave".into(),
        unit: "1".into(),
        function: Function::Holding,
        address: ADDRESSES[n],
        kind: Kind::U64,
        order: Order::Abcd,
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        decimals: 0,
        min: 0.0,
        max: f64::MAX,
        unit_register: None,
        decimals_register: None,
        status_register: None,
        counter: None,
        write: None,
        missing: Vec::new(),
        optional: false,
    };
    Profile {
        id: "world".into(),
        vendor: String::new(),
        model: String::new(),
        name_zh: String::new(),
        name_en: String::new(),
        source: String::new(),
        verified: Verified::Unverified,
        serial: Serial { baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: 1 },
        default_unit: UNIT_FIRST,
        registers_max: 125,
        gap_max: 0,
        pause_ms: 0,
        unreadable: Vec::new(),
        pre_read: Vec::new(),
        post_read: Vec::new(),
        setup: sitian_profile::Setup::default(),
        points: (0..POINTS).map(point).collect(),
    }
}
