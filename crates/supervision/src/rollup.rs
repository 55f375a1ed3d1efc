//! The numbers of every node: carried up as they change, read at once.
//!
//! A base is in **alert** while an orange or red alert fires in it, in **attention** while a yellow or blue one fires or
//! one of its gateways is offline, without **data** when no reading with a value is younger than an hour, else ok. A node
//! above takes the worst of its bases, where a base without data only counts when no other base does better: a node with
//! nothing below it, or nothing configured, is without data, never ok.

use std::collections::{BTreeMap, HashMap};

pub use sitian_model::Severity;
use sitian_model::{Cause, GatewayId, PointNo, Row, Timestamp};

pub use crate::ledger::Completeness;
use crate::ledger::{Ledger, next_change};
use crate::pace::Pace;
use crate::territory::{Level, Node, NodeNo, Territory};

/// Younger readings make a base known, in milliseconds.
const KNOWN_MS: i64 = 3_600_000;
/// A reading dated this far ahead has no honest time, in milliseconds.
const FUTURE_MS: i64 = 5 * 60_000;

/// State of a node in one word, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum State {
    /// Nothing needs anybody.
    Ok,
    /// Nothing is known.
    #[default]
    NoData,
    /// A yellow or blue alert fires, or a gateway is offline.
    Attention,
    /// An orange or red alert fires.
    Alert,
}

impl State {
    /// A stable snake_case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoData => "no_data",
            Self::Attention => "attention",
            Self::Alert => "alert",
        }
    }
}

/// What is known about a gateway's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GatewayLink {
    /// Never told.
    #[default]
    Unknown,
    /// Up.
    Online,
    /// Down.
    Offline,
}

/// Firing alerts by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlertCounts {
    /// 蓝
    pub blue: u32,
    /// 黄
    pub yellow: u32,
    /// 橙
    pub orange: u32,
    /// 红
    pub red: u32,
    /// How many of them nobody has acknowledged.
    pub unacknowledged: u32,
}

impl AlertCounts {
    /// The worst colour present.
    pub fn worst(&self) -> Option<Severity> {
        let counts = [self.blue, self.yellow, self.orange, self.red];
        Severity::ALL.into_iter().zip(counts).rev().find(|(_, n)| *n > 0).map(|(severity, _)| severity)
    }

    /// All of them.
    pub fn total(&self) -> u32 {
        self.blue + self.yellow + self.orange + self.red
    }

    fn of(&mut self, severity: Severity) -> &mut u32 {
        match severity {
            Severity::Blue => &mut self.blue,
            Severity::Yellow => &mut self.yellow,
            Severity::Orange => &mut self.orange,
            Severity::Red => &mut self.red,
        }
    }
}

/// A firing alert, as far as it concerns the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertMark {
    /// Its present colour.
    pub severity: Severity,
    /// True if a person has taken note.
    pub acknowledged: bool,
}

/// The state of a node and of everything below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// Which node.
    pub id: String,
    /// Its level.
    pub level: Level,
    /// In one word.
    pub state: State,
    /// Colour of its worst firing alert.
    pub worst_severity: Option<Severity>,
    /// Bases below; 1 for a base itself.
    pub bases: u32,
    /// Bases in attention or alert.
    pub bases_attention: u32,
    /// Bases without data.
    pub bases_no_data: u32,
    /// Gateways below.
    pub gateways: u32,
    /// Gateways whose link is up.
    pub gateways_online: u32,
    /// Points below.
    pub points: u32,
    /// Completeness of the last hour.
    pub completeness_1h: Completeness,
    /// Firing alerts.
    pub alerts: AlertCounts,
    /// Sample time of the newest reading with a value.
    pub last_reading_at: Option<Timestamp>,
}

impl Rollup {
    /// Is all well? As data, for one sentence.
    pub fn summary(&self) -> Summary {
        Summary {
            bases: self.bases,
            bases_attention: self.bases_attention,
            bases_no_data: self.bases_no_data,
            completeness: self.completeness_1h.ratio(),
        }
    }
}

/// One sentence about a node, as numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Bases below.
    pub bases: u32,
    /// Of these in attention or alert.
    pub bases_attention: u32,
    /// Of these without data.
    pub bases_no_data: u32,
    /// Completeness of the last hour, 0 to 1; `None` if nothing is expected.
    pub completeness: Option<f64>,
}

impl Summary {
    /// In English, as in `3 of 41 bases need attention; data 99.2 % complete`.
    pub fn english(&self) -> String {
        let silent = if self.bases_no_data > 0 {
            format!("; {} without data", self.bases_no_data)
        } else {
            String::new()
        };
        let data = percent(self.completeness)
            .map_or_else(|| "; no data expected yet".to_owned(), |p| format!("; data {p} % complete"));
        format!("{} of {} bases need attention{silent}{data}", self.bases_attention, self.bases)
    }

