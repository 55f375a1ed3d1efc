//! `scan`: who is on a line? Asks every unit id at every speed, says who answers and what it probably is, and writes the
//! block for gateway.toml. It only reads.

mod identify;
mod range;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use sitian_fieldbus::{Bus, BusSettings, PortSettings, RtuSettings, SerialSettings, TcpSettings};
use sitian_poll::{Failure, Request};
use sitian_profile::{Function, Serial};
use sitian_settings::Faults;

use crate::advice::{self, Seen};
use crate::ask::{Patience, read};
use crate::library::Library;
use crate::plan::Plan;
use crate::screen::{coloured, progress};
use crate::settings::Source;

use identify::{Guess, identify};
use range::{Units, span};

/// Any device may answer to these: they are asked only where nobody else is.
const ANYBODY: [u8; 2] = [254, 255];

/// What to scan.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// A bus of the configuration.
    #[arg(value_name = "BUS", required_unless_present_any = ["port", "tcp", "rtu_tcp"])]
    bus: Option<String>,
    /// A serial port, without any configuration.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["bus", "tcp", "rtu_tcp"])]
    port: Option<PathBuf>,
    /// A Modbus TCP server.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["bus", "rtu_tcp"])]
    tcp: Option<String>,
    /// A converter that speaks Modbus RTU over a socket.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "bus")]
    rtu_tcp: Option<String>,
    /// Speeds to try on a serial port, most likely first.
    #[arg(long, value_name = "BAUD", value_delimiter = ',', default_value = "9600,4800")]
    bauds: Vec<u32>,
    /// Parities to try on a serial port.
    #[arg(long, value_name = "PARITY", value_delimiter = ',', default_value = "none,even")]
    parities: Vec<range::ParityWord>,
    /// Unit ids to ask.
    #[arg(long, value_name = "UNITS", default_value = "1-247")]
    units: Units,
    /// How long a device may take to answer.
    #[arg(long, value_name = "MS", default_value_t = 150)]
    timeout_ms: u32,
    /// Ends after so many seconds, with what was found until then.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Prints what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Somebody who answered.
#[derive(Debug, Clone, Serialize)]
struct Found {
    /// `9600 8N1`; empty on a socket.
    line: String,
    #[serde(skip)]
    settings: BusSettings,
    unit: u8,
    latency_ms: u64,
    guesses: Vec<Guess>,
}

