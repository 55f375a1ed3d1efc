//! What went wrong on the way of the readings: incidents, committed gaps, and the completeness ledger.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sitian_model::Timestamp;
use utoipa::IntoParams;

use crate::backend::{IncidentsQuery, LedgerQuery};
use crate::limits::{DAY_MS, INCIDENTS_MAX, LEDGER_SPAN_MS_MAX};
use crate::problem::Problem;
use crate::query::{Params, cursor, limit, moment, scope, span, windows};
use crate::routes::App;
use crate::view::{self, Gap, Incident, KnownGateways, Ledger, Page, Quarantine};

const INCIDENTS_DEFAULT: usize = 100;
/// What is still under way is not missing.
const SETTLE_MS: i64 = 5_000;

/// Which incidents or gaps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IncidentsParams {
    /// Id of a node: what concerns its gateways and those below it; everything if absent.
    #[param(example = "zhangye")]
    scope: Option<String>,
    /// RFC 3339 with offset: only what was noticed then or later; everything if absent.
    #[param(example = "2026-05-04T00:00:00+08:00")]
    from: Option<String>,
    /// Items per page; 1 to 500, 100 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; keep the other parameters as they were.
    cursor: Option<String>,
}

impl IncidentsParams {
    fn read(self) -> Result<IncidentsQuery, Problem> {
        Ok(IncidentsQuery {
            scope: scope(self.scope)?,
            from: self.from.as_deref().map(|text| moment("from", text)).transpose()?,
            limit: limit(self.limit, INCIDENTS_DEFAULT, INCIDENTS_MAX)?,
            after: cursor(self.cursor)?,
        })
    }
}

/// Incidents, newest first: what a person should know about the readings of a gateway.
#[utoipa::path(get, operation_id = "list_incidents", path = "/api/v1/incidents", tag = "incidents", params(IncidentsParams), responses(
    (status = 200, body = Page<Incident>), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn list(
    State(app): State<App>,
    Params(params): Params<IncidentsParams>,
) -> Result<Json<Page<Incident>>, Problem> {
    let query = params.read()?;
    app.ask(move |backend| backend.incidents(&query)).await.map(Json)
}

/// Committed gaps, newest first: records that will never arrive, and why.
#[utoipa::path(get, path = "/api/v1/gaps", tag = "incidents", params(IncidentsParams), responses(
    (status = 200, body = Page<Gap>), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn gaps(
    State(app): State<App>,
    Params(params): Params<IncidentsParams>,
) -> Result<Json<Page<Gap>>, Problem> {
    let query = params.read()?;
    app.ask(move |backend| backend.gaps(&query)).await.map(Json)
}

/// The quarantine, newest first: bytes that nobody understood, kept until a later version does.
#[utoipa::path(get, path = "/api/v1/quarantine", tag = "incidents", params(IncidentsParams), responses(
    (status = 200, body = Quarantine), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn quarantine(
    State(app): State<App>,
    Params(params): Params<IncidentsParams>,
) -> Result<Json<Quarantine>, Problem> {
    let query = params.read()?;
    app.ask(move |backend| backend.quarantine(&query)).await.map(Json)
}

/// Which gateways.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GatewaysParams {
    /// True lists only gateways that stand in no base; all if absent.
    unassigned: Option<bool>,
}

/// Every gateway that was ever heard or is expected. One that publishes but stands in no base is stored and shown on no
/// page until it is added to the territory.
#[utoipa::path(get, path = "/api/v1/gateways", tag = "incidents", params(GatewaysParams), responses(
    (status = 200, body = KnownGateways), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn gateways(
    State(app): State<App>,
    Params(params): Params<GatewaysParams>,
) -> Result<Json<KnownGateways>, Problem> {
    let unassigned = params.unassigned.unwrap_or(false);
    app.ask(move |backend| backend.gateways(unassigned)).await.map(Json)
}

/// Which part of the ledger.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CompletenessParams {
    /// Id of the node.
    #[param(example = "zhangye")]
    scope: String,
    /// 1 adds the nodes directly below it; 0 if absent.
    #[param(minimum = 0, maximum = 1)]
    depth: Option<u8>,
    /// RFC 3339 with offset; a day before `to` if absent. At most 31 days before `to`.
    #[param(example = "2026-05-04T06:00:00+08:00")]
    from: Option<String>,
    /// RFC 3339 with offset, itself excluded; five seconds ago if absent or later than that.
    #[param(example = "2026-05-04T07:00:00+08:00")]
    to: Option<String>,
    /// A number and s, m, h or d; at least 1s, and at most 2000 windows; the whole span if absent.
    #[param(example = "1h")]
    window: Option<String>,
}

/// What was due, what is there, and why the rest is not, per window of time.
///
/// Counted from the stored rows of the points that the gateways had at that time, whenever it is asked; a question that
/// would take too much counting is refused and says so. With `window`, windows begin on round local times, so the first one may
/// begin before `from`.
#[utoipa::path(get, path = "/api/v1/completeness", tag = "incidents", params(CompletenessParams), responses(
    (status = 200, body = Ledger), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn completeness(
    State(app): State<App>,
    Params(params): Params<CompletenessParams>,
) -> Result<Json<Ledger>, Problem> {
    let node = scope(Some(params.scope))?.unwrap_or_default();
    let depth = params.depth.unwrap_or(0);
    if depth > 1 {
        return Err(Problem::invalid(format!("depth is {depth}, but must be 0 or 1")));
    }
    let settled: Timestamp = app.backend().now().plus_ms(-SETTLE_MS);
    let (from, to) = (params.from.as_deref(), params.to.as_deref());
    let span = span(from, to, settled, DAY_MS, LEDGER_SPAN_MS_MAX)?;
    let (span, window_ms) = match params.window.as_deref() {
        Some(window) => windows(Some(window), span, app.zone())?,
        None => (span, span.to.since_ms(span.from).unsigned_abs().max(1)),
    };
    let query = LedgerQuery { scope: node, depth, span, window_ms };
    app.ask_expensive(move |backend| backend.ledger(&query)).await.map(Json)
}
