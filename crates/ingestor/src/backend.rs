//! What the API asks for, fetched from the picture and the store. Nothing is decided here.

mod acknowledging;
mod corrections;
pub mod export;
pub mod metrics;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sitian_alert::Episode;
use sitian_api::backend::{CorrectionsQuery, NewCorrection, Work};
use sitian_api::view::{
    Aggregates, Alert, BasePage, Command, Corrected, Correction, Gap, Health, Incident, KnownGateways,
    Latest, Ledger, Measurement, NewCommand, Node, NodePage, Output, Page, Phase, Point, Quarantine,
    Readings, Rollup, Rule, Severity,
};
use sitian_api::{
    AlertsQuery, Backend, BackendError, GatewayFacts, IncidentsQuery, LedgerQuery, LogEntry, PhaseFilter,
    PointFacts, Presenter, QuarantineFacts, ReadingsQuery,
};
use sitian_export::Format;
use sitian_ingest::Undated;
use sitian_model::{BaseId, GatewayId, PointId, PointNo, Span, Timestamp};
use sitian_registry::{
    EpisodeFilter, GapStored, ListFilter, PhaseFilter as StorePhase, QuarantineCounts, QuarantineStored,
    Registry, RegistryError,
};
use sitian_series::{self as series, AggregateQuery, Extras, OutlineQuery};
use sitian_supervision::{Level, Territory};
use tokio::sync::mpsc;

use crate::admit::{Ask, now};
use crate::board::{Board, BoardGateway, BoardPoint};
use crate::commands::Book;
use crate::ledger::Promise;
use crate::link::Outlet;
use crate::readings::Answers;
use crate::several::Others;
use crate::undated;

/// The centre as the API sees it.
pub struct Centre {
    /// The picture; the admission thread paints it.
    pub board: RwLock<Board>,
    /// The tree.
    pub territory: Arc<Territory>,
    /// Words for everything.
    pub presenter: Presenter,
    /// Registry, alerts and incidents.
    pub reader: Arc<dyn Registry>,
    /// Readings.
    pub series: Answers,
    /// The store's file.
    pub storage: PathBuf,
    /// What was ordered from gateways.
    pub book: Mutex<Book>,
    /// Where orders leave.
    pub outlet: Outlet,
    /// The admission thread.
    pub asks: mpsc::Sender<Ask>,
    /// Set if this is one ingestor of several; there is no admission for all then.
    pub others: Option<Others>,
}

impl Centre {
    /// The picture.
    pub fn board(&self) -> RwLockReadGuard<'_, Board> {
        self.board.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The picture, to be changed.
    pub fn write_board(&self) -> RwLockWriteGuard<'_, Board> {
        self.board.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was ordered, and what came of it.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An episode in words.
    pub fn alert_view(&self, episode: &Episode) -> Alert {
        let board = self.board();
        let point = match &episode.subject {
            sitian_alert::Subject::Point(no, _) => board.points.get(no).map(facts),
            sitian_alert::Subject::Gateway(_) => None,
        };
        self.presenter.alert(episode, point)
    }

    fn number(board: &Board, id: &PointId) -> Result<PointNo, BackendError> {
        board.numbers.get(id).copied().ok_or(BackendError::NotFound("point"))
    }

    /// The points that a base's gateways have now, by place, device and position in the manifest.
    fn points_of<'b>(&self, board: &'b Board, base: &str) -> Result<Vec<&'b BoardPoint>, BackendError> {
        let gateways = &self.presenter.base(base)?.gateways;
        let numbers = gateways
            .iter()
            .filter_map(|gateway| board.gateways.get(gateway))
            .flat_map(|gateway| &gateway.points);
        Ok(numbers.filter_map(|no| board.points.get(no)).collect())
    }

    /// Bases below a node.
    fn bases_below(&self, scope: &str) -> Result<Vec<BaseId>, BackendError> {
        self.presenter.place(scope)?;
        let below = self.territory.descendants(scope, 4);
        Ok(below
            .into_iter()
            .filter(|node| node.level == Level::Base)
            .filter_map(sitian_supervision::Node::base_id)
            .collect())
    }
}

fn facts(point: &BoardPoint) -> PointFacts<'_> {
    PointFacts { id: &point.entry.id, device: &point.entry.device, info: &point.entry.info }
}

fn gateway_facts<'b>(id: &'b GatewayId, gateway: &'b BoardGateway) -> GatewayFacts<'b> {
    GatewayFacts {
        id,
        online: gateway.online == Some(true),
        since: gateway.since,
        last_seen_at: gateway.last_seen_at,
        software: gateway.software.as_deref(),
        spool: gateway.spool,
        devices: &gateway.devices,
    }
}

