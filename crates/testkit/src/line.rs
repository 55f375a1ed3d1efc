//! A serial line with its devices: answers in time, late, split, flipped, or never; noise in between.

use sitian_poll::rtu::{FRAME_BYTES_MAX, Receiver, crc16};
use sitian_poll::{Answer, Failure, Request};

use crate::dice::Dice;
use crate::plant::{ADDRESSES, TIMEOUT_MS, UNIT_FIRST};
use crate::truth::Label;

/// How bad a line is: one in so many, 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noise {
    /// No reply.
    pub silent: u64,
    /// A reply after the deadline, by up to twice the timeout.
    pub late: u64,
    /// One to three bits of a reply are flipped.
    pub flipped: u64,
    /// A stray byte.
    pub stray: u64,
    /// The device refuses.
    pub refused: u64,
}

/// Bytes that arrive after so many milliseconds.
pub type Coming = (u64, Vec<u8>);

/// One line. Its devices never lose power.
#[derive(Debug, Clone)]
pub struct Line {
    board: u64,
    bus: u64,
    /// When each device has served its requests.
    pub served: Vec<Vec<u64>>,
    /// When the last reply of each device is through: a device answers one request after the other.
    busy_until: Vec<u64>,
    /// Until when each device is dead.
    pub dead_until: Vec<u64>,
    /// Arrived while nobody listened.
    stale: Vec<u8>,
}

impl Line {
    /// A line with so many devices.
    pub fn new(board: usize, bus: usize, devices: usize) -> Self {
        let (board, bus) = (board as u64, bus as u64);
        Self {
            board,
            bus,
            served: vec![Vec::new(); devices],
            busy_until: vec![0; devices],
            dead_until: vec![0; devices],
            stale: Vec::new(),
        }
    }

    /// A request went over the line: what comes back, and when.
    pub fn ask(&mut self, request: &Request, noise: Noise, dice: &mut Dice, now: u64) -> Vec<Coming> {
        let device = usize::from(request.unit - UNIT_FIRST);
        let mut coming = Vec::new();
        if dice.one_in(noise.stray) {
            coming.push((dice.below(30), vec![dice.byte()]));
        }
        if device >= self.served.len() || self.dead_until[device] > now || dice.one_in(noise.silent) {
            return coming;
        }
        let mut frame = if dice.one_in(noise.refused) {
            vec![request.unit, 0x80 | request.function.code(), dice.pick(&[2, 4, 6])]
        } else {
            self.reply(request, device, now)
        };
        frame.extend(crc16(&frame).to_le_bytes());
        if dice.one_in(noise.flipped) {
            for _ in 0..dice.between(1, 3) {
                let at = dice.below(frame.len() as u64) as usize;
                frame[at] ^= 1 << dice.below(8);
            }
        }
        let timeout = u64::from(TIMEOUT_MS);
        let after = if dice.one_in(noise.late) { timeout + dice.below(timeout) } else { dice.between(5, 40) };
        let after = after.max((self.busy_until[device] + 1).saturating_sub(now));
        self.busy_until[device] = now + after + 3;
        let split = dice.below(frame.len() as u64) as usize;
        coming.push((after, frame[..split].to_vec()));
        coming.push((after + dice.below(3), frame[split..].to_vec()));
        coming
    }

    fn reply(&mut self, request: &Request, device: usize, now: u64) -> Vec<u8> {
        let poll = self.served[device].len() as u64;
        self.served[device].push(now);
        let mut frame = vec![request.unit, request.function.code(), request.count as u8 * 2];
        for register in (0..request.count).step_by(4) {
            let address = request.address + register;
            let point = ADDRESSES.iter().position(|a| *a == address).unwrap_or(0);
            let (board, bus, device) = (self.board, self.bus, device as u64);
            let label = Label { board, bus, device, register: point as u64, poll };
            frame.extend(label.value().to_be_bytes());
        }
        frame
    }

    /// Bytes came while nobody listened.
    pub fn arrive_unheard(&mut self, bytes: &[u8]) {
        self.stale.extend_from_slice(bytes);
        self.stale.truncate(FRAME_BYTES_MAX);
    }

    /// What the adapter does before each request: reads away what nobody waits for, and tells whose frames it was.
    pub fn flush(&mut self, request: &Request) -> Vec<u8> {
        let stale = std::mem::take(&mut self.stale);
        let mut receiver = Receiver::new(*request);
        let whole = matches!(receiver.push(&stale), Some(Ok(_) | Err(Failure::Exception(_))));
        receiver.foreign().iter().copied().chain(whole.then_some(request.unit)).collect()
    }
}

/// What an adapter without checks would make of a reply: for [`crate::Mutant::RepliesBelieved`].
pub fn believe(request: &Request, bytes: &[u8]) -> Option<Answer> {
    let words = bytes.get(3..3 + usize::from(request.count) * 2)?;
    Some(Answer::Registers(
        words.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect(),
    ))
}
