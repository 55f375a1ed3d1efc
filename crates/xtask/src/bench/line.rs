//! One RTU line at the pace of its wire: the gateway polls devices behind a pseudo-terminal, whose far end takes for every
//! byte the time that a UART takes. How many polls a second of those that the wire allows, and what a dead device costs.

use std::fmt::Write;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::field;
use super::process;
use crate::setup;
use crate::stage::Stage;

const BAUD: u64 = 9_600;
/// Start, eight data, stop.
const CHARACTER_BITS: u64 = 10;
const DEVICES: usize = 10;
/// The one that dies.
const DEAD: usize = 4;
const REQUEST_BYTES: usize = 8;
/// Unit, function, count, ten registers, checksum.
const ANSWER_BYTES: usize = 25;
/// 3.5 characters of 11 bits, as the protocol wants between frames.
const SILENCE: Duration = Duration::from_micros(4_010);
const SETTLE: Duration = Duration::from_secs(10);

fn characters(count: usize) -> Duration {
    Duration::from_micros(count as u64 * CHARACTER_BITS * 1_000_000 / BAUD)
}

/// Request, silence, answer, silence.
fn exchange() -> Duration {
    characters(REQUEST_BYTES + ANSWER_BYTES) + 2 * SILENCE
}

/// What the far end of the line counts.
#[derive(Default)]
struct Counts {
    answered: [AtomicU64; DEVICES + 1],
    /// Unit id that does not answer; 0: all do.
    dead: AtomicUsize,
    /// Requests that came before the line had been silent for long enough.
    hasty: AtomicU64,
}

impl Counts {
    fn answered(&self) -> [u64; DEVICES + 1] {
        std::array::from_fn(|unit| self.answered[unit].load(Ordering::Relaxed))
    }
}

/// Measures the line for `seconds` with all devices alive, and for as long from the moment that one dies.
pub fn measure(folder: &Path, seconds: u32) -> Result<()> {
    let bin = setup::programs(true)?;
    let folder = std::path::absolute(folder)?;
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("failed to empty {}", folder.display()))?;
    }
    let before = process::load();
    let counts = Arc::new(Counts::default());
    let (path, _near) = line(&counts)?;
    let mut stage = Stage::open(&folder, bin)?;
    let mut command = stage.program("sitian-gateway");
    command.arg("run").arg("--config").arg(configuration(&folder, &path)?);
    let gateway = stage.start("gateway", command)?;
    stage.wait_until("every device answering", Duration::from_secs(30), || {
        counts.answered()[1..].iter().all(|count| *count > 0)
    })?;
    let mut during = |time: Duration| {
        let (from, began) = (counts.answered(), Instant::now());
        let until = began + time;
        stage.wait_until("the end of the measurement", time * 2, || Instant::now() >= until)?;
        let (to, elapsed) = (counts.answered(), began.elapsed().as_secs_f64());
        anyhow::Ok(std::array::from_fn::<f64, { DEVICES + 1 }, _>(|unit| {
            (to[unit] - from[unit]) as f64 / elapsed
        }))
    };
    eprintln!("  settling {} s, then measuring twice {seconds} s", SETTLE.as_secs());
    during(SETTLE)?;
    let usage = process::Usage::of(gateway)?;
    let all = during(Duration::from_secs(seconds.into()))?;
    let cpu_s = process::Usage::of(gateway)?.cpu_s - usage.cpu_s;
    counts.dead.store(DEAD, Ordering::Relaxed);
    let rest = during(Duration::from_secs(seconds.into()))?;
    println!(
        "\n== line: {DEVICES} devices × 10 registers at {BAUD} baud 8N1, for {seconds} s and {seconds} s"
    );
    println!("repeat with      cargo xtask bench line --seconds {seconds}");
    println!("load average     {before} before, {} after", process::load());
    report(&all, &rest, &counts, cpu_s * 100.0 / f64::from(seconds))
}

fn report(
    all: &[f64; DEVICES + 1],
    rest: &[f64; DEVICES + 1],
    counts: &Counts,
    core_percent: f64,
) -> Result<()> {
    let floor = 1.0 / exchange().as_secs_f64();
    let polls: f64 = all.iter().sum();
    if polls == 0.0 {
        bail!("failed to measure: no device was polled");
    }
    let kept: Vec<f64> =
        (1..=DEVICES).filter(|unit| *unit != DEAD).map(|unit| rest[unit] / all[unit] * 100.0).collect();
    let (least, mean) =
        (kept.iter().copied().fold(f64::INFINITY, f64::min), kept.iter().sum::<f64>() / kept.len() as f64);
    println!("the wire allows  {floor:.2} polls a second: {:.2} ms each", exchange().as_secs_f64() * 1e3);
    println!("achieved         {polls:.2} polls a second, {:.1} % of it", polls / floor * 100.0);
    println!("one dead device  the others keep {mean:.1} % of their rate, the slowest of them {least:.1} %");
    println!(
        "too early        {} requests before 3.5 characters of silence",
        counts.hasty.load(Ordering::Relaxed)
    );
    println!("processor time   {core_percent:.2} % of one core (gateway, all alive)");
    Ok(())
}

