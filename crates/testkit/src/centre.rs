//! The centre: a faithful copy of the ingestor's admission (`crates/ingestor/src/admit.rs`) without its thread, API and
//! picture, over a store in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use sitian_alert::engine::{Settings, WatchedPoint};
use sitian_alert::{Change, ChangeKind, Engine, Rules, Vocabulary};
use sitian_ingest::{Effect, Form, Group, Ingest, Limits, PointEntry, RestoredEpoch, Retry, Stats};
use sitian_model::{Ack, Action, Batch, Entry, Gap, GapReason, GatewayId, Lane, Record, Timestamp};
use sitian_wire::topic::Topic;

use crate::ether::{Ether, Event};
use crate::mutant::Mutant;
use crate::oracle::{Served, WALL_ZERO_MS};
use crate::sight::Sight;
use crate::store::{Book, Told, Transaction};

/// Batches of one group commit are gathered this long.
const GROUP_MS: u64 = 20;
/// After a refused transaction nothing is done for this long.
const REFUSED_MS: u64 = 1_000;
/// Messages that may wait for the admission.
const INBOX_MAX: usize = 1_024;

/// Opens a record that no program understands before its upgrade.
pub const SPOILT: &[u8] = &[0xFF, 0xFF, 0xFF];

const RULES: &str = r#"
[[rule]]
id = "high"
name = { zh = "高", en = "High" }
kind = "above"
measurement = "wave"
for = "4s"
levels = [
  { severity = "blue", threshold = 844424930131968, clear = 562949953421312, for = "0s" },
  { severity = "red", threshold = 1688849860263936, clear = 1125899906842624 },
]
source = "world"
verified = "U"
"#;

/// The centre.
#[derive(Debug)]
pub struct Centre {
    /// Counts processes.
    pub life: u64,
    /// The program, while it runs.
    process: Option<Process>,
    /// What is durable.
    pub book: Book,
    /// An older copy of it.
    pub backup: Option<Book>,
    /// So many transactions fail.
    pub fail_next: u64,
    /// The process dies between the next commit and its acks.
    pub crash_next: bool,
    /// The program was replaced by one that understands what was written to spoil it.
    pub upgraded: bool,
    rules: Arc<Rules>,
    group_bytes: usize,
}

struct Process {
    /// See [`Centre::upgraded`].
    upgraded: bool,
    /// Entries of the quarantine that are still to be read again, after an upgrade.
    retries: Vec<u64>,
    ingest: Ingest,
    engine: Engine,
    inbox: VecDeque<(Topic, Vec<u8>)>,
    settling: bool,
    /// Nothing is done before: a transaction was refused.
    busy_until: u64,
    told: Stats,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("inbox", &self.inbox.len()).finish_non_exhaustive()
    }
}

pub(crate) fn rules() -> Rules {
    Rules::parse(&[("world.toml", RULES)], &Vocabulary::any()).unwrap_or_default()
}

/// The server's clock: always right.
pub fn wall(now: u64) -> Timestamp {
    Timestamp(WALL_ZERO_MS + now as i64)
}

impl Centre {
    /// A centre that remembers nothing, and is not running.
    pub fn new(group_bytes: usize) -> Self {
        Self {
            life: 0,
            process: None,
            book: Book::default(),
            backup: None,
            fail_next: 0,
            crash_next: false,
            upgraded: false,
            rules: Arc::new(rules()),
            group_bytes,
        }
    }

    /// True while its process is connected.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The process starts from what is durable.
    pub fn start(&mut self, ether: &mut Ether) {
        self.life += 1;
        ether.note("centre starts", 0, self.life, self.book.epochs.len() as u64);
        let group_bytes_max = self.group_bytes;
        let limits = Limits {
            group_bytes_max,
            window_bytes: 12_000,
            retry_after_ms: 300,
            silence_ms: 12_000,
            epoch_burst: 100_000,
            ..Limits::default()
        };
        let ingest = Ingest::restore(limits, self.book.restored());
        let engine = self.engine(ether);
        let told = Stats::default();
        let upgraded = self.upgraded;
        let retries = if upgraded { self.book.kept.keys().copied().collect() } else { Vec::new() };
        let inbox = VecDeque::new();
        let process =
            Process { upgraded, retries, ingest, engine, inbox, settling: false, busy_until: 0, told };
        self.process = Some(process);
        self.gather(ether);
    }

