//! One task per bus: executes what the poller asks for and passes its samples on. Two buses share nothing.
//! Writes go in ahead of the polls, and what came of them goes out with the samples.

use std::time::Duration;

use anyhow::{Context, Result};
use sitian_fieldbus::Bus;
use sitian_model::{DeviceId, Timestamp};
use sitian_poll::{Ask, Command, Failure, Poller, Sample, WriteDone, WriteOrder};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
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
    /// When it was read, if the device itself says so.
    pub at: Option<Timestamp>,
    /// Told when the samples are durable.
    pub kept: Option<oneshot::Sender<()>>,
}

/// What comes from a bus.
pub enum FromField {
    /// Samples of some points.
    Round(Round),
    /// A write has come to its end.
    Written(WriteDone),
    /// The bus was hung up on; nothing more comes from it.
    Ended,
}

/// Where a bus puts what comes from it, under its own number.
#[derive(Debug, Clone)]
pub struct Outlet(mpsc::Sender<(u64, FromField)>, u64);

impl Outlet {
    /// Of the bus with this number.
    pub fn of(field: mpsc::Sender<(u64, FromField)>, bus: u64) -> Self {
        Self(field, bus)
    }

    /// The number of the bus.
    pub fn bus(&self) -> u64 {
        self.1
    }

    /// Waits for room. False: nobody listens any more.
    pub async fn put(&self, news: FromField) -> bool {
        self.0.send((self.1, news)).await.is_ok()
    }
}

/// How often a bus tells how much of its time it was in use.
const AIRTIME_EVERY_MS: u64 = 60_000;
/// Above this share of its time there is no room for a dead device.
const AIRTIME_SHARE_MAX: f64 = 0.9;

/// Polls a bus until it is hung up on (its orders come to their end), or nobody listens. When `field` is full the bus
/// waits: readings are never dropped here. What happens is shown on the board.
pub async fn poll(
    planned: PlannedBus,
    mut orders: mpsc::Receiver<WriteOrder>,
    field: Outlet,
    board: Board,
) -> Result<()> {
    let PlannedBus { name, settings, plan, devices, .. } = planned;
    let mut bus = Bus::open(&name, settings).with_context(|| format!("open bus {name}"))?;
    // A late reply to a process before this one must not answer what this one asks.
    tokio::time::sleep(Duration::from_millis(plan.settle_ms())).await;
    let mut poller = Poller::new(plan, mono_ms());
    let mut airtime = Airtime { since_ms: mono_ms(), busy_ms: 0 };
    let mut silent = vec![false; devices.len()];
    loop {
        let hung_up = loop {
            match orders.try_recv() {
                Ok(order) => take_order(&mut poller, order, &field).await,
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        let (ask, device) = match poller.poll_command() {
            Some(Command::Send(..) | Command::Write(..)) | None if hung_up => return Ok(()),
            Some(Command::Send(request, device)) => (Ask::Read(request), device),
            Some(Command::Write(request, device)) => (Ask::Write(request), device),
            Some(Command::Samples(samples)) => {
                board.sampled(field.bus(), &samples, mono_ms());
                let round = Round { mono_ms: mono_ms(), samples, at: None, kept: None };
                if !field.put(FromField::Round(round)).await {
                    return Ok(());
                }
                continue;
            }
            Some(Command::Written(done)) => {
                if !field.put(FromField::Written(done)).await {
                    return Ok(());
                }
                continue;
            }
            None => {
                airtime.tell(&name, &poller);
                let wait_ms = poller.poll_timeout().map_or(1_000, |at| at.saturating_sub(mono_ms()));
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
                    order = orders.recv() => match order {
                        Some(order) => take_order(&mut poller, order, &field).await,
                        None => continue,
                    },
                }
                poller.handle_timeout(mono_ms());
                continue;
            }
        };
        let asked = mono_ms();
        let result = bus.execute(ask).await;
        let now = mono_ms();
        let trouble = result.as_ref().err().map(ToString::to_string);
        bus.take_foreign().into_iter().for_each(|unit| poller.handle_foreign(unit, now));
        if let Err(failure) = &result {
            debug!(bus = name, device = %devices[device], %failure, "no answer");
        }
        tell_change(&name, &devices[device], result.as_ref().err(), &mut silent[device]);
        poller.handle_answer(result, now);
        if let Some(stats) = poller.stats().nth(device) {
            board.asked((field.bus(), device), stats, trouble, now - asked, now);
        }
    }
}

async fn take_order(poller: &mut Poller, order: WriteOrder, field: &Outlet) {
    if let Err(order) = poller.handle_write(order, mono_ms()) {
        let written = Err(Failure::Unreachable("too many writes wait for this bus".to_owned()));
        let done = WriteDone { ticket: order.ticket, written, read_back: None };
        // If nobody listens any more, the program is ending.
        let _ = field.put(FromField::Written(done)).await;
    }
}

/// How much of its time the bus was in use, as told now and then.
struct Airtime {
    since_ms: u64,
    busy_ms: u64,
}

impl Airtime {
    fn tell(&mut self, bus: &str, poller: &Poller) {
        let (now, busy_ms) = (mono_ms(), poller.busy_ms());
        let elapsed_ms = now.saturating_sub(self.since_ms);
        if elapsed_ms < AIRTIME_EVERY_MS {
            return;
        }
        let share = (busy_ms - self.busy_ms) as f64 / elapsed_ms as f64;
        let overruns: u64 = poller.stats().map(|stats| stats.overruns).sum();
        let percent = (share * 100.0).round();
        if share > AIRTIME_SHARE_MAX {
            warn!(bus, percent, overruns, "airtime: the bus has no room for a device that does not answer");
        } else {
            debug!(bus, percent, overruns, "airtime");
        }
        *self = Self { since_ms: now, busy_ms };
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
