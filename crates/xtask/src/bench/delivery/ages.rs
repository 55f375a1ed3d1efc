//! How old readings are when they are first seen behind the API.

use std::collections::HashMap;

use serde_json::Value;

/// The ages of all readings that were seen to replace another one at their point.
#[derive(Default)]
pub struct Ages {
    newest: HashMap<String, String>,
    ms: Vec<i64>,
}

impl Ages {
    /// Takes an answer of `bases/<id>/latest`, so many milliseconds after the start. What is there at the first look was
    /// not seen to arrive; what is older than the start is of the backlog.
    pub fn look(&mut self, latest: &Value, since_start_ms: i64) {
        let first = self.newest.is_empty();
        for item in latest["items"].as_array().into_iter().flatten() {
            let (Some(point), Some(at), Some(age_ms)) =
                (item["point"].as_str(), item["at"].as_str(), item["age_ms"].as_i64())
            else {
                continue;
            };
            let before = self.newest.insert(point.to_owned(), at.to_owned());
            if !first && age_ms <= since_start_ms && before.is_some_and(|before| before != at) {
                self.ms.push(age_ms);
            }
        }
        self.ms.sort_unstable();
    }

    /// How many were seen.
    pub fn count(&self) -> usize {
        self.ms.len()
    }

    /// The age in milliseconds that this part of them does not exceed; 0 if none was seen.
    pub fn at(&self, part: f64) -> i64 {
        let place = (self.ms.len().saturating_sub(1) as f64 * part) as usize;
        self.ms.get(place).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_counts_when_it_replaces_another_one() {
        let mut ages = Ages::default();
        for (at, age_ms) in [("a", 9), ("b", 70), ("b", 570), ("c", 30), ("backlog", 5_000)] {
            ages.look(&serde_json::json!({ "items": [{ "point": "p", "at": at, "age_ms": age_ms }] }), 4_000);
        }
        assert_eq!((ages.count(), ages.at(0.0), ages.at(1.0)), (2, 30, 70));
    }
}
