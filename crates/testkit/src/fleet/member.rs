//! One ingestor of several: the real lease machine, and for every slot that it holds the real `ingest` and `alert`, between a
//! database, an engine and a broker that answer late or never. A sketch of the ingestor's composition page in that mode.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sitian_alert::{Change, Engine};
use sitian_ingest::{Effect, Group, Ingest, Limits};
use sitian_model::{Ack, Action, Epoch, EpochNo, GatewayId, Numbers, Row, Slot};
use sitian_tenure::{Answer, Ask, Command, Hold, Tenure};
use sitian_wire::topic::Topic;

use crate::centre::{rules, wall, watched};
use crate::fleet::sky::{Event, Sky};
use crate::fleet::{Slip, alert_settings, lease};
use crate::store::{Book, Transaction};

/// Batches of one group commit are gathered this long.
const GROUP_MS: u64 = 20;
/// How long an answer of database or engine is waited for.
const PATIENCE_MS: u64 = 2_000;
/// How often it is looked for gateways that others have heard of.
const LOOK_MS: u64 = 1_000;
const INBOX_MAX: usize = 256;

/// What is asked of the database or the engine.
#[derive(Debug, Clone)]
pub enum Request {
    /// Leases.
    Tenure(Ask),
    /// What is stored of a slot.
    Restore(Hold),
    /// Rows for the engine.
    Put(Hold, Vec<(GatewayId, Epoch, Row)>),
    /// One transaction, fenced.
    Commit(Hold, Box<Transaction>),
    /// A gateway exists.
    Introduce(GatewayId),
    /// Which gateways are known?
    Look,
}

/// What comes back.
#[derive(Debug, Clone)]
pub enum Reply {
    /// See [`Request::Tenure`].
    Tenure(Answer),
    /// See [`Request::Restore`].
    Restored(Hold, Box<Book>),
    /// See [`Request::Put`].
    Put(Hold),
    /// See [`Request::Commit`]: false if the fence refused.
    Committed(Hold, bool),
    /// See [`Request::Look`].
    Known(BTreeSet<GatewayId>),
}

/// How far an admission is.
#[derive(Debug)]
enum Stage {
    Restoring,
    Ready,
    /// Rows, then this transaction, then these acks.
    Putting(Box<Transaction>, Vec<(GatewayId, Ack)>),
    Committing(Vec<(GatewayId, Ack)>),
}

struct Admission {
    hold: Hold,
    stage: Stage,
    /// Counts questions: an answer that is waited for no longer finds another number.
    request: u64,
    machines: Option<(Ingest, Engine)>,
    names: BTreeMap<EpochNo, (GatewayId, Epoch)>,
    inbox: VecDeque<(Topic, Vec<u8>)>,
    /// Epochs to be told where they stand, once that is sure.
    call: Vec<(GatewayId, Epoch)>,
    ending: bool,
}

/// One process.
pub struct Member {
    number: usize,
    /// Counts processes.
    pub life: u64,
    /// Unique.
    pub name: String,
    born: u64,
    /// Millionths of its seconds.
    rate: u64,
    /// The lease machine.
    pub tenure: Tenure,
    admissions: BTreeMap<Slot, Admission>,
    known: BTreeSet<GatewayId>,
    look_at: u64,
    woken_at: Option<u64>,
    /// It sleeps; what comes meanwhile waits.
    pub paused: bool,
    /// See [`Member::paused`].
    pub waiting: Vec<Event>,
    /// The link to the broker is up, as far as anybody knows.
    pub connected: bool,
}

impl Member {
    /// A process that starts.
    pub fn start(number: usize, life: u64, sky: &mut Sky) -> Self {
        let name = format!("m{number}.{life}");
        let rate = sky.dice.between(970_000, 1_030_000);
        let tenure = Tenure::new(name.clone(), lease(), 0);
        sky.note("member starts", number, life, rate);
        let mut member = Self {
            number,
            life,
            name,
            born: sky.now,
            rate,
            tenure,
            admissions: BTreeMap::new(),
            known: BTreeSet::new(),
            look_at: sky.now,
            woken_at: None,
            paused: false,
            waiting: Vec::new(),
            connected: true,
        };
        sky.look_at_states(number, life);
        member.work(sky);
        member
    }

