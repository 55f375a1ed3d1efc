//! One measured quantity: what it is, its stored readings, its aggregates.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use sitian_series::outline::COLUMNS_MAX;
use utoipa::IntoParams;

use crate::backend::ReadingsQuery;
use crate::limits::{AGGREGATES_SPAN_MS_MAX, DAY_MS, READINGS_SPAN_MS_MAX, ROWS_MAX};
use crate::problem::Problem;
use crate::query::{Nothing, Params, PointPath, cursor, extras, limit, span, span_as_asked, windows};
use crate::routes::{App, tagged_whole};
use crate::view::{self, Aggregates, Point, Readings};

const ROWS_DEFAULT: usize = 1_000;
const COLUMNS_DEFAULT: usize = 800;
const READINGS_SPAN_MS_DEFAULT: i64 = 3_600_000;

/// One point.
#[utoipa::path(get, path = "/api/v1/points/{gateway}/{device}/{key}", tag = "points",
    params(("gateway" = String, Path), ("device" = String, Path), ("key" = String, Path)), responses(
    (status = 200, body = Point), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn point(
    State(app): State<App>,
    headers: HeaderMap,
    PointPath(id): PointPath,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    app.ask(move |backend| backend.point(&id)).await.map(|point| tagged_whole(&headers, &point))
}

/// Which readings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadingsParams {
    /// RFC 3339 with offset; an hour before `to` if absent. At most 31 days before `to`.
    #[param(example = "2026-05-04T06:00:00+08:00")]
    from: Option<String>,
    /// RFC 3339 with offset, itself excluded; now if absent. Readings stamped ahead of now come from a gateway whose
    /// clock was not set; completeness is counted until now.
    #[param(example = "2026-05-04T07:00:00+08:00")]
    to: Option<String>,
    /// Readings per page; 1 to 10000, 1000 if absent.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; keep the other parameters as they were.
    cursor: Option<String>,
    /// Instead of the readings stamped in the span, those whose time nobody knows and that may have been taken in it; `at` is
    /// then what the gateway's clock said.
    undated: Option<bool>,
}

/// Stored readings of one point, page by page.
#[utoipa::path(get, path = "/api/v1/points/{gateway}/{device}/{key}/readings", tag = "points",
    params(("gateway" = String, Path), ("device" = String, Path), ("key" = String, Path), ReadingsParams), responses(
    (status = 200, body = Readings), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn readings(
    State(app): State<App>,
    headers: HeaderMap,
    PointPath(id): PointPath,
    Params(params): Params<ReadingsParams>,
) -> Result<Response, Problem> {
    let (from, to) = (params.from.as_deref(), params.to.as_deref());
    let query = ReadingsQuery {
        span: span_as_asked(from, to, app.backend().now(), READINGS_SPAN_MS_DEFAULT, READINGS_SPAN_MS_MAX)?,
        limit: limit(params.limit, ROWS_DEFAULT, ROWS_MAX)?,
        after: cursor(params.cursor)?,
        undated: params.undated.unwrap_or(false),
    };
    let found = app.ask_expensive(move |backend| backend.readings(&id, &query)).await?;
    Ok(tagged_whole(&headers, &found))
}

/// Which windows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AggregatesParams {
    /// RFC 3339 with offset; a day before `to` if absent. At most 366 days before `to`.
    #[param(example = "2026-05-04T00:00:00+08:00")]
    from: Option<String>,
    /// RFC 3339 with offset, itself excluded; now if absent or later than now.
    #[param(example = "2026-05-05T00:00:00+08:00")]
    to: Option<String>,
    /// A number and s, m, h or d; at least 1s, and at most 2000 windows; a round one that gives up to 500 if absent.
    #[param(example = "5m")]
    window: Option<String>,
    /// What else the windows shall tell, separated by commas: `twa` (time-weighted mean), `increase` (of a counter),
    /// percentiles such as `p50`, `p95` or `p99.9` (at most 8). `mean`, `min`, `max`, `first`, `last`, `count` and `sum`
    /// are always told.
    #[serde(rename = "fn")]
    #[param(example = "mean,p95,twa")]
    functions: Option<String>,
}

/// Mean, least, greatest, first and last value per window of time, and more on request.
///
/// Windows begin on round local times, so the first one may begin before `from`.
#[utoipa::path(get, path = "/api/v1/points/{gateway}/{device}/{key}/aggregates", tag = "points",
    params(("gateway" = String, Path), ("device" = String, Path), ("key" = String, Path), AggregatesParams), responses(
    (status = 200, body = Aggregates), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn aggregates(
    State(app): State<App>,
    headers: HeaderMap,
    PointPath(id): PointPath,
    Params(params): Params<AggregatesParams>,
) -> Result<Response, Problem> {
    let (from, to) = (params.from.as_deref(), params.to.as_deref());
    let span = span(from, to, app.backend().now(), DAY_MS, AGGREGATES_SPAN_MS_MAX)?;
    let (span, window_ms) = windows(params.window.as_deref(), span, app.zone())?;
    let extras = extras(params.functions.as_deref())?;
    let found = app.ask_expensive(move |backend| backend.aggregates(&id, span, window_ms, &extras)).await?;
    Ok(tagged_whole(&headers, &found))
}

/// Which picture.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OutlineParams {
    /// RFC 3339 with offset; a day before `to` if absent. At most 366 days before `to`.
    #[param(example = "2026-05-04T00:00:00+08:00")]
    from: Option<String>,
    /// RFC 3339 with offset, itself excluded; now if absent or later than now.
    #[param(example = "2026-05-05T00:00:00+08:00")]
    to: Option<String>,
    /// Columns of the picture, usually its width in pixels; 1 to 4000, 800 if absent.
    #[param(minimum = 1, maximum = 4000)]
    columns: Option<usize>,
}

/// The readings that a picture shows: of every column the first, least, greatest and last, and the first without a value.
///
/// A line drawn through them is the line drawn through all readings, spikes included.
#[utoipa::path(get, path = "/api/v1/points/{gateway}/{device}/{key}/outline", tag = "points",
    params(("gateway" = String, Path), ("device" = String, Path), ("key" = String, Path), OutlineParams), responses(
    (status = 200, body = Readings), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn outline(
    State(app): State<App>,
    headers: HeaderMap,
    PointPath(id): PointPath,
    Params(params): Params<OutlineParams>,
) -> Result<Response, Problem> {
    let (from, to) = (params.from.as_deref(), params.to.as_deref());
    let span = span(from, to, app.backend().now(), DAY_MS, AGGREGATES_SPAN_MS_MAX)?;
    let columns = params.columns.unwrap_or(COLUMNS_DEFAULT);
    if !(1..=COLUMNS_MAX).contains(&columns) {
        return Err(Problem::invalid(format!("columns is {columns}, but must be 1 to {COLUMNS_MAX}")));
    }
    let found = app.ask_expensive(move |backend| backend.outline(&id, span, columns)).await?;
    Ok(tagged_whole(&headers, &found))
}
