//! The texts of questions in Flux. They are kept to what the server works out in its storage: `range`, `filter`, `first`,
//! `last`, `limit` and windows of one aggregate; everything else is done with the answer.

use std::fmt::Write;
use std::ops::Range;

use crate::line::MEASUREMENT;
use crate::names::Choice;

/// The columns of a moment.
const MOMENT: &str =
    "|> keep(columns: [\"_time\", \"_value\", \"_field\", \"gateway\", \"device\", \"point\"])";
/// Time and number alone.
const NUMBER: &str = "|> keep(columns: [\"_time\", \"_value\"])";

/// A question that finds nothing, and says whether there is somebody who would look.
pub(super) fn nothing(bucket: &str) -> String {
    format!("{} |> limit(n: 1)", source(bucket, &(0..1)))
}

/// The first and the last moment, as results `first` and `last`.
pub(super) fn ends(bucket: &str, choice: &Choice<'_>, span: &Range<i64>) -> String {
    let seq = of_field(bucket, choice, span, "seq");
    let end = |name: &str| format!("{seq} |> {name}() {NUMBER} |> yield(name: \"{name}\")\n");
    end("first") + &end("last")
}

/// All fields of all moments, or of the first `most` of each series.
pub(super) fn fields(bucket: &str, choice: &Choice<'_>, span: &Range<i64>, most: Option<usize>) -> String {
    let limit = most.map_or_else(String::new, |most| format!("|> limit(n: {most}) "));
    format!("{} {limit}{MOMENT}", of_row(bucket, choice, span))
}

/// The last of each field.
pub(super) fn newest(bucket: &str, choice: &Choice<'_>, span: &Range<i64>) -> String {
    format!("{} |> last() {MOMENT}", of_row(bucket, choice, span))
}

/// Windows of one point: their rows (`all`), the aggregates of their values by the aggregates' own names, and the moments
/// that are not good (`doubtful`), at most so many. A window is told at its end.
pub(super) fn windows(
    bucket: &str,
    choice: &Choice<'_>,
    span: &Range<i64>,
    window_ms: i64,
    doubtful_max: usize,
) -> String {
    let offset_ms = span.start.rem_euclid(window_ms);
    let of = |series: &str, function: &str, name: &str| {
        format!(
            "{series} |> aggregateWindow(every: {window_ms}ms, offset: {offset_ms}ms, fn: {function}, createEmpty: false) \
             {NUMBER} |> yield(name: \"{name}\")\n"
        )
    };
    let (quality, value) =
        (of_field(bucket, choice, span, "quality"), of_field(bucket, choice, span, "value"));
    let mut text = of(&quality, "count", "all");
    for function in ["sum", "min", "max", "first", "last"] {
        text += &of(&value, function, function);
    }
    // A string takes everything.
    let _ = writeln!(
        text,
        "{quality} |> filter(fn: (r) => r._value != 0) |> limit(n: {doubtful_max}) {NUMBER} |> yield(name: \"doubtful\")"
    );
    text
}

fn of_field(bucket: &str, choice: &Choice<'_>, span: &Range<i64>, field: &str) -> String {
    narrowed(bucket, choice, span, &format!("r._field == \"{field}\""))
}

fn of_row(bucket: &str, choice: &Choice<'_>, span: &Range<i64>) -> String {
    let fields = ["value", "quality", "epoch", "seq"].map(|field| format!("r._field == \"{field}\""));
    narrowed(bucket, choice, span, &format!("({})", fields.join(" or ")))
}

fn narrowed(bucket: &str, choice: &Choice<'_>, span: &Range<i64>, field: &str) -> String {
    let one = |key: &str, value: &str| format!("r.{key} == {}", string(value));
    let any = |key: &str, pattern: &str| format!("r.{key} =~ {}", regex(pattern));
    let conditions = choice.conditions(one, any).join(" and ");
    let source = source(bucket, span);
    format!("{source} |> filter(fn: (r) => r._measurement == \"{MEASUREMENT}\" and {field} and {conditions})")
}

fn source(bucket: &str, span: &Range<i64>) -> String {
    let time = |ms: i64| format!("time(v: {})", ms.saturating_mul(1_000_000));
    let (start, stop) = (time(span.start), time(span.end));
    format!("from(bucket: {}) |> range(start: {start}, stop: {stop})", string(bucket))
}

/// A text as Flux reads it; what stands in it is never taken for an expression.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' if chars.peek() == Some(&'{') => {
                chars.next();
                out.push_str("\\${");
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// A whole text that fits a pattern.
fn regex(pattern: &str) -> String {
    format!("/^(?:{})$/", pattern.replace('/', "\\/"))
}

#[cfg(test)]
#[path = "flux/tests.rs"]
mod tests;
