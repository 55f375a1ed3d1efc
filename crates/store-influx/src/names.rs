//! What points and epochs are called in an engine that others read too: names instead of numbers, which are this
//! installation's own and would be given anew if its registry were lost. Knows no server.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use sitian_model::{Epoch, EpochNo, PointNo};

use crate::line::{self, LineFault};

/// Who a point is, as tags of its series. `gateway`, `device` and `point` together name it for ever; the others may change,
/// and a new series then goes on where the old one ends. Empty ones are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags {
    /// The gateway's id.
    pub gateway: String,
    /// The device's id at its gateway.
    pub device: String,
    /// The point's key at its device.
    pub point: String,
    /// What is measured, as the catalogue calls it.
    pub measurement: String,
    /// Unit symbol.
    pub unit: String,
    /// The base where the gateway stands.
    pub base: String,
    /// The base's city.
    pub city: String,
    /// The base's county.
    pub county: String,
    /// The base's town.
    pub town: String,
}

impl Tags {
    /// Keys and values, ordered by key: servers take ordered tags quicker.
    pub(crate) fn all(&self) -> [(&'static str, &str); 9] {
        [
            ("base", &self.base),
            ("city", &self.city),
            ("county", &self.county),
            ("device", &self.device),
            ("gateway", &self.gateway),
            ("measurement", &self.measurement),
            ("point", &self.point),
            ("town", &self.town),
            ("unit", &self.unit),
        ]
    }
}

/// Gateway, device, point.
pub(crate) type Who<'a> = (&'a str, &'a str, &'a str);

/// A point that is known.
#[derive(Debug)]
pub(crate) struct Named {
    tags: Tags,
    pub(crate) heading: String,
}

impl Named {
    pub(crate) fn who(&self) -> Who<'_> {
        (&self.tags.gateway, &self.tags.device, &self.tags.point)
    }
}

/// What questions about some points are narrowed to: values of the tags that name them. Of several points it may choose
/// more than was meant.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    tags: [(&'static str, Vec<&'a str>); 3],
}

