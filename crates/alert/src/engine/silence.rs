//! Waits for signs of life: readings with a value from points, a link from gateways.
//!
//! A gateway that is offline speaks for its points: their silence is not told. After it is back they get their full
//! patience again. After a start of the engine the same holds for everybody: a gateway remembered as online counts as
//! offline only when the grace is over and it has not come back.

use sitian_model::{GatewayId, PointNo, Timestamp};

use super::{Engine, Piece, RuleNo, SilenceKey, Timer, Watched, begin, mark_dirty};
use crate::rule::{Condition, SilenceLevel, Silent};
use crate::{Change, ChangeKind, Episode, Phase, Subject};

/// What is known about a gateway's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Never told: nothing is said about it.
    Unknown,
    Online,
    Offline {
        /// As told.
        since: Timestamp,
        /// Patience is counted from here (the ingestor's clock).
        heard_at: Timestamp,
    },
}

/// A silence that is being told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Silence {
    pub episode: Episode,
    /// Patience is counted from here.
    pub reference: Timestamp,
}

impl Engine {
    /// The gateway's link is up.
    pub fn gateway_online(&mut self, gateway: &GatewayId, now: Timestamp) {
        let Some(entry) = self.gateways.get_mut(gateway) else { return };
        if entry.link == Link::Online {
            return;
        }
        entry.link = Link::Online;
        entry.back_at = now;
        let points: Vec<PointNo> = entry.points.iter().copied().collect();
        self.dirty.insert(Piece::Gateway(gateway.clone()));
        for rule in self.dark_rules() {
            let key = SilenceKey::Gateway(rule, gateway.clone());
            self.end_silence(&key, now);
        }
        for point in points {
            let rules = self.points.get(&point).map(|w| w.silence_rules.clone()).unwrap_or_default();
            for rule in rules {
                self.review_silence(SilenceKey::Point(rule, point), now);
            }
        }
    }

    /// The gateway's link is down since `at`, as far as it or the broker could tell. Told again, nothing changes.
    pub fn gateway_offline(&mut self, gateway: &GatewayId, at: Timestamp, now: Timestamp) {
        let Some(entry) = self.gateways.get_mut(gateway) else { return };
        if matches!(entry.link, Link::Offline { .. }) {
            return;
        }
        // A board without a clock may say 1970, one with a wrong clock tomorrow.
        let since = if at.0 > 0 && at <= now { at } else { now };
        entry.link = Link::Offline { since, heard_at: now };
        self.dirty.insert(Piece::Gateway(gateway.clone()));
        for rule in self.dark_rules() {
            self.review_silence(SilenceKey::Gateway(rule, gateway.clone()), now);
        }
    }

    /// The centre itself hears nothing (its broker is away, it was suspended): until [`Self::handle_hearing`] nobody's
    /// silence is held against them. What fires already goes on firing.
    pub fn handle_deaf(&mut self) {
        self.deaf = true;
    }

    /// The centre hears again: everybody gets the patience and the grace of a start.
    pub fn handle_hearing(&mut self, now: Timestamp) {
        self.deaf = false;
        self.started_at = now;
        let mut again: Vec<SilenceKey> = Vec::new();
        let dark = self.dark_rules();
        for (id, gateway) in &mut self.gateways {
            gateway.back_at = now;
            if gateway.link == Link::Online {
                gateway.link = Link::Offline { since: now, heard_at: now };
            }
            again.extend(dark.iter().map(|rule| SilenceKey::Gateway(*rule, id.clone())));
            for point in &gateway.points {
                let rules = self.points.get(point).map_or(&[] as &[RuleNo], |w| &w.silence_rules);
                again.extend(rules.iter().map(|rule| SilenceKey::Point(*rule, *point)));
            }
        }
        for key in again {
            self.review_silence(key, now);
        }
    }

    /// The rules about gateways that have a say here.
    pub(super) fn dark_rules(&self) -> Vec<RuleNo> {
        let dark = |c: &Condition| matches!(c, Condition::Silence { of: Silent::Gateway, .. });
        self.rules.iter().enumerate().filter(|(_, r)| dark(&r.condition)).map(|(n, _)| n as RuleNo).collect()
    }

    /// A reading with a value, taken (or, without a clock, arrived) at `at`.
    pub(super) fn handle_life(&mut self, watched: &Watched, at: Timestamp, now: Timestamp) {
        let point = watched.info.point;
        let seen = self.seen.entry(point).or_default();
        if seen.data_at >= Some(at) {
            return;
        }
        seen.data_at = Some(at);
        mark_dirty(seen, &mut self.seen_dirty, point);
        for &rule in &watched.silence_rules {
            let key = SilenceKey::Point(rule, point);
            if self.silences.contains_key(&key)
                && let Some(patience_ms) = self.patience_ms(rule, watched.info.interval_ms)
                && now.since_ms(at) < patience_ms
            {
                self.end_silence(&key, at);
                self.review_silence(key, now);
            }
        }
    }

