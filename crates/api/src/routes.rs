//! The table of routes, and what all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware, routing};
use serde::Serialize;
use sitian_series::Stop;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use crate::backend::{Backend, BackendError, Work};
use crate::guard::{self, Hosts};
use crate::limits::{BODY_BYTES_MAX, Limits};
use crate::live::Live;
use crate::problem::{Kind, Problem};
use crate::zone::Zone;
use crate::{about, alerts, commands, corrections, export, files, incidents, points, streams, territory};

/// Answers below this size travel as they are.
const GZIP_BYTES_MIN: u64 = 1024;

/// How the API presents itself.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The zone of all times.
    pub zone: Zone,
    /// The limits.
    pub limits: Limits,
    /// Names besides those of the loopback interface under which the server answers (behind a proxy), without port.
    pub hosts: Vec<String>,
}

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    backend: Arc<dyn Backend>,
    live: Live,
    settings: Settings,
    hosts: Hosts,
    queries: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    stopped: AtomicU64,
}

/// Says stop when it is dropped.
struct Left(Stop);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.stop();
    }
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path;)*) => {
        /// Every route of the API: method in lower case, path.
        pub const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        fn table() -> Router<App> {
            Router::new()$(.route($path, routing::$method($handler)))*
        }
    };
}

routes! {
    get  "/api/v1/health" => about::health;
    get  "/metrics" => about::metrics;
    get  "/api/v1/openapi.json" => about::openapi;
    get  "/api/v1/measurements" => about::measurements;
    get  "/api/v1/rules" => about::rules;
    get  "/api/v1/tree" => territory::tree;
    get  "/api/v1/rollups" => territory::rollups;
    get  "/api/v1/nodes/{id}" => territory::node;
    get  "/api/v1/bases/{id}" => territory::base;
    get  "/api/v1/bases/{id}/points" => territory::base_points;
    get  "/api/v1/bases/{id}/latest" => territory::base_latest;
    get  "/api/v1/points/{gateway}/{device}/{key}" => points::point;
    get  "/api/v1/points/{gateway}/{device}/{key}/readings" => points::readings;
    get  "/api/v1/points/{gateway}/{device}/{key}/aggregates" => points::aggregates;
    get  "/api/v1/points/{gateway}/{device}/{key}/outline" => points::outline;
    get  "/api/v1/points/{gateway}/{device}/{key}/export" => export::export;
    get  "/api/v1/points/{gateway}/{device}/{key}/corrections" => corrections::list;
    post "/api/v1/points/{gateway}/{device}/{key}/corrections" => corrections::correct;
    get  "/api/v1/alerts" => alerts::list;
    post "/api/v1/alerts/{id}/acknowledge" => alerts::acknowledge;
    get  "/api/v1/bases/{id}/outputs" => commands::base_outputs;
    get  "/api/v1/commands" => commands::list;
    post "/api/v1/commands" => commands::give;
    get  "/api/v1/incidents" => incidents::list;
    get  "/api/v1/gaps" => incidents::gaps;
    get  "/api/v1/quarantine" => incidents::quarantine;
    get  "/api/v1/gateways" => incidents::gateways;
    get  "/api/v1/completeness" => incidents::completeness;
    get  "/api/v1/streams/alerts" => streams::alerts;
    get  "/api/v1/streams/live" => streams::live;
}

/// The whole server: API, streams and console.
pub fn router(backend: Arc<dyn Backend>, live: Live, settings: Settings) -> Router {
    let app = App(Arc::new(Shared {
        hosts: Hosts::new(&settings.hosts),
        queries: Arc::new(Semaphore::new(settings.limits.queries)),
        streams: Arc::new(Semaphore::new(settings.limits.streams)),
        stopped: AtomicU64::new(0),
        backend,
        live,
        settings,
    }));
    let worth_it = SizeAbove::new(GZIP_BYTES_MIN)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("image/png"))
        .and(NotForContentType::const_new("font/"))
        .and(NotForContentType::const_new("application/vnd.apache.parquet"));
    table()
        .fallback(files::console)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), guard::origin))
        .layer(CompressionLayer::new().compress_when(worth_it))
        .layer(middleware::from_fn(guard::headers))
        .with_state(app)
}