    /// In Chinese, as in `41 个基地中 3 个需要关注；数据完整率 99.2 %`.
    pub fn chinese(&self) -> String {
        let silent = if self.bases_no_data > 0 {
            format!("，{} 个无数据", self.bases_no_data)
        } else {
            String::new()
        };
        let data = percent(self.completeness)
            .map_or_else(|| "；暂无应收数据".to_owned(), |p| format!("；数据完整率 {p} %"));
        format!("{} 个基地中 {} 个需要关注{silent}{data}", self.bases, self.bases_attention)
    }
}

/// One decimal, rounded down: 99.96 % is not complete.
fn percent(ratio: Option<f64>) -> Option<String> {
    ratio.map(|ratio| format!("{:.1}", (ratio * 1000.0 + 1e-9).floor() / 10.0))
}

#[derive(Default, Clone)]
struct Tally {
    /// Of this very node.
    state: State,
    /// Bases below by state, in the order of [`State`].
    bases: [u32; 4],
    gateways: u32,
    online: u32,
    offline: u32,
    points: u32,
    alerts: AlertCounts,
    last_reading_at: Option<Timestamp>,
    ledger: Ledger,
    changed: bool,
}

struct Point {
    base: NodeNo,
    interval_ms: u32,
    since: Timestamp,
    pace: Pace,
}

/// The living tree. Numbers come from what it is told; after a restart the owner tells it again: points with their
/// original moment of registration, the rows of the last hour, the links, the firing alerts.
pub struct Supervision {
    territory: Territory,
    tallies: Vec<Tally>,
    points: HashMap<PointNo, Point>,
    links: HashMap<GatewayId, GatewayLink>,
    alerts: BTreeMap<u64, (NodeNo, AlertMark)>,
    changed: Vec<NodeNo>,
    now: Timestamp,
    next_review: Option<Timestamp>,
}

impl Supervision {
    /// A network of which nothing is known yet.
    pub fn new(territory: Territory) -> Self {
        let mut tallies = vec![Tally::default(); territory.nodes().len()];
        for (n, node) in territory.nodes().enumerate() {
            let base = u32::from(node.level == Level::Base);
            for above in territory.upward(n) {
                tallies[above].bases[State::NoData as usize] += base;
                tallies[above].gateways += node.gateways.len() as u32;
            }
        }
        Self {
            territory,
            tallies,
            points: HashMap::new(),
            links: HashMap::new(),
            alerts: BTreeMap::new(),
            changed: Vec::new(),
            now: Timestamp(i64::MIN / 2),
            next_review: None,
        }
    }

    /// The tree.
    pub fn territory(&self) -> &Territory {
        &self.territory
    }

    /// A point promises a reading every `interval_ms` from `since` on. Registering it again replaces what was promised.
    /// Returns false, counting nothing, if its gateway stands in no base of the territory.
    pub fn register_point(
        &mut self,
        point: PointNo,
        gateway: &GatewayId,
        interval_ms: u32,
        since: Timestamp,
    ) -> bool {
        self.retire_point(point);
        let Some(base) = self.territory.number_of_base(gateway) else { return false };
        self.points.insert(point, Point { base, interval_ms, since, pace: Pace::default() });
        self.carry(base, |tally| {
            tally.points += 1;
            tally.ledger.promise(interval_ms, since);
        });
        true
    }

    /// A point that its gateway no longer has.
    pub fn retire_point(&mut self, point: PointNo) {
        let Some(Point { base, interval_ms, since, .. }) = self.points.remove(&point) else { return };
        self.carry(base, |tally| {
            tally.points -= 1;
            tally.ledger.withdraw(interval_ms, since);
        });
    }

    /// A committed row, fresh or late; rows of the last hour may be told again after a restart, once. Touches the base and
    /// the three nodes above it.
    pub fn observe(&mut self, row: &Row, now: Timestamp) {
        let Some(point) = self.points.get_mut(&row.point) else { return };
        let base = point.base;
        let dated = row.quality.cause() != Some(Cause::ClockUnknown) && row.at.since_ms(now) <= FUTURE_MS;
        if row.value.is_none() || !dated {
            return;
        }
        let counts = point.pace.count(row.at, point.interval_ms);
        self.now = self.now.max(now);
        self.carry(base, |tally| {
            if counts {
                tally.ledger.count(row.at);
            }
            tally.last_reading_at = tally.last_reading_at.max(Some(row.at));
        });
        if self.tallies[base].state == State::NoData {
            self.review(base);
        }
    }

    /// The gateway's link is up. Unknown gateways are ignored.
    pub fn gateway_online(&mut self, gateway: &GatewayId, now: Timestamp) {
        self.set_link(gateway, GatewayLink::Online, now);
    }

    /// The gateway's link is down. Unknown gateways are ignored.
    pub fn gateway_offline(&mut self, gateway: &GatewayId, now: Timestamp) {
        self.set_link(gateway, GatewayLink::Offline, now);
    }

    /// What is known about a gateway's link.
    pub fn link(&self, gateway: &GatewayId) -> GatewayLink {
        self.links.get(gateway).copied().unwrap_or_default()
    }

