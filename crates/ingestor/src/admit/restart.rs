//! Going on where the store stands: at a start, and after a transaction that failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sitian_alert::engine::Settings as AlertSettings;
use sitian_alert::{Engine, Episode, Rules};
use sitian_api::Live;
use sitian_ingest::{Ingest, Limits, PointEntry};
use sitian_model::{PointNo, Row, Span, Timestamp};
use sitian_registry::{Keep, RegistryError};
use sitian_series::AppendError;
use sitian_supervision::Territory;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::fronts::Fronts;
use super::{Admission, Ask, HOUR_MS, PATIENCE_MAX, PATIENCE_MIN, Part, now, write};
use crate::backend::Centre;
use crate::board::{Board, Refusal};
use crate::link::Outlet;
use crate::readings::Elsewhere;

/// Gateways wait as long as an engine asks for, but no longer than this.
const ASKED_MAX: Duration = Duration::from_secs(60);

impl Admission {
    /// Reads back what the store holds, so that everything goes on where it was.
    pub fn restore(
        (keeper, elsewhere, part): (Box<dyn Keep>, Option<Elsewhere>, Part),
        rules: Arc<Rules>,
        grace: Duration,
        centre: Arc<Centre>,
        outlet: Outlet,
        live: Live,
        asks: mpsc::Receiver<Ask>,
    ) -> Result<Self> {
        let territory = centre.territory.clone();
        let restored = keeper.reader().restored().context("read back the registry")?;
        let ingest = Ingest::restore(Limits::default(), restored.clone());
        let engine = engine(&*keeper, &rules, grace, &territory, part)?;
        let mut admission = Self {
            ingest,
            engine,
            keeper,
            elsewhere,
            part,
            rules,
            grace,
            territory,
            centre,
            outlet,
            live,
            asks,
            replies: Vec::new(),
            noted: Vec::new(),
            fronts: Fronts::restore(&restored.epochs),
            leaving: HashMap::new(),
            ending: false,
            call: None,
            patience: PATIENCE_MIN,
            behind: None,
            resend_at: Timestamp(0),
            rereading: Default::default(),
            complaints: Default::default(),
            told: Default::default(),
            since: now(),
        };
        admission.paint(restored.points)?;
        Ok(admission)
    }

    /// Draws the first picture: registry, newest rows, the last hour, what fires.
    fn paint(&mut self, points: Vec<PointEntry>) -> Result<()> {
        let now = now();
        let reader = self.keeper.reader();
        let epochs = reader.newest_epochs().context("read back the manifests")?;
        points.into_iter().for_each(|entry| self.board().know(entry));
        let span = Span { from: now.plus_ms(-HOUR_MS), to: now.plus_ms(HOUR_MS) };
        // A gateway that could not read an old manifest sends one without points.
        for entry in epochs.iter().filter(|entry| !entry.points.is_empty()) {
            self.judge_present(entry, &[], now);
            self.begin_epoch(entry);
        }
        // Of all points at once: an engine elsewhere answers for hundreds of them as quickly as for one.
        let present: Vec<PointNo> = epochs.iter().flat_map(|entry| &entry.points).copied().collect();
        let series = Arc::clone(&self.centre.series);
        {
            let board = &mut *write(&self.centre.board);
            let see = |board: &mut Board, row: &Row| {
                if let Some(shown) = board.points.get_mut(&row.point) {
                    shown.see(row, now);
                }
            };
            series.latest(&present)?.iter().flatten().for_each(|row| see(board, row));
            series.walk_all(&present, span, &mut |row| {
                board.supervision.observe(row, now);
                see(board, row);
            })?;
        }
        let states = reader.restored()?.epochs;
        let mut board = self.board();
        board.epochs.extend(states.iter().map(|epoch| (epoch.state.no, epoch.epoch)));
        let open: Vec<Episode> = self.engine.open_episodes().cloned().collect();
        board.show_alerts(self.part, &open, now);
        Ok(())
    }

