//! The walk of a batch on the centre's side, on one thread: decode, admit, evaluate, ONE durable transaction, then acks,
//! picture and streams. Nothing is acknowledged or shown before it is durable.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use sitian_alert::engine::{Settings as AlertSettings, WatchedPoint};
use sitian_alert::{AcknowledgeError, Change, Engine, Rules};
use sitian_api::{Live, LogEntry};
use sitian_ingest::{Effect, EpochEntry, Group, Ingest, Limits, PointEntry};
use sitian_model::{Ack, Action, BaseId, GatewayId, Lane, PointNo, Span, Timestamp};
use sitian_series::{RangeQuery, Series};
use sitian_store_embedded::{Reader, Store, Transaction};
use sitian_supervision::Territory;
use sitian_wire::topic::Topic;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::backend::Centre;
use crate::board::{Board, rows_of};
use crate::link::Outlet;

/// Batches of one group commit are gathered this long.
const GROUP: Duration = Duration::from_millis(20);
/// A gateway probes every minute; after this silence it counts as offline even without its Will.
const SILENT_MS: i64 = 150_000;
const HOUR_MS: i64 = 3_600_000;
/// Pause after a transaction that failed; doubles while they go on failing.
const PATIENCE_MIN: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(4);

/// What came of an acknowledgement.
pub type Outcome = Result<(), AcknowledgeError>;

/// What the thread is asked for.
pub enum Ask {
    /// A message came in.
    Message {
        /// Its topic.
        topic: String,
        /// Its content.
        payload: bytes::Bytes,
    },
    /// The link to the broker went up or down.
    Link(bool),
    /// Store what there is, and end.
    End,
    /// A person takes note of an alert.
    Acknowledge {
        /// Which.
        alert: u64,
        /// Who.
        by: String,
        /// What they say.
        note: String,
        /// Answered after the commit.
        reply: oneshot::Sender<Outcome>,
    },
}

/// Everything that one group commit touches.
pub struct Admission {
    ingest: Ingest,
    engine: Engine,
    store: Store,
    rules: Arc<Rules>,
    grace: Duration,
    territory: Arc<Territory>,
    centre: Arc<Centre>,
    outlet: Outlet,
    live: Live,
    asks: mpsc::Receiver<Ask>,
    replies: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    ending: bool,
    patience: Duration,
}

impl Admission {
    /// Reads back what the store holds, so that everything goes on where it was.
    pub fn restore(
        store: Store,
        rules: Arc<Rules>,
        grace: Duration,
        centre: Arc<Centre>,
        outlet: Outlet,
        live: Live,
        asks: mpsc::Receiver<Ask>,
    ) -> Result<Self> {
        let territory = centre.territory.clone();
        let restored = store.reader().restored().context("read back the registry")?;
        let ingest = Ingest::restore(Limits::default(), restored.clone());
        let engine = engine(&store, &rules, grace, &territory)?;
        let mut admission = Self {
            ingest,
            engine,
            store,
            rules,
            grace,
            territory,
            centre,
            outlet,
            live,
            asks,
            replies: Vec::new(),
            ending: false,
            patience: PATIENCE_MIN,
        };
        admission.paint(restored.points)?;
        Ok(admission)
    }

    /// Draws the first picture: registry, newest rows, the last hour, what fires.
    fn paint(&mut self, points: Vec<PointEntry>) -> Result<()> {
        let now = now();
        let reader = self.store.reader();
        let epochs = reader.newest_epochs().context("read back the manifests")?;
        for entry in points {
            self.watch(&entry, now);
            let limits = self.engine.limits(entry.no);
            self.board().register(entry, limits);
        }
        let span = Span { from: now.plus_ms(-HOUR_MS), to: now.plus_ms(HOUR_MS) };
        for entry in &epochs {
            self.begin_epoch(entry, now);
            let mut board = write(&self.centre.board);
            for (point, row) in entry.points.iter().zip(reader.latest(&entry.points)?) {
                if let (Some(shown), Some(row)) = (board.points.get_mut(point), row) {
                    shown.see(&row, now);
                }
                recount(&reader, &mut board, *point, span, now)?;
            }
        }
        let states = reader.restored()?.epochs;
        let mut board = self.board();
        board.epochs.extend(states.iter().map(|epoch| (epoch.state.no, epoch.epoch)));
        for episode in self.engine.open_episodes() {
            board.show_alert(episode, now);
        }
        Ok(())
    }

