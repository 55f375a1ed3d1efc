//! A new configuration for a running gateway: SIGHUP makes it read and judge its files.
//!
//! ```text
//!  SIGHUP ─► read, judge (a thread) ─► faulty: told, nothing changes
//!                 │
//!                 └► good, kept as the last good one ─► no output under other rules is away from its safe value
//!                        ─► buses that change have come to their end ─► one step: new epoch, new numbers, new buses
//! ```
//!
//! What holds: buses that do not change never wait; what was polled under the old configuration is in an epoch with the old
//! manifest; the last step happens whole, between two rounds of the loop.

use sitian_settings::{Faults, Loaded};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::buses::Buses;
use crate::configuration::Configuration;
use crate::control::desk::Desk;
use crate::plan::Plan;
use crate::run::Gateway;
use crate::settings::{Settings, Source};

/// While something has to be waited for, it is looked at again after so long.
const AGAIN_MS: u64 = 200;
/// Sections that only a start reads.
const AT_START: [&str; 5] = ["gateway.", "spool.", "mqtt.", "uplink.", "log."];

type Judged = Result<Configuration, Faults>;

/// What woke [`Reload::next`].
pub enum Event {
    /// Somebody says that the files have changed.
    Asked,
    /// They have been judged.
    Judged(Box<Judged>),
}

/// Takes up new configurations.
pub struct Reload {
    source: Source,
    started: Loaded<Settings>,
    asked: Signal,
    tell: mpsc::Sender<Box<Judged>>,
    judged: mpsc::Receiver<Box<Judged>>,
    judging: bool,
    again: bool,
    waiting: Option<Plan>,
    /// It was told that something is in the way.
    told: bool,
    /// Buses are coming to their end: there is no way back.
    ending: bool,
}

impl Reload {
    /// Listens for SIGHUP. `started` is what this process was started with.
    pub fn new(source: Source, started: Loaded<Settings>) -> std::io::Result<Self> {
        let asked = signal(SignalKind::hangup())?;
        let (tell, judged) = mpsc::channel(1);
        Ok(Self {
            source,
            started,
            asked,
            tell,
            judged,
            judging: false,
            again: false,
            waiting: None,
            told: false,
            ending: false,
        })
    }

    /// Waits for something. May be dropped half-way.
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            Some(()) = self.asked.recv() => Event::Asked,
            Some(judged) = self.judged.recv() => Event::Judged(judged),
            else => std::future::pending().await,
        }
    }

    /// When [`Reload::work`] has to be called, at the latest.
    pub fn due_ms(&self, now: u64) -> Option<u64> {
        self.waiting.is_some().then_some(now + AGAIN_MS)
    }

    /// What [`Reload::next`] returned.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Asked if self.judging || self.ending => self.again = true,
            Event::Asked => self.judge(),
            Event::Judged(judged) => {
                match *judged {
                    Ok(configuration) => {
                        self.tell_what_waits_for_a_start(&configuration.loaded);
                        (self.waiting, self.told) = (Some(configuration.plan), false);
                    }
                    Err(faults) => tell_faults(&faults, "the present one stays in force"),
                }
                self.judging = false;
                self.judge_again();
            }
        }
    }

    fn judge_again(&mut self) {
        if std::mem::take(&mut self.again) {
            self.judge();
        }
    }

    /// Card and parser may take their time: on a thread of its own.
    fn judge(&mut self) {
        self.judging = true;
        let (source, tell) = (self.source.clone(), self.tell.clone());
        drop(tokio::task::spawn_blocking(move || {
            let judged = Configuration::read(&source);
            if let Ok(configuration) = &judged {
                configuration.keep(&source);
            }
            // If nobody listens any more, the program is ending.
            let _ = tell.blocking_send(Box::new(judged));
        }));
    }

    fn tell_what_waits_for_a_start(&self, new: &Loaded<Settings>) {
        for key in at_next_start(&self.started, new) {
            warn!(key, "this setting takes effect at the next start");
        }
    }

    /// Takes up what waits, as far as it can be done now.
    pub fn work(&mut self, gateway: &mut Gateway, buses: &mut Buses, desk: &mut Desk) {
        let Some(plan) = &self.waiting else { return };
        if self.judging {
            return;
        }
        if !self.ending
            && let Some(output) = desk.in_the_way(&plan.outputs)
        {
            if !std::mem::replace(&mut self.told, true) {
                warn!(
                    output,
                    "the new configuration waits: it changes an output that is away from its safe value; \
                     write the safe value, or wait until its time is over"
                );
            }
            return;
        }
        self.ending = true;
        for ended in buses.end_others(&plan.buses, &plan.talking) {
            desk.let_go(|orders| orders.same_channel(&ended));
        }
        if !(buses.are_settled() && desk.is_quiet() && gateway.has_room()) {
            return;
        }
        let Some(plan) = self.waiting.take() else { return };
        let manifest = gateway.renew(plan.manifest, &plan.buses);
        let wanted = plan.buses.clone();
        buses.go_on(plan.buses, plan.talking, &manifest);
        desk.renew(plan.outputs, buses.orders(&wanted));
        info!(points = manifest.points.len(), "the configuration is taken up");
        self.ending = false;
        self.judge_again();
    }
}

/// Every fault at its place, and what follows.
pub fn tell_faults(faults: &Faults, so: &str) {
    for fault in &faults.0 {
        error!("{fault}");
    }
    warn!("the configuration is faulty, {so}; correct it, try it with `sitian-gateway check`, and reload");
}

/// Keys that differ and that only a start reads.
fn at_next_start(started: &Loaded<Settings>, new: &Loaded<Settings>) -> Vec<String> {
    let values = |loaded: &Loaded<Settings>| {
        let fixed = |key: &str| AT_START.iter().any(|section| key.starts_with(section));
        let values = loaded.effective().into_iter().filter(|value| fixed(&value.key));
        values.map(|value| (value.key, value.value)).collect::<std::collections::BTreeMap<_, _>>()
    };
    let (before, after) = (values(started), values(new));
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}
