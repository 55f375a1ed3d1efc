//! One gateway polling Modbus TCP devices once a second, with the ingestor and its embedded broker: memory, processor
//! time, bytes to the broker and to the disk, and whether every reading arrived.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::field;
use super::process::{self, Usage};
use super::tap::{Passed, Tap};
use crate::api::Api;
use crate::setup;
use crate::stage::Stage;

/// A gateway of the built-in territory, so that roll-ups and alert rules do their work too.
const GATEWAY: &str = "dangzhai-01";
const INTERVAL_MS: i64 = 1_000;
/// Connections, manifest and clock are done after this; then the measuring starts.
const SETTLE: Duration = Duration::from_secs(10);
/// A reading is stored this long after its poll, at the very latest.
const ARRIVAL: Duration = Duration::from_secs(5);
/// Most readings of one answer of the API.
const READINGS_MAX: u32 = 10_000;
/// IPv4 and TCP headers without options, in bytes.
const TCP_HEADERS: u64 = 40;

/// Measures for `seconds` with this many devices of ten registers; the programs' files go below `folder`.
pub fn measure(folder: &Path, seconds: u32, devices: u32) -> Result<()> {
    let bin = setup::programs(true)?;
    let folder = std::path::absolute(folder)?;
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("failed to empty {}", folder.display()))?;
    }
    let before = process::load();
    let mut network = Network::start(&folder, bin, devices)?;
    eprintln!("  settling {} s, then measuring {seconds} s", SETTLE.as_secs());
    network.run(SETTLE)?;
    let from = network.moment()?;
    network.run(Duration::from_secs(seconds.into()))?;
    let to = network.moment()?;
    network.run(ARRIVAL)?;
    let stored = Stored::ask(&network.api, devices, &from.at, &to.at)?;
    println!(
        "\n== gateway: {devices} Modbus TCP devices × {} registers, every second, for {seconds} s",
        field::POINTS.len()
    );
    println!("repeat with      cargo xtask bench gateway --devices {devices} --seconds {seconds}");
    println!("load average     {before} before, {} after", process::load());
    report(&from, &to, &stored)
}

/// The running programs.
struct Network {
    stage: Stage,
    api: Api,
    tap: Tap,
    gateway: u32,
    ingestor: u32,
}

/// What everything had used at one moment.
struct Moment {
    /// The ingestor's time.
    at: String,
    gateway: Usage,
    ingestor: Usage,
    up: Passed,
    down: Passed,
    instant: Instant,
}

impl Network {
    fn start(folder: &Path, bin: PathBuf, devices: u32) -> Result<Self> {
        let mut stage = Stage::open(folder, bin)?;
        let (listen, broker) = (free_address()?, free_address()?);
        let mut command = stage.program("sitian-ingestor");
        command.arg("run");
        let storage = folder.join("sitian.db");
        for setting in [
            format!("http.listen={listen}"),
            format!("broker.listen={broker}"),
            format!("storage.path={}", storage.display()),
        ] {
            command.args(["--set", &setting]);
        }
        let ingestor = stage.start("ingestor", command)?;
        let api = Api::new(&listen.to_string());
        stage.wait_until("ingestor answering", Duration::from_secs(30), || api.get("health").is_ok())?;
        let tap = Tap::start(broker)?;
        let configuration = configuration(folder, tap.port, &field::start(devices, Duration::ZERO)?)?;
        let mut command = stage.program("sitian-gateway");
        command.arg("run").arg("--config").arg(configuration);
        let gateway = stage.start("gateway", command)?;
        let point = format!("points/{GATEWAY}/device-{devices}/{}", field::POINTS[0]);
        stage.wait_until("the last device's point known", Duration::from_secs(30), || {
            api.get(&point).is_ok()
        })?;
        Ok(Self { stage, api, tap, gateway, ingestor })
    }

    /// Lets everything run for a while.
    fn run(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        self.stage.wait_until("the end of the measurement", time * 2, || Instant::now() >= until)
    }

    fn moment(&self) -> Result<Moment> {
        let answer = self.api.get("rollups?scope=zhangye&depth=0")?;
        let at = answer["at"].as_str().context("failed to get the ingestor's time")?.to_owned();
        let (up, down) = self.tap.passed();
        Ok(Moment {
            at,
            gateway: Usage::of(self.gateway)?,
            ingestor: Usage::of(self.ingestor)?,
            up,
            down,
            instant: Instant::now(),
        })
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to find a free port")?;
    Ok(listener.local_addr()?)
}

/// Writes the gateway's configuration and profile: every device on a connection of its own.
fn configuration(folder: &Path, broker: u16, ports: &[u16]) -> Result<PathBuf> {
    let profiles = folder.join("profiles");
    std::fs::create_dir_all(&profiles)?;
    std::fs::write(profiles.join("bench-10.toml"), field::PROFILE)?;
    let mut text = format!(
        "[gateway]\nid = \"{GATEWAY}\"\n[mqtt]\nport = {broker}\n[profiles]\ndirectory = \"profiles\"\n"
    );
    for (n, port) in (1..).zip(ports) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "[[bus]]\nname = \"bus-{n}\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}"
        );
        let _ = writeln!(
            text,
            "[[device]]\nid = \"device-{n}\"\nbus = \"bus-{n}\"\nprofile = \"bench-10\"\ninterval_s = 1"
        );
    }
    let path = folder.join("gateway.toml");
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// What the ingestor holds of the measured time.
#[derive(Default)]
struct Stored {
    expected: u64,
    readings: u64,
    good: u64,
    /// How far the time between two polls of a device was from the interval, in milliseconds, sorted.
    late_ms: Vec<i64>,
}