    /// Admits until [`Ask::End`].
    pub fn run(mut self, runtime: &tokio::runtime::Handle) {
        info!("admission running");
        loop {
            let wait = self.next_timer(now()).min(Duration::from_secs(1));
            let first = runtime.block_on(async { tokio::time::timeout(wait, self.asks.recv()).await });
            match first {
                Ok(None) => break,
                Ok(Some(ask)) => {
                    self.handle(ask);
                    self.gather(runtime);
                }
                Err(_) => self.maintain(),
            }
            self.handle_timers(now());
            self.settle(now());
            if self.ending {
                break;
            }
        }
        self.settle(now());
        if let Err(error) = self.store.checkpoint() {
            warn!(%error, "write-ahead log stays beside the store's file");
        }
        info!("admission ended; everything acknowledged is stored");
    }

    /// Seals old rows while nothing else is to be done.
    fn maintain(&mut self) {
        if let Err(error) = self.store.maintain() {
            warn!(%error, "failed to seal older readings; they stay in the journal");
        }
    }

    fn gather(&mut self, runtime: &tokio::runtime::Handle) {
        let until = tokio::time::Instant::now() + GROUP;
        while !self.ingest.is_full() {
            let next = runtime.block_on(async { tokio::time::timeout_at(until, self.asks.recv()).await });
            let Ok(Some(ask)) = next else { return };
            self.handle(ask);
        }
    }

    fn next_timer(&self, now: Timestamp) -> Duration {
        let due = self.engine.poll_timeout().map_or(i64::MAX, |at| at.since_ms(now));
        Duration::from_millis(due.clamp(0, 1_000) as u64)
    }

    fn handle(&mut self, ask: Ask) {
        let now = now();
        match ask {
            Ask::Message { topic, payload } => match Topic::parse(&topic) {
                Ok(topic) => self.handle_message(&topic, &payload, now),
                Err(error) => debug!(%error, "message in an unknown topic"),
            },
            Ask::Link(up) => {
                self.board().broker = (up, Some(now));
                if up {
                    self.engine.handle_hearing(now);
                    self.call_gateways(now);
                } else {
                    self.engine.handle_deaf();
                }
            }
            Ask::End => self.ending = true,
            Ask::Acknowledge { alert, by, note, reply } => {
                let outcome = self.engine.acknowledge(alert, &by, &note, now).map(drop);
                self.replies.push((reply, outcome));
            }
        }
    }

    /// Tells every gateway where its epoch stands: what was under way to this program's predecessor, or to a broker that
    /// was killed, is lost and need not wait to be missed.
    fn call_gateways(&self, now: Timestamp) {
        let epochs = match self.store.reader().newest_epochs() {
            Ok(epochs) => epochs,
            Err(error) => return warn!(%error, "gateways not called"),
        };
        for EpochEntry { gateway, epoch, .. } in epochs {
            let Some(state) = self.ingest.state(&gateway, &epoch) else { continue };
            let window_bytes = Limits::default().window_bytes;
            let action = Action::Rewind;
            let ack = Ack {
                epoch,
                committed: state.committed,
                action,
                retry_after_ms: 0,
                window_bytes,
                server_ms: now.0,
            };
            self.outlet.ack(&gateway, &ack);
        }
    }

    fn handle_message(&mut self, topic: &Topic, payload: &[u8], now: Timestamp) {
        match topic {
            Topic::Up(gateway) => {
                self.hear(gateway, now);
                self.handle_batch(gateway, payload, now);
            }
            Topic::Manifest(gateway) => match sitian_wire::decode_manifest(payload) {
                Ok((epoch, manifest)) => self.ingest.handle_manifest(gateway, epoch, manifest, now),
                Err(error) => warn!(%gateway, %error, "manifest not understood"),
            },
            Topic::State(gateway) => match sitian_wire::decode_state(payload) {
                Ok(state) if state.online => self.hear(gateway, now),
                Ok(_) => self.set_link(gateway, false, now, now),
                Err(error) => warn!(%gateway, %error, "state not understood"),
            },
            Topic::Ack(_) | Topic::Command(_) | Topic::Result(_) | Topic::Alert(_) => {}
        }
    }

