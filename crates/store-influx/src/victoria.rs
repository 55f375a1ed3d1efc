//! VictoriaMetrics as an engine of the series port.
//!
//! It answers a write with 204 while the rows are in its memory only: a kill within the next seconds loses them, and so it
//! says nothing of lines and times that it drops. Hence
//! - after every append it is asked for a snapshot, which brings all of its memory to the disk first, and the snapshot is
//!   removed again: some 20 to 200 ms for a commit, whatever its size;
//! - times outside what it keeps are refused here;
//! - it has to run with `-dedup.minScrapeInterval=1ms`, so that a row which is written twice counts once.
//!
//! It keeps some 15 digits of a value and one row of a point at a moment, and nothing of before 1970.

mod read;
mod rows;
mod windows;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use sitian_model::Row;
use sitian_series::{Append, AppendError, Refused};

use crate::fault::EngineError;
use crate::names::Names;
use crate::server::{Access, Server};
use crate::write::{Patience, Writer};

pub use read::VictoriaReader;

const DAY_MS: i64 = 86_400_000;
/// Rows further ahead of the clock are dropped by the server.
const AHEAD_MS_MAX: i64 = 2 * DAY_MS - 60_000;
/// How it has to be started.
const DEDUP: &str = "flag{name=\"dedup.minScrapeInterval\", value=\"1ms\"";
const RETENTION: &str = "flag{name=\"retentionPeriod\", value=\"";

/// A running VictoriaMetrics, single node.
#[derive(Debug, Clone)]
pub struct Victoria {
    writer: Writer,
    /// How far back rows are kept.
    kept_ms: i64,
}

#[derive(Deserialize)]
struct Snapshot {
    snapshot: Option<String>,
    msg: Option<String>,
}

impl Victoria {
    /// Looks whether the server is there and fit, and what it keeps.
    ///
    /// # Errors
    /// It does not answer, or is not set up in a way that loses nothing; the message says what to do.
    pub fn connect(access: Access, names: Arc<Names>, patience: Patience) -> Result<Self, EngineError> {
        let server = Server::new(access);
        server.get("/health")?;
        let metrics = server.get("/metrics")?;
        if !metrics.contains(DEDUP) {
            return Err(server.unfit(
                "it would count a reading twice that is sent twice",
                "start it with -dedup.minScrapeInterval=1ms",
            ));
        }
        let period = metrics.split(RETENTION).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("1");
        let Some(kept_ms) = period_ms(period) else {
            return Err(server.nonsense(format!("its retentionPeriod \"{period}\"")));
        };
        let path = "/api/v2/write?precision=ms".to_owned();
        let victoria = Self { writer: Writer { server, names, path, patience }, kept_ms };
        victoria.barrier()?;
        Ok(victoria)
    }

    /// A view for queries. Cheap; clone it freely.
    pub fn reader(&self) -> VictoriaReader {
        VictoriaReader::new(self.writer.server.clone(), Arc::clone(&self.writer.names))
    }

    /// Returns when everything that was written before is on the server's disk.
    fn barrier(&self) -> Result<(), EngineError> {
        let server = &self.writer.server;
        let text = server.get("/snapshot/create")?;
        let made: Snapshot =
            serde_json::from_str(&text).map_err(|error| server.nonsense(format!("a snapshot: {error}")))?;
        let Some(name) = made.snapshot else {
            return Err(server.busy(200, &made.msg.unwrap_or(text)));
        };
        // The snapshot itself is of no use. One that stays costs room until somebody removes it.
        if let Err(error) = server.get(&format!("/snapshot/delete?snapshot={name}")) {
            tracing::warn!(%error, snapshot = name, "a snapshot stays on the engine; remove it there");
        }
        Ok(())
    }
}

impl Append for Victoria {
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        let now = now_ms();
        let (oldest, newest) = (now.saturating_sub(self.kept_ms).max(0), now + AHEAD_MS_MAX);
        let kept = |row: &Row| (oldest..=newest).contains(&row.at.0);
        let mut refused = Vec::new();
        let mut taken: Vec<usize> = (0..rows.len()).collect();
        if !rows.iter().all(kept) {
            taken.retain(|index| kept(&rows[*index]));
            let why = |at: i64| {
                if at < oldest { "it is older than the engine keeps" } else { "it is far in the future" }
            };
            let outside = rows.iter().enumerate().filter(|(_, row)| !kept(row));
            refused.extend(outside.map(|(index, row)| Refused { index, why: why(row.at.0).to_owned() }));
        }
        let inside: Vec<Row> = taken.iter().map(|index| rows[*index]).collect();
        let found = self.writer.write(&inside)?;
        refused.extend(found.into_iter().map(|found| Refused { index: taken[found.index], why: found.why }));
        refused.sort_by_key(|refused| refused.index);
        if refused.len() < rows.len() {
            let later = |error| AppendError::Later { retry_after_ms: None, source: Box::new(error) };
            self.barrier().map_err(later)?;
        }
        Ok(refused)
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A retention period as the server's flag says it: months without a unit, or hours, days, weeks, years.
fn period_ms(text: &str) -> Option<i64> {
    let number = text.trim_end_matches(char::is_alphabetic);
    let days = match &text[number.len()..] {
        "" => 31.0,
        "h" => 1.0 / 24.0,
        "d" => 1.0,
        "w" => 7.0,
        "y" => 365.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok().filter(|number: &f64| *number > 0.0)?;
    Some((number * days * DAY_MS as f64) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_periods_are_read_as_the_server_reads_them() {
        for (text, days) in [
            ("1", Some(31.0)),
            ("100y", Some(36_500.0)),
            ("36h", Some(1.5)),
            ("10d", Some(10.0)),
            ("2w", Some(14.0)),
            ("1.5d", Some(1.5)),
            ("soon", None),
            ("0", None),
            ("-1d", None),
            ("3m", None),
        ] {
            assert_eq!(period_ms(text), days.map(|days: f64| (days * DAY_MS as f64) as i64), "{text}");
        }
    }
}
