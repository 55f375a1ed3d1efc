//! `probe` of a sensor that does not speak Modbus: shows every word that goes over the line, and the values in it.

use std::time::Duration;

use anyhow::{Result, bail};
use sitian_dialect::{BusPlan, Command, DevicePlan, Sample, Talk};
use sitian_fieldbus::{Stream, StreamEvent};

use crate::clock::mono_ms;
use crate::plan::TalkingBus;

/// A sensor that speaks by itself has so long to say everything.
const LISTEN_MS: u64 = 30_000;
/// Long enough that no second round begins.
const INTERVAL_MS: u32 = 3_600_000;

/// Talks with the device, or listens to it, until every point has said something.
pub async fn overhear(bus: TalkingBus, at: usize) -> Result<()> {
    let TalkingBus { name, settings, mut plan, .. } = bus;
    let device = DevicePlan { interval_ms: INTERVAL_MS, ..plan.devices.swap_remove(at) };
    plan.devices = vec![device.clone()];
    let profile = &device.profile;
    say!(
        "{} {} · profile {} ({}) · {} on bus {name}, {}",
        profile.vendor,
        profile.model,
        profile.id,
        profile.verified.mark(),
        profile.dialect.word().word(),
        settings.describe()
    );
    if !profile.dialect.asks() {
        say!("it speaks by itself: listening for at most {} s", LISTEN_MS / 1_000);
    }
    let stream = Stream::open(&name, settings)?;
    let mut ear =
        Ear { asks: profile.dialect.asks(), plan, stream, machine: None, samples: Vec::new(), heard: false };
    ear.listen(device.points.len()).await?;
    if !ear.heard {
        bail!(
            "hear the device: nothing came; check power, wiring (A/B or RX/TX swapped?), baud, parity and address"
        );
    }
    say!();
    show(&device, &ear.samples);
    Ok(())
}

/// What has been overheard so far.
struct Ear {
    asks: bool,
    plan: BusPlan,
    stream: Stream,
    /// Made when the first link is up: everything is due at once then.
    machine: Option<Talk>,
    samples: Vec<Sample>,
    heard: bool,
}

impl Ear {
    async fn listen(&mut self, points: usize) -> Result<()> {
        let end = mono_ms() + LISTEN_MS;
        while self.samples.len() < points && (self.asks || mono_ms() < end) {
            let due = self.machine.as_ref().and_then(Talk::poll_timeout).unwrap_or(u64::MAX);
            let wait = Duration::from_millis(due.saturating_sub(mono_ms()).min(1_000));
            match tokio::time::timeout(wait, self.stream.next()).await {
                Ok(event) => self.hear(event)?,
                Err(_) => {
                    let now = mono_ms();
                    if let Some(machine) = self.machine.as_mut().filter(|_| now >= due) {
                        machine.handle_timeout(now);
                    }
                }
            }
            self.work();
        }
        Ok(())
    }

    fn hear(&mut self, event: StreamEvent) -> Result<()> {
        let now = mono_ms();
        match event {
            StreamEvent::Up(link) => {
                let plan = &self.plan;
                self.machine.get_or_insert_with(|| Talk::new(plan.clone(), now)).handle_up(link, now);
            }
            StreamEvent::Bytes(link, bytes) => {
                self.heard = true;
                bytes
                    .split_inclusive(|byte| *byte == b'\n')
                    .for_each(|line| say!("< {}", line.escape_ascii()));
                if let Some(machine) = &mut self.machine {
                    machine.handle_bytes(link, &bytes, now);
                }
            }
            StreamEvent::Down(_, reason) if self.asks || self.machine.is_none() => {
                bail!("reach the device: {reason}");
            }
            StreamEvent::Down(..) => {}
        }
        Ok(())
    }

    fn work(&mut self) {
        while let Some(command) = self.machine.as_mut().and_then(Talk::poll_command) {
            match command {
                Command::Write(link, bytes) => {
                    say!("> {}", bytes.escape_ascii());
                    self.stream.write(link, bytes);
                }
                // What is acknowledged only when it is kept is not acknowledged here: `run` gets it again.
                Command::Samples { samples: new, .. } => {
                    self.samples.retain(|known| !new.iter().any(|sample| sample.point == known.point));
                    self.samples.extend(new);
                }
                Command::Stranger(who) => say!("somebody else speaks: {who}"),
            }
        }
    }
}

fn show(device: &DevicePlan, samples: &[Sample]) {
    for point in &device.points {
        let Some(meaning) = device.profile.points.get(point.profile_point) else { continue };
        let (name, field) = (meaning.key.as_str(), &meaning.field);
        let Some(Sample { value, quality, .. }) = samples.iter().find(|sample| sample.point == point.point)
        else {
            say!("{name:<24} {:>10} not heard   [{field}]", "–");
            continue;
        };
        let value =
            value.map_or("–".to_owned(), |value| format!("{value:.*}", usize::from(meaning.decimals)));
        let why = quality.cause().map_or(String::new(), |cause| format!(" ({})", cause.word()));
        let (min, max) = (meaning.min, meaning.max);
        say!(
            "{name:<24} {value:>10} {:<8} {}{why}   [{field}] plausible {min} to {max}",
            meaning.unit,
            quality.word()
        );
    }
}
