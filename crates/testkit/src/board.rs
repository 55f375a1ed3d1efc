//! One board: power, card, wires, and the process on it, which is a faithful copy of the gateway's loop
//! (`crates/gateway/src/run.rs`) without its runtime.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sitian_model::{Held, Timestamp};
use sitian_profile::Profile;
use sitian_uplink::{Command, Limits, Uplink};
use sitian_wire::topic::Topic;

use crate::clock::BoardClock;
use crate::disk::CardDisk;
use crate::ether::{Ether, Event};
use crate::fieldbus::{Bus, Round, lines};
use crate::gather::{self, Gather, Gathered};
use crate::line::Line;
use crate::mutant::Mutant;
use crate::oracle::WALL_ZERO_MS;
use crate::plant::Plant;
use crate::sight::Sight;
use crate::spooler::{Ask, OUTSTANDING_MAX, Spooler, Told};

const CLOCK_CHECK_MS: u64 = 10_000;

/// A board with what lives longer than its processes.
pub struct Board {
    /// Its number; boards are never removed.
    pub number: usize,
    /// Its field and gateway id.
    pub plant: Arc<Plant>,
    profile: Arc<Profile>,
    /// The serial lines with their devices.
    pub lines: Vec<Line>,
    /// The card while no process has it open.
    pub card: CardDisk,
    /// The program, while it runs.
    pub process: Option<Process>,
    /// Counts processes: an event for another one is stale.
    pub life: u64,
    /// Virtual moment of power-on.
    pub power_on: u64,
    boot: u64,
    system_zero_ms: i64,
    synchronized: bool,
    /// Bytes to the broker vanish.
    pub cut_up: bool,
    /// Bytes from the broker vanish.
    pub cut_down: bool,
    /// Since when syncs lie.
    pub lying_since: Option<u64>,
    /// Syncs had lied when the power was cut, and no process has looked at the card since.
    pub lied: bool,
    /// Taken out of service.
    pub retired: bool,
    /// The epoch kept by [`Mutant::EpochKeptOnTheCard`].
    kept_epoch: sitian_model::Epoch,
    /// What the last process knew to be on the card.
    before: BTreeMap<sitian_model::Epoch, Held>,
    /// The next process continues this epoch: the copy of a running machine.
    pub forked_epoch: Option<sitian_model::Epoch>,
}

/// What runs on a board.
pub struct Process {
    life: u64,
    clock: BoardClock,
    clock_check_ms: u64,
    gather: Gather,
    /// The spool and its queue.
    pub spooler: Spooler,
    rounds: VecDeque<Round>,
    uplink: Uplink,
    asked_ms: Option<u64>,
    /// The connection, if there is one.
    pub session: Option<u64>,
    sessions: u64,
    sent_until: u64,
    buses: Vec<Bus>,
    woken_at: Option<u64>,
}

/// Sizes and times of a world's uplinks: small, so that everything happens soon.
pub(crate) fn uplink_limits() -> Limits {
    Limits {
        batch_bytes_max: 3_000,
        window_bytes: 6_000,
        window_bytes_max: 24_000,
        resend_ms: 3_000,
        resend_ms_max: 15_000,
        probe_ms: 10_000,
        seal_after_ms: 15_000,
        stall_ms: 9_000,
        held_max: 400,
    }
}

impl Board {
    /// A board without power.
    pub fn new(
        number: usize,
        plant: Arc<Plant>,
        profile: Arc<Profile>,
        card: CardDisk,
        ether: &mut Ether,
    ) -> Self {
        ether.oracle.add_board(&plant.gateway);
        Self {
            number,
            lines: lines(number, &plant.buses),
            plant,
            profile,
            card,
            process: None,
            life: 0,
            power_on: 0,
            boot: 0,
            system_zero_ms: 0,
            synchronized: false,
            cut_up: false,
            cut_down: false,
            lying_since: None,
            lied: false,
            retired: false,
            kept_epoch: ether.dice.epoch(),
            before: BTreeMap::new(),
            forked_epoch: None,
        }
    }

