//! Logging, figures of health ([`metrics`]) and build information of a program.
//!
//! What holds:
//! - Everything goes to standard error, one line per event: text for people, with local time, or JSON for machines.
//! - Libraries are quiet: they speak from `warn` on, and the embedded broker, which takes every goodbye for an error,
//!   not at all, unless the filter names them.
//! - A panic is logged like everything else before it unwinds.
//! - The room knows no program.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod metrics;

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::panic;

use jiff::Zoned;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries that have little to say to an operator, and how loud they may be.
const QUIET: &str = "rumqttd=off,rumqttc=warn,tokio_modbus=warn,hyper=warn,hyper_util=warn,h2=warn,rustls=warn,\
                     tower_http=warn,mio=warn,want=warn,reqwest=warn,ureq=warn,metrics=warn";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// For people; in colour on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// The format of this name: `text` or `json`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Why logging could not be set up. Messages complete "failed to set up logging: ".
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter cannot be read.
    #[error(
        "{0:?} is neither a level (error, warn, info, debug, trace) nor a filter such as info,sitian_mqtt=debug"
    )]
    Filter(String),
    /// Logging is already set up in this process.
    #[error("it is already set up")]
    Twice,
}

/// Sets up logging for the whole process. `filter` is a level such as `info`, or directives such as
/// `info,sitian_mqtt=debug`. Call once, before the first event.
pub fn init(filter: &str, format: Format) -> Result<(), InitError> {
    let directives = directives(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(directives).with_writer(stderr).with_target(true);
    let set = match format {
        Format::Text => {
            builder.compact().with_timer(LocalTime).with_ansi(stderr().is_terminal()).finish().try_init()
        }
        Format::Json => builder.json().flatten_event(true).with_timer(LocalTime).finish().try_init(),
    };
    set.map_err(|_| InitError::Twice)?;
    log_panics();
    Ok(())
}

/// Whether [`init`] would accept this filter.
pub fn check(filter: &str) -> Result<(), InitError> {
    directives(filter).map(drop)
}

/// The directives for a filter: what is quiet by default comes first, so that the filter can overrule it.
fn directives(filter: &str) -> Result<EnvFilter, InitError> {
    let filter: String = filter.split_whitespace().collect();
    let refused = || InitError::Filter(filter.chars().take(128).collect());
    // A bare word that is no level would be taken for the name of a module, and nothing would ever be logged.
    let words = filter.split(',');
    let known = |word: &str| word.contains('=') || word.parse::<LevelFilter>().is_ok();
    if filter.is_empty() || !words.clone().all(known) {
        return Err(refused());
    }
    EnvFilter::builder().parse(format!("{QUIET},{filter}")).map_err(|_| refused())
}

/// Local time with its offset, to the millisecond.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
    }
}

/// Logs panics, instead of the plain text that Rust writes.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("(no message)");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        tracing::error!(%thread, %place, %backtrace, "panic: {message}");
    }));
}

/// What this program was built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// Version of the workspace, such as `0.1.0`.
    pub version: &'static str,
    /// Git commit, if the builder set `SITIAN_COMMIT`.
    pub commit: Option<&'static str>,
}

/// The build information.
pub const BUILD: Build = Build { version: env!("CARGO_PKG_VERSION"), commit: option_env!("SITIAN_COMMIT") };

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version)?;
        self.commit.map_or(Ok(()), |commit| write!(f, " ({commit})"))
    }
}

#[cfg(test)]
mod tests;
