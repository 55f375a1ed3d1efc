//! Questions to VictoriaMetrics, and what its answers say field by field.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde::Deserialize;

use super::Victoria;
use crate::fault::EngineError;
use crate::names::Choice;
use crate::rows::Moments;

const FIELDS: [&str; 4] = ["value", "quality", "epoch", "seq"];

#[derive(Deserialize)]
struct Reply {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Sample>,
}

/// A number of a point.
#[derive(Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// One series of an export: a line of JSON.
#[derive(Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    values: Vec<Option<f64>>,
    timestamps: Vec<i64>,
}

impl Victoria {
    /// Asks one question about one moment.
    fn query(&self, query: &str, at_ms: i64) -> Result<Vec<Sample>, EngineError> {
        let parameters = [("query", query), ("time", &seconds(at_ms)), ("nocache", "1")];
        let text = self.server.ask("/api/v1/query", &parameters)?;
        let reply: Reply =
            serde_json::from_str(&text).map_err(|error| self.server.nonsense(format!("a query: {error}")))?;
        Ok(reply.data.result)
    }

    /// The first and the last moment of these points inside a span.
    pub(super) fn first_and_last(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
    ) -> Result<Option<(i64, i64)>, EngineError> {
        let series = format!("reading_seq{{who}}{}", window(&span));
        let query = format!(
            "WITH (who = {}) union(label_set(min(tfirst_over_time({series})), \"end\", \"first\"), \
             label_set(max(tlast_over_time({series})), \"end\", \"last\"))",
            selector(choice)
        );
        let (mut first, mut last) = (None, None);
        for sample in self.query(&query, span.end - 1)? {
            let end = if sample.metric.get("end").is_some_and(|end| end == "first") {
                &mut first
            } else {
                &mut last
            };
            *end = milliseconds(&sample.value.1);
        }
        Ok(first.zip(last))
    }

    /// Everything that it has of these points.
    pub(super) fn export(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
        found: &mut Moments<'_>,
    ) -> Result<(), EngineError> {
        let series = format!("{{__name__=~\"reading_(value|quality|epoch|seq)\",{}", &selector(choice)[1..]);
        let (start, end) = (seconds(span.start), seconds(span.end - 1));
        let parameters = [("match[]", series.as_str()), ("start", &start), ("end", &end)];
        let text = self.server.ask("/api/v1/export", &parameters)?;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let Line { metric, values, timestamps } = serde_json::from_str(line)
                .map_err(|error| self.server.nonsense(format!("an export: {error}")))?;
            let (who, field) = (who(&metric), field(tag(&metric, "__name__")));
            for (at, value) in timestamps.into_iter().zip(values) {
                if let Some(value) = value {
                    found.put(who, field, at, value);
                }
            }
        }
        Ok(())
    }

    /// The last number of every field of every series, and when that was.
    pub(super) fn last(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
        found: &mut Moments<'_>,
    ) -> Result<(), EngineError> {
        let series = format!("{{who}}{}", window(&span));
        let parts = FIELDS.iter().flat_map(|field| {
            [("when", "tlast_over_time"), ("what", "last_over_time")].map(|(asked, function)| {
                format!(
                    "label_set({function}(reading_{field}{series}), \"asked\", \"{asked}\", \"field\", \"{field}\")"
                )
            })
        });
        // The names are said once: the server reads no longer question than 16 KiB.
        let query =
            format!("WITH (who = {}) union({})", selector(choice), parts.collect::<Vec<_>>().join(", "));
        let mut ends: HashMap<BTreeMap<String, String>, (Option<i64>, Option<f64>)> = HashMap::new();
        for Sample { mut metric, value } in self.query(&query, span.end - 1)? {
            // Some functions keep the series' name, others do not.
            metric.remove("__name__");
            let when = metric.remove("asked").is_some_and(|asked| asked == "when");
            let end = ends.entry(metric).or_default();
            if when {
                end.0 = milliseconds(&value.1);
            } else {
                end.1 = value.1.parse().ok();
            }
        }
        for (metric, end) in &ends {
            if let (Some(at), Some(number)) = *end {
                found.put(who(metric), tag(metric, "field"), at, number);
            }
        }
        Ok(())
    }
}

fn tag<'a>(metric: &'a BTreeMap<String, String>, key: &str) -> &'a str {
    metric.get(key).map_or("", String::as_str)
}

fn who(metric: &BTreeMap<String, String>) -> crate::names::Who<'_> {
    (tag(metric, "gateway"), tag(metric, "device"), tag(metric, "point"))
}

/// The field that a series holds.
fn field(name: &str) -> &str {
    name.strip_prefix("reading_").unwrap_or(name)
}

/// What chooses the series of these points, whatever else their tags say.
pub(super) fn selector(choice: &Choice<'_>) -> String {
    let one = |key: &str, value: &str| format!("{key}={}", quoted(value));
    let any = |key: &str, pattern: &str| format!("{key}=~{}", quoted(pattern));
    format!("{{{}}}", choice.conditions(one, any).join(","))
}

/// A window of time that ends with the moment of the question. The server may cut off a millisecond of its length.
fn window(span: &Range<i64>) -> String {
    format!("[{}ms]", span.end - span.start + 1)
}

/// A text in quotes, as the query language reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Seconds for the server, which multiplies them and cuts off: a little more than the millisecond, so that it stays whole.
pub(super) fn seconds(ms: i64) -> String {
    format!("{}.{:03}3", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

/// A moment that the server says in seconds.
fn milliseconds(text: &str) -> Option<i64> {
    text.parse::<f64>().ok().map(|seconds| (seconds * 1e3).round() as i64)
}
