//! Trees of settings whose spans are numbers of [`Sources`](crate::source::Sources): merge, walk, change.

use std::fmt::Write;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// One step down a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// What is known about one key after loading.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Such as `device[3].profile`.
    pub(crate) key: String,
    /// Number where the value (or the table's header) begins.
    pub(crate) at: usize,
    /// The value as TOML, if it is not a table or an array of tables.
    pub(crate) value: Option<String>,
}

/// Moves every span by `by`.
pub(crate) fn shift_table(table: Spanned<DeTable<'_>>, by: usize) -> Spanned<DeTable<'_>> {
    let span = table.span();
    let entries = table.into_inner().into_iter().map(|(key, value)| {
        let span = key.span();
        (Spanned::new(span.start + by..span.end + by, key.into_inner()), shift(value, by))
    });
    Spanned::new(span.start + by..span.end + by, entries.collect())
}

pub(crate) fn shift(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift_table(Spanned::new(0..0, table), by).into_inner()),
        DeValue::Array(array) => {
            let mut shifted = DeArray::new();
            array.into_iter().for_each(|item| shifted.push(shift(item, by)));
            DeValue::Array(shifted)
        }
        scalar => scalar,
    };
    Spanned::new(span.start + by..span.end + by, inner)
}

/// Puts `upper` over `lower`, key by key; anything but a table over a table replaces. A section that both have stands
/// where `upper` has it if that is a `document`, for a person looks there; a variable is no place for a section.
pub(crate) fn merge<'s>(
    lower: Spanned<DeTable<'s>>,
    upper: Spanned<DeTable<'s>>,
    document: bool,
) -> Spanned<DeTable<'s>> {
    let span = if document { upper.span() } else { lower.span() };
    let mut merged = lower.into_inner();
    for (key, value) in upper.into_inner() {
        let Some((key_below, below)) = merged.remove_entry(key.get_ref().as_ref()) else {
            merged.insert(key, value);
            continue;
        };
        let (span_below, span_above) = (below.span(), value.span());
        let (key, value) = match (below.into_inner(), value.into_inner()) {
            (DeValue::Table(below), DeValue::Table(above)) => {
                let (key, span) = if document { (key, span_above) } else { (key_below, span_below) };
                let both = merge(Spanned::new(0..0, below), Spanned::new(0..0, above), document);
                (key, Spanned::new(span, DeValue::Table(both.into_inner())))
            }
            (_, above) => (key, Spanned::new(span_above, above)),
        };
        merged.insert(key, value);
    }
    Spanned::new(span, merged)
}

/// The value at a path.
pub(crate) fn get<'t, 's>(root: &'t Spanned<DeTable<'s>>, path: &[Step]) -> Option<&'t Spanned<DeValue<'s>>> {
    let (first, rest) = path.split_first()?;
    let Step::Key(first) = first else { return None };
    rest.iter().try_fold(root.get_ref().get(first.as_str())?, |value, step| match (step, value.get_ref()) {
        (Step::Key(key), DeValue::Table(table)) => table.get(key.as_str()),
        (Step::Index(index), DeValue::Array(array)) => array.get(*index),
        _ => None,
    })
}

/// The path whose key or value has exactly this span; the empty path is the root.
pub(crate) fn path_of(root: &Spanned<DeTable<'_>>, span: &Range<usize>) -> Option<Vec<Step>> {
    let mut path = Vec::new();
    find_in_table(root.get_ref(), span, &mut path)
        .then_some(path)
        .or_else(|| (root.span() == *span).then(Vec::new))
}

fn find_in_table(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<Step>) -> bool {
    table.iter().any(|(key, value)| {
        path.push(Step::Key(key.get_ref().to_string()));
        let found = key.span() == *span || find(value, span, path);
        if !found {
            path.pop();
        }
        found
    })
}

/// Innermost first: a list of tables has the same span as its first table.
fn find(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut Vec<Step>) -> bool {
    let inside = match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, span, path),
        DeValue::Array(array) => array.iter().enumerate().any(|(index, item)| {
            path.push(Step::Index(index));
            let found = find(item, span, path);
            if !found {
                path.pop();
            }
            found
        }),
        _ => false,
    };
    inside || value.span() == *span
}

