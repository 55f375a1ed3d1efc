//! The walk of a batch on the centre's side, on one thread: decode, admit, evaluate, ONE durable transaction, then acks,
//! picture and streams. Nothing is acknowledged or shown before it is durable.

mod ask;
mod fronts;
mod part;
mod presence;
mod quarantine;
mod restart;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sitian_alert::engine::WatchedPoint;
use sitian_alert::{AcknowledgeError, Change, ChangeKind, Engine, Rules};
use sitian_api::{Live, LogEntry};
use sitian_ingest::{Effect, EpochEntry, Group, IncidentKind, Ingest, PointEntry, Stats};
use sitian_model::{Correction, GatewayId, Lane, Mutant, Timestamp};
use sitian_registry::{Keep, RegistryError, Transaction};
use sitian_supervision::Territory;
use sitian_wire::topic::Topic;
use sitian_wire::{CommandMessage, CommandResult, Outputs};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

pub use ask::{Ask, Outcome};
use fronts::Fronts;
pub use part::Part;

use crate::backend::Centre;
use crate::board::{Board, rows_of};
use crate::complaints::Complaints;
use crate::link::Outlet;
use crate::readings::{Elsewhere, without_rows};

/// Batches of one group commit are gathered this long.
const GROUP: Duration = Duration::from_millis(20);
const HOUR_MS: i64 = 3_600_000;
/// Pause after a transaction that failed; doubles while they go on failing.
const PATIENCE_MIN: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(8);

/// Everything that one group commit touches.
pub struct Admission {
    ingest: Ingest,
    engine: Engine,
    keeper: Box<dyn Keep>,
    /// Set if readings are kept elsewhere.
    elsewhere: Option<Elsewhere>,
    part: Part,
    rules: Arc<Rules>,
    grace: Duration,
    territory: Arc<Territory>,
    centre: Arc<Centre>,
    outlet: Outlet,
    live: Live,
    asks: mpsc::Receiver<Ask>,
    replies: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    /// Acknowledgements of resolved episodes, for the next commit.
    noted: Vec<Change>,
    fronts: Fronts,
    /// Gateways that said goodbye, and when.
    leaving: HashMap<GatewayId, Timestamp>,
    ending: bool,
    /// Tell the gateways where they stand after the next commit, and how long to wait before they send.
    call: Option<Duration>,
    patience: Duration,
    /// Set while memory is not what is stored: how long the gateways are to wait after it is again.
    behind: Option<Duration>,
    /// When to look for commands that nobody answered.
    resend_at: Timestamp,
    rereading: quarantine::Rereading,
    complaints: Complaints,
    /// What of its figures is among those that are shown.
    told: Stats,
    /// No gateway was silent for longer than this admission has listened.
    since: Timestamp,
}

