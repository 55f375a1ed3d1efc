//! `capture`: polls one bus as the gateway would and records every byte of it with its time, as a text file that can be
//! read, searched and mailed. `replay` tells what it means.
//!
//! ```text
//! # sitian capture 1
//! # bus line-1 /dev/ttyUSB0 9600 8N1
//! # framing rtu                                 rtu, or tcp with the header of Modbus TCP
//! # device air-1 unit 1 profile xy-md02
//! 2026-11-22T16:05:12.123+08:00 > 01 04 00 01 00 02 20 0B      > sent
//! 2026-11-22T16:05:12.141+08:00 < 01 04 04 00 D7 02 7A 2A 9C   < received, as the pieces came
//! ```

pub mod replay;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sitian_fieldbus::{BusSettings, Tap, Way};
use sitian_settings::Faults;
use tokio::sync::mpsc;

use crate::ask::Patience;
use crate::board::Board;
use crate::clock::mono_ms;
use crate::plan::{Plan, PlannedBus};
use crate::screen::progress;
use crate::settings::Source;
use crate::{advice, field};

/// A line that babbles for hours must not fill the card.
const BYTES_MAX: u64 = 64 << 20;

/// What to record, and where.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// A bus of the configuration.
    bus: String,
    /// The file to write; it must not exist yet.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// How long to record; Ctrl-C ends it earlier.
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    seconds: f64,
}

/// Records until the time is up or Ctrl-C.
pub fn capture(options: &Options) -> Result<()> {
    let loaded = options.source.load()?;
    let plan = Plan::make(&loaded, options.source.folder()).map_err(Faults)?;
    if plan.talking.iter().any(|bus| bus.name == options.bus) {
        bail!(
            "record bus {}: only Modbus is recorded; `probe` of a device shows every byte of it",
            options.bus
        );
    }
    let known: Vec<String> = plan.buses.iter().map(|bus| bus.name.clone()).collect();
    let Plan { manifest, buses, .. } = plan;
    let Some(mut bus) = buses.into_iter().find(|bus| bus.name == options.bus) else {
        bail!("find bus {:?}; the configuration has: {}", options.bus, known.join(", "));
    };
    if let Some(trouble) =
        advice::serial_path(&bus.settings).and_then(|path| advice::port_trouble(Path::new(path)))
    {
        bail!("open bus {}: {trouble}", bus.name);
    }
    let board = Board::new(std::slice::from_ref(&bus), &[], &manifest);
    let tape = Tape::start(&options.output, &head(&bus))?;
    let written = tape.clone();
    bus.settings = bus.settings.tapped(Tap::new(move |way, bytes| written.write(way, bytes)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(record(options, bus, &board))?;
    runtime.shutdown_timeout(Duration::from_secs(2));
    let bytes = tape.end().with_context(|| format!("write {}", options.output.display()))?;
    let rows = board.look(mono_ms());
    let devices = rows.iter().flat_map(|bus| &bus.devices);
    let (asked, lost, damaged) = devices.fold((0, 0, 0), |(asked, lost, damaged), device| {
        (asked + device.polls, lost + device.timeouts, damaged + device.checksums)
    });
    say!(
        "{}: {bytes} bytes · {asked} requests, {lost} without answer, {damaged} answers damaged\n\
         look at it: sitian-gateway replay {}",
        options.output.display(),
        options.output.display()
    );
    Ok(())
}

async fn record(options: &Options, bus: PlannedBus, board: &Board) -> Result<()> {
    let patience = Patience::start(Some(options.seconds));
    let (rounds, mut taken) = mpsc::channel(64);
    let (_orders, none) = mpsc::channel(1);
    let polling = tokio::spawn(field::poll(bus, none, field::Outlet::of(rounds, 0), board.clone()));
    tokio::spawn(async move { while taken.recv().await.is_some() {} });
    while !patience.is_over() {
        let asked: u64 =
            board.look(mono_ms()).iter().flat_map(|bus| &bus.devices).map(|device| device.polls).sum();
        progress(&format!("recording · {asked} requests · Ctrl-C ends"));
        if polling.is_finished() {
            return polling.await?;
        }
        patience.sleep(Duration::from_millis(500)).await;
    }
    progress("");
    polling.abort();
    Ok(())
}

fn head(bus: &PlannedBus) -> String {
    let framing = if matches!(bus.settings, BusSettings::Tcp(_)) { "tcp" } else { "rtu" };
    let mut text = format!(
        "# sitian capture 1\n# bus {} {}\n# framing {framing}\n# software sitian-gateway {}\n",
        bus.name,
        advice::describe(&bus.settings),
        env!("CARGO_PKG_VERSION")
    );
    for (id, device) in bus.devices.iter().zip(&bus.plan.devices) {
        text.push_str(&format!("# device {id} unit {} profile {}\n", device.unit, device.profile.id));
    }
    text
}

/// The file being written, by the thread that moves the bytes.
#[derive(Clone)]
struct Tape(Arc<Mutex<Reel>>);

struct Reel {
    out: BufWriter<File>,
    bytes: u64,
    fault: Option<std::io::Error>,
}

impl Tape {
    fn start(path: &Path, head: &str) -> Result<Self> {
        let file = File::options().write(true).create_new(true).open(path);
        let mut out = BufWriter::new(
            file.with_context(|| format!("make {} (no recording is overwritten)", path.display()))?,
        );
        out.write_all(head.as_bytes())?;
        Ok(Self(Arc::new(Mutex::new(Reel { out, bytes: head.len() as u64, fault: None }))))
    }

    fn write(&self, way: Way, bytes: &[u8]) {
        let mut reel = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
        let mark = if way == Way::Sent { '>' } else { '<' };
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let line = format!("{at} {mark} {}\n", hex.join(" "));
        if reel.fault.is_some() || reel.bytes + line.len() as u64 > BYTES_MAX {
            return;
        }
        reel.bytes += line.len() as u64;
        let written = reel.out.write_all(line.as_bytes());
        reel.fault = written.err();
    }

    /// Everything is on its way to the disk; gives the bytes written.
    fn end(&self) -> std::io::Result<u64> {
        let mut reel = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = reel.fault.take() {
            return Err(fault);
        }
        reel.out.flush()?;
        Ok(reel.bytes)
    }
}
