//! The picture that the API shows: registry, newest rows, gateways, roll-ups, firing alerts. It changes only after a
//! commit, so nobody sees what could still be lost. Knows no store and no broker.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sitian_alert::engine::PointLimit;
use sitian_alert::{Episode, Phase, Severity, Subject};
use sitian_ingest::{Effect, EpochEntry, PointEntry};
use sitian_model::{
    Cause, DeviceInfo, Epoch, EpochNo, GatewayId, PointId, PointInfo, PointNo, Row, SpoolState, Timestamp,
};
use sitian_supervision::{AlertMark, Supervision, Territory};
use sitian_wire::Outputs;

use crate::admit::Part;
use crate::backend::metrics::Counts;

/// A reading dated further ahead than this has no time that can be believed.
const FUTURE_MS: i64 = 300_000;

/// One point of the registry.
pub struct BoardPoint {
    /// Name and newest description.
    pub entry: PointEntry,
    /// What the rules say about it.
    pub limits: Vec<PointLimit>,
    /// The newest row.
    pub latest: Option<Row>,
}

impl BoardPoint {
    /// A row is stored: the newest one whose time can be believed is shown, and one without such a time only while there
    /// is no other. A single reading from the future must not hide everything that comes after it.
    pub fn see(&mut self, row: &Row, now: Timestamp) {
        let dated =
            |row: &Row| row.quality.cause() != Some(Cause::ClockUnknown) && row.at.since_ms(now) <= FUTURE_MS;
        let rank = |row: &Row| (dated(row), row.at);
        if self.latest.is_none_or(|shown| rank(&shown) <= rank(row)) {
            self.latest = Some(*row);
        }
    }
}

/// One gateway.
#[derive(Default)]
pub struct BoardGateway {
    /// Connected, as far as is known.
    pub online: Option<bool>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The last message from it.
    pub last_seen_at: Option<Timestamp>,
    /// From its newest manifest.
    pub software: Option<String>,
    /// From its newest manifest.
    pub devices: Vec<DeviceInfo>,
    /// From its newest manifest.
    pub points: Vec<PointNo>,
    /// From its newest batch.
    pub spool: Option<SpoolState>,
    /// What it can switch, and how that stands, as it said last.
    pub outputs: Outputs,
}

/// Everything that is shown.
pub struct Board {
    /// The tree and its roll-ups.
    pub supervision: Supervision,
    /// Every point that ever was.
    pub points: HashMap<PointNo, BoardPoint>,
    /// Points by name.
    pub numbers: HashMap<PointId, PointNo>,
    /// Every gateway that was ever heard, and those that the territory expects.
    pub gateways: HashMap<GatewayId, BoardGateway>,
    /// Epochs by number.
    pub epochs: HashMap<EpochNo, Epoch>,
    /// Colours of what fires, by episode.
    pub firing: HashMap<u64, (PointOrGateway, Severity)>,
    /// Readings committed since process start.
    pub readings: u64,
    /// What else was counted since then.
    pub counts: Counts,
    /// What keeps the readings.
    pub engine: &'static str,
    /// The last commit of readings.
    pub committed_at: Option<Timestamp>,
    /// Parts of the gateways for which nothing can be stored now.
    pub refusing: HashMap<Part, Refusal>,
    /// Whether the link to the broker is up, and since when.
    pub broker: (bool, Option<Timestamp>),
}

/// Why nothing can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// When the first commit that failed began.
    pub since: Timestamp,
    /// What is wrong, in words for everybody; the log says more.
    pub why: &'static str,
    /// It is over when rows are stored, not already when anything is.
    pub needs_rows: bool,
}

/// What an episode is about, as a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PointOrGateway {
    /// A point.
    Point(PointNo),
    /// A gateway.
    Gateway(GatewayId),
}

