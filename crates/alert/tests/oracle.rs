//! The engine against a slow reference that keeps the whole log and judges every reading by looking back over all of it,
//! over seeded random logs, with restarts from stored deltas in the middle.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use sitian_alert::{Change, Engine, Mark, Rules, SavedState, Settings, Vocabulary, WatchedPoint};
use sitian_model::{Cause, EpochNo, PointId, PointNo, Quality, Row, Timestamp};

const RULES: &str = r#"
[[rule]]
id = "high"
name = { zh = "高", en = "High" }
kind = "above"
measurement = "m"
for = "20s"
levels = [
  { severity = "blue", threshold = 10, clear = 9, for = "0s" },
  { severity = "yellow", threshold = 20, clear = 18 },
  { severity = "red", threshold = 30, clear = 20, for = "40s" },
]
source = "test"
verified = "U"

[[rule]]
id = "low"
name = { zh = "低", en = "Low" }
kind = "below"
inclusive = true
measurement = "m"
for = "30s"
levels = [{ severity = "orange", threshold = 5, clear = 7 }]
source = "test"
verified = "U"
"#;

struct Level {
    severity: &'static str,
    threshold: f64,
    clear: f64,
    for_ms: i64,
}

struct Rule {
    id: &'static str,
    sign: f64,
    inclusive: bool,
    levels: &'static [Level],
}

const REFERENCE: &[Rule] = &[
    Rule {
        id: "high",
        sign: 1.0,
        inclusive: false,
        levels: &[
            Level { severity: "blue", threshold: 10.0, clear: 9.0, for_ms: 0 },
            Level { severity: "yellow", threshold: 20.0, clear: 18.0, for_ms: 20_000 },
            Level { severity: "red", threshold: 30.0, clear: 20.0, for_ms: 40_000 },
        ],
    },
    Rule {
        id: "low",
        sign: -1.0,
        inclusive: true,
        levels: &[Level { severity: "orange", threshold: 5.0, clear: 7.0, for_ms: 30_000 }],
    },
];

const INTERVAL_MS: i64 = 10_000;

/// A reading that came in order.
#[derive(Clone, Copy)]
struct Seen {
    at: i64,
    value: f64,
    good: bool,
}

impl Rule {
    fn beyond(&self, level: &Level, value: f64) -> bool {
        let margin = (value - level.threshold) * self.sign;
        margin > 0.0 || self.inclusive && margin == 0.0
    }

    fn cleared(&self, level: &Level, value: f64) -> bool {
        (value - level.clear) * self.sign <= 0.0
    }

    /// Looking back from the last reading of the log: how long has the value been beyond the threshold without a good
    /// reading to the contrary? `None` if the log does not end in a good reading beyond it.
    fn held(&self, level: &Level, log: &[Seen]) -> Option<i64> {
        let stretch = log.iter().rposition(|s| s.good && !self.beyond(level, s.value)).map_or(0, |n| n + 1);
        let log = &log[stretch..];
        let log = &log[log.iter().position(|s| s.good)?..];
        let agreeing: Vec<_> = log.iter().filter(|s| self.beyond(level, s.value)).collect();
        let steps = agreeing.windows(2).map(|pair| pair[1].at - pair[0].at);
        Some(steps.filter(|step| *step <= INTERVAL_MS * 5 / 2).sum())
    }

    /// The worst active level after the whole log, and what is told at every reading on the way.
    fn fold(&self, log: &[Seen]) -> Vec<String> {
        let mut told = Vec::new();
        let (mut active, mut begun, mut since) = (vec![false; self.levels.len()], 0, None);
        for n in 0..log.len() {
            let Seen { at, value, good } = log[n];
            if !good {
                continue;
            }
            let before = active.iter().rposition(|a| *a);
            for (l, level) in self.levels.iter().enumerate() {
                // A level that was active does not add to what it held before: it begins anew when it has cleared.
                let enough = self.held(level, &log[begun..=n]).is_some_and(|ms| ms >= level.for_ms);
                active[l] = if active[l] { !self.cleared(level, value) } else { enough };
            }
            let now = active.iter().rposition(|a| *a);
            active[..now.unwrap_or(0)].fill(true);
            let holding = self.levels.iter().rposition(|level| self.beyond(level, value));
            let start = since.unwrap_or(at);
            let name = |l: usize| self.levels[l].severity;
            let (kind, severity) = match (since, before, now, holding) {
                (None, _, Some(l), _) => ("fired", name(l)),
                (None, _, None, Some(l)) => ("pending", name(l)),
                (None, ..) => continue,
                (Some(_), None, Some(l), _) => ("fired", name(l)),
                (Some(_), None, None, None) => ("dropped", ""),
                (Some(_), None, None, Some(_)) => continue,
                (Some(_), Some(_), None, _) => ("resolved", ""),
                (Some(_), Some(b), Some(l), _) if l > b => ("escalated", name(l)),
                (Some(_), Some(b), Some(l), _) if l < b => ("eased", name(l)),
                _ => continue,
            };
            told.push(format!("{at}: {} {kind} {severity} since {start}", self.id));
            since = if severity.is_empty() { None } else { Some(start) };
            if severity.is_empty() {
                begun = n + 1;
            }
        }
        told
    }
}

