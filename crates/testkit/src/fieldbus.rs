//! A faithful copy of the gateway's bus task (`crates/gateway/src/field.rs`) and of the RTU adapter below it, over a
//! simulated line.

use sitian_poll::rtu::{Receiver, response_bytes};
use sitian_poll::{Answer, BusPlan, Command, Failure, Poller, Request, Sample};

use crate::ether::{Ether, Event};
use crate::line::{Line, believe};
use crate::mutant::Mutant;
use crate::plant::{BusPlant, TIMEOUT_MS};
use crate::sight::Sight;

/// Samples that arrived at one moment.
#[derive(Debug, Clone)]
pub struct Round {
    /// Monotonic milliseconds since power-on.
    pub mono_ms: u64,
    /// What was read, or why not.
    pub samples: Vec<Sample>,
}

/// An attempt under way.
#[derive(Debug)]
struct Attempt {
    number: u64,
    request: Request,
    receiver: Receiver,
    bytes: Vec<u8>,
    foreign: Vec<u8>,
}

/// One bus of one process.
#[derive(Debug)]
pub struct Bus {
    board: usize,
    life: u64,
    number: usize,
    plan: Option<BusPlan>,
    poller: Option<Poller>,
    polls_from: u64,
    attempt: Option<Attempt>,
    attempts: u64,
    woken_at: Option<u64>,
    /// Virtual moment of monotonic zero.
    pub zero: u64,
}

impl Bus {
    /// A bus of a process that starts at `now`.
    pub fn new(board: usize, life: u64, number: usize, plan: BusPlan, zero: u64, now: u64) -> Self {
        let polls_from = now + plan.settle_ms();
        let (plan, poller) = (Some(plan), None);
        Self {
            board,
            life,
            number,
            plan,
            poller,
            polls_from,
            attempt: None,
            attempts: 0,
            woken_at: None,
            zero,
        }
    }

    /// Bytes came over the line.
    pub fn handle_bytes(&mut self, bytes: &[u8], line: &mut Line, ether: &mut Ether) {
        let Some(attempt) = &mut self.attempt else { return line.arrive_unheard(bytes) };
        attempt.bytes.extend_from_slice(bytes);
        if ether.mutant == Mutant::RepliesBelieved {
            if let Some(answer) = believe(&attempt.request, &attempt.bytes) {
                self.end(Ok(answer), ether);
            }
        } else if let Some(result) = attempt.receiver.push(bytes) {
            self.end(result, ether);
        }
    }

    /// The time of an attempt is over.
    pub fn handle_deadline(&mut self, number: u64, ether: &mut Ether) {
        if let Some(attempt) = self.attempt.as_ref().filter(|a| a.number == number) {
            let failure = attempt.receiver.expire();
            if failure == Failure::Timeout {
                ether.saw(Sight::BusTimeout);
            }
            self.end(Err(failure), ether);
        }
    }

    /// The poller may want something.
    pub fn handle_wake(&mut self, ether: &Ether) {
        self.woken_at = None;
        let mono_ms = ether.now - self.zero;
        if let Some(poller) = &mut self.poller
            && self.attempt.is_none()
            && poller.poll_timeout().is_some_and(|at| at <= mono_ms)
        {
            poller.handle_timeout(mono_ms);
        }
    }

    fn end(&mut self, result: Result<Answer, Failure>, ether: &mut Ether) {
        let Some(attempt) = self.attempt.take() else { return };
        let Some(poller) = &mut self.poller else { return };
        let mono_ms = ether.now - self.zero;
        for unit in attempt.foreign.iter().chain(attempt.receiver.foreign()) {
            ether.saw(Sight::LateReplyDiscarded);
            poller.handle_foreign(*unit, mono_ms);
        }
        poller.handle_answer(result, mono_ms);
    }

    /// Does what the poller asks for, as far as no answer is awaited; gives the rounds that are complete.
    pub fn work(&mut self, line: &mut Line, ether: &mut Ether) -> Vec<Round> {
        let mut rounds = Vec::new();
        if ether.now >= self.polls_from
            && let Some(plan) = self.plan.take()
        {
            self.poller = Some(Poller::new(plan, ether.now - self.zero));
        }
        while self.attempt.is_none() {
            match self.poller.as_mut().and_then(Poller::poll_command) {
                Some(Command::Samples(samples)) => {
                    rounds.push(Round { mono_ms: ether.now - self.zero, samples });
                }
                Some(Command::Write(..) | Command::Written(_)) => unreachable!("nobody writes in this world"),
                Some(Command::Send(request, _)) => self.send(request, line, ether),
                None => break,
            }
        }
        let due = match &self.poller {
            Some(poller) => poller.poll_timeout().map(|at| at + self.zero),
            None => Some(self.polls_from),
        };
        if self.attempt.is_none()
            && let Some(at) = due.map(|at| at.max(ether.now + 1))
            && self.woken_at.is_none_or(|armed| armed > at)
        {
            self.woken_at = Some(at);
            ether.at(at, Event::BusWake { board: self.board, life: self.life, bus: self.number });
        }
        rounds
    }

    fn send(&mut self, request: Request, line: &mut Line, ether: &mut Ether) {
        let foreign = line.flush(&request);
        let noise = if ether.faults { ether.swarm.noise } else { crate::line::Noise::default() };
        let (board, bus, now) = (self.board, self.number, ether.now);
        for (after, bytes) in line.ask(&request, noise, &mut ether.dice, now) {
            ether.after(after, Event::Chunk { board, bus, bytes });
        }
        self.attempts += 1;
        let number = self.attempts;
        let patience = u64::from(TIMEOUT_MS) + response_bytes(&request) as u64;
        ether.after(patience, Event::Deadline { board, life: self.life, bus, attempt: number });
        let receiver = Receiver::new(request);
        self.attempt = Some(Attempt { number, request, receiver, bytes: Vec::new(), foreign });
    }
}

/// The lines of a board.
pub fn lines(board: usize, buses: &[BusPlant]) -> Vec<Line> {
    buses.iter().enumerate().map(|(bus, plant)| Line::new(board, bus, plant.devices)).collect()
}
