//! Modbus TCP devices for measuring: one listener each, ten holding registers that take small steps as sensors do.
//! They answer after a time of their choice: at once, so that the gateway's figures hold no waiting, or as slowly as a
//! line of sensors. The profile that fits is `profile.toml`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// The register map, for the gateway.
pub const PROFILE: &str = include_str!("profile.toml");
/// The keys of the profile's points, in the order of their registers.
pub const POINTS: [&str; 10] = [
    "soil_moisture",
    "soil_temperature",
    "soil_ec",
    "soil_ph",
    "air_temperature",
    "air_humidity",
    "air_co2",
    "wind_speed",
    "noise",
    "water_level",
];
/// What the registers say at first: values that no alert rule minds.
const FIRST: [u16; 10] = [260, 180, 420, 72, 215, 550, 520, 24, 410, 160];
/// Steps of one register between two polls, drawn evenly; the same walk as the store's measurement has.
const STEPS: [i16; 5] = [-1, 0, 0, 0, 1];
/// How far a register may walk from where it began.
const STRAY_MAX: i16 = 20;
const READ_HOLDING: u8 = 3;
const ILLEGAL_FUNCTION: u8 = 1;

/// Starts `count` devices on loopback, each answering to every unit id after `thinking`, and returns their ports. Their
/// threads end with the program.
pub fn start(count: u32, thinking: Duration) -> Result<Vec<u16>> {
    (1..=u64::from(count)).map(|seed| device(seed, thinking)).collect()
}

fn device(seed: u64, thinking: Duration) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to listen for a device")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        let mut sensor = Sensor::new(seed);
        for socket in listener.incoming().flatten() {
            // A gateway that goes away ends its conversation; the next one is served.
            drop(converse(socket, &mut sensor, thinking));
        }
    });
    Ok(port)
}

/// The registers of one device.
pub struct Sensor {
    strayed: [i16; 10],
    dice: u64,
}

impl Sensor {
    /// At its first values; each seed has a walk of its own.
    pub fn new(seed: u64) -> Self {
        Self { strayed: [0; 10], dice: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) }
    }

    fn walk(&mut self) {
        for strayed in &mut self.strayed {
            self.dice ^= self.dice << 13;
            self.dice ^= self.dice >> 7;
            self.dice ^= self.dice << 17;
            let step = STEPS[(self.dice % 5) as usize];
            *strayed = (*strayed + step).clamp(-STRAY_MAX, STRAY_MAX);
        }
    }

    /// The answer to a request PDU.
    pub fn answer(&mut self, pdu: &[u8]) -> Vec<u8> {
        let [READ_HOLDING, _, first, _, count] = *pdu else {
            return vec![pdu.first().copied().unwrap_or_default() | 0x80, ILLEGAL_FUNCTION];
        };
        self.walk();
        let mut answer = vec![READ_HOLDING, count.saturating_mul(2)];
        for register in usize::from(first)..usize::from(first) + usize::from(count.min(125)) {
            let word = FIRST.get(register).map_or(0, |word| word.wrapping_add_signed(self.strayed[register]));
            answer.extend(word.to_be_bytes());
        }
        answer
    }
}

fn converse(mut socket: TcpStream, sensor: &mut Sensor, thinking: Duration) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    loop {
        let mut header = [0; 7];
        socket.read_exact(&mut header)?;
        let length = u16::from_be_bytes([header[4], header[5]]);
        if !(2..=254).contains(&length) {
            return Ok(());
        }
        let mut pdu = vec![0; usize::from(length) - 1];
        socket.read_exact(&mut pdu)?;
        std::thread::sleep(thinking);
        let answer = sensor.answer(&pdu);
        let mut frame = header[..4].to_vec();
        frame.extend((answer.len() as u16 + 1).to_be_bytes());
        frame.push(header[6]);
        frame.extend(answer);
        socket.write_all(&frame)?;
    }
}
