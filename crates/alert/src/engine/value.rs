//! Feeds readings to lanes: the live lane tells every step, the lane of late readings only tells finished history.

use sitian_model::Timestamp;

use super::lane::{Lane, Limits, Step};
use super::{Engine, LaneKey, Piece, Timer, Watched, begin};
use crate::rule::Condition;
use crate::{Change, ChangeKind, Phase, Subject};

/// Gaps wider than this many polling intervals (in halves) freeze a duration.
const GAP_HALF_INTERVALS: i64 = 5;

/// A reading with a value and an honest date.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub value: f64,
    pub at: Timestamp,
    /// False: uncertain.
    pub good: bool,
}

impl Engine {
    pub(super) fn observe_value(&mut self, key: LaneKey, watched: &Watched, told: Told, now: Timestamp) {
        let rules = self.rules.clone();
        let Some(rule) = rules.at(key.rule.into()) else { return };
        let Condition::Value { side, inclusive, levels } = &rule.condition else { return };
        let gap_ms = i64::from(watched.info.interval_ms.max(1)) * GAP_HALF_INTERVALS / 2;
        let limits = Limits { side: *side, inclusive: *inclusive, levels, gap_ms };
        if key.late {
            let live = self.lanes.get(&LaneKey { late: false, ..key });
            if live.is_some_and(|live| live.episode.started_at <= told.at) {
                return; // the live episode tells of that time already
            }
            if self.lanes.get(&key).is_some_and(|lane| told.at < lane.last_at) {
                self.close_history(key); // another stretch of history begins
            }
        }
        let first = !self.lanes.contains_key(&key);
        if first {
            if !told.good || !limits.any_beyond(told.value) {
                return;
            }
            let id = if key.late { 0 } else { self.number() };
            let subject = Subject::Point(key.point, watched.info.id.clone());
            let severity = levels.first().map_or(rule.severity(), |level| level.severity);
            let mut episode = begin(id, &rule.id, subject, watched.info.base.clone(), severity, told.at);
            episode.late = key.late;
            self.lanes.insert(key, Lane::new(episode, levels.len()));
            if key.late {
                self.schedule(Timer::History(key), now.plus_ms(self.settings.history_idle_ms));
            } else {
                self.open.insert(id, Piece::Lane(key));
            }
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.heard_at = now;
        let step = if told.good {
            lane.handle_good(&limits, told.value, told.at, first)
        } else {
            lane.handle_uncertain(&limits, told.value, told.at);
            Step::Quiet
        };
        self.dirty.insert(Piece::Lane(key));
        self.follow(key, step);
    }

    fn follow(&mut self, key: LaneKey, step: Step) {
        match step {
            Step::Quiet => {}
            Step::Goes(kind) => {
                if let (false, Some(lane)) = (key.late, self.lanes.get(&key)) {
                    self.changes.push_back(Change { kind, episode: lane.episode.clone() });
                }
            }
            Step::Over(kind) => {
                let Some(mut lane) = self.lanes.remove(&key) else { return };
                if !key.late {
                    self.open.remove(&lane.episode.id);
                } else if kind == ChangeKind::Resolved {
                    lane.episode.id = self.number();
                } else {
                    return;
                }
                self.changes.push_back(Change { kind, episode: lane.episode });
            }
        }
    }

    /// Ends what late readings have told so far at the last of them.
    fn close_history(&mut self, key: LaneKey) {
        let Some(mut lane) = self.lanes.remove(&key) else { return };
        self.dirty.insert(Piece::Lane(key));
        if lane.episode.phase == Phase::Firing {
            lane.episode.id = self.number();
            lane.episode.phase = Phase::Resolved;
            lane.episode.resolved_at = Some(lane.last_at);
            self.changes.push_back(Change { kind: ChangeKind::Resolved, episode: lane.episode });
        }
    }

    /// Closes history that nobody has continued until `timer_due`. One that was looked at too early waits its
    /// turn even if its time has come too: what ends in one moment ends in the order of its last readings, which a
    /// restart keeps, and not of its timers, which it forgets.
    pub(super) fn review_history(&mut self, key: LaneKey, timer_due: Timestamp) {
        let Some(lane) = self.lanes.get(&key) else { return };
        let due = lane.heard_at.plus_ms(self.settings.history_idle_ms);
        if due <= timer_due {
            self.close_history(key);
        } else {
            self.schedule(Timer::History(key), due);
        }
    }
}
