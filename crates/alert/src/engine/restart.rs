//! What has to be stored so that a restart continues, and how it is taken back.

use sitian_model::{GatewayId, PointNo, Timestamp};

use super::lane::{Lane, LevelState};
use super::silence::{Link, Silence};
use super::{Engine, LaneKey, Piece, Seen, SilenceKey, Timer};
use crate::rule::{Condition, Rules, ValueLevel};
use crate::saved::text::{CounterText, EpisodeText, GatewayText, LaneText, LevelText, SilenceText};
use crate::{Delta, Episode, Mark, SavedState};

impl Engine {
    /// What has changed since this was last called: to be stored in the same transaction as the rows and the changes
    /// that caused it.
    pub fn take_delta(&mut self) -> Delta {
        let pieces = std::mem::take(&mut self.dirty);
        let forgotten =
            std::mem::take(&mut self.forgotten).into_iter().map(|key| SavedState { key, body: None });
        let states = forgotten.chain(pieces.iter().filter_map(|piece| self.save(piece))).collect();
        let mut points = std::mem::take(&mut self.seen_dirty);
        points.sort_unstable();
        for point in &points {
            if let Some(seen) = self.seen.get_mut(point) {
                seen.dirty = false;
            }
        }
        Delta { states, marks: points.into_iter().filter_map(|point| self.mark(point)).collect() }
    }

    /// The whole memory, in the form of one delta from nothing.
    pub fn snapshot(&self) -> Delta {
        let pieces = std::iter::once(Piece::Counter)
            .chain(self.lanes.keys().map(|key| Piece::Lane(*key)))
            .chain(self.silences.keys().cloned().map(Piece::Silence))
            .chain(self.gateways.keys().cloned().map(Piece::Gateway));
        let states =
            pieces.filter_map(|piece| self.save(&piece)).filter(|state| state.body.is_some()).collect();
        let mut points: Vec<PointNo> = self.seen.keys().copied().collect();
        points.sort_unstable();
        Delta { states, marks: points.into_iter().filter_map(|point| self.mark(point)).collect() }
    }

