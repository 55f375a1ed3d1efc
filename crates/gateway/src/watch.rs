//! `watch`: a live table of buses, devices and values. Attached to the running gateway it disturbs nothing; where none
//! runs, it polls the buses of the configuration itself and keeps nothing.

pub mod socket;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sitian_settings::Faults;

use crate::advice;
use crate::board::{Board, BusRow, DeviceRow, PointRow};
use crate::buses::Buses;
use crate::clock::mono_ms;
use crate::plan::Plan;
use crate::screen::{clear, coloured, now, padded, quality_colour, width};
use crate::settings::Source;

/// A value older than this many seconds is shown as old.
const OLD_S: f64 = 60.0;

/// What to look at, and for how long.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Only this bus.
    #[arg(long, value_name = "NAME")]
    bus: Option<String>,
    /// Seconds between two pictures.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    every: f64,
    /// Ends after so many seconds; without it Ctrl-C ends it.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// One picture, once every point was polled (10 seconds at most, or --seconds), then the end.
    #[arg(long)]
    once: bool,
    /// Each picture as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Where the pictures come from.
enum Eye {
    Gateway,
    Own { board: Board, _polled: Buses },
}

/// Looks until Ctrl-C, or as long as was asked for.
pub fn watch(options: &Options) -> Result<()> {
    let loaded = options.source.load()?;
    let mut plan = Plan::make(&loaded, options.source.folder()).map_err(Faults)?;
    if let Some(name) = &options.bus {
        let talking = plan.talking.iter().map(|bus| bus.name.clone());
        let known: Vec<String> = plan.buses.iter().map(|bus| bus.name.clone()).chain(talking).collect();
        plan.buses.retain(|bus| bus.name == *name);
        plan.talking.retain(|bus| bus.name == *name);
        if plan.buses.is_empty() && plan.talking.is_empty() {
            bail!("find bus {name:?}; the configuration has: {}", known.join(", "));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(look(options, plan));
    // A bus that waits for an answer need not be waited for.
    runtime.shutdown_background();
    outcome
}

async fn look(options: &Options, plan: Plan) -> Result<()> {
    let gateway = plan.manifest.gateway.to_string();
    let spool = plan.spool_folder.clone();
    let eye = match socket::ask(&spool) {
        Ok(_) => Eye::Gateway,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let path = socket::path(&spool);
            bail!("look at the running gateway: no right to use {}; try sudo", path.display());
        }
        Err(_) => start(plan)?,
    };
    let limit = match (options.seconds, options.once) {
        (Some(seconds), _) => Duration::from_secs_f64(seconds.clamp(0.0, 1e6)),
        (None, true) => Duration::from_secs(10),
        (None, false) => Duration::MAX,
    };
    let every = Duration::from_secs_f64(options.every.clamp(0.1, 3_600.0));
    let began = std::time::Instant::now();
    loop {
        let buses = picture(&eye, &spool, options.bus.as_deref())?;
        let last = began.elapsed() >= limit;
        let complete =
            buses.iter().flat_map(|bus| &bus.devices).all(|device| device.points.iter().all(polled));
        if !options.once || complete || last {
            show(options, &gateway, &eye, &buses);
        }
        if last || (options.once && complete) {
            return Ok(());
        }
        let pause = if options.once { Duration::from_millis(100) } else { every };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(pause.min(limit.saturating_sub(began.elapsed()))) => {}
        }
    }
}

/// Polls on its own; what is read goes on the board and nowhere else.
fn start(plan: Plan) -> Result<Eye> {
    let board = Board::new(&plan.buses, &plan.talking, &plan.manifest);
    for bus in &plan.buses {
        if let Some(trouble) =
            advice::serial_path(&bus.settings).and_then(|path| advice::port_trouble(Path::new(path)))
        {
            bail!("open bus {}: {trouble}", bus.name);
        }
    }
    // What a station is told once its readings are kept, it is not told by us: it sends them again to the gateway.
    let (buses, mut taken) = Buses::start(plan.buses, plan.talking, &board);
    tokio::spawn(async move { while taken.recv().await.is_some() {} });
    Ok(Eye::Own { board, _polled: buses })
}

