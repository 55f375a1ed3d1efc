//! Several ingestors share a broker, a database and an engine: the simulated proof that each gateway has one owner at a time
//! and that nothing is lost, doubled or changed when owners die, sleep, wake up again or are cut off.
//!
//! ```text
//!  senders: spool, uplink ═► broker ═► members: tenure, ingest + alert per slot ═► register
//!                            $share for manifests,                                 leases, fence, books per slot,
//!                            states, exclusive topics                              engine; the oracle
//! ```
//!
//! The machines are the real ones. Around them everything is late, lost, done without an answer, or done long after whoever
//! asked for it has died. Members sleep and wake up (zombies), their clocks run up to 3 % wrong, database and broker go away.
//!
//! What must hold, whatever happens: **T1** commits of one slot come under rising terms, one member for each term · **B1** no two
//! members that are awake believe to hold one slot · **N1** points, epochs, episodes of two slots have different numbers · **E1**
//! one label, one row in the engine · **E2** rows are there before their watermark · **S2–S5** as in the crate's page · **S10** the
//! alerts of a slot are the fold of its log, whoever ran it. After the faults: **F1** every slot is held, nobody has more
//! than its share · **L2** every gateway is served again soon · **L1** everything accepted is stored, exactly as it was measured, and nothing else.

mod field;
mod judge;
mod member;
mod misfortune;
mod register;
mod sky;

use std::collections::BTreeMap;

use sitian_alert::engine::Settings;
use sitian_model::{GatewayId, Numbers, Slot};
use sitian_tenure::Limits;
use sitian_wire::topic::Topic;

use crate::dice::Dice;
use field::{Sender, Wish};
use member::{Member, Reply, Request};
use register::Register;
use sky::{Cut, Event, Sky};

/// How long a lease lasts.
pub const LEASE_MS: u64 = 6_000;
/// After the faults: every slot has an owner, everything is stored.
const CALM_MS: u64 = 60_000;
/// After the faults: every gateway was acknowledged something. A lease and a beat, until the members that were away are
/// back, and as long as a gateway waits before it says again what nobody answered.
const SERVED_MS: u64 = 40_000;
/// After the last reading.
const DRAIN_MS: u64 = 45_000;

fn lease() -> Limits {
    Limits::of_lease(LEASE_MS)
}

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slip {
    /// Nothing.
    #[default]
    None,
    /// A commit does not look at the lease.
    FenceNotChecked,
    /// Leases run out by the clock of whoever asks.
    MembersClock,
    /// After a commit whose fate nobody knows, the slot is restored under the same term.
    DoubtOverlooked,
    /// Slots number as if they were alone.
    NumbersShared,
}

impl Slip {
    /// Every slip, without [`Slip::None`].
    pub const ALL: [Self; 4] =
        [Self::FenceNotChecked, Self::MembersClock, Self::DoubtOverlooked, Self::NumbersShared];
}

/// One place for a member: a process, or none for a while.
struct Seat {
    life: u64,
    member: Option<Member>,
    cut: Vec<Cut>,
}

/// What became of a fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One number for all that happened.
    pub hash: u64,
    /// Readings accepted by gateways.
    pub readings: usize,
    /// Transactions, and those that the fence refused.
    pub commits: (u64, u64),
    /// Commits whose fate nobody knew.
    pub doubts: u64,
    /// Members killed, put to sleep, cut off; outages of the database, of the broker; gateways killed.
    pub faults: [u64; 6],
    /// Terms begun.
    pub begun: u64,
    /// After the faults, until the last gateway was served again, in milliseconds.
    pub served_ms: u64,
}

/// See the module page.
pub struct Fleet {
    sky: Sky,
    seats: Vec<Seat>,
    senders: Vec<Option<Sender>>,
    register: Register,
    /// Counts the lives of the broker, and whether it runs.
    broker: (u64, bool),
    /// Retained states: who was ever connected.
    states: Vec<GatewayId>,
    database_up: bool,
    woken: Vec<Option<u64>>,
    interval_ms: u64,
    polling: bool,
    /// When the faults were over, and how long after that each gateway was acknowledged something for the first time.
    calm_at: Option<u64>,
    served: BTreeMap<GatewayId, u64>,
    outcome: Outcome,
}

/// The fleet of one seed: what became of it, or what was wrong and the last steps.
pub fn run(seed: u64, slip: Slip) -> Result<Outcome, (Vec<String>, Vec<String>)> {
    let mut fleet = Fleet::new(seed, slip);
    fleet.live();
    let Fleet { sky, register, mut outcome, .. } = fleet;
    if !register.violations.is_empty() {
        return Err((register.violations, sky.trace.last().map(ToString::to_string).collect()));
    }
    (outcome.hash, outcome.doubts) = (sky.trace.hash(), sky.doubts);
    outcome.commits = (register.commits, register.fenced);
    Ok(outcome)
}