pub fn unavailable(error: RegistryError) -> BackendError {
    BackendError::Unavailable(error.to_string())
}

impl Backend for Centre {
    fn now(&self) -> Timestamp {
        now()
    }

    fn health(&self) -> Health {
        self.health_page()
    }

    fn metrics(&self, work: &Work) -> String {
        self.metrics_page(work)
    }

    fn measurements(&self) -> Vec<Measurement> {
        self.presenter.measurements()
    }

    fn rules(&self) -> Vec<Rule> {
        self.presenter.rules()
    }

    fn tree(&self) -> Vec<Node> {
        self.presenter.tree()
    }

    fn rollups(&self, scope: &str, depth: u8) -> Result<Vec<Rollup>, BackendError> {
        let board = self.board();
        self.presenter.rollups(scope, depth, |id| board.supervision.rollup(id, now()))
    }

    fn node(&self, id: &str) -> Result<NodePage, BackendError> {
        let board = self.board();
        self.presenter.node_page(id, |id| board.supervision.rollup(id, now()))
    }

    fn base(&self, id: &str) -> Result<BasePage, BackendError> {
        let board = self.board();
        let gateways = self.presenter.base(id)?.gateways.iter();
        let gateways = gateways.filter_map(|gateway| board.gateways.get_key_value(gateway));
        let gateways =
            gateways.map(|(id, gateway)| self.presenter.gateway(gateway_facts(id, gateway))).collect();
        let rollup = board.supervision.rollup(id, now()).ok_or(BackendError::NotFound("base"))?;
        self.presenter.base_page(id, &rollup, gateways)
    }

    fn base_points(&self, id: &str) -> Result<Vec<Point>, BackendError> {
        let board = self.board();
        let points = self.points_of(&board, id)?;
        Ok(points.into_iter().map(|point| self.presenter.point(facts(point), &point.limits)).collect())
    }

    fn base_latest(&self, id: &str, sparkline: bool) -> Result<Vec<Latest>, BackendError> {
        let now = now();
        let shown: Vec<_> = {
            let board = self.board();
            let points = self.points_of(&board, id)?.into_iter();
            let known = points.filter_map(|point| Some((point.entry.id.clone(), point.latest?)));
            known.map(|(id, row)| (id, row, board.worst_at(row.point))).collect()
        };
        let one = |(id, row, alert): &(PointId, sitian_model::Row, Option<sitian_alert::Severity>)| {
            let query = self.presenter.sparkline_query(row.point, now);
            let windows = sparkline.then(|| self.series.aggregate(&query)).transpose()?;
            Ok(self.presenter.latest(id, row, now, *alert, windows.as_deref()))
        };
        shown.iter().map(one).collect()
    }

    fn point(&self, id: &PointId) -> Result<Point, BackendError> {
        let board = self.board();
        let point = board.points.get(&Self::number(&board, id)?).ok_or(BackendError::NotFound("point"))?;
        Ok(self.presenter.point(facts(point), &point.limits))
    }

    fn readings(&self, id: &PointId, query: &ReadingsQuery) -> Result<Readings, BackendError> {
        let promise = self.promise(id)?;
        let undated = self.reader.undated(promise.no, query.span).map_err(unavailable)?;
        let range = self.presenter.range_query(promise.no, query)?;
        let page = if query.undated {
            undated::page(&*self.series, &range, &undated)?
        } else {
            self.series.range(&range)?
        };
        let Span { from, to } = query.span;
        let due = Span { from, to: to.min(self.now()).max(from) };
        let whole = self.presenter.completeness_query(promise.no, due, promise.interval_ms);
        let whole = self.promised(&whole, &promise)?;
        self.shown(&promise, &page, &whole, &undated)
    }

    fn aggregates(
        &self,
        id: &PointId,
        span: Span,
        window_ms: u64,
        extras: &Extras,
    ) -> Result<Aggregates, BackendError> {
        let promise = self.promise(id)?;
        let plain = self.presenter.aggregate_query(promise.no, span, window_ms, promise.interval_ms);
        let query = AggregateQuery { extras: extras.clone(), ..plain };
        let windows = self.promised(&query, &promise)?;
        let (each, whole) = self.missing_of(&id.gateway, &promise, span, &windows)?;
        let undated = self.reader.undated(promise.no, span).map_err(unavailable)?;
        let mut shown = {
            let board = self.board();
            let point = board.points.get(&promise.no).ok_or(BackendError::NotFound("point"))?;
            let undated = undated::show(&undated, &self.presenter, &board);
            let (point, missing) = (facts(point), (&*each, &whole));
            self.presenter.aggregates(point, window_ms, &windows, &extras.percentiles, missing, undated)
        };
        self.mark_windows(&mut shown, promise.no, &windows)?;
        Ok(shown)
    }

