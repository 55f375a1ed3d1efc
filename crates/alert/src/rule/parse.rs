//! Reads rule files. Every fault carries its place; all faults of a well-formed file are told at once.

use serde::Deserialize;
use sitian_model::ConfigFault;
use toml::Spanned;

use super::{Condition, Rule, Rules, Scope, Side, SilenceLevel, Silent, ValueLevel, Verified};
use crate::Severity;

/// What rules may refer to.
pub struct Vocabulary<'a> {
    /// Is there a measurement of this id?
    pub measurement: &'a dyn Fn(&str) -> bool,
    /// Is there a territory node of this id?
    pub node: &'a dyn Fn(&str) -> bool,
}

impl Vocabulary<'_> {
    /// Takes every name for known.
    pub fn any() -> Self {
        Self { measurement: &|_| true, node: &|_| true }
    }
}

/// The longest duration that a rule may ask for: 30 days.
const DURATION_MS_MAX: i64 = 30 * 24 * 3_600_000;
/// Most rules in all files together (the engine numbers them in 16 bits).
const RULES_MAX: usize = 1000;

impl Rules {
    /// Reads all rule files, given as (name, text).
    ///
    /// # Errors
    /// Every fault found, in the order of the files.
    pub fn parse(files: &[(&str, &str)], vocabulary: &Vocabulary<'_>) -> Result<Self, Vec<ConfigFault>> {
        let mut faults = Vec::new();
        let mut list: Vec<Rule> = Vec::new();
        for (file, text) in files {
            let mut reader = Reader { file, text, vocabulary, faults: &mut faults };
            let raw: RawFile = match toml::from_str(text) {
                Ok(raw) => raw,
                Err(error) => {
                    let offset = error.span().map_or(0, |span| span.start);
                    reader.fault(
                        offset,
                        error.message().trim(),
                        "see the built-in files in config/rules for every key and its meaning",
                    );
                    continue;
                }
            };
            for raw in raw.rule {
                let offset = raw.id.span().start;
                if list.iter().any(|rule| rule.id == *raw.id.get_ref()) {
                    reader.fault(
                        offset,
                        format!("rule id {:?} is taken", raw.id.get_ref()),
                        "give every rule its own id",
                    );
                } else if list.len() == RULES_MAX {
                    reader.fault(
                        offset,
                        "too many rules",
                        format!("keep to {RULES_MAX} rules in all files together"),
                    );
                    break;
                } else if let Some(rule) = reader.rule(raw) {
                    list.push(rule);
                }
            }
        }
        if faults.is_empty() { Ok(Self { list }) } else { Err(faults) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: Spanned<String>,
    name: Spanned<RawName>,
    kind: Spanned<String>,
    measurement: Option<Spanned<String>>,
    #[serde(default)]
    territory: Vec<Spanned<String>>,
    place: Option<Spanned<Vec<String>>>,
    place_not: Option<Spanned<Vec<String>>>,
    #[serde(rename = "for")]
    hold: Option<Spanned<String>>,
    inclusive: Option<Spanned<bool>>,
    levels: Spanned<Vec<RawLevel>>,
    source: Option<Spanned<String>>,
    verified: Option<Spanned<String>>,
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawName {
    zh: String,
    en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLevel {
    severity: Spanned<String>,
    threshold: Option<Spanned<f64>>,
    clear: Option<Spanned<f64>>,
    #[serde(rename = "for")]
    hold: Option<Spanned<String>>,
    after: Option<Spanned<String>>,
    intervals: Option<Spanned<u32>>,
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    vocabulary: &'a Vocabulary<'a>,
    faults: &'a mut Vec<ConfigFault>,
}

impl Reader<'_> {
    fn fault(&mut self, offset: usize, what: impl Into<String>, help: impl Into<String>) {
        self.faults.push(ConfigFault::at(self.file, self.text, offset, what, help));
    }

    /// `None` after at least one fault; a rule that is returned may have had faults too.
    fn rule(&mut self, raw: RawRule) -> Option<Rule> {
        let start = raw.id.span().start;
        let id = raw.id.get_ref();
        let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if id.is_empty() || id.len() > 48 || !id.bytes().all(slug) {
            self.fault(
                start,
                format!("rule id {id:?} is not usable"),
                "use 1 to 48 characters from a-z 0-9 -",
            );
        }
        let name = raw.name.get_ref();
        if name.zh.trim().is_empty() || name.en.trim().is_empty() {
            self.fault(
                raw.name.span().start,
                format!("rule {id:?} lacks a name"),
                "write name = { zh = \"…\", en = \"…\" }",
            );
        }
        let source = raw.source.as_ref().map_or("", |s| s.get_ref().trim());
        if source.is_empty() {
            let offset = raw.source.as_ref().map_or(start, |s| s.span().start);
            self.fault(
                offset,
                format!("rule {id:?} has no source"),
                "name the standard and clause, or the person who set the limits",
            );
        }
        let verified = self.verified(&raw, start);
        let condition = match raw.kind.get_ref().as_str() {
            "above" => self.value(&raw, Side::Above),
            "below" => self.value(&raw, Side::Below),
            "no_data" => self.silence(&raw, Silent::Point),
            "gateway_offline" => self.silence(&raw, Silent::Gateway),
            other => {
                let what = format!("kind {other:?} is not known");
                self.fault(raw.kind.span().start, what, "use above, below, no_data or gateway_offline");
                None
            }
        };
        let scope = self.scope(&raw);
        let name = raw.name.into_inner();
        Some(Rule {
            id: raw.id.into_inner(),
            name_zh: name.zh,
            name_en: name.en,
            condition: condition?,
            scope,
            source: source.to_owned(),
            verified: verified?,
            note: raw.note,
        })
    }

    fn verified(&mut self, raw: &RawRule, start: usize) -> Option<Verified> {
        let help = "write P (read in the official text), V (seen in a named source) or U (to be checked), with the edition if it is another, as V-2005";
        let Some(mark) = &raw.verified else {
            self.fault(
                start,
                format!("rule {:?} does not say how its limits were verified", raw.id.get_ref()),
                help,
            );
            return None;
        };
        let verified = Verified::parse(mark.get_ref());
        if verified.is_none() {
            self.fault(mark.span().start, format!("verified mark {:?} is not known", mark.get_ref()), help);
        }
        verified
    }

    fn scope(&mut self, raw: &RawRule) -> Scope {
        if let Some(measurement) = &raw.measurement {
            let id = measurement.get_ref();
            if raw.kind.get_ref() == "gateway_offline" {
                self.fault(
                    measurement.span().start,
                    "a gateway has no measurement",
                    "remove the key measurement",
                );
            } else if !(self.vocabulary.measurement)(id) {
                let what = format!("measurement {id:?} is not in the catalogue");
                self.fault(measurement.span().start, what, "use an id of config/measurements.toml");
            }
        }
        for place in [&raw.place, &raw.place_not].into_iter().flatten() {
            if raw.kind.get_ref() == "gateway_offline" {
                self.fault(
                    place.span().start,
                    "a gateway has no place of its own",
                    "remove the keys place and place_not",
                );
            }
        }
        for node in &raw.territory {
            if !(self.vocabulary.node)(node.get_ref()) {
                let what = format!("territory has no node {:?}", node.get_ref());
                self.fault(
                    node.span().start,
                    what,
                    "use the id of a city, county, town or base of the territory file",
                );
            }
        }
        Scope {
            measurement: raw.measurement.as_ref().map(|m| m.get_ref().clone()),
            territory: raw.territory.iter().map(|node| node.get_ref().clone()).collect(),
            place: raw.place.as_ref().map(|p| p.get_ref().clone()).unwrap_or_default(),
            place_not: raw.place_not.as_ref().map(|p| p.get_ref().clone()).unwrap_or_default(),
        }
    }

    fn value(&mut self, raw: &RawRule, side: Side) -> Option<Condition> {
        if raw.measurement.is_none() {
            let what = format!("rule {:?} does not say which measurement it watches", raw.id.get_ref());
            self.fault(raw.id.span().start, what, "add measurement = \"…\"");
        }
        let for_ms = raw.hold.as_ref().map_or(Some(0), |hold| self.duration(hold));
        let mut levels = Vec::new();
        for level in raw.levels.get_ref() {
            self.unwanted(level.after.as_ref().map(Spanned::span), "after", "a value rule takes `for`");
            self.unwanted(
                level.intervals.as_ref().map(Spanned::span),
                "intervals",
                "only no_data counts intervals",
            );
            let severity = self.severity(level);
            let threshold = self.number(level, level.threshold.as_ref(), "threshold");
            let clear = self.number(level, level.clear.as_ref(), "clear");
            let for_ms = level.hold.as_ref().map_or(for_ms, |hold| self.duration(hold));
            let (Some(severity), Some(threshold), Some(clear), Some(for_ms)) =
                (severity, threshold, clear, for_ms)
            else {
                continue;
            };
            let safe = if side == Side::Above { clear < threshold } else { clear > threshold };
            if !safe {
                let offset = level.clear.as_ref().map_or(0, |c| c.span().start);
                let word = if side == Side::Above { "below" } else { "above" };
                self.fault(
                    offset,
                    format!("clear = {clear} is on the wrong side of threshold = {threshold}"),
                    format!("a limit of kind {:?} clears {word} its threshold", raw.kind.get_ref()),
                );
            }
            levels.push((level.severity.span().start, ValueLevel { severity, threshold, clear, for_ms }));
        }
        self.in_order(
            raw,
            &mut levels,
            |l| l.severity,
            |mild, bad| match side {
                Side::Above => mild.threshold < bad.threshold && mild.clear <= bad.clear,
                Side::Below => mild.threshold > bad.threshold && mild.clear >= bad.clear,
            },
        )?;
        let inclusive = raw.inclusive.as_ref().is_some_and(|i| *i.get_ref());
        Some(Condition::Value {
            side,
            inclusive,
            levels: levels.into_iter().map(|(_, level)| level).collect(),
        })
    }

    fn silence(&mut self, raw: &RawRule, of: Silent) -> Option<Condition> {
        self.unwanted(
            raw.hold.as_ref().map(Spanned::span),
            "for",
            "a silence rule takes `after` in its levels",
        );
        self.unwanted(raw.inclusive.as_ref().map(Spanned::span), "inclusive", "a silence has no threshold");
        let mut levels = Vec::new();
        for level in raw.levels.get_ref() {
            self.unwanted(
                level.threshold.as_ref().map(Spanned::span),
                "threshold",
                "a silence has no threshold",
            );
            self.unwanted(
                level.clear.as_ref().map(Spanned::span),
                "clear",
                "a silence ends with the next sign of life",
            );
            self.unwanted(level.hold.as_ref().map(Spanned::span), "for", "a silence rule takes `after`");
            if of == Silent::Gateway {
                self.unwanted(
                    level.intervals.as_ref().map(Spanned::span),
                    "intervals",
                    "only no_data counts intervals",
                );
            }
            let severity = self.severity(level);
            let after_ms = level.after.as_ref().map_or(Some(0), |after| self.duration(after));
            let intervals = level.intervals.as_ref().map_or(0, |n| *n.get_ref());
            if after_ms == Some(0) && intervals == 0 {
                let what = "the level does not say after how long a silence counts";
                self.fault(
                    level.severity.span().start,
                    what,
                    "add after = \"5m\" or, for no_data, intervals = 5",
                );
            }
            if let (Some(severity), Some(after_ms)) = (severity, after_ms) {
                levels.push((level.severity.span().start, SilenceLevel { severity, after_ms, intervals }));
            }
        }
        self.in_order(
            raw,
            &mut levels,
            |l| l.severity,
            |mild, bad| {
                mild.after_ms <= bad.after_ms
                    && mild.intervals <= bad.intervals
                    && (mild.after_ms, mild.intervals) != (bad.after_ms, bad.intervals)
            },
        )?;
        Some(Condition::Silence { of, levels: levels.into_iter().map(|(_, level)| level).collect() })
    }

    /// Sorts the levels mildest first and tells where one is not beyond the milder one before it.
    fn in_order<L>(
        &mut self,
        raw: &RawRule,
        levels: &mut [(usize, L)],
        severity: impl Fn(&L) -> Severity,
        beyond: impl Fn(&L, &L) -> bool,
    ) -> Option<()> {
        if raw.levels.get_ref().is_empty() {
            self.fault(
                raw.levels.span().start,
                format!("rule {:?} has no level", raw.id.get_ref()),
                "add at least one level",
            );
        }
        levels.sort_by_key(|(_, level)| severity(level));
        for pair in levels.windows(2) {
            let [(_, mild), (offset, bad)] = pair else { continue };
            if severity(mild) == severity(bad) {
                let what = format!("severity {} is named twice", severity(bad));
                self.fault(*offset, what, "one level per severity");
            } else if !beyond(mild, bad) {
                let what = format!("level {} does not lie beyond level {}", severity(bad), severity(mild));
                self.fault(
                    *offset,
                    what,
                    "a worse level needs a more extreme limit, and clears no later than the milder one",
                );
            }
        }
        (!levels.is_empty()).then_some(())
    }

    fn severity(&mut self, level: &RawLevel) -> Option<Severity> {
        let severity = Severity::parse(level.severity.get_ref());
        if severity.is_none() {
            let what = format!("severity {:?} is not known", level.severity.get_ref());
            self.fault(level.severity.span().start, what, "use blue, yellow, orange or red");
        }
        severity
    }

    fn number(&mut self, level: &RawLevel, number: Option<&Spanned<f64>>, key: &str) -> Option<f64> {
        let Some(number) = number else {
            let what = format!("the level has no {key}");
            self.fault(
                level.severity.span().start,
                what,
                format!("add {key} = … in the unit of the measurement"),
            );
            return None;
        };
        if !number.get_ref().is_finite() {
            self.fault(
                number.span().start,
                format!("{key} = {} is not a number", number.get_ref()),
                "write a finite number",
            );
            return None;
        }
        Some(*number.get_ref())
    }

    fn unwanted(&mut self, span: Option<std::ops::Range<usize>>, key: &str, why: &str) {
        if let Some(span) = span {
            self.fault(span.start, format!("key {key} does not belong here"), why);
        }
    }

    fn duration(&mut self, text: &Spanned<String>) -> Option<i64> {
        let ms = duration_ms(text.get_ref());
        if ms.is_none() {
            let what = format!("{:?} is not a duration", text.get_ref());
            self.fault(
                text.span().start,
                what,
                "write a whole number and ms, s, m, h or d, such as 90s, 10m, 4h; at most 30d",
            );
        }
        ms
    }
}

fn duration_ms(text: &str) -> Option<i64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_ms).filter(|ms| *ms <= DURATION_MS_MAX)
}