impl Stored {
    fn ask(api: &Api, devices: u32, from: &str, to: &str) -> Result<Self> {
        let mut stored = Self::default();
        let span = format!("from={from}&to={to}&limit={READINGS_MAX}").replace('+', "%2B");
        for device in 1..=devices {
            for key in field::POINTS {
                let answer = api.get(&format!("points/{GATEWAY}/device-{device}/{key}/readings?{span}"))?;
                let items = answer["items"].as_array().context("failed to find readings in the answer")?;
                stored.expected += answer["completeness"]["expected"].as_u64().unwrap_or(0);
                stored.readings += items.len() as u64;
                stored.good += items.iter().filter(|item| item["quality"] == "good").count() as u64;
                // All points of a device come with one answer.
                if key == field::POINTS[0] {
                    stored.late_ms.extend(lateness(items));
                }
            }
        }
        stored.late_ms.sort_unstable();
        if stored.readings == 0 {
            bail!("failed to measure: the ingestor stored no reading");
        }
        Ok(stored)
    }

    fn late(&self, part: f64) -> i64 {
        let position = (self.late_ms.len().saturating_sub(1) as f64 * part) as usize;
        self.late_ms.get(position).copied().unwrap_or_default()
    }
}

fn lateness(items: &[Value]) -> Vec<i64> {
    let times: Vec<i64> = items.iter().filter_map(|item| ms_of_day(item["at"].as_str()?)).collect();
    times.windows(2).map(|pair| ((pair[1] - pair[0]).rem_euclid(86_400_000) - INTERVAL_MS).abs()).collect()
}

/// Milliseconds since midnight of a time such as 2026-05-04T06:30:00.123+08:00.
fn ms_of_day(text: &str) -> Option<i64> {
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    Some(((part(11..13)? * 60 + part(14..16)?) * 60 + part(17..19)?) * 1_000 + part(20..23)?)
}

fn report(from: &Moment, to: &Moment, stored: &Stored) -> Result<()> {
    let readings = stored.readings as f64;
    let seconds = (to.instant - from.instant).as_secs_f64();
    println!("readings stored  {} of {} expected ({} good)", stored.readings, stored.expected, stored.good);
    println!(
        "poll interval    off by {} ms at the median, {} ms at p99, {} ms at most",
        stored.late(0.5),
        stored.late(0.99),
        stored.late(1.0)
    );
    let row = |what: &str, [gateway, ingestor]: [f64; 2], unit: &str| {
        println!("{what:32} {gateway:>9.4} {ingestor:>9.4}  {unit}")
    };
    let each = |figure: fn(&Usage) -> f64| [figure(&to.gateway), figure(&to.ingestor)];
    let used = |figure: fn(&Usage) -> f64| {
        [figure(&to.gateway) - figure(&from.gateway), figure(&to.ingestor) - figure(&from.ingestor)]
    };
    let mib = f64::from(1 << 20);
    println!("{:32} {:>9} {:>9}", "", "gateway", "ingestor");
    row("resident memory (VmRSS)", each(|u| u.resident as f64).map(|bytes| bytes / mib), "MiB");
    row("its peak (VmHWM)", each(|u| u.resident_peak as f64).map(|bytes| bytes / mib), "MiB");
    let cpu = used(|u| u.cpu_s);
    row("processor time (user + system)", cpu.map(|s| s * 1_000.0 / readings), "s per 1,000 readings");
    row("", cpu.map(|s| s * 100.0 / seconds), "% of one core");
    row("written to disk", used(|u| u.written as f64).map(|bytes| bytes / readings), "B per reading");
    let lanes = [(from.up, to.up), (from.down, to.down)]
        .map(|(a, b)| Passed { bytes: b.bytes - a.bytes, pieces: b.pieces - a.pieces });
    println!("{:32} {:>9} {:>9}", "gateway ↔ broker", "up", "down");
    row("MQTT bytes (TCP payload)", lanes.map(|lane| lane.bytes as f64 / readings), "B per reading");
    let wire = lanes.map(|lane| (lane.bytes + lane.pieces * TCP_HEADERS) as f64 / readings);
    row("with 40 B of headers a segment", wire, "B per reading, without bare TCP acks");
    row("segments", lanes.map(|lane| lane.pieces as f64 / seconds), "per s");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_the_distance_from_the_interval_across_midnight_too() {
        let items: Vec<Value> = ["23:59:58.900", "23:59:59.905", "00:00:00.900"]
            .map(|time| serde_json::json!({ "at": format!("2026-05-04T{time}+08:00") }))
            .into();
        assert_eq!(lateness(&items), [5, 5]);
    }
}
