//! Configuration of a program: defaults → file → environment → flags, merged key by key, every value with its origin.
//!
//! ```text
//!  defaults (compiled in) ─┐
//!  file                    ├─ trees with positions ─ merge ─► one tree ─ serde ─► T
//!  SITIAN_… variables      │                                   │
//!  flags                  ─┘                                   └► origins: `effective`, `place`, `fault`
//! ```
//!
//! What holds:
//! - Later layers win, key by key. Arrays, also arrays of tables, are replaced whole.
//! - A key that `T` does not know is refused with its place and the nearest known name, provided that the tables of `T`
//!   say `deny_unknown_fields`. All faults are collected, not only the first.
//! - The room knows no program's settings. It reads no file and no environment except in [`load_file`].
//!
//! For places to be exact, the types of `T` should avoid serde's `flatten`, `untagged` and internally tagged enums:
//! these hide from which key a value came.
//!
//! Reading order: [`load`], `source` (texts and places), `tree` (merge and walk), `environment` (names to keys),
//! `refusal` (faults in words), [`loaded`] (what one can ask afterwards), `person` (the command line's part).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod environment;
pub mod loaded;
mod person;
mod refusal;
mod source;
mod tree;

use std::path::Path;

use serde::de::DeserializeOwned;
use sitian_model::ConfigFault;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

pub use loaded::{Effective, Loaded};
pub use person::{Faults, environment, exit_code, key_and_value, listing};
pub use source::{Origin, Place};

use source::{Source, Sources};
use tree::Step;

/// More faults than this are not collected.
const FAULTS_MAX: usize = 50;

/// Merges the layers and reads them as `T`.
///
/// - `defaults`: a TOML text compiled into the program.
/// - `file`: name (as the person wrote it) and text of the configuration file.
/// - `environment`: variables; those that begin with `prefix` (such as `SITIAN_GATEWAY_`) are settings. The rest of the
///   name is the key in capitals with `_` or `__` for the dots; with `_` the keys of the defaults decide where a section
///   ends.
/// - `flags`: dotted keys and their values, the last word on everything.
///
/// Values of variables and flags are TOML values or bare texts.
pub fn load<T: DeserializeOwned>(
    defaults: &str,
    file: Option<(&str, &str)>,
    environment: impl IntoIterator<Item = (String, String)>,
    prefix: &str,
    flags: &[(String, String)],
) -> Result<Loaded<T>, Vec<ConfigFault>> {
    let mut sources = Sources::default();
    let defaults_at = sources.add(Origin::Default, defaults);
    let file_at = file.map(|(name, text)| sources.add(Origin::File(name.to_owned()), text));
    let mut variables: Vec<_> =
        environment.into_iter().filter(|(name, _)| name.starts_with(prefix)).collect();
    variables.sort();
    let variables: Vec<_> = variables
        .into_iter()
        .map(|(name, value)| {
            let rest = name[prefix.len()..].to_owned();
            (rest, sources.add(Origin::Environment(name), &value))
        })
        .collect();
    let flags: Vec<_> = flags
        .iter()
        .map(|(key, value)| (key.as_str(), sources.add(Origin::Flag(key.clone()), value)))
        .collect();

    let mut faults = Vec::new();
    let defaults = document(&sources, defaults_at, &mut faults);
    let mut merged = defaults.clone();
    if let Some(at) = file_at {
        merged = tree::merge(merged, document(&sources, at, &mut faults), true);
    }
    for (name, at) in &variables {
        let keys = environment::keys(name, defaults.get_ref());
        merged =
            tree::merge(merged, environment::setting(sources.get(*at), &keys, defaults.get_ref()), false);
    }
    for (key, at) in &flags {
        let keys: Vec<String> = key.split('.').map(str::to_owned).collect();
        merged =
            tree::merge(merged, environment::setting(sources.get(*at), &keys, defaults.get_ref()), false);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let places = tree::nodes(&merged);
    let value = read(merged, &defaults, &sources)?;
    Ok(Loaded::new(value, sources.clone(), places))
}

/// Reads a configuration file: its name as given, and its text.
pub fn load_file(path: &Path) -> Result<(String, String), ConfigFault> {
    let name = path.display().to_string();
    let fault = |what: String, help: &str| ConfigFault {
        file: name.clone(),
        line: 1,
        column: 1,
        what,
        help: help.to_owned(),
    };
    let bytes = std::fs::read(path).map_err(|e| {
        fault(
            format!("the configuration file cannot be read: {e}"),
            "check the path (name another file with --config) and the file's permissions",
        )
    })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(e) => {
            let valid = e.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&e.as_bytes()[..valid]).into_owned();
            Err(ConfigFault::at(
                &name,
                &text,
                valid,
                "the file is not UTF-8 from here on",
                "save it as UTF-8",
            ))
        }
    }
}

