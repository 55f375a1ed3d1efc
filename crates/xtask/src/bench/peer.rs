//! The same devices polled by a minimal script of pymodbus and paho, for comparison in the same run.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::field;
use super::process::{self, Usage};
use crate::setup;

const SCRIPT: &str = "crates/xtask/src/bench/peer.py";
const SETTLE_S: u32 = 10;

/// A process that is killed in the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures the script for `seconds` with this many devices of ten registers.
pub fn measure(folder: &Path, seconds: u32, devices: u32) -> Result<()> {
    setup::debian(&[("mosquitto", "mosquitto")])?;
    setup::python()?;
    std::fs::create_dir_all(folder)?;
    let before = process::load();
    let broker =
        TcpListener::bind(("127.0.0.1", 0)).context("failed to find a free port")?.local_addr()?.port();
    let _mosquitto = mosquitto(folder, broker)?;
    let ports = field::start(devices, Duration::ZERO)?;
    let mut command = Command::new(format!("{}/bin/python", setup::PYTHON));
    command.args([SCRIPT, &broker.to_string(), &SETTLE_S.to_string(), &seconds.to_string()]);
    command.args(ports.iter().map(u16::to_string)).stdout(Stdio::piped());
    let mut script = Running(command.spawn().context("failed to start the script")?);
    let mut lines = BufReader::new(script.0.stdout.take().context("failed to hear the script")?);
    expect(&mut lines, "ready")?;
    expect(&mut lines, "measuring")?;
    let from = Usage::of(script.0.id())?;
    let answer: Value =
        serde_json::from_str(&line(&mut lines)?).context("failed to understand the script")?;
    let to = Usage::of(script.0.id())?;
    let readings = answer["readings"].as_f64().unwrap_or_default();
    if readings == 0.0 {
        bail!("failed to measure: the script read nothing");
    }
    let mib = f64::from(1 << 20);
    let cpu_s = to.cpu_s - from.cpu_s;
    let ms = |key: &str| answer[key].as_f64().unwrap_or(f64::NAN);
    println!(
        "\n== script: pymodbus and paho, {devices} devices × 10 registers, every second, for {seconds} s"
    );
    println!("repeat with      cargo xtask bench field --devices {devices} --seconds {seconds}");
    println!("load average     {before} before, {} after", process::load());
    println!("readings sent    {readings} of {}, {} polls failed", devices * 10 * seconds, answer["failed"]);
    println!(
        "poll interval    off by {:.0} ms at the median, {:.0} ms at p99, {:.0} ms at most",
        ms("p50"),
        ms("p99"),
        ms("max")
    );
    println!("{:32} {:>9.4}  MiB", "resident memory (VmRSS)", to.resident as f64 / mib);
    println!(
        "{:32} {:>9.4}  s per 1,000 readings",
        "processor time (user + system)",
        cpu_s * 1_000.0 / readings
    );
    println!("{:32} {:>9.4}  % of one core", "", cpu_s * 100.0 / f64::from(seconds));
    Ok(())
}

/// Debian's broker on this port, ready.
fn mosquitto(folder: &Path, port: u16) -> Result<Running> {
    let configuration = folder.join("mosquitto.conf");
    std::fs::write(
        &configuration,
        format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"),
    )?;
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let mut command = Command::new(program);
    command.arg("-c").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
    let broker = Running(command.spawn().context("failed to start Mosquitto")?);
    for _ in 0..1_000 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(broker);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("failed to reach Mosquitto on port {port}");
}

fn expect(lines: &mut BufReader<ChildStdout>, word: &str) -> Result<()> {
    let found = line(lines)?;
    if found.trim() != word {
        bail!("failed to hear {word:?} from the script: {found:?}");
    }
    Ok(())
}

fn line(lines: &mut BufReader<ChildStdout>) -> Result<String> {
    let mut line = String::new();
    lines.read_line(&mut line).context("failed to hear the script")?;
    Ok(line)
}
