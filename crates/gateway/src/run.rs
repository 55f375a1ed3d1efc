//! `sitian-gateway run`: the walk of a reading on the edge, written down. One task per bus, one thread for the spool, one
//! loop that hands values from stage to stage.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sitian_model::{Epoch, GatewayId, Manifest};
use sitian_mqtt::{Event, Link, LinkSettings, Publisher, Qos, Will};
use sitian_telemetry::{BUILD, Format};
use sitian_uplink::{Command, Limits, Uplink};
use sitian_wire::topic::Topic;
use sitian_wire::{Outputs, State};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::board::Board;
use crate::buses::Buses;
use crate::clock::{BoardClock, mono_ms};
use crate::configuration::Configuration;
use crate::control::Outcome;
use crate::control::desk::Desk;
use crate::field::{FromField, Round};
use crate::gather::{self, Gather, Gathered};
use crate::heritage::{Guests, Names};
use crate::plan::{Plan, PlannedBus};
use crate::reload::{self, Reload};
use crate::settings::Source;
use crate::spooler::{Ask, OUTSTANDING_MAX, Spooler, Told};
use crate::totals::{self, Totals};
use crate::watch;

const PATIENCE: Duration = Duration::from_secs(2);
const CLOCK_CHECK_MS: u64 = 10_000;

