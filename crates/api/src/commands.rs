//! Outputs of gateways: how they stand, giving a command, and what came of commands.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::backend::Backend;
use crate::problem::Problem;
use crate::query::{Body, NodePath, Nothing, Params, limit, scope};
use crate::routes::App;
use crate::view::{self, Command, NewCommand, Output, Page, Snapshot};

const COMMANDS_DEFAULT: usize = 100;
const COMMANDS_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 64;
const REASON_CHARS_MAX: usize = 200;
const FOR_S_MAX: u32 = 86_400;
const WITHIN_S_DEFAULT: u32 = 60;
const WITHIN_S_MAX: u32 = 3_600;

/// Which commands.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CommandsParams {
    /// Only those of this gateway; all if absent.
    #[param(example = "dangzhai-01")]
    gateway: Option<String>,
    /// Only those of this node and below.
    #[param(example = "zhangye")]
    scope: Option<String>,
    /// At most this many; 1 to 500, 100 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// Commands, newest first.
#[utoipa::path(get, operation_id = "list_commands", path = "/api/v1/commands", tag = "commands", params(CommandsParams), responses(
    (status = 200, body = Page<Command>), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn list(
    State(app): State<App>,
    Params(params): Params<CommandsParams>,
) -> Result<Json<Page<Command>>, Problem> {
    let most = limit(params.limit, COMMANDS_DEFAULT, COMMANDS_MAX)?;
    let scope = scope(params.scope)?;
    let asked =
        move |backend: &dyn Backend| backend.commands(params.gateway.as_deref(), scope.as_deref(), most);
    let items = app.ask(asked).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Gives a command to an output of a gateway.
///
/// It is durable when this answers. The gateway refuses it unless its configuration lets the centre command that output.
/// Idempotent: the same id again returns the command as it is.
#[utoipa::path(post, path = "/api/v1/commands", tag = "commands", request_body = NewCommand, responses(
    (status = 200, body = Command), (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn give(
    State(app): State<App>,
    _: Params<Nothing>,
    Body(mut body): Body<NewCommand>,
) -> Result<Json<Command>, Problem> {
    for (name, text) in
        [("id", &body.id), ("gateway", &body.gateway), ("device", &body.device), ("point", &body.point)]
    {
        let slug = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.chars().all(slug) {
            return Err(Problem::invalid(format!("{name} has 1 to 64 characters from a-z 0-9 - _")));
        }
    }
    body.by = body.by.trim().to_owned();
    if !(1..=NAME_CHARS_MAX).contains(&body.by.chars().count()) || body.by.chars().any(char::is_control) {
        return Err(Problem::invalid("by has 1 to 64 characters and names who wants it".to_owned()));
    }
    if !body.value.is_finite() {
        return Err(Problem::invalid("value is no number".to_owned()));
    }
    let within_s = body.within_s.unwrap_or(WITHIN_S_DEFAULT);
    if !(1..=WITHIN_S_MAX).contains(&within_s) {
        return Err(Problem::invalid(format!("within_s is 1 to {WITHIN_S_MAX}")));
    }
    body.within_s = Some(within_s);
    body.reason = body.reason.map(|reason| reason.trim().to_owned());
    let unfit =
        |reason: &String| reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control);
    if body.reason.as_ref().is_some_and(unfit) {
        return Err(Problem::invalid(format!(
            "reason has at most {REASON_CHARS_MAX} characters, in one line"
        )));
    }
    if body.for_s.is_some_and(|for_s| !(1..=FOR_S_MAX).contains(&for_s)) {
        return Err(Problem::invalid(format!("for_s is 1 to {FOR_S_MAX}")));
    }
    app.ask(move |backend| backend.command(&body)).await.map(Json)
}

/// What the gateways of a base can switch or set, and how it stands; only what their configuration speaks of.
#[utoipa::path(get, path = "/api/v1/bases/{id}/outputs", tag = "commands",
    params(("id" = String, Path, description = "Id of the base")), responses(
    (status = 200, body = Snapshot<Output>), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn base_outputs(
    State(app): State<App>,
    NodePath(id): NodePath,
    _: Params<Nothing>,
) -> Result<Json<Snapshot<Output>>, Problem> {
    let at = app.zone().show(app.backend().now());
    let items = app.ask(move |backend| backend.base_outputs(&id)).await?;
    Ok(Json(Snapshot { at, items }))
}
