//! The fold: readings, link states, acknowledgements and time go in, changes of episodes come out.
//!
//! `lane` is one value rule on one point, `value` feeds it and writes history, `silence` waits for signs of life,
//! `restart` says what has to be stored and takes it back.
//!
//! Memory: per registered point and gateway a fixed amount, per rule and subject only while something holds. The queue of
//! changes is emptied by the caller after every event; one event makes at most a few changes per rule of its point, one
//! [`Engine::handle_timeout`] at most one per silent subject and rule.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use sitian_model::{BaseId, Cause, GatewayId, Numbers, PointId, PointNo, Quality, Row, Timestamp};

use crate::rule::{Condition, Rules, Side, Silent};
use crate::{AcknowledgeError, Change, ChangeKind, Episode, Phase, Severity, Subject};

mod lane;
mod restart;
mod silence;
mod value;

use lane::Lane;
use silence::{Link, Silence};

/// What does not belong to a single rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A reading that arrives this much after it was taken is late even if it comes in order, in milliseconds.
    pub late_after_ms: i64,
    /// A reading dated this far into the future has no trusted clock, in milliseconds.
    pub future_ms: i64,
    /// Late readings have stopped coming when none has come for this long, in milliseconds of the ingestor's clock.
    pub history_idle_ms: i64,
    /// After a start, gateways get this long to come back before anybody is told that they are offline, in milliseconds.
    pub start_grace_ms: i64,
    /// What episodes are numbered with; never 0.
    pub episode_numbers: Numbers,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            late_after_ms: 30 * 60_000,
            future_ms: 5 * 60_000,
            history_idle_ms: 5 * 60_000,
            start_grace_ms: 60_000,
            episode_numbers: Numbers::ALL,
        }
    }
}

/// A point to watch.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedPoint {
    /// Registry number.
    pub point: PointNo,
    /// Name.
    pub id: PointId,
    /// Where its gateway stands, if the territory says so.
    pub base: Option<BaseId>,
    /// Id in the catalogue of measurements.
    pub measurement: String,
    /// Milliseconds between two polls.
    pub interval_ms: u32,
    /// Where its device stands inside the base, such as `3号棚`; may be empty.
    pub place: String,
    /// Ids of the nodes above it, the base included; order does not matter.
    pub territory: Vec<String>,
}

/// A limit that a rule puts on a point.
#[derive(Debug, Clone, PartialEq)]
pub struct PointLimit {
    /// Id of the rule.
    pub rule: String,
    /// Colour.
    pub severity: Severity,
    /// The dangerous side.
    pub side: Side,
    /// In the unit of the measurement.
    pub threshold: f64,
}

/// Number of a rule: its position in [`Rules`].
pub(crate) type RuleNo = u16;

struct Watched {
    info: WatchedPoint,
    value_rules: Vec<RuleNo>,
    silence_rules: Vec<RuleNo>,
    /// Silence before this moment does not count against the point.
    since: Timestamp,
}

struct Gateway {
    base: Option<BaseId>,
    territory: Vec<String>,
    link: Link,
    /// When the link came up last: its points get their full patience from here.
    back_at: Timestamp,
    points: BTreeSet<PointNo>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    newest_at: Option<Timestamp>,
    data_at: Option<Timestamp>,
    dirty: bool,
}

/// One value rule on one point; late readings have a lane of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct LaneKey {
    rule: RuleNo,
    point: PointNo,
    late: bool,
}

/// One silence rule on one subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum SilenceKey {
    Point(RuleNo, PointNo),
    Gateway(RuleNo, GatewayId),
}

/// A piece of memory that is stored under a key of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Piece {
    Counter,
    Lane(LaneKey),
    Silence(SilenceKey),
    Gateway(GatewayId),
}

/// What to look at again when its time has come. Looking too early is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Timer {
    Silence(SilenceKey),
    History(LaneKey),
}