/// Scans until all is asked, Ctrl-C, or the time is up.
pub fn scan(options: &Options) -> Result<()> {
    let (lines, library) = lines(options)?;
    for path in lines.iter().filter_map(advice::serial_path).take(1) {
        if let Some(trouble) = advice::port_trouble(Path::new(path)) {
            bail!("scan: {trouble}");
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(all(options, &lines, &library));
    runtime.shutdown_background();
    let (found, seen) = found?;
    if options.json {
        say!("{}", serde_json::to_string_pretty(&found)?);
    } else if found.is_empty() {
        let serial = lines.iter().any(|line| matches!(line, BusSettings::Rtu(_)));
        say!("nobody found. {}", seen.likely(serial));
    } else {
        crate::screen::put(format_args!("{}", blocks(options, &found)));
    }
    Ok(())
}

/// The same line in every form that is to be tried, and the profiles to recognise devices by.
fn lines(options: &Options) -> Result<(Vec<BusSettings>, Library)> {
    let serial = |port: &Path| {
        let path = port.to_string_lossy().into_owned();
        let form = |baud: &u32, parity: &range::ParityWord| {
            let serial = Serial { baud: *baud, data_bits: 8, parity: parity.0, stop_bits: 1 };
            let port = PortSettings::Serial(SerialSettings { path: path.clone(), serial });
            BusSettings::Rtu(RtuSettings { port, baud: *baud })
        };
        options
            .parities
            .iter()
            .flat_map(|parity| options.bauds.iter().map(move |baud| form(baud, parity)))
            .collect()
    };
    if let Some(port) = &options.port {
        return Ok((serial(port), Library::builtin().map_err(Faults)?));
    }
    if let Some(server) = options.tcp.as_ref().or(options.rtu_tcp.as_ref()) {
        let (host, port) = server.rsplit_once(':').unwrap_or((server, "502"));
        let Ok(port) = port.parse() else {
            bail!("scan {server:?}: write HOST:PORT, such as 192.168.1.50:502")
        };
        let server = TcpSettings::new(host, port);
        let line = if options.tcp.is_some() {
            BusSettings::Tcp(server)
        } else {
            let baud = options.bauds.first().copied().unwrap_or(9_600);
            BusSettings::Rtu(RtuSettings { port: PortSettings::Tcp(server), baud })
        };
        return Ok((vec![line], Library::builtin().map_err(Faults)?));
    }
    let name = options.bus.as_deref().unwrap_or_default();
    let loaded = options.source.load()?;
    let library = Library::of(&loaded, options.source.folder()).map_err(Faults)?;
    let plan = Plan::make(&loaded, options.source.folder()).map_err(Faults)?;
    let known: Vec<String> = plan.buses.iter().map(|bus| bus.name.clone()).collect();
    let Some(bus) = plan.buses.into_iter().find(|bus| bus.name == name) else {
        bail!("find bus {name:?}; the configuration has: {}", known.join(", "));
    };
    // What the configuration says first, then the rest.
    let mut forms = match advice::serial_path(&bus.settings) {
        Some(path) => serial(Path::new(path)),
        None => Vec::new(),
    };
    forms.retain(|form| *form != bus.settings);
    forms.insert(0, bus.settings);
    Ok((forms, library))
}

async fn all(options: &Options, lines: &[BusSettings], library: &Library) -> Result<(Vec<Found>, Seen)> {
    let patience = Patience::start(options.seconds);
    let per_line = options.units.0.len() as u64 * 2 * u64::from(options.timeout_ms + 25);
    if !options.json {
        let forms: Vec<String> = lines.iter().map(advice::describe).collect();
        let most = Duration::from_millis(per_line * lines.len() as u64);
        say!("asking units {} · at most {} · Ctrl-C ends", options.units, span(most));
        forms.iter().for_each(|form| say!("  {form}"));
        say!();
    }
    let mut found: Vec<Found> = Vec::new();
    let mut seen = Seen::default();
    for (n, line) in lines.iter().enumerate() {
        let mut here = Seen::default();
        let left = per_line * (lines.len() - n) as u64;
        one(options, line, library, &patience, left, &mut found, &mut here).await?;
        if here.garbled > 0 && !options.json {
            let what = advice::describe(line);
            say!(
                "{what}: {} damaged answers: another speed or parity, or two devices with one unit id",
                here.garbled
            );
        }
        seen = Seen {
            answers: seen.answers + here.answers,
            silences: seen.silences + here.silences,
            garbled: seen.garbled + here.garbled,
        };
        if patience.is_over() {
            progress("");
            eprintln!("ended early: not everything was asked");
            break;
        }
    }
    Ok((found, seen))
}

/// One form of the line.
async fn one(
    options: &Options,
    line: &BusSettings,
    library: &Library,
    patience: &Patience,
    left_ms: u64,
    found: &mut Vec<Found>,
    seen: &mut Seen,
) -> Result<()> {
    let serial = match line {
        BusSettings::Rtu(RtuSettings { port: PortSettings::Serial(port), .. }) => Some(port.serial),
        _ => None,
    };
    let form = serial.as_ref().map(advice::format).unwrap_or_default();
    let mut bus = Bus::open("scan", line.clone())?;
    let began = Instant::now();
    let before = found.len();
    let (likely, anybody): (Vec<u8>, Vec<u8>) =
        options.units.0.iter().partition(|unit| !ANYBODY.contains(unit));
    let anybody = if options.units.1 { anybody } else { ANYBODY.to_vec() };
    for unit in likely.into_iter().chain(anybody) {
        if patience.is_over() || (ANYBODY.contains(&unit) && !options.units.1 && found.len() > before) {
            break;
        }
        let gone = began.elapsed().as_millis() as u64;
        let left = Duration::from_millis(left_ms.saturating_sub(gone));
        progress(&format!("{} unit {unit:<3} · {} left at most", advice::describe(line), span(left)));
        let Some(latency_ms) = is_there(&mut bus, unit, options.timeout_ms, seen).await? else { continue };
        let timeout_ms = options.timeout_ms.max(2 * u32::try_from(latency_ms).unwrap_or(u32::MAX / 2));
        let guesses = identify(&mut bus, unit, serial.as_ref(), library, timeout_ms, patience).await;
        let one = Found { line: form.clone(), settings: line.clone(), unit, latency_ms, guesses };
        if !options.json {
            progress("");
            tell(&one);
        }
        found.push(one);
    }
    progress("");
    Ok(())
}

/// Milliseconds to the answer, if the unit answers anything at all: an exception is an answer too.
async fn is_there(bus: &mut Bus, unit: u8, timeout_ms: u32, seen: &mut Seen) -> Result<Option<u64>> {
    let questions: [Request; 2] =
        [read(unit, Function::Holding, 0, 1, timeout_ms), read(unit, Function::Input, 1, 1, timeout_ms)];
    for request in questions {
        let began = Instant::now();
        let outcome = bus.execute(request).await;
        seen.count(&outcome);
        match outcome {
            // A server in front of a line says so when nobody is behind it.
            Err(Failure::Exception(10 | 11)) => {}
            Ok(_) | Err(Failure::Exception(_)) => return Ok(Some(began.elapsed().as_millis() as u64)),
            Err(Failure::Unreachable(reason)) => bail!("reach the bus: {reason}"),
            Err(_) => {}
        }
    }
    Ok(None)
}

fn tell(found: &Found) {
    let head = coloured(&format!("unit {:<3}", found.unit), "32");
    let line = if found.line.is_empty() { String::new() } else { format!("{} · ", found.line) };
    say!("{head} {line}answers in {} ms", found.latency_ms);
    if found.guesses.is_empty() {
        say!("    no profile fits: see the maker's register table");
    }
    for guess in &found.guesses {
        say!("    {:<20} {} · {}", guess.profile, guess.device, guess.values.join(" · "));
    }
}

/// What to put into gateway.toml.
fn blocks(options: &Options, found: &[Found]) -> String {
    let mut text = format!(
        "\n{} found. For gateway.toml, after comparing the guesses with the housings:\n",
        if found.len() == 1 { "1 device".to_owned() } else { format!("{} devices", found.len()) }
    );
    let mut told: Vec<&BusSettings> = Vec::new();
    for one in found {
        let n = told.iter().position(|line| **line == one.settings).unwrap_or_else(|| {
            told.push(&one.settings);
            told.len() - 1
        });
        let name = options.bus.clone().unwrap_or_else(|| format!("line-{}", n + 1));
        let first =
            found.iter().find(|other| other.settings == one.settings).is_some_and(|f| f.unit == one.unit);
        if first && options.bus.is_none() {
            text.push_str(&format!("\n[[bus]]\nname = {name:?}\n{}", range::bus_keys(&one.settings)));
        }
        let unit = one.unit;
        let Some((best, others)) = one.guesses.split_first() else {
            text.push_str(&format!(
                "\n# Unit {unit} of {name} answers, but no profile fits: write one for it.\n"
            ));
            continue;
        };
        let (profile, called) = (&best.profile, &best.name);
        let others: Vec<&str> = others.iter().map(|guess| guess.profile.as_str()).collect();
        let or = if others.is_empty() { String::new() } else { format!("    # or {}", others.join(", ")) };
        text.push_str(&format!(
            "\n[[device]]\nid = \"{profile}-{unit}\"\nname = {called:?}\nbus = {name:?}\nprofile = {profile:?}{or}\nunit = {unit}\n"
        ));
    }
    if told.len() > 1 {
        text.push_str("\n# One line carries one speed: set all devices to the same, or give the odd one a line of its own.\n");
    }
    text
}
