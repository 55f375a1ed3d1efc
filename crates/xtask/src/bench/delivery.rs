//! The delivery contract after a long outage, and what a durable commit costs a card. The backlog is written by the real
//! rooms; then the real gateway drains it through a real broker into the real ingestor, while it goes on polling.

mod ages;

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::ages::Ages;
use super::field;
use super::process::{self, Usage};
use super::tap::Tap;
use crate::api::Api;
use crate::setup;
use crate::stage::Stage;

const GATEWAY: &str = "dangzhai-01";
/// 10 buses of 10 devices of 10 points; a device thinks so long that a bus is busy nearly all of its 10 seconds.
const BUSES: u32 = 10;
const DEVICES_PER_BUS: u32 = 10;
const THINKING: Duration = Duration::from_millis(900);
const FILL_PER_S: f64 = 100.0;
/// Looked at so often; an age is seen at most so much too high.
const LOOK: Duration = Duration::from_millis(500);
const PROGRESS: Duration = Duration::from_secs(15);
/// A backlog of fewer records is what is under way.
const DRAINED_RECORDS: u64 = 16;
/// No drain takes longer, per day of outage.
const PATIENCE_PER_DAY: Duration = Duration::from_secs(1_800);
/// Commits on each card.
const COMMITS: &str = "3000";
const MIB: f64 = 1_048_576.0;

/// Measures an outage of so many days, then the card; the programs' files go below `folder`.
pub fn measure(folder: &Path, days: f64) -> Result<()> {
    let bin = setup::programs(true)?;
    let folder = std::path::absolute(folder)?;
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("failed to empty {}", folder.display()))?;
    }
    let before = process::load();
    println!("\n== delivery: {days} days without a link, 1,000 points every 10 s");
    println!("repeat with      cargo xtask bench delivery --days {days}");
    println!(
        "outage           records of 5 devices × 10 points (one gather window), stamped 0 to 7 ms late; values of 0 to 2 decimals \
         step by -1, 0, 0, 0 or +1 of the last decimal; written by the spool room with its default limits, synced every 64 records"
    );
    let outage = Outage::write(&folder.join("spool"), days)?;
    outage.report();
    let mut drain = Drain::start(&folder, bin)?;
    drain.watch(&outage, PATIENCE_PER_DAY.mul_f64(days.max(0.1)))?.report(&outage);
    drop(drain);
    println!("load average     {before} before, {} after", process::load());
    println!(
        "\n== card: bytes written to the device of a fresh ext4 in a loop image, {COMMITS} commits each"
    );
    print!("{}", example(&["card", COMMITS])?);
    Ok(())
}

