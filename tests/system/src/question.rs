//! Questions to the API, and waiting for an answer.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Asks `answer` every 10 ms until it is `Some`; panics after `most_s` seconds.
pub fn wait_for<T>(what: &str, most_s: u64, mut answer: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(most_s);
    loop {
        if let Some(found) = answer() {
            return found;
        }
        assert!(Instant::now() < until, "waited {most_s} s in vain for: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The JSON answer to `GET url`, or `None` while there is none.
pub fn get(url: &str) -> Option<Value> {
    ask(url).ok()
}

/// The JSON answer to `GET url`, or what came instead: status and body, or why there was none.
pub fn ask(url: &str) -> Result<Value, String> {
    let request = ureq::get(url).config().http_status_as_error(false).build();
    let mut answer = request.call().map_err(|e| e.to_string())?;
    let (status, text) = (answer.status(), answer.body_mut().read_to_string().map_err(|e| e.to_string())?);
    if !status.is_success() {
        return Err(format!("{status} {text}"));
    }
    serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))
}

/// The JSON answer to `POST url`.
pub fn post(url: &str, body: &Value) -> Result<Value, String> {
    let request = ureq::post(url).header("content-type", "application/json");
    let mut answer = request.send(body.to_string()).map_err(|e| e.to_string())?;
    let text = answer.body_mut().read_to_string().map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

/// A server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `event:`
    pub name: String,
    /// `id:`, empty without one.
    pub id: String,
    /// `data:` as JSON.
    pub data: Value,
}

/// An open stream of server-sent events.
pub struct Stream {
    lines: BufReader<Box<dyn Read + Send>>,
}

impl Stream {
    /// Opens the stream; `after` is sent as `Last-Event-ID`.
    pub fn open(url: &str, after: Option<&str>) -> Self {
        let mut request = ureq::get(url).header("accept", "text/event-stream");
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let answer = request.call().unwrap_or_else(|e| panic!("{url}: {e}"));
        Self { lines: BufReader::new(Box::new(answer.into_body().into_reader())) }
    }

    /// The next event; comments are skipped. Blocks until there is one.
    pub fn next_event(&mut self) -> Event {
        let (mut name, mut id, mut data) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("an open stream");
            assert!(read > 0, "the stream ended");
            let line = line.trim_end();
            if line.is_empty() && !data.is_empty() {
                let data = serde_json::from_str(&data).expect("JSON data");
                return Event { name, id, data };
            }
            match line.split_once(':').map(|(key, value)| (key, value.trim_start())) {
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("data", value)) => data.push_str(value),
                _ => {}
            }
        }
    }
}
