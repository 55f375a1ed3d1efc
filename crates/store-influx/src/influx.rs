//! InfluxDB 2 as an engine of the series port: one bucket, written to as line protocol and asked in Flux.
//!
//! It answers a write with 204 when the points are in its log and the log is on its disk, as long as its
//! `storage-wal-fsync-delay` is left at 0, so nothing has to be settled. It keeps numbers to the bit, one row of a point at
//! a moment, and moments that can be told in nanoseconds: 1677 to 2262.

mod csv;
mod flux;
mod windows;

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use sitian_series::Window;

use crate::dialect::Dialect;
use crate::engine::Engine;
use crate::fault::EngineError;
use crate::names::{Choice, Names};
use crate::rows::Moments;
use crate::server::{Access, Answer, Place, Server, Token, words};
use crate::write::{Patience, Writer};

/// Moments in milliseconds whose nanoseconds it keeps.
const MOMENTS: Range<i64> = -9_223_372_036_854..9_223_372_036_854;

/// Whose rows, where, and who may write and read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Name or id of the organisation.
    pub organisation: String,
    /// The bucket's name.
    pub bucket: String,
    /// An API token that may read and write the bucket.
    pub token: Token,
}

/// An InfluxDB 2.
#[derive(Debug)]
struct Influx {
    server: Server,
    query: Place,
    bucket: String,
    /// How far back rows are kept; `None` is for ever.
    kept_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Health {
    name: String,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Found>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    name: String,
    #[serde(default)]
    retention_rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    every_seconds: i64,
}

/// Looks whether the server is there and fit: organisation, bucket, permissions, and how long it keeps.
///
/// # Errors
/// It does not answer, or cannot be used as it is set up; the message says what to do.
pub fn connect(
    access: Access,
    bucket: Bucket,
    names: Arc<Names>,
    patience: Patience,
) -> Result<Engine, EngineError> {
    let server = Server::new(access, Some(bucket.token.clone()), remedy);
    examine_kind(&server)?;
    let kept_ms = examine_bucket(&server, &bucket)?;
    let mut parameters = vec![("org", bucket.organisation.clone())];
    let query = Place { path: "/api/v2/query", parameters: parameters.clone() };
    parameters.extend([("bucket", bucket.bucket.clone()), ("precision", "ms".to_owned())]);
    let place = Place { path: "/api/v2/write", parameters };
    // Nothing is written, and whether it might be is said all the same.
    let answer = server.post(&place, "")?;
    if matches!(answer.status, 401 | 403 | 404) {
        return Err(server.refusal(&answer));
    }
    let influx = Influx { server: server.clone(), query, bucket: bucket.bucket, kept_ms };
    influx.ask(&flux::nothing(&influx.bucket))?;
    Ok(Engine::new(Writer { server, names, place, patience }, influx))
}

/// Whether it is an InfluxDB 2 at all.
fn examine_kind(server: &Server) -> Result<(), EngineError> {
    let answer = server.look(&Place { path: "/health", parameters: Vec::new() })?;
    let remedy = "correct storage.url, or choose another storage.engine";
    match serde_json::from_str::<Health>(&answer.text) {
        Ok(health) if health.name != "influxdb" => {
            Err(server.unfit(format!("it is {:?} and no InfluxDB 2", health.name), remedy))
        }
        Ok(Health { version: Some(version), .. }) if version.trim_start_matches('v').starts_with("1.") => {
            Err(server.unfit(format!("it is an InfluxDB {version}"), "use InfluxDB 2"))
        }
        Ok(_) if answer.status / 100 == 2 => Ok(()),
        Ok(_) => Err(server.busy(answer.status, &answer.text)),
        Err(_) if matches!(answer.status, 429 | 500..=599) => Err(server.busy(answer.status, &answer.text)),
        Err(_) => Err(server.unfit("what listens there is no InfluxDB 2", remedy)),
    }
}

/// Whether organisation and bucket are there, and how long it keeps; `None` is for ever.
fn examine_bucket(server: &Server, bucket: &Bucket) -> Result<Option<i64>, EngineError> {
    let parameters = vec![("org", bucket.organisation.clone()), ("name", bucket.bucket.clone())];
    let answer = server.look(&Place { path: "/api/v2/buckets", parameters })?;
    let missing = || {
        let (name, organisation) = (&bucket.bucket, &bucket.organisation);
        server.unfit(
            format!("organisation {organisation:?} has no bucket {name:?} that the token may see"),
            "create it, correct storage.bucket, or use a token that may read and write it",
        )
    };
    match answer.status {
        404 if words(&answer.text).contains("organization") => Err(server.unfit(
            format!("it has no organisation {:?}", bucket.organisation),
            "create it, or correct storage.organisation",
        )),
        404 => Err(missing()),
        200..=299 => {
            let found: Buckets = serde_json::from_str(&answer.text)
                .map_err(|error| server.nonsense(format!("its list of buckets: {error}")))?;
            let found = found.buckets.into_iter().find(|found| found.name == bucket.bucket);
            let rules = found.ok_or_else(missing)?.retention_rules;
            let kept_ms =
                rules.iter().map(|rule| rule.every_seconds.saturating_mul(1_000)).find(|ms| *ms > 0);
            server.judge_keep(
                kept_ms,
                "lengthen the bucket's retention (influx bucket update --retention), or set storage.retention.raw_days to it",
            )?;
            Ok(kept_ms)
        }
        _ => Err(server.refusal(&answer)),
    }
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 => {
            "put a token of this server into storage.token_file, or into the variable SITIAN_STORAGE_TOKEN"
        }
        403 => "use a token that may read and write the bucket",
        404 => "see whether storage.organisation and storage.bucket are still there",
        _ => "see what the engine's own log says",
    }
}

