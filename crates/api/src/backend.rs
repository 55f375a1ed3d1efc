//! What the API asks of the program around it. Everything else in this room is HTTP.

use sitian_export::Format;
use sitian_model::{PointId, Span, Timestamp};
use sitian_series::Extras;

use crate::view::{
    Aggregates, Alert, BasePage, Command, Corrected, Correction, Gap, Health, Incident, KnownGateways,
    Latest, Ledger, Measurement, NewCommand, Node, NodePage, Output, Page, Phase, Point, Quarantine,
    Readings, Rollup, Rule, Severity,
};

/// Why the backend has no answer, split by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// There is no such thing, or not for this caller: the two look the same.
    #[error("find the {0}")]
    NotFound(&'static str),
    /// The question makes no sense; the text says why and goes to the caller.
    #[error("understand the question: {0}")]
    Invalid(String),
    /// The answer would take too much work; the text says what to ask instead and goes to the caller.
    #[error("answer in one piece: {0}")]
    TooWide(String),
    /// Whoever asked has left: nobody reads this.
    #[error("answer: nobody wants it any more")]
    Stopped,
    /// Not now; the text goes to the log only.
    #[error("answer now: {0}")]
    Unavailable(String),
}

/// Which stored readings of a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingsQuery {
    /// From when to when.
    pub span: Span,
    /// At most this many; 1 to [`crate::limits::ROWS_MAX`].
    pub limit: usize,
    /// Continue after this: a `next_cursor` of an earlier answer, otherwise [`BackendError::Invalid`].
    pub after: Option<String>,
    /// Instead of those stamped inside the span, those of unknown time that may have been taken inside.
    pub undated: bool,
}

/// Which alerts: those that are `pending`, `firing` or `resolved`, or the open ones (pending and firing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseFilter {
    /// Pending or firing.
    Open,
    /// Exactly this phase.
    Only(Phase),
}

impl PhaseFilter {
    /// True if an alert in `phase` is asked for.
    pub fn admits(self, phase: Phase) -> bool {
        match self {
            Self::Open => phase != Phase::Resolved,
            Self::Only(only) => phase == only,
        }
    }
}

/// Which alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertsQuery {
    /// Those of this node and below; every alert if `None`.
    pub scope: Option<String>,
    /// In which phase; any if `None`.
    pub phase: Option<PhaseFilter>,
    /// Of exactly this colour; any if `None`.
    pub severity: Option<Severity>,
    /// At most this many; 1 to [`crate::limits::ALERTS_MAX`].
    pub limit: usize,
    /// Continue after this: a `next_cursor` of an earlier answer, otherwise [`BackendError::Invalid`].
    pub after: Option<String>,
}

/// Which incidents or gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentsQuery {
    /// Those of this node and below; all if `None`. What belongs to no base belongs to the first city.
    pub scope: Option<String>,
    /// Noticed at this moment or later; whenever if `None`.
    pub from: Option<Timestamp>,
    /// At most this many; 1 to [`crate::limits::INCIDENTS_MAX`].
    pub limit: usize,
    /// Continue after this: a `next_cursor` of an earlier answer, otherwise [`BackendError::Invalid`].
    pub after: Option<String>,
}

/// Which corrections of a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrectionsQuery {
    /// Of readings inside.
    pub span: Span,
    /// At most this many; 1 to [`crate::limits::CORRECTIONS_MAX`].
    pub limit: usize,
    /// Continue after this: a `next_cursor` of an earlier answer, otherwise [`BackendError::Invalid`].
    pub after: Option<String>,
}

/// What a person says about readings.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCorrection {
    /// Readings inside.
    pub span: Span,
    /// What is right.
    pub change: Change,
    /// Who says so.
    pub by: String,
    /// Why.
    pub note: String,
}

/// What is right instead of what a sensor sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// This value, which is good.
    Set(f64),
    /// What the sensor sent and so much more; nothing where it sent no value.
    Add(f64),
    /// What the sensor sent.
    Restore,
}

/// Which part of the completeness ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerQuery {
    /// This node; the nodes directly below it as well if `depth` is 1.
    pub scope: String,
    /// 0 or 1.
    pub depth: u8,
    /// From when to when; starts where a window starts.
    pub span: Span,
    /// Width of a window in milliseconds; at most [`crate::limits::WINDOWS_MAX`] windows lie in the span.
    pub window_ms: u64,
}

/// What the API itself is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Large queries that were stopped because their callers had left, since the start.
    pub queries_stopped: u64,
    /// Large queries under way.
    pub queries_running: usize,
    /// Open streams.
    pub streams_open: usize,
}

/// One line of the durable alert log: an alert as it was after one change.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Position in the log; strictly increasing, 1 or more.
    pub cursor: u64,
    /// The alert after that change.
    pub alert: Alert,
}