    /// The process is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    fn engine(&self, ether: &mut Ether) -> Engine {
        let now = wall(ether.now);
        let mut engine = Engine::new(Rules::clone(&self.rules), Settings::default(), now);
        let (states, marks) = self.book.alert_memory();
        if !states.is_empty() {
            ether.saw(Sight::AlertRestored);
        }
        if let Some(key) = engine.restore(&states, &marks, now).first() {
            ether.oracle.violate(format!("S10: alert state {key} not understood"));
        }
        self.book.points.values().for_each(|entry| engine.register(watched(entry), now));
        engine
    }

    /// A message came from the broker.
    pub fn receive(&mut self, topic: Topic, payload: Vec<u8>, ether: &mut Ether) {
        let Some(process) = &mut self.process else { return };
        if process.inbox.len() < INBOX_MAX {
            process.inbox.push_back((topic, payload));
        }
        self.gather(ether);
    }

    fn gather(&mut self, ether: &mut Ether) {
        let life = self.life;
        let Some(process) = &mut self.process else { return };
        let mut full = false;
        while ether.now >= process.busy_until
            && !full
            && let Some((topic, payload)) = process.inbox.pop_front()
        {
            process.handle_message(&topic, &payload, &self.book, ether);
            full = process.ingest.is_full();
        }
        process.reread(&self.book, ether);
        if !process.settling {
            process.settling = true;
            // A full group is not answered SLOW while nobody is in a hurry; now and then somebody is.
            let wait = if full { ether.dice.below(GROUP_MS) } else { GROUP_MS };
            ether.at((ether.now + wait).max(process.busy_until), Event::Settle { centre: life });
        }
    }

    /// Takes what was decided, evaluates it, makes it durable, and only then tells anybody.
    pub fn settle(&mut self, served: Served<'_>, ether: &mut Ether) {
        let now = wall(ether.now);
        let Some(process) = &mut self.process else { return };
        process.settling = false;
        let timeout = process.engine.poll_timeout().is_some_and(|at| at <= now);
        if timeout {
            process.engine.handle_timeout(now);
        }
        let Group { effects, acks } = process.ingest.take(now);
        process.note_stats(ether);
        for effect in &effects {
            match effect {
                Effect::Point(entry) => process.engine.register(watched(entry), now),
                Effect::Rows(rows) => rows.iter().for_each(|row| process.engine.observe(row, now)),
                _ => {}
            }
        }
        let alerts: Vec<Change> = std::iter::from_fn(|| process.engine.poll_change()).collect();
        let alert_state = process.engine.take_delta();
        let transaction = Transaction { effects, alerts, alert_state, timeout, at: now };
        if ether.mutant == Mutant::AckBeforeCommit {
            self.acknowledge(&acks, ether);
        }
        if !transaction.is_empty() {
            if self.fail_next > 0 {
                self.fail_next -= 1;
                return self.recover(ether);
            }
            self.commit(transaction, served, ether);
            if std::mem::take(&mut self.crash_next) {
                ether.saw(Sight::CrashBetweenCommitAndAck);
                self.kill();
                let after = ether.dice.between(200, 3_000);
                return ether.after(after, Event::CentreUp { centre: self.life });
            }
        }
        if ether.mutant != Mutant::AckBeforeCommit {
            self.acknowledge(&acks, ether);
        }
        if self.process.as_ref().is_some_and(|process| !process.inbox.is_empty()) {
            self.gather(ether);
        }
    }

    fn commit(&mut self, mut transaction: Transaction, served: Served<'_>, ether: &mut Ether) {
        if ether.mutant == Mutant::AlertMemoryForgotten {
            transaction.alert_state = Default::default();
        }
        if ether.mutant == Mutant::WatermarkInAnotherTransaction && self.crash_next {
            // The first of two transactions was durable, the second never came.
            transaction.effects.retain(|effect| !matches!(effect, Effect::Rows(_)));
        }
        note_effects(&transaction, ether);
        if let Err(what) = self.book.apply(&transaction) {
            ether.oracle.violate(what);
        }
        ether.oracle.judge(&transaction, &self.book, served);
        ether.note("commit", 0, transaction.effects.len() as u64, self.book.rows.len() as u64);
    }

    fn acknowledge(&mut self, acks: &[(GatewayId, Ack)], ether: &mut Ether) {
        for (gateway, ack) in acks {
            let mut ack = *ack;
            match ack.action {
                Action::Rewind => ether.saw(Sight::Rewind),
                Action::Fork => {
                    ether.saw(Sight::Fork);
                    if !ether.oracle.forked.contains(&ack.epoch) {
                        ether.oracle.violate(format!("one writer of {} was taken for two", ack.epoch));
                    }
                }
                Action::Manifest => ether.saw(Sight::ManifestWanted),
                Action::Slow => ether.saw(Sight::Slow),
                Action::Ok | Action::Quarantined => {}
            }
            if ether.mutant == Mutant::NoRewind && ack.action == Action::Rewind {
                ack.action = Action::Ok;
            }
            ether.oracle.acknowledge(gateway, ack.epoch, ack.committed, &self.book);
            ether.note("ack", ack.action as usize, ack.epoch.0[0].into(), ack.committed);
            let payload = sitian_wire::encode_ack(&ack);
            let (broker, gateway) = (ether.broker.life, gateway.clone());
            let after = ether.dice.between(1, 5);
            ether.after(after, Event::FromCentre { broker, gateway, payload });
        }
    }

    /// The store refused: nothing was acknowledged; memory goes back to what is stored, and gateways send again.
    fn recover(&mut self, ether: &mut Ether) {
        ether.saw(Sight::TransactionFailed);
        ether.note("transaction failed", 0, 0, 0);
        if ether.mutant == Mutant::NoReload {
            return;
        }
        let engine = self.engine(ether);
        let restored = self.book.restored();
        let Some(process) = &mut self.process else { return };
        process.engine = engine;
        process.ingest.reload(restored);
        if process.upgraded {
            process.retries = self.book.kept.keys().copied().collect();
        }
        process.busy_until = ether.now + REFUSED_MS;
        self.gather(ether);
    }

    /// S10: the alert log is what a fold over the committed log gives, restarts or not.
    pub fn judge_alerts(&self, ether: &mut Ether) {
        let mut engine = Engine::new(Rules::clone(&self.rules), Settings::default(), wall(0));
        let mut expected = Vec::new();
        for told in &self.book.told {
            match told {
                Told::Point(entry, now) => engine.register(watched(entry), *now),
                Told::Row(row, now) => engine.observe(row, *now),
                Told::Timeout(now) => engine.handle_timeout(*now),
            }
            expected.extend(std::iter::from_fn(|| engine.poll_change()));
        }
        let shown =
            |change: &Change| (change.kind, change.episode.id, change.episode.severity, change.episode.late);
        let differ = expected.iter().zip(&self.book.alerts).position(|(a, b)| shown(a) != shown(b));
        if differ.is_some() || expected.len() != self.book.alerts.len() {
            let (n, m) = (expected.len(), self.book.alerts.len());
            let first = differ.unwrap_or(n.min(m));
            let (wanted, found) = (expected.get(first), self.book.alerts.get(first));
            ether.oracle.violate(format!(
                "S10: alerts differ from the fold: {n} and {m}, first at {first}: {wanted:?} and {found:?}"
            ));
        }
    }
}