    fn handle_batch(&mut self, gateway: &GatewayId, payload: &[u8], now: Timestamp) {
        match sitian_wire::decode_batch(payload) {
            Ok(batch) => {
                if batch.lane == Lane::Live {
                    self.board().gateways.entry(gateway.clone()).or_default().spool = Some(batch.spool);
                }
                let decode =
                    |bytes: &[u8]| sitian_wire::decode_record(bytes).map_err(|error| error.to_string());
                self.ingest.handle_batch(gateway, &batch, payload, &decode, now);
            }
            Err(error) => {
                warn!(%gateway, %error, "batch not understood, kept in quarantine");
                let declared = error.declared().map(|d| (d.epoch, d.first, d.end));
                self.ingest.handle_poison(gateway, payload, &error.to_string(), declared, now);
            }
        }
    }

    fn hear(&mut self, gateway: &GatewayId, now: Timestamp) {
        self.board().gateways.entry(gateway.clone()).or_default().last_seen_at = Some(now);
        self.set_link(gateway, true, now, now);
    }

    fn set_link(&mut self, gateway: &GatewayId, online: bool, since: Timestamp, now: Timestamp) {
        if !self.board().set_link(gateway, online, since, now) {
            return;
        }
        info!(%gateway, online, "gateway");
        if online && self.territory.base_of(gateway).is_none() {
            warn!(%gateway, "gateway stands in no base of the territory: stored, but shown on no page; add it to a base");
        }
        if online {
            self.engine.gateway_online(gateway, now);
        } else {
            self.engine.gateway_offline(gateway, since, now);
        }
        self.live.rollup_changed();
    }

    fn handle_timers(&mut self, now: Timestamp) {
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        let board = &mut *write(&self.centre.board);
        if board.supervision.poll_timeout().is_none_or(|at| at <= now) {
            board.supervision.handle_timeout(now);
        }
        let hears = board.broker.0;
        let silent = board.gateways.iter().filter(|(_, gateway)| {
            hears
                && gateway.online == Some(true)
                && gateway.last_seen_at.is_none_or(|at| now.since_ms(at) > SILENT_MS)
        });
        let silent: Vec<(GatewayId, Timestamp)> =
            silent.map(|(id, gateway)| (id.clone(), gateway.last_seen_at.unwrap_or(now))).collect();
        for (gateway, since) in silent {
            board.set_link(&gateway, false, since, now);
            self.engine.gateway_offline(&gateway, since, now);
        }
        if !board.supervision.take_changed().is_empty() {
            self.live.rollup_changed();
        }
    }

    /// Takes what was decided, evaluates it, makes it durable, and only then tells anybody.
    fn settle(&mut self, now: Timestamp) {
        let Group { effects, acks } = self.ingest.take(now);
        for effect in &effects {
            match effect {
                Effect::Point(entry) => self.watch(entry, now),
                Effect::Rows(rows) => rows.iter().for_each(|row| self.engine.observe(row, now)),
                _ => {}
            }
        }
        let alerts: Vec<Change> = std::iter::from_fn(|| self.engine.poll_change()).collect();
        let transaction = Transaction { effects, alerts, alert_state: self.engine.take_delta(), at: now };
        let cursors = if transaction.is_empty() {
            Vec::new()
        } else {
            match self.store.commit(&transaction) {
                Ok(committed) => {
                    self.patience = PATIENCE_MIN;
                    committed.alert_cursors
                }
                Err(error) => return self.recover(&error),
            }
        };
        self.show(&transaction, &cursors, now);
        acks.iter().for_each(|(gateway, ack)| self.outlet.ack(gateway, ack));
        for (reply, outcome) in self.replies.drain(..) {
            // A caller that went away needs no answer.
            let _ = reply.send(outcome);
        }
    }

    fn show(&mut self, transaction: &Transaction, cursors: &[u64], now: Timestamp) {
        for effect in &transaction.effects {
            match effect {
                Effect::Point(entry) => {
                    let limits = self.engine.limits(entry.no);
                    self.board().register(entry.clone(), limits);
                }
                Effect::Epoch(entry) => self.begin_epoch(entry, now),
                Effect::Incident(incident) => {
                    warn!(gateway = %incident.gateway, kind = incident.kind.word(), "incident")
                }
                _ => {}
            }
        }
        let bases = {
            let mut board = self.board();
            // A commit without rows may find room where one with rows does not.
            board.storage_healthy |= transaction.effects.iter().any(|effect| rows_of(effect).is_some());
            let heard = board.observe(&transaction.effects, now);
            transaction.alerts.iter().for_each(|change| board.show_alert(&change.episode, now));
            board.bases_of(&heard)
        };
        self.live.readings_changed(bases.iter().map(String::as_str));
        for (change, cursor) in transaction.alerts.iter().zip(cursors) {
            let alert = self.centre.alert_view(&change.episode);
            info!(id = alert.id, rule = alert.rule, phase = change.episode.phase.word(), severity = %change.episode.severity, subject = alert.subject.id, "alert");
            self.outlet.alert(change.episode.base.as_ref(), &alert);
            self.live.alert(LogEntry { cursor: *cursor, alert });
        }
        if !transaction.alerts.is_empty()
            || transaction.effects.iter().any(|effect| rows_of(effect).is_some())
        {
            self.live.rollup_changed();
        }
    }