impl Board {
    /// A picture of a network of which nothing is known yet.
    pub fn new(territory: &Arc<Territory>) -> Self {
        let expected = territory.nodes().flat_map(|node| node.gateways.iter().cloned());
        Self {
            gateways: expected.map(|gateway| (gateway, BoardGateway::default())).collect(),
            supervision: Supervision::new(Territory::clone(territory)),
            points: HashMap::new(),
            numbers: HashMap::new(),
            epochs: HashMap::new(),
            firing: HashMap::new(),
            readings: 0,
            counts: Counts::default(),
            engine: "embedded",
            committed_at: None,
            refusing: HashMap::new(),
            broker: (false, None),
        }
    }

    /// A point was registered or described anew. Whether its gateway still has it, a manifest says.
    pub fn know(&mut self, entry: PointEntry) {
        self.numbers.insert(entry.id.clone(), entry.no);
        let known = self.points.remove(&entry.no);
        let (limits, latest) = known.map_or_else(Default::default, |known| (known.limits, known.latest));
        self.points.insert(entry.no, BoardPoint { entry, limits, latest });
    }

    /// A point was registered. What is known of it already, its gateway's newest manifest says better.
    pub fn know_new(&mut self, entry: &PointEntry) {
        if !self.points.contains_key(&entry.no) {
            self.know(entry.clone());
        }
    }

    /// The points of an epoch as its manifest describes them; those registered in the same group are among `effects`.
    pub fn present(&self, entry: &EpochEntry, effects: &[Effect]) -> Vec<PointEntry> {
        let fresh = effects.iter().filter_map(|effect| match effect {
            Effect::Point(point) => Some((point.no, point)),
            _ => None,
        });
        let fresh: HashMap<PointNo, &PointEntry> = fresh.collect();
        let registered =
            |no| fresh.get(&no).copied().or_else(|| self.points.get(&no).map(|point| &point.entry));
        let described = |(no, info): (&PointNo, &PointInfo)| {
            let (known, device) = (registered(*no)?, entry.manifest.devices.get(info.device as usize)?);
            let same =
                PointInfo { device: info.device, ..known.info.clone() } == *info && known.device == *device;
            let at = if same { known.at } else { entry.at };
            Some(PointEntry { no: *no, id: known.id.clone(), device: device.clone(), info: info.clone(), at })
        };
        entry.points.iter().zip(&entry.manifest.points).filter_map(described).collect()
    }

    /// The points that the gateway had and that this epoch does not name.
    pub fn gone(&self, entry: &EpochEntry) -> Vec<PointNo> {
        let present: HashSet<PointNo> = entry.points.iter().copied().collect();
        let before = self.gateways.get(&entry.gateway).map_or(&[] as &[PointNo], |gateway| &gateway.points);
        before.iter().copied().filter(|no| !present.contains(no)).collect()
    }

    /// The gateway has this point now: it is counted. `limits` are what the rules say about it.
    pub fn make_present(&mut self, point: PointNo, limits: Vec<PointLimit>) {
        let Some(known) = self.points.get_mut(&point) else { return };
        known.limits = limits;
        let entry = &known.entry;
        self.supervision.register_point(point, &entry.id.gateway, entry.info.interval_ms, entry.at);
    }

    /// An epoch began: its manifest is what the gateway has now.
    pub fn begin_epoch(&mut self, entry: &EpochEntry) {
        self.epochs.insert(entry.no, entry.epoch);
        let gone = self.gone(entry);
        let gateway = self.gateways.entry(entry.gateway.clone()).or_default();
        gateway.points.clone_from(&entry.points);
        gateway.devices.clone_from(&entry.manifest.devices);
        gateway.software = Some(entry.manifest.software.clone());
        gone.iter().for_each(|no| self.supervision.retire_point(*no));
    }

    /// Rows are durable. Returns the gateways that they came from.
    pub fn observe(&mut self, effects: &[Effect], now: Timestamp) -> HashSet<GatewayId> {
        let mut heard = HashSet::new();
        if effects.iter().any(|effect| rows_of(effect).is_some()) {
            self.committed_at = Some(now);
        }
        for row in effects.iter().filter_map(rows_of).flatten() {
            self.supervision.observe(row, now);
            self.readings += 1;
            let Some(point) = self.points.get_mut(&row.point) else { continue };
            point.see(row, now);
            if !heard.contains(&point.entry.id.gateway) {
                heard.insert(point.entry.id.gateway.clone());
            }
        }
        heard
    }