    /// An alert of this number fires at a subject read by `gateway`: it is new, has another colour, or was acknowledged.
    /// `None`: it does not fire (any more). Alerts of unknown gateways are ignored, as are pending and late ones, which
    /// the caller tells as `None`.
    pub fn handle_alert(&mut self, id: u64, gateway: &GatewayId, alert: Option<AlertMark>, now: Timestamp) {
        self.now = self.now.max(now);
        let unacknowledged = |mark: &AlertMark| u32::from(!mark.acknowledged);
        let base = self.territory.number_of_base(gateway);
        let before = self.alerts.remove(&id);
        if let Some((base, mark)) = before {
            self.carry(base, |tally| {
                *tally.alerts.of(mark.severity) -= 1;
                tally.alerts.unacknowledged -= unacknowledged(&mark);
            });
        }
        if let (Some(base), Some(mark)) = (base, alert) {
            self.alerts.insert(id, (base, mark));
            self.carry(base, |tally| {
                *tally.alerts.of(mark.severity) += 1;
                tally.alerts.unacknowledged += unacknowledged(&mark);
            });
        }
        for base in [before.map(|(base, _)| base), base].into_iter().flatten() {
            self.review(base);
        }
    }

    /// A minute has passed: what was promised has grown, and bases may have fallen silent.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.next_review = Some(next_change(now));
        for n in 0..self.tallies.len() {
            self.tallies[n].ledger.prune(now);
            if self.tallies[n].points > 0 {
                self.mark_changed(n);
            }
            if self.territory.node_at(n).level == Level::Base {
                self.review(n);
            }
        }
    }

    /// When to call [`Self::handle_timeout`]; `None`: as soon as convenient.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.next_review
    }

    /// The numbers of a node; `None` for an unknown id.
    pub fn rollup(&self, id: &str, now: Timestamp) -> Option<Rollup> {
        let n = self.territory.number(id)?;
        let (node, tally) = (self.territory.node_at(n), &self.tallies[n]);
        let [_, no_data, attention, alert] = tally.bases;
        Some(Rollup {
            id: node.id.clone(),
            level: node.level,
            state: tally.state,
            worst_severity: tally.alerts.worst(),
            bases: tally.bases.iter().sum(),
            bases_attention: attention + alert,
            bases_no_data: no_data,
            gateways: tally.gateways,
            gateways_online: tally.online,
            points: tally.points,
            completeness_1h: tally.ledger.completeness(now),
            alerts: tally.alerts,
            last_reading_at: tally.last_reading_at,
        })
    }

    /// The numbers of a node and of `depth` levels below it, parents first; empty for an unknown id.
    pub fn rollups(&self, scope: &str, depth: usize, now: Timestamp) -> Vec<Rollup> {
        let nodes = self.territory.descendants(scope, depth);
        nodes.into_iter().filter_map(|node| self.rollup(&node.id, now)).collect()
    }

    /// Every node whose numbers have changed since this was last called, parents first.
    pub fn take_changed(&mut self) -> Vec<&Node> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        for n in &changed {
            self.tallies[*n].changed = false;
        }
        changed.into_iter().map(|n| self.territory.node_at(n)).collect()
    }

    fn set_link(&mut self, gateway: &GatewayId, link: GatewayLink, now: Timestamp) {
        self.now = self.now.max(now);
        let Some(base) = self.territory.number_of_base(gateway) else { return };
        let before = self.links.insert(gateway.clone(), link).unwrap_or_default();
        if before == link {
            return;
        }
        self.carry(base, |tally| {
            for (count, which) in
                [(&mut tally.online, GatewayLink::Online), (&mut tally.offline, GatewayLink::Offline)]
            {
                *count = *count + u32::from(link == which) - u32::from(before == which);
            }
        });
        self.review(base);
    }

    /// Finds the state of a base anew and carries a change up.
    fn review(&mut self, base: NodeNo) {
        let tally = &self.tallies[base];
        let known =
            tally.points > 0 && tally.last_reading_at.is_some_and(|at| self.now.since_ms(at) < KNOWN_MS);
        let state = match tally.alerts.worst() {
            Some(Severity::Orange | Severity::Red) => State::Alert,
            Some(_) => State::Attention,
            None if tally.offline > 0 => State::Attention,
            None if known => State::Ok,
            None => State::NoData,
        };
        let before = tally.state;
        if state == before {
            return;
        }
        self.carry(base, |tally| {
            tally.bases[before as usize] -= 1;
            tally.bases[state as usize] += 1;
            let [ok, _, attention, alert] = tally.bases;
            tally.state = match (alert, attention, ok) {
                (0, 0, 0) => State::NoData,
                (0, 0, _) => State::Ok,
                (0, ..) => State::Attention,
                _ => State::Alert,
            };
        });
    }

    /// Does the same to a base and to all above it.
    fn carry(&mut self, base: NodeNo, change: impl Fn(&mut Tally)) {
        let way: [Option<NodeNo>; 4] = {
            let mut upward = self.territory.upward(base);
            std::array::from_fn(|_| upward.next())
        };
        for n in way.into_iter().flatten() {
            change(&mut self.tallies[n]);
            self.mark_changed(n);
        }
    }

    fn mark_changed(&mut self, n: NodeNo) {
        if !self.tallies[n].changed {
            self.tallies[n].changed = true;
            self.changed.push(n);
        }
    }
}