    fn begin_epoch(&mut self, entry: &EpochEntry, now: Timestamp) {
        let gone = self.board().begin_epoch(entry);
        gone.into_iter().for_each(|point| self.engine.retire(point, now));
    }

    /// The store refused: nothing was acknowledged; memory goes back to what is stored, and gateways send again.
    fn recover(&mut self, refused: &sitian_store_embedded::StoreError) {
        error!(error = %refused, "failed to commit; nothing was acknowledged, the gateways are asked again");
        self.board().storage_healthy = false;
        self.replies.clear();
        std::thread::park_timeout(self.patience);
        self.patience = (2 * self.patience).min(PATIENCE_MAX);
        let again = || -> Result<_> {
            let restored = self.store.reader().restored()?;
            Ok((restored, engine(&self.store, &self.rules, self.grace, &self.territory)?))
        };
        match again() {
            Ok((restored, engine)) => {
                self.engine = engine;
                restored.points.iter().for_each(|entry| self.watch(entry, now()));
                self.ingest.reload(restored);
                self.call_gateways(now());
            }
            Err(error) => error!(%error, "failed to read the store back"),
        }
    }

    fn watch(&mut self, entry: &PointEntry, now: Timestamp) {
        let base = self.territory.base_of(&entry.id.gateway);
        let way = base.map(|base| self.territory.breadcrumb(&base.id)).unwrap_or_default();
        let territory: Vec<String> = way.into_iter().map(|node| node.id.clone()).collect();
        let base: Option<BaseId> = base.and_then(sitian_supervision::Node::base_id);
        self.engine.register_gateway(&entry.id.gateway, base.as_ref(), &territory);
        let point = WatchedPoint {
            point: entry.no,
            id: entry.id.clone(),
            base,
            measurement: entry.info.measurement.clone(),
            interval_ms: entry.info.interval_ms,
            place: entry.device.place.clone(),
            territory,
        };
        self.engine.register(point, now);
    }

    fn board(&self) -> std::sync::RwLockWriteGuard<'_, Board> {
        write(&self.centre.board)
    }
}

fn write(board: &RwLock<Board>) -> std::sync::RwLockWriteGuard<'_, Board> {
    board.write().unwrap_or_else(PoisonError::into_inner)
}

/// An engine with the memory that the store kept for it. Gateways of the territory are known before they ever speak.
fn engine(store: &Store, rules: &Arc<Rules>, grace: Duration, territory: &Territory) -> Result<Engine> {
    let settings = AlertSettings { start_grace_ms: grace.as_millis() as i64, ..AlertSettings::default() };
    let mut engine = Engine::new(Rules::clone(rules), settings, now());
    let memory = store.alert_memory().context("read back the alert engine's memory")?;
    let forgotten = engine.restore(&memory.states, &memory.marks, now());
    forgotten.iter().for_each(|key| warn!(key, "alert state not understood, forgotten"));
    for base in territory.nodes() {
        let way: Vec<String> =
            territory.breadcrumb(&base.id).into_iter().map(|node| node.id.clone()).collect();
        for gateway in &base.gateways {
            engine.register_gateway(gateway, base.base_id().as_ref(), &way);
        }
    }
    Ok(engine)
}

/// Counts the last hour of a point again.
fn recount(reader: &Reader, board: &mut Board, point: PointNo, span: Span, now: Timestamp) -> Result<()> {
    let mut query = RangeQuery { point, span, limit: 10_000, after: None };
    loop {
        let page = reader.range(&query)?;
        for row in &page.rows {
            board.supervision.observe(row, now);
            if let Some(shown) = board.points.get_mut(&point) {
                shown.see(row, now);
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(()),
        }
    }
}

/// The server's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |duration| duration.as_millis() as i64))
}
