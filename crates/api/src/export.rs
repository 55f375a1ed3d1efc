//! Readings as files for other programs, streamed piece by piece. A caller that leaves, or that reads nothing for a while,
//! ends the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sitian_export::Format;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use crate::limits::{AGGREGATES_SPAN_MS_MAX, DAY_MS};
use crate::problem::Problem;
use crate::query::{Params, PointPath, span_as_asked};
use crate::routes::App;
use crate::view;

/// Pieces waiting for a slow caller.
const QUEUE: usize = 4;

/// Which readings, and how they are written.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// RFC 3339 with offset; a day before `to` if absent. At most 366 days before `to`.
    #[param(example = "2026-05-04T00:00:00+08:00")]
    from: Option<String>,
    /// RFC 3339 with offset, itself excluded; now if absent.
    #[param(example = "2026-05-05T00:00:00+08:00")]
    to: Option<String>,
    /// `csv` (RFC 4180, with a line of names), `jsonl` (one JSON object a line) or `parquet` (Apache Parquet: times in UTC
    /// milliseconds, what the point measures in the footer); `csv` if absent.
    format: Option<String>,
}

/// Every stored reading of one point as a file.
///
/// Memory grows with what was corrected, not with the span. An answer that breaks off without its last chunk is not complete:
/// the store became unavailable on the way, or the caller read nothing for half a minute.
#[utoipa::path(get, path = "/api/v1/points/{gateway}/{device}/{key}/export", tag = "points",
    params(("gateway" = String, Path), ("device" = String, Path), ("key" = String, Path), ExportParams), responses(
    (status = 200, content((String = "text/csv"), (String = "application/x-ndjson"),
        (view::File = "application/vnd.apache.parquet"))),
    (status = "4XX", body = view::Problem), (status = "5XX", body = view::Problem)))]
pub async fn export(
    State(app): State<App>,
    PointPath(id): PointPath,
    Params(params): Params<ExportParams>,
) -> Result<Response, Problem> {
    let (from, to) = (params.from.as_deref(), params.to.as_deref());
    let span = span_as_asked(from, to, app.backend().now(), DAY_MS, AGGREGATES_SPAN_MS_MAX)?;
    let format = Format::parse(params.format.as_deref().unwrap_or("csv"))
        .ok_or_else(|| Problem::invalid(format!("format must be {}", Format::WORDS)))?;
    let point = id.clone();
    app.ask(move |backend| backend.point(&point)).await?;
    let name = format!("{}-{}-{}", id.gateway, id.device, id.key);
    let (pieces, mut out) = mpsc::channel::<Result<Bytes, Problem>>(QUEUE);
    let patience = app.limits().unread;
    let whole = Arc::new(AtomicBool::new(false));
    let finished = whole.clone();
    let work = async move {
        let last = pieces.clone();
        let runtime = Handle::current();
        let done = app
            .ask_expensive(move |backend| {
                let mut left = false;
                let mut send = |piece: Vec<u8>| {
                    let sent = pieces.send_timeout(Ok(Bytes::from(piece)), patience);
                    left |= runtime.block_on(sent).is_err();
                    !left
                };
                backend.export(&id, span, format, &mut send)?;
                finished.store(!left, Ordering::Release);
                Ok(())
            })
            .await;
        if let Err(problem) = done {
            // A caller that has left needs no word.
            let _ = last.send_timeout(Err(problem), patience).await;
        }
    };
    tokio::spawn(work);
    // Until there is something to send, a failure is an answer of its own.
    let first = out.recv().await.transpose()?;
    let rest = ReceiverStream::new(out).map(|piece| piece.map_err(|_| BrokenOff));
    let heading = [
        (CONTENT_TYPE, format.media_type().to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{}\"", format.word())),
    ];
    // A caller that reads on after it was given up must not take what it has for the whole.
    let end = std::iter::from_fn(move || (!whole.swap(true, Ordering::AcqRel)).then_some(Err(BrokenOff)));
    let body = tokio_stream::iter(first.map(Ok)).chain(rest).chain(tokio_stream::iter(end));
    Ok((heading, Body::from_stream(body)).into_response())
}

/// Ends an answer without its last chunk.
#[derive(Debug, thiserror::Error)]
#[error("read on in the store")]
struct BrokenOff;