    /// Takes back what was stored, in any order; called once, on a new engine, before points are registered. What belongs
    /// to rules that are gone is dropped, with its changes. Returns the keys that could not be read: they are forgotten.
    pub fn restore(&mut self, states: &[SavedState], marks: &[Mark], now: Timestamp) -> Vec<String> {
        for mark in marks {
            let seen = Seen { newest_at: mark.newest_at, data_at: mark.data_at, dirty: false };
            self.seen.insert(mark.point, seen);
        }
        let mut sorted: Vec<&SavedState> = states.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key)); // the order of dropped episodes does not depend on the store
        let mut unreadable = Vec::new();
        for state in sorted {
            let Some(body) = &state.body else { continue };
            if self.take_back(&state.key, body, now).is_none() {
                unreadable.push(state.key.clone());
            }
        }
        // A lost counter must not make numbers twice.
        let highest = self.open.last_key_value().map_or(0, |(id, _)| *id);
        self.last_episode = self.last_episode.max(highest);
        unreadable
    }

    fn mark(&self, point: PointNo) -> Option<Mark> {
        let seen = self.seen.get(&point)?;
        Some(Mark { point, newest_at: seen.newest_at, data_at: seen.data_at })
    }

    fn save(&self, piece: &Piece) -> Option<SavedState> {
        let body = match piece {
            Piece::Counter if self.last_episode == 0 => None,
            Piece::Counter => toml::to_string(&CounterText { episodes_begun: self.last_episode }).ok(),
            Piece::Lane(key) => self.lanes.get(key).and_then(|lane| {
                let levels = value_levels(&self.rules, key.rule)?;
                toml::to_string(&lane_text(lane, levels)).ok()
            }),
            Piece::Silence(key) => self.silences.get(key).and_then(|silence| {
                let episode = EpisodeText::from(&silence.episode);
                toml::to_string(&SilenceText { reference: silence.reference.0, episode }).ok()
            }),
            Piece::Gateway(id) => self.gateways.get(id).and_then(|gateway| match gateway.link {
                Link::Unknown => None,
                Link::Online => {
                    toml::to_string(&GatewayText { online: true, since: None, heard_at: None }).ok()
                }
                Link::Offline { since, heard_at } => {
                    let (since, heard_at) = (Some(since.0), Some(heard_at.0));
                    toml::to_string(&GatewayText { online: false, since, heard_at }).ok()
                }
            }),
        };
        Some(SavedState { key: self.key(piece)?, body })
    }

    fn key(&self, piece: &Piece) -> Option<String> {
        let rule = |n: u16| self.rules.at(n.into()).map(|rule| rule.id.as_str());
        Some(match piece {
            Piece::Counter => "counter".to_owned(),
            Piece::Lane(LaneKey { rule: n, point, late: false }) => {
                format!("lane/live/{}/{}", rule(*n)?, point.0)
            }
            Piece::Lane(LaneKey { rule: n, point, late: true }) => {
                format!("lane/late/{}/{}", rule(*n)?, point.0)
            }
            Piece::Silence(SilenceKey::Point(n, point)) => format!("silence/point/{}/{}", rule(*n)?, point.0),
            Piece::Silence(SilenceKey::Gateway(n, gateway)) => {
                format!("silence/gateway/{}/{gateway}", rule(*n)?)
            }
            Piece::Gateway(gateway) => format!("gateway/{gateway}"),
        })
    }

    fn take_back(&mut self, key: &str, body: &str, now: Timestamp) -> Option<()> {
        let parts: Vec<&str> = key.split('/').collect();
        match parts.as_slice() {
            ["counter"] => self.last_episode = toml::from_str::<CounterText>(body).ok()?.episodes_begun,
            ["gateway", id] => self.take_back_gateway(&GatewayId::new(id).ok()?, body)?,
            ["lane", lane @ ("live" | "late"), rule, point] => {
                let point = PointNo(point.parse().ok()?);
                let text: LaneText = toml::from_str(body).ok()?;
                let episode = text.episode.read()?;
                let Some((number, levels)) = self.rules.position(rule).and_then(|position| {
                    let number = u16::try_from(position).ok()?;
                    Some((number, value_levels(&self.rules, number)?.to_vec()))
                }) else {
                    self.forget(key, episode, now);
                    return Some(());
                };
                let key = LaneKey { rule: number, point, late: *lane == "late" };
                self.put_lane(key, &text, episode, &levels);
            }
            ["silence", of @ ("point" | "gateway"), rule, subject] => {
                let text: SilenceText = toml::from_str(body).ok()?;
                let episode = text.episode.read()?;
                let silence = |n: &u16| {
                    self.rules
                        .at(usize::from(*n))
                        .is_some_and(|r| matches!(r.condition, Condition::Silence { .. }))
                };
                let Some(number) = self.rules.position(rule).map(|position| position as u16).filter(silence)
                else {
                    self.forget(key, episode, now);
                    return Some(());
                };
                let key = match *of {
                    "point" => SilenceKey::Point(number, PointNo(subject.parse().ok()?)),
                    _ => SilenceKey::Gateway(number, GatewayId::new(subject).ok()?),
                };
                self.open.insert(episode.id, Piece::Silence(key.clone()));
                self.silences.insert(key.clone(), Silence { episode, reference: Timestamp(text.reference) });
                self.schedule(Timer::Silence(key), now); // looked at once, to find the next level
            }
            _ => return None,
        }
        Some(())
    }

    /// A gateway remembered as online is offline from the start of this engine on, until it says otherwise; the grace
    /// keeps that from being told too early.
    fn take_back_gateway(&mut self, id: &GatewayId, body: &str) -> Option<()> {
        let text: GatewayText = toml::from_str(body).ok()?;
        let started_at = self.started_at;
        self.register_gateway(id, None, &[]);
        let since = if text.online { started_at } else { text.since.map_or(started_at, Timestamp) };
        let heard_at = if text.online { started_at } else { text.heard_at.map_or(started_at, Timestamp) };
        if let Some(gateway) = self.gateways.get_mut(id) {
            gateway.link = Link::Offline { since, heard_at };
        }
        for rule in self.dark_rules() {
            self.schedule(Timer::Silence(SilenceKey::Gateway(rule, id.clone())), started_at);
        }
        Some(())
    }

    fn put_lane(&mut self, key: LaneKey, text: &LaneText, episode: Episode, levels: &[ValueLevel]) {
        // By colour, not by position: the rule's levels may have been edited in between.
        let state = |level: &ValueLevel| {
            let saved = text.levels.iter().find(|saved| saved.severity == level.severity.word());
            match saved.map(|saved| (saved.active, saved.held_ms, saved.last_at)) {
                Some((true, ..)) => LevelState::Active,
                Some((false, Some(held_ms), Some(at))) => {
                    LevelState::Holding { held_ms, last_at: Timestamp(at) }
                }
                _ => LevelState::Idle,
            }
        };
        let levels = levels.iter().map(state).collect();
        let (last_at, heard_at) = (Timestamp(text.last_at), Timestamp(text.heard_at));
        if key.late {
            self.schedule(Timer::History(key), heard_at.plus_ms(self.settings.history_idle_ms));
        } else {
            self.open.insert(episode.id, Piece::Lane(key));
        }
        self.lanes.insert(key, Lane { levels, episode, last_at, heard_at });
    }

    /// The rule is gone: its episode is over, and its key is not needed any more.
    fn forget(&mut self, key: &str, episode: Episode, now: Timestamp) {
        self.forgotten.push(key.to_owned());
        if !episode.late {
            self.last_episode = self.last_episode.max(episode.id);
            self.tell_dropped(episode, now);
        }
    }
}

fn value_levels(rules: &Rules, rule: u16) -> Option<&[ValueLevel]> {
    match &rules.at(rule.into())?.condition {
        Condition::Value { levels, .. } => Some(levels),
        Condition::Silence { .. } => None,
    }
}

fn lane_text(lane: &Lane, levels: &[ValueLevel]) -> LaneText {
    let level = |(state, level): (&LevelState, &ValueLevel)| {
        let (held_ms, last_at) = match state {
            LevelState::Holding { held_ms, last_at } => (Some(*held_ms), Some(last_at.0)),
            LevelState::Idle | LevelState::Active => (None, None),
        };
        let active = *state == LevelState::Active;
        LevelText { severity: level.severity.word().to_owned(), active, held_ms, last_at }
    };
    LaneText {
        last_at: lane.last_at.0,
        heard_at: lane.heard_at.0,
        episode: EpisodeText::from(&lane.episode),
        levels: lane.levels.iter().zip(levels).map(level).collect(),
    }
}