impl Fleet {
    fn new(seed: u64, slip: Slip) -> Self {
        let mut dice = Dice::new(seed);
        let (members, senders) = (dice.between(2, 4) as usize, dice.between(3, 8) as usize);
        let interval_ms = dice.pick(&[400, 1_000, 2_500]);
        let senders: Vec<Option<Sender>> = (0..senders).map(|n| Sender::new(n, &mut dice)).collect();
        let sky = Sky::new(dice, slip);
        let mut fleet = Self {
            sky,
            seats: (0..members).map(|_| Seat { life: 0, member: None, cut: Vec::new() }).collect(),
            woken: vec![None; senders.len()],
            senders,
            register: Register::new(slip),
            broker: (0, true),
            states: Vec::new(),
            database_up: true,
            interval_ms,
            polling: true,
            calm_at: None,
            served: BTreeMap::new(),
            outcome: Outcome::default(),
        };
        for member in 0..members {
            let after = fleet.sky.dice.below(5_000);
            fleet.sky.after(after, Event::MemberUp { member });
        }
        for sender in 0..fleet.senders.len() {
            fleet.sky.after(sender as u64, Event::Poll { sender });
            let after = fleet.sky.dice.below(20_000);
            fleet.sky.after(after, Event::SenderConnect { sender });
        }
        fleet.sky.after(8_000, Event::Misfortune);
        fleet
    }

    fn live(&mut self) {
        let bad_ms = self.sky.dice.between(60_000, 120_000);
        self.until(bad_ms);
        self.calm();
        self.calm_at = Some(self.sky.now);
        self.until(self.sky.now + CALM_MS);
        self.judge_shares();
        self.polling = false;
        self.until(self.sky.now + DRAIN_MS);
        if !self.register.violations.is_empty() {
            return;
        }
        self.judge_rows();
        self.judge_alerts();
        self.judge_service();
    }

    fn until(&mut self, end: u64) {
        while self.register.violations.is_empty()
            && let Some(event) = self.sky.next(end)
        {
            self.handle(event);
            self.look_on();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Poll { sender } => self.poll(sender),
            Event::SenderWake { sender, life, at } => {
                let lives = self.senders[sender].as_ref().is_some_and(|found| found.life == life);
                if lives && self.woken[sender] == Some(at) {
                    self.woken[sender] = None;
                    self.drive(sender);
                }
            }
            Event::SenderConnect { sender } => self.connect(sender),
            Event::ToBroker { broker, topic, payload } => {
                if self.broker == (broker, true) {
                    self.pass_on(topic, payload);
                }
            }
            Event::FromMember { member, gateway, payload } => self.answer_sender(member, &gateway, payload),
            Event::ToSender { sender, session, payload } => {
                let now = self.sky.now;
                if let Some(found) = self.senders[sender].as_mut().filter(|s| s.session == Some(session)) {
                    found.handle_ack(&payload, now);
                    self.drive(sender);
                }
            }
            Event::Question { member, life, name, request } => self.question(member, life, &name, request),
            Event::MemberUp { member } => self.start(member),
            Event::Resume { member } => self.resume(member),
            Event::BrokerUp => self.broker.1 = true,
            Event::DatabaseUp => self.database_up = true,
            Event::Healed { member, what } => self.heal(member, what),
            Event::Misfortune => self.misfortune(),
            Event::ToMember { member, life, .. }
            | Event::States { member, life }
            | Event::MemberWake { member, life, .. }
            | Event::Settle { member, life, .. }
            | Event::Patience { member, life, .. }
            | Event::Reply { member, life, .. } => self.for_member(member, life, event),
        }
    }

    /// Something for a process, if it still runs; if it sleeps, for later.
    fn for_member(&mut self, number: usize, life: u64, event: Event) {
        let Self { sky, seats, states, broker, .. } = self;
        let Seat { member: Some(member), cut, .. } = &mut seats[number] else { return };
        if member.life != life {
            return;
        }
        if member.paused {
            return member.waiting.push(event);
        }
        match event {
            Event::ToMember { topic, payload, .. } => member.receive(topic, payload, sky),
            Event::States { .. } if broker.1 && member.connected && !cut.contains(&Cut::Broker) => {
                states.iter().for_each(|gateway| member.meet(gateway.clone(), sky));
            }
            Event::MemberWake { at, .. } if member.is_due(at) => member.wake(sky),
            Event::Settle { hold, .. } => member.settle(hold, sky),
            Event::Patience { hold, request, .. } => member.lose_patience(hold, request, sky),
            Event::Reply { reply, .. } => member.handle(reply, sky),
            _ => {}
        }
    }

    fn poll(&mut self, sender: usize) {
        if !self.polling {
            return;
        }
        let now = self.sky.now;
        if let Some(found) = &mut self.senders[sender] {
            found.poll(now);
        }
        self.sky.after(self.interval_ms, Event::Poll { sender });
        self.drive(sender);
    }

