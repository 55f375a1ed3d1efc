//! One value rule watching one point: which levels hold, since how long, and the episode they make.
//!
//! A level is idle, holding (beyond its threshold, not yet for long enough) or active (until its clear value). The levels
//! of a rule are nested: an active level keeps every milder one active. Time is counted between consecutive readings that
//! agree, in sample time; a step wider than the gap limit counts nothing, so a hole in the data freezes a duration.
//!
//! An uncertain reading beyond the threshold lets a held duration run on; it never begins, fires, worsens or ends anything.

use sitian_model::Timestamp;

use crate::rule::{Side, ValueLevel};
use crate::{ChangeKind, Episode, Phase};

/// Where one level stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LevelState {
    Idle,
    /// Beyond the threshold for this long, last at that time.
    Holding {
        held_ms: i64,
        last_at: Timestamp,
    },
    Active,
}

/// The limits of the rule and of the point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub side: Side,
    pub inclusive: bool,
    pub levels: &'a [ValueLevel],
    /// Steps wider than this count nothing.
    pub gap_ms: i64,
}

impl Limits<'_> {
    pub(crate) fn beyond(&self, level: &ValueLevel, value: f64) -> bool {
        match (self.side, self.inclusive) {
            (Side::Above, false) => value > level.threshold,
            (Side::Above, true) => value >= level.threshold,
            (Side::Below, false) => value < level.threshold,
            (Side::Below, true) => value <= level.threshold,
        }
    }

    /// True if the value is beyond the mildest level.
    pub(crate) fn any_beyond(&self, value: f64) -> bool {
        self.levels.first().is_some_and(|level| self.beyond(level, value))
    }

    fn cleared(&self, level: &ValueLevel, value: f64) -> bool {
        match self.side {
            Side::Above => value <= level.clear,
            Side::Below => value >= level.clear,
        }
    }

    fn farther(&self, a: f64, b: f64) -> f64 {
        match self.side {
            Side::Above => a.max(b),
            Side::Below => a.min(b),
        }
    }
}

/// Memory of one rule about one point while anything holds. `episode` always matches the levels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lane {
    pub levels: Vec<LevelState>,
    pub episode: Episode,
    /// The newest reading that reached this lane.
    pub last_at: Timestamp,
    /// When that was, by the ingestor's clock.
    pub heard_at: Timestamp,
}

/// What a reading did to a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// At most values changed.
    Quiet,
    /// The episode changed and goes on.
    Goes(ChangeKind),
    /// The episode is over.
    Over(ChangeKind),
}

impl Lane {
    /// A lane whose first reading follows; the caller has seen that it is beyond the mildest level.
    pub(crate) fn new(episode: Episode, levels: usize) -> Self {
        let (last_at, heard_at) = (episode.started_at, episode.started_at);
        Self { levels: vec![LevelState::Idle; levels], episode, last_at, heard_at }
    }

    /// A good reading, not older than any before it. `first`: it begins the lane.
    pub(crate) fn handle_good(
        &mut self,
        limits: &Limits<'_>,
        value: f64,
        at: Timestamp,
        first: bool,
    ) -> Step {
        for (state, level) in self.levels.iter_mut().zip(limits.levels) {
            *state = match *state {
                LevelState::Active if limits.cleared(level, value) => LevelState::Idle,
                LevelState::Active => LevelState::Active,
                _ if !limits.beyond(level, value) => LevelState::Idle,
                state => {
                    let held_ms = held_on(state, at, limits.gap_ms);
                    let enough = held_ms >= level.for_ms;
                    if enough { LevelState::Active } else { LevelState::Holding { held_ms, last_at: at } }
                }
            };
        }
        if let Some(top) = self.top_active() {
            self.levels[..top].fill(LevelState::Active);
        }
        self.last_at = at;
        self.retell(limits, value, at, first)
    }

    /// An uncertain reading with a value, not older than any before it.
    pub(crate) fn handle_uncertain(&mut self, limits: &Limits<'_>, value: f64, at: Timestamp) {
        for (state, level) in self.levels.iter_mut().zip(limits.levels) {
            if matches!(state, LevelState::Holding { .. }) && limits.beyond(level, value) {
                *state = LevelState::Holding { held_ms: held_on(*state, at, limits.gap_ms), last_at: at };
            }
        }
        self.last_at = at;
    }

    fn top_active(&self) -> Option<usize> {
        self.levels.iter().rposition(|state| *state == LevelState::Active)
    }

    fn retell(&mut self, limits: &Limits<'_>, value: f64, at: Timestamp, first: bool) -> Step {
        let active = self.top_active();
        let holding = self.levels.iter().rposition(|state| *state != LevelState::Idle);
        let episode = &mut self.episode;
        episode.value = Some(value);
        let Some(level) = active.or(holding).and_then(|n| limits.levels.get(n)) else {
            episode.resolved_at = Some(at);
            let fired = episode.phase == Phase::Firing;
            episode.phase = Phase::Resolved;
            return Step::Over(if fired { ChangeKind::Resolved } else { ChangeKind::Dropped });
        };
        let before = episode.severity;
        episode.peak = Some(episode.peak.map_or(value, |peak| limits.farther(peak, value)));
        episode.severity = level.severity;
        episode.severity_worst = episode.severity_worst.max(level.severity);
        episode.threshold = Some(level.threshold);
        match (episode.phase, active) {
            (Phase::Firing, _) if level.severity > before => Step::Goes(ChangeKind::Escalated),
            (Phase::Firing, _) if level.severity < before => Step::Goes(ChangeKind::Eased),
            (Phase::Firing, _) => Step::Quiet,
            (_, Some(_)) => {
                episode.phase = Phase::Firing;
                episode.fired_at = Some(at);
                episode.severity_worst = level.severity;
                Step::Goes(ChangeKind::Fired)
            }
            (_, None) if first => Step::Goes(ChangeKind::Pending),
            (_, None) => Step::Quiet,
        }
    }
}

/// How long a level has been held when it is still beyond its threshold at `at`.
fn held_on(state: LevelState, at: Timestamp, gap_ms: i64) -> i64 {
    let LevelState::Holding { held_ms, last_at } = state else { return 0 };
    let step_ms = at.since_ms(last_at);
    if step_ms <= gap_ms { held_ms.saturating_add(step_ms) } else { held_ms }
}
