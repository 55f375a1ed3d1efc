//! The four levels: tree, roll-ups, nodes, bases and what a base measures now.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::Problem;
use crate::query::{NodePath, Nothing, Params, scope};
use crate::routes::{App, tagged, tagged_whole};
use crate::view::{self, BasePage, Latest, List, Node, NodePage, Point, Rollup, Snapshot};

/// Four levels: nothing lies deeper than three below the city.
const DEPTH_MAX: u8 = 3;

/// The whole territory, parents before children.
#[utoipa::path(get, path = "/api/v1/tree", tag = "territory", responses(
    (status = 200, body = List<Node>), (status = 304, description = "Not changed since If-None-Match"),
    (status = "4XX", body = view::Problem)))]
pub async fn tree(State(app): State<App>, headers: HeaderMap, _: Params<Nothing>) -> Response {
    let list = List { items: app.backend().tree() };
    tagged_whole(&headers, &list)
}

/// Which roll-ups.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RollupsParams {
    /// Id of the node.
    #[param(example = "zhangye")]
    scope: String,
    /// How many levels below it; 0 to 3, 0 if absent.
    #[param(minimum = 0, maximum = 3)]
    depth: Option<u8>,
}

/// State of a node and of the levels below it.
///
/// The entity tag changes with the states, not with `at`.
#[utoipa::path(get, path = "/api/v1/rollups", tag = "territory", params(RollupsParams), responses(
    (status = 200, body = Snapshot<Rollup>), (status = 304, description = "Not changed since If-None-Match"),
    (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn rollups(
    State(app): State<App>,
    headers: HeaderMap,
    Params(params): Params<RollupsParams>,
) -> Result<Response, Problem> {
    let node = scope(Some(params.scope))?.unwrap_or_default();
    let depth = params.depth.unwrap_or(0);
    if depth > DEPTH_MAX {
        return Err(Problem::invalid(format!("depth is {depth}, but must be 0 to {DEPTH_MAX}")));
    }
    let at = app.zone().show(app.backend().now());
    let items = app.ask(move |backend| backend.rollups(&node, depth)).await?;
    let snapshot = Snapshot { at, items };
    Ok(tagged(&headers, &snapshot, &snapshot.items))
}

/// A node, the way down to it, its state and its children.
#[utoipa::path(get, path = "/api/v1/nodes/{id}", tag = "territory",
    params(("id" = String, Path, description = "Id of the node", example = "zhangye")), responses(
    (status = 200, body = NodePage), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn node(
    State(app): State<App>,
    NodePath(id): NodePath,
    _: Params<Nothing>,
) -> Result<Json<NodePage>, Problem> {
    app.ask(move |backend| backend.node(&id)).await.map(Json)
}

/// A base with its gateways and their devices.
#[utoipa::path(get, path = "/api/v1/bases/{id}", tag = "territory",
    params(("id" = String, Path, description = "Id of the base")), responses(
    (status = 200, body = BasePage), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn base(
    State(app): State<App>,
    NodePath(id): NodePath,
    _: Params<Nothing>,
) -> Result<Json<BasePage>, Problem> {
    app.ask(move |backend| backend.base(&id)).await.map(Json)
}

/// What a base measures.
#[utoipa::path(get, path = "/api/v1/bases/{id}/points", tag = "territory",
    params(("id" = String, Path, description = "Id of the base")), responses(
    (status = 200, body = List<Point>), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn base_points(
    State(app): State<App>,
    headers: HeaderMap,
    NodePath(id): NodePath,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    let items = app.ask(move |backend| backend.base_points(&id)).await?;
    Ok(tagged_whole(&headers, &List { items }))
}

/// With or without sparklines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LatestParams {
    /// `true` adds the means of the last hour; `false` if absent.
    sparkline: Option<bool>,
}

/// What a base measures now: the newest reading of every point that has one.
#[utoipa::path(get, path = "/api/v1/bases/{id}/latest", tag = "territory",
    params(("id" = String, Path, description = "Id of the base"), LatestParams), responses(
    (status = 200, body = Snapshot<Latest>), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn base_latest(
    State(app): State<App>,
    NodePath(id): NodePath,
    Params(params): Params<LatestParams>,
) -> Result<Json<Snapshot<Latest>>, Problem> {
    let at = app.zone().show(app.backend().now());
    let items = if params.sparkline.unwrap_or(false) {
        app.ask_expensive(move |backend| backend.base_latest(&id, true)).await?
    } else {
        app.ask(move |backend| backend.base_latest(&id, false)).await?
    };
    Ok(Json(Snapshot { at, items }))
}
