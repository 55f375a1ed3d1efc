//! Figures of a program's own health as a page that Prometheus reads (OpenMetrics 1.0 text). Counts and states come from
//! whoever keeps them at the moment of the scrape; only durations are gathered here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::BUILD;

/// How long something takes: buckets from 1 ms, each twice the one before, up to 16 s. Clones are one.
#[derive(Debug, Clone)]
pub struct Durations(Histogram);

impl Default for Durations {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.001, 2.0, 15)))
    }
}

impl Durations {
    /// One more.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

#[derive(Debug, Clone)]
enum Samples {
    Counter(Vec<(Labels, f64)>),
    Gauge(Vec<(Labels, f64)>),
    Durations(Durations),
}

type Labels = Vec<(&'static str, String)>;

/// A page under way. Names are whole, units included, without `sitian_` before and `_total` behind.
#[derive(Debug, Default)]
pub struct Page(Vec<(&'static str, &'static str, Samples)>);

impl Page {
    /// A page that tells build and process already.
    pub fn new() -> Self {
        let mut page = Self::default();
        let commit = BUILD.commit.unwrap_or_default().to_owned();
        let labels = vec![("version", BUILD.version.to_owned()), ("commit", commit)];
        page.gauges("build_info", "What this program was built from.", vec![(labels, 1.0)]);
        page
    }

    /// A number that only grows while the program runs.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, help, vec![(Vec::new(), value as f64)]);
    }

    /// The same, one for each set of labels.
    pub fn counters(&mut self, name: &'static str, help: &'static str, samples: Vec<(Labels, f64)>) {
        self.0.push((name, help, Samples::Counter(samples)));
    }

    /// A number that stands at something now.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.gauges(name, help, vec![(Vec::new(), value)]);
    }

    /// The same, one for each set of labels.
    pub fn gauges(&mut self, name: &'static str, help: &'static str, samples: Vec<(Labels, f64)>) {
        self.0.push((name, help, Samples::Gauge(samples)));
    }

    /// A histogram.
    pub fn durations(&mut self, name: &'static str, help: &'static str, durations: &Durations) {
        self.0.push((name, help, Samples::Durations(durations.clone())));
    }

    /// The page as text.
    pub fn text(self) -> String {
        let mut registry = Registry::with_prefix("sitian");
        registry.register_collector(Box::new(Arc::new(self)));
        let mut process = Registry::default();
        process.register_collector(Box::new(Process));
        let mut page = String::new();
        // A string takes everything.
        let _ = text::encode_registry(&mut page, &registry);
        let _ = text::encode(&mut page, &process);
        page
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for (name, help, samples) in &self.0 {
            match samples {
                Samples::Durations(Durations(histogram)) => {
                    let metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
                    histogram.encode(metric)?;
                }
                Samples::Counter(list) => {
                    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                    match &list[..] {
                        [(labels, value)] if labels.is_empty() => ConstCounter::new(*value).encode(metric)?,
                        list => {
                            for (labels, value) in list {
                                let labels = labels.as_slice();
                                ConstCounter::new(*value).encode(metric.encode_family(&labels)?)?;
                            }
                        }
                    }
                }
                Samples::Gauge(list) => {
                    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                    match &list[..] {
                        [(labels, value)] if labels.is_empty() => ConstGauge::new(*value).encode(metric)?,
                        list => {
                            for (labels, value) in list {
                                let labels = labels.as_slice();
                                ConstGauge::new(*value).encode(metric.encode_family(&labels)?)?;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// What Prometheus calls the same in every program.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
        let name = "process_cpu_seconds";
        let metric = encoder.encode_descriptor(name, "CPU time spent.", None, MetricType::Counter)?;
        ConstCounter::new(seconds).encode(metric)?;
        let Some(resident) = resident_bytes() else { return Ok(()) };
        let name = "process_resident_memory_bytes";
        let metric = encoder.encode_descriptor(name, "Memory in use.", None, MetricType::Gauge)?;
        ConstGauge::new(resident).encode(metric)
    }
}

/// Memory in use, as far as the kernel says.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}