    fn outline(&self, id: &PointId, span: Span, columns: usize) -> Result<Readings, BackendError> {
        let promise = self.promise(id)?;
        let rows = self.series.outline(&OutlineQuery { point: promise.no, span, columns })?;
        let whole = self.presenter.completeness_query(promise.no, span, promise.interval_ms);
        let whole = self.promised(&whole, &promise)?;
        let page = series::Page { rows, next: None };
        let undated = self.reader.undated(promise.no, span).map_err(unavailable)?;
        self.shown(&promise, &page, &whole, &undated)
    }

    fn export(
        &self,
        id: &PointId,
        span: Span,
        format: Format,
        out: &mut (dyn FnMut(Vec<u8>) -> bool + Send),
    ) -> Result<(), BackendError> {
        self.export_point(self.promise(id)?.no, span, format, out)
    }

    fn corrections(&self, id: &PointId, query: &CorrectionsQuery) -> Result<Page<Correction>, BackendError> {
        self.corrections_of(id, query)
    }

    fn correct(&self, id: &PointId, wanted: &NewCorrection) -> Result<Corrected, BackendError> {
        self.correct_point(id, wanted)
    }

    fn ledger(&self, query: &LedgerQuery) -> Result<Ledger, BackendError> {
        self.count_ledger(query)
    }

    fn incidents(&self, query: &IncidentsQuery) -> Result<Page<Incident>, BackendError> {
        let found = self.reader.incidents(&self.list_filter(query)?).map_err(unavailable)?;
        Ok(page(
            found,
            query.limit,
            |one| one.id,
            |one| self.presenter.incident(one.id, &one.incident, one.ended_at, one.undated),
        ))
    }

    fn gaps(&self, query: &IncidentsQuery) -> Result<Page<Gap>, BackendError> {
        let found = self.reader.gaps(&self.list_filter(query)?).map_err(unavailable)?;
        let board = self.board();
        let show = |one: &GapStored| {
            let epoch = board.epochs.get(&one.committed.epoch).copied();
            self.presenter.gap(one.id, &one.gateway, &one.committed, epoch)
        };
        Ok(page(found, query.limit, |one| one.id, show))
    }

    fn quarantine(&self, query: &IncidentsQuery) -> Result<Quarantine, BackendError> {
        let filter = self.list_filter(query)?;
        let counts = self.reader.quarantine_counts(&filter).map_err(unavailable)?;
        let found = self.reader.quarantine(&filter).map_err(unavailable)?;
        let show = |one: &QuarantineStored| {
            self.presenter.quarantine_entry(&QuarantineFacts {
                id: one.id,
                gateway: &one.gateway,
                range: one.range,
                form: one.form,
                reason: &one.reason,
                bytes: one.bytes,
                at: one.at,
                redecoded_at: one.redecoded_at,
                readings: one.readings,
            })
        };
        let Page { items, next_cursor } = page(found, query.limit, |one| one.id, show);
        let QuarantineCounts { waiting, bytes, redecoded } = counts;
        Ok(Quarantine { waiting, waiting_bytes: bytes, redecoded, items, next_cursor })
    }

    fn gateways(&self, unassigned: bool) -> Result<KnownGateways, BackendError> {
        let board = self.board();
        let stands = |id: &GatewayId| self.territory.base_of(id).is_some();
        let shown = board.gateways.iter().filter(|(id, _)| !unassigned || !stands(id));
        let show = |(id, gateway): (&GatewayId, &BoardGateway)| {
            self.presenter.known_gateway(&gateway_facts(id, gateway), gateway.points.len() as u64)
        };
        let mut items: Vec<_> = shown.map(show).collect();
        items.sort_by(|a, b| a.id.cmp(&b.id));
        let unassigned = board.gateways.keys().filter(|id| !stands(id)).count() as u64;
        Ok(KnownGateways { unassigned, items })
    }

    fn alerts(&self, query: &AlertsQuery) -> Result<Page<Alert>, BackendError> {
        let foreign = || BackendError::Invalid("cursor is none that an earlier answer gave".to_owned());
        let before = query.after.as_ref().map(|text| text.parse().map_err(|_| foreign())).transpose()?;
        let city = |scope: &str| self.territory.root().is_some_and(|root| root.id == scope);
        let bases = query
            .scope
            .as_deref()
            .filter(|scope| !city(scope))
            .map(|scope| self.bases_below(scope))
            .transpose()?;
        let filter = EpisodeFilter {
            bases,
            phase: query.phase.map(store_phase),
            severity: query.severity.map(store_severity),
            before,
            limit: query.limit + 1,
        };
        let episodes = self.reader.episodes(&filter).map_err(unavailable)?;
        Ok(page(episodes, query.limit, |episode| episode.id, |episode| self.alert_view(episode)))
    }