impl Process {
    fn handle_message(&mut self, topic: &Topic, payload: &[u8], book: &Book, ether: &mut Ether) {
        let now = wall(ether.now);
        match topic {
            Topic::Up(gateway) => match sitian_wire::decode_batch(payload) {
                Ok(mut batch) => {
                    self.look_at(gateway, &batch, book, ether);
                    if ether.mutant == Mutant::OutOfOrderAccepted {
                        self.step_over_hole(gateway, &mut batch);
                    }
                    let decode = decoder(self.upgraded);
                    self.ingest.handle_batch(gateway, &batch, payload, &decode, now);
                }
                Err(error) => {
                    let (reason, declared) = (error.to_string(), error.declared());
                    let declared = declared.map(|d| (d.epoch, d.first, d.end));
                    match error {
                        sitian_wire::DecodeError::DamagedBody { .. } => {
                            self.ingest.handle_damaged(gateway, payload, &reason, declared, now);
                        }
                        _ => self.ingest.handle_poison(gateway, payload, &reason, declared, now),
                    }
                }
            },
            Topic::Manifest(gateway) => {
                if let Ok((epoch, manifest)) = sitian_wire::decode_manifest(payload) {
                    ether.note("manifest in", 0, epoch.0[0].into(), manifest.points.len() as u64);
                    self.ingest.handle_manifest(gateway, epoch, manifest, now);
                }
            }
            _ => {}
        }
    }

