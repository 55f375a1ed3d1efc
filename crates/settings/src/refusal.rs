//! What serde refuses, in words for the person who wrote the configuration.

use sitian_model::ConfigFault;
use toml::Spanned;
use toml::de::DeValue;

use crate::source::Sources;
use crate::tree::{self, Step};

/// The fault for serde's `message` at the number `at`. `path` leads to what it is about, as far as known.
pub(crate) fn refusal(
    sources: &Sources,
    message: &str,
    at: usize,
    path: Option<&[Step]>,
    default: Option<&Spanned<DeValue<'_>>>,
) -> ConfigFault {
    let key = path.map(tree::dotted).unwrap_or_default();
    let (what, mut help) = words(message, &key);
    if help.is_empty() {
        help = match default.map(Spanned::get_ref) {
            Some(DeValue::Table(_)) | None => {
                "see the commented defaults for what is possible here".to_owned()
            }
            Some(default) => format!("the default is {}", tree::render(default)),
        };
    }
    sources.fault(at, what, help)
}

/// The name of the key that serde misses, if that is its message.
pub(crate) fn missing(message: &str) -> Option<String> {
    message.strip_prefix("missing field ").map(|rest| quoted(rest).0)
}

fn words(message: &str, key: &str) -> (String, String) {
    let section = if key.is_empty() { "at the top".to_owned() } else { format!("in {key}") };
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (_, known) = quoted(rest);
        let (parent, name) = key.rsplit_once('.').map_or(("", key), |(parent, name)| (parent, name));
        let dot = if parent.is_empty() { "" } else { "." };
        let help = match nearest(name, &known) {
            Some(near) => format!("did you mean {parent}{dot}{near}?"),
            None if known.is_empty() => "nothing can be set here: remove it".to_owned(),
            None => format!("settings here: {}", known.join(", ")),
        };
        return (format!("{key} is no setting"), help);
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (found, known) = quoted(rest);
        let help = match nearest(&found, &known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("possible: {}", known.join(", ")),
        };
        return (format!("{key} cannot be {found:?}"), help);
    }
    if let Some(name) = missing(message) {
        return (format!("{name} is missing {section}"), format!("add {name} = …"));
    }
    let mismatch = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = mismatch.and_then(|rest| rest.split_once(", expected ")) {
        return (format!("{key} must be {}, not {}", plain(expected), found.replace('`', "")), String::new());
    }
    (if key.is_empty() { message.to_owned() } else { format!("{key}: {message}") }, String::new())
}

/// Rust's names of types, for people who do not know Rust.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "a sequence" => "a list in brackets",
        "a map" => "a section",
        other if other.starts_with("struct ") => "a section",
        other => other,
    }
}

/// The words between backticks: the first, and the rest.
fn quoted(text: &str) -> (String, Vec<String>) {
    let mut words = text.split('`').skip(1).step_by(2).map(str::to_owned);
    (words.next().unwrap_or_default(), words.collect())
}

/// The known word nearest to `word`, if it is near enough to be a slip.
fn nearest<'k>(word: &str, known: &'k [String]) -> Option<&'k str> {
    let limit = (word.chars().count() / 3).max(1);
    let by_distance = known.iter().map(|candidate| (distance(word, candidate), candidate));
    by_distance.filter(|(distance, _)| *distance <= limit).min().map(|(_, near)| near.as_str())
}

/// How many letters must be changed, added, removed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_offered_only_for_slips() {
        let known = ["host", "port", "keep_alive_s", "username"].map(str::to_owned);
        for (word, expected) in [
            ("prot", Some("port")),
            ("hosts", Some("host")),
            ("keepalive_s", Some("keep_alive_s")),
            ("keep_alive", Some("keep_alive_s")),
            ("user_name", Some("username")),
            ("topic", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }
}
