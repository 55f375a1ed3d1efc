//! From the text of a request to values: paths, parameters, bodies, spans and windows. What does not fit is a problem.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sitian_model::{DeviceId, GatewayId, PointId, PointKey, Span, Timestamp};
use sitian_series::window::PERCENTILES_MAX;
use sitian_series::{Extras, Permille};

use crate::limits::{CURSOR_CHARS_MAX, DAY_MS, WINDOW_MS_MAX, WINDOW_MS_MIN, WINDOWS_MAX};
use crate::problem::{Kind, Problem};
use crate::zone::{self, Zone};

/// Query parameters; unknown and doubled ones are refused if `T` refuses them.
pub struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri).map_err(|e| Problem::invalid(shorten(&e.body_text())))?;
        Ok(Self(query.0))
    }
}

/// No query parameters at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A JSON body; unknown fields are refused if `T` refuses them.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Problem::new(Kind::UnsupportedMediaType, "send the body as application/json"))
            }
            Err(JsonRejection::BytesRejection(e)) if e.status().as_u16() == 413 => {
                Err(Problem::new(Kind::TooLarge, "a body may have 16 KiB"))
            }
            Err(e) => Err(Problem::invalid(shorten(&e.body_text()))),
        }
    }
}

/// Ids of nodes and bases in a path. Anything that is no slug is simply not found.
pub struct NodePath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for NodePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::not_found("place"))?;
        slug(id).map(Self).ok_or_else(|| Problem::not_found("place"))
    }
}

/// `{gateway}/{device}/{key}` in a path. Anything that is no point id is simply not found.
pub struct PointPath(pub PointId);

impl<S: Send + Sync> FromRequestParts<S> for PointPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing = || Problem::not_found("point");
        let Path((gateway, device, key)) = Path::<(String, String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| missing())?;
        let id = |gateway, device, key| {
            Some(PointId {
                gateway: GatewayId::new(gateway).ok()?,
                device: DeviceId::new(device).ok()?,
                key: PointKey::new(key).ok()?,
            })
        };
        id(&gateway, &device, &key).map(Self).ok_or_else(missing)
    }
}

/// The number of an alert in a path. Anything that is no number is simply not found.
pub struct AlertPath(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for AlertPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let number = Path::<u64>::from_request_parts(parts, state).await;
        number.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found("alert"))
    }
}

/// The id of a node as a parameter; what is no slug is not found, like what does not exist.
pub fn scope(id: Option<String>) -> Result<Option<String>, Problem> {
    id.map(|id| slug(id).ok_or_else(|| Problem::not_found("place"))).transpose()
}

/// A page size within `1..=max`.
pub fn limit(asked: Option<usize>, default: usize, max: usize) -> Result<usize, Problem> {
    match asked.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        limit => Err(Problem::invalid(format!(
            "limit is {limit}, but must be 1 to {max}; read on with the next_cursor of the answer"
        ))),
    }
}

/// A cursor that an earlier answer may have given.
pub fn cursor(text: Option<String>) -> Result<Option<String>, Problem> {
    let fits =
        |t: &String| (1..=CURSOR_CHARS_MAX).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic());
    match text {
        Some(text) if !fits(&text) => Err(Problem::invalid("cursor is none that an earlier answer gave")),
        text => Ok(text),
    }
}

/// A moment as a parameter of this name.
pub fn moment(name: &str, text: &str) -> Result<Timestamp, Problem> {
    zone::parse(text).ok_or_else(|| {
        Problem::invalid(format!(
            "{name} must be an RFC 3339 time with offset, such as 2026-05-04T06:30:00%2B08:00"
        ))
    })
}

/// `from` and `to` as a span of at most `max_ms`; by default the last `default_ms` until `now`. It never reaches
/// beyond `now`, because nothing can be expected there yet.
pub fn span(
    from: Option<&str>,
    to: Option<&str>,
    now: Timestamp,
    default_ms: i64,
    max_ms: i64,
) -> Result<Span, Problem> {
    let Span { from, to } = span_as_asked(from, to, now, default_ms, max_ms)?;
    Ok(Span { from, to: to.min(now).max(from) })
}