/// The alert engine. See the page of this module.
pub struct Engine {
    rules: Arc<Rules>,
    settings: Settings,
    /// The centre hears since then: the start, or the end of the last deafness.
    started_at: Timestamp,
    deaf: bool,
    points: HashMap<PointNo, Arc<Watched>>,
    gateways: BTreeMap<GatewayId, Gateway>,
    seen: HashMap<PointNo, Seen>,
    seen_dirty: Vec<PointNo>,
    lanes: BTreeMap<LaneKey, Lane>,
    silences: BTreeMap<SilenceKey, Silence>,
    /// Where each pending or firing live episode is kept.
    open: BTreeMap<u64, Piece>,
    timers: BTreeSet<(Timestamp, Timer)>,
    timer_of: BTreeMap<Timer, Timestamp>,
    changes: VecDeque<Change>,
    dirty: BTreeSet<Piece>,
    /// The highest number of an episode so far.
    last_episode: u64,
    /// Stored keys of rules that are gone.
    forgotten: Vec<String>,
}

impl Engine {
    /// An engine that knows no points yet. `now` begins the grace of the gateways.
    pub fn new(rules: Rules, settings: Settings, now: Timestamp) -> Self {
        Self {
            rules: Arc::new(rules),
            settings,
            started_at: now,
            deaf: false,
            points: HashMap::new(),
            gateways: BTreeMap::new(),
            seen: HashMap::new(),
            seen_dirty: Vec::new(),
            lanes: BTreeMap::new(),
            silences: BTreeMap::new(),
            open: BTreeMap::new(),
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            changes: VecDeque::new(),
            dirty: BTreeSet::new(),
            last_episode: 0,
            forgotten: Vec::new(),
        }
    }

    /// Begins to watch a point, or learns that its interval, base, place or measurement has changed. Open episodes of
    /// rules that no longer look at it are dropped.
    pub fn register(&mut self, info: WatchedPoint, now: Timestamp) {
        let (mut value_rules, mut silence_rules) = (Vec::new(), Vec::new());
        for (n, rule) in self.rules.iter().enumerate() {
            let covered = rule.scope.covers(Some(&info.measurement), &info.territory, &info.place);
            match rule.condition {
                Condition::Value { .. } if covered => value_rules.push(n as RuleNo),
                Condition::Silence { of: Silent::Point, .. } if covered => silence_rules.push(n as RuleNo),
                _ => {}
            }
        }
        let point = info.point;
        let before = self.points.get(&point);
        let since = before.map_or(now, |before| before.since);
        if let Some(before) = before
            && before.info.id.gateway != info.id.gateway
            && let Some(gateway) = self.gateways.get_mut(&before.info.id.gateway)
        {
            gateway.points.remove(&point);
        }
        self.register_gateway(&info.id.gateway, info.base.as_ref(), &info.territory);
        if let Some(gateway) = self.gateways.get_mut(&info.id.gateway) {
            gateway.points.insert(point);
        }
        let watched = Arc::new(Watched { info, value_rules, silence_rules, since });
        self.drop_pieces(point, now, |rule| {
            !watched.value_rules.contains(&rule) && !watched.silence_rules.contains(&rule)
        });
        let silence_rules = watched.silence_rules.clone();
        self.points.insert(point, watched);
        for rule in silence_rules {
            self.review_silence(SilenceKey::Point(rule, point), now);
        }
    }

    /// Stops watching a point that its gateway no longer has; its open episodes are dropped.
    pub fn retire(&mut self, point: PointNo, now: Timestamp) {
        let Some(watched) = self.points.remove(&point) else { return };
        if let Some(gateway) = self.gateways.get_mut(&watched.info.id.gateway) {
            gateway.points.remove(&point);
        }
        self.drop_pieces(point, now, |_| true);
    }

    /// Makes a gateway known, with the base it stands in and the ids of the nodes above it. Until its link state is told
    /// nothing is said about it.
    pub fn register_gateway(&mut self, gateway: &GatewayId, base: Option<&BaseId>, territory: &[String]) {
        let entry = self.gateways.entry(gateway.clone()).or_insert_with(|| Gateway {
            base: None,
            territory: Vec::new(),
            link: Link::Unknown,
            back_at: self.started_at,
            points: BTreeSet::new(),
        });
        if base.is_some() {
            entry.base = base.cloned();
            entry.territory = territory.to_vec();
        }
    }