    /// Its seat.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its own monotonic time.
    fn local(&self, now: u64) -> u64 {
        (now - self.born) * self.rate / 1_000_000
    }

    /// True if it admits for this gateway, and so listens to its topics alone.
    pub fn listens_to(&self, gateway: &GatewayId) -> bool {
        let admission = self.admissions.get(&Slot::of(gateway));
        self.connected
            && self.known.contains(gateway)
            && admission.is_some_and(|admission| admission.machines.is_some() && !admission.ending)
    }

    /// Slots for which it admits right now.
    pub fn ready(&self) -> usize {
        self.admissions.values().filter(|admission| admission.machines.is_some()).count()
    }

    fn ask(&self, request: Request, sky: &mut Sky) {
        sky.ask(self.number, self.life, &self.name, request);
    }

    /// A message came from the broker; `shared`: it went to this member because it went to one of all.
    pub fn receive(&mut self, topic: Topic, payload: Vec<u8>, sky: &mut Sky) {
        let (Topic::Up(gateway) | Topic::Manifest(gateway) | Topic::State(gateway)) = &topic else { return };
        self.meet(gateway.clone(), sky);
        if matches!(topic, Topic::State(_)) {
            return;
        }
        let slot = Slot::of(gateway);
        let Some(admission) = self.admissions.get_mut(&slot) else { return };
        if admission.inbox.len() < INBOX_MAX && !admission.ending {
            admission.inbox.push_back((topic, payload));
            let hold = admission.hold;
            sky.after(GROUP_MS, Event::Settle { member: self.number, life: self.life, hold });
        }
    }

    /// A gateway is heard of: whoever owns it will know from the registry.
    pub fn meet(&mut self, gateway: GatewayId, sky: &mut Sky) {
        if !self.known.contains(&gateway) {
            self.ask(Request::Introduce(gateway), sky);
        }
    }

    /// Timers.
    pub fn wake(&mut self, sky: &mut Sky) {
        self.woken_at = None;
        self.tenure.handle_timeout(self.local(sky.now));
        self.work(sky);
    }

    /// Does what the lease machine decided, looks around, and asks to be woken.
    fn work(&mut self, sky: &mut Sky) {
        let local = self.local(sky.now);
        self.tenure.handle_timeout(local);
        while let Some(command) = self.tenure.poll_command() {
            match command {
                Command::Ask(ask) => self.ask(Request::Tenure(ask), sky),
                Command::Begin(hold) => self.begin(hold, sky),
                Command::End(hold) => {
                    if let Some(admission) = self.admissions.get_mut(&hold.slot) {
                        admission.ending = true;
                        admission.inbox.clear();
                    }
                    self.settle(hold, sky);
                }
                Command::Drop(hold) => {
                    sky.note("drop", self.number, hold.slot.number().into(), hold.term);
                    self.admissions.remove(&hold.slot);
                }
            }
        }
        if sky.now >= self.look_at {
            self.look_at = sky.now + LOOK_MS;
            self.ask(Request::Look, sky);
        }
        let due = self.tenure.poll_timeout().map(|due| self.born + due * 1_000_000 / self.rate + 1);
        let due = due.map_or(self.look_at, |due| due.min(self.look_at)).max(sky.now + 1);
        if self.woken_at.is_none_or(|woken| due < woken) {
            self.woken_at = Some(due);
            sky.at(due, Event::MemberWake { member: self.number, life: self.life, at: due });
        }
    }

    /// True if this wake was asked for last.
    pub fn is_due(&self, at: u64) -> bool {
        self.woken_at == Some(at)
    }

    fn begin(&mut self, hold: Hold, sky: &mut Sky) {
        sky.note("begin", self.number, hold.slot.number().into(), hold.term);
        sky.began.push((self.number, hold));
        let admission = Admission {
            hold,
            stage: Stage::Restoring,
            request: 0,
            machines: None,
            names: BTreeMap::new(),
            inbox: VecDeque::new(),
            call: Vec::new(),
            ending: false,
        };
        self.admissions.insert(hold.slot, admission);
        self.restore(hold, sky);
    }

