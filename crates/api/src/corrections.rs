//! Readings that a person knows better: what they say instead, who says so, why, and what the sensor sent.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sitian_model::Span;
use utoipa::IntoParams;

use crate::alerts::{BY_CHARS_MAX, NOTE_CHARS_MAX, plain};
use crate::backend::{Change, CorrectionsQuery, NewCorrection};
use crate::limits::{AGGREGATES_SPAN_MS_MAX, CORRECTIONS_MAX, DAY_MS};
use crate::problem::Problem;
use crate::query::{Body, Nothing, Params, PointPath, cursor, limit, moment, span_as_asked};
use crate::routes::App;
use crate::view::{self, Correct, Corrected, Correction, Page};

const CORRECTIONS_DEFAULT: usize = 100;

/// Which corrections.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CorrectionsParams {
    /// Of readings from this moment on, RFC 3339 with offset; a day before `to` if absent. At most 366 days before `to`.
    #[param(example = "2026-05-04T00:00:00+08:00")]
    from: Option<String>,
    /// RFC 3339 with offset, itself excluded; now if absent.
    #[param(example = "2026-05-05T00:00:00+08:00")]
    to: Option<String>,
    /// At most this many; 1 to 500, 100 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; keep the other parameters as they were.
    cursor: Option<String>,
}

/// Every correction of a point's readings, the newest first: what was said, by whom, and what stood there before.
#[utoipa::path(get, operation_id = "list_corrections", path = "/api/v1/points/{gateway}/{device}/{key}/corrections", tag = "points",
    params(("gateway" = String, Path), ("device" = String, Path), ("key" = String, Path), CorrectionsParams), responses(
    (status = 200, body = Page<Correction>), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn list(
    State(app): State<App>,
    PointPath(id): PointPath,
    Params(params): Params<CorrectionsParams>,
) -> Result<Json<Page<Correction>>, Problem> {
    let (from, to) = (params.from.as_deref(), params.to.as_deref());
    let query = CorrectionsQuery {
        span: span_as_asked(from, to, app.backend().now(), DAY_MS, AGGREGATES_SPAN_MS_MAX)?,
        limit: limit(params.limit, CORRECTIONS_DEFAULT, CORRECTIONS_MAX)?,
        after: cursor(params.cursor)?,
    };
    app.ask_expensive(move |backend| backend.corrections(&id, &query)).await.map(Json)
}

/// Corrects the readings of a span, one or many.
///
/// Durable when this answers. What the sensor sent stays in the history for as long as the reading; windows follow at once. Alerts are
/// not judged anew. Idempotent: what already says so is left as it is, and `add` counts from what the sensor sent.
#[utoipa::path(post, path = "/api/v1/points/{gateway}/{device}/{key}/corrections", tag = "points", request_body = Correct,
    params(("gateway" = String, Path), ("device" = String, Path), ("key" = String, Path)), responses(
    (status = 200, body = Corrected), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn correct(
    State(app): State<App>,
    PointPath(id): PointPath,
    _: Params<Nothing>,
    Body(body): Body<Correct>,
) -> Result<Json<Corrected>, Problem> {
    let (from, to) = (moment("from", &body.from)?, moment("to", &body.to)?);
    if from >= to {
        return Err(Problem::invalid("from must be earlier than to"));
    }
    let change = match (body.set, body.add, body.restore) {
        (Some(value), None, false) => Change::Set(value),
        (None, Some(value), false) => Change::Add(value),
        (None, None, true) => Change::Restore,
        _ => return Err(Problem::invalid("exactly one of set, add and restore says what is right")),
    };
    let wanted = NewCorrection {
        span: Span { from, to },
        change,
        by: plain("by", &body.by, 1, BY_CHARS_MAX)?,
        note: plain("note", &body.note, 1, NOTE_CHARS_MAX)?,
    };
    app.ask_expensive(move |backend| backend.correct(&id, &wanted)).await.map(Json)
}
