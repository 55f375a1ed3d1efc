//! What is watched: rules with their levels, scope and provenance. [`parse`] reads them from TOML.

use std::fmt;

use crate::Severity;

pub mod parse;

pub use parse::Vocabulary;

/// The built-in rule files: name and text.
pub fn builtin() -> &'static [(&'static str, &'static str)] {
    &[
        ("config/rules/air.toml", include_str!("../../../config/rules/air.toml")),
        ("config/rules/soil.toml", include_str!("../../../config/rules/soil.toml")),
        ("config/rules/water.toml", include_str!("../../../config/rules/water.toml")),
        ("config/rules/network.toml", include_str!("../../../config/rules/network.toml")),
    ]
}

/// All rules, in the order of their files. Ids are unique.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    list: Vec<Rule>,
}

impl Rules {
    /// Every rule.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.list.iter()
    }

    /// The rule of this id.
    pub fn get(&self, id: &str) -> Option<&Rule> {
        self.list.iter().find(|rule| rule.id == id)
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Rule> {
        self.list.get(index)
    }

    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.list.iter().position(|rule| rule.id == id)
    }
}

/// One rule: one family of limits on one quantity. Its levels share one episode, whose severity rises and falls.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Unique; `a-z 0-9 -`, at most 48 characters.
    pub id: String,
    /// Chinese name.
    pub name_zh: String,
    /// English name.
    pub name_en: String,
    /// What must be the case.
    pub condition: Condition,
    /// Where it looks.
    pub scope: Scope,
    /// The document and clause that the limits come from.
    pub source: String,
    /// How far the limits were checked against that document.
    pub verified: Verified,
    /// What else a person should know; may be empty.
    pub note: String,
}

/// What must be the case for a rule to fire.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A value beyond a threshold.
    Value {
        /// Which side is dangerous.
        side: Side,
        /// True: the threshold itself is already beyond.
        inclusive: bool,
        /// Mildest first; at least one; each more extreme than the one before.
        levels: Vec<ValueLevel>,
    },
    /// Nothing heard.
    Silence {
        /// Of whom.
        of: Silent,
        /// Mildest first; at least one; each more patient than the one before.
        levels: Vec<SilenceLevel>,
    },
}

/// The dangerous side of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// High values.
    Above,
    /// Low values.
    Below,
}

/// Who is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Silent {
    /// A point: no reading with a value (bad readings say why there is none, they are no sign of life).
    Point,
    /// A gateway: its link is down.
    Gateway,
}

/// One level of a value rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueLevel {
    /// Colour.
    pub severity: Severity,
    /// In the unit of the measurement.
    pub threshold: f64,
    /// Reaching this value ends the level; strictly on the safe side of the threshold.
    pub clear: f64,
    /// How long the value must stay beyond the threshold, in milliseconds of sample time.
    pub for_ms: i64,
}

/// One level of a silence rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SilenceLevel {
    /// Colour.
    pub severity: Severity,
    /// Silent for at least this long, in milliseconds.
    pub after_ms: i64,
    /// And for at least this many polling intervals of the point (0 for gateways).
    pub intervals: u32,
}

impl SilenceLevel {
    /// Patience with a point polled every `interval_ms`, in milliseconds.
    pub fn patience_ms(&self, interval_ms: u32) -> i64 {
        self.after_ms.max(i64::from(self.intervals).saturating_mul(i64::from(interval_ms)))
    }
}

/// Where a rule looks. Empty lists and `None` mean: anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Id in the catalogue of measurements.
    pub measurement: Option<String>,
    /// Ids of territory nodes, of any level: the point must stand under one of them.
    pub territory: Vec<String>,
    /// Words, one of which the device's place must contain, such as `棚`.
    pub place: Vec<String>,
    /// Words, none of which the device's place may contain.
    pub place_not: Vec<String>,
}

