//! Reads one table of a configuration text, remembering where everything stands and collecting every fault. Rooms with
//! texts of their own read them with it too, so that faults look alike everywhere.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use sitian_model::ConfigFault;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Decimal;

/// A text is refused rather than listed for ever.
const FAULTS_MAX: usize = 50;

struct Source<'t> {
    file: &'t str,
    text: &'t str,
    faults: RefCell<Vec<ConfigFault>>,
}

/// One table of the text. Keys that nobody asked for are faults: see [`Section::finish`].
pub struct Section<'t, 'd> {
    source: Rc<Source<'t>>,
    table: &'d DeTable<'d>,
    name: String,
    /// Byte offset of the table.
    at: usize,
    asked: BTreeSet<String>,
}

impl<'t, 'd> Section<'t, 'd> {
    /// Parses the text, lets `read` take what it knows from the root table, and returns every fault in text order.
    pub fn read(
        file: &'t str,
        text: &'t str,
        read: impl for<'x> FnOnce(&mut Section<'t, 'x>),
    ) -> Vec<ConfigFault> {
        let source = Rc::new(Source { file, text, faults: RefCell::default() });
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            source.fault(
                at,
                format!("this is not TOML: {}", error.message()),
                "see https://toml.io for the syntax",
            );
        }
        if errors.is_empty() {
            let mut root = Section {
                source: source.clone(),
                table: document.get_ref(),
                name: String::new(),
                at: 0,
                asked: BTreeSet::new(),
            };
            read(&mut root);
            root.finish();
        }
        let mut faults = source.faults.take();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults
    }

    /// The key that leads to this table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A fault of the whole table.
    pub fn fault(&self, what: impl Into<String>, help: impl Into<String>) {
        self.source.fault(self.at, what, help);
    }

    /// A fault at a byte offset.
    pub fn fault_at(&self, at: usize, what: impl Into<String>, help: impl Into<String>) {
        self.source.fault(at, what, help);
    }

    /// Where a key's value stands, or the table if the key is missing.
    pub fn offset(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.at, |value| value.span().start)
    }

    /// True if the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn value(&mut self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.insert(key.to_owned());
        self.table.get(key)
    }

    fn required(&mut self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        let value = self.value(key);
        if value.is_none() {
            self.fault(format!("{key} is missing"), format!("add {key} = …"));
        }
        value
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.fault_at(
            value.span().start,
            format!("{key} must be {wanted}, not a {found}"),
            "change the value",
        );
    }

    /// A required text with at least one character.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let text = self.text_maybe_empty(key)?;
        if text.trim().is_empty() {
            self.fault_at(self.offset(key), format!("{key} is empty"), "write at least one character");
            return None;
        }
        Some(text)
    }

    /// A required text.
    pub fn text_maybe_empty(&mut self, key: &str) -> Option<String> {
        let value = self.required(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => {
                self.wrong(key, value, "a text in quotes");
                None
            }
        }
    }

    /// A text that may be left out.
    pub fn optional_text(&mut self, key: &str) -> Option<String> {
        if self.has(key) { self.text(key) } else { None }
    }

    /// A required word out of a list.
    pub fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let help = format!("use one of {}", list.join(", "));
            self.fault_at(self.offset(key), format!("{key} {text:?} is not known"), help);
        }
        found
    }

    /// A word out of a list that may be left out.
    pub fn optional_word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        if self.has(key) { self.word(key, words) } else { self.skip(key) }
    }

    fn skip<T>(&mut self, key: &str) -> Option<T> {
        self.asked.insert(key.to_owned());
        None
    }

    /// A required whole number between two bounds, both included.
    pub fn integer(&mut self, key: &str, min: i64, max: i64) -> Option<i64> {
        let value = self.required(key)?;
        let Some(number) = integer_of(value) else {
            self.wrong(key, value, "a whole number");
            return None;
        };
        if !(i128::from(min)..=i128::from(max)).contains(&number) {
            let what = format!("{key} {number} is out of range");
            self.fault_at(value.span().start, what, format!("use {min} to {max}"));
            return None;
        }
        i64::try_from(number).ok()
    }

    /// A whole number that may be left out.
    pub fn integer_or(&mut self, key: &str, min: i64, max: i64, default: i64) -> Option<i64> {
        if self.has(key) { self.integer(key, min, max) } else { self.skip(key).or(Some(default)) }
    }

    /// A decimal number, written as a number or as a text, with its offset; may be left out.
    pub fn optional_decimal(&mut self, key: &str) -> Option<(Decimal, usize)> {
        let value = self.value(key)?;
        let at = value.span().start;
        match decimal_of(value) {
            Some(number) => Some((number, at)),
            None => {
                let shown = self.source.text.get(value.span()).unwrap_or_default();
                self.fault_at(
                    at,
                    format!("{key} {shown} is no decimal number"),
                    "write a number such as 0.1, 10 or 2.5e-3",
                );
                None
            }
        }
    }

    /// True or false; `default` if left out.
    pub fn flag_or(&mut self, key: &str, default: bool) -> Option<bool> {
        let Some(value) = self.value(key) else { return Some(default) };
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false");
        }
        flag
    }

    /// A list of whole numbers with their offsets; empty if left out.
    pub fn integers(&mut self, key: &str) -> Vec<(i128, usize)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of whole numbers");
            return Vec::new();
        };
        let mut numbers = Vec::new();
        for item in array.iter() {
            match integer_of(item) {
                Some(number) => numbers.push((number, item.span().start)),
                None => self.wrong(key, item, "a list of whole numbers"),
            }
        }
        numbers
    }

    /// A list of texts with their offsets; empty if left out.
    pub fn texts(&mut self, key: &str) -> Vec<(String, usize)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of texts");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push((text.to_string(), item.span().start)),
                _ => self.wrong(key, item, "a list of texts"),
            }
        }
        texts
    }

    /// A table below this one; may be left out.
    pub fn optional_section(&mut self, key: &str) -> Option<Section<'t, 'd>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(self.below(key, table, value.span().start)),
            _ => {
                self.wrong(key, value, "a table");
                None
            }
        }
    }

    /// The tables of a list such as `[[points]]`; empty if left out.
    pub fn list(&mut self, key: &str) -> Vec<Section<'t, 'd>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of tables");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::Table(table) => sections.push(self.below(key, table, item.span().start)),
                _ => self.wrong(key, item, "a list of tables"),
            }
        }
        sections
    }

    /// Every entry of this table as a table, in text order.
    pub fn sections(&mut self) -> Vec<Section<'t, 'd>> {
        let mut sections = Vec::new();
        for (key, value) in self.table.iter() {
            self.asked.insert(key.get_ref().to_string());
            match value.get_ref() {
                DeValue::Table(table) => sections.push(self.below(key.get_ref(), table, key.span().start)),
                _ => self.wrong(key.get_ref(), value, "a table"),
            }
        }
        sections.sort_by_key(|section| section.at);
        sections
    }

    /// Every entry of this table as decimal, with key and offset of the key.
    pub fn decimals(&mut self) -> Vec<(String, Decimal, usize)> {
        let keys: Vec<_> =
            self.table.iter().map(|(key, _)| (key.get_ref().to_string(), key.span().start)).collect();
        let mut entries = Vec::new();
        for (key, at) in keys {
            if let Some((number, _)) = self.optional_decimal(&key) {
                entries.push((key, number, at));
            }
        }
        entries
    }

    fn below(&self, key: &str, table: &'d DeTable<'d>, at: usize) -> Section<'t, 'd> {
        Section { source: self.source.clone(), table, name: key.to_owned(), at, asked: BTreeSet::new() }
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if self.asked.contains(name) {
                continue;
            }
            let near = self.asked.iter().min_by_key(|known| distance(known, name));
            let help = match near {
                Some(known) if distance(known, name) <= 2 => format!("did you mean {known}?"),
                _ => {
                    let known: Vec<_> = self.asked.iter().map(String::as_str).collect();
                    format!("remove it; known here: {}", known.join(", "))
                }
            };
            self.fault_at(key.span().start, format!("{name} is not a known key"), help);
        }
    }
}

impl Source<'_> {
    fn fault(&self, at: usize, what: impl Into<String>, help: impl Into<String>) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < FAULTS_MAX {
            faults.push(ConfigFault::at(self.file, self.text, at, what, help));
        }
    }
}

fn integer_of(value: &Spanned<DeValue<'_>>) -> Option<i128> {
    let integer = value.get_ref().as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn decimal_of(value: &Spanned<DeValue<'_>>) -> Option<Decimal> {
    match value.get_ref() {
        DeValue::Float(float) => Decimal::parse(float.as_str()).ok(),
        DeValue::String(text) => Decimal::parse(text.trim()).ok(),
        DeValue::Integer(_) => integer_of(value).filter(|n| n.abs() < 10_i128.pow(18)).map(Decimal::integer),
        _ => None,
    }
}

/// Edits that turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