/// Writes the gateway's configuration. Its interval asks for a little less than the wire allows; there is no broker.
fn configuration(folder: &Path, path: &Path) -> Result<PathBuf> {
    let profiles = folder.join("profiles");
    std::fs::create_dir_all(&profiles)?;
    std::fs::write(profiles.join("bench-10.toml"), field::PROFILE)?;
    let interval_s = (exchange() * DEVICES as u32).as_secs_f64() * 1.01;
    let mut text = format!(
        "[gateway]\nid = \"bench-line\"\n[mqtt]\nport = 1\n[profiles]\ndirectory = \"profiles\"\n\
         [[bus]]\nname = \"line\"\nkind = \"rtu\"\npath = \"{}\"\nbaud = {BAUD}\npause_ms = 0\nthinking_ms = 0\n",
        path.display()
    );
    for unit in 1..=DEVICES {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "[[device]]\nid = \"device-{unit}\"\nbus = \"line\"\nprofile = \"bench-10\"\nunit = {unit}\ninterval_s = {interval_s:.3}"
        );
    }
    let path = folder.join("gateway.toml");
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// Starts the far end. The near end is held open, so that the line outlives who polls it.
fn line(counts: &Arc<Counts>) -> Result<(PathBuf, File)> {
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("failed to make a line")?;
    grantpt(&far)?;
    unlockpt(&far)?;
    let path = PathBuf::from(ptsname(&far, Vec::new())?.into_string()?);
    let near = File::options().read(true).write(true).open(&path).context("failed to open the line")?;
    let counts = counts.clone();
    // It ends with the program.
    std::thread::spawn(move || serve(far, &counts));
    Ok((path, near))
}

fn serve(far: OwnedFd, counts: &Counts) -> std::io::Result<()> {
    let mut far = File::from(far);
    let mut devices: Vec<field::Sensor> = (0..=DEVICES as u64).map(field::Sensor::new).collect();
    let mut silent_since = Instant::now();
    loop {
        let mut request = [0; REQUEST_BYTES];
        far.read_exact(&mut request)?;
        let began = Instant::now();
        if began < silent_since + SILENCE {
            counts.hasty.fetch_add(1, Ordering::Relaxed);
        }
        // The program has written at once what the wire carries byte by byte.
        silent_since = began + characters(REQUEST_BYTES);
        let [unit, pdu @ .., _, _] = request;
        let unit = usize::from(unit);
        if sealed(&request[..REQUEST_BYTES - 2]) != request
            || unit > DEVICES
            || unit == counts.dead.load(Ordering::Relaxed)
        {
            continue;
        }
        let mut answer = vec![request[0]];
        answer.extend(devices[unit].answer(&pdu));
        let answer = sealed(&answer);
        let first = silent_since + SILENCE;
        for (n, byte) in answer.iter().enumerate() {
            // A byte is heard when its last bit has come.
            let heard = first + characters(n + 1);
            std::thread::sleep(heard.saturating_duration_since(Instant::now()));
            far.write_all(&[*byte])?;
        }
        silent_since = first + characters(answer.len());
        counts.answered[unit].fetch_add(1, Ordering::Relaxed);
    }
}

/// With its checksum (CRC-16/MODBUS, low byte first).
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut sum = 0xFFFF_u16;
    for byte in body {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xA001 } else { sum >> 1 };
        }
    }
    [body, &sum.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_answers_a_published_request_and_takes_its_time() {
        // A frame pair of a maker: only its request is used.
        let request = [0x01, 0x03, 0x00, 0x00, 0x00, 0x04, 0x44, 0x09];
        assert_eq!(sealed(&request[..6]), request);
        let counts = Arc::new(Counts::default());
        let (_path, mut near) = line(&counts).expect("a pseudo-terminal");
        let mut settings = rustix::termios::tcgetattr(&near).expect("a terminal");
        settings.make_raw();
        rustix::termios::tcsetattr(&near, rustix::termios::OptionalActions::Now, &settings)
            .expect("a raw terminal");
        let began = Instant::now();
        near.write_all(&request).expect("sent");
        let mut answer = [0; 13];
        near.read_exact(&mut answer).expect("answered");
        assert_eq!(sealed(&answer[..11]), answer);
        assert_eq!(answer[..3], [1, 3, 8]);
        assert!(began.elapsed() >= characters(8 + 13) + SILENCE, "{:?}", began.elapsed());
        assert_eq!(counts.answered()[1], 1);
    }
}