impl Influx {
    /// Asks in Flux; answers in CSV.
    fn ask(&self, query: &str) -> Result<String, EngineError> {
        let dialect = serde_json::json!({ "annotations": [], "delimiter": ",", "header": true });
        let body = serde_json::json!({ "query": query, "type": "flux", "dialect": dialect }).to_string();
        let answer = self.server.ask_with(&self.query, "application/json", &body)?;
        match answer {
            Answer { status: 200..=299, text, .. } => Ok(text),
            Answer { status: 401 | 403 | 404, .. } => Err(self.server.refusal(&answer)),
            Answer { status, text, .. } => Err(self.server.busy(status, &text)),
        }
    }

    /// Asks, and hands every record of the answer to `each`, which says what it does not understand.
    fn records(
        &self,
        query: &str,
        mut each: impl FnMut(&csv::Record<'_>) -> Option<()>,
    ) -> Result<(), EngineError> {
        let text = self.ask(query)?;
        csv::records(&text, |record| each(record).ok_or_else(|| format!("{record:?}")))
            .map_err(|what| self.server.nonsense(format!("its answer to a query: {what}")))
    }

    /// Asks for fields of moments.
    fn moments(&self, query: &str, found: &mut Moments<'_>) -> Result<(), EngineError> {
        self.records(query, |record| {
            let who = (record.get("gateway")?, record.get("device")?, record.get("point")?);
            found.put(who, record.get("_field")?, record.time()?, record.number()?);
            Some(())
        })
    }
}

impl Dialect for Influx {
    fn keeps(&self, now_ms: i64) -> Range<i64> {
        let from = self.kept_ms.map_or(MOMENTS.start, |kept_ms| now_ms.saturating_sub(kept_ms));
        from.max(MOMENTS.start)..MOMENTS.end
    }

    fn answers(&self, _now_ms: i64) -> Range<i64> {
        MOMENTS
    }

    fn blind(&self) -> Range<i64> {
        MOMENTS.start..MOMENTS.start
    }

    fn settle(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn room(&self) -> Result<Option<u64>, EngineError> {
        Ok(None)
    }

    fn ends(&self, choice: &Choice<'_>, span: Range<i64>) -> Result<Option<(i64, i64)>, EngineError> {
        let (mut first, mut last) = (None::<i64>, None::<i64>);
        self.records(&flux::ends(&self.bucket, choice, &span), |record| {
            let at = record.time()?;
            match record.get("result")? {
                "first" => first = Some(first.map_or(at, |first| first.min(at))),
                _ => last = Some(last.map_or(at, |last| last.max(at))),
            }
            Some(())
        })?;
        Ok(first.zip(last))
    }

    fn fields(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
        most: Option<usize>,
        found: &mut Moments<'_>,
    ) -> Result<(), EngineError> {
        self.moments(&flux::fields(&self.bucket, choice, &span, most), found)
    }

    fn newest(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
        found: &mut Moments<'_>,
    ) -> Result<(), EngineError> {
        self.moments(&flux::newest(&self.bucket, choice, &span), found)
    }

    fn measures(&self, _window_ms: i64) -> bool {
        true
    }

    fn windows(
        &self,
        choice: &Choice<'_>,
        window_ms: i64,
        windows: &mut [Window],
    ) -> Result<bool, EngineError> {
        windows::fill(self, choice, window_ms, windows)
    }
}
