//! A server that speaks HTTP: asks, posts, and judges its answers. Knows no rows.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::fault::EngineError;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Most characters of a server's words that are repeated.
const WORDS_MAX: usize = 300;

/// Where an engine is and who may write.
#[derive(Debug, Clone)]
pub struct Access {
    /// Such as `http://127.0.0.1:8428`, without a slash at its end.
    pub url: String,
    /// Sent as `Authorization: Token …`.
    pub token: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    agent: ureq::Agent,
    access: Access,
}

/// What a server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) text: String,
}

impl Server {
    pub(crate) fn new(access: Access) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(access.timeout)).http_status_as_error(false);
        Self { agent: config.build().into(), access }
    }

    /// Posts a text, compressed.
    pub(crate) fn post(&self, path: &str, text: &str) -> Result<Answer, EngineError> {
        let mut gzip = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
        // A vector takes everything.
        let body = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()).unwrap_or_default();
        let request = self.agent.post(format!("{}{path}", self.access.url));
        let request =
            request.header("Content-Type", "text/plain; charset=utf-8").header("Content-Encoding", "gzip");
        let request = match &self.access.token {
            Some(token) => request.header("Authorization", format!("Token {token}")),
            None => request,
        };
        self.answer(request.send(&body[..]))
    }

    /// Asks with parameters in the body, which has room for long ones.
    pub(crate) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String, EngineError> {
        let request = self.agent.post(format!("{}{path}", self.access.url));
        self.expect(request.send_form(parameters.iter().copied()))
    }

    /// Asks for a page.
    pub(crate) fn get(&self, path: &str) -> Result<String, EngineError> {
        self.expect(self.agent.get(format!("{}{path}", self.access.url)).call())
    }

    fn expect(&self, response: Response) -> Result<String, EngineError> {
        let Answer { status, text, .. } = self.answer(response)?;
        if status / 100 == 2 { Ok(text) } else { Err(self.busy(status, &text)) }
    }

    fn answer(&self, response: Response) -> Result<Answer, EngineError> {
        let unreachable = |error| EngineError::Unreachable { url: self.place(), source: Box::new(error) };
        let mut response = response.map_err(unreachable)?;
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let status = response.status().as_u16();
        let text =
            response.body_mut().with_config().limit(ANSWER_BYTES_MAX).lossy_utf8(true).read_to_string();
        Ok(Answer { status, retry_after, text: text.map_err(unreachable)? })
    }

    /// Its address for messages: name and password stay out.
    fn place(&self) -> String {
        let parts = self.access.url.split_once("://").zip(self.access.url.rsplit_once('@'));
        parts.map_or_else(|| self.access.url.clone(), |((scheme, _), (_, host))| format!("{scheme}://{host}"))
    }

    pub(crate) fn busy(&self, status: u16, text: &str) -> EngineError {
        EngineError::Busy { url: self.place(), status, text: words(text) }
    }

    pub(crate) fn unfit(&self, what: impl Into<String>, remedy: &'static str) -> EngineError {
        EngineError::Unfit { url: self.place(), what: what.into(), remedy }
    }

    pub(crate) fn nonsense(&self, what: impl Into<String>) -> EngineError {
        EngineError::Answer { url: self.place(), what: what.into() }
    }
}

type Response = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// The beginning of what a server says, on one line.
pub(crate) fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS_MAX).collect()
}