/// A small generator of our own, so that a seed means the same log for ever.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn random_log(dice: &mut Dice) -> Vec<(Row, Timestamp)> {
    let (mut at, mut value, mut newest) = (1_000_000, 12.0, 0);
    let mut log = Vec::new();
    for seq in 0..200 {
        at += match dice.below(20) {
            0 => 26_000,
            1 => 600_000,
            2 => 25_000,
            3 => 5_000,
            _ => INTERVAL_MS,
        };
        newest = newest.max(at);
        let late = dice.below(12) == 0;
        let sample_at = if late { at - 15_000 - dice.below(200_000) as i64 } else { at };
        value = (value + dice.below(13) as f64 - 6.0f64).clamp(0.0, 40.0);
        let quality = match dice.below(10) {
            0 => Quality::Uncertain(Cause::Implausible),
            1 => Quality::Bad(Cause::Timeout),
            2 if late => Quality::Uncertain(Cause::ClockUnknown),
            _ => Quality::Good,
        };
        let value = (!matches!(quality, Quality::Bad(_))).then_some(value);
        let row = Row { point: PointNo(1), at: Timestamp(sample_at), value, quality, epoch: EpochNo(1), seq };
        log.push((row, Timestamp(newest)));
    }
    log
}

fn fresh(now: Timestamp) -> Engine {
    let rules = Rules::parse(&[("test.toml", RULES)], &Vocabulary::any()).unwrap();
    Engine::new(rules, Settings::default(), now)
}

fn watch(engine: &mut Engine, now: Timestamp) {
    let point = WatchedPoint {
        point: PointNo(1),
        id: PointId::parse("gw/dev/m").unwrap(),
        base: None,
        measurement: "m".into(),
        interval_ms: INTERVAL_MS as u32,
        place: String::new(),
        territory: Vec::new(),
    };
    engine.register(point, now);
}

/// What a store would hold after all deltas so far.
#[derive(Default)]
struct Stored {
    states: BTreeMap<String, Option<String>>,
    marks: BTreeMap<PointNo, Mark>,
}

impl Stored {
    fn commit(&mut self, engine: &mut Engine) {
        let delta = engine.take_delta();
        self.states.extend(delta.states.into_iter().map(|s| (s.key, s.body)));
        self.states.retain(|_, body| body.is_some());
        self.marks.extend(delta.marks.into_iter().map(|m| (m.point, m)));
    }

    fn revive(&self, now: Timestamp) -> Engine {
        let states: Vec<_> = self
            .states
            .iter()
            .map(|(key, body)| SavedState { key: key.clone(), body: body.clone() })
            .collect();
        let marks: Vec<_> = self.marks.values().copied().collect();
        let mut engine = fresh(now);
        assert_eq!(engine.restore(&states, &marks, now), Vec::<String>::new());
        watch(&mut engine, now);
        engine
    }
}

fn run(log: &[(Row, Timestamp)], mut restart: impl FnMut() -> bool) -> Vec<Change> {
    let mut engine = fresh(Timestamp(0));
    watch(&mut engine, Timestamp(0));
    let (mut told, mut stored) = (Vec::new(), Stored::default());
    for (row, now) in log {
        engine.handle_timeout(*now);
        engine.observe(row, *now);
        told.extend(std::iter::from_fn(|| engine.poll_change()));
        stored.commit(&mut engine);
        assert_eq!(engine.snapshot().states.len(), stored.states.len(), "deltas add up to the snapshot");
        if restart() {
            engine = stored.revive(*now);
        }
    }
    told
}

#[test]
fn the_engine_tells_what_the_reference_tells() {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 1..=400 {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed));
        let log = random_log(&mut dice);
        let changes = run(&log, || false);

        let mut newest = i64::MIN;
        let mut in_order = Vec::new();
        for (row, _) in &log {
            if row.quality.cause() == Some(Cause::ClockUnknown) || row.at.0 < newest {
                continue;
            }
            newest = row.at.0;
            in_order.extend(row.value.map(|value| Seen {
                at: row.at.0,
                value,
                good: row.quality == Quality::Good,
            }));
        }
        for rule in REFERENCE {
            let told: Vec<_> = changes
                .iter()
                .filter(|c| c.episode.rule == rule.id && !c.episode.late)
                .map(|c| {
                    let e = &c.episode;
                    *kinds.entry(c.kind.word()).or_default() += 1;
                    let over = e.resolved_at.is_some();
                    let severity = if over { "" } else { e.severity.word() };
                    (c.kind.word(), severity, e.started_at.0, e.rule.clone())
                })
                .collect();
            let expected = rule.fold(&in_order);
            let told: Vec<_> = told
                .iter()
                .map(|(kind, severity, start, id)| format!("{id} {kind} {severity} since {start}"))
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|line| line.split_once(": ").unwrap().1.to_owned()).collect();
            assert_eq!(told, expected, "seed {seed}");
        }
    }
    for kind in ["pending", "fired", "escalated", "eased", "resolved", "dropped"] {
        assert!(kinds.get(kind).is_some_and(|n| *n > 100), "the logs reach every kind: {kinds:?}");
    }
}

#[test]
fn restarts_between_any_two_readings_change_nothing() {
    let mut late = 0;
    for seed in 1..=60 {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed));
        let log = random_log(&mut dice);
        let whole = run(&log, || false);
        assert_eq!(run(&log, || true), whole, "seed {seed}");
        assert_eq!(run(&log, || dice.below(17) == 0), whole, "seed {seed}");
        late += whole.iter().filter(|c| c.episode.late).count();
        let begun: Vec<u64> = whole.iter().map(|c| c.episode.id).collect();
        assert!(begun.iter().all(|id| *id > 0), "every told episode has a number");
    }
    assert!(late > 20, "the logs reach history: {late}");
}
