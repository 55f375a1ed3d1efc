//! The console's files, and the answer to everything that is no route.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::problem::{Kind, Problem};
use crate::routes::known;

/// Answers with a file of the console, or says that there is nothing.
pub async fn console(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if path == "/api" || path.starts_with("/api/") {
        return Problem::not_found("route; /api/v1/openapi.json lists them").into_response();
    }
    // The path is compared as it was sent: nothing that needs decoding names a file.
    let Some(asset) = sitian_console::asset(path) else {
        return Problem::not_found("page").into_response();
    };
    if !matches!(method, Method::GET | Method::HEAD) {
        return Problem::new(Kind::MethodNotAllowed, "the console is only read").into_response();
    }
    let mut response = if known(&headers, &asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(asset.bytes).into_response()
    };
    let kept = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.mime));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    // Compression changes the bytes, so only the weak form is true of every answer.
    if let Ok(tag) = HeaderValue::from_str(&format!("W/{}", asset.etag)) {
        answer.insert(header::ETAG, tag);
    }
    response
}
