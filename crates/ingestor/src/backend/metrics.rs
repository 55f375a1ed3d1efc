//! The centre's own health, in words and as figures, put together when somebody asks. No label grows with what is connected, but for the
//! counties.

use std::collections::BTreeMap;
use std::time::Duration;

use sitian_api::Backend;
use sitian_api::backend::Work;
use sitian_api::view::{BrokerHealth, Health, StorageHealth};
use sitian_ingest::{IncidentKind, Stats};
use sitian_model::Severity;
use sitian_registry::ListFilter;
use sitian_supervision::{Level, Node};
use sitian_telemetry::metrics::{Durations, Page};

use super::Centre;

/// What the admission thread has counted since the program started.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// What came in.
    pub stats: Stats,
    /// Acks sent.
    pub acks: u64,
    /// How long commits took, engine included.
    pub commits: Durations,
    /// Commits that failed.
    pub failures: u64,
    /// Incidents by kind.
    pub incidents: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// One more commit is durable.
    pub fn committed(&mut self, took: Duration, acks: usize) {
        self.commits.observe(took);
        self.acks += acks as u64;
    }
}

type Labelled = (Vec<(&'static str, String)>, f64);

fn labelled(name: &'static str, value: impl Into<String>, count: f64) -> Labelled {
    (vec![(name, value.into())], count)
}

impl Centre {
    /// Whether it is able to do its work, and since when not.
    pub(super) fn health_page(&self) -> Health {
        let board = self.board();
        let refusal = board.refusal();
        let sharing = self.others.as_ref().map(|others| others.sharing(&board, &self.presenter));
        let shared = sharing.as_ref().is_none_or(|sharing| sharing.healthy);
        let status = if refusal.is_none() && board.broker.0 && shared { "ok" } else { "degraded" };
        Health {
            status: status.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            storage: StorageHealth {
                healthy: refusal.is_none(),
                since: refusal.map(|refusal| self.presenter.time(refusal.since)),
                why: refusal.map(|refusal| refusal.why.to_owned()),
                bytes: bytes(&self.storage) + bytes(&write_ahead_log(&self.storage)),
                readings_since_start: board.readings,
                points: board.points.len() as u64,
                committed_at: board.committed_at.map(|at| self.presenter.time(at)),
            },
            broker: BrokerHealth {
                up: board.broker.0,
                since: board.broker.1.map(|at| self.presenter.time(at)),
            },
            sharing,
        }
    }

    /// The page for Prometheus.
    pub fn metrics_page(&self, work: &Work) -> String {
        let mut page = Page::new();
        self.pipe(&mut page);
        self.store(&mut page);
        self.network(&mut page);
        if let Some(others) = &self.others {
            others.figures(&mut page);
        }
        page.counter(
            "http_queries_stopped",
            "Large queries stopped because their callers had left.",
            work.queries_stopped,
        );
        page.gauge("http_queries_running", "Large queries under way.", work.queries_running as f64);
        page.gauge("http_streams_open", "Open event streams.", work.streams_open as f64);
        page.text()
    }

    /// From the broker to the commit.
    fn pipe(&self, page: &mut Page) {
        let board = self.board();
        let Counts { stats, acks, commits, failures, incidents } = board.counts.clone();
        page.gauge("broker_link_up", "1 while connected to the MQTT broker.", board.broker.0.into());
        let (waiting, limit) = match &self.others {
            None => (self.asks.max_capacity() - self.asks.capacity(), self.asks.max_capacity()),
            Some(others) => others.routes.fullest(),
        };
        page.gauge("asks_waiting", "Messages waiting for the admission thread.", waiting as f64);
        page.gauge("asks_waiting_limit", "Where reading from the broker stops.", limit as f64);
        page.counter("batches", "Batches with records that came in.", stats.batches);
        page.counter("probes", "Batches without records that came in.", stats.probes);
        page.counter("records_admitted", "Records admitted.", stats.records);
        page.counter("readings_stored", "Readings durable since the start.", board.readings);
        page.counter("records_duplicate", "Records that came again and were skipped.", stats.duplicates);
        page.counter("records_gap", "Records committed as gaps.", stats.missing);
        page.counter("records_quarantined", "Records nobody understood.", stats.quarantined);
        page.counter("readings_undated", "Readings whose time nobody knows.", stats.clock_unknown);
        let refused = stats.rejected;
        let refused = [
            ("poison", refused.poison),
            ("damaged", refused.damaged),
            ("out_of_order", refused.out_of_order),
            ("unknown_manifest", refused.unknown_manifest),
            ("foreign_manifest", refused.foreign_manifest),
            ("manifest_conflict", refused.manifest_conflict),
            ("rewound", refused.rewound),
            ("forked", refused.forked),
            ("quota", refused.quota),
            ("slow", refused.slow),
        ];
        let refused = refused.map(|(reason, n)| labelled("reason", reason, n as f64));
        page.counters("messages_refused", "Messages of which nothing was admitted.", refused.into());
        page.counter("acks_sent", "Acks sent to gateways.", acks);
        page.durations(
            "commit_duration_seconds",
            "From the decision to the disk, one transaction.",
            &commits,
        );
        page.counter("commit_failures", "Transactions that failed.", failures);
        // Kinds that have not happened are told as well: a counter that begins at 1 shows no increase.
        let count = |kind: &str| incidents.get(kind).copied().unwrap_or_default() as f64;
        let incidents =
            IncidentKind::ALL.iter().map(|kind| labelled("kind", kind.word(), count(kind.word())));
        page.counters("incidents", "Incidents noticed.", incidents.collect());
        if let Some(at) = board.committed_at {
            page.gauge("last_commit_timestamp_seconds", "The last durable commit.", at.0 as f64 / 1_000.0);
        }
    }

    /// The store, the engine, the quarantine.
    fn store(&self, page: &mut Page) {
        let (healthy, engine, points) = {
            let board = self.board();
            (board.refusing.is_empty(), board.engine, board.points.len())
        };
        page.gauge("storage_healthy", "0 while commits fail.", healthy.into());
        page.gauges("engine_info", "Where readings are kept.", vec![labelled("engine", engine, 1.0)]);
        let log = write_ahead_log(&self.storage);
        let files = [("data", bytes(&self.storage)), ("log", bytes(&log))];
        let files = files.map(|(file, bytes)| labelled("file", file, bytes as f64));
        page.gauges("store_size_bytes", "The store's files.", files.into());
        if let Some(rows) = self.series.resting_rows() {
            page.gauge("head_rows", "Readings in memory, not in chunks yet.", rows as f64);
        }
        page.gauge("points", "Points registered.", points as f64);
        let all = ListFilter { gateways: None, since: None, before: None, limit: 1 };
        if let Ok(counts) = self.reader.quarantine_counts(&all) {
            page.gauge("quarantine_entries", "Entries nobody has understood yet.", counts.waiting as f64);
            page.gauge("quarantine_size_bytes", "What they hold.", counts.bytes as f64);
        }
    }

    /// Gateways, bases, completeness and alerts, county by county.
    fn network(&self, page: &mut Page) {
        let board = self.board();
        let counties: Vec<&Node> =
            self.territory.nodes().filter(|node| node.level == Level::County).collect();
        let (mut gateways, mut bases, mut complete) = (Vec::new(), Vec::new(), Vec::new());
        for county in counties {
            let Some(rollup) = board.supervision.rollup(&county.id, self.now()) else { continue };
            let of = |state: &str| vec![("county", county.id.clone()), ("state", state.to_owned())];
            let offline = rollup.gateways.saturating_sub(rollup.gateways_online);
            gateways.push((of("online"), f64::from(rollup.gateways_online)));
            gateways.push((of("offline"), f64::from(offline)));
            let fine = rollup.bases.saturating_sub(rollup.bases_attention + rollup.bases_no_data);
            for (state, count) in
                [("attention", rollup.bases_attention), ("no_data", rollup.bases_no_data), ("ok", fine)]
            {
                bases.push((of(state), f64::from(count)));
            }
            if let Some(ratio) = rollup.completeness_1h.ratio() {
                complete.push(labelled("county", county.id.clone(), ratio));
            }
        }
        page.gauges("gateways", "Gateways of the territory.", gateways);
        page.gauges("bases", "Bases of the territory.", bases);
        page.gauges("completeness_1h_ratio", "Readings of the last hour, stored to due.", complete);
        let firing = |severity: Severity| {
            let count = board.firing.values().filter(|(_, firing)| *firing == severity).count();
            labelled("severity", severity.to_string(), count as f64)
        };
        let firing = [Severity::Blue, Severity::Yellow, Severity::Orange, Severity::Red].map(firing);
        page.gauges("alerts_firing", "Alerts that fire now.", firing.into());
    }
}

/// What SQLite writes beside the store's file.
fn write_ahead_log(path: &std::path::Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Size of a file, 0 if it is not there.
fn bytes(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