    /// A committed row. Rows of unregistered points are ignored.
    pub fn observe(&mut self, row: &Row, now: Timestamp) {
        let Some(watched) = self.points.get(&row.point).cloned() else { return };
        let clock_unknown = row.quality.cause() == Some(Cause::ClockUnknown);
        let dated = !clock_unknown && row.at.since_ms(now) <= self.settings.future_ms;
        if row.value.is_some() {
            // Without an honest date the arrival itself is the sign of life.
            self.handle_life(&watched, if dated { row.at } else { now }, now);
        }
        if !dated {
            return;
        }
        let seen = self.seen.entry(row.point).or_default();
        let in_order = seen.newest_at.is_none_or(|newest| newest <= row.at);
        if seen.newest_at < Some(row.at) {
            seen.newest_at = Some(row.at);
            mark_dirty(seen, &mut self.seen_dirty, row.point);
        }
        let late = !in_order || now.since_ms(row.at) > self.settings.late_after_ms;
        let Some(value) = row.value else { return };
        let good = row.quality == Quality::Good;
        for &rule in &watched.value_rules {
            let key = LaneKey { rule, point: row.point, late };
            self.observe_value(key, &watched, value::Told { value, at: row.at, good }, now);
        }
    }

    /// A person takes note of an open episode. Doing so again changes nothing, unless it has got worse since.
    ///
    /// # Errors
    /// No open episode of this number; a name or note out of bounds.
    pub fn acknowledge(
        &mut self,
        id: u64,
        by: &str,
        note: &str,
        now: Timestamp,
    ) -> Result<Episode, AcknowledgeError> {
        let piece = self.open.get(&id).cloned().ok_or(AcknowledgeError::NotOpen)?;
        let episode = self.episode_mut(&piece).ok_or(AcknowledgeError::NotOpen)?;
        let news = episode.acknowledge(by, note, now)?;
        let episode = episode.clone();
        if news {
            self.dirty.insert(piece);
            self.changes.push_back(Change { kind: ChangeKind::Acknowledged, episode: episode.clone() });
        }
        Ok(episode)
    }