/// The same, but it may reach beyond `now`: a gateway whose clock ran ahead has stamped readings there, and what is
/// stored can be asked for.
pub fn span_as_asked(
    from: Option<&str>,
    to: Option<&str>,
    now: Timestamp,
    default_ms: i64,
    max_ms: i64,
) -> Result<Span, Problem> {
    let to = to.map(|t| moment("to", t)).transpose()?.unwrap_or(now);
    let from = from.map(|t| moment("from", t)).transpose()?.unwrap_or(to.plus_ms(-default_ms));
    if from >= to {
        return Err(Problem::invalid("from must be earlier than to"));
    }
    if to.since_ms(from) > max_ms {
        let (asked, days) = ((to.since_ms(from) as u64).div_ceil(DAY_MS as u64), max_ms / DAY_MS);
        return Err(Problem::new(
            Kind::TooWide,
            format!("from and to are {asked} days apart, more than {days}; ask in parts"),
        ));
    }
    Ok(Span { from, to })
}

/// The windows of an aggregate: their width, and the span with its start moved back to where a window begins in the
/// zone of the server (a window of one day begins at midnight).
pub fn windows(asked: Option<&str>, span: Span, zone: &Zone) -> Result<(Span, u64), Problem> {
    let window_ms = match asked {
        Some(text) => window(text)?,
        None => fitting_window(span, WINDOWS_MAX / 4),
    };
    let width = window_ms as i64;
    let into = span.from.plus_ms(zone.offset_ms(span.from)).0.rem_euclid(width);
    let aligned = Span { from: span.from.plus_ms(-into), to: span.to };
    let count = (aligned.to.since_ms(aligned.from) as u64).div_ceil(window_ms);
    if count > WINDOWS_MAX {
        let suggestion = show_window(fitting_window(span, WINDOWS_MAX - 1));
        let detail = format!(
            "{count} windows are more than {WINDOWS_MAX}; ask for window={suggestion} or a shorter span"
        );
        return Err(Problem::too_many_windows(detail, suggestion));
    }
    Ok((aligned, window_ms))
}

/// What windows shall tell, from `fn=mean,p95,twa`: what every window tells may be named and changes nothing.
pub fn extras(asked: Option<&str>) -> Result<Extras, Problem> {
    let mut extras = Extras::default();
    for word in asked.into_iter().flat_map(|text| text.split(',')) {
        match word {
            "mean" | "min" | "max" | "first" | "last" | "count" | "sum" => {}
            "twa" => extras.time_weighted = true,
            "increase" => extras.increase = true,
            word => match Permille::parse(word) {
                Some(permille) if !extras.percentiles.contains(&permille) => {
                    extras.percentiles.push(permille)
                }
                Some(_) => {}
                None => {
                    return Err(Problem::invalid(format!(
                        "fn must be a list of mean, min, max, first, last, count, sum, increase, twa and percentiles such as \
                         p95 or p99.9; {:?} is none of them",
                        shorten(word)
                    )));
                }
            },
        }
    }
    if extras.percentiles.len() > PERCENTILES_MAX {
        return Err(Problem::invalid(format!("fn may name {PERCENTILES_MAX} percentiles at most")));
    }
    Ok(extras)
}

fn window(text: &str) -> Result<u64, Problem> {
    let wrong = || {
        Problem::invalid("window must be a number and s, m, h or d, such as 5m; at least 1s, at most 366d")
    };
    let digits = text.len() - 1.min(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let unit_ms: u64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS as u64,
        _ => return Err(wrong()),
    };
    let plain = !number.is_empty() && number.len() <= 9 && number.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = plain.then(|| number.parse().ok()).flatten().ok_or_else(wrong)?;
    let window_ms = number * unit_ms;
    if (WINDOW_MS_MIN..=WINDOW_MS_MAX).contains(&window_ms) { Ok(window_ms) } else { Err(wrong()) }
}

/// The narrowest round window of which at most `count_max` cover the span.
fn fitting_window(span: Span, count_max: u64) -> u64 {
    const ROUND_S: [u64; 18] =
        [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400];
    let length = span.to.since_ms(span.from).max(0) as u64;
    let fits = |window_ms: &u64| length.div_ceil(*window_ms) <= count_max;
    ROUND_S.into_iter().map(|s| s * 1_000).find(fits).unwrap_or(WINDOW_MS_MAX)
}

fn show_window(window_ms: u64) -> String {
    [("d", DAY_MS as u64), ("h", 3_600_000), ("m", 60_000)]
        .into_iter()
        .find(|(_, unit)| window_ms.is_multiple_of(*unit))
        .map_or_else(
            || format!("{}s", window_ms / 1_000),
            |(name, unit)| format!("{}{name}", window_ms / unit),
        )
}

fn slug(id: String) -> Option<String> {
    let fits = (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
    fits.then_some(id)
}

/// Library texts may quote the request at length.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
