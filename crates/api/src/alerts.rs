//! Alerts: the list, and saying that one has been seen.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::backend::{AlertsQuery, PhaseFilter};
use crate::limits::ALERTS_MAX;
use crate::problem::Problem;
use crate::query::{AlertPath, Body, Nothing, Params, cursor, limit, scope};
use crate::routes::App;
use crate::view::{self, Acknowledge, Alert, AlertPage, Phase, Severity};

const ALERTS_DEFAULT: usize = 100;
pub(crate) const BY_CHARS_MAX: usize = 64;
pub(crate) const NOTE_CHARS_MAX: usize = 500;

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertsParams {
    /// Id of a node: its alerts and those below it; every alert if absent.
    #[param(example = "zhangye")]
    scope: Option<String>,
    /// `pending`, `firing`, `resolved`, or `open` for the first two; any if absent.
    #[param(inline)]
    phase: Option<PhaseWord>,
    /// Of exactly this colour; any if absent.
    #[param(inline)]
    severity: Option<Severity>,
    /// Alerts per page; 1 to 500, 100 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; keep the other parameters as they were.
    cursor: Option<String>,
}

/// A phase, or both open ones.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseWord {
    /// Not yet for long enough.
    Pending,
    /// Open.
    Firing,
    /// Over.
    Resolved,
    /// Pending or firing.
    Open,
}

impl From<PhaseWord> for PhaseFilter {
    fn from(word: PhaseWord) -> Self {
        match word {
            PhaseWord::Pending => Self::Only(Phase::Pending),
            PhaseWord::Firing => Self::Only(Phase::Firing),
            PhaseWord::Resolved => Self::Only(Phase::Resolved),
            PhaseWord::Open => Self::Open,
        }
    }
}

/// Alerts, newest first.
///
/// Nothing is missed between this list and a stream that begins after its `log_cursor`.
#[utoipa::path(get, operation_id = "list_alerts", path = "/api/v1/alerts", tag = "alerts", params(AlertsParams), responses(
    (status = 200, body = AlertPage), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn list(
    State(app): State<App>,
    Params(params): Params<AlertsParams>,
) -> Result<Json<AlertPage>, Problem> {
    let query = AlertsQuery {
        scope: scope(params.scope)?,
        phase: params.phase.map(PhaseFilter::from),
        severity: params.severity,
        limit: limit(params.limit, ALERTS_DEFAULT, ALERTS_MAX)?,
        after: cursor(params.cursor)?,
    };
    app.ask(move |backend| {
        // The end of the log first: what happens in between is then told twice rather than never.
        let log_cursor = backend.alert_log_end()?.to_string();
        let page = backend.alerts(&query)?;
        Ok(AlertPage { items: page.items, next_cursor: page.next_cursor, log_cursor })
    })
    .await
    .map(Json)
}

/// Says that somebody has seen an alert.
///
/// Idempotent: the first acknowledgement stays, later ones return the alert as it is.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/acknowledge", tag = "alerts", request_body = Acknowledge,
    params(("id" = u64, Path, description = "Number of the alert", example = 17)), responses(
    (status = 200, body = Alert), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn acknowledge(
    State(app): State<App>,
    AlertPath(id): AlertPath,
    _: Params<Nothing>,
    Body(body): Body<Acknowledge>,
) -> Result<Json<Alert>, Problem> {
    let by = plain("by", &body.by, 1, BY_CHARS_MAX)?;
    let note = plain("note", &body.note, 0, NOTE_CHARS_MAX)?;
    app.ask(move |backend| backend.acknowledge(id, &by, &note)).await.map(Json)
}

/// Text of a person: trimmed, bounded, without control characters except line breaks.
pub(crate) fn plain(name: &str, text: &str, min: usize, max: usize) -> Result<String, Problem> {
    let text = text.trim();
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Problem::invalid(format!("{name} must not hold control characters")));
    }
    match text.chars().count() {
        length if (min..=max).contains(&length) => Ok(text.to_owned()),
        length => {
            Err(Problem::invalid(format!("{name} has {length} characters, but must have {min} to {max}")))
        }
    }
}
