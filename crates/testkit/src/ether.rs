//! What all parts of a world share: the virtual clock with its queue of events, the die, the record of the run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use sitian_model::GatewayId;
use sitian_wire::topic::Topic;

use crate::dice::Dice;
use crate::mutant::Mutant;
use crate::oracle::Oracle;
use crate::sight::{Seen, Sight};
use crate::swarm::Swarm;
use crate::trace::{Step, Trace};

/// Something that happens at a virtual moment. `life` tells whether the process it was meant for is still the same.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Event {
    /// Bytes on a serial line.
    Chunk { board: usize, bus: usize, bytes: Vec<u8> },
    /// An attempt on a bus is over.
    Deadline { board: usize, life: u64, bus: usize, attempt: u64 },
    /// A poller wants to be woken.
    BusWake { board: usize, life: u64, bus: usize },
    /// The spool's thread is done with its front ask.
    SpoolDone { board: usize, life: u64 },
    /// A gateway's timers.
    Wake { board: usize, life: u64 },
    /// The link tries to connect.
    Connect { board: usize, life: u64 },
    /// Keep-alive noticed that the connection is dead.
    LinkLost { board: usize, life: u64, session: u64 },
    /// Bytes from a gateway reach the broker.
    ToBroker { broker: u64, board: usize, topic: Topic, payload: Vec<u8> },
    /// Bytes from the broker reach the centre.
    ToCentre { broker: u64, centre: u64, topic: Topic, payload: Vec<u8> },
    /// Bytes from the centre reach the broker.
    FromCentre { broker: u64, gateway: GatewayId, payload: Vec<u8> },
    /// Bytes from the broker reach a gateway.
    ToBoard { board: usize, life: u64, session: u64, payload: Vec<u8> },
    /// The centre's group commit is due.
    Settle { centre: u64 },
    /// The centre's process starts.
    CentreUp { centre: u64 },
    /// The broker starts.
    BrokerUp,
    /// A board gets power, or its process is restarted.
    BoardUp { board: usize },
    /// Something may go wrong.
    Misfortune,
    /// Something stops being wrong.
    Heal { board: usize, what: Heal },
}

/// What stops being wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heal {
    /// The disk.
    Disk,
    /// The link.
    Link,
}

/// An event in the queue; the number keeps those of one moment in order.
#[derive(Debug)]
struct Due {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// See the module page.
#[derive(Debug)]
pub struct Ether {
    /// Virtual milliseconds.
    pub now: u64,
    queue: BinaryHeap<Reverse<Due>>,
    events: u64,
    /// All chance.
    pub dice: Dice,
    /// What happened.
    pub trace: Trace,
    /// Hard states reached.
    pub seen: Seen,
    /// The truth.
    pub oracle: Oracle,
    /// How bad this world is.
    pub swarm: Swarm,
    /// What is broken on purpose.
    pub mutant: Mutant,
    /// Faults may happen: the safety phase.
    pub faults: bool,
    /// The broker.
    pub broker: Broker,
    /// Sequence numbers handed to links so far.
    pub sent: u64,
}

/// The broker: a pipe that may be killed and wiped at any time.
#[derive(Debug, Default)]
pub struct Broker {
    /// Counts its lives: what was on its way through an earlier one is gone.
    pub life: u64,
    /// It runs.
    pub up: bool,
    /// The centre's connection.
    pub centre_until: u64,
    /// What went through, for replays.
    pub past: VecDeque<(Topic, Vec<u8>)>,
}

impl Ether {
    /// The beginning.
    pub fn new(dice: Dice, swarm: Swarm, mutant: Mutant) -> Self {
        Self {
            now: 0,
            queue: BinaryHeap::new(),
            events: 0,
            dice,
            trace: Trace::default(),
            seen: Seen::default(),
            oracle: Oracle::default(),
            swarm,
            mutant,
            faults: true,
            broker: Broker { up: true, ..Broker::default() },
            sent: 0,
        }
    }

    /// Lets something happen after so many milliseconds.
    pub fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + ms, event);
    }

    /// Lets something happen at a moment, now at the earliest.
    pub fn at(&mut self, at: u64, event: Event) {
        let number = self.events;
        self.events += 1;
        self.queue.push(Reverse(Due { at: at.max(self.now), number, event }));
    }

    /// The next event, if it comes before `end`; the clock moves to it.
    pub fn next(&mut self, end: u64) -> Option<Event> {
        if self.queue.peek().is_none_or(|due| due.0.at >= end) {
            self.now = end.max(self.now);
            return None;
        }
        let Reverse(due) = self.queue.pop()?;
        self.now = due.at;
        Some(due.event)
    }

    /// Notes a step of the run.
    pub fn note(&mut self, what: &'static str, a: usize, b: u64, c: u64) {
        self.trace.note(Step { at_ms: self.now, what, with: [a as u64, b, c] });
    }

    /// Notes a hard state.
    pub fn saw(&mut self, sight: Sight) {
        self.seen.saw(sight);
    }

    /// How long one leg of the link takes now.
    pub fn latency(&mut self) -> u64 {
        let most = if self.faults { self.swarm.latency_ms } else { 40 };
        self.dice.between(2, most)
    }

    /// True once in `n`, while faults are on.
    pub fn bad_luck(&mut self, n: u64) -> bool {
        self.faults && self.dice.one_in(n)
    }
}