    /// The store refused: nothing was acknowledged. Memory goes back to what is stored, and the gateways are asked to send
    /// again after a while.
    pub(super) fn recover(&mut self, refused: &anyhow::Error, began: Timestamp) {
        error!("failed to commit; nothing was acknowledged, the gateways are asked again: {refused:#}");
        let why = if refused.is::<AppendError>() {
            "the engine of the readings does not answer"
        } else if refused.is::<RegistryError>() && self.elsewhere.is_some() {
            "the registry does not answer"
        } else {
            "the store refuses"
        };
        // Rows may not be taken where others are; a registry that answers again is well again.
        let needs_rows = self.part == Part::All || !refused.is::<RegistryError>();
        self.board().refuse(self.part, Refusal { since: began, why, needs_rows });
        self.board().counts.failures += 1;
        self.replies.clear();
        self.noted.clear();
        let asked = match refused.downcast_ref() {
            Some(AppendError::Later { retry_after_ms: Some(ms), .. }) => Duration::from_millis(*ms),
            _ => Duration::ZERO,
        };
        self.behind = Some(asked.min(ASKED_MAX));
        if matches!(refused.downcast_ref(), Some(RegistryError::Fenced(_))) {
            self.ending = true;
        } else {
            self.catch_up();
        }
    }

    /// Reads back what is stored, after a pause. Until that succeeds nothing is admitted; where it never will, the program
    /// ends: memory would promise what is not there.
    pub(super) fn catch_up(&mut self) {
        std::thread::park_timeout(PATIENCE_MIN);
        self.patience = (2 * self.patience).min(PATIENCE_MAX);
        match self.keeper.assure().map_err(Into::into).and_then(|()| self.reload()) {
            Ok(()) => {
                let asked = self.behind.take().unwrap_or_default();
                self.call = Some(self.patience.max(asked));
                if let Some(refusal) = self.board().refusing.get_mut(&self.part) {
                    refusal.why = "it answers again; nothing has been stored since";
                }
            }
            Err(error) if error.downcast_ref().is_some_and(RegistryError::passes) => {
                warn!("the registry does not answer; nothing is admitted until it does: {error:#}");
            }
            Err(error) => {
                error!("failed to read the store back, ending: {error:#}");
                self.ending = true;
            }
        }
    }

    fn reload(&mut self) -> Result<()> {
        let restored = self.keeper.reader().restored()?;
        self.engine = engine(&*self.keeper, &self.rules, self.grace, &self.territory, self.part)?;
        self.fronts = Fronts::restore(&restored.epochs);
        self.ingest.reload(restored);
        self.reread_anew();
        let (present, online, hears) = {
            let board = self.board();
            let mine = board.gateways.iter().filter(|(id, _)| self.part.has(id));
            let gateways = mine.flat_map(|(_, gateway)| &gateway.points);
            let present: Vec<PointEntry> =
                gateways.filter_map(|no| Some(board.points.get(no)?.entry.clone())).collect();
            let online = board
                .gateways
                .iter()
                .filter(|(id, gateway)| gateway.online == Some(true) && self.part.has(id));
            (present, online.map(|(id, _)| id.clone()).collect::<Vec<_>>(), board.broker.0)
        };
        present.iter().for_each(|entry| self.watch(entry, now()));
        online.iter().for_each(|gateway| self.engine.gateway_online(gateway, now()));
        if !hears {
            self.engine.handle_deaf();
        }
        Ok(())
    }
}

/// An engine with the memory that the store kept for it. Gateways of the territory are known before they ever speak.
fn engine(
    keeper: &dyn Keep,
    rules: &Arc<Rules>,
    grace: Duration,
    territory: &Territory,
    part: Part,
) -> Result<Engine> {
    let settings = AlertSettings {
        start_grace_ms: grace.as_millis() as i64,
        episode_numbers: keeper.episode_numbers().context("read back the numbers of episodes")?,
        ..AlertSettings::default()
    };
    let mut engine = Engine::new(Rules::clone(rules), settings, now());
    let memory = keeper.alert_memory().context("read back the alert engine's memory")?;
    let forgotten = engine.restore(&memory.states, &memory.marks, now());
    forgotten.iter().for_each(|key| warn!(key, "alert state not understood, forgotten"));
    for base in territory.nodes() {
        let way: Vec<String> =
            territory.breadcrumb(&base.id).into_iter().map(|node| node.id.clone()).collect();
        for gateway in base.gateways.iter().filter(|gateway| part.has(gateway)) {
            engine.register_gateway(gateway, base.base_id().as_ref(), &way);
        }
    }
    Ok(engine)
}
