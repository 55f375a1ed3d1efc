//! Questions to VictoriaMetrics. Rows are exported slice by slice of time, so that memory does not grow with the span;
//! the newest row of many points is one question.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use serde::Deserialize;
use sitian_model::{PointNo, Row, Span};
use sitian_series::{AggregateQuery, Cursor, Page, RangeQuery, Series, SeriesError, Window, WindowFold};

use super::{AHEAD_MS_MAX, DAY_MS, now_ms, rows, windows};
use crate::fault::EngineError;
use crate::names::{Named, Names};
use crate::server::Server;

/// The server does not look into the first day of 1970 when it is asked for a window of time.
pub(super) const FIRST_MS: i64 = DAY_MS;
/// The first slice of a walk, and bounds of the later ones: slices should hold some ten thousand rows.
const SLICE_MS: i64 = DAY_MS;
const SLICE_MS_MIN: i64 = 60_000;
const SLICE_MS_MAX: i64 = 366 * DAY_MS;
const SLICE_ROWS: std::ops::Range<usize> = 5_000..50_000;
/// How far back the newest rows are looked for, from short to long: most points have spoken lately.
const LOOKS_MS: [i64; 3] = [3 * DAY_MS, 40 * DAY_MS, i64::MAX];
/// Most points of one question.
const POINTS_MAX: usize = 500;

/// Reads from VictoriaMetrics. Its methods wait for the server.
#[derive(Debug, Clone)]
pub struct VictoriaReader {
    server: Server,
    names: Arc<Names>,
}

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

/// Gateway, device, point.
type Who<'a> = (&'a str, &'a str, &'a str);

impl VictoriaReader {
    pub(super) fn new(server: Server, names: Arc<Names>) -> Self {
        Self { server, names }
    }

    /// Asks one question about one moment.
    fn query(&self, query: &str, at_ms: i64) -> Result<Vec<Sample>, EngineError> {
        let parameters = [("query", query), ("time", &seconds(at_ms)), ("nocache", "1")];
        let text = self.server.ask("/api/v1/query", &parameters)?;
        let reply: Reply =
            serde_json::from_str(&text).map_err(|error| self.server.nonsense(format!("a query: {error}")))?;
        Ok(reply.data.result)
    }

    /// The first and the last moment of a point inside a span that the server can look into.
    fn ends(&self, named: &Named, span: Span) -> Result<Option<(i64, i64)>, EngineError> {
        let (from, to) = (span.from.0.max(FIRST_MS), span.to.0.min(now_ms() + AHEAD_MS_MAX + DAY_MS));
        if from >= to {
            return Ok(None);
        }
        // A window of time ends with the moment of the question. The server may cut off a millisecond of its length.
        let series = format!("reading_seq{}[{}ms]", selector(named), to - from + 2);
        let query = format!(
            "union(label_set(min(tfirst_over_time({series})), \"end\", \"first\"), \
             label_set(max(tlast_over_time({series})), \"end\", \"last\"))"
        );
        let (mut first, mut last) = (None, None);
        for sample in self.query(&query, to - 1)? {
            let end = if sample.metric.get("end").is_some_and(|end| end == "first") {
                &mut first
            } else {
                &mut last
            };
            *end = milliseconds(&sample.value.1);
        }
        Ok(first.zip(last).map(|(first, last)| (first.max(from), last)))
    }

