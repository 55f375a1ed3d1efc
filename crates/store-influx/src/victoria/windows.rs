//! Windows that VictoriaMetrics works out itself. Its window of a moment begins just behind its other end and holds the
//! moment; ours holds its beginning and not its end: so it is asked about the last millisecond of each.

use std::collections::BTreeMap;

use serde::Deserialize;
use sitian_model::{Cause, Quality};
use sitian_series::Window;

use super::questions::{seconds, selector};
use crate::fault::EngineError;
use crate::names::Choice;
use crate::server::Server;

#[derive(Deserialize)]
struct Reply {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// Numbers of windows by what was asked, one for each window that has any.
type Numbers = BTreeMap<String, BTreeMap<usize, f64>>;

/// Gives windows of one length, without holes between them, their numbers. False if the tags of the point changed within
/// one of them: then the server cannot tell which value came first.
pub(super) fn fill(
    server: &Server,
    choice: &Choice<'_>,
    window_ms: i64,
    windows: &mut [Window],
) -> Result<bool, EngineError> {
    let (who, length) = (selector(choice), format!("[{}s]", window_ms / 1_000));
    let over = |function: &str, field: &str| format!("{function}_over_time(reading_{field}{who}{length})");
    let equal = |code: u8| format!("sum(count_eq_over_time(reading_quality{who}{length}, {code}))");
    let asked = [
        ("series", format!("count({})", over("count", "seq"))),
        ("all", format!("sum({})", over("count", "quality"))),
        ("good", equal(Quality::Good.code())),
        ("sum", format!("sum({})", over("sum", "value"))),
        ("min", format!("min({})", over("min", "value"))),
        ("max", format!("max({})", over("max", "value"))),
        ("first", format!("max({})", over("first", "value"))),
        ("last", format!("max({})", over("last", "value"))),
    ];
    let asked = asked.map(|(name, query)| (name.to_owned(), query));
    let numbers = ask(server, &asked, window_ms, windows)?;
    let of = |name: &str, n: usize| numbers.get(name).and_then(|numbers| numbers.get(&n)).copied();
    if (0..windows.len()).any(|n| of("series", n).is_some_and(|series| series > 1.0)) {
        return Ok(false);
    }
    let mut doubtful = false;
    for (n, window) in windows.iter_mut().enumerate() {
        window.good = of("good", n).unwrap_or(0.0) as u64;
        doubtful |= of("all", n).unwrap_or(0.0) as u64 > window.good;
        (window.min, window.max) = (of("min", n), of("max", n));
        (window.first, window.last) = (of("first", n), of("last", n));
        window.sum = of("sum", n).unwrap_or(0.0);
    }
    if doubtful {
        let causes = Cause::ALL.into_iter();
        let qualities: Vec<Quality> =
            causes.flat_map(|cause| [Quality::Uncertain(cause), Quality::Bad(cause)]).collect();
        let asked: Vec<(String, String)> =
            qualities.iter().map(|quality| (quality.code().to_string(), equal(quality.code()))).collect();
        let numbers = ask(server, &asked, window_ms, windows)?;
        for quality in qualities {
            for (n, count) in numbers.get(&quality.code().to_string()).into_iter().flatten() {
                let count = *count as u64;
                match quality {
                    Quality::Bad(cause) if count > 0 => drop(windows[*n].bad.insert(cause, count)),
                    Quality::Bad(_) | Quality::Good => {}
                    Quality::Uncertain(_) => windows[*n].uncertain += count,
                }
            }
        }
    }
    Ok(true)
}

/// Asks several questions about every window at once.
fn ask(
    server: &Server,
    asked: &[(String, String)],
    window_ms: i64,
    windows: &[Window],
) -> Result<Numbers, EngineError> {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Ok(Numbers::new()) };
    let parts: Vec<String> =
        asked.iter().map(|(name, query)| format!("label_set({query}, \"asked\", \"{name}\")")).collect();
    let query = format!("union({})", parts.join(", "));
    let step = format!("{}s", window_ms / 1_000);
    let (start, end) = (first.to.0 - 1, last.to.0 - 1);
    let parameters = [
        ("query", query.as_str()),
        ("start", &seconds(start)),
        ("end", &seconds(end)),
        ("step", &step),
        ("nocache", "1"),
    ];
    let text = server.ask("/api/v1/query_range", &parameters)?;
    let reply: Reply =
        serde_json::from_str(&text).map_err(|error| server.nonsense(format!("windows: {error}")))?;
    let mut numbers = Numbers::new();
    for Line { metric, values } in reply.data.result {
        let name = metric.get("asked").cloned().unwrap_or_default();
        let of_name = numbers.entry(name).or_default();
        for (at, number) in values {
            let place = ((at * 1e3).round() as i64 - start).div_euclid(window_ms);
            let place = usize::try_from(place).ok().filter(|place| *place < windows.len());
            if let (Some(place), Ok(number)) = (place, number.parse()) {
                of_name.insert(place, number);
            }
        }
    }
    Ok(numbers)
}
