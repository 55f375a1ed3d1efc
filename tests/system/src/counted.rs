//! A small network around a field that keeps the truth: one gateway, one ingestor, and whatever pipe lies between them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::tally::teeth;
use crate::truth::accepted;
use crate::{Gateway, Ingestor, Judge, TrueField, get, wait_for};

/// The gateway's id; it stands in a base of the built-in territory.
pub const GATEWAY: &str = "dangzhai-01";
/// Words of each device.
pub const WORDS: u16 = 4;

/// Where the parts are and what they run under.
#[derive(Debug, Clone)]
pub struct Layout<'a> {
    /// Loopback port of the ingestor's broker; its own, embedded one if `None`.
    pub broker: Option<u16>,
    /// Where the gateway finds its broker, if not where the ingestor does: host and port.
    pub pipe: Option<(&'a str, u16)>,
    /// The field's address.
    pub field: &'a str,
    /// Silence after which the gateway asks whether the broker is still there, in seconds.
    pub keep_alive_s: u32,
    /// What the gateway runs under, such as `ip netns exec somewhere`.
    pub gateway_under: &'a [&'a str],
    /// What the ingestor runs under.
    pub ingestor_under: &'a [&'a str],
    /// Further `--set` settings of the ingestor.
    pub ingestor: &'a [&'a str],
}

impl Default for Layout<'_> {
    fn default() -> Self {
        Self {
            broker: None,
            pipe: None,
            field: "127.0.0.1",
            keep_alive_s: 5,
            gateway_under: &[],
            ingestor_under: &[],
            ingestor: &[],
        }
    }
}

/// The network: one device, polled every 0.1 s.
pub struct Counted {
    /// The truth.
    pub field: TrueField,
    /// The centre.
    pub ingestor: Ingestor,
    /// The edge.
    pub gateway: Gateway,
    /// Its files: `centre.db` with companions, `gateway.toml`, `spool`.
    pub folder: tempfile::TempDir,
}

impl Counted {
    /// Starts it and waits for the first stored reading.
    pub fn start(layout: &Layout<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ingestor =
            Ingestor::start_on(folder.path(), layout.broker, layout.ingestor, layout.ingestor_under);
        let field = TrueField::start(layout.field, 1, 1);
        TrueField::write_profile(folder.path(), WORDS);
        let (host, port) = layout.pipe.unwrap_or(("127.0.0.1", ingestor.mqtt));
        let config = configuration(&field, host, port, layout.keep_alive_s);
        let gateway = Gateway::start_under(folder.path(), &config, layout.gateway_under);
        let mut network = Self { field, ingestor, gateway, folder };
        network.progress(1);
        network
    }

    /// Who holds what is stored against the truth.
    pub fn judge(&self) -> Judge<'_> {
        Judge {
            field: &self.field,
            ingestor: &self.ingestor,
            gateway: GATEWAY,
            words: WORDS,
            time_ms_max: 1_000,
            wrong_by_ms: None,
        }
    }

    /// The number of the newest answer that is stored; 0 if there is none.
    pub fn stored(&self) -> f64 {
        let newest = || {
            let answer = get(&self.ingestor.url(&format!("bases/{GATEWAY}/latest")))?;
            let items = answer["items"].as_array()?.clone();
            items.iter().find(|item| item["point"].as_str().is_some_and(|id| id.ends_with("true-1/count")))?["value"].as_f64()
        };
        newest().unwrap_or(0.0)
    }

    /// Waits until so many more answers are stored.
    pub fn progress(&mut self, more: usize) {
        let before = self.stored();
        wait_for("polling and storing to go on", 90, || {
            self.gateway.program.expect_alive();
            (self.stored() >= before + more as f64).then_some(())
        });
    }

    /// Waits until the field has answered for so long, stored or not: faults last by the field's work, not by a sleep.
    pub fn poll_for(&mut self, seconds: usize) {
        let until = self.field.answered() + 10 * seconds;
        wait_for("polling to go on", 3 * seconds as u64 + 20, || {
            self.gateway.program.expect_alive();
            (self.field.answered() >= until).then_some(())
        });
    }

    /// What the gateway has accepted, by its log.
    pub fn accepted(&self) -> BTreeSet<(String, u64)> {
        accepted(&self.gateway)
    }

    /// The incidents of a kind, newest first.
    pub fn incidents(&self, kind: &str) -> Vec<Value> {
        let answer = get(&self.ingestor.url("incidents?limit=500"));
        let items = answer.and_then(|answer| answer["items"].as_array().cloned()).unwrap_or_default();
        items.into_iter().filter(|item| item["kind"] == kind).collect()
    }

    /// Waits until there are so many incidents of a kind; gives the newest.
    pub fn wait_for_incident(&self, kind: &str, count: usize) -> Value {
        // A loss is told within 5 minutes: its epoch has been silent for longer than a probe, and the next probe says so.
        let most_s = if teeth() { 100 } else { 300 };
        wait_for(&format!("{count} incidents of kind {kind}"), most_s, || {
            let all = self.incidents(kind);
            (all.len() >= count).then(|| all[0].clone())
        })
    }
}

/// A gateway's configuration for this field.
pub fn configuration(field: &TrueField, host: &str, port: u16, keep_alive_s: u32) -> String {
    let link = format!("[mqtt]\nhost = \"{host}\"\nport = {port}\nkeep_alive_s = {keep_alive_s}\n");
    field.configuration(GATEWAY, |_| 0.1, &link)
}