    fn acknowledge(&self, alert: u64, by: &str, note: &str) -> Result<Alert, BackendError> {
        self.take_note(alert, by, note)
    }

    fn command(&self, command: &NewCommand) -> Result<Command, BackendError> {
        self.give(command)
    }

    fn commands(
        &self,
        gateway: Option<&str>,
        scope: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Command>, BackendError> {
        self.given(gateway, scope, limit)
    }

    fn base_outputs(&self, id: &str) -> Result<Vec<Output>, BackendError> {
        self.outputs_of(id)
    }

    fn alert_log_after(&self, cursor: u64, limit: usize) -> Result<Vec<LogEntry>, BackendError> {
        let lines = self.reader.alert_log_after(cursor, limit).map_err(unavailable)?;
        Ok(lines
            .iter()
            .map(|line| LogEntry { cursor: line.cursor, alert: self.alert_view(&line.change.episode) })
            .collect())
    }

    fn alert_log_end(&self) -> Result<u64, BackendError> {
        self.reader.alert_log_end().map_err(unavailable)
    }
}

impl Centre {
    /// Readings as the API shows them.
    fn shown(
        &self,
        promise: &Promise,
        page: &series::Page,
        whole: &[series::Window],
        undated: &[Undated],
    ) -> Result<Readings, BackendError> {
        let mut shown = {
            let board = self.board();
            let point = board.points.get(&promise.no).ok_or(BackendError::NotFound("point"))?;
            let epoch = |no| board.epochs.get(&no).copied();
            self.presenter.readings(facts(point), page, whole, undated, epoch)
        };
        self.mark_readings(&mut shown, &page.rows)?;
        Ok(shown)
    }

    /// What a point promises: nothing if it was only ever heard of in a backlog.
    fn promise(&self, id: &PointId) -> Result<Promise, BackendError> {
        let (no, interval_ms) = {
            let board = self.board();
            let no = Self::number(&board, id)?;
            let point = board.points.get(&no).ok_or(BackendError::NotFound("point"))?;
            (no, point.entry.info.interval_ms)
        };
        let promises = self.promises_of(&id.gateway)?;
        let known = promises.into_iter().find(|promise| promise.no == no);
        Ok(known.unwrap_or(Promise { no, dues: Vec::new(), interval_ms }))
    }

    /// What to list; gateways that stand nowhere are in sight of the first city.
    fn list_filter(&self, query: &IncidentsQuery) -> Result<ListFilter, BackendError> {
        let foreign = || BackendError::Invalid("cursor is none that an earlier answer gave".to_owned());
        let city = |scope: &str| self.territory.root().is_some_and(|root| root.id == scope);
        let gateways = match query.scope.as_deref() {
            Some(scope) if !city(scope) => {
                self.presenter.place(scope)?;
                let below = self.territory.descendants(scope, 4);
                Some(below.into_iter().flat_map(|node| node.gateways.iter().cloned()).collect())
            }
            _ => None,
        };
        Ok(ListFilter {
            gateways,
            since: query.from,
            before: query.after.as_ref().map(|text| text.parse().map_err(|_| foreign())).transpose()?,
            limit: query.limit + 1,
        })
    }
}

/// A page of at most `limit` from a list that may hold one more.
fn page<S, T>(mut list: Vec<S>, limit: usize, id: impl Fn(&S) -> u64, show: impl Fn(&S) -> T) -> Page<T> {
    let more = list.len() > limit;
    list.truncate(limit);
    let next_cursor = list.last().filter(|_| more).map(|last| id(last).to_string());
    Page { items: list.iter().map(show).collect(), next_cursor }
}

fn store_phase(filter: PhaseFilter) -> StorePhase {
    match filter {
        PhaseFilter::Open => StorePhase::Open,
        PhaseFilter::Only(Phase::Pending) => StorePhase::Only(sitian_alert::Phase::Pending),
        PhaseFilter::Only(Phase::Firing) => StorePhase::Only(sitian_alert::Phase::Firing),
        PhaseFilter::Only(Phase::Resolved) => StorePhase::Only(sitian_alert::Phase::Resolved),
    }
}

fn store_severity(severity: Severity) -> sitian_alert::Severity {
    match severity {
        Severity::Blue => sitian_alert::Severity::Blue,
        Severity::Yellow => sitian_alert::Severity::Yellow,
        Severity::Orange => sitian_alert::Severity::Orange,
        Severity::Red => sitian_alert::Severity::Red,
    }
}
