//! A server that speaks HTTP: asks, posts, and judges its answers. Knows no rows.

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::fault::EngineError;

/// Most bytes of an answer, unpacked: some 20,000 to 100,000 rows.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// Most characters of a server's words that are repeated.
const WORDS_MAX: usize = 300;
const DAY_MS: i64 = 86_400_000;

/// Where an engine is, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Access {
    /// Such as `http://127.0.0.1:8428`, without a slash at its end.
    pub url: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long rows must be kept there, in days; `None` is for ever, see [`FOR_EVER_DAYS`].
    pub keep_days: Option<u32>,
    /// A file that says that something of ours is on the engine which a kill would leave there; `None` beside another
    /// program that writes to it.
    pub note: Option<PathBuf>,
}

/// An engine that keeps rows so long keeps them for ever: not every engine knows how to say that.
pub const FOR_EVER_DAYS: u32 = 3_650;

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A path with its parameters, which are sent escaped.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) path: &'static str,
    pub(crate) parameters: Vec<(&'static str, String)>,
}

impl Place {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.parameters.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    agent: ureq::Agent,
    access: Access,
    /// Sent as `Authorization: Token …`.
    token: Option<Token>,
    /// What a person has to do about a status.
    remedy: fn(u16) -> &'static str,
}

/// What a server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) text: String,
}

impl Server {
    pub(crate) fn new(access: Access, token: Option<Token>, remedy: fn(u16) -> &'static str) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(access.timeout)).http_status_as_error(false);
        Self { agent: config.build().into(), access, token, remedy }
    }

    /// Posts a text, compressed.
    pub(crate) fn post(&self, place: &Place, text: &str) -> Result<Answer, EngineError> {
        let mut gzip = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
        // A vector takes everything.
        let body = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()).unwrap_or_default();
        let request = self.authorized(self.agent.post(self.at(place.path)));
        let request = request.query_pairs(place.pairs());
        let request =
            request.header("Content-Type", "text/plain; charset=utf-8").header("Content-Encoding", "gzip");
        self.answer(request.send(&body[..]))
    }

    /// Asks with parameters in the body, which has room for long ones.
    pub(crate) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String, EngineError> {
        let request = self.authorized(self.agent.post(self.at(path)));
        self.expect(request.send_form(parameters.iter().copied()))
    }

    /// Asks with a text of some kind.
    pub(crate) fn ask_with(&self, place: &Place, kind: &str, text: &str) -> Result<Answer, EngineError> {
        let request = self.authorized(self.agent.post(self.at(place.path)));
        self.answer(request.query_pairs(place.pairs()).header("Content-Type", kind).send(text))
    }

    /// Asks for a page.
    pub(crate) fn get(&self, path: &str) -> Result<String, EngineError> {
        self.expect(self.authorized(self.agent.get(self.at(path))).call())
    }

    /// Asks for a page and hands out whatever it says.
    pub(crate) fn look(&self, place: &Place) -> Result<Answer, EngineError> {
        let request = self.authorized(self.agent.get(self.at(place.path)));
        self.answer(request.query_pairs(place.pairs()).call())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.access.url)
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(Token(token)) => request.header("Authorization", format!("Token {token}")),
            None => request,
        }
    }

    /// Judges how long the engine keeps rows; `None` is for ever. `what` and `remedy` tell a person.
    pub(crate) fn judge_keep(&self, kept_ms: Option<i64>, remedy: &'static str) -> Result<(), EngineError> {
        let asked = self.access.keep_days;
        let days_min = asked.unwrap_or(FOR_EVER_DAYS);
        let Some(kept_ms) = kept_ms.filter(|kept_ms| *kept_ms < i64::from(days_min) * DAY_MS) else {
            return Ok(());
        };
        let kept = kept_ms as f64 / DAY_MS as f64;
        let asked = asked.map_or_else(|| "for ever".to_owned(), |days| format!("for {days} days"));
        let what =
            format!("it keeps readings for {kept:.1} days, and storage.retention.raw_days asks {asked}");
        Err(self.unfit(what, remedy))
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
        // The library's own limit counts packed bytes.
        let (mut bytes, unpacked) = (Vec::new(), response.body_mut().with_config().reader());
        let read = unpacked.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes);
        if read.map_err(|error| unreachable(error.into()))? as u64 > ANSWER_BYTES_MAX {
            return Err(EngineError::TooLong { url: self.place(), bytes_max: ANSWER_BYTES_MAX });
        }
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Answer { status, retry_after, text })
    }

    /// Its address for messages: name and password stay out.
    fn place(&self) -> String {
        let parts = self.access.url.split_once("://").zip(self.access.url.rsplit_once('@'));
        parts.map_or_else(|| self.access.url.clone(), |((scheme, _), (_, host))| format!("{scheme}://{host}"))
    }

    pub(crate) fn busy(&self, status: u16, text: &str) -> EngineError {
        EngineError::Busy { url: self.place(), status, text: words(text) }
    }

    /// An answer that only a person can change.
    pub(crate) fn refusal(&self, answer: &Answer) -> EngineError {
        let what = format!("it says {} {}", answer.status, words(&answer.text));
        self.unfit(what, (self.remedy)(answer.status))
    }

    pub(crate) fn unfit(&self, what: impl Into<String>, remedy: &'static str) -> EngineError {
        EngineError::Unfit { url: self.place(), what: what.into(), remedy }
    }

    pub(crate) fn nonsense(&self, what: impl Into<String>) -> EngineError {
        EngineError::Answer { url: self.place(), what: what.into() }
    }
}

#[derive(Deserialize)]
struct Said {
    message: Option<String>,
    error: Option<String>,
}

type Response = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// The beginning of what a server says, on one line; of JSON only what it means to say.
pub(crate) fn words(text: &str) -> String {
    let said: Option<Said> = serde_json::from_str(text).ok();
    let said = said.and_then(|said| said.message.or(said.error));
    said.as_deref()
        .unwrap_or(text)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(WORDS_MAX)
        .collect()
}