/// The tree of a whole text, with its faults.
fn document<'s>(sources: &'s Sources, at: usize, faults: &mut Vec<ConfigFault>) -> Spanned<DeTable<'s>> {
    let source = sources.get(at);
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let offset = source.start + error.span().map_or(0, |span| span.start);
        let fault = sources.fault(offset, error.message(), "correct the TOML here");
        // One slip often makes several errors on its line.
        if faults.last().is_none_or(|last: &ConfigFault| (&last.file, last.line) != (&fault.file, fault.line))
        {
            faults.push(fault);
        }
    }
    tree::shift_table(root, source.start)
}

/// Reads the tree as `T`. After a fault the offending part is put right or taken out, and reading starts over.
fn read<'s, T: DeserializeOwned>(
    mut merged: Spanned<DeTable<'s>>,
    defaults: &Spanned<DeTable<'s>>,
    sources: &'s Sources,
) -> Result<T, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    let mut retyped: Vec<Vec<Step>> = Vec::new();
    // What has been taken out because it was wrong, so that it is not reported as missing as well.
    let mut taken: Vec<(usize, String)> = Vec::new();
    let sorted = |mut faults: Vec<(usize, ConfigFault)>| {
        faults.sort_by_key(|(at, _)| *at);
        faults.into_iter().map(|(_, fault)| fault).collect()
    };
    loop {
        let error = match T::deserialize(Deserializer::from(merged.clone())) {
            Ok(value) if faults.is_empty() => return Ok(value),
            Ok(_) => return Err(sorted(faults)),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let path = tree::path_of(&merged, &span);
        if let Some(path) = &path
            && let Some(text) = bare_text(&merged, path, sources)
            && !retyped.contains(path)
        {
            retyped.push(path.clone());
            tree::replace(&mut merged, path, text);
            continue;
        }
        let default = path.as_deref().and_then(|path| tree::get(defaults, path));
        let missing = refusal::missing(error.message()).map(|name| (span.start, name));
        if missing.is_none_or(|missing| !taken.contains(&missing)) {
            let fault = refusal::refusal(sources, error.message(), span.start, path.as_deref(), default);
            faults.push((span.start, fault));
        }
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Err(sorted(faults));
        };
        if let Some((Step::Key(name), parent)) = path.split_last() {
            let section = tree::get(&merged, parent).map_or(0, |section| section.span().start);
            taken.push((section, name.clone()));
        }
        if faults.len() == FAULTS_MAX || !put_right(&mut merged, &path, default) {
            return Err(sorted(faults));
        }
    }
}

/// A value given by variable or flag that was taken for a number, flag or date, as the text that it also is.
fn bare_text<'s>(
    merged: &Spanned<DeTable<'s>>,
    path: &[Step],
    sources: &'s Sources,
) -> Option<Spanned<DeValue<'s>>> {
    let value = tree::get(merged, path)?;
    if matches!(value.get_ref(), DeValue::String(_) | DeValue::Table(_)) {
        return None;
    }
    let source: &Source = sources.at(value.span().start);
    matches!(source.origin, Origin::Environment(_) | Origin::Flag(_))
        .then(|| Spanned::new(value.span(), DeValue::String(source.text.as_str().into())))
}

/// Puts the default in the place of a refused value, or takes the value out. False if that did not change anything.
fn put_right<'s>(
    merged: &mut Spanned<DeTable<'s>>,
    path: &[Step],
    default: Option<&Spanned<DeValue<'s>>>,
) -> bool {
    match default {
        Some(default) if tree::get(merged, path).map(Spanned::span) != Some(default.span()) => {
            tree::replace(merged, path, default.clone())
        }
        _ => tree::remove(merged, path),
    }
}
