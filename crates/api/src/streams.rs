//! Server-sent events: alerts that lose nothing, and the live picture of one scope.
//!
//! Each stream is one task that feeds a short queue; when the caller reads slowly the task waits, and when it falls behind
//! it catches up: alerts from the durable log, readings and roll-ups by asking for the newest state.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use crate::backend::LogEntry;
use crate::changes::{Picture, Pulse};
use crate::limits::REPLAY_PAGE;
use crate::problem::Problem;
use crate::query::{Params, scope};
use crate::routes::App;
use crate::view::{self, Alert, Level};

/// Events waiting for a slow caller.
const QUEUE: usize = 16;

/// Where an alert stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertStreamParams {
    /// Id of a node: its alerts and those below it; every alert if absent.
    scope: Option<String>,
    /// Begin after this cursor (`log_cursor` of the list, or the `id` of an event); the `Last-Event-ID` header, which
    /// browsers send by themselves when they reconnect, goes before it. Only what is new if both are absent.
    after: Option<String>,
}

/// Every change of every alert, as it happens.
///
/// `event: alert`, `id:` its cursor, `data:` an Alert as it is after the change. Resumes without loss after a cursor. A
/// comment every 15 s says that the line is alive.
#[utoipa::path(get, path = "/api/v1/streams/alerts", tag = "streams", params(AlertStreamParams), responses(
    (status = 200, content_type = "text/event-stream", body = Alert), (status = "4XX", body = view::Problem),
    (status = "5XX", body = view::Problem)))]
pub async fn alerts(
    State(app): State<App>,
    headers: HeaderMap,
    Params(params): Params<AlertStreamParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let scope = scope(params.scope)?;
    if let Some(node) = scope.clone() {
        app.ask(move |backend| backend.rollups(&node, 0)).await?;
    }
    let tail = Tail::open(&app, &headers, params.after, scope).await?;
    open(app, move |app, out| async move { tail.run(&app, &out).await })
}

/// Where a live stream looks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveStreamParams {
    /// Id of the node.
    #[param(example = "zhangye")]
    scope: String,
    /// Begin the alerts after this cursor, as in the alert stream.
    after: Option<String>,
}

/// The live picture of one scope.
///
/// `event: rollup` with a RollupEvent (the scope and its children: all at first, then what changed, at most once a
/// second); for a base also `event: reading` with a ReadingEvent and `event: outputs` with an OutputsEvent (all at first,
/// then what is new, at most four times a second); `event: alert` as in the alert stream, the only one with an `id:`.
#[utoipa::path(get, path = "/api/v1/streams/live", tag = "streams", params(LiveStreamParams), responses(
    (status = 200, content_type = "text/event-stream", body = view::ReadingEvent),
    (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn live(
    State(app): State<App>,
    headers: HeaderMap,
    Params(params): Params<LiveStreamParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let node = scope(Some(params.scope))?.unwrap_or_default();
    let base = app.live().watch_base(&node);
    let mut rollups = app.live().watch_rollups();
    rollups.mark_changed();
    let asked = node.clone();
    let top = app.ask(move |backend| backend.rollups(&asked, 0)).await?;
    let is_base = top.first().is_some_and(|rollup| rollup.level == Level::Base);
    let base = is_base.then_some(base).map(|mut base| {
        base.mark_changed();
        base
    });
    let tail = Tail::open(&app, &headers, params.after, Some(node.clone())).await?;
    open(app, move |app, out| async move {
        tokio::select! {
            () = tail.run(&app, &out) => (),
            () = follow_rollups(&app, &out, &node, rollups) => (),
            () = follow_readings(&app, &out, &node, base) => (),
        }
    })
}

/// Starts the task of a stream; it ends when its work ends, the caller hangs up, or the server closes.
fn open<W: Future<Output = ()> + Send>(
    app: App,
    work: impl FnOnce(App, mpsc::Sender<Event>) -> W + Send + 'static,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit = app.stream_permit()?;
    let heartbeat = KeepAlive::new().interval(app.limits().heartbeat).text("alive");
    let mut closing: watch::Receiver<bool> = app.live().watch_closing();
    let (out, events) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let _permit = permit;
        let hung_up = out.clone();
        tokio::select! {
            () = work(app, out) => (),
            () = hung_up.closed() => (),
            _ = closing.wait_for(|closed| *closed) => (),
        }
    });
    Ok(Sse::new(ReceiverStream::new(events).map(Ok)).keep_alive(heartbeat))
}

/// Follows the alert log from a cursor on: first what is in it already, then what comes.
struct Tail {
    last: u64,
    scope: Option<String>,
    coming: broadcast::Receiver<Arc<LogEntry>>,
}

impl Tail {
    /// Listens before it looks at the log, so that nothing falls between.
    async fn open(
        app: &App,
        headers: &HeaderMap,
        after: Option<String>,
        scope: Option<String>,
    ) -> Result<Self, Problem> {
        let coming = app.live().watch_alerts();
        let end = app.ask(|backend| backend.alert_log_end()).await?;
        let header = headers.get("last-event-id").map(|v| v.to_str().unwrap_or_default().to_owned());
        let last = match header.or(after) {
            // A cursor beyond the end comes from another log: there is nothing to resume.
            Some(text) => {
                let wrong =
                    |_| Problem::invalid("the cursor must be a number that an earlier answer or event gave");
                text.parse::<u64>().map_err(wrong)?.min(end)
            }
            None => end,
        };
        Ok(Self { last, scope, coming })
    }