    /// The time asked for has come.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((due, timer)) = self.timers.first().cloned() {
            if due > now {
                break;
            }
            self.timers.remove(&(due, timer.clone()));
            self.timer_of.remove(&timer);
            match timer {
                Timer::Silence(key) => self.review_silence(key, now),
                Timer::History(key) => self.review_history(key, due),
            }
        }
    }

    /// The next change to make durable and to show, oldest first.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The rules it works by.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Every pending or firing episode, oldest number first.
    pub fn open_episodes(&self) -> impl Iterator<Item = &Episode> {
        self.open.values().filter_map(|piece| self.episode(piece))
    }

    /// The pending or firing episode of this number.
    pub fn open_episode(&self, id: u64) -> Option<&Episode> {
        self.open.get(&id).and_then(|piece| self.episode(piece))
    }

    /// The worst colour firing at a point.
    pub fn worst_at(&self, point: PointNo) -> Option<Severity> {
        let watched = self.points.get(&point)?;
        let lanes = watched.value_rules.iter().filter_map(|&rule| {
            self.lanes.get(&LaneKey { rule, point, late: false }).map(|lane| &lane.episode)
        });
        let silences = watched.silence_rules.iter().filter_map(|&rule| {
            self.silences.get(&SilenceKey::Point(rule, point)).map(|silence| &silence.episode)
        });
        lanes.chain(silences).filter(|e| e.phase == Phase::Firing).map(|e| e.severity).max()
    }

    /// The limits on a point, in the order of the rules, mildest first.
    pub fn limits(&self, point: PointNo) -> Vec<PointLimit> {
        let Some(watched) = self.points.get(&point) else { return Vec::new() };
        let mut limits = Vec::new();
        for rule in watched.value_rules.iter().filter_map(|&rule| self.rules.at(rule.into())) {
            if let Condition::Value { side, levels, .. } = &rule.condition {
                limits.extend(levels.iter().map(|level| PointLimit {
                    rule: rule.id.clone(),
                    severity: level.severity,
                    side: *side,
                    threshold: level.threshold,
                }));
            }
        }
        limits
    }

    fn episode(&self, piece: &Piece) -> Option<&Episode> {
        match piece {
            Piece::Lane(key) => self.lanes.get(key).map(|lane| &lane.episode),
            Piece::Silence(key) => self.silences.get(key).map(|silence| &silence.episode),
            Piece::Counter | Piece::Gateway(_) => None,
        }
    }

    fn episode_mut(&mut self, piece: &Piece) -> Option<&mut Episode> {
        match piece {
            Piece::Lane(key) => self.lanes.get_mut(key).map(|lane| &mut lane.episode),
            Piece::Silence(key) => self.silences.get_mut(key).map(|silence| &mut silence.episode),
            Piece::Counter | Piece::Gateway(_) => None,
        }
    }

    fn number(&mut self) -> u64 {
        let mut numbers = self.settings.episode_numbers;
        numbers.pass(self.last_episode);
        self.last_episode = numbers.take();
        self.dirty.insert(Piece::Counter);
        self.last_episode
    }

    /// Forgets what the named rules hold about a point.
    fn drop_pieces(&mut self, point: PointNo, now: Timestamp, gone: impl Fn(RuleNo) -> bool) {
        let lanes: Vec<_> =
            self.lanes.keys().filter(|k| k.point == point && gone(k.rule)).map(|k| Piece::Lane(*k)).collect();
        let silent =
            |key: &&SilenceKey| matches!(key, SilenceKey::Point(rule, p) if *p == point && gone(*rule));
        let silences: Vec<_> = self.silences.keys().filter(silent).cloned().map(Piece::Silence).collect();
        for piece in lanes.into_iter().chain(silences) {
            let episode = match &piece {
                Piece::Lane(key) => self.lanes.remove(key).map(|lane| lane.episode),
                Piece::Silence(key) => self.silences.remove(key).map(|silence| silence.episode),
                Piece::Counter | Piece::Gateway(_) => None,
            };
            self.dirty.insert(piece);
            if let Some(episode) = episode
                && self.open.remove(&episode.id).is_some()
            {
                self.tell_dropped(episode, now);
            }
        }
    }

    fn tell_dropped(&mut self, mut episode: Episode, now: Timestamp) {
        episode.phase = Phase::Resolved;
        episode.resolved_at = Some(now);
        self.changes.push_back(Change { kind: ChangeKind::Dropped, episode });
    }

    /// Asks to be woken for `timer` at `due` or earlier.
    fn schedule(&mut self, timer: Timer, due: Timestamp) {
        match self.timer_of.get(&timer) {
            Some(known) if *known <= due => return,
            Some(known) => {
                self.timers.remove(&(*known, timer.clone()));
            }
            None => {}
        }
        self.timers.insert((due, timer.clone()));
        self.timer_of.insert(timer, due);
    }
}

fn mark_dirty(seen: &mut Seen, list: &mut Vec<PointNo>, point: PointNo) {
    if !seen.dirty {
        seen.dirty = true;
        list.push(point);
    }
}

/// A fresh episode, still pending.
fn begin(
    id: u64,
    rule: &str,
    subject: Subject,
    base: Option<BaseId>,
    severity: Severity,
    at: Timestamp,
) -> Episode {
    Episode {
        id,
        rule: rule.to_owned(),
        severity,
        severity_worst: severity,
        subject,
        base,
        phase: Phase::Pending,
        started_at: at,
        fired_at: None,
        resolved_at: None,
        acknowledged: None,
        value: None,
        threshold: None,
        peak: None,
        late: false,
    }
}