    /// A stored row says something else. Returns its gateway if the point is known.
    pub fn correct(&mut self, row: &Row) -> Option<GatewayId> {
        let point = self.points.get_mut(&row.point)?;
        let shown =
            point.latest.filter(|shown| (shown.at, shown.epoch, shown.seq) == (row.at, row.epoch, row.seq));
        if shown.is_some() {
            point.latest = Some(*row);
        }
        Some(point.entry.id.gateway.clone())
    }

    /// Commits fail for a part of the gateways; what failed first says since when.
    pub fn refuse(&mut self, part: Part, refusal: Refusal) {
        let known = self.refusing.get(&part).copied().unwrap_or(refusal);
        let needs_rows = known.needs_rows || refusal.needs_rows;
        self.refusing.insert(part, Refusal { since: known.since, needs_rows, ..refusal });
    }

    /// What has been wrong for the longest time, if anything is.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusing.values().min_by_key(|refusal| refusal.since).copied()
    }

    /// An episode changed.
    pub fn show_alert(&mut self, episode: &Episode, now: Timestamp) {
        let fires = episode.phase == Phase::Firing && !episode.late;
        let key = match &episode.subject {
            Subject::Point(no, _) => PointOrGateway::Point(*no),
            Subject::Gateway(gateway) => PointOrGateway::Gateway(gateway.clone()),
        };
        if fires {
            self.firing.insert(episode.id, (key, episode.severity));
        } else {
            self.firing.remove(&episode.id);
        }
        let mark = AlertMark { severity: episode.severity, acknowledged: episode.is_acknowledged() };
        self.supervision.handle_alert(episode.id, episode.subject.gateway(), fires.then_some(mark), now);
    }

    /// What fires in a part of the gateways is this and nothing else.
    pub fn show_alerts(&mut self, part: Part, open: &[Episode], now: Timestamp) {
        let of = |key: &PointOrGateway| match key {
            PointOrGateway::Gateway(gateway) => Some(gateway.clone()),
            PointOrGateway::Point(no) => self.points.get(no).map(|point| point.entry.id.gateway.clone()),
        };
        let shown = self.firing.iter().filter_map(|(id, (key, _))| Some((*id, of(key)?)));
        let over: Vec<(u64, GatewayId)> = shown
            .filter(|(id, gateway)| part.has(gateway) && open.iter().all(|episode| episode.id != *id))
            .collect();
        for (id, gateway) in over {
            self.firing.remove(&id);
            self.supervision.handle_alert(id, &gateway, None, now);
        }
        open.iter().for_each(|episode| self.show_alert(episode, now));
    }

    /// The worst colour that fires at a point.
    pub fn worst_at(&self, point: PointNo) -> Option<Severity> {
        let here = PointOrGateway::Point(point);
        self.firing.values().filter(|(key, _)| *key == here).map(|(_, severity)| *severity).max()
    }

    /// Something was stored for this part of the gateways, rows among it or not.
    pub fn stores(&mut self, part: Part, rows: bool) {
        self.refusing.retain(|refusing, refusal| *refusing != part || (refusal.needs_rows && !rows));
    }

    /// A gateway's link changed, or was confirmed. True if it changed.
    pub fn set_link(&mut self, gateway: &GatewayId, online: bool, since: Timestamp, now: Timestamp) -> bool {
        let known = self.gateways.entry(gateway.clone()).or_default();
        if known.online == Some(online) {
            return false;
        }
        known.online = Some(online);
        known.since = Some(since);
        if online {
            self.supervision.gateway_online(gateway, now);
        } else {
            self.supervision.gateway_offline(gateway, now);
        }
        true
    }

    /// Bases whose gateways are among these.
    pub fn bases_of(&self, gateways: &HashSet<GatewayId>) -> HashSet<String> {
        let territory = self.supervision.territory();
        gateways.iter().filter_map(|gateway| territory.base_of(gateway)).map(|base| base.id.clone()).collect()
    }
}

