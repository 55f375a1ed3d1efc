//! One task per bus: executes what the poller asks for and passes its samples on. Two buses share nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use sitian_fieldbus::Bus;
use sitian_model::DeviceId;
use sitian_poll::{Command, Failure, Poller, Sample};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::board::Board;
use crate::clock::mono_ms;
use crate::plan::PlannedBus;

/// Samples that arrived at one moment.
pub struct Round {
    /// Monotonic milliseconds since power-on.
    pub mono_ms: u64,
    /// What was read, or why not.
    pub samples: Vec<Sample>,
}

/// Polls a bus for ever. When `rounds` is full the bus waits: readings are never dropped here. Ends when nobody listens.
/// What happens is shown at its place on the board.
pub async fn poll(
    planned: PlannedBus,
    rounds: mpsc::Sender<Round>,
    (board, place): (Board, usize),
) -> Result<()> {
    let PlannedBus { name, settings, plan, devices } = planned;
    let mut bus = Bus::open(&name, settings).with_context(|| format!("open bus {name}"))?;
    // A late reply to a process before this one must not answer what this one asks.
    tokio::time::sleep(Duration::from_millis(plan.settle_ms())).await;
    let mut poller = Poller::new(plan, mono_ms());
    let mut silent = vec![false; devices.len()];
    loop {
        match poller.poll_command() {
            Some(Command::Send(request, device)) => {
                let asked = mono_ms();
                let result = bus.execute(request).await;
                let now = mono_ms();
                let trouble = result.as_ref().err().map(ToString::to_string);
                bus.take_foreign().into_iter().for_each(|unit| poller.handle_foreign(unit, now));
                if let Err(failure) = &result {
                    debug!(bus = name, device = %devices[device], address = request.address, %failure, "no reading");
                }
                tell_change(&name, &devices[device], result.as_ref().err(), &mut silent[device]);
                poller.handle_answer(result, now);
                if let Some(stats) = poller.stats().nth(device) {
                    board.asked((place, device), stats, trouble, now - asked, now);
                }
            }
            Some(Command::Samples(samples)) => {
                board.sampled(place, &samples, mono_ms());
                if rounds.send(Round { mono_ms: mono_ms(), samples }).await.is_err() {
                    return Ok(());
                }
            }
            None => {
                let now = mono_ms();
                let wait_ms = poller.poll_timeout().map_or(1_000, |at| at.saturating_sub(now));
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                poller.handle_timeout(mono_ms());
            }
        }
    }
}

/// Logs that a device fell silent or came back, once each.
fn tell_change(bus: &str, device: &DeviceId, failure: Option<&Failure>, silent: &mut bool) {
    match failure {
        Some(failure) if !*silent && !matches!(failure, Failure::Exception(_)) => {
            warn!(bus, %device, "device does not answer: {failure}");
            *silent = true;
        }
        None if *silent => {
            info!(bus, %device, "device answers again");
            *silent = false;
        }
        _ => {}
    }
}