    /// As the ingestor does after a start: a few entries of the quarantine before each commit.
    fn reread(&mut self, book: &Book, ether: &mut Ether) {
        for _ in 0..2 {
            let Some(id) = self.retries.pop() else { return };
            let Some(entry) = book.kept.get(&id).filter(|entry| entry.form == Form::Record) else { continue };
            let Some((epoch, first, end)) = entry.range else { continue };
            let (gateway, range) = (entry.gateway.clone(), (first, end));
            let entries = vec![Entry::Record(entry.raw.clone())];
            let retry = Retry { id, gateway, epoch, range, first, entries, clocks: Vec::new() };
            if self.ingest.handle_retry(&retry, &decoder(self.upgraded), wall(ether.now)).is_ok() {
                ether.saw(Sight::Redecoded);
            }
        }
    }

    fn look_at(&self, gateway: &GatewayId, batch: &Batch, book: &Book, ether: &mut Ether) {
        let behind = |epoch: &RestoredEpoch| {
            epoch.gateway == *gateway && epoch.epoch != batch.epoch && epoch.state.committed < epoch.state.end
        };
        if batch.lane == Lane::Live
            && !batch.entries.is_empty()
            && ether.seen.count(Sight::LiveOvertookBackfill) == 0
            && book.epochs.values().any(behind)
        {
            ether.saw(Sight::LiveOvertookBackfill);
        }
        if matches!(batch.entries.first(), Some(Entry::Gap(gap)) if gap.reason == GapReason::Damaged) {
            ether.saw(Sight::DamageRead);
        }
    }

    /// For [`Mutant::OutOfOrderAccepted`].
    fn step_over_hole(&self, gateway: &GatewayId, batch: &mut Batch) {
        let Some(state) = self.ingest.state(gateway, &batch.epoch) else { return };
        if batch.first > state.committed && !batch.entries.is_empty() {
            let (first, last) = (state.committed, batch.first - 1);
            batch.entries.insert(0, Entry::Gap(Gap { first, last, reason: GapReason::Trimmed, span: None }));
            batch.first = first;
        }
    }

    fn note_stats(&mut self, ether: &mut Ether) {
        // A refused transaction takes back what it had counted.
        let (now, before) = (self.ingest.stats(), self.told);
        ether.seen.saw_many(Sight::DuplicateSeen, now.duplicates.saturating_sub(before.duplicates));
        ether.seen.saw_many(Sight::Restamped, now.restamped.saturating_sub(before.restamped));
        ether.seen.saw_many(Sight::ClockUnknown, now.clock_unknown.saturating_sub(before.clock_unknown));
        ether.seen.saw_many(Sight::QuarantineHit, now.quarantined.saturating_sub(before.quarantined));
        self.told = now;
    }
}

/// What a program understands: before its upgrade, nothing that was spoilt.
fn decoder(upgraded: bool) -> impl Fn(&[u8]) -> Result<Record, String> {
    move |bytes| {
        let known = bytes.strip_prefix(SPOILT).filter(|_| upgraded).unwrap_or(bytes);
        sitian_wire::decode_record(known).map_err(|error| error.to_string())
    }
}

fn note_effects(transaction: &Transaction, ether: &mut Ether) {
    use sitian_ingest::IncidentKind::{CardLost, Clone, PossibleLoss};
    for effect in &transaction.effects {
        match effect {
            Effect::Gap(_) => ether.saw(Sight::GapCommitted),
            Effect::Incident(incident) if matches!(incident.kind, PossibleLoss | CardLost) => {
                ether.saw(Sight::LossReported);
            }
            Effect::Incident(incident) if incident.kind == Clone => ether.saw(Sight::CloneReported),
            _ => {}
        }
    }
    for change in &transaction.alerts {
        match change.kind {
            ChangeKind::Fired => ether.saw(Sight::AlertFired),
            ChangeKind::Resolved => ether.saw(Sight::AlertResolved),
            _ => {}
        }
    }
}

pub(crate) fn watched(entry: &PointEntry) -> WatchedPoint {
    WatchedPoint {
        point: entry.no,
        id: entry.id.clone(),
        base: None,
        measurement: entry.info.measurement.clone(),
        interval_ms: entry.info.interval_ms,
        place: entry.device.place.clone(),
        territory: Vec::new(),
    }
}