    /// Lets a gateway do what it wants.
    fn drive(&mut self, number: usize) {
        let Self { sky, senders, broker, woken, .. } = self;
        let Some(sender) = &mut senders[number] else { return };
        for wish in sender.work(sky.now, &mut sky.dice) {
            match wish {
                Wish::Publish(topic, payload) if sender.session.is_some() => {
                    let at = (sky.now + sky.latency()).max(sender.sent_until);
                    sender.sent_until = at;
                    sky.at(at, Event::ToBroker { broker: broker.0, topic, payload });
                }
                Wish::Publish(..) => {}
                Wish::Reconnect => {
                    sender.handle_down(sky.now);
                    sky.after(500, Event::SenderConnect { sender: number });
                }
            }
        }
        if let Some(due) = sender.poll_timeout().map(|due| due.max(sky.now + 1))
            && woken[number].is_none_or(|woken| due < woken)
        {
            woken[number] = Some(due);
            sky.at(due, Event::SenderWake { sender: number, life: sender.life, at: due });
        }
    }

    fn connect(&mut self, number: usize) {
        let Some(sender) = &mut self.senders[number] else { return };
        if sender.session.is_some() {
            return;
        }
        if !self.broker.1 {
            return self.sky.after(700, Event::SenderConnect { sender: number });
        }
        sender.handle_up(self.sky.now);
        let gateway = sender.gateway.clone();
        if !self.states.contains(&gateway) {
            self.states.push(gateway.clone());
        }
        self.pass_on(Topic::State(gateway), Vec::new());
        self.drive(number);
    }

    /// The broker delivers: states to all, manifests to one of all and to whoever listens to this gateway, batches to
    /// those only.
    fn pass_on(&mut self, topic: Topic, payload: Vec<u8>) {
        let (Topic::Up(gateway) | Topic::Manifest(gateway) | Topic::State(gateway)) = &topic else { return };
        let reached = |seat: &&Seat| !seat.cut.contains(&Cut::Broker);
        let there = self.seats.iter().filter(reached).filter_map(|seat| seat.member.as_ref());
        let there: Vec<&Member> = there.filter(|member| member.connected).collect();
        let shared = matches!(topic, Topic::Manifest(_)).then(|| self.sky.dice.below(there.len() as u64));
        let to_all = matches!(topic, Topic::State(_));
        let mut to: Vec<(usize, u64)> = Vec::new();
        for (n, member) in there.into_iter().enumerate() {
            if to_all || member.listens_to(gateway) || shared == Some(n as u64) {
                to.push((member.number(), member.life));
            }
        }
        for (member, life) in to {
            if self.sky.faults && self.sky.dice.one_in(40) {
                continue;
            }
            let copies = if self.sky.faults && self.sky.dice.one_in(40) { 2 } else { 1 };
            for _ in 0..copies {
                let after = self.sky.latency();
                let (topic, payload) = (topic.clone(), payload.clone());
                self.sky.after(after, Event::ToMember { member, life, topic, payload });
            }
        }
    }

    fn answer_sender(&mut self, member: usize, gateway: &GatewayId, payload: Vec<u8>) {
        if !self.broker.1 || self.seats[member].cut.contains(&Cut::Broker) {
            return;
        }
        let after = self.sky.latency();
        let found = self.senders.iter().position(|s| s.as_ref().is_some_and(|s| s.gateway == *gateway));
        let session = found.and_then(|sender| self.senders[sender].as_ref()?.session);
        if let (Some(sender), Some(session)) = (found, session)
            && !(self.sky.faults && self.sky.dice.one_in(40))
        {
            self.sky.after(after, Event::ToSender { sender, session, payload });
        }
    }

    /// One transaction of the database, or one write of the engine, whoever may still wait for the answer.
    fn question(&mut self, member: usize, life: u64, name: &str, request: Request) {
        if !self.database_up || self.seats[member].cut.contains(&Cut::Database) {
            return;
        }
        let bad = |dice: &mut Dice, faults: bool| faults && dice.one_in(120);
        if bad(&mut self.sky.dice, self.sky.faults) {
            return;
        }
        let now = self.sky.now;
        let reply = match request {
            Request::Tenure(ask) => Reply::Tenure(self.register.answer(name, &ask, now)),
            Request::Restore(hold) => {
                let book = self.register.books.get(&hold.slot).cloned().unwrap_or_default();
                Reply::Restored(hold, Box::new(book))
            }
            Request::Put(hold, rows) => {
                self.register.put(&rows);
                Reply::Put(hold)
            }
            Request::Commit(hold, transaction) => {
                let done = self.register.commit(name, hold, &transaction);
                self.sky.note("commit", member, hold.slot.number().into(), hold.term);
                Reply::Committed(hold, done)
            }
            Request::Introduce(gateway) => {
                self.register.known.insert(gateway);
                return;
            }
            Request::Look => Reply::Known(self.register.known.clone()),
        };
        if !bad(&mut self.sky.dice, self.sky.faults) {
            let after = self.sky.latency();
            self.sky.after(after, Event::Reply { member, life, reply });
        }
    }
}

fn alert_settings(slot: Slot, slip: Slip) -> Settings {
    let episode_numbers = if slip == Slip::NumbersShared { Numbers::ALL } else { Numbers::of(slot) };
    Settings { episode_numbers, ..Settings::default() }
}