    /// Power comes back: another boot, and the wall clock shows something.
    pub fn power_up(&mut self, ether: &mut Ether) {
        self.power_on = ether.now;
        self.boot = ether.dice.number();
        self.synchronized = !ether.swarm.no_clock.eq(&0) && ether.dice.one_in(ether.swarm.no_clock);
        let right = WALL_ZERO_MS + ether.now as i64;
        self.system_zero_ms = match ether.dice.below(4) {
            _ if self.synchronized => right + ether.dice.below(160) as i64 - 80,
            0 => right + ether.dice.below(4_000) as i64 - 2_000,
            1 => right + ether.dice.below(7_200_000) as i64 - 3_600_000,
            2 => right - 86_400_000,
            _ => {
                ether.saw(Sight::Boot1970);
                ether.dice.below(100_000) as i64
            }
        };
    }

    /// The program starts on whatever the card holds.
    pub fn start(&mut self, ether: &mut Ether) {
        if self.process.is_some() || self.retired {
            return;
        }
        self.life += 1;
        let (number, life, zero, now) = (self.number, self.life, self.power_on, ether.now);
        ether.note("start", number, life, 0);
        let mono_ms = ether.now - zero;
        let clock = BoardClock::new(self.boot, self.system_zero_ms, self.synchronized, mono_ms);
        let epoch = match self.forked_epoch.take() {
            Some(epoch) => epoch,
            None if ether.mutant == Mutant::EpochKeptOnTheCard => self.kept_epoch,
            None => ether.dice.epoch(),
        };
        let card = std::mem::take(&mut self.card);
        let mut spooler = Spooler::start(number, card, self.plant.manifest(), epoch, ether);
        spooler.compare(std::mem::take(&mut self.before), std::mem::take(&mut self.lied), ether);
        let hold_off = ether.mutant != Mutant::NoHoldOff;
        let bus = |bus: usize| {
            let plan = self.plant.plan(bus, &self.profile, hold_off);
            Bus::new(number, life, bus, plan, zero, now)
        };
        let buses = (0..self.plant.buses.len()).map(bus).collect();
        let seed = ether.dice.number();
        let mut process = Process {
            life,
            clock,
            clock_check_ms: 0,
            gather: Gather::default(),
            spooler,
            rounds: VecDeque::new(),
            uplink: Uplink::new(uplink_limits(), seed),
            asked_ms: None,
            session: None,
            sessions: 0,
            sent_until: 0,
            buses,
            woken_at: None,
        };
        process.ask(number, Ask::Accept(Vec::new()), ether);
        self.process = Some(process);
        let after = ether.dice.between(20, 500);
        ether.after(after, Event::Connect { board: number, life });
        self.turn(ether);
    }

    /// Seals what was gathered, due or not.
    pub fn seal_now(&mut self, ether: &mut Ether) {
        let Some(process) = &mut self.process else { return };
        let wires = Wires { board: self.number, plant: &self.plant, cut_up: self.cut_up };
        let sealed = process.gather.seal();
        process.accept(&wires, sealed, ether);
    }

    /// Takes the process away, with its card in the state the operating system sees.
    pub fn stop(&mut self) -> bool {
        let Some(process) = self.process.take() else { return false };
        (self.card, self.before) = process.spooler.end();
        true
    }

    /// One turn of the loop after an event: rounds, timers, commands, and when to be woken next.
    pub fn turn(&mut self, ether: &mut Ether) {
        let Self { process: Some(process), lines, number, plant, cut_up, .. } = self else { return };
        let wires = Wires { board: *number, plant, cut_up: *cut_up };
        for (bus, line) in process.buses.iter_mut().zip(lines) {
            process.rounds.extend(bus.work(line, ether));
        }
        while process.spooler.asks.len() < OUTSTANDING_MAX
            && let Some(round) = process.rounds.pop_front()
        {
            process.handle_round(&wires, &round, ether);
        }
        process.handle_timers(&wires, ether);
        process.work(&wires, ether);
        process.arm(&wires, ether);
    }

    /// The process of this life, with the lines it is wired to.
    pub fn running(&mut self, life: u64) -> Option<(&mut Process, &mut Vec<Line>)> {
        let process = self.process.as_mut().filter(|p| p.life == life)?;
        Some((process, &mut self.lines))
    }

    /// A time server is heard, or somebody sets the wall clock.
    pub fn set_wall(&mut self, system_zero_ms: i64, synchronized: bool) {
        (self.system_zero_ms, self.synchronized) = (system_zero_ms, self.synchronized || synchronized);
        if let Some(process) = &mut self.process {
            process.clock.system_zero_ms = system_zero_ms;
            process.clock.synchronized = self.synchronized;
        }
    }

    /// What the wall clock shows at monotonic zero, and whether a time server vouches for it.
    pub fn wall(&self) -> (i64, bool) {
        (self.system_zero_ms, self.synchronized)
    }
}

