//! VictoriaMetrics as an engine of the series port.
//!
//! It answers a write with 204 while the rows are in its memory only: a kill within the next seconds loses them, and so it
//! says nothing of lines and times that it drops. Hence
//! - after every append it is asked for a snapshot, which brings all of its memory to the disk first, and the snapshot is
//!   removed again: some 20 to 200 ms for a commit, whatever its size;
//! - times outside what it keeps are refused here;
//! - it has to run with `-dedup.minScrapeInterval=1ms`, so that a row which is written twice counts once.
//!
//! It keeps 12 to 15 digits of a value and one row of a point at a moment, and nothing of before 1970. The first day of 1970,
//! where boards without a clock begin, it has to be told row by row: questions about a window of time find nothing there.

mod questions;
mod snapshot;
mod turns;
mod windows;

use std::ops::Range;
use std::sync::Arc;

use sitian_series::Window;

use crate::dialect::Dialect;
use crate::engine::Engine;
use crate::fault::EngineError;
use crate::names::{Choice, Names};
use crate::rows::Moments;
use crate::server::{Access, Place, Server};
use crate::write::{Patience, Writer};

use snapshot::Snapshots;

const DAY_MS: i64 = 86_400_000;
/// Rows further ahead of the clock are dropped by the server.
const AHEAD_MS_MAX: i64 = 2 * DAY_MS - 60_000;
/// It takes 0 for the time of its own clock.
const FIRST_MS: i64 = 1;
/// A window of time that begins within the first five minutes of 1970 is empty to it; whole days are easier to tell.
const SEEN_MS: i64 = DAY_MS;
/// How it has to be started.
const DEDUP: &str = "flag{name=\"dedup.minScrapeInterval\", value=\"1ms\"";
const REMEDY: &str =
    "start it with -retentionPeriod=100y, or as many days (…d) as you set storage.retention.raw_days to";
const FREE: &str = "vm_free_disk_space_bytes{";
const RETENTION: &str = "flag{name=\"retentionPeriod\", value=\"";

/// A VictoriaMetrics, single node.
#[derive(Debug)]
struct Victoria {
    server: Server,
    snapshots: Snapshots,
    /// How far back rows are kept.
    kept_ms: i64,
}

/// Looks whether the server is there and fit, and what it keeps.
///
/// # Errors
/// It does not answer, or is not set up in a way that loses nothing; the message says what to do.
pub fn connect(access: Access, names: Arc<Names>, patience: Patience) -> Result<Engine, EngineError> {
    let note = access.note.clone();
    let server = Server::new(access, None, remedy);
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
        let what = format!("nobody understands its -retentionPeriod={period}");
        return Err(server.unfit(what, REMEDY));
    };
    server.judge_keep(Some(kept_ms), REMEDY)?;
    let snapshots = Snapshots::new(server.clone(), note);
    snapshots.begin()?;
    let victoria = Victoria { server: server.clone(), snapshots, kept_ms };
    let place = Place { path: "/api/v2/write", parameters: vec![("precision", "ms".to_owned())] };
    Ok(Engine::new(Writer { server, names, place, patience }, victoria))
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => "let the ingestor write there without a password",
        404 => "correct storage.url: nothing takes line protocol there",
        _ => "see what the engine's own log says",
    }
}

impl Dialect for Victoria {
    fn keeps(&self, now_ms: i64) -> Range<i64> {
        now_ms.saturating_sub(self.kept_ms).max(FIRST_MS)..now_ms + AHEAD_MS_MAX + 1
    }

    fn answers(&self, now_ms: i64) -> Range<i64> {
        FIRST_MS..now_ms + AHEAD_MS_MAX + DAY_MS
    }

    fn blind(&self) -> Range<i64> {
        FIRST_MS..SEEN_MS
    }

    fn settle(&self) -> Result<(), EngineError> {
        self.snapshots.take()
    }

    fn room(&self) -> Result<Option<u64>, EngineError> {
        let metrics = self.server.get("/metrics")?;
        let line = metrics.lines().find(|line| line.starts_with(FREE));
        let free = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(free.map(|bytes| bytes as u64))
    }

    fn ends(&self, choice: &Choice<'_>, span: Range<i64>) -> Result<Option<(i64, i64)>, EngineError> {
        self.first_and_last(choice, span)
    }

    fn fields(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
        _most: Option<usize>,
        found: &mut Moments<'_>,
    ) -> Result<(), EngineError> {
        self.export(choice, span, found)
    }

    fn newest(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
        found: &mut Moments<'_>,
    ) -> Result<(), EngineError> {
        self.last(choice, span, found)
    }

    /// It takes lengths in seconds exactly, those in milliseconds it may cut.
    fn measures(&self, window_ms: i64) -> bool {
        window_ms % 1_000 == 0
    }

    fn windows(
        &self,
        choice: &Choice<'_>,
        window_ms: i64,
        windows: &mut [Window],
    ) -> Result<bool, EngineError> {
        windows::fill(&self.server, choice, window_ms, windows)
    }
}

/// A retention period as the server's flag says it: months, also without a unit, or hours, days, weeks, years.
fn period_ms(text: &str) -> Option<i64> {
    let number = text.trim_end_matches(char::is_alphabetic);
    let days = match &text[number.len()..] {
        "" | "M" => 31.0,
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
            ("2M", Some(62.0)),
            ("soon", None),
            ("0", None),
            ("-1d", None),
            ("3m", None),
        ] {
            assert_eq!(period_ms(text), days.map(|days: f64| (days * DAY_MS as f64) as i64), "{text}");
        }
    }
}
