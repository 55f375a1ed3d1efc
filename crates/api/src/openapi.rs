//! The description of the API, generated from the code; `crates/api/openapi.json` is its committed form.

use std::sync::OnceLock;

use utoipa::OpenApi;

use crate::{about, alerts, commands, corrections, export, incidents, points, streams, territory, view};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sitian",
        version = "1",
        description = "Readings, alerts and the four levels of a supervision network. Times are RFC 3339 with offset; \
            problems are RFC 9457 with a stable `type`; unknown parameters and fields are refused; every answer about \
            series says how complete it is.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        about::health,
        about::metrics,
        about::openapi,
        about::measurements,
        about::rules,
        territory::tree,
        territory::rollups,
        territory::node,
        territory::base,
        territory::base_points,
        territory::base_latest,
        points::point,
        points::readings,
        points::aggregates,
        points::outline,
        export::export,
        alerts::list,
        alerts::acknowledge,
        commands::base_outputs,
        commands::list,
        commands::give,
        corrections::list,
        corrections::correct,
        incidents::list,
        incidents::gaps,
        incidents::quarantine,
        incidents::gateways,
        incidents::completeness,
        streams::alerts,
        streams::live,
    ),
    components(schemas(view::ReadingEvent, view::RollupEvent, view::OutputsEvent)),
    tags(
        (name = "about", description = "The server itself"),
        (name = "territory", description = "City, county, town, base"),
        (name = "points", description = "Readings and aggregates"),
        (name = "alerts", description = "What needs somebody"),
        (name = "commands", description = "What outputs of gateways are to do"),
        (name = "incidents", description = "What is missing, and why"),
        (name = "streams", description = "Server-sent events")
    )
)]
struct Description;

/// The OpenAPI document.
pub fn document() -> &'static serde_json::Value {
    static DOCUMENT: OnceLock<serde_json::Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::to_value(Description::openapi()).unwrap_or_default())
}