    /// The rows of a point from one moment up to another (excluded).
    fn export(&self, named: &Named, point: PointNo, from: i64, to: i64) -> Result<Vec<Row>, EngineError> {
        let series = format!("{{__name__=~\"reading_(value|quality|epoch|seq)\",{}", &selector(named)[1..]);
        let parameters = [("match[]", series.as_str()), ("start", &seconds(from)), ("end", &seconds(to - 1))];
        let text = self.server.ask("/api/v1/export", &parameters)?;
        let found = rows::of_export(&text, &self.names, point);
        let mut found = found.map_err(|error| self.server.nonsense(format!("an export: {error}")))?;
        found.retain(|row| (from..to).contains(&row.at.0));
        Ok(found)
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Hands out the rows of a point inside a span, slice by slice, until `each` says stop.
    pub(super) fn scan(
        &self,
        point: PointNo,
        span: Span,
        each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), EngineError> {
        let Some(named) = self.names.of(point) else { return Ok(()) };
        let Some((first, last)) = self.ends(&named, span)? else { return Ok(()) };
        let (mut from, mut slice_ms) = (first, SLICE_MS);
        while from <= last {
            let to = from.saturating_add(slice_ms).min(last + 1);
            let rows = self.export(&named, point, from, to)?;
            if !rows.iter().all(&mut *each) {
                return Ok(());
            }
            if rows.len() < SLICE_ROWS.start {
                slice_ms = (slice_ms * 2).min(SLICE_MS_MAX);
            } else if rows.len() >= SLICE_ROWS.end {
                slice_ms = (slice_ms / 2).max(SLICE_MS_MIN);
            }
            from = to;
        }
        Ok(())
    }

    /// The newest rows of points within so many milliseconds.
    fn newest(
        &self,
        points: &[(PointNo, Arc<Named>)],
        back_ms: i64,
        found: &mut HashMap<PointNo, Row>,
    ) -> Result<(), EngineError> {
        let at_ms = now_ms() + AHEAD_MS_MAX + DAY_MS;
        let back_ms = (back_ms.saturating_add(AHEAD_MS_MAX + DAY_MS)).min(at_ms - FIRST_MS);
        let query = newest_query(points.iter().map(|(_, named)| &**named), back_ms);
        let mut series: HashMap<BTreeMap<String, String>, Newest> = HashMap::new();
        for Sample { mut metric, value } in self.query(&query, at_ms)? {
            let field = metric.remove("field").unwrap_or_default();
            // Some functions keep the series' name, which differs by field.
            metric.remove("__name__");
            let when = metric.remove("asked").is_some_and(|asked| asked == "when");
            let newest = series.entry(metric).or_default();
            if when {
                newest.times.extend(milliseconds(&value.1).map(|at| (field, at)));
            } else if let Ok(number) = value.1.parse() {
                newest.fields.set(&field, number);
            }
        }
        // Tags that do not name the point may have changed: then its newest row is in one of several series.
        let mut of_points: HashMap<Who<'_>, (i64, &Newest)> = HashMap::new();
        for (tags, newest) in &series {
            let tag = |key: &str| tags.get(key).map_or("", String::as_str);
            let Some(at) = newest.times.get("seq").copied() else { continue };
            let best = of_points.entry((tag("gateway"), tag("device"), tag("point"))).or_insert((at, newest));
            if at > best.0 {
                *best = (at, newest);
            }
        }
        for (point, named) in points {
            let tags = &named.tags;
            let Some((at, newest)) = of_points.get(&(&tags.gateway, &tags.device, &tags.point)) else {
                continue;
            };
            // Rows that came while the server was answering make the fields disagree: then this one point is read.
            let row = match newest.row(&self.names, *point, *at) {
                Some(row) => Some(row),
                None => self.export(named, *point, *at, at + 1)?.pop(),
            };
            found.extend(row.map(|row| (*point, row)));
        }
        Ok(())
    }
}

/// What the server says of the end of a series: the last number of every field, and when that was.
#[derive(Debug, Default)]
struct Newest {
    times: HashMap<String, i64>,
    fields: rows::Fields,
}

impl Newest {
    /// The row of a moment, if all that is newest is of that moment.
    fn row(&self, names: &Names, point: PointNo, at: i64) -> Option<Row> {
        let of_then = |field: &str| self.times.get(field) == Some(&at);
        let value = self.fields.value.filter(|_| of_then("value"));
        let whole = of_then("quality") && of_then("epoch");
        rows::Fields { value, ..self.fields }.row(names, point, at).filter(|_| whole)
    }
}

impl Series for VictoriaReader {
    fn latest(&self, points: &[PointNo]) -> Result<Vec<Option<Row>>, SeriesError> {
        let mut found = HashMap::new();
        let mut left: Vec<(PointNo, Arc<Named>)> =
            points.iter().filter_map(|point| Some((*point, self.names.of(*point)?))).collect();
        left.sort_by_key(|(point, _)| *point);
        left.dedup_by_key(|(point, _)| *point);
        for back_ms in LOOKS_MS {
            for part in left.chunks(POINTS_MAX) {
                self.newest(part, back_ms, &mut found)?;
            }
            left.retain(|(point, _)| !found.contains_key(point));
        }
        Ok(points.iter().map(|point| found.get(point).copied()).collect())
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, SeriesError> {
        query.check()?;
        let from = query.after.map_or(query.span.from, |after| after.at.max(query.span.from));
        let mut rows = Vec::new();
        self.scan(query.point, Span { from, ..query.span }, &mut |row| {
            if query.after.is_none_or(|after| Cursor::of(row) > after) {
                rows.push(*row);
            }
            rows.len() <= query.limit
        })?;
        Ok(Page::cut(rows, query.limit))
    }

    fn walk(
        &self,
        point: PointNo,
        span: Span,
        each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), SeriesError> {
        Ok(self.scan(point, span, each)?)
    }

    fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Window>, SeriesError> {
        if let Some(windows) = windows::of(self, query)? {
            return Ok(windows);
        }
        let mut fold = WindowFold::new(query)?;
        self.scan(query.point, query.reach(), &mut |row| {
            fold.observe_row(row);
            true
        })?;
        Ok(fold.finish()?)
    }
}

/// The last number and its moment, of every field of every series of these points.
fn newest_query<'a>(points: impl Iterator<Item = &'a Named>, back_ms: i64) -> String {
    let (mut gateways, mut keys): (Vec<&str>, Vec<Who<'_>>) = (Vec::new(), Vec::new());
    for Named { tags, .. } in points {
        gateways.push(&tags.gateway);
        keys.push((&tags.gateway, &tags.device, &tags.point));
    }
    gateways.sort_unstable();
    gateways.dedup();
    let any = |texts: Vec<&str>| texts.iter().map(|text| pattern(text)).collect::<Vec<_>>().join("|");
    let mut narrowed = format!("gateway=~{}", quoted(&any(gateways)));
    for (key, mut values) in [
        ("device", keys.iter().map(|key| key.1).collect::<Vec<_>>()),
        ("point", keys.iter().map(|key| key.2).collect()),
    ] {
        values.sort_unstable();
        values.dedup();
        // A string takes everything.
        let _ = write!(narrowed, ",{key}=~{}", quoted(&any(values)));
    }
    let mut parts = Vec::new();
    for field in ["value", "quality", "epoch", "seq"] {
        for (asked, function, over) in [("when", "tlast_over_time", "max"), ("what", "last_over_time", "max")]
        {
            parts.push(format!(
                "label_set({over}({function}(reading_{field}{{{narrowed}}}[{back_ms}ms])) by (gateway, device, point), \
                 \"asked\", \"{asked}\", \"field\", \"{field}\")"
            ));
        }
    }
    format!("union({})", parts.join(", "))
}

/// What chooses the series of a point, whatever else their tags say.
pub(super) fn selector(named: &Named) -> String {
    let tags = &named.tags;
    let named = [("gateway", &tags.gateway), ("device", &tags.device), ("point", &tags.point)];
    let parts: Vec<String> = named.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    format!("{{{}}}", parts.join(","))
}

/// A text in quotes, as the query language reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
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

/// Seconds for the server, which multiplies them and cuts off: a little more than the millisecond, so that it stays whole.
pub(super) fn seconds(ms: i64) -> String {
    format!("{}.{:03}3", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

/// A moment that the server says in seconds.
fn milliseconds(text: &str) -> Option<i64> {
    text.parse::<f64>().ok().map(|seconds| (seconds * 1e3).round() as i64)
}