    /// How long the mildest level waits.
    fn patience_ms(&self, rule: RuleNo, interval_ms: u32) -> Option<i64> {
        match &self.rules.at(rule.into())?.condition {
            Condition::Silence { levels, .. } => levels.first().map(|level| level.patience_ms(interval_ms)),
            Condition::Value { .. } => None,
        }
    }

    fn end_silence(&mut self, key: &SilenceKey, at: Timestamp) {
        let Some(mut silence) = self.silences.remove(key) else { return };
        self.dirty.insert(Piece::Silence(key.clone()));
        self.open.remove(&silence.episode.id);
        silence.episode.phase = Phase::Resolved;
        silence.episode.resolved_at = Some(at);
        self.changes.push_back(Change { kind: ChangeKind::Resolved, episode: silence.episode });
    }

    /// Fires or escalates what has run out of patience, and asks to be woken for what comes next.
    pub(super) fn review_silence(&mut self, key: SilenceKey, now: Timestamp) {
        if self.deaf {
            return; // reviewed again when the centre hears
        }
        let rules = self.rules.clone();
        let (SilenceKey::Point(rule, _) | SilenceKey::Gateway(rule, _)) = key;
        let Some(rule) = rules.at(rule.into()) else { return };
        let Condition::Silence { levels, .. } = &rule.condition else { return };
        let Some(quiet) = self.quiet(&key, &rule.scope) else { return };
        let firing = self.silences.get(&key);
        let reference = firing.map_or(quiet.reference, |silence| silence.reference);
        let due = |level: &SilenceLevel| {
            reference.plus_ms(level.patience_ms(quiet.interval_ms)).max(quiet.not_before)
        };
        let reached = levels.iter().rposition(|level| due(level) <= now);
        let next = levels.get(reached.map_or(0, |n| n + 1)).map(due);
        if let Some(level) = reached.and_then(|n| levels.get(n)) {
            let threshold = Some(level.patience_ms(quiet.interval_ms) as f64);
            if let Some(silence) = self.silences.get_mut(&key) {
                if level.severity > silence.episode.severity {
                    let episode = &mut silence.episode;
                    (episode.severity, episode.threshold) = (level.severity, threshold);
                    episode.severity_worst = episode.severity_worst.max(level.severity);
                    self.changes.push_back(Change { kind: ChangeKind::Escalated, episode: episode.clone() });
                    self.dirty.insert(Piece::Silence(key.clone()));
                }
            } else {
                let id = self.number();
                let mut episode = begin(id, &rule.id, quiet.subject, quiet.base, level.severity, quiet.since);
                (episode.phase, episode.fired_at, episode.threshold) =
                    (Phase::Firing, Some(due(level)), threshold);
                self.changes.push_back(Change { kind: ChangeKind::Fired, episode: episode.clone() });
                self.open.insert(id, Piece::Silence(key.clone()));
                self.dirty.insert(Piece::Silence(key.clone()));
                self.silences.insert(key.clone(), Silence { episode, reference });
            }
        }
        if let Some(due) = next {
            self.schedule(Timer::Silence(key), due);
        }
    }

    /// What the subject's silence looks like; `None` while it is not silent or somebody else speaks for it.
    fn quiet(&self, key: &SilenceKey, scope: &crate::rule::Scope) -> Option<Quiet> {
        match key {
            SilenceKey::Point(_, point) => {
                let watched = self.points.get(point)?;
                let gateway = self.gateways.get(&watched.info.id.gateway)?;
                if matches!(gateway.link, Link::Offline { .. }) {
                    return None; // reviewed again when the gateway is back
                }
                let data_at = self.seen.get(point).and_then(|seen| seen.data_at);
                Some(Quiet {
                    subject: Subject::Point(*point, watched.info.id.clone()),
                    base: watched.info.base.clone(),
                    since: data_at.unwrap_or(watched.since),
                    reference: data_at.unwrap_or(watched.since).max(watched.since).max(gateway.back_at),
                    not_before: Timestamp(i64::MIN),
                    interval_ms: watched.info.interval_ms,
                })
            }
            SilenceKey::Gateway(_, id) => {
                let gateway = self.gateways.get(id)?;
                let Link::Offline { since, heard_at } = gateway.link else { return None };
                if !scope.covers(None, &gateway.territory, "") {
                    return None;
                }
                Some(Quiet {
                    subject: Subject::Gateway(id.clone()),
                    base: gateway.base.clone(),
                    since,
                    reference: heard_at,
                    not_before: self.started_at.plus_ms(self.settings.start_grace_ms),
                    interval_ms: 0,
                })
            }
        }
    }
}

struct Quiet {
    subject: Subject,
    base: Option<sitian_model::BaseId>,
    since: Timestamp,
    reference: Timestamp,
    not_before: Timestamp,
    interval_ms: u32,
}