impl Admission {
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
                Err(_) if self.behind.is_none() => self.maintain(),
                Err(_) => {}
            }
            if self.behind.is_some() {
                self.catch_up();
            } else {
                self.handle_timers(now());
                if let Err(error) = self.reread_some(now()) {
                    warn!("quarantine not read again: {error:#}");
                }
                self.settle(now());
            }
            if self.ending {
                break;
            }
        }
        if self.behind.is_none() {
            self.settle(now());
        }
        self.close();
        info!("admission ended; everything acknowledged is stored");
    }

    /// The last call.
    pub fn close(&mut self) {
        if let Err(error) = self.keeper.close() {
            warn!(%error, "failed to close the registry; nothing is lost, the next start takes longer");
        }
    }

    /// While nothing else is to be done.
    fn maintain(&mut self) {
        match self.keeper.tidy() {
            Ok(()) => {}
            Err(error @ RegistryError::Fenced(_)) => self.recover(&error.into(), now()),
            Err(error) => warn!(%error, "failed to tidy up; nothing is lost, it is tried again"),
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
            // Nothing can be admitted: it comes again when the gateways are called.
            Ask::Message { .. } | Ask::Acknowledge { .. } | Ask::Correct { .. } if self.behind.is_some() => {}
            Ask::Link(up) if self.behind.is_some() => self.board().broker = (up, Some(now)),
            Ask::Message { topic, payload, retain } => match Topic::parse(&topic) {
                Ok(topic) => self.handle_message(&topic, &payload, retain, now),
                Err(error) => debug!(%error, "message in an unknown topic"),
            },
            Ask::Link(up) => {
                if self.board().broker.0 != up {
                    self.board().broker = (up, Some(now));
                }
                if up {
                    self.engine.handle_hearing(now);
                    self.call = Some(Duration::ZERO);
                    self.centre.send_pending(None, now);
                } else {
                    self.engine.handle_deaf();
                }
            }
            Ask::End => self.ending = true,
            Ask::Correct { corrections, reply } => {
                let corrected = self.keeper.correct(&corrections).map_err(|error| error.to_string());
                if matches!(corrected, Ok(1..)) {
                    self.show_corrected(&corrections);
                }
                // A caller that went away needs no answer.
                let _ = reply.send(corrected);
            }
            Ask::Acknowledge { alert, by, note, reply } => {
                let outcome = match self.engine.acknowledge(alert, &by, &note, now) {
                    Err(AcknowledgeError::NotOpen) => self.acknowledge_resolved(alert, &by, &note, now),
                    other => Ok(other.map(drop)),
                };
                match outcome {
                    Ok(outcome) => self.replies.push((reply, outcome)),
                    // Nobody is told that there is no such alert: without an answer the caller tries again.
                    Err(error) => warn!(alert, %error, "acknowledgement not taken"),
                }
            }
        }
    }

    /// Corrections are durable. Alerts are not judged anew: what was fired was fired on what the sensor sent.
    fn show_corrected(&self, corrections: &[Correction]) {
        let gateways: HashSet<GatewayId> =
            corrections.iter().filter_map(|one| self.board().correct(&one.row)).collect();
        info!(corrections = corrections.len(), "readings corrected");
        let bases = self.board().bases_of(&gateways);
        self.live.readings_changed(bases.iter().map(String::as_str));
    }

    /// A person takes note of what is over already.
    fn acknowledge_resolved(
        &mut self,
        alert: u64,
        by: &str,
        note: &str,
        now: Timestamp,
    ) -> Result<Outcome, RegistryError> {
        let noted = self.noted.iter().rfind(|change| change.episode.id == alert);
        let stored = match noted {
            Some(change) => Some(change.episode.clone()),
            None => self.keeper.reader().episode(alert)?,
        };
        let Some(mut episode) = stored.filter(|episode| !episode.is_open()) else {
            return Ok(Err(AcknowledgeError::NotOpen));
        };
        Ok(episode.acknowledge(by, note, now).map(|news| {
            if news {
                self.noted.push(Change { kind: ChangeKind::Acknowledged, episode });
            }
        }))
    }

    fn handle_message(&mut self, topic: &Topic, payload: &[u8], retain: bool, now: Timestamp) {
        match topic {
            Topic::Up(gateway) => self.handle_batch(gateway, payload, now),
            Topic::Manifest(gateway) => match sitian_wire::decode_manifest(payload) {
                Ok((epoch, manifest)) => {
                    self.ingest.handle_manifest(gateway, epoch, manifest, now);
                    if self.territory.base_of(gateway).is_none() {
                        self.ingest.report(IncidentKind::Unassigned, gateway, now);
                    }
                }
                Err(error) => self.complain("manifest not understood", gateway, &error, now),
            },
            Topic::State(gateway) => match sitian_wire::decode_state(payload) {
                // What a broker kept from before is no sign of life.
                Ok(state) if state.online && retain => {}
                Ok(state) if state.online => {
                    self.hear(gateway, now);
                    self.centre.send_pending(Some(gateway), now);
                }
                Ok(_) => drop(self.leaving.entry(gateway.clone()).or_insert(now)),
                Err(error) => self.complain("state not understood", gateway, &error, now),
            },
            Topic::Result(gateway) => match sitian_wire::decode_result(payload) {
                Ok(result) => self.note_result(gateway, result, now),
                Err(error) => warn!(%gateway, %error, "result of a command not understood"),
            },
            Topic::Outputs(gateway) => match sitian_wire::decode_outputs(payload) {
                Ok(outputs) => self.see_outputs(gateway, outputs),
                Err(error) => self.complain("outputs not understood", gateway, &error, now),
            },
            Topic::Ack(_) | Topic::Command(_) | Topic::Alert(_) => {}
        }
    }

    /// The gateway tells a result until it is confirmed, and it is confirmed once it is durable.
    fn note_result(&mut self, gateway: &GatewayId, result: CommandResult, now: Timestamp) {
        let id = result.command.id.clone();
        let kept = self.centre.book().result(gateway, result, now);
        match kept {
            Ok(()) => self.outlet.command(gateway, &CommandMessage::Confirm(id)),
            Err(error) => warn!(%gateway, %error, "result of a command not kept"),
        }
        self.outputs_changed(gateway);
    }

    /// How a gateway's outputs stand; the broker may have kept it from before.
    fn see_outputs(&mut self, gateway: &GatewayId, outputs: Outputs) {
        if let Some(known) = self.board().gateways.get_mut(gateway) {
            known.outputs = outputs;
        }
        self.outputs_changed(gateway);
    }

    fn outputs_changed(&self, gateway: &GatewayId) {
        self.live.readings_changed(self.territory.base_of(gateway).map(|base| base.id.as_str()));
    }

    fn handle_batch(&mut self, gateway: &GatewayId, payload: &[u8], now: Timestamp) {
        match sitian_wire::decode_batch(payload) {
            Ok(batch) => {
                // What a gateway of another name brings on behalf of this one is no sign of its life.
                if batch.lane == Lane::Live || !batch.held.is_empty() {
                    self.hear(gateway, now);
                }
                if batch.lane == Lane::Live
                    && let Some(known) = self.board().gateways.get_mut(gateway)
                {
                    known.spool = Some(batch.spool);
                }
                let decode =
                    |bytes: &[u8]| sitian_wire::decode_record(bytes).map_err(|error| error.to_string());
                self.ingest.handle_batch(gateway, &batch, payload, &decode, now);
            }
            Err(error) => {
                self.hear(gateway, now);
                self.complain("batch not understood", gateway, &error, now);
                let (reason, declared) = (error.to_string(), error.declared());
                let declared = declared.map(|d| (d.epoch, d.first, d.end));
                match error {
                    sitian_wire::DecodeError::DamagedBody { .. } => {
                        self.ingest.handle_damaged(gateway, payload, &reason, declared, now);
                    }
                    _ => self.ingest.handle_poison(gateway, payload, &reason, declared, now),
                }
            }
        }
    }

    fn complain(
        &mut self,
        what: &'static str,
        gateway: &GatewayId,
        error: &sitian_wire::DecodeError,
        now: Timestamp,
    ) {
        if let Some(count) = self.complaints.count(what, gateway, now) {
            warn!(%gateway, %error, count, "{what}");
        }
    }

    /// Takes what was decided, evaluates it, makes it durable, and only then tells anybody.
    fn settle(&mut self, now: Timestamp) {
        let Group { effects, acks } = self.ingest.take(now);
        let reader = self.keeper.reader();
        let began = match self.fronts.advance(&effects, |no| reader.epoch(no)) {
            Ok(began) => began,
            Err(error) => return self.recover(&error.into(), now),
        };
        let began_at = Instant::now();
        let effects = match &mut self.elsewhere {
            None => effects,
            Some(elsewhere) => match elsewhere.put(effects, now).map(|put| self.keep_aside(put, now)) {
                Ok(Some(effects)) => effects,
                Ok(None) => return,
                Err(error) => return self.recover(&error.into(), now),
            },
        };
        // What a gateway no longer has is retired in the transaction that says so.
        began.iter().for_each(|entry| self.judge_present(entry, &effects, now));
        for row in effects.iter().filter_map(rows_of).flatten() {
            self.engine.observe(row, now);
        }
        let alerts: Vec<Change> =
            std::iter::from_fn(|| self.engine.poll_change()).chain(self.noted.drain(..)).collect();
        let transaction = Transaction { effects, alerts, alert_state: self.engine.take_delta(), at: now };
        if Mutant::AckBeforeCommit.lives() {
            acks.iter().for_each(|(gateway, ack)| self.outlet.ack(gateway, ack));
        }
        // What is only acknowledged again, or called back, needs a keeper as well that nobody has replaced.
        let cursors = if transaction.is_empty() && acks.is_empty() && self.call.is_none() {
            Vec::new()
        } else {
            let committed = match &self.elsewhere {
                None => self.keeper.commit(&transaction),
                Some(_) => self.keeper.commit(&without_rows(&transaction)),
            };
            match committed {
                Ok(committed) => {
                    self.patience = PATIENCE_MIN;
                    let (before, stats) = (self.told, self.ingest.stats());
                    self.told = stats;
                    let mut board = self.board();
                    board.counts.committed(began_at.elapsed(), acks.len());
                    stats.add_to(&mut board.counts.stats, &before);
                    committed.alert_cursors
                }
                Err(error) => return self.recover(&error.into(), now),
            }
        };
        self.show(&transaction, &began, &cursors, now);
        acks.iter().for_each(|(gateway, ack)| self.outlet.ack(gateway, ack));
        // Only what is durable by now is told.
        if let Some(retry_after) = self.call.take() {
            self.call_gateways(retry_after, now);
        }
        for (reply, outcome) in self.replies.drain(..) {
            // A caller that went away needs no answer.
            let _ = reply.send(outcome);
        }
    }

    fn show(&mut self, transaction: &Transaction, began: &[EpochEntry], cursors: &[u64], now: Timestamp) {
        for effect in &transaction.effects {
            match effect {
                Effect::Point(entry) => self.board().know_new(entry),
                Effect::Epoch(entry) => drop(self.board().epochs.insert(entry.no, entry.epoch)),
                Effect::Incident(incident) => {
                    warn!(gateway = %incident.gateway, kind = incident.kind.word(), "incident");
                    *self.board().counts.incidents.entry(incident.kind.word()).or_default() += 1;
                }
                _ => {}
            }
        }
        began.iter().for_each(|entry| self.begin_epoch(entry));
        let bases = {
            let mut board = self.board();
            // A commit without rows may find room where one with rows does not.
            board.stores(self.part, transaction.effects.iter().any(|effect| rows_of(effect).is_some()));
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

    /// What a manifest names is watched from now on; what the one before named besides is not.
    fn judge_present(&mut self, entry: &EpochEntry, effects: &[Effect], now: Timestamp) {
        let present = self.board().present(entry, effects);
        let gone = self.board().gone(entry);
        gone.into_iter().for_each(|point| self.engine.retire(point, now));
        present.iter().for_each(|entry| self.watch(entry, now));
    }

    /// What a manifest names is shown from now on; what the one before named besides is gone.
    fn begin_epoch(&mut self, entry: &EpochEntry) {
        let present = self.board().present(entry, &[]);
        present.into_iter().for_each(|entry| self.board().know(entry));
        self.board().begin_epoch(entry);
        for point in &entry.points {
            let limits = self.engine.limits(*point);
            self.board().make_present(*point, limits);
        }
    }

    fn watch(&mut self, entry: &PointEntry, now: Timestamp) {
        let point = watched(entry, &self.territory);
        self.engine.register_gateway(&entry.id.gateway, point.base.as_ref(), &point.territory);
        self.engine.register(point, now);
    }

    fn board(&self) -> std::sync::RwLockWriteGuard<'_, Board> {
        write(&self.centre.board)
    }
}

/// A point as the engine wants to know it.
pub fn watched(entry: &PointEntry, territory: &Territory) -> WatchedPoint {
    let base = territory.base_of(&entry.id.gateway);
    let way = base.map(|base| territory.breadcrumb(&base.id)).unwrap_or_default();
    WatchedPoint {
        point: entry.no,
        id: entry.id.clone(),
        base: base.and_then(sitian_supervision::Node::base_id),
        measurement: entry.info.measurement.clone(),
        interval_ms: entry.info.interval_ms,
        place: entry.device.place.clone(),
        territory: way.into_iter().map(|node| node.id.clone()).collect(),
    }
}

fn write(board: &RwLock<Board>) -> std::sync::RwLockWriteGuard<'_, Board> {
    board.write().unwrap_or_else(PoisonError::into_inner)
}

/// The server's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |duration| duration.as_millis() as i64))
}
