//! `probe`: reads one device now and shows what it says, from raw registers to values with quality.

mod orders;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use sitian_fieldbus::Bus;
use sitian_poll::{DevicePlan, Failure, Request};
use sitian_profile::{Context, Kind, PreRead, Profile, ProfilePoint, decode};
use sitian_settings::Faults;

use crate::advice::{self, Seen};
use crate::ask::{self, Patience, Words, hex, requests};
use crate::plan::{Plan, PlannedBus, TalkingBus};
use crate::screen::{coloured, number, progress, quality_colour, quality_words};
use crate::settings::Source;

/// Which device to read, and how.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Id of a device of the configuration.
    device: String,
    /// Decodes every kind and byte order, and ranks them by plausibility and steadiness.
    #[arg(long)]
    all_orders: bool,
    /// How often --all-orders reads, once a second.
    #[arg(long, value_name = "N", default_value_t = 5)]
    reads: u32,
    /// Ends after so many seconds.
    #[arg(long, value_name = "S", default_value_t = 120.0)]
    seconds: f64,
    /// Prints everything as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads every block of the device; an error says what the bus said.
pub fn probe(options: &Options) -> Result<()> {
    let loaded = options.source.load()?;
    let plan = Plan::make(&loaded, options.source.folder()).map_err(Faults)?;
    let ids: Vec<&str> = plan.manifest.devices.iter().map(|device| device.id.as_str()).collect();
    let on_bus = |bus: &PlannedBus| bus.devices.iter().position(|id| id.as_str() == options.device);
    let found = plan.buses.into_iter().find_map(|bus| on_bus(&bus).map(|at| (bus, at)));
    let talks = |bus: &TalkingBus| bus.devices.iter().position(|id| id.as_str() == options.device);
    if let Some((bus, at)) = plan.talking.into_iter().find_map(|bus| talks(&bus).map(|at| (bus, at))) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(crate::overhear::overhear(bus, at));
    }
    let Some((bus, at)) = found else {
        bail!("find device {:?}; the configuration has: {}", options.device, ids.join(", "));
    };
    let serial = advice::serial_path(&bus.settings);
    if let Some(trouble) = serial.and_then(|path| advice::port_trouble(Path::new(path))) {
        bail!("open bus {}: {trouble}", bus.name);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(device(options, bus, at));
    runtime.shutdown_background();
    outcome
}

/// What is asked, and what came of it.
struct Talk<'a> {
    bus: Bus,
    device: &'a DevicePlan,
    patience: Patience,
    seen: Seen,
    quiet: bool,
}

async fn device(options: &Options, planned: PlannedBus, at: usize) -> Result<()> {
    let PlannedBus { name, settings, plan, .. } = planned;
    let serial = advice::serial_path(&settings).is_some();
    let device = &plan.devices[at];
    let profile = &device.profile;
    if !options.json {
        let mark = profile.verified.mark();
        let (vendor, model, id, unit) = (&profile.vendor, &profile.model, &profile.id, device.unit);
        say!("{vendor} {model} · profile {id} ({mark}) · bus {name} · unit {unit}");
    }
    let patience = Patience::start(Some(options.seconds));
    let bus = Bus::open(&name, settings)?;
    let mut talk = Talk { bus, device, patience, seen: Seen::default(), quiet: options.json };
    talk.command(&profile.pre_read, "start the measurement").await?;
    let mut words = vec![talk.read(&profile.points, talk.quiet).await?];
    if talk.seen.answers == 0 {
        bail!("read the device: {}", talk.seen.likely(serial));
    }
    if options.all_orders {
        for n in 1..options.reads {
            progress(&format!("reading {} of {}", n + 1, options.reads));
            talk.patience.sleep(Duration::from_secs(1)).await;
            if talk.patience.is_over() {
                break;
            }
            words.push(talk.read(&profile.points, true).await?);
        }
        progress("");
    }
    talk.command(&profile.post_read, "end the measurement").await?;
    let last = words.last().cloned().unwrap_or_default();
    match (options.all_orders, options.json) {
        (false, false) => {
            say!();
            profile.points.iter().for_each(|point| say!("{}", line(profile, point, &last)));
        }
        (false, true) => say!("{}", json(profile.points.iter().map(|point| as_json(point, &last)))),
        (true, as_json) => ranks(profile, &words, as_json),
    }
    let likely = talk.seen.likely(serial);
    if !likely.is_empty() && !options.json {
        say!("\n{likely}");
    }
    Ok(())
}