/// Runs until SIGINT or SIGTERM. Faulty files do not prevent a start if there were good ones before.
pub fn run(source: &Source) -> Result<()> {
    let (configuration, faults) = match Configuration::read(source) {
        Ok(configuration) => (configuration, None),
        Err(faults) => match Configuration::last_good(source) {
            Some(configuration) => (configuration, Some(faults)),
            None => return Err(faults.into()),
        },
    };
    let log = &configuration.loaded.value.log;
    let format = Format::parse(&log.format).unwrap_or(Format::Text);
    sitian_telemetry::init(&log.level, format).context("set up logging")?;
    match faults {
        Some(faults) => reload::tell_faults(&faults, "this process works by the last good one"),
        None => configuration.keep(source),
    }
    crate::show::calibrations(&configuration.loaded.value).for_each(|line| info!("{line}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(walk(configuration, source))
}

async fn walk(configuration: Configuration, source: &Source) -> Result<()> {
    let Configuration { loaded, plan, .. } = configuration;
    let mut reload = Reload::new(source.clone(), loaded).context("listen for signals")?;
    let Plan { manifest, names, link, spool_folder, spool_limits, uplink_limits, buses, talking, outputs } =
        plan;
    info!(version = %BUILD, gateway = %manifest.gateway, points = manifest.points.len(), "sitian-gateway starts");
    let totals = Totals::open(&spool_folder, &buses, &manifest);
    let board = Board::new(&buses, &talking, &manifest);
    let spool = (spool_folder.as_path(), spool_limits);
    let mut gateway = Gateway::start(manifest, &names, link, spool, uplink_limits, totals)?;
    tokio::spawn(watch::socket::serve(spool_folder.clone(), board.clone()));
    let wanted = buses.clone();
    let (mut buses, mut rounds) = Buses::start(buses, talking, &board);
    let orders = buses.orders(&wanted);
    let (now, wall_ms) = gateway.now();
    let mut desk = Desk::open(&spool_folder, outputs, orders, now, wall_ms)?;
    let mut end = signal(SignalKind::terminate()).context("listen for signals")?;
    loop {
        let due = desk.due_ms().into_iter().chain(reload.due_ms(mono_ms()));
        let due = due.fold(gateway.next_timer_ms(), u64::min);
        let wake = Duration::from_millis(due.saturating_sub(mono_ms()));
        tokio::select! {
            biased;
            _ = end.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            told = gateway.spooler.told.recv() => match told {
                Some(told) => gateway.handle_told(told),
                // Readings would be dropped from here on: the service manager starts a new process.
                None => bail!("go on: the spool's thread ended, see the log"),
            },
            Some(event) = gateway.events.recv() => gateway.handle_event(event, &mut desk),
            Some((bus, news)) = rounds.recv(), if gateway.has_room() => {
                gateway.handle_field(bus, news, &mut buses, &mut desk);
            }
            event = desk.next() => {
                let (now, wall_ms) = gateway.now();
                desk.handle(event, now, wall_ms);
            }
            event = reload.next() => reload.handle(event),
            error = buses.failed() => return Err(error),
            () = tokio::time::sleep(wake) => {}
        }
        gateway.handle_timers();
        gateway.work();
        let (now, wall_ms) = gateway.now();
        desk.work(now, wall_ms).iter().for_each(|outcome| gateway.tell(outcome));
        if let Some(outputs) = desk.news(now, wall_ms)
            && !gateway.show(&outputs)
        {
            desk.not_told();
        }
        reload.work(&mut gateway, &mut buses, &mut desk);
    }
    info!("ending");
    gateway.end().await;
    Ok(())
}

/// What lies between the buses and the link.
pub struct Gateway {
    id: GatewayId,
    manifest: Manifest,
    clock: BoardClock,
    clock_check_ms: u64,
    totals: Totals,
    gather: Gather,
    spooler: Spooler,
    guests: Arc<Guests>,
    outstanding: usize,
    uplink: Uplink,
    asked_ms: Option<u64>,
    link: Link,
    publisher: Publisher,
    events: mpsc::Receiver<Event>,
    state: State,
}

impl Gateway {
    fn start(
        manifest: Manifest,
        names: &Names,
        mut settings: LinkSettings,
        (folder, spool_limits): (&std::path::Path, sitian_spool::Limits),
        uplink_limits: Limits,
        totals: Totals,
    ) -> Result<Self> {
        let clock = BoardClock::new();
        let id = manifest.gateway.clone();
        let since_ms = clock.wall(mono_ms()).0;
        let state = State { online: true, since_ms, software: manifest.software.clone(), boot: clock.boot() };
        let offline = sitian_wire::encode_state(&State { online: false, ..state.clone() });
        settings.will =
            Some(Will { topic: Topic::State(id.clone()).to_string(), payload: offline.into(), retain: true });
        let present = manifest.clone();
        let encode = move |epoch: &Epoch| sitian_wire::encode_manifest(epoch, &manifest);
        let spooler = Spooler::start(folder, spool_limits, names, encode)?;
        let ack_of = |name: &GatewayId| (Topic::Ack(name.clone()).to_string(), Qos::AtMostOnce);
        settings.subscriptions =
            vec![ack_of(&id), (Topic::Command(id.clone()).to_string(), Qos::AtLeastOnce)];
        let former: BTreeSet<&GatewayId> = spooler.guests.values().collect();
        settings.subscriptions.extend(former.into_iter().map(ack_of));
        let (link, events) = Link::start(settings);
        let publisher = link.publisher();
        let uplink = Uplink::new(uplink_limits, clock.boot() ^ since_ms as u64);
        let mut gateway = Self {
            id,
            manifest: present,
            clock,
            clock_check_ms: 0,
            totals,
            gather: Gather::default(),
            spooler,
            guests: Arc::default(),
            outstanding: 0,
            uplink,
            asked_ms: None,
            link,
            publisher,
            events,
            state,
        };
        // The answer tells what the spool holds from before.
        gateway.ask(Ask::Accept(Vec::new(), None));
        Ok(gateway)
    }

    fn next_timer_ms(&self) -> u64 {
        let due = [self.gather.due_ms(), self.uplink.poll_timeout(), Some(self.clock_check_ms)];
        due.into_iter().flatten().min().unwrap_or(self.clock_check_ms)
    }

    fn handle_timers(&mut self) {
        let now = mono_ms();
        if self.gather.due_ms().is_some_and(|due| due <= now) {
            let sealed = self.gather.seal();
            self.accept(sealed, None);
        }
        if self.uplink.poll_timeout().is_some_and(|due| due <= now) {
            self.uplink.handle_timeout(now);
        }
        if now >= self.clock_check_ms {
            self.clock_check_ms = now + CLOCK_CHECK_MS;
            self.clock.check_time_server();
            self.uplink.handle_clocks(self.clock.known().into_iter().collect());
        }
    }

    /// Monotonic and wall time.
    fn now(&self) -> (u64, i64) {
        let now = mono_ms();
        (now, self.clock.wall(now).0)
    }

    fn handle_field(&mut self, bus: u64, news: FromField, buses: &mut Buses, desk: &mut Desk) {
        let (now, wall_ms) = self.now();
        match news {
            FromField::Round(mut round) => {
                buses.translate(bus, &mut round.samples);
                desk.handle_samples(&round.samples, now);
                self.handle_round(round);
            }
            FromField::Written(done) => desk.handle_written(done, now, wall_ms),
            FromField::Ended => buses.handle_ended(bus),
        }
    }

    /// Samples → readings → record.
    fn handle_round(&mut self, mut round: Round) {
        if self.totals.handle_samples(&mut round.samples)
            && let Some(kept) = self.totals.to_keep()
        {
            // A card may take half a second for it: on a thread of its own.
            drop(tokio::task::spawn_blocking(move || totals::keep(kept)));
        }
        for sample in &round.samples {
            let sealed = self.gather.add(sample, round.mono_ms, round.at);
            self.accept(sealed, None);
        }
        if round.kept.is_some() {
            // Somebody waits until it is durable.
            let sealed = self.gather.seal();
            self.accept(sealed, round.kept);
        }
    }

    /// Record → bytes → spool.
    fn accept(&mut self, sealed: Option<Gathered>, kept: Option<oneshot::Sender<()>>) {
        let Some(gathered) = sealed else { return };
        let record = gather::record(&self.clock, &gathered);
        let span = gather::span(&self.clock, &record);
        self.ask(Ask::Accept(vec![(sitian_wire::encode_record(&record), span)], kept));
    }

    /// The spool's thread takes more.
    pub fn has_room(&self) -> bool {
        self.outstanding < OUTSTANDING_MAX
    }

    /// From here on samples are numbered by this manifest, under this gateway's id. What came before keeps the old one:
    /// the epoch ends with it.
    pub fn renew(&mut self, manifest: Manifest, buses: &[PlannedBus]) -> Manifest {
        let manifest = Manifest { gateway: self.id.clone(), ..manifest };
        if manifest != self.manifest {
            let sealed = self.gather.seal();
            self.accept(sealed, None);
            self.ask(Ask::Renew(manifest.clone()));
            self.manifest = manifest.clone();
        }
        self.totals.renew(buses, &manifest);
        manifest
    }

    fn ask(&mut self, ask: Ask) {
        match self.spooler.asks.try_send(ask) {
            Ok(()) => self.outstanding += 1,
            Err(_) => error!("the spool's thread is gone or overwhelmed"),
        }
    }

    fn handle_told(&mut self, told: Told) {
        self.outstanding -= 1;
        let now = mono_ms();
        match told {
            Told::Spool { held, guests, live, state } => {
                if guests != self.guests {
                    self.uplink.handle_guests(guests.keys().copied().collect());
                    self.guests = guests;
                }
                self.uplink.handle_spool(&held, live, state, now);
            }
            Told::Read(Ok(read)) => self.uplink.handle_read(read, now),
            Told::Read(Err(epoch)) => self.uplink.handle_read_failed(epoch, now),
            Told::Manifest(epoch, Some(manifest)) => {
                self.publish(&Topic::Manifest(self.name_of(epoch).clone()), manifest, epoch)
            }
            Told::Manifest(epoch, None) => warn!(%epoch, "no manifest of this epoch is left"),
        }
    }

    fn handle_event(&mut self, event: Event, desk: &mut Desk) {
        let now = mono_ms();
        match event {
            Event::Up { .. } => {
                info!("link to the broker is up");
                let topic = Topic::State(self.id.clone()).to_string();
                let state = sitian_wire::encode_state(&self.state);
                if let Err(error) = self.publisher.try_publish(&topic, Qos::AtLeastOnce, true, state) {
                    debug!(%error, "state not published");
                }
                self.asked_ms = Some(now);
                self.uplink.handle_link_up(now);
                desk.handle_link(true, now);
            }
            Event::Down { reason } => {
                warn!(reason, "link to the broker is down; readings wait in the spool");
                self.uplink.handle_link_down(now);
                desk.handle_link(false, now);
            }
            Event::Message { topic, payload, .. } if topic == Topic::Command(self.id.clone()).to_string() => {
                match sitian_wire::decode_command(&payload) {
                    Ok(message) => desk.handle_message(message, now, self.clock.wall(now).0),
                    Err(error) => warn!(topic, %error, "command not understood"),
                }
            }
            Event::Message { topic, payload, .. } => match sitian_wire::decode_ack(&payload) {
                Ok(ack) => {
                    debug!(epoch = %ack.epoch, committed = ack.committed, action = ?ack.action, "ack");
                    let round_trip_ms = self.asked_ms.take().map_or(1_000, |asked| now - asked);
                    if self.clock.hear_centre(ack.server_ms, u32::try_from(round_trip_ms).unwrap_or(u32::MAX))
                    {
                        info!(uncertainty_ms = self.clock.uncertainty_ms(), "clock confirmed by the centre");
                        self.uplink.handle_clocks(self.clock.known().into_iter().collect());
                    }
                    self.uplink.handle_ack(&ack, now);
                }
                Err(error) => warn!(topic, %error, "ack not understood"),
            },
        }
    }

    /// Does what the uplink decided.
    fn work(&mut self) {
        // What does not fit waits in the uplink until the spool has answered.
        while self.outstanding < OUTSTANDING_MAX
            && let Some(command) = self.uplink.poll_command()
        {
            match command {
                Command::PublishManifest(epoch) => self.ask(Ask::Manifest(epoch)),
                Command::ReadSpool { epoch, from, bytes_max } => {
                    self.ask(Ask::Read { epoch, from, bytes_max })
                }
                Command::Publish(batch) => {
                    self.asked_ms.get_or_insert_with(mono_ms);
                    let bytes = sitian_wire::encode_batch(&batch);
                    self.publish(&Topic::Up(self.name_of(batch.epoch).clone()), bytes, batch.epoch);
                }
                Command::Release { epoch, committed } => self.ask(Ask::Release { epoch, committed }),
                Command::SealEpoch => self.ask(Ask::Seal),
                Command::Relabel(epoch) => self.ask(Ask::Relabel(epoch)),
                Command::Reconnect => self.link.reconnect(),
            }
        }
    }

    /// Under which name an epoch's readings were taken.
    fn name_of(&self, epoch: Epoch) -> &GatewayId {
        self.guests.get(&epoch).unwrap_or(&self.id)
    }

    /// What came of a command goes to the centre, again and again until it says that it has it.
    fn tell(&self, outcome: &Outcome) {
        let topic = Topic::Result(self.id.clone()).to_string();
        let bytes = sitian_wire::encode_result(&outcome.to_wire());
        if let Err(error) = self.publisher.try_publish(&topic, Qos::AtLeastOnce, false, bytes) {
            debug!(topic, %error, "result not published, sent again later");
        }
    }

    /// How the outputs stand; false: it did not leave.
    fn show(&self, outputs: &Outputs) -> bool {
        let topic = Topic::Outputs(self.id.clone()).to_string();
        let bytes = sitian_wire::encode_outputs(outputs);
        self.publisher.try_publish(&topic, Qos::AtLeastOnce, true, bytes).is_ok()
    }

    /// Hands bytes to MQTT. A full queue is no loss: what is not acknowledged is sent again.
    fn publish(&self, topic: &Topic, bytes: Vec<u8>, epoch: Epoch) {
        if let Err(error) = self.publisher.try_publish(&topic.to_string(), Qos::AtLeastOnce, false, bytes) {
            debug!(%topic, %epoch, %error, "not published, sent again later");
        }
    }

    /// Accepts what was gathered, says goodbye.
    async fn end(mut self) {
        let sealed = self.gather.seal();
        self.accept(sealed, None);
        let offline = sitian_wire::encode_state(&State { online: false, ..self.state.clone() });
        let topic = Topic::State(self.id.clone()).to_string();
        if self.publisher.try_publish(&topic, Qos::AtLeastOnce, true, offline).is_ok() {
            self.link.close(PATIENCE).await;
        }
        self.spooler.end();
        if let Some(kept) = self.totals.to_keep() {
            totals::keep(kept);
        }
    }
}