/// What a process needs of its board.
pub struct Wires<'a> {
    /// Which board.
    pub board: usize,
    /// Its plant.
    pub plant: &'a Plant,
    /// Bytes to the broker vanish.
    pub cut_up: bool,
}

impl Process {
    fn ask(&mut self, board: usize, ask: Ask, ether: &mut Ether) {
        self.spooler.asks.push_back(ask);
        if self.spooler.asks.len() == 1 {
            self.serve(board, ether);
        }
        if self.spooler.asks.len() > 2 * OUTSTANDING_MAX {
            ether.oracle.violate("S12: the spool's thread is overwhelmed");
        }
    }

    fn serve(&self, board: usize, ether: &mut Ether) {
        let ms = match self.spooler.asks.front() {
            Some(Ask::Accept(_)) if ether.bad_luck(ether.swarm.slow_sync) => 500,
            Some(Ask::Accept(_)) => ether.dice.between(1, 20),
            Some(_) => ether.dice.below(3),
            None => return,
        };
        ether.after(ms, Event::SpoolDone { board, life: self.life });
    }

    /// The spool's thread has worked off its front ask.
    pub fn handle_spool_done(&mut self, wires: &Wires<'_>, ether: &mut Ether) {
        let Some(ask) = self.spooler.asks.pop_front() else { return };
        let told = self.spooler.answer(ask, ether);
        if !self.spooler.asks.is_empty() {
            self.serve(wires.board, ether);
        }
        let now = self.mono(ether);
        match told {
            Told::Spool { held, live, state } => self.uplink.handle_spool(&held, live, state, now),
            Told::Read(Ok(read)) => self.uplink.handle_read(read, now),
            Told::Read(Err(epoch)) => self.uplink.handle_read_failed(epoch, now),
            Told::Manifest(epoch, Some(manifest)) => {
                ether.note("manifest", wires.board, epoch.0[0].into(), manifest.len() as u64);
                self.publish(wires, Topic::Manifest(wires.plant.gateway.clone()), manifest, ether);
            }
            Told::Manifest(_, None) => {}
        }
    }

    fn mono(&self, ether: &Ether) -> u64 {
        ether.now - self.buses.first().map_or(0, |bus| bus.zero)
    }

    /// Samples → readings → record.
    fn handle_round(&mut self, wires: &Wires<'_>, round: &Round, ether: &mut Ether) {
        for sample in &round.samples {
            let sealed = self.gather.add(sample, round.mono_ms, None);
            self.accept(wires, sealed, ether);
        }
    }

    /// Record → bytes → spool.
    fn accept(&mut self, wires: &Wires<'_>, sealed: Option<Gathered>, ether: &mut Ether) {
        let Some(gathered) = sealed else { return };
        let record = gather::record(&self.clock, &gathered);
        let span = gather::span(&self.clock, &record);
        let mut bytes = sitian_wire::encode_record(&record);
        let spoilt = ether.bad_luck(ether.swarm.spoil);
        if spoilt {
            bytes = [crate::centre::SPOILT, bytes.as_slice()].concat();
        }
        ether.oracle.write(wires.board, record, &bytes, spoilt);
        self.ask(wires.board, Ask::Accept(vec![(bytes, span)]), ether);
    }

    fn handle_timers(&mut self, wires: &Wires<'_>, ether: &mut Ether) {
        let now = self.mono(ether);
        if self.gather.due_ms().is_some_and(|due| due <= now) {
            let sealed = self.gather.seal();
            self.accept(wires, sealed, ether);
        }
        if self.uplink.poll_timeout().is_some_and(|due| due <= now) {
            self.uplink.handle_timeout(now);
        }
        if now >= self.clock_check_ms {
            self.clock_check_ms = now + CLOCK_CHECK_MS;
            self.clock.check_time_server(now);
            self.tell_clock(ether);
        }
    }

    fn tell_clock(&mut self, ether: &mut Ether) {
        if let Some(clock) = self.clock.known() {
            ether.oracle.claim(clock.boot, clock.uncertainty_ms);
        }
        self.uplink.handle_clocks(self.clock.known().into_iter().collect());
    }

    /// The link is up.
    pub fn handle_up(&mut self, ether: &mut Ether) {
        self.sessions += 1;
        self.session = Some(self.sessions);
        self.sent_until = 0;
        self.asked_ms = None;
        self.uplink.handle_link_up(self.mono(ether));
    }

