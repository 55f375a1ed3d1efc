//! `probe`: reads one device now and shows what it says, from raw registers to values with quality.

use anyhow::{Result, bail};
use sitian_fieldbus::Bus;
use sitian_poll::plan::blocks;
use sitian_poll::{Answer, Failure, Request};
use sitian_profile::{Context, Profile, ProfilePoint, decode};
use sitian_settings::Faults;

use crate::plan::{Plan, PlannedBus};
use crate::settings::Source;

/// Which device to read.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Id of a device of the configuration.
    device: String,
}

/// Registers that were read: function code, address, word.
type Words = Vec<(u8, u16, u16)>;

/// Reads every block of the device once; an error says what the bus said.
pub fn probe(options: &Options) -> Result<()> {
    let loaded = options.source.load()?;
    let plan = Plan::make(&loaded, options.source.folder()).map_err(Faults)?;
    let ids: Vec<&str> = plan.manifest.devices.iter().map(|device| device.id.as_str()).collect();
    let on_bus = |bus: &PlannedBus| bus.devices.iter().position(|id| id.as_str() == options.device);
    let found = plan.buses.into_iter().find_map(|bus| on_bus(&bus).map(|at| (bus, at)));
    let Some((bus, at)) = found else {
        bail!("find device {:?}; the configuration has: {}", options.device, ids.join(", "));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(read(bus, at))
}

async fn read(planned: PlannedBus, at: usize) -> Result<()> {
    let PlannedBus { name, settings, plan, .. } = planned;
    let device = &plan.devices[at];
    let profile = device.profile.clone();
    println!(
        "{} {} · profile {} ({}) · bus {name} · unit {}",
        profile.vendor,
        profile.model,
        profile.id,
        profile.verified.mark(),
        device.unit
    );
    let mut bus = Bus::open(&name, settings)?;
    for start in &profile.pre_read {
        let request = Request {
            unit: device.unit,
            function: start.function,
            address: start.address,
            count: start.count,
            timeout_ms: device.timeout_ms,
        };
        bus.execute(request).await.map_err(|failure| anyhow::anyhow!("start the measurement: {failure}"))?;
        tokio::time::sleep(std::time::Duration::from_millis(start.delay_ms.into())).await;
    }
    let mut words = Words::new();
    let (mut answered, mut reached) = (0, false);
    for block in blocks(&profile, &profile.points) {
        let request = Request {
            unit: device.unit,
            function: block.function,
            address: block.address,
            count: block.count,
            timeout_ms: device.timeout_ms,
        };
        let place = format!("{} 0x{:04X} ×{}", block.function.word(), block.address, block.count);
        let started = std::time::Instant::now();
        match bus.execute(request).await {
            Ok(answer) => {
                let raw = raw_words(answer);
                let shown: Vec<String> = raw.iter().map(|word| format!("{word:04X}")).collect();
                println!("{place:<22} {}   ({} ms)", shown.join(" "), started.elapsed().as_millis());
                words.extend(
                    raw.iter()
                        .zip(block.address..)
                        .map(|(word, address)| (block.function.code(), address, *word)),
                );
                answered += 1;
            }
            Err(failure) => {
                reached |= !matches!(failure, Failure::Unreachable(_));
                println!("{place:<22} {failure}");
            }
        }
    }
    if answered == 0 && !reached {
        bail!("reach the bus: check path or host, cable and power, and that no other program holds the port");
    }
    if answered == 0 {
        bail!("read the device: it answered nothing; check wiring (A/B swapped?), baud, parity and unit id");
    }
    println!();
    profile.points.iter().for_each(|point| show(&profile, point, &words));
    Ok(())
}

fn raw_words(answer: Answer) -> Vec<u16> {
    match answer {
        Answer::Registers(words) => words,
        Answer::Bits(bits) => bits.into_iter().map(u16::from).collect(),
    }
}

fn show(profile: &Profile, point: &ProfilePoint, words: &Words) {
    let word = |address: u16| {
        words.iter().find(|(f, a, _)| *f == point.function.code() && *a == address).map(|(_, _, word)| *word)
    };
    let own: Option<Vec<u16>> = (point.address..point.address + point.kind.registers()).map(word).collect();
    let name = point.key.as_str();
    let Some(own) = own else {
        println!("{name:<24} not read");
        return;
    };
    let context = Context {
        unit: point.unit_register.as_ref().and_then(|register| word(register.address)),
        decimals: point.decimals_register.and_then(|register| word(register.address)),
        status: point.status_register.and_then(|register| word(register.address)),
    };
    let (value, quality) = decode(point, &own, context);
    let raw: Vec<String> = own.iter().map(|word| format!("{word:04X}")).collect();
    let value = value.map_or("–".to_owned(), |value| format!("{value:.*}", usize::from(point.decimals)));
    let why = quality.cause().map_or(String::new(), |cause| format!(" ({})", cause.word()));
    let range = format!("plausible {} to {}", point.min, point.max);
    let mark = if profile.verified.mark() == "U" { ", register from memory: check" } else { "" };
    println!(
        "{name:<24} {value:>10} {:<8} {}{why}   [{}] {range}{mark}",
        point.unit,
        quality.word(),
        raw.join(" ")
    );
}
