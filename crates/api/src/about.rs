//! About the server itself: health, catalogues, the description of the API.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::openapi::document;
use crate::problem::Problem;
use crate::query::{Nothing, Params};
use crate::routes::{App, tagged_whole};
use crate::view::{self, Health, List, Measurement, Rule};

/// What figures are sent as.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Is the ingestor able to do its work?
///
/// Always 200 while the process answers; `status` says the rest.
#[utoipa::path(get, path = "/api/v1/health", tag = "about", responses(
    (status = 200, body = Health), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn health(State(app): State<App>, _: Params<Nothing>) -> Json<Health> {
    Json(app.backend().health())
}

/// The server's own health as figures, for Prometheus: OpenMetrics 1.0 text.
///
/// Put together when it is asked for. What the names mean, and which alerts to make of them, says the operators' runbook.
#[utoipa::path(get, path = "/metrics", tag = "about", responses(
    (status = 200, content_type = "application/openmetrics-text", body = String),
    (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn metrics(State(app): State<App>, _: Params<Nothing>) -> Result<Response, Problem> {
    let work = app.work();
    let page = app.ask(move |backend| Ok(backend.metrics(&work))).await?;
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], page).into_response())
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "about", responses(
    (status = 200, description = "An OpenAPI 3.1 document", body = Object)))]
pub async fn openapi(headers: HeaderMap, _: Params<Nothing>) -> Response {
    let document = document();
    tagged_whole(&headers, document)
}

/// The catalogue of measurements.
#[utoipa::path(get, path = "/api/v1/measurements", tag = "about", responses(
    (status = 200, body = List<Measurement>), (status = "4XX", body = view::Problem)))]
pub async fn measurements(State(app): State<App>, headers: HeaderMap, _: Params<Nothing>) -> Response {
    let list = List { items: app.backend().measurements() };
    tagged_whole(&headers, &list)
}

/// The alert rules.
#[utoipa::path(get, path = "/api/v1/rules", tag = "about", responses(
    (status = 200, body = List<Rule>), (status = "4XX", body = view::Problem)))]
pub async fn rules(
    State(app): State<App>,
    headers: HeaderMap,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    let list = List { items: app.backend().rules() };
    Ok(tagged_whole(&headers, &list))
}