async fn wrong_method() -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "the API description says which methods there are: /api/v1/openapi.json",
    )
}

impl App {
    pub(crate) fn live(&self) -> &Live {
        &self.0.live
    }

    pub(crate) fn zone(&self) -> &Zone {
        &self.0.settings.zone
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.settings.limits
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.0.hosts
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        self.0.backend.as_ref()
    }

    /// Asks the backend on a thread where waiting is allowed.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Backend) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.clone();
        match tokio::task::spawn_blocking(move || question(app.backend())).await {
            Ok(answer) => answer.map_err(Problem::from),
            Err(panic) => Err(Problem::hidden(Kind::Internal, "backend", &panic)),
        }
    }

    /// Asks something expensive: only so many at once, the others wait for their turn and then give up. The work ends early
    /// when the caller leaves, which drops this future.
    pub(crate) async fn ask_expensive<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Backend) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = Arc::clone(&self.0.queries).acquire_owned();
        let turn = tokio::time::timeout(self.limits().query_wait, turn).await;
        let Ok(Ok(permit)) = turn else {
            let detail = format!(
                "{} large queries are under way and none ended for {} s; try again",
                self.limits().queries,
                self.limits().query_wait.as_secs()
            );
            return Err(Problem::new(Kind::Unavailable, detail));
        };
        let left = Left(Stop::default());
        let (stop, app) = (left.0.clone(), self.clone());
        // The permit rides with the work, not with the request: a caller that hangs up does not free its turn early.
        let answer = self
            .ask(move |backend| {
                let _permit = permit;
                let answer = stop.over(|| question(backend));
                if matches!(answer, Err(BackendError::Stopped)) {
                    app.0.stopped.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!("the caller has left; its query was stopped");
                }
                answer
            })
            .await;
        drop(left);
        answer
    }

    /// What is being done at the moment.
    pub(crate) fn work(&self) -> Work {
        let Limits { queries, streams, .. } = self.limits();
        Work {
            queries_stopped: self.0.stopped.load(Ordering::Relaxed),
            queries_running: queries.saturating_sub(self.0.queries.available_permits()),
            streams_open: streams.saturating_sub(self.0.streams.available_permits()),
        }
    }

    /// A place among the open streams.
    pub(crate) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = |_| Problem::new(Kind::Unavailable, "too many open streams; close one and try again");
        Arc::clone(&self.0.streams).try_acquire_owned().map_err(busy)
    }
}

/// Answers with JSON under an entity tag made from `essence`, or with 304 if the caller has it already.
pub(crate) fn tagged<T: Serialize, E: Serialize>(request: &HeaderMap, body: &T, essence: &E) -> Response {
    match serde_json::to_vec(essence) {
        Ok(bytes) => under_tag(request, &bytes, || Json(body).into_response()),
        Err(error) => Problem::hidden(Kind::Internal, "json", &error).into_response(),
    }
}

/// The same, where the whole answer is its essence.
pub(crate) fn tagged_whole<T: Serialize>(request: &HeaderMap, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => under_tag(request, &bytes, || {
            ([(header::CONTENT_TYPE, "application/json")], bytes.clone()).into_response()
        }),
        Err(error) => Problem::hidden(Kind::Internal, "json", &error).into_response(),
    }
}

fn under_tag(request: &HeaderMap, essence: &[u8], body: impl FnOnce() -> Response) -> Response {
    let tag = format!("W/\"{:016x}\"", fnv(essence));
    let mut response = if known(request, &tag) { StatusCode::NOT_MODIFIED.into_response() } else { body() };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// True if `If-None-Match` names this tag (weakly compared: compression changes bytes, not meaning).
pub(crate) fn known(request: &HeaderMap, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let asked = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    asked.flat_map(|list| list.split(',')).any(|one| one.trim() == "*" || bare(one) == bare(tag))
}

/// FNV-1a, 64 bit: a tag has to change with the text, nothing more.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