/// The program behind the API. Methods may touch the disk: the API calls them from threads where waiting is allowed. What
/// takes long is asked under a [`sitian_series::Stop`], and ends with [`BackendError::Stopped`] when the caller leaves.
///
/// An id that names nothing is [`BackendError::NotFound`]; ids arrive as slugs (`a-z 0-9 - _`, at most 64 characters).
pub trait Backend: Send + Sync + 'static {
    /// The clock, as all answers see it.
    fn now(&self) -> Timestamp;
    /// Is everything able to do its work? Never waits.
    fn health(&self) -> Health;
    /// The program's own health as a page for Prometheus (OpenMetrics text).
    fn metrics(&self, work: &Work) -> String;
    /// The catalogue of measurements.
    fn measurements(&self) -> Vec<Measurement>;
    /// The alert rules.
    fn rules(&self) -> Vec<Rule>;
    /// The whole territory, parents before children.
    fn tree(&self) -> Vec<Node>;
    /// The roll-up of `scope`, then of the nodes up to `depth` levels below it.
    fn rollups(&self, scope: &str, depth: u8) -> Result<Vec<Rollup>, BackendError>;
    /// A node with its way down, its roll-up and its direct children.
    fn node(&self, id: &str) -> Result<NodePage, BackendError>;
    /// A base with its gateways and their devices.
    fn base(&self, id: &str) -> Result<BasePage, BackendError>;
    /// Every point of a base.
    fn base_points(&self, id: &str) -> Result<Vec<Point>, BackendError>;
    /// The newest reading of every point of a base that has one; with the last hour's means if `sparkline`.
    fn base_latest(&self, id: &str, sparkline: bool) -> Result<Vec<Latest>, BackendError>;
    /// One point.
    fn point(&self, id: &PointId) -> Result<Point, BackendError>;
    /// Stored readings of one point, in order of time.
    fn readings(&self, id: &PointId, query: &ReadingsQuery) -> Result<Readings, BackendError>;
    /// One window per `window_ms` from `span.from` on, the last one cut at `span.to`; at most
    /// [`crate::limits::WINDOWS_MAX`].
    fn aggregates(
        &self,
        id: &PointId,
        span: Span,
        window_ms: u64,
        extras: &Extras,
    ) -> Result<Aggregates, BackendError>;
    /// The readings that a picture of so many columns shows; at most [`sitian_series::outline::COLUMNS_MAX`] columns.
    fn outline(&self, id: &PointId, span: Span, columns: usize) -> Result<Readings, BackendError>;
    /// Hands every reading of a span as a file to `out`, a piece at a time, until it says stop by returning false.
    fn export(
        &self,
        id: &PointId,
        span: Span,
        format: Format,
        out: &mut (dyn FnMut(Vec<u8>) -> bool + Send),
    ) -> Result<(), BackendError>;
    /// Corrections of a point's readings, newest first.
    fn corrections(&self, id: &PointId, query: &CorrectionsQuery) -> Result<Page<Correction>, BackendError>;
    /// Corrects readings durably: at most [`crate::limits::CORRECTED_MAX`] at once, otherwise [`BackendError::TooWide`].
    fn correct(&self, id: &PointId, wanted: &NewCorrection) -> Result<Corrected, BackendError>;
    /// What was due, what is there and why the rest is not: [`BackendError::TooWide`] if that is too much to count.
    fn ledger(&self, query: &LedgerQuery) -> Result<Ledger, BackendError>;
    /// Incidents, newest first.
    fn incidents(&self, query: &IncidentsQuery) -> Result<Page<Incident>, BackendError>;
    /// Committed gaps, newest first.
    fn gaps(&self, query: &IncidentsQuery) -> Result<Page<Gap>, BackendError>;
    /// The quarantine, newest first.
    fn quarantine(&self, query: &IncidentsQuery) -> Result<Quarantine, BackendError>;
    /// Every gateway that is known, or only those that stand in no base.
    fn gateways(&self, unassigned: bool) -> Result<KnownGateways, BackendError>;
    /// Alerts, newest first.
    fn alerts(&self, query: &AlertsQuery) -> Result<Page<Alert>, BackendError>;
    /// Notes that somebody has seen an alert and returns it once that is durable. The first acknowledgement stays:
    /// doing it again changes nothing and returns the alert as it is.
    fn acknowledge(&self, alert: u64, by: &str, note: &str) -> Result<Alert, BackendError>;
    /// Notes a command durably and sends it; one with a known id is returned as it is.
    fn command(&self, command: &NewCommand) -> Result<Command, BackendError>;
    /// Commands of a gateway, of a node and below, or all, newest first, at most `limit`.
    fn commands(
        &self,
        gateway: Option<&str>,
        scope: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Command>, BackendError>;
    /// What the gateways of a base can switch, and how it stands.
    fn base_outputs(&self, id: &str) -> Result<Vec<Output>, BackendError>;
    /// The durable alert log after `cursor`, oldest first, at most `limit` lines.
    fn alert_log_after(&self, cursor: u64, limit: usize) -> Result<Vec<LogEntry>, BackendError>;
    /// The cursor of the last line of the durable alert log; 0 if there is none.
    fn alert_log_end(&self) -> Result<u64, BackendError>;
}
