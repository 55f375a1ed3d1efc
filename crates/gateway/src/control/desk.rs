//! The shell of [`Control`]: its journal, its door, the buses, and the time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use sitian_poll::{Failure, Sample, WriteDone, WriteOrder};
use sitian_wire::{CommandMessage, Outputs};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::door;
use super::journal::Journal;
use super::{Command, Control, Order, Outcome, Output, State};

/// Orders from the door that wait for the desk.
const ORDERS_MAX: usize = 16;

/// The centre is told of outputs at most this often.
const LOOK_MS: u64 = 1_000;

/// What woke the desk.
pub enum Event {
    /// The oldest entry is durable, or is not.
    Kept(bool),
    /// Somebody at the door wants something, and waits for the outcome.
    Ordered(Order, oneshot::Sender<Outcome>),
}

/// Executes what [`Control`] decides.
pub struct Desk {
    control: Control,
    journal: Journal,
    orders: mpsc::Receiver<(Order, oneshot::Sender<Outcome>)>,
    buses: Vec<mpsc::Sender<WriteOrder>>,
    waiting: BTreeMap<String, Vec<oneshot::Sender<Outcome>>>,
    /// What the centre knows of the outputs, and when to look for something new; `None` without a link.
    told: Option<Vec<sitian_wire::Output>>,
    look_ms: Option<u64>,
}

impl Desk {
    /// Reads the journal in `folder`, opens the door there and begins.
    pub fn open(
        folder: &Path,
        outputs: Vec<Output>,
        buses: Vec<mpsc::Sender<WriteOrder>>,
        now: u64,
        wall_ms: i64,
    ) -> Result<Self> {
        let (journal, found) = Journal::open(folder)?;
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(door::serve(folder.to_owned(), sender));
        let control = Control::new(outputs, found.entries, found.whole, now, wall_ms);
        Ok(Self { control, journal, orders, buses, waiting: BTreeMap::new(), told: None, look_ms: None })
    }

    /// Waits for something. May be dropped half-way.
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            Some(kept) = self.journal.kept.recv() => Event::Kept(kept),
            Some((order, reply)) = self.orders.recv() => Event::Ordered(order, reply),
            else => std::future::pending().await,
        }
    }

    /// When [`Desk::work`] has to be called, at the latest.
    pub fn due_ms(&self) -> Option<u64> {
        let look_ms = self.look_ms.filter(|_| self.control.has_outputs());
        self.control.poll_timeout().into_iter().chain(look_ms).min()
    }

    /// What [`Desk::next`] returned.
    pub fn handle(&mut self, event: Event, now: u64, wall_ms: i64) {
        match event {
            Event::Kept(true) => self.control.handle_kept(now),
            Event::Kept(false) => self.control.handle_unkept(wall_ms),
            Event::Ordered(order, reply) => {
                self.waiting.entry(order.id.clone()).or_default().push(reply);
                self.control.handle_order(order, now, wall_ms);
            }
        }
    }

    /// The centre wants something, or has stored a result.
    pub fn handle_message(&mut self, message: CommandMessage, now: u64, wall_ms: i64) {
        match message {
            CommandMessage::Confirm(id) => self.control.handle_confirmed(&id),
            CommandMessage::Write(write) => {
                let order = Order::from_centre(write);
                let Order { id, device, point, value, by, .. } = &order;
                info!(id, device, point, value, by, "command from the centre");
                self.control.handle_order(order, now, wall_ms);
            }
        }
    }

    /// What keeps these outputs from taking the place of the present ones: one that is away from its safe value, and that
    /// would be gone or under other rules.
    pub fn in_the_way(&self, outputs: &[Output]) -> Option<String> {
        let stays = |output: &Output| outputs.iter().any(|other| other.is_like(output));
        self.control.away().find(|output| !stays(output)).map(Output::name)
    }

    /// No order is under way.
    pub fn is_quiet(&self) -> bool {
        self.control.is_quiet()
    }

    /// Lets go of the buses that came to their end, so that these see it.
    pub fn let_go(&mut self, ends: impl Fn(&mpsc::Sender<WriteOrder>) -> bool) {
        self.buses.iter_mut().filter(|bus| ends(bus)).for_each(|bus| *bus = mpsc::channel(1).0);
    }

    /// Other outputs from now on, on other buses.
    pub fn renew(&mut self, outputs: Vec<Output>, buses: Vec<mpsc::Sender<WriteOrder>>) {
        self.control.handle_outputs(outputs);
        self.buses = buses;
    }

    /// Samples of any bus.
    pub fn handle_samples(&mut self, samples: &[Sample], now: u64) {
        samples.iter().for_each(|sample| self.control.handle_sample(sample, now));
    }

    /// The link to the centre is up or down.
    pub fn handle_link(&mut self, up: bool, now: u64) {
        self.control.handle_link(up, now);
        self.told = None;
        self.look_ms = up.then_some(now);
    }

    /// How the outputs stand, if the centre does not know it yet.
    pub fn news(&mut self, now: u64, wall_ms: i64) -> Option<Outputs> {
        if self.look_ms.is_none_or(|due| now < due) {
            return None;
        }
        self.look_ms = Some(now + LOOK_MS);
        let outputs = self.control.outputs(now);
        if self.told.as_ref() == Some(&outputs) {
            return None;
        }
        self.told = Some(outputs.clone());
        let by_the_wall = |mut output: sitian_wire::Output| {
            output.until_ms = output.until_ms.map(|until| wall_ms + until - now as i64);
            output
        };
        Some(Outputs { at_ms: wall_ms, outputs: outputs.into_iter().map(by_the_wall).collect() })
    }

    /// The centre was not told after all.
    pub fn not_told(&mut self) {
        self.told = None;
    }

    /// A bus has done what it could.
    pub fn handle_written(&mut self, done: WriteDone, now: u64, wall_ms: i64) {
        self.control.handle_written(done, now, wall_ms);
    }

    /// Does what is decided; returns what the centre is to be told.
    pub fn work(&mut self, now: u64, wall_ms: i64) -> Vec<Outcome> {
        if self.control.poll_timeout().is_some_and(|due| due <= now) {
            self.control.handle_timeout(now);
        }
        let mut news = Vec::new();
        while let Some(command) = self.control.poll_command() {
            match command {
                Command::Keep(entry) => {
                    if !self.journal.keep(entry) {
                        error!("the journal of commands is stuck; commands are not executed");
                    }
                }
                Command::Write(bus, order) => {
                    let ticket = order.ticket;
                    let sent = self.buses.get(bus).map(|bus| bus.try_send(order));
                    if !matches!(sent, Some(Ok(()))) {
                        let full = matches!(sent, Some(Err(TrySendError::Full(_))));
                        let why =
                            if full { "too many writes wait for this bus" } else { "its bus is ending" };
                        let written = Err(Failure::Unreachable(why.to_owned()));
                        self.control.handle_written(
                            WriteDone { ticket, written, read_back: None },
                            now,
                            wall_ms,
                        );
                    }
                }
                Command::Tell(outcome) => {
                    tell(&outcome);
                    for reply in self.waiting.remove(&outcome.order.id).into_iter().flatten() {
                        // Who has gone away can ask again with the same id.
                        let _ = reply.send(outcome.clone());
                    }
                    news.push(outcome);
                }
            }
        }
        news
    }
}

fn tell(outcome: &Outcome) {
    let Outcome { order: Order { id, device, point, value, by, .. }, state, detail, .. } = outcome;
    if *state == State::Failed {
        warn!(id, device, point, value, by, detail, "command failed");
    } else {
        info!(id, device, point, value, by, ?state, detail, "command ended");
    }
}
