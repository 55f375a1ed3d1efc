//! Variables and flags as trees of one setting each.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::source::Source;
use crate::tree::{self, Step};

/// The keys that the rest of a variable's name means: `MQTT_KEEP_ALIVE_S` is `mqtt`, `keep_alive_s`. Double underscores
/// separate for certain; with single ones the defaults tell sections from names, and what they do not know is one name.
pub(crate) fn keys(name: &str, defaults: &DeTable<'_>) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    if name.contains("__") {
        return name.split("__").map(str::to_owned).collect();
    }
    let mut keys = Vec::new();
    let (mut rest, mut table) = (name.as_str(), defaults);
    loop {
        if table.contains_key(rest) {
            break;
        }
        let sections = table.iter().filter_map(|(key, value)| {
            let below = rest.strip_prefix(key.get_ref().as_ref())?.strip_prefix('_')?;
            Some((key.get_ref().to_string(), below, value.get_ref().as_table()?))
        });
        let Some((section, below, inner)) = sections.max_by_key(|(section, ..)| section.len()) else {
            break;
        };
        keys.push(section);
        (rest, table) = (below, inner);
    }
    keys.push(rest.to_owned());
    keys
}

/// A tree with one setting. If the default is a text, so is the value; otherwise it is a TOML value if it can be.
pub(crate) fn setting<'s>(
    source: &'s Source,
    keys: &[String],
    defaults: &DeTable<'_>,
) -> Spanned<DeTable<'s>> {
    let span = source.start..source.start + source.text.len();
    let path: Vec<Step> = keys.iter().cloned().map(Step::Key).collect();
    let root = Spanned::new(0..0, defaults.clone());
    let is_text = tree::get(&root, &path).is_some_and(|default| default.get_ref().is_str());
    let parsed = if is_text { None } else { DeValue::parse(source.text.trim()).ok() };
    let value = parsed.map_or_else(|| DeValue::String(source.text.as_str().into()), Spanned::into_inner);
    // Positions inside a variable mean nothing to a person: every part of its value is the whole. The sections around
    // it begin there too, but end differently, so that a span tells them apart.
    let mut value = flatten_spans(Spanned::new(span.clone(), value), &span);
    let around = |depth: usize| span.start..span.end + 1 + depth;
    for (depth, key) in keys.iter().enumerate().skip(1).rev() {
        let table = DeTable::from_iter([(Spanned::new(around(2 * depth), Cow::Owned(key.clone())), value)]);
        value = Spanned::new(around(2 * depth - 1), DeValue::Table(table));
    }
    let first = keys.first().cloned().unwrap_or_default();
    Spanned::new(0..0, DeTable::from_iter([(Spanned::new(around(0), Cow::Owned(first)), value)]))
}

fn flatten_spans<'s>(value: Spanned<DeValue<'s>>, span: &std::ops::Range<usize>) -> Spanned<DeValue<'s>> {
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    (Spanned::new(span.clone(), key.into_inner()), flatten_spans(value, span))
                })
                .collect(),
        ),
        DeValue::Array(array) => {
            let mut flat = toml::de::DeArray::new();
            array.into_iter().for_each(|item| flat.push(flatten_spans(item, span)));
            DeValue::Array(flat)
        }
        scalar => scalar,
    };
    Spanned::new(span.clone(), inner)
}
