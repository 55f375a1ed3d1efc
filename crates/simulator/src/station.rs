//! One base's devices: which there are, and what their registers say at a moment. Answers Modbus PDUs; knows no
//! transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sitian_profile::{Context, Function, PreRead, Profile, ProfilePoint, encode};

use crate::incident::SCRIPT;
use crate::weather::{Site, Weather, hash, mix, unit};

/// Modbus function 16.
pub const WRITE_REGISTERS: u8 = 16;
/// Modbus functions 1 and 5.
const READ_COILS: u8 = 1;
const WRITE_COIL: u8 = 5;
/// What function 5 writes to switch on.
const COIL_ON: u16 = 0xFF00;
/// Illegal data address and illegal function, as Modbus exception codes.
const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;

/// A device on the station's bus.
pub struct Device {
    /// Id in the gateway's configuration.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where in the base it stands.
    pub place: String,
    /// Modbus unit id.
    pub unit: u8,
    /// Its register map.
    pub profile: Arc<Profile>,
    /// The air and soil around it.
    pub site: Site,
    /// Its coils, bit by bit: what is switched on, as long as the field runs.
    pub coils: AtomicU32,
}

/// All devices of one base, on one bus.
pub struct Station {
    /// The gateway that polls it.
    pub gateway: String,
    /// Its devices.
    pub devices: Vec<Device>,
    /// What this field has in common with its neighbours.
    pub world: World,
}

/// What all stations of a field share.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// Unix milliseconds at which the script of incidents starts; `None`: no incidents.
    pub script_ms: Option<i64>,
    /// Added to the real time to get the time of the weather: another season, the same hour.
    pub season_shift_ms: i64,
}

