//! A world in memory: one city, two towns, two bases, two points, and an alert log that grows when told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sitian_api::backend::{
    AlertsQuery, Backend, BackendError, CorrectionsQuery, IncidentsQuery, LedgerQuery, LogEntry,
    NewCorrection, ReadingsQuery, Work,
};
use sitian_api::view::*;
use sitian_api::{Live, Settings, Zone};
use sitian_export::Format;
use sitian_model::{PointId, Span, Timestamp};
use sitian_series::Extras;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const NOW: Timestamp = Timestamp(1_777_847_400_000); // 2026-05-04T06:30:00+08:00
pub const POINT: &str = "gw-1/soil-1/soil_moisture";
const PLACES: [(&str, Level, Option<&str>, &str); 6] = [
    ("zhangye", Level::City, None, "张掖市"),
    ("ganzhou", Level::County, Some("zhangye"), "甘州区"),
    ("dangzhai", Level::Town, Some("ganzhou"), "党寨镇"),
    ("shajing", Level::Town, Some("ganzhou"), "沙井镇"),
    ("base-1", Level::Base, Some("dangzhai"), "一号基地"),
    ("base-2", Level::Base, Some("shajing"), "二号基地"),
];

/// The backend of the tests.
#[derive(Default)]
pub struct World {
    pub log: Mutex<Vec<LogEntry>>,
    pub moisture: Mutex<f64>,
    /// An output of base-1 and base-2, if they have one.
    pub valve: Mutex<Option<Output>>,
    /// Queries wait here while somebody holds it.
    pub gate: Mutex<()>,
    /// How many have come that far.
    pub at_gate: AtomicUsize,
    /// Aggregates go on for ever; the first that is stopped sets it back.
    pub endless: AtomicBool,
    /// Readings that exports have handed over.
    pub exported: AtomicUsize,
    /// What was corrected.
    pub corrected: Mutex<Vec<NewCorrection>>,
    /// How often somebody asked for the log and was at its end.
    pub at_end: AtomicUsize,
}

/// A world being served.
pub struct Served {
    pub at: SocketAddr,
    pub live: Live,
    pub world: Arc<World>,
    pub stop: oneshot::Sender<()>,
    pub ended: JoinHandle<()>,
}

pub async fn served() -> Served {
    served_with(|_| ()).await
}

pub async fn served_with(adjust: impl FnOnce(&mut Settings)) -> Served {
    let (world, live) = (Arc::new(World::default()), Live::new());
    let mut settings = Settings::default();
    settings.limits.rollup_pause = Duration::from_millis(1);
    settings.limits.reading_pause = Duration::from_millis(1);
    adjust(&mut settings);
    let patience = settings.limits.shutdown;
    let router = sitian_api::router(Arc::clone(&world) as Arc<dyn Backend>, live.clone(), settings);
    let listener = sitian_api::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let bus = live.clone();
    let ended = tokio::spawn(async move {
        let stopped = async {
            stopped.await.ok();
        };
        sitian_api::serve(listener, router, bus, patience, stopped).await.unwrap();
    });
    Served { at, live, world, stop, ended }
}

impl Served {
    /// One more line in the alert log, durable first and then announced.
    pub fn happen(&self, base: &str) -> LogEntry {
        let entry = self.world.write(base);
        self.live.alert(entry.clone());
        entry
    }
}

impl World {
    /// One more line in the alert log, not announced.
    pub fn write(&self, base: &str) -> LogEntry {
        let mut log = self.log.lock().unwrap();
        let cursor = log.len() as u64 + 1;
        let entry = LogEntry { cursor, alert: alert(cursor, base) };
        log.push(entry.clone());
        entry
    }
}

fn time(ms: i64) -> Time {
    Zone::default().show(NOW.plus_ms(ms))
}