    fn restore(&mut self, hold: Hold, sky: &mut Sky) {
        self.put_off(hold, Stage::Restoring, sky);
        self.ask(Request::Restore(hold), sky);
    }

    /// The next step waits for an answer, but not for ever.
    fn put_off(&mut self, hold: Hold, stage: Stage, sky: &mut Sky) {
        let Some(admission) = self.admissions.get_mut(&hold.slot) else { return };
        admission.stage = stage;
        admission.request += 1;
        let (member, life, request) = (self.number, self.life, admission.request);
        sky.after(PATIENCE_MS, Event::Patience { member, life, hold, request });
    }

    /// No answer: what was asked for may have been done, or may yet be.
    pub fn lose_patience(&mut self, hold: Hold, request: u64, sky: &mut Sky) {
        let Some(admission) = self.admissions.get(&hold.slot) else { return };
        let waits = !matches!(admission.stage, Stage::Ready);
        if admission.hold != hold || admission.request != request || !waits {
            return;
        }
        sky.doubts += u64::from(matches!(admission.stage, Stage::Committing(_)));
        if sky.slip == Slip::DoubtOverlooked && !admission.ending {
            return self.restore(hold, sky);
        }
        self.over(hold, sky);
    }

    fn over(&mut self, hold: Hold, sky: &mut Sky) {
        self.admissions.remove(&hold.slot);
        self.tenure.handle_ended(hold, self.local(sky.now));
        self.work(sky);
    }

    /// Database or engine have answered.
    pub fn handle(&mut self, reply: Reply, sky: &mut Sky) {
        match reply {
            Reply::Tenure(answer) => self.tenure.handle_answer(answer, self.local(sky.now)),
            Reply::Known(known) => self.known = known,
            Reply::Restored(hold, book) => self.restored(hold, &book, sky),
            Reply::Put(hold) => {
                let Some(admission) = self.admissions.get_mut(&hold.slot) else { return };
                if admission.hold == hold
                    && let Stage::Putting(transaction, acks) =
                        std::mem::replace(&mut admission.stage, Stage::Ready)
                {
                    self.put_off(hold, Stage::Committing(acks), sky);
                    self.ask(Request::Commit(hold, transaction), sky);
                }
            }
            Reply::Committed(hold, done) => self.committed(hold, done, sky),
        }
        self.work(sky);
    }

    fn restored(&mut self, hold: Hold, book: &Book, sky: &mut Sky) {
        let Some(admission) = self.admissions.get_mut(&hold.slot) else { return };
        if admission.hold != hold || !matches!(admission.stage, Stage::Restoring) {
            return;
        }
        let now = wall(sky.now);
        let mut restored = book.restored();
        if sky.slip != Slip::NumbersShared {
            let numbers = Numbers::of(hold.slot);
            (restored.point_numbers, restored.epoch_numbers) = (numbers, numbers);
        }
        let mut engine = Engine::new(rules(), alert_settings(hold.slot, sky.slip), now);
        let (states, marks) = book.alert_memory();
        engine.restore(&states, &marks, now);
        restored.points.iter().for_each(|entry| engine.register(watched(entry), now));
        let named = |stored: &sitian_ingest::RestoredEpoch| (stored.gateway.clone(), stored.epoch);
        admission.names = restored.epochs.iter().map(|stored| (stored.state.no, named(stored))).collect();
        admission.call = restored.epochs.iter().filter(|stored| !stored.state.gone).map(named).collect();
        let limits = Limits {
            window_bytes: 12_000,
            retry_after_ms: 300,
            silence_ms: 12_000,
            epoch_burst: 100_000,
            ..Limits::default()
        };
        admission.machines = Some((Ingest::restore(limits, restored), engine));
        admission.stage = Stage::Ready;
        sky.look_at_states(self.number, self.life);
        self.settle(hold, sky);
    }