/// The rows of an effect.
pub fn rows_of(effect: &Effect) -> Option<&Vec<Row>> {
    match effect {
        Effect::Rows(rows) => Some(rows),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sitian_model::{DeviceId, PointKey, Quality, Slot};

    fn point() -> BoardPoint {
        let text = "well-formed";
        let id = PointId::parse("gw/soil-1/soil_ph").expect(text);
        let device = DeviceInfo {
            id: DeviceId::new("soil-1").expect(text),
            name: String::new(),
            place: String::new(),
            profile: String::new(),
            bus: String::new(),
        };
        let info = PointInfo {
            device: 0,
            key: PointKey::new("soil_ph").expect(text),
            measurement: "soil_ph".into(),
            unit: String::new(),
            decimals: 1,
            interval_ms: 1_000,
        };
        let entry = PointEntry { no: PointNo(1), id, device, info, at: Timestamp(0) };
        BoardPoint { entry, limits: Vec::new(), latest: None }
    }

    fn board() -> Board {
        let (name, text) = sitian_supervision::territory::builtin();
        Board::new(&Arc::new(Territory::parse(name, text).expect("ours")))
    }

    #[test]
    fn a_part_that_is_taken_over_shows_what_fires_there_and_nothing_that_is_over() {
        let (mut board, now) = (board(), Timestamp(0));
        let gateway = GatewayId::new("dangzhai-01").expect("well-formed");
        let episode = |id| Episode {
            id,
            rule: "offline".to_owned(),
            severity: Severity::Red,
            severity_worst: Severity::Red,
            subject: Subject::Gateway(gateway.clone()),
            base: None,
            phase: Phase::Firing,
            started_at: now,
            fired_at: Some(now),
            resolved_at: None,
            acknowledged: None,
            value: None,
            threshold: None,
            peak: None,
            late: false,
        };
        let (mine, other) = (Slot::of(&gateway), Slot::new(0).expect("there is one"));
        assert_ne!(mine, other);
        [6, 70].into_iter().for_each(|id| board.show_alert(&episode(id), now));
        for (part, open, fires) in [
            (Part::Slot(other), vec![], vec![6, 70]),
            (Part::Slot(mine), vec![episode(70), episode(134)], vec![70, 134]),
            (Part::All, vec![], vec![]),
        ] {
            board.show_alerts(part, &open, now);
            let mut shown: Vec<u64> = board.firing.keys().copied().collect();
            shown.sort_unstable();
            assert_eq!(shown, fires, "{part:?}");
        }
    }

    #[test]
    fn a_part_for_which_nothing_could_be_stored_is_well_again_when_what_failed_succeeds() {
        let part = Part::Slot(Slot::new(6).expect("there is one"));
        let another = Part::Slot(Slot::new(7).expect("there is one"));
        for (needs_rows, stored, rows, well) in [
            (true, part, false, false),
            (true, part, true, true),
            (false, part, false, true),
            (false, another, true, false),
        ] {
            let mut board = board();
            board.refuse(part, Refusal { since: Timestamp(0), why: "a test", needs_rows });
            board.stores(stored, rows);
            assert_eq!(board.refusing.is_empty(), well, "{needs_rows} {stored:?} {rows}");
        }
    }

    #[test]
    fn one_reading_from_the_future_does_not_hide_those_that_follow() {
        let now = Timestamp(1_000_000);
        let row = |at_ms: i64, quality: Quality, value: f64| Row {
            point: PointNo(1),
            at: now.plus_ms(at_ms),
            value: Some(value),
            quality,
            epoch: EpochNo(0),
            seq: 0,
        };
        let unknown = Quality::Uncertain(Cause::ClockUnknown);
        let mut point = point();
        for (seen, shown) in [
            (row(30 * 86_400_000, unknown, 1.0), 1.0),
            (row(-10, Quality::Good, 2.0), 2.0),
            (row(600_000, Quality::Good, 3.0), 2.0),
            (row(-20, Quality::Good, 4.0), 2.0),
            (row(0, Quality::Good, 5.0), 5.0),
            (row(-5, unknown, 6.0), 5.0),
        ] {
            point.see(&seen, now);
            assert_eq!(point.latest.and_then(|row| row.value), Some(shown), "{seen:?}");
        }
    }
}
