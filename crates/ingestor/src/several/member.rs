//! The thread of the leases: asks, begins and ends admissions, keeps the list of what is listened to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc as threads};
use std::time::{Duration, Instant};

use anyhow::Result;
use sitian_model::{GatewayId, Slot};
use sitian_mqtt::Qos;
use sitian_registry::Registry;
use sitian_tenure::{Command, Hold, Limits, Tenure};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{ASKS_MAX, Common, Happening, topics};
use crate::admit::{Admission, Ask, Part, now};
use crate::board::Refusal;
use crate::link::Outlet;

/// See the module page.
pub struct Member {
    common: Arc<Common>,
    tenure: Tenure,
    born: Instant,
    happenings: threads::Receiver<Happening>,
    sender: threads::Sender<Happening>,
    questions: threads::Sender<sitian_tenure::Ask>,
    /// Every gateway that was heard of.
    heard: BTreeSet<GatewayId>,
    /// What is listened to, by slot.
    listening: HashMap<Slot, BTreeSet<GatewayId>>,
    /// Admissions whose threads have not ended.
    working: HashSet<Hold>,
    runtime: tokio::runtime::Handle,
}

impl Member {
    /// Starts the thread that puts the questions; the rest is [`Member::run`].
    pub fn new(
        common: Arc<Common>,
        happenings: threads::Receiver<Happening>,
        sender: threads::Sender<Happening>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self> {
        let (questions, asked) = threads::channel::<sitian_tenure::Ask>();
        let (beside, answers) = (common.clone(), sender.clone());
        std::thread::Builder::new().name("leases".into()).spawn(move || {
            for ask in asked {
                let answer = beside.database.ask(&beside.me, beside.lease, &ask);
                let answer = answer.inspect_err(|error| warn!(%error, "leases not renewed")).ok();
                if answers.send(Happening::Answered(ask.number, answer)).is_err() {
                    return;
                }
            }
        })?;
        let limits = Limits::of_lease(common.lease.as_millis() as u64);
        let tenure = Tenure::new(common.me.member.clone(), limits, 0);
        Ok(Self {
            common,
            tenure,
            born: Instant::now(),
            happenings,
            sender,
            questions,
            heard: BTreeSet::new(),
            listening: HashMap::new(),
            working: HashSet::new(),
            runtime,
        })
    }

    fn local(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    /// Until the member has left, and its last admission is over.
    pub fn run(mut self) {
        self.tenure.handle_timeout(self.local());
        loop {
            self.work();
            if self.tenure.is_over() && self.working.is_empty() {
                return info!("left; every slot is free");
            }
            let due = self.tenure.poll_timeout().unwrap_or(u64::MAX);
            let wait = Duration::from_millis(due.saturating_sub(self.local()).clamp(1, 1_000));
            match self.happenings.recv_timeout(wait) {
                Ok(happening) => self.handle(happening),
                Err(threads::RecvTimeoutError::Timeout) => {}
                Err(threads::RecvTimeoutError::Disconnected) => return,
            }
            self.tenure.handle_timeout(self.local());
        }
    }

    fn handle(&mut self, happening: Happening) {
        let local = self.local();
        match happening {
            Happening::Answered(_, Some(answer)) => {
                self.common.routes.shares().hear(&answer);
                self.tenure.handle_answer(answer, local);
                self.forget_troubles();
            }
            Happening::Answered(number, None) => self.tenure.handle_failed(number, local),
            Happening::Restored(hold, gateways) => self.restored(hold, gateways),
            Happening::Ended(hold) => {
                self.working.remove(&hold);
                self.stop(hold);
                self.tenure.handle_ended(hold, local);
            }
            Happening::Heard(gateway) => self.hear(gateway, false),
            Happening::Known(gateway) => self.hear(gateway, true),
            Happening::Leave => self.tenure.handle_leaving(local),
        }
    }

    /// What could not be stored for a slot that is somebody else's now is no trouble of this member.
    fn forget_troubles(&self) {
        let mine: HashSet<Slot> =
            self.tenure.holds().chain(self.working.iter().copied()).map(|hold| hold.slot).collect();
        let mut board = self.common.centre.write_board();
        board.refusing.retain(|part, _| matches!(part, Part::Slot(slot) if mine.contains(slot)));
    }

    fn work(&mut self) {
        while let Some(command) = self.tenure.poll_command() {
            match command {
                Command::Ask(ask) => drop(self.questions.send(ask)),
                Command::Begin(hold) => self.begin(hold),
                Command::End(hold) | Command::Drop(hold) => {
                    info!(slot = %hold.slot, term = hold.term, "slot ends");
                    self.stop(hold);
                    // One that never ran has no thread that could tell.
                    if !self.working.contains(&hold) {
                        self.tenure.handle_ended(hold, self.local());
                    }
                }
            }
        }
    }

    /// Nothing is handed to the admission of this slot any more: it stores what it has, if it may, and ends.
    fn stop(&mut self, hold: Hold) {
        // Another term may run already.
        if self.working.iter().any(|other| other.slot == hold.slot && other.term > hold.term) {
            return;
        }
        self.common.routes.table().remove(&hold.slot);
        let gateways = self.listening.remove(&hold.slot).unwrap_or_default();
        let topics: Vec<String> = gateways.iter().flat_map(topics).collect();
        self.common.listener.leave(topics.iter().map(String::as_str));
    }

    fn begin(&mut self, hold: Hold) {
        // The one before is still storing what it may; the next beat claims the slot again.
        if self.working.iter().any(|other| other.slot == hold.slot) {
            return self.tenure.handle_ended(hold, self.local());
        }
        info!(slot = %hold.slot, term = hold.term, "slot begins");
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        self.common.routes.table().insert(hold.slot, asks);
        let (common, sender, runtime) = (self.common.clone(), self.sender.clone(), self.runtime.clone());
        let work = move || {
            let over = Over(sender.clone(), hold);
            let part = Part::Slot(hold.slot);
            match admission(&common, hold, asked) {
                Ok((admission, gateways)) => {
                    common.centre.write_board().refusing.remove(&part);
                    let _ = sender.send(Happening::Restored(hold, gateways));
                    admission.run(&runtime);
                }
                Err(error) => {
                    error!(slot = %hold.slot, "failed to read a slot back: {error:#}");
                    let (since, why) = (now(), "a part of the gateways could not be read back");
                    common.centre.write_board().refuse(part, Refusal { since, why, needs_rows: false });
                }
            }
            drop(over);
        };
        match std::thread::Builder::new().name(format!("slot-{}", hold.slot)).spawn(work) {
            Ok(_) => drop(self.working.insert(hold)),
            Err(error) => {
                error!(%error, "no thread for a slot");
                self.tenure.handle_ended(hold, self.local());
            }
        }
    }

    /// The admission is ready: its gateways are listened to, and called.
    fn restored(&mut self, hold: Hold, gateways: Vec<GatewayId>) {
        let Some(asks) = self.common.routes.of(hold.slot).filter(|_| self.working.contains(&hold)) else {
            return;
        };
        let heard = self.heard.iter().filter(|gateway| Slot::of(gateway) == hold.slot).cloned();
        let all: BTreeSet<GatewayId> = gateways.into_iter().chain(heard).collect();
        self.listen(&all);
        self.listening.insert(hold.slot, all);
        if self.common.routes.up.load(Ordering::Acquire) {
            // Calls them, after the broker was told.
            let _ = asks.try_send(Ask::Link(true));
        }
    }

    fn listen<'g>(&self, gateways: impl IntoIterator<Item = &'g GatewayId>) {
        let topics = gateways.into_iter().flat_map(topics);
        self.common.listener.listen(topics.map(|topic| (topic, Qos::AtLeastOnce)));
    }

    /// There is such a gateway; `known` if the database knows it.
    fn hear(&mut self, gateway: GatewayId, known: bool) {
        if !self.heard.insert(gateway.clone()) {
            return;
        }
        let slot = Slot::of(&gateway);
        if let Some(listening) = self.listening.get_mut(&slot) {
            if listening.insert(gateway.clone()) {
                self.listen([&gateway]);
            }
        } else if !known {
            self.common.routes.strangers().insert(gateway);
        }
    }
}

/// Says that an admission is over when it is dropped, however its thread ends.
struct Over(threads::Sender<Happening>, Hold);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(Happening::Ended(self.1));
    }
}