    /// The link is down.
    pub fn handle_down(&mut self, ether: &Ether) {
        self.session = None;
        self.uplink.handle_link_down(self.mono(ether));
    }

    /// An ack came.
    pub fn handle_ack(&mut self, payload: &[u8], ether: &mut Ether) {
        let Ok(ack) = sitian_wire::decode_ack(payload) else { return };
        let now = self.mono(ether);
        let round_trip_ms = self.asked_ms.take().map_or(1_000, |asked| now - asked);
        let round_trip_ms = u32::try_from(round_trip_ms).unwrap_or(u32::MAX);
        if self.clock.hear_centre(ack.server_ms, round_trip_ms, now) {
            ether.saw(Sight::ClockHeard);
            self.tell_clock(ether);
        }
        self.uplink.handle_ack(&ack, now);
    }

    /// Does what the uplink decided.
    fn work(&mut self, wires: &Wires<'_>, ether: &mut Ether) {
        while let Some(command) = self.uplink.poll_command() {
            match command {
                Command::PublishManifest(epoch) => self.ask(wires.board, Ask::Manifest(epoch), ether),
                Command::ReadSpool { epoch, from, bytes_max } => {
                    self.ask(wires.board, Ask::Read { epoch, from, bytes_max }, ether);
                }
                Command::Publish(batch) => {
                    self.asked_ms.get_or_insert(ether.now - wires_zero(&self.buses));
                    let bytes = sitian_wire::encode_batch(&batch);
                    ether.note("publish", wires.board, batch.epoch.0[0].into(), batch.first);
                    ether.sent += batch.end() - batch.first;
                    if bytes.len() > sitian_wire::WIRE_BYTES_MAX {
                        ether.oracle.violate(format!("S12: a batch of {} bytes", bytes.len()));
                    }
                    self.publish(wires, Topic::Up(wires.plant.gateway.clone()), bytes, ether);
                }
                Command::Release { epoch, committed } => {
                    self.ask(wires.board, Ask::Release { epoch, committed }, ether);
                }
                Command::SealEpoch => self.ask(wires.board, Ask::Seal, ether),
                Command::Relabel(epoch) => self.ask(wires.board, Ask::Relabel(epoch), ether),
                Command::Reconnect => {
                    ether.saw(Sight::Stalled);
                    self.handle_down(ether);
                    let after = ether.dice.between(100, 1_000);
                    ether.after(after, Event::Connect { board: wires.board, life: self.life });
                }
            }
        }
    }

    /// Hands bytes to the broker, in order.
    fn publish(&mut self, wires: &Wires<'_>, topic: Topic, payload: Vec<u8>, ether: &mut Ether) {
        if self.session.is_none() || wires.cut_up {
            return;
        }
        let due = (ether.now + ether.latency()).max(self.sent_until);
        self.sent_until = due;
        let broker = ether.broker.life;
        ether.at(due, Event::ToBroker { broker, board: wires.board, topic, payload });
    }

    /// For [`Mutant::TrimOnPuback`]: the broker has confirmed a batch.
    pub fn handle_puback(
        &mut self,
        wires: &Wires<'_>,
        epoch: sitian_model::Epoch,
        end: u64,
        ether: &mut Ether,
    ) {
        self.ask(wires.board, Ask::Release { epoch, committed: end }, ether);
    }

    /// Asks to be woken.
    fn arm(&mut self, wires: &Wires<'_>, ether: &mut Ether) {
        let due = [self.gather.due_ms(), self.uplink.poll_timeout(), Some(self.clock_check_ms)];
        let Some(due) = due.into_iter().flatten().min() else { return };
        let at = (due + wires_zero(&self.buses)).max(ether.now + 1);
        if self.woken_at.is_none_or(|armed| armed > at || armed <= ether.now) {
            self.woken_at = Some(at);
            ether.at(at, Event::Wake { board: wires.board, life: self.life });
        }
    }

    /// The bus of this number.
    pub fn bus(&mut self, number: usize) -> Option<&mut Bus> {
        self.buses.get_mut(number)
    }

    /// What the gateway believes of time, for the curious.
    pub fn time(&self, ether: &Ether) -> Timestamp {
        self.clock.wall(self.mono(ether))
    }
}

fn wires_zero(buses: &[Bus]) -> u64 {
    buses.first().map_or(0, |bus| bus.zero)
}