fn node(id: &str) -> Result<Node, BackendError> {
    let (id, level, parent, name) =
        PLACES.into_iter().find(|place| place.0 == id).ok_or(BackendError::NotFound("place"))?;
    Ok(Node {
        id: id.to_owned(),
        level,
        parent: parent.map(str::to_owned),
        name: Name { zh: name.to_owned(), en: id.to_owned() },
        codes: vec![Code { system: "gb2260".to_owned(), code: "620702".to_owned() }],
        longitude: Some(100.45),
        latitude: Some(38.93),
        position: Position::Schematic,
        area_mu: None,
        gateways: Vec::new(),
    })
}

fn breadcrumb(id: &str) -> Result<Vec<Crumb>, BackendError> {
    let node = node(id)?;
    let mut way = node.parent.as_deref().map(breadcrumb).transpose()?.unwrap_or_default();
    way.push(Crumb { id: node.id, level: node.level, name: node.name });
    Ok(way)
}

fn children(id: &str) -> Vec<&'static str> {
    PLACES.iter().filter(|place| place.2 == Some(id)).map(|place| place.0).collect()
}

pub fn alert(id: u64, base: &str) -> Alert {
    Alert {
        id,
        rule: "soil-dry".to_owned(),
        rule_name: Name { zh: "土壤偏干".to_owned(), en: "Soil too dry".to_owned() },
        severity: Severity::Orange,
        worst_severity: Severity::Red,
        phase: Phase::Firing,
        kind: RuleKind::Below,
        subject: Subject { kind: SubjectType::Point, id: POINT.to_owned(), name: Name::default() },
        base: Some(BaseRef { id: base.to_owned(), name: Name::default() }),
        breadcrumb: breadcrumb(base).unwrap(),
        started_at: time(-60_000),
        fired_at: Some(time(0)),
        resolved_at: None,
        acknowledged: None,
        value: Some(11.5),
        threshold: Some(12.0),
        peak: Some(11.0),
        unit: "%".to_owned(),
        late: false,
        source: "农技站".to_owned(),
    }
}

/// A valve that stands so.
pub fn valve(away: bool) -> Output {
    Output {
        gateway: "gw-1".to_owned(),
        device: "relay-1".to_owned(),
        point: "relay_1".to_owned(),
        device_name: "继电器".to_owned(),
        place: "3号棚".to_owned(),
        name: Name { zh: "灌溉阀".to_owned(), en: "灌溉阀".to_owned() },
        unit: String::new(),
        min: 0.0,
        max: 1.0,
        safe: 0.0,
        on_max_s: Some(600),
        from_centre: true,
        safe_without_link_s: None,
        value: Some(f64::from(u8::from(away))),
        value_at: Some(time(0)),
        away,
        until: away.then(|| time(600_000)),
        conditions: vec![Condition {
            point: POINT.to_owned(),
            device_name: "3号棚 土壤".to_owned(),
            name: Name::default(),
            unit: "%".to_owned(),
            min: None,
            max: Some(40.0),
            value: Some(11.5),
            holds: Holds::Yes,
        }],
        told_at: time(0),
        last: None,
    }
}

fn point(id: &PointId) -> Result<Point, BackendError> {
    if id.to_string() != POINT {
        return Err(BackendError::NotFound("point"));
    }
    Ok(Point {
        id: POINT.to_owned(),
        gateway: "gw-1".to_owned(),
        device: "soil-1".to_owned(),
        device_name: "3号棚 土壤".to_owned(),
        place: "3号棚".to_owned(),
        key: "soil_moisture".to_owned(),
        measurement: "soil_moisture".to_owned(),
        medium: Medium::Soil,
        name: Name { zh: "土壤水分".to_owned(), en: "Soil moisture".to_owned() },
        unit: "%".to_owned(),
        decimals: 1,
        interval_ms: 1000,
        limits: vec![Limit {
            rule: "soil-dry".to_owned(),
            severity: Severity::Orange,
            above: None,
            below: Some(12.0),
        }],
    })
}

/// Whether they were asked for shows in the answer.
fn undated(asked: bool) -> Vec<Undated> {
    let time = Zone::default().show(NOW);
    let epoch = "8f14e45fceea167a5a36dedd4bea2543".to_owned();
    let one = Undated { epoch, count: 99, after: Some(time.clone()), before: time };
    asked.then_some(one).into_iter().collect()
}