impl<'a> Choice<'a> {
    pub(crate) fn of(points: &'a [(PointNo, Arc<Named>)]) -> Self {
        let values = |part: fn(Who<'a>) -> &'a str| {
            let mut values: Vec<&str> = points.iter().map(|(_, named)| part(named.who())).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        let [gateways, devices, keys] = [values(|who| who.0), values(|who| who.1), values(|who| who.2)];
        Self { tags: [("gateway", gateways), ("device", devices), ("point", keys)] }
    }

    /// Cuts points into parts that a question can be asked about: at most so many points, and names of at most so many bytes
    /// as a pattern in quotes, unless a single point has longer ones.
    pub(crate) fn parts(
        points: &'a [(PointNo, Arc<Named>)],
        points_max: usize,
        bytes_max: usize,
    ) -> Vec<&'a [(PointNo, Arc<Named>)]> {
        let (mut parts, mut from, mut told, mut bytes) = (Vec::new(), 0, HashSet::new(), 0);
        for (n, (_, named)) in points.iter().enumerate() {
            let (gateway, device, point) = named.who();
            let names = [(0, gateway), (1, device), (2, point)];
            let length = |names: &mut dyn Iterator<Item = &(i32, &str)>| -> usize {
                names.map(|(_, name)| quoted_pattern_bytes(name)).sum()
            };
            let more = length(&mut names.iter().filter(|name| !told.contains(*name)));
            if n > from && (n - from == points_max || bytes + more > bytes_max) {
                parts.push(&points[from..n]);
                told.clear();
                (from, bytes) = (n, length(&mut names.iter()));
            } else {
                bytes += more;
            }
            told.extend(names);
        }
        parts.extend((from < points.len()).then(|| &points[from..]));
        parts
    }

    /// A condition on each tag: `one` for a single value, `any` with a pattern (RE2) for several.
    pub(crate) fn conditions(
        &self,
        one: impl Fn(&str, &str) -> String,
        any: impl Fn(&str, &str) -> String,
    ) -> Vec<String> {
        let condition = |(key, values): &(&'static str, Vec<&str>)| match values[..] {
            [value] => one(key, value),
            _ => any(key, &values.iter().map(|value| pattern(value)).collect::<Vec<_>>().join("|")),
        };
        self.tags.iter().map(condition).collect()
    }
}

/// A pattern that this text alone fits.
fn pattern(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Room that a name takes in a question, with what divides it from the next.
fn quoted_pattern_bytes(text: &str) -> usize {
    pattern(text).bytes().map(|byte| if matches!(byte, b'\\' | b'"') { 2 } else { 1 }).sum::<usize>() + 1
}

/// The names in force, shared by writer and readers.
#[derive(Debug, Default)]
pub struct Names {
    points: RwLock<HashMap<PointNo, Arc<Named>>>,
    epochs: RwLock<Epochs>,
}

#[derive(Debug, Default)]
struct Epochs {
    marks: HashMap<EpochNo, u64>,
    numbers: HashMap<u64, EpochNo>,
}

impl Names {
    /// Names a point, or renames it.
    ///
    /// # Errors
    /// Line protocol has no way to write one of the names; what was known before stays in force.
    pub fn point(&self, no: PointNo, tags: Tags) -> Result<(), LineFault> {
        let heading = line::heading(&tags)?;
        let named = Arc::new(Named { tags, heading });
        self.points.write().unwrap_or_else(PoisonError::into_inner).insert(no, named);
        Ok(())
    }

    /// Makes an epoch known. In the engine it is the first 48 of its 128 random bits, which every engine keeps exactly.
    pub fn epoch(&self, no: EpochNo, label: Epoch) {
        let mark = label.0.iter().take(6).fold(0, |mark, byte| mark << 8 | u64::from(*byte));
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        epochs.marks.insert(no, mark);
        epochs.numbers.insert(mark, no);
    }

    /// True if rows of this point can be written.
    pub fn knows(&self, no: PointNo) -> bool {
        self.of(no).is_some()
    }

    pub(crate) fn of(&self, no: PointNo) -> Option<Arc<Named>> {
        self.points.read().unwrap_or_else(PoisonError::into_inner).get(&no).cloned()
    }

    /// Those of these points that have a name, each once, in order.
    pub(crate) fn some(&self, points: &[PointNo]) -> Vec<(PointNo, Arc<Named>)> {
        let known = self.points.read().unwrap_or_else(PoisonError::into_inner);
        let mut named: Vec<_> =
            points.iter().filter_map(|no| Some((*no, Arc::clone(known.get(no)?)))).collect();
        named.sort_by_key(|(no, _)| *no);
        named.dedup_by_key(|(no, _)| *no);
        named
    }

    pub(crate) fn mark(&self, no: EpochNo) -> Option<u64> {
        self.epochs.read().unwrap_or_else(PoisonError::into_inner).marks.get(&no).copied()
    }

    /// The number of an epoch; 0, which is nobody's, if the registry has forgotten it.
    pub(crate) fn number(&self, mark: u64) -> EpochNo {
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        epochs.numbers.get(&mark).copied().unwrap_or(EpochNo(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_cut_into_parts_by_their_number_and_by_the_bytes_of_names_that_differ() {
        let check = |gateway: &dyn Fn(u32) -> String, bytes_max: usize, expected: &[usize]| {
            let names = Names::default();
            for no in 0..10 {
                let tags =
                    Tags { gateway: gateway(no), device: "d".into(), point: "p".into(), ..Tags::default() };
                names.point(PointNo(no), tags).unwrap();
            }
            let points = names.some(&(0..10).map(PointNo).collect::<Vec<_>>());
            let parts = Choice::parts(&points, 6, bytes_max);
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), expected);
            assert_eq!(parts.concat().len(), points.len());
        };
        let (one, each) = (|_| "gateway".to_owned(), |no: u32| format!("gateway{no}"));
        check(&one, 12, &[6, 4]);
        check(&each, 1_000, &[6, 4]);
        check(&each, 4 + 4 * 9, &[4, 4, 2]);
        // What cannot be cut any further is asked about all the same.
        check(&each, 1, &[1; 10]);
        check(&|no| format!("gw.{no}"), 4 + 2 * 7, &[2; 5]);
        assert!(Choice::parts(&[], 6, 100).is_empty());
    }

    #[test]
    fn the_room_of_a_name_is_what_it_takes_in_a_question() {
        for (name, bytes) in [("gw-1", 5), ("p.1", 6), ("a\"b", 5), ("司", 4), ("a\\b", 7)] {
            assert_eq!(quoted_pattern_bytes(name), bytes, "{name}");
        }
    }
}
