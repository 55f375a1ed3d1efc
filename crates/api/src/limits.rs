//! The limits of the API: every answer is bounded, and so is the work behind it.

use std::time::Duration;

/// Readings per page.
pub const ROWS_MAX: usize = 10_000;
/// Alerts per page.
pub const ALERTS_MAX: usize = 500;
/// Incidents or gaps per page.
pub const INCIDENTS_MAX: usize = 500;
/// Corrections per page.
pub const CORRECTIONS_MAX: usize = 500;
/// Readings that one request may correct.
pub const CORRECTED_MAX: usize = 5_000;
/// Longest span of the completeness ledger, in milliseconds.
pub const LEDGER_SPAN_MS_MAX: i64 = 31 * DAY_MS;
/// Windows per aggregate.
pub const WINDOWS_MAX: u64 = 2_000;
/// Narrowest window, in milliseconds.
pub const WINDOW_MS_MIN: u64 = 1_000;
/// Widest window, in milliseconds.
pub const WINDOW_MS_MAX: u64 = 366 * DAY_MS as u64;
/// Longest span of readings, in milliseconds.
pub const READINGS_SPAN_MS_MAX: i64 = 31 * DAY_MS;
/// Longest span of an aggregate, in milliseconds.
pub const AGGREGATES_SPAN_MS_MAX: i64 = 366 * DAY_MS;
/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// Characters of a cursor.
pub const CURSOR_CHARS_MAX: usize = 128;
/// Alert log lines read at once while a stream catches up.
pub const REPLAY_PAGE: usize = 256;
/// Milliseconds of one day.
pub const DAY_MS: i64 = 86_400_000;

/// The limits that a deployment may choose.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Expensive queries (readings, aggregates, sparklines) at once; the next ones wait.
    pub queries: usize,
    /// How long a query waits for its turn before it is refused with 503.
    pub query_wait: Duration,
    /// How long an export waits for a caller that reads nothing before it breaks off.
    pub unread: Duration,
    /// Open streams at once; the next one is refused with 503.
    pub streams: usize,
    /// How often an idle stream says that it is alive.
    pub heartbeat: Duration,
    /// Least time between two `reading` events of a stream.
    pub reading_pause: Duration,
    /// Least time between two `rollup` events of a stream.
    pub rollup_pause: Duration,
    /// How long open requests may take to end at shutdown.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queries: 4,
            query_wait: Duration::from_secs(5),
            unread: Duration::from_secs(30),
            streams: 256,
            heartbeat: Duration::from_secs(15),
            reading_pause: Duration::from_millis(250),
            rollup_pause: Duration::from_secs(1),
            shutdown: Duration::from_secs(5),
        }
    }
}
