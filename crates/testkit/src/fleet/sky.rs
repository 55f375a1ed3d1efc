//! The virtual clock of a fleet, its events, all its chance.

use std::collections::BTreeMap;

use sitian_model::{Epoch, GatewayId, Seq};
use sitian_tenure::Hold;
use sitian_wire::topic::Topic;

use crate::dice::Dice;
use crate::fleet::Slip;
use crate::fleet::member::{Reply, Request};
use crate::trace::{Step, Trace};

/// Something that happens at a virtual moment.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Event {
    /// A gateway takes a reading.
    Poll {
        sender: usize,
    },
    SenderWake {
        sender: usize,
        life: u64,
        at: u64,
    },
    SenderConnect {
        sender: usize,
    },
    ToBroker {
        broker: u64,
        topic: Topic,
        payload: Vec<u8>,
    },
    ToMember {
        member: usize,
        life: u64,
        topic: Topic,
        payload: Vec<u8>,
    },
    States {
        member: usize,
        life: u64,
    },
    FromMember {
        member: usize,
        gateway: GatewayId,
        payload: Vec<u8>,
    },
    ToSender {
        sender: usize,
        session: u64,
        payload: Vec<u8>,
    },
    MemberWake {
        member: usize,
        life: u64,
        at: u64,
    },
    Settle {
        member: usize,
        life: u64,
        hold: Hold,
    },
    Patience {
        member: usize,
        life: u64,
        hold: Hold,
        request: u64,
    },
    Question {
        member: usize,
        life: u64,
        name: String,
        request: Request,
    },
    Reply {
        member: usize,
        life: u64,
        reply: Reply,
    },
    MemberUp {
        member: usize,
    },
    Resume {
        member: usize,
    },
    BrokerUp,
    DatabaseUp,
    Healed {
        member: usize,
        what: Cut,
    },
    Misfortune,
}

/// From what a member is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cut {
    Broker,
    Database,
}

/// The virtual clock, all chance, and what members leave for the oracle.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Sky {
    pub now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    pub dice: Dice,
    pub trace: Trace,
    pub faults: bool,
    pub slip: Slip,
    /// Commits whose fate nobody knew.
    pub doubts: u64,
    pub began: Vec<(usize, Hold)>,
    pub acks: Vec<(GatewayId, Epoch, Seq)>,
}

impl Sky {
    /// The beginning, with all faults on.
    pub fn new(dice: Dice, slip: Slip) -> Self {
        Self {
            now: 0,
            queue: BTreeMap::new(),
            events: 0,
            dice,
            trace: Trace::of(60),
            faults: true,
            slip,
            doubts: 0,
            began: Vec::new(),
            acks: Vec::new(),
        }
    }

    /// The next event, if it comes before `end`; the clock moves to it.
    pub fn next(&mut self, end: u64) -> Option<Event> {
        let next = self.queue.first_entry().filter(|next| next.key().0 < end);
        let Some(next) = next else {
            self.now = end;
            return None;
        };
        let ((at, _), event) = next.remove_entry();
        self.now = at;
        Some(event)
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.events += 1;
        self.queue.insert((at.max(self.now), self.events), event);
    }

    pub fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + ms, event);
    }

    pub fn note(&mut self, what: &'static str, a: usize, b: u64, c: u64) {
        self.trace.note(Step { at_ms: self.now, what, with: [a as u64, b, c] });
    }

    pub fn latency(&mut self) -> u64 {
        self.dice.between(1, 40)
    }

    /// On the way to the database; some arrive when nobody waits for them any more.
    pub fn ask(&mut self, member: usize, life: u64, name: &str, request: Request) {
        let late = self.faults && self.dice.one_in(150);
        let after = if late { self.dice.between(500, 20_000) } else { self.latency() };
        self.after(after, Event::Question { member, life, name: name.to_owned(), request });
    }

    pub fn look_at_states(&mut self, member: usize, life: u64) {
        let after = self.latency();
        self.after(after, Event::States { member, life });
    }
}
