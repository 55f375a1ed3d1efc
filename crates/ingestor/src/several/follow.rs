//! Shows what the others do: every second and a half what they have stored is read, and errands are done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as threads;
use std::time::Duration;

use anyhow::Result;
use sitian_alert::engine::Settings as AlertSettings;
use sitian_alert::{Change, ChangeKind, Engine, Episode, Subject};
use sitian_api::LogEntry;
use sitian_ingest::EpochEntry;
use sitian_model::{EpochNo, GatewayId, PointNo, Slot, Timestamp};
use sitian_registry::{EpisodeFilter, PhaseFilter, Registry};
use tokio::sync::oneshot;
use tracing::warn;

use super::{Common, Happening};
use crate::admit::{Ask, now, watched};
use crate::readings::{Answers, Elsewhere};

const PAUSE: Duration = Duration::from_millis(1_500);
const LINES_MAX: usize = 1_000;
const OPEN_MAX: usize = 10_000;

/// See the module page.
pub struct Follower {
    common: Arc<Common>,
    registry: Arc<dyn Registry>,
    series: Answers,
    happenings: threads::Sender<Happening>,
    /// Teaches the engine's names; writes nothing.
    eyes: Elsewhere,
    /// Knows the limits of points; judges nothing.
    rules: Engine,
    fronts: HashMap<GatewayId, EpochNo>,
    /// Gateways that the database knows, as far as told.
    known: HashSet<GatewayId>,
    cursor: Option<u64>,
}

impl Follower {
    /// A follower that has seen nothing yet.
    pub fn new(common: Arc<Common>, happenings: threads::Sender<Happening>) -> Self {
        let registry = common.database.reader();
        let (eyes, series) = (common.shared.elsewhere(), common.centre.series.clone());
        let rules = Engine::new((*common.rules).clone(), AlertSettings::default(), now());
        let (fronts, known, cursor) = (HashMap::new(), HashSet::new(), None);
        Self { common, registry, series, happenings, eyes, rules, fronts, known, cursor }
    }

