//! The machine: one question per beat, and what follows from its answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sitian_model::{Mutant, Slot};

use crate::talk::{Answer, Ask, Command, Hold, Lease, Peer, Term};

/// How long things last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What the database grants, in milliseconds; the same for all members. A question goes out at each third of it, and
    /// again when a sixth of it has passed without an answer.
    pub lease_ms: u64,
    /// A hold is dropped this much before its lease can have run out, in milliseconds: for clocks that do not run alike, and
    /// for the time it takes to stop.
    pub margin_ms: u64,
}

impl Limits {
    /// A margin of a tenth.
    pub fn of_lease(lease_ms: u64) -> Self {
        Self { lease_ms, margin_ms: lease_ms / 10 }
    }

    fn beat_ms(&self) -> u64 {
        (self.lease_ms / 3).max(1)
    }

    /// An answer that takes longer is given up, and the question put again.
    fn patience_ms(&self) -> u64 {
        (self.lease_ms / 6).max(1)
    }
}

/// One hold, as long as this member believes in it.
#[derive(Debug, Clone, Copy)]
struct Held {
    term: Term,
    /// Dropped then, unless renewed before.
    until_ms: u64,
    /// The shell was told to end it.
    ending: bool,
    /// Rises with every hold: the newest are given back first.
    order: u64,
}

/// A question under way.
#[derive(Debug)]
struct Asked {
    ask: Ask,
    at_ms: u64,
}

/// See the page of the room. Times are monotonic milliseconds of this process.
#[derive(Debug)]
pub struct Tenure {
    member: String,
    limits: Limits,
    held: BTreeMap<Slot, Held>,
    /// Ended in order, and not yet known to be released.
    done: BTreeSet<Hold>,
    asked: Option<Asked>,
    asks: u64,
    begun: u64,
    ask_at_ms: u64,
    leaving: bool,
    over: bool,
    /// The last answer.
    leases: BTreeMap<Slot, Lease>,
    members: Vec<Peer>,
    commands: VecDeque<Command>,
}

impl Tenure {
    /// A member that holds nothing yet and asks at once. `member` must be different for every process that ever runs.
    pub fn new(member: impl Into<String>, limits: Limits, now_ms: u64) -> Self {
        Self {
            member: member.into(),
            limits,
            held: BTreeMap::new(),
            done: BTreeSet::new(),
            asked: None,
            asks: 0,
            begun: 0,
            ask_at_ms: now_ms,
            leaving: false,
            over: false,
            leases: BTreeMap::new(),
            members: Vec::new(),
            commands: VecDeque::new(),
        }
    }

    /// The database has answered.
    pub fn handle_answer(&mut self, answer: Answer, now_ms: u64) {
        let Some(Asked { ask, at_ms }) = self.asked.take_if(|asked| asked.ask.number == answer.number) else {
            return;
        };
        self.done.retain(|hold| !ask.release.contains(hold));
        self.leases = answer.leases.into_iter().map(|lease| (lease.hold.slot, lease)).collect();
        self.members = answer.members;
        let believed_ms = if Mutant::LeaseOutlived.lives() { 1 << 60 } else { self.limits.lease_ms };
        let until_ms = (at_ms + believed_ms).saturating_sub(self.limits.margin_ms);
        for hold in ask.renew {
            let mine = self.is_mine(hold);
            match self.held.get_mut(&hold.slot).filter(|held| held.term == hold.term) {
                Some(held) if mine => held.until_ms = until_ms,
                Some(_) => self.forget(hold),
                None => {}
            }
        }
        for slot in ask.claim {
            let mine = self.leases.get(&slot).filter(|lease| lease.member == self.member);
            // An answer that was under way for so long entitles to nothing any more.
            if let Some(hold) = mine.map(|lease| lease.hold).filter(|_| now_ms < until_ms)
                && !self.held.contains_key(&slot)
            {
                self.begun += 1;
                let held = Held { term: hold.term, until_ms, ending: false, order: self.begun };
                self.held.insert(slot, held);
                self.commands.push_back(Command::Begin(hold));
            }
        }
        self.over = ask.leave;
        self.ask_at_ms = at_ms + self.limits.beat_ms();
        if self.leaving {
            self.end_above(0);
        } else {
            self.end_above(self.share());
            if !self.wanted(false).is_empty() {
                self.ask_at_ms = now_ms;
            }
        }
        self.handle_timeout(now_ms);
    }

    /// The question could not be put, or its answer is lost; what it asked for may have been done or not.
    pub fn handle_failed(&mut self, number: u64, now_ms: u64) {
        if self.asked.take_if(|asked| asked.ask.number == number).is_some() {
            self.ask_at_ms = now_ms + self.limits.beat_ms() / 4;
        }
        self.handle_timeout(now_ms);
    }

    /// Nothing is admitted under this hold any more, as asked or by itself: refused by the fence, not to be restored, a commit
    /// whose fate nobody knows.
    pub fn handle_ended(&mut self, hold: Hold, now_ms: u64) {
        let Some(held) = self.held.get(&hold.slot).filter(|held| held.term == hold.term) else { return };
        if held.ending || self.leaving {
            self.held.remove(&hold.slot);
            self.done.insert(hold);
            let all = self.held.values().all(|held| !held.ending);
            // Several end at once; one question releases them all.
            if all {
                self.ask_at_ms = now_ms;
            }
        } else if Mutant::TermKept.lives() {
            self.commands.push_back(Command::Begin(hold));
        } else {
            self.held.remove(&hold.slot);
        }
        self.handle_timeout(now_ms);
    }