fn full(expected: u64) -> Completeness {
    Completeness { expected, stored: expected, ratio: Some(1.0) }
}

impl Backend for World {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn health(&self) -> Health {
        Health {
            status: "ok".to_owned(),
            version: "0.1.0".to_owned(),
            storage: StorageHealth {
                healthy: true,
                since: None,
                why: None,
                bytes: 1,
                readings_since_start: 2,
                points: 3,
                committed_at: None,
            },
            broker: BrokerHealth { up: true, since: Some(time(0)) },
            sharing: None,
        }
    }

    fn corrections(&self, id: &PointId, _: &CorrectionsQuery) -> Result<Page<Correction>, BackendError> {
        point(id)?;
        let said = |value| Said { value: Some(value), quality: Quality::Good, cause: None };
        let made = self.corrected.lock().unwrap();
        let one = |(n, wanted): (usize, &NewCorrection)| Correction {
            id: n as u64 + 1,
            at: Zone::default().show(wanted.span.from),
            epoch: String::new(),
            seq: 1,
            after: said(1.0),
            before: said(2.0),
            by: wanted.by.clone(),
            note: wanted.note.clone(),
            made_at: time(0),
        };
        Ok(Page { items: made.iter().enumerate().rev().map(one).collect(), next_cursor: None })
    }

    fn correct(&self, id: &PointId, wanted: &NewCorrection) -> Result<Corrected, BackendError> {
        point(id)?;
        self.corrected.lock().unwrap().push(wanted.clone());
        Ok(Corrected { corrected: 1, unchanged: 0 })
    }

    fn metrics(&self, work: &Work) -> String {
        let stopped = work.queries_stopped;
        format!("# TYPE stopped counter\nstopped_total {stopped}\n# EOF\n")
    }

    fn measurements(&self) -> Vec<Measurement> {
        let name = |i| Name { zh: format!("测点 {i}"), en: format!("Measurement {i}") };
        let one = |i| Measurement {
            id: format!("m-{i}"),
            name: name(i),
            unit: "%".to_owned(),
            decimals: 1,
            medium: Medium::Soil,
        };
        (0..40).map(one).collect()
    }

    fn rules(&self) -> Vec<Rule> {
        Vec::new()
    }

    fn tree(&self) -> Vec<Node> {
        PLACES.iter().map(|place| node(place.0).unwrap()).collect()
    }

    fn rollups(&self, scope: &str, depth: u8) -> Result<Vec<Rollup>, BackendError> {
        let level = node(scope)?.level;
        let moisture = *self.moisture.lock().unwrap();
        let mut rollups = vec![Rollup {
            id: scope.to_owned(),
            level,
            state: if moisture < 12.0 { State::Ok } else { State::Alert },
            worst_severity: None,
            bases: 1,
            bases_attention: 0,
            bases_no_data: 0,
            gateways: 1,
            gateways_online: 1,
            points: 1,
            completeness_1h: full(3600),
            alerts: AlertCounts::default(),
            last_reading_at: Some(time(0)),
        }];
        if depth > 0 {
            for child in children(scope) {
                rollups.extend(self.rollups(child, depth - 1)?);
            }
        }
        Ok(rollups)
    }

    fn node(&self, id: &str) -> Result<NodePage, BackendError> {
        let one = |id: &str| self.rollups(id, 0).map(|mut all| all.remove(0));
        let child = |id: &&str| -> Result<_, BackendError> {
            Ok(NodeWithRollup { node: node(id)?, rollup: one(id)? })
        };
        Ok(NodePage {
            node: node(id)?,
            breadcrumb: breadcrumb(id)?,
            rollup: one(id)?,
            children: children(id).iter().map(child).collect::<Result<_, _>>()?,
        })
    }