    /// Looks until it is told to stop.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut sees = true;
        while !stop.load(Ordering::Acquire) {
            let looked = self.look();
            if let (true, Err(error)) = (sees, &looked) {
                warn!("what other ingestors do is not shown for now: {error:#}");
            }
            sees = looked.is_ok();
            std::thread::park_timeout(PAUSE);
        }
    }

    fn is_foreign(&self, gateway: &GatewayId) -> bool {
        self.common.routes.of(Slot::of(gateway)).is_none()
    }

    fn look(&mut self) -> Result<()> {
        let epochs = self.registry.newest_epochs()?;
        let changed = |entry: &&EpochEntry| self.fronts.get(&entry.gateway) != Some(&entry.no);
        let changed: Vec<&EpochEntry> = epochs.iter().filter(changed).collect();
        if !changed.is_empty() {
            self.learn(&changed)?;
        }
        let foreign: Vec<&EpochEntry> =
            epochs.iter().filter(|entry| self.is_foreign(&entry.gateway)).collect();
        self.see_rows(&foreign)?;
        self.see_alerts()?;
        self.do_errands()?;
        self.introduce()?;
        for gateway in self.common.database.gateways()? {
            if self.known.insert(gateway.clone()) {
                let _ = self.happenings.send(Happening::Known(gateway));
            }
        }
        Ok(())
    }

    /// Writes down what was heard of others' gateways.
    fn introduce(&self) -> Result<()> {
        let strangers = std::mem::take(&mut *self.common.routes.strangers());
        if strangers.is_empty() {
            return Ok(());
        }
        let all: Vec<GatewayId> = strangers.iter().cloned().collect();
        let told = self.common.database.introduce(&all, now());
        // Later then.
        told.inspect_err(|_| self.common.routes.strangers().extend(strangers))?;
        Ok(())
    }

    /// Points and manifests.
    fn learn(&mut self, changed: &[&EpochEntry]) -> Result<()> {
        let (restored, now) = (self.registry.restored()?, now());
        self.eyes.learn_all(&restored);
        {
            let mut board = self.common.centre.write_board();
            board.epochs.extend(restored.epochs.iter().map(|epoch| (epoch.state.no, epoch.epoch)));
            let foreign = restored.points.into_iter().filter(|entry| self.is_foreign(&entry.id.gateway));
            foreign.for_each(|entry| board.know(entry));
        }
        for entry in changed {
            self.fronts.insert(entry.gateway.clone(), entry.no);
            if entry.points.is_empty() || !self.is_foreign(&entry.gateway) {
                continue;
            }
            let mut board = self.common.centre.write_board();
            for point in board.present(entry, &[]) {
                self.rules.register(watched(&point, &self.common.centre.territory), now);
                board.know(point);
            }
            board.begin_epoch(entry);
            entry.points.iter().for_each(|point| board.make_present(*point, self.rules.limits(*point)));
        }
        Ok(())
    }

    fn see_rows(&self, foreign: &[&EpochEntry]) -> Result<()> {
        let points: Vec<PointNo> = foreign.iter().flat_map(|entry| entry.points.iter().copied()).collect();
        let (latest, now) = (self.series.latest(&points)?, now());
        let mut bases = Vec::new();
        {
            let mut board = self.common.centre.write_board();
            for row in latest.into_iter().flatten() {
                let Some(point) = board.points.get_mut(&row.point) else { continue };
                if point.latest == Some(row) {
                    continue;
                }
                point.see(&row, now);
                let gateway = point.entry.id.gateway.clone();
                board.supervision.observe(&row, now);
                bases.extend(self.common.centre.territory.base_of(&gateway).map(|base| base.id.clone()));
            }
        }
        bases.sort();
        bases.dedup();
        self.common.live.readings_changed(bases.iter().map(String::as_str));
        Ok(())
    }

    fn see_alerts(&mut self) -> Result<()> {
        let now = now();
        let Some(cursor) = self.cursor else {
            self.cursor = Some(self.registry.alert_log_end()?);
            let (bases, severity, before, limit) = (None, None, None, OPEN_MAX);
            let open = EpisodeFilter { bases, phase: Some(PhaseFilter::Open), severity, before, limit };
            self.registry.episodes(&open)?.iter().for_each(|episode| self.show_alert(episode, now));
            return Ok(());
        };
        for line in self.registry.alert_log_after(cursor, LINES_MAX)? {
            self.cursor = Some(line.cursor);
            let episode = &line.change.episode;
            self.show_alert(episode, now);
            self.show_link(&line.change, now);
            // Streams pass over what they have: a slot may have come or gone since this was written.
            let alert = self.common.centre.alert_view(episode);
            self.common.live.alert(LogEntry { cursor: line.cursor, alert });
        }
        Ok(())
    }

    /// Of what is admitted here the admission knows better.
    fn show_alert(&self, episode: &Episode, now: Timestamp) {
        if self.is_foreign(episode.subject.gateway()) {
            self.common.centre.write_board().show_alert(episode, now);
        }
    }

    /// A gateway that fell silent without a word is told of by whoever listens to it.
    fn show_link(&self, change: &Change, now: Timestamp) {
        let episode = &change.episode;
        let Subject::Gateway(gateway) = &episode.subject else { return };
        let (online, since) = match change.kind {
            ChangeKind::Fired => (false, episode.started_at),
            ChangeKind::Resolved => (true, episode.resolved_at.unwrap_or(now)),
            _ => return,
        };
        if self.is_foreign(gateway)
            && !episode.late
            && self.common.centre.write_board().set_link(gateway, online, since, now)
        {
            self.common.live.rollup_changed();
        }
    }

    /// Acknowledgements that others were given for what is admitted here.
    fn do_errands(&self) -> Result<()> {
        for errand in self.common.database.take_errands(&self.common.routes.held())? {
            let Some(asks) = self.common.routes.of(errand.slot) else { continue };
            // Whoever left it looks into the registry for what came of it.
            let (reply, _) = oneshot::channel();
            let ask = Ask::Acknowledge { alert: errand.alert, by: errand.by, note: errand.note, reply };
            let _ = asks.blocking_send(ask);
        }
        Ok(())
    }
}
