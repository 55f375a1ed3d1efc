//! What every request passes: the host it names, the page it comes from, and the headers every answer carries.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Kind, Problem};
use crate::routes::App;

/// Nothing inline, nothing from elsewhere, nobody may frame it.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
    connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 9] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("cache-control", "no-store"),
    // An answer that grows is compressed one day, so that the short one depends on it too.
    ("vary", "accept-encoding"),
];

/// Adds the headers that an answer does not set itself.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Refuses hosts that this server is not (a page that rebinds its own name to this machine) and writes and streams
/// that pages of other sites ask for.
pub async fn origin(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = text(headers, header::HOST.as_str()).or_else(|| request.uri().authority().map(|a| a.as_str()));
    let Some(host) = host.filter(|host| app.hosts().admits(host)) else {
        return Problem::new(Kind::WrongHost, "this server does not answer under that name").into_response();
    };
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let stream = request.uri().path().starts_with("/api/v1/streams/");
    if (!safe || stream) && !same_site(headers, host, safe) {
        return Problem::new(Kind::CrossSite, "only pages of this server may ask this").into_response();
    }
    next.run(request).await
}

/// True for programs (which send neither header) and for pages of this very origin.
fn same_site(headers: &HeaderMap, host: &str, safe: bool) -> bool {
    let site =
        headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || (safe && site == "none"));
    let origin = headers.get(header::ORIGIN).is_none_or(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host))
    });
    site && origin
}

/// The names under which the server answers.
#[derive(Debug, Clone)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The names of this machine for itself, and these besides (without port).
    pub fn new(more: &[String]) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        Self(own.into_iter().chain(more.iter().map(|name| name.to_ascii_lowercase())).collect())
    }

    fn admits(&self, host: &str) -> bool {
        let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
        let name = match host.rsplit_once(':') {
            Some((name, port)) if is_port(port) => name,
            _ => host,
        };
        self.0.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_answered_on_any_port() {
        let hosts = Hosts::new(&["farm.example".to_owned()]);
        for (host, ok) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:1", true),
            ("[::1]", true),
            ("[::1]:8080", true),
            ("farm.example:443", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:80", false),
            ("localhost:80@evil.example", false),
            ("localhost:", false),
            ("", false),
        ] {
            assert_eq!(hosts.admits(host), ok, "{host}");
        }
    }
}