    /// Takes what has come, and begins to make it durable.
    pub fn settle(&mut self, hold: Hold, sky: &mut Sky) {
        let now = wall(sky.now);
        let Some(admission) = self.admissions.get_mut(&hold.slot).filter(|found| found.hold == hold) else {
            return;
        };
        let (true, Some((ingest, engine))) =
            (matches!(admission.stage, Stage::Ready), &mut admission.machines)
        else {
            // What is not restored yet has nothing to end in order.
            if admission.ending && matches!(admission.stage, Stage::Restoring) {
                self.over(hold, sky);
            }
            return;
        };
        while !ingest.is_full()
            && let Some((topic, payload)) = admission.inbox.pop_front()
        {
            hear(ingest, &topic, &payload, sky.now);
        }
        let timeout = engine.poll_timeout().is_some_and(|at| at <= now);
        if timeout {
            engine.handle_timeout(now);
        }
        let Group { effects, acks } = ingest.take(now);
        let mut rows = Vec::new();
        for effect in &effects {
            match effect {
                Effect::Point(entry) => engine.register(watched(entry), now),
                Effect::Epoch(entry) => {
                    drop(admission.names.insert(entry.no, (entry.gateway.clone(), entry.epoch)))
                }
                Effect::Rows(group) => {
                    group.iter().for_each(|row| engine.observe(row, now));
                    let named = |row: &Row| admission.names.get(&row.epoch).map(|n| (n.0.clone(), n.1, *row));
                    rows.extend(group.iter().filter_map(named));
                }
                _ => {}
            }
        }
        let alerts: Vec<Change> = std::iter::from_fn(|| engine.poll_change()).collect();
        let alert_state = engine.take_delta();
        let transaction = Transaction { effects, alerts, alert_state, timeout, at: now };
        if transaction.is_empty() && acks.is_empty() && admission.call.is_empty() {
            if admission.ending {
                self.over(hold, sky);
            }
            return;
        }
        let transaction = Box::new(transaction);
        if rows.is_empty() {
            self.put_off(hold, Stage::Committing(acks), sky);
            self.ask(Request::Commit(hold, transaction), sky);
        } else {
            self.put_off(hold, Stage::Putting(transaction, acks), sky);
            self.ask(Request::Put(hold, rows), sky);
        }
    }

    fn committed(&mut self, hold: Hold, done: bool, sky: &mut Sky) {
        let Some(admission) = self.admissions.get_mut(&hold.slot).filter(|found| found.hold == hold) else {
            return;
        };
        let Stage::Committing(acks) = &mut admission.stage else { return };
        if !done {
            sky.note("fenced", self.number, hold.slot.number().into(), hold.term);
            return self.over(hold, sky);
        }
        let mut acks = std::mem::take(acks);
        admission.stage = Stage::Ready;
        if let Some((ingest, _)) = &admission.machines {
            for (gateway, epoch) in std::mem::take(&mut admission.call) {
                let Some(state) = ingest.state(&gateway, &epoch) else { continue };
                let (committed, chain) = (state.committed, state.chain);
                let (retry_after_ms, server_ms) = (0, wall(sky.now).0);
                let action = Action::Rewind;
                let window_bytes = 12_000;
                let ack = Ack { epoch, committed, chain, action, retry_after_ms, window_bytes, server_ms };
                acks.push((gateway, ack));
            }
        }
        for (gateway, ack) in acks {
            sky.acks.push((gateway.clone(), ack.epoch, ack.committed));
            sky.note("ack", self.number, ack.epoch.0[0].into(), ack.committed);
            if self.connected {
                let payload = sitian_wire::encode_ack(&ack);
                let after = sky.latency();
                sky.after(after, Event::FromMember { member: self.number, gateway, payload });
            }
        }
        self.settle(hold, sky);
    }
}

fn hear(ingest: &mut Ingest, topic: &Topic, payload: &[u8], now: u64) {
    let now = wall(now);
    match topic {
        Topic::Up(gateway) => {
            if let Ok(batch) = sitian_wire::decode_batch(payload) {
                let decode =
                    |bytes: &[u8]| sitian_wire::decode_record(bytes).map_err(|error| error.to_string());
                ingest.handle_batch(gateway, &batch, payload, &decode, now);
            }
        }
        Topic::Manifest(gateway) => {
            if let Ok((epoch, manifest)) = sitian_wire::decode_manifest(payload) {
                ingest.handle_manifest(gateway, epoch, manifest, now);
            }
        }
        _ => {}
    }
}