    async fn run(mut self, app: &App, out: &mpsc::Sender<Event>) {
        if self.catch_up(app, out).await.is_err() {
            return;
        }
        loop {
            let done = match self.coming.recv().await {
                Ok(entry) if entry.cursor <= self.last => Ok(()),
                Ok(entry) if entry.cursor == self.last + 1 => self.tell(&entry, out).await,
                // Something lies between: either it is on its way or this stream was too slow. The log has it.
                Ok(_) | Err(RecvError::Lagged(_)) => self.catch_up(app, out).await,
                Err(RecvError::Closed) => return,
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn catch_up(&mut self, app: &App, out: &mpsc::Sender<Event>) -> Result<(), Ended> {
        loop {
            let last = self.last;
            let entries = app.ask(move |backend| backend.alert_log_after(last, REPLAY_PAGE)).await;
            let entries = entries.map_err(|_| Ended)?;
            for entry in &entries {
                self.tell(entry, out).await?;
            }
            if self.last == last {
                return Ok(());
            }
        }
    }

    async fn tell(&mut self, entry: &LogEntry, out: &mpsc::Sender<Event>) -> Result<(), Ended> {
        self.last = self.last.max(entry.cursor);
        if !within(&entry.alert, self.scope.as_deref()) {
            return Ok(());
        }
        let event = event("alert", &entry.alert)?.id(entry.cursor.to_string());
        out.send(event).await.map_err(|_| Ended)
    }
}

/// The caller hung up, or the stream cannot go on: the caller comes back with its cursor.
struct Ended;

fn within(alert: &Alert, scope: Option<&str>) -> bool {
    scope.is_none_or(|node| {
        alert.breadcrumb.iter().any(|crumb| crumb.id == node)
            || alert.base.as_ref().is_some_and(|base| base.id == node)
    })
}

async fn follow_rollups(app: &App, out: &mpsc::Sender<Event>, node: &str, changed: watch::Receiver<u64>) {
    let mut pulse = Pulse::new(changed, app.limits().rollup_pause);
    let mut picture = Picture::default();
    while pulse.next().await {
        let asked = node.to_owned();
        let Ok(rollups) = app.ask(move |backend| backend.rollups(&asked, 1)).await else { return };
        let items = picture.news(rollups, |rollup| rollup.id.clone(), |rollup| rollup.clone());
        if items.is_empty() {
            continue;
        }
        let Ok(event) = event("rollup", &view::RollupEvent { items }) else { return };
        if out.send(event).await.is_err() {
            return;
        }
    }
}

async fn follow_readings(
    app: &App,
    out: &mpsc::Sender<Event>,
    node: &str,
    changed: Option<watch::Receiver<u64>>,
) {
    let Some(changed) = changed else { return std::future::pending().await };
    let mut pulse = Pulse::new(changed, app.limits().reading_pause);
    let mut picture = Picture::default();
    let mut outputs = Picture::default();
    while pulse.next().await {
        if tell_outputs(app, out, node, &mut outputs).await.is_err() {
            return;
        }
        let asked = node.to_owned();
        let Ok(latest) = app.ask(move |backend| backend.base_latest(&asked, false)).await else { return };
        // A reading does not become new by growing older.
        let essence = |latest: &view::Latest| view::Latest { age_ms: 0, ..latest.clone() };
        let items = picture.news(latest, |latest| latest.point.clone(), essence);
        if items.is_empty() {
            continue;
        }
        let Ok(event) = event("reading", &view::ReadingEvent { items }) else { return };
        if out.send(event).await.is_err() {
            return;
        }
    }
}

async fn tell_outputs(
    app: &App,
    out: &mpsc::Sender<Event>,
    node: &str,
    picture: &mut Picture<view::Output>,
) -> Result<(), Ended> {
    let asked = node.to_owned();
    let outputs = app.ask(move |backend| backend.base_outputs(&asked)).await.map_err(|_| Ended)?;
    // Values of conditions are readings, and come as such.
    let essence = |output: &view::Output| {
        let conditions = output.conditions.iter();
        let conditions = conditions.map(|c| view::Condition { value: None, ..c.clone() }).collect();
        view::Output { conditions, value_at: None, told_at: view::Time(String::new()), ..output.clone() }
    };
    let name = |output: &view::Output| format!("{}/{}/{}", output.gateway, output.device, output.point);
    let items = picture.news(outputs, name, essence);
    if items.is_empty() {
        return Ok(());
    }
    let event = event("outputs", &view::OutputsEvent { items })?;
    out.send(event).await.map_err(|_| Ended)
}

fn event<T: Serialize>(name: &str, data: &T) -> Result<Event, Ended> {
    Event::default().event(name).json_data(data).map_err(|_| Ended)
}