/// Runs the part of the measurement that knows the rooms; returns what it printed.
fn example(arguments: &[&str]) -> Result<String> {
    let mut cargo =
        setup::cargo(&["run", "--quiet", "--locked", "--release", "--package", "sitian-tests-system"]);
    cargo.args(["--example", "delivery", "--"]).args(arguments);
    let output = cargo.stderr(Stdio::inherit()).output().context("failed to start cargo")?;
    if !output.status.success() {
        bail!("the example `delivery` of tests/system ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What waits on the card.
struct Outage {
    readings: f64,
    records: f64,
    record_bytes: f64,
    spool_bytes: f64,
    took_s: f64,
}

impl Outage {
    fn write(spool: &Path, days: f64) -> Result<Self> {
        let start = Instant::now();
        let printed = example(&["fill", &spool.to_string_lossy(), GATEWAY, &days.to_string()])?;
        let figures: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [readings, records, record_bytes, spool_bytes] = figures[..] else {
            bail!("failed to understand what the outage came to: {printed}");
        };
        Ok(Self { readings, records, record_bytes, spool_bytes, took_s: start.elapsed().as_secs_f64() })
    }

    fn report(&self) {
        let Self { readings, records, record_bytes, spool_bytes, took_s } = self;
        println!("backlog          {readings} readings in {records} records, written in {took_s:.0} s");
        println!(
            "on the card      {:.0} MiB: {:.2} B a reading ({:.2} B without frames and segments)",
            spool_bytes / MIB,
            spool_bytes / readings,
            record_bytes / readings
        );
    }
}

/// The programs while the backlog drains.
struct Drain {
    stage: Stage,
    api: Api,
    tap: Tap,
    gateway: u32,
    ingestor: u32,
}

/// What the drain came to.
struct Drained {
    took_s: f64,
    stored: f64,
    wire_bytes: f64,
    ages: Ages,
    /// Of the gateway: at the start, at half of the backlog, at the end.
    resident: [u64; 3],
    resident_peak: u64,
    cpu_s: [f64; 2],
    ingestor_peak: u64,
}

impl Drain {
    fn start(folder: &Path, bin: PathBuf) -> Result<Self> {
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
        let configuration = configuration(folder, tap.port, &field::start(BUSES, THINKING)?)?;
        let mut command = stage.program("sitian-gateway");
        command.arg("run").arg("--config").arg(configuration);
        let gateway = stage.start("gateway", command)?;
        Ok(Self { stage, api, tap, gateway, ingestor })
    }

    /// Looks on until nothing is left.
    fn watch(&mut self, outage: &Outage, patience: Duration) -> Result<Drained> {
        let start = Instant::now();
        let (mut ages, mut told) = (Ages::default(), Instant::now());
        let (mut resident, mut halfway) = ([Usage::of(self.gateway)?.resident; 3], false);
        loop {
            std::thread::park_timeout(LOOK);
            self.stage.check()?;
            if self.stage.stopped() || start.elapsed() > patience {
                bail!("failed to drain within {} s", patience.as_secs());
            }
            let health = self.api.get("health")?;
            let stored = health["storage"]["readings_since_start"].as_f64();
            let stored = stored.with_context(|| format!("failed to find what is stored in {health}"))?;
            let left = self.backlog();
            let latest = self.api.get(&format!("bases/{GATEWAY}/latest")).unwrap_or_default();
            ages.look(&latest, start.elapsed().as_millis() as i64);
            if !halfway && stored * 2.0 >= outage.readings {
                (halfway, resident[1]) = (true, Usage::of(self.gateway)?.resident);
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let rate = stored / start.elapsed().as_secs_f64();
                let left = left.map_or_else(|| "?".to_owned(), |left| left.to_string());
                eprintln!("  {stored} readings stored, {left} records left, {rate:.0} readings/s");
            }
            if stored >= outage.readings && left.is_some_and(|left| left <= DRAINED_RECORDS) {
                let (took_s, wire) = (start.elapsed().as_secs_f64(), self.tap.passed().0);
                let (gateway, ingestor) = (Usage::of(self.gateway)?, Usage::of(self.ingestor)?);
                resident[2] = gateway.resident;
                return Ok(Drained {
                    took_s,
                    stored,
                    wire_bytes: wire.bytes as f64,
                    ages,
                    resident,
                    resident_peak: gateway.resident_peak,
                    cpu_s: [gateway.cpu_s, ingestor.cpu_s],
                    ingestor_peak: ingestor.resident_peak,
                });
            }
        }
    }

    /// Records that the gateway says it still has to send; unknown until a live batch told.
    fn backlog(&self) -> Option<u64> {
        self.api.get(&format!("bases/{GATEWAY}")).ok()?["gateways"][0]["spool"]["backlog"].as_u64()
    }
}

impl Drained {
    fn report(&self, outage: &Outage) {
        let Self { took_s, stored, wire_bytes, ages, resident, resident_peak, cpu_s, ingestor_peak } = self;
        let rate = stored / took_s;
        println!(
            "drain            {took_s:.0} s, {rate:.0} readings/s: {:.0} × the fill rate of {FILL_PER_S}/s",
            rate / FILL_PER_S
        );
        println!("stored           {stored} readings, {} of them live", stored - outage.readings);
        println!("on the wire      {:.2} B a reading (TCP payload up, MQTT included)", wire_bytes / stored);
        println!(
            "live age         {} readings seen every {} ms: {} ms at the median, {} ms at p99, {} ms at most",
            ages.count(),
            LOOK.as_millis(),
            ages.at(0.5),
            ages.at(0.99),
            ages.at(1.0)
        );
        let [start, middle, end] = resident.map(|bytes| bytes as f64 / MIB);
        println!(
            "gateway memory   {start:.1} MiB at the start, {middle:.1} halfway, {end:.1} at the end, {:.1} at most",
            *resident_peak as f64 / MIB
        );
        println!("ingestor memory  {:.0} MiB at most", *ingestor_peak as f64 / MIB);
        println!("processor time   gateway {:.1} s, ingestor with broker {:.1} s", cpu_s[0], cpu_s[1]);
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to find a free port")?;
    Ok(listener.local_addr()?)
}

/// Writes the gateway's configuration and profile.
fn configuration(folder: &Path, broker: u16, ports: &[u16]) -> Result<PathBuf> {
    let profiles = folder.join("profiles");
    std::fs::create_dir_all(&profiles)?;
    std::fs::write(profiles.join("bench-10.toml"), field::PROFILE)?;
    let mut text = format!(
        "[gateway]\nid = \"{GATEWAY}\"\n[spool]\ndirectory = \"spool\"\n[mqtt]\nport = {broker}\n[profiles]\ndirectory = \"profiles\"\n"
    );
    for (bus, port) in (1..).zip(ports) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "[[bus]]\nname = \"bus-{bus}\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}\ntimeout_ms = 3000\npause_ms = 0"
        );
        for unit in 1..=DEVICES_PER_BUS {
            let _ = writeln!(
                text,
                "[[device]]\nid = \"device-{}\"\nbus = \"bus-{bus}\"\nprofile = \"bench-10\"\nunit = {unit}\ninterval_s = 10",
                (bus - 1) * DEVICES_PER_BUS + unit
            );
        }
    }
    let path = folder.join("gateway.toml");
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}