impl Talk<'_> {
    /// Commands before or after reading, with the time they need.
    async fn command(&mut self, commands: &[PreRead], what: &str) -> Result<()> {
        for command in commands {
            if let Err(failure) = self.bus.execute(ask::command(command, self.device)).await {
                bail!("{what}: {failure}");
            }
            if command.delay_ms > 0 {
                progress(&format!("{what}: {} ms", command.delay_ms));
                self.patience.sleep(Duration::from_millis(command.delay_ms.into())).await;
                progress("");
            }
        }
        Ok(())
    }

    async fn read(&mut self, points: &[ProfilePoint], quiet: bool) -> Result<Words> {
        let mut words = Words::default();
        for request in requests(self.device.unit, &self.device.profile, points, self.device.timeout_ms) {
            if self.patience.is_over() {
                break;
            }
            let place = place(&request);
            let started = Instant::now();
            let outcome = self.bus.execute(request).await;
            self.seen.count(&outcome);
            match outcome {
                Ok(answer) => {
                    let raw = words.take(&request, answer);
                    if !quiet {
                        say!("{place:<22} {}   ({} ms)", hex(&raw), started.elapsed().as_millis());
                    }
                }
                Err(Failure::Unreachable(reason)) => bail!("reach the bus: {reason}"),
                Err(failure) if !quiet => say!("{place:<22} {failure}"),
                Err(_) => {}
            }
        }
        Ok(words)
    }
}

fn place(request: &Request) -> String {
    format!("{} 0x{:04X} ×{}", request.function.word(), request.address, request.count)
}

fn line(profile: &Profile, point: &ProfilePoint, words: &Words) -> String {
    let name = point.key.as_str();
    let Some((own, context)) = words.of(point) else {
        return format!("{name:<24} not read");
    };
    let (value, quality) = decode(point, &own, context);
    let value = number(value, point.decimals);
    let range = format!("plausible {} to {}", point.min, point.max);
    let mark = if profile.verified.mark() == "U" { ", register from memory: check" } else { "" };
    let quality_shown = coloured(&quality_words(quality), quality_colour(quality.word()));
    format!("{name:<24} {value:>10} {:<8} {quality_shown}   [{}] {range}{mark}", point.unit, hex(&own))
}

fn as_json(point: &ProfilePoint, words: &Words) -> Value {
    let read = words.of(point);
    let (value, quality) = match &read {
        Some((own, context)) => {
            let (value, quality) = decode(point, own, *context);
            (value, quality_words(quality))
        }
        None => (None, "not read".to_owned()),
    };
    let registers = read.map(|(own, _)| hex(&own));
    json!({ "point": point.key.as_str(), "unit": point.unit, "value": value, "quality": quality, "registers": registers })
}

fn json(items: impl Iterator<Item = Value>) -> String {
    serde_json::to_string_pretty(&items.collect::<Vec<_>>()).unwrap_or_default()
}

/// Every way to read each point, best first.
fn ranks(profile: &Profile, reads: &[Words], as_json: bool) {
    let mut all = Vec::new();
    for point in &profile.points {
        let samples: Vec<(Vec<u16>, Context)> = reads.iter().filter_map(|words| words.of(point)).collect();
        if samples.is_empty() || matches!(point.kind, Kind::Bits(_)) {
            continue;
        }
        let readings = orders::rank(point, &samples);
        let verdict = orders::verdict(point, &readings, &samples);
        if as_json {
            all.push(json!({ "point": point.key.as_str(), "readings": readings, "verdict": verdict }));
            continue;
        }
        let (range, newest) = (format!("{} to {} {}", point.min, point.max, point.unit), samples.last());
        let raw = newest.map(|(own, _)| hex(own)).unwrap_or_default();
        say!(
            "\n{} · {} 0x{:04X} [{raw}] · plausible {range}",
            point.key,
            point.function.word(),
            point.address
        );
        if !orders::is_silent(&samples) {
            readings
                .iter()
                .take(orders::SHOWN)
                .for_each(|reading| say!("{}", rank_line(reading, samples.len())));
        }
        say!("  → {verdict}");
    }
    if as_json {
        say!("{}", json(all.into_iter()));
    }
}

fn rank_line(reading: &orders::Reading, reads: usize) -> String {
    let short = |number: f64| match number {
        0.0 => "0".to_owned(),
        _ if !(1e-4..1e7).contains(&number.abs()) => format!("{number:.3e}"),
        _ => format!("{number:.3}"),
    };
    let value = reading.value.map_or("–".to_owned(), short);
    let spread = reading.spread.map_or("–".to_owned(), short);
    let good = (reading.plausible * reads as f64).round();
    let ours = if reading.of_profile { "   ← profile" } else { "" };
    let order = &reading.order;
    format!(
        "  {:<4} {order:<4} × {:<8} {value:>12}   spread {spread:>10}   plausible {good} of {reads}{ours}",
        reading.kind, reading.scale
    )
}
