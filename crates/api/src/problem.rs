//! RFC 9457 problem details: the one form of every answer that is not a success.
//!
//! What the caller did wrong is said in words; what went wrong inside is said to the log, under a number that both share.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::backend::BackendError;
use crate::view;

/// The kinds of problems. The `type` of each is stable; programs decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A parameter, a path or a body that makes no sense.
    Invalid,
    /// The request comes from a page of another site.
    CrossSite,
    /// There is no such thing.
    NotFound,
    /// The thing is there, but not for this method.
    MethodNotAllowed,
    /// The body is larger than allowed.
    TooLarge,
    /// The body is no JSON by its own account.
    UnsupportedMediaType,
    /// The request names a host that this server is not.
    WrongHost,
    /// The span needs more windows, or is longer, than one answer may hold.
    TooWide,
    /// A fault of ours.
    Internal,
    /// Not now; try again.
    Unavailable,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Invalid,
        Self::CrossSite,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::WrongHost,
        Self::TooWide,
        Self::Internal,
        Self::Unavailable,
    ];

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid => (StatusCode::BAD_REQUEST, "invalid", "Invalid request"),
            Self::CrossSite => (StatusCode::FORBIDDEN, "cross-site", "Cross-site request"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::WrongHost => (StatusCode::MISDIRECTED_REQUEST, "wrong-host", "Wrong host"),
            Self::TooWide => (StatusCode::UNPROCESSABLE_ENTITY, "too-wide", "Question too wide"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
        }
    }
}

/// A problem on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    suggested_window: Option<String>,
}

impl Problem {
    /// A problem of this kind; `detail` goes to the caller.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), suggested_window: None }
    }

    /// A parameter that makes no sense.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// Nothing there.
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}"))
    }

    /// The span needs too many windows; `window` would fit.
    pub fn too_many_windows(detail: String, window: String) -> Self {
        Self { kind: Kind::TooWide, detail, suggested_window: Some(window) }
    }

    /// Something inside failed: `what` and `why` go to the log only.
    pub fn hidden(kind: Kind, what: &str, why: &dyn std::fmt::Display) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        tracing::error!(number, what, why = %why, "request failed");
        Self::new(kind, format!("failed to answer; the server's log says why under number {number}"))
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::NotFound(what) => Self::not_found(what),
            BackendError::Invalid(why) => Self::invalid(why),
            BackendError::TooWide(why) => Self::new(Kind::TooWide, why),
            BackendError::Stopped => Self::new(Kind::Unavailable, "nobody waited for the answer"),
            BackendError::Unavailable(why) => Self::hidden(Kind::Unavailable, "backend", &why),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, slug, title) = self.kind.parts();
        let body = view::Problem {
            kind: format!("/problems/{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            suggested_window: self.suggested_window,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