/// Takes the value at a path out. False if there is none.
pub(crate) fn remove(root: &mut Spanned<DeTable<'_>>, path: &[Step]) -> bool {
    change(root, path, |holder, last| match (holder, last) {
        (Holder::Table(table), Step::Key(key)) => table.remove(key.as_str()).is_some(),
        (Holder::Array(array), Step::Index(index)) => {
            let mut kept = DeArray::new();
            let before = array.len();
            for (n, item) in std::mem::replace(array, DeArray::new()).into_iter().enumerate() {
                if n != *index {
                    kept.push(item);
                }
            }
            *array = kept;
            array.len() < before
        }
        _ => false,
    })
}

/// Puts another value at a path. False if there is none yet.
pub(crate) fn replace<'s>(
    root: &mut Spanned<DeTable<'s>>,
    path: &[Step],
    value: Spanned<DeValue<'s>>,
) -> bool {
    change(root, path, |holder, last| {
        let slot = match (holder, last) {
            (Holder::Table(table), Step::Key(key)) => table.get_mut(key.as_str()),
            (Holder::Array(array), Step::Index(index)) => array.get_mut(*index),
            _ => None,
        };
        slot.map(|slot| *slot = value).is_some()
    })
}

enum Holder<'t, 's> {
    Table(&'t mut DeTable<'s>),
    Array(&'t mut DeArray<'s>),
}

fn change<'s>(
    root: &mut Spanned<DeTable<'s>>,
    path: &[Step],
    act: impl FnOnce(Holder<'_, 's>, &Step) -> bool,
) -> bool {
    let Some((last, way)) = path.split_last() else { return false };
    let mut holder = Holder::Table(root.get_mut());
    for step in way {
        let next = match (holder, step) {
            (Holder::Table(table), Step::Key(key)) => table.get_mut(key.as_str()),
            (Holder::Array(array), Step::Index(index)) => array.get_mut(*index),
            _ => None,
        };
        holder = match next.map(Spanned::get_mut) {
            Some(DeValue::Table(table)) => Holder::Table(table),
            Some(DeValue::Array(array)) => Holder::Array(array),
            _ => return false,
        };
    }
    act(holder, last)
}

/// Every key of the tree, parents before children, in the order of names.
pub(crate) fn nodes(root: &Spanned<DeTable<'_>>) -> Vec<Node> {
    let mut nodes = Vec::new();
    walk_table(root.get_ref(), "", &mut nodes);
    nodes
}

fn walk_table(table: &DeTable<'_>, prefix: &str, nodes: &mut Vec<Node>) {
    for (key, value) in table {
        let dot = if prefix.is_empty() { "" } else { "." };
        walk(value, format!("{prefix}{dot}{}", key.get_ref()), nodes);
    }
}

fn walk(value: &Spanned<DeValue<'_>>, key: String, nodes: &mut Vec<Node>) {
    let at = value.span().start;
    match value.get_ref() {
        DeValue::Table(table) => {
            nodes.push(Node { key: key.clone(), at, value: None });
            walk_table(table, &key, nodes);
        }
        DeValue::Array(array) if array.first().is_some_and(|item| item.get_ref().is_table()) => {
            nodes.push(Node { key: key.clone(), at, value: None });
            for (index, item) in array.iter().enumerate() {
                walk(item, format!("{key}[{index}]"), nodes);
            }
        }
        scalar => {
            nodes.push(Node { key: key.clone(), at, value: Some(render(scalar)) });
            for (index, item) in scalar.as_array().into_iter().flat_map(|array| array.iter()).enumerate() {
                nodes.push(Node { key: format!("{key}[{index}]"), at: item.span().start, value: None });
            }
        }
    }
}

/// The value as TOML on one line.
pub(crate) fn render(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()).to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        DeValue::Array(array) => {
            let items: Vec<_> = array.iter().map(|item| render(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let mut text = String::from("{");
            for (n, (key, value)) in table.iter().enumerate() {
                let comma = if n == 0 { "" } else { "," };
                let _ = write!(text, "{comma} {} = {}", key.get_ref(), render(value.get_ref()));
            }
            text + " }"
        }
    }
}

/// The dotted key of a path, without array positions.
pub(crate) fn dotted(path: &[Step]) -> String {
    let keys = path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}