impl Station {
    /// The answer to a request PDU (function code and data) at `unix_ms`; `None` is silence.
    pub fn answer(&self, unit_id: u8, pdu: &[u8], unix_ms: i64) -> Option<Vec<u8>> {
        let device = self.devices.iter().find(|device| device.unit == unit_id)?;
        if self.is_silent(device, unix_ms) {
            return None;
        }
        if let [WRITE_REGISTERS, a, b, _, _, ..] = *pdu {
            let address = u16::from_be_bytes([a, b]);
            let started = |pre: &PreRead| pre.write.is_some() && pre.address == address;
            let known = device.profile.pre_read.iter().any(started);
            return Some(if known {
                pdu[..5].to_vec()
            } else {
                vec![WRITE_REGISTERS | 0x80, ILLEGAL_ADDRESS]
            });
        }
        let [code, a, b, c, d] = *pdu else { return Some(vec![pdu.first()? | 0x80, ILLEGAL_FUNCTION]) };
        let (address, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if matches!(code, READ_COILS | WRITE_COIL) {
            return Some(device.switch(code, address, count).unwrap_or(vec![code | 0x80, ILLEGAL_ADDRESS]));
        }
        let function = [Function::Holding, Function::Input].into_iter().find(|f| f.code() == code);
        let Some(function) = function else { return Some(vec![code | 0x80, ILLEGAL_FUNCTION]) };
        let Some(registers) = self.registers(device, function, address, count, unix_ms) else {
            return Some(vec![code | 0x80, ILLEGAL_ADDRESS]);
        };
        let mut answer = vec![code, (registers.len() * 2) as u8];
        registers.iter().for_each(|register| answer.extend(register.to_be_bytes()));
        Some(answer)
    }

    fn registers(
        &self,
        device: &Device,
        function: Function,
        first: u16,
        count: u16,
        unix_ms: i64,
    ) -> Option<Vec<u16>> {
        let profile = &device.profile;
        let start_command = profile
            .pre_read
            .iter()
            .any(|p| p.write.is_none() && p.function == function && p.address == first);
        if start_command {
            return Some(vec![0; usize::from(count)]);
        }
        let end = first.checked_add(count)?;
        let inside = profile.points.iter().filter(|point| point.function == function).flat_map(words_of);
        let (low, high) = inside.clone().fold((u16::MAX, 0), |(low, high), a| (low.min(a), high.max(a)));
        if count == 0 || count > 125 || first < low || end > high.checked_add(1)? {
            return None;
        }
        let mut registers = vec![0; usize::from(count)];
        let mut put = |address: u16, word: u16| {
            if let Some(slot) = address.checked_sub(first).and_then(|n| registers.get_mut(usize::from(n))) {
                *slot = word;
            }
        };
        for point in profile.points.iter().filter(|point| point.function == function) {
            let context = context_of(point);
            let value = self.value(device, point, unix_ms);
            let words = encode(point, value, context);
            words.iter().zip(point.address..).for_each(|(word, address)| put(address, *word));
            let described = [
                point.unit_register.as_ref().map(|r| r.address).zip(context.unit),
                point.decimals_register.map(|r| r.address).zip(context.decimals),
            ];
            described.into_iter().flatten().for_each(|(address, word)| put(address, word));
        }
        Some(registers)
    }

    /// The value that the device believes in: the weather, bent by the script, with a rare glitch.
    fn value(&self, device: &Device, point: &ProfilePoint, unix_ms: i64) -> f64 {
        let salt = hash(&device.id) ^ u64::from(device.unit);
        let weather = Weather::at(&device.site, unix_ms + self.world.season_shift_ms);
        let Some(natural) = weather.value(&point.measurement, salt) else { return f64::NAN };
        let glitch = unit(mix(device.site.seed ^ salt ^ (unix_ms / 1_000) as u64)) < 2e-5;
        if glitch {
            return point.max * 1.2 + 1.0;
        }
        let Some(start) = self.world.script_ms else { return natural };
        let since_s = (unix_ms - start) as f64 / 1_000.0;
        SCRIPT.iter().fold(natural, |value, i| i.bend(&self.gateway, &point.measurement, value, since_s))
    }

    /// A loose wire: about one device in a hundred is silent for the first three of any ten minutes.
    fn is_silent(&self, device: &Device, unix_ms: i64) -> bool {
        let slot = (unix_ms / 600_000) as u64;
        let draw = unit(mix(device.site.seed ^ hash(&device.id) ^ slot.rotate_left(32)));
        draw < 0.01 && unix_ms % 600_000 < 180_000
    }
}

impl Device {
    /// Reads `count` coils, or writes one; `None` if they are not there.
    fn switch(&self, code: u8, address: u16, count: u16) -> Option<Vec<u8>> {
        let is_there = |at: u16| {
            let coils = self.profile.points.iter().filter(|point| point.function == Function::Coils);
            at < 32 && coils.clone().any(|point| point.address == at)
        };
        if code == WRITE_COIL {
            let bit = 1u32.checked_shl(address.into()).filter(|_| is_there(address))?;
            if count == COIL_ON {
                self.coils.fetch_or(bit, Ordering::Relaxed);
            } else {
                self.coils.fetch_and(!bit, Ordering::Relaxed);
            }
            let ([a, b], [c, d]) = (address.to_be_bytes(), count.to_be_bytes());
            return Some(vec![code, a, b, c, d]);
        }
        let end = address.checked_add(count).filter(|_| count > 0)?;
        if !(address..end).all(is_there) {
            return None;
        }
        let bits = self.coils.load(Ordering::Relaxed) >> address;
        let bytes = usize::from(count).div_ceil(8);
        let mask = u32::MAX >> (32 - u32::from(count).min(32));
        let mut answer = vec![code, bytes as u8];
        answer.extend(&(bits & mask).to_le_bytes()[..bytes]);
        Some(answer)
    }
}

/// Every register address that belongs to a point, its describing registers included.
fn words_of(point: &ProfilePoint) -> impl Iterator<Item = u16> + Clone + use<> {
    let own = point.address..point.address + point.kind.registers();
    let described = [
        point.unit_register.as_ref().map(|r| r.address),
        point.decimals_register.map(|r| r.address),
        point.status_register.map(|r| r.address),
    ];
    own.chain(described.into_iter().flatten())
}

/// What the describing registers of a simulated device say: its first unit, and as many decimals as are shown.
fn context_of(point: &ProfilePoint) -> Context {
    Context {
        unit: point.unit_register.as_ref().and_then(|r| r.codes.first()).map(|(code, _)| *code),
        decimals: point.decimals_register.map(|r| u16::from(r.max.min(point.decimals))),
        status: point.status_register.map(|_| 0),
    }
}