    fn base(&self, id: &str) -> Result<BasePage, BackendError> {
        let page = self.node(id)?;
        if page.node.level != Level::Base {
            return Err(BackendError::NotFound("base"));
        }
        Ok(BasePage {
            node: page.node,
            breadcrumb: page.breadcrumb,
            rollup: page.rollup,
            gateways: Vec::new(),
        })
    }

    fn base_points(&self, id: &str) -> Result<Vec<Point>, BackendError> {
        self.base(id)?;
        Ok(vec![point(&PointId::parse(POINT).unwrap())?])
    }

    fn base_latest(&self, id: &str, sparkline: bool) -> Result<Vec<Latest>, BackendError> {
        self.base(id)?;
        let still = |point: &str, value| Latest {
            point: point.to_owned(),
            at: time(-200),
            value: Some(value),
            quality: Quality::Good,
            cause: None,
            age_ms: 200,
            alert: None,
            sparkline: sparkline.then(|| vec![None; 30]),
        };
        Ok(vec![still(POINT, *self.moisture.lock().unwrap()), still("gw-1/soil-1/soil_ec", 1.0)])
    }

    fn point(&self, id: &PointId) -> Result<Point, BackendError> {
        point(id)
    }

    fn readings(&self, id: &PointId, query: &ReadingsQuery) -> Result<Readings, BackendError> {
        self.at_gate.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock().unwrap());
        let point = point(id)?;
        let first: i64 = match &query.after {
            None => query.span.from.0,
            Some(text) => {
                text.parse().map_err(|_| BackendError::Invalid("the cursor is foreign".to_owned()))?
            }
        };
        let times: Vec<i64> = (first..query.span.to.0).step_by(1000).take(query.limit + 1).collect();
        let reading = |ms: &i64| Reading {
            at: Zone::default().show(Timestamp(*ms)),
            value: Some(11.5),
            quality: Quality::Good,
            cause: None,
            epoch: "8f14e45fceea167a5a36dedd4bea2543".to_owned(),
            seq: 7,
            corrected: false,
        };
        Ok(Readings {
            point: point.id,
            unit: point.unit,
            items: times.iter().take(query.limit).map(reading).collect(),
            completeness: full((query.span.to.since_ms(query.span.from) / 1000) as u64),
            undated: undated(query.undated),
            next_cursor: times.get(query.limit).map(i64::to_string),
        })
    }

    fn outline(&self, id: &PointId, span: Span, columns: usize) -> Result<Readings, BackendError> {
        self.readings(id, &ReadingsQuery { span, limit: columns, after: None, undated: false })
    }

    fn export(
        &self,
        id: &PointId,
        span: Span,
        format: Format,
        out: &mut (dyn FnMut(Vec<u8>) -> bool + Send),
    ) -> Result<(), BackendError> {
        let point = point(id)?;
        let mut at = span.from;
        while at < span.to {
            self.exported.fetch_add(1, Ordering::SeqCst);
            if !out(format!("{} {format:?} {}\n", point.id, at.0).into_bytes()) {
                return Ok(());
            }
            at = at.plus_ms(1000);
        }
        Ok(())
    }

    fn aggregates(
        &self,
        id: &PointId,
        span: Span,
        window_ms: u64,
        extras: &Extras,
    ) -> Result<Aggregates, BackendError> {
        let point = point(id)?;
        // Work without an end, until nobody wants it.
        while self.endless.load(Ordering::SeqCst) {
            self.at_gate.fetch_add(1, Ordering::SeqCst);
            sitian_series::stop::wanted().inspect_err(|_| self.endless.store(false, Ordering::SeqCst))?;
            std::thread::yield_now();
        }
        let count = (span.to.since_ms(span.from) as u64).div_ceil(window_ms);
        let window = |n| Window {
            from: Zone::default().show(span.from.plus_ms((n * window_ms) as i64)),
            to: Zone::default().show(span.from.plus_ms(((n + 1) * window_ms) as i64).min(span.to)),
            mean: Some(11.5),
            min: Some(11.0),
            max: Some(12.0),
            first: Some(11.2),
            last: Some(11.8),
            sum: Some(34.5),
            time_weighted: extras.time_weighted.then_some(11.6),
            increase: extras.increase.then_some(0.6),
            percentiles: extras.percentiles.iter().map(|p| (p.to_string(), 11.9)).collect(),
            count: 3,
            uncertain: 0,
            corrected: 0,
            expected: 4,
            bad: [("timeout".to_owned(), 1)].into(),
            missing: [("timeout".to_owned(), 1)].into(),
        };
        Ok(Aggregates {
            point: point.id,
            unit: point.unit,
            window_ms,
            items: (0..count).map(window).collect(),
            completeness: Completeness { expected: 4 * count, stored: 3 * count, ratio: Some(0.75) },
            missing: [("timeout".to_owned(), count)].into(),
            undated: Vec::new(),
        })
    }

    fn ledger(&self, query: &LedgerQuery) -> Result<Ledger, BackendError> {
        let scope = node(&query.scope)?.id;
        if query.span.to.since_ms(query.span.from) > 30 * 86_400_000 {
            return Err(BackendError::TooWide("ask for a shorter span".to_owned()));
        }
        let below = children(&scope).into_iter().map(str::to_owned).filter(|_| query.depth > 0);
        let entry = |id: String| LedgerEntry {
            id,
            from: Zone::default().show(query.span.from),
            to: Zone::default().show(query.span.to),
            expected: 3600,
            stored: 3437,
            missing: [("timeout".to_owned(), 120), ("gateway_down".to_owned(), 43)].into(),
            doubtful: [("implausible".to_owned(), 3)].into(),
        };
        let items = std::iter::once(scope.clone()).chain(below).map(entry).collect();
        Ok(Ledger { window_ms: query.window_ms, items })
    }

    fn incidents(&self, query: &IncidentsQuery) -> Result<Page<Incident>, BackendError> {
        query.scope.as_deref().map(node).transpose()?;
        let incident = Incident {
            id: 3,
            kind: IncidentKind::Clone,
            gateway: "gw-1".to_owned(),
            base: None,
            breadcrumb: breadcrumb("zhangye")?,
            epoch: Some("8f14e45fceea167a5a36dedd4bea2543".to_owned()),
            other_epoch: None,
            first_seq: None,
            last_seq: None,
            after: None,
            at: time(0),
            ended_at: None,
            undated: None,
            sentence: Name::default(),
            advice: Name::default(),
        };
        let late = query.from.is_some_and(|from| from > NOW);
        let items = if late || query.after.is_some() { Vec::new() } else { vec![incident] };
        Ok(Page { items, next_cursor: None })
    }

    fn gaps(&self, query: &IncidentsQuery) -> Result<Page<Gap>, BackendError> {
        query.scope.as_deref().map(node).transpose()?;
        let gap = Gap {
            id: 2,
            gateway: "gw-1".to_owned(),
            base: None,
            breadcrumb: breadcrumb("zhangye")?,
            reason: GapReason::Evicted,
            epoch: "8f14e45fceea167a5a36dedd4bea2543".to_owned(),
            first_seq: 10,
            last_seq: 19,
            count: 10,
            from: Some(time(-60_000)),
            to: None,
            at: time(0),
        };
        Ok(Page { items: vec![gap], next_cursor: Some("2".to_owned()) })
    }

    fn quarantine(&self, query: &IncidentsQuery) -> Result<Quarantine, BackendError> {
        query.scope.as_deref().map(node).transpose()?;
        let entry = QuarantineEntry {
            id: 4,
            gateway: "gw-1".to_owned(),
            base: None,
            breadcrumb: breadcrumb("zhangye")?,
            form: QuarantineForm::Message,
            epoch: None,
            first_seq: None,
            last_seq: None,
            reason: "version 2 is newer than this program".to_owned(),
            bytes: 812,
            at: time(0),
            redecoded_at: None,
            readings: None,
        };
        Ok(Quarantine {
            waiting: 1,
            waiting_bytes: 812,
            redecoded: 0,
            items: vec![entry],
            next_cursor: Some("4".to_owned()),
        })
    }

    fn gateways(&self, unassigned: bool) -> Result<KnownGateways, BackendError> {
        let gateway = |id: &str| KnownGateway {
            id: id.to_owned(),
            base: None,
            breadcrumb: Vec::new(),
            online: true,
            last_seen_at: Some(time(0)),
            software: None,
            devices: 0,
            points: 0,
        };
        let ids = if unassigned { &["zy-07"][..] } else { &["gw-1", "zy-07"] };
        Ok(KnownGateways { unassigned: 1, items: ids.iter().map(|id| gateway(id)).collect() })
    }

    fn alerts(&self, query: &AlertsQuery) -> Result<Page<Alert>, BackendError> {
        query.scope.as_deref().map(node).transpose()?;
        if query.after.as_deref() == Some("panic") {
            panic!("secret of the inside");
        }
        if query.after.as_deref() == Some("broken") {
            return Err(BackendError::Unavailable("disk /dev/secret is broken".to_owned()));
        }
        let log = self.log.lock().unwrap();
        let wanted = |alert: &&Alert| {
            query.phase.is_none_or(|phase| phase.admits(alert.phase))
                && query.severity.is_none_or(|severity| severity == alert.severity)
        };
        let items =
            log.iter().rev().map(|entry| &entry.alert).filter(wanted).take(query.limit).cloned().collect();
        Ok(Page { items, next_cursor: None })
    }

    fn acknowledge(&self, id: u64, by: &str, note: &str) -> Result<Alert, BackendError> {
        let mut log = self.log.lock().unwrap();
        let entry = log.iter_mut().find(|e| e.alert.id == id).ok_or(BackendError::NotFound("alert"))?;
        let seen = Acknowledged { by: by.to_owned(), at: time(0), note: note.to_owned() };
        entry.alert.acknowledged.get_or_insert(seen);
        Ok(entry.alert.clone())
    }

    fn command(&self, command: &NewCommand) -> Result<Command, BackendError> {
        let NewCommand { id, gateway, device, point, value, by, reason, for_s, within_s } = command.clone();
        if gateway != "gw-1" {
            return Err(BackendError::NotFound("gateway"));
        }
        assert!(within_s.is_some(), "there is a default");
        Ok(Command {
            id,
            gateway,
            device,
            point,
            value,
            by,
            reason: reason.unwrap_or_default(),
            own: None,
            for_s,
            state: CommandState::Pending,
            detail: String::new(),
            sentence: Name::default(),
            read_back: None,
            at: time(0),
            expires: Some(time(60_000)),
            ended: None,
        })
    }

    fn base_outputs(&self, id: &str) -> Result<Vec<Output>, BackendError> {
        self.base(id)?;
        Ok(Vec::from_iter(self.valve.lock().unwrap().clone()))
    }

    fn commands(
        &self,
        gateway: Option<&str>,
        scope: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Command>, BackendError> {
        scope.map(node).transpose()?;
        let by = "王工".to_owned();
        let (device, point) = ("relay-1".to_owned(), "relay_1".to_owned());
        let gateway = gateway.unwrap_or("gw-1").to_owned();
        let new = NewCommand {
            id: "c".into(),
            gateway,
            device,
            point,
            value: 1.0,
            by,
            reason: None,
            for_s: None,
            within_s: Some(60),
        };
        self.command(&new).map(|command| vec![command; limit.min(1)])
    }

    fn alert_log_after(&self, cursor: u64, limit: usize) -> Result<Vec<LogEntry>, BackendError> {
        let log = self.log.lock().unwrap();
        let more: Vec<_> = log.iter().filter(|entry| entry.cursor > cursor).take(limit).cloned().collect();
        self.at_end.fetch_add(usize::from(more.is_empty()), Ordering::SeqCst);
        Ok(more)
    }

    fn alert_log_end(&self) -> Result<u64, BackendError> {
        Ok(self.log.lock().unwrap().len() as u64)
    }
}