/// Reads a slot back; with the gateways that belong to it, heard or expected.
fn admission(common: &Common, hold: Hold, asked: mpsc::Receiver<Ask>) -> Result<(Admission, Vec<GatewayId>)> {
    let keeper = Box::new(common.database.keeper(hold.slot, &common.me.member, hold.term));
    let registry: Arc<dyn Registry> = sitian_registry::Keep::reader(&*keeper);
    let mut elsewhere = common.shared.elsewhere();
    let restored = registry.restored()?;
    elsewhere.learn_all(&restored);
    let mut gateways: Vec<GatewayId> = restored.epochs.into_iter().map(|epoch| epoch.gateway).collect();
    gateways.extend(common.database.gateways()?);
    gateways.extend(common.centre.board().gateways.keys().cloned());
    gateways.retain(|gateway| Slot::of(gateway) == hold.slot);
    let outlet = Outlet::new(common.publisher.clone());
    let part = Part::Slot(hold.slot);
    let (centre, live) = (common.centre.clone(), common.live.clone());
    let kept = (keeper as Box<dyn sitian_registry::Keep>, Some(elsewhere), part);
    let admission =
        Admission::restore(kept, common.rules.clone(), common.grace, centre, outlet, live, asked)?;
    Ok((admission, gateways))
}