    /// This process is to end: everything is ended, released, and the member says goodbye; see [`Tenure::is_over`].
    pub fn handle_leaving(&mut self, now_ms: u64) {
        self.leaving = true;
        self.end_above(0);
        if self.held.is_empty() {
            self.ask_at_ms = now_ms;
        }
        self.handle_timeout(now_ms);
    }

    /// The time asked for has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        let gone = self.held.iter().filter(|(_, held)| held.until_ms <= now_ms);
        let gone: Vec<Hold> = gone.map(|(slot, held)| Hold { slot: *slot, term: held.term }).collect();
        gone.into_iter().for_each(|hold| self.forget(hold));
        if let Some(asked) = self.asked.take_if(|asked| asked.at_ms + self.limits.patience_ms() <= now_ms) {
            self.ask_at_ms = now_ms;
            drop(asked);
        }
        if self.asked.is_none() && self.ask_at_ms <= now_ms && !self.over {
            self.ask(now_ms);
        }
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to call [`Tenure::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<u64> {
        let ask = match &self.asked {
            Some(asked) => Some(asked.at_ms + self.limits.patience_ms()),
            None => (!self.over).then_some(self.ask_at_ms),
        };
        self.held.values().map(|held| held.until_ms).chain(ask).min()
    }

    /// True once the database has taken note that this member leaves.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What this member holds, by slot.
    pub fn holds(&self) -> impl ExactSizeIterator<Item = Hold> {
        self.held.iter().map(|(slot, held)| Hold { slot: *slot, term: held.term })
    }

    /// Who owned a slot when the database was asked last; `None` if nobody did.
    pub fn owner(&self, slot: Slot) -> Option<&Peer> {
        let lease = self.leases.get(&slot).filter(|lease| lease.living)?;
        self.members.iter().find(|peer| peer.member == lease.member)
    }

    /// The living members when the database was asked last.
    pub fn members(&self) -> &[Peer] {
        &self.members
    }

    fn is_mine(&self, hold: Hold) -> bool {
        self.leases.get(&hold.slot).is_some_and(|lease| lease.hold == hold && lease.member == self.member)
    }

    /// How many slots this member should hold.
    fn share(&self) -> usize {
        usize::from(Slot::COUNT).div_ceil(self.members.len().max(1))
    }

    /// Not ours any more, or not for sure.
    fn forget(&mut self, hold: Hold) {
        self.held.remove(&hold.slot);
        self.commands.push_back(Command::Drop(hold));
    }

    /// Ends the newest holds above so many.
    fn end_above(&mut self, most: usize) {
        let mut running: Vec<(u64, Slot)> =
            self.held.iter().map(|(slot, held)| (held.order, *slot)).collect();
        running.sort_unstable();
        for (_, slot) in running.into_iter().skip(most) {
            if let Some(held) = self.held.get_mut(&slot).filter(|held| !held.ending) {
                held.ending = true;
                self.commands.push_back(Command::End(Hold { slot, term: held.term }));
            }
        }
    }

    /// What to claim: free slots, up to the share. `own`: also those whose lease is this member's although it does not hold
    /// them, because an answer was lost or what ran under it has ended.
    fn wanted(&self, own: bool) -> Vec<Slot> {
        // Without an answer nothing is known to be free.
        let room = if self.members.is_empty() || self.leaving {
            0
        } else {
            self.share().saturating_sub(self.held.len())
        };
        let free = |slot: &Slot| {
            let lease = self.leases.get(slot);
            let mine = lease.is_some_and(|lease| lease.living && lease.member == self.member);
            let others = lease.is_some_and(|lease| lease.living && lease.member != self.member);
            !self.held.contains_key(slot) && !others && (own || !mine)
        };
        let mut free: Vec<Slot> =
            Slot::all().filter(free).filter(|slot| self.done.iter().all(|hold| hold.slot != *slot)).collect();
        // Members that claim at the same time begin at different places.
        let mut names: Vec<&str> = self.members.iter().map(|peer| peer.member.as_str()).collect();
        names.sort_unstable();
        let place = names.iter().position(|name| *name == self.member).unwrap_or(0);
        if !free.is_empty() {
            let from = place * free.len() / names.len().max(1);
            free.rotate_left(from);
        }
        free.truncate(room);
        free
    }

    fn ask(&mut self, now_ms: u64) {
        self.asks += 1;
        let ask = Ask {
            number: self.asks,
            renew: self.holds().collect(),
            release: self.done.iter().copied().collect(),
            claim: self.wanted(true),
            leave: self.leaving && self.held.is_empty(),
        };
        self.commands.push_back(Command::Ask(ask.clone()));
        self.asked = Some(Asked { ask, at_ms: now_ms });
        self.ask_at_ms = now_ms + self.limits.beat_ms();
    }
}