fn picture(eye: &Eye, spool: &Path, only: Option<&str>) -> Result<Vec<BusRow>> {
    let mut buses = match eye {
        Eye::Own { board, .. } => board.look(mono_ms()),
        Eye::Gateway => socket::ask(spool).context("go on: the gateway has ended")?,
    };
    buses.retain(|bus| only.is_none_or(|name| bus.name == name));
    Ok(buses)
}

fn polled(point: &PointRow) -> bool {
    !point.quality.is_empty()
}

fn show(options: &Options, gateway: &str, eye: &Eye, buses: &[BusRow]) {
    if options.json {
        say!("{}", serde_json::to_string(buses).unwrap_or_default());
        return;
    }
    clear();
    let source = match eye {
        Eye::Gateway => "attached to the running gateway",
        Eye::Own { .. } => "no gateway runs here: polling on its own, keeping nothing",
    };
    say!("{gateway} · {} · {source}", now());
    for bus in buses {
        let airtime = bus.airtime_percent.map_or("–".to_owned(), |share| format!("{share:.0} %"));
        say!("\n{} · {} · airtime {airtime}", bus.name, bus.place);
        table(bus).iter().for_each(|line| say!("  {line}"));
    }
    if !options.once && crate::screen::is_terminal() {
        say!("\nlost: no answer · bad: damaged answer · exc: refused by the device · Ctrl-C ends");
    }
}

const HEAD: [&str; 11] =
    ["device", "unit", "latency", "asked", "lost", "bad", "exc", "point", "value", "quality", "age"];

/// The lines of a bus, columns aligned; the quality in its colour.
fn table(bus: &BusRow) -> Vec<String> {
    let mut rows: Vec<[String; 11]> = vec![HEAD.map(str::to_owned)];
    for device in &bus.devices {
        for (n, point) in device.points.iter().enumerate() {
            let [a, b, c, d, e, f, g] = if n == 0 { counters(device) } else { Default::default() };
            let [h, i, j, k] = value(point);
            rows.push([a, b, c, d, e, f, g, h, i, j, k]);
        }
    }
    let widths: [usize; 11] =
        std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or_default());
    let mut lines: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(n, row)| {
            let cell = |(column, text): (usize, &String)| {
                let number = matches!(column, 1..=6 | 8 | 10);
                let blanks = " ".repeat(widths[column].saturating_sub(width(text)));
                let text = match column {
                    9 if n > 0 => coloured(text, quality_colour(text.split(' ').next().unwrap_or_default())),
                    _ => text.clone(),
                };
                if number { format!("{blanks}{text}") } else { format!("{text}{blanks}") }
            };
            row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    for device in bus.devices.iter().filter(|device| !device.trouble.is_empty()) {
        let name = padded(&device.id, widths[0]);
        lines.push(coloured(&format!("{name}  {}", device.trouble), "31"));
    }
    lines
}

fn counters(device: &DeviceRow) -> [String; 7] {
    [
        device.id.clone(),
        device.unit.clone(),
        device.latency_ms.map_or("–".to_owned(), |ms| format!("{ms} ms")),
        device.polls.to_string(),
        (device.timeouts + device.unreachable).to_string(),
        device.checksums.to_string(),
        device.exceptions.to_string(),
    ]
}

fn value(point: &PointRow) -> [String; 4] {
    let number = crate::screen::number(point.value, point.decimals);
    let unit = if point.unit.is_empty() { String::new() } else { format!(" {}", point.unit) };
    let why = if point.cause.is_empty() { String::new() } else { format!(" ({})", point.cause) };
    let age = point.age_s.map_or("–".to_owned(), |age| format!("{age:.0} s"));
    let old = if point.age_s.is_some_and(|age| age > OLD_S) { " old" } else { "" };
    let quality = if polled(point) { format!("{}{why}", point.quality) } else { "not polled yet".to_owned() };
    [point.key.clone(), format!("{number}{unit}"), quality, format!("{age}{old}")]
}