impl Scope {
    pub(crate) fn covers(&self, measurement: Option<&str>, territory: &[String], place: &str) -> bool {
        let holds = |words: &[String]| words.iter().any(|word| place.contains(word.as_str()));
        (self.measurement.is_none() || self.measurement.as_deref() == measurement)
            && (self.territory.is_empty() || self.territory.iter().any(|node| territory.contains(node)))
            && (self.place.is_empty() || holds(&self.place))
            && !holds(&self.place_not)
    }
}

/// How a limit was checked against its source: `P` read in the official text, `V` seen in a named secondary source,
/// `U` not checked; with the edition when it was seen in another one than is in force, as in `V-2005`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(String);

impl Verified {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mark, edition) =
            text.split_once('-').map_or((text, None), |(mark, edition)| (mark, Some(edition)));
        let year = edition.is_none_or(|e| e.len() == 4 && e.bytes().all(|b| b.is_ascii_digit()));
        (matches!(mark, "P" | "V" | "U") && year).then(|| Self(text.to_owned()))
    }

    /// The mark as written in the rule file.
    pub fn mark(&self) -> &str {
        &self.0
    }

    /// True if a person has to check the limits before anybody relies on them: they are unverified, or verified only
    /// in another edition of the source.
    pub fn needs_check(&self) -> bool {
        self.0.starts_with('U') || self.0.contains('-')
    }
}

impl Rule {
    /// `above`, `below`, `no_data` or `gateway_offline`.
    pub fn kind(&self) -> &'static str {
        match self.condition {
            Condition::Value { side: Side::Above, .. } => "above",
            Condition::Value { side: Side::Below, .. } => "below",
            Condition::Silence { of: Silent::Point, .. } => "no_data",
            Condition::Silence { of: Silent::Gateway, .. } => "gateway_offline",
        }
    }

    /// The worst severity it can reach.
    pub fn severity(&self) -> Severity {
        match &self.condition {
            Condition::Value { levels, .. } => levels.iter().map(|l| l.severity).max(),
            Condition::Silence { levels, .. } => levels.iter().map(|l| l.severity).max(),
        }
        .unwrap_or(Severity::Blue)
    }
}

/// The condition in words and numbers, such as `> 700 yellow, > 3000 red, for 10 min, clears at 650, 2800`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { side, inclusive, levels } => {
                let sign = match (side, inclusive) {
                    (Side::Above, false) => ">",
                    (Side::Above, true) => "≥",
                    (Side::Below, false) => "<",
                    (Side::Below, true) => "≤",
                };
                let one_patience = levels.iter().all(|l| Some(l.for_ms) == levels.first().map(|f| f.for_ms));
                list(f, levels, |f, level| {
                    write!(f, "{sign} {} {}", level.threshold, level.severity)?;
                    if !one_patience { held(f, level.for_ms, " for ") } else { Ok(()) }
                })?;
                if let (true, Some(level)) = (one_patience, levels.first()) {
                    held(f, level.for_ms, ", for ")?;
                }
                f.write_str(", clears at ")?;
                list(f, levels, |f, level| write!(f, "{}", level.clear))
            }
            Self::Silence { of, levels } => {
                f.write_str(if *of == Silent::Point { "no value for " } else { "offline for " })?;
                list(f, levels, |f, level| {
                    held(f, level.after_ms, "")?;
                    if level.intervals > 0 {
                        let and = if level.after_ms > 0 { " and " } else { "" };
                        write!(f, "{and}{} intervals", level.intervals)?;
                    }
                    write!(f, " {}", level.severity)
                })
            }
        }
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut one: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(n, item)| {
        if n > 0 {
            f.write_str(", ")?;
        }
        one(f, item)
    })
}

fn held(f: &mut fmt::Formatter<'_>, ms: i64, lead: &str) -> fmt::Result {
    match ms {
        0 => Ok(()),
        ms if ms % 3_600_000 == 0 => write!(f, "{lead}{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => write!(f, "{lead}{} min", ms / 60_000),
        ms if ms % 1000 == 0 => write!(f, "{lead}{} s", ms / 1000),
        ms => write!(f, "{lead}{ms} ms"),
    }
}
