//! The whole: boards, broker, centre, misfortunes on one virtual clock, first with faults, then without.

use std::sync::Arc;

use sitian_ingest::{Form, Quarantined};
use sitian_model::{GatewayId, Held};
use sitian_profile::Profile;
use sitian_wire::topic::Topic;

use crate::board::{Board, Wires};
use crate::centre::Centre;
use crate::dice::Dice;
use crate::disk::CardDisk;
use crate::ether::{Ether, Event, Heal};
use crate::mutant::Mutant;
use crate::plant::{self, Plant};
use crate::sight::Sight;
use crate::swarm::Swarm;
use crate::truth::Label;

/// Messages remembered by the broker for replays.
const PAST_MAX: usize = 200;
/// Two rounds of probes and more: until here nothing is held back any more.
const SETTLE_MS: u64 = 40_000;
/// With nothing new and no faults everything must be stored by then.
const DRAIN_MS: u64 = 600_000;

/// L2: without faults a reading is stored this soon.
const FRESH_MS: u64 = 5_000;

/// One simulated world. See the crate's page.
pub struct World {
    pub(crate) ether: Ether,
    pub(crate) boards: Vec<Board>,
    pub(crate) centre: Centre,
    pub(crate) profile: Arc<Profile>,
    pub(crate) image: Option<(usize, CardDisk, u64)>,
}

impl World {
    /// The world of this seed.
    pub fn new(seed: u64, mutant: Mutant) -> Self {
        let mut dice = Dice::new(seed);
        let swarm = Swarm::draw(&mut dice);
        let (gateways, group_bytes) = (swarm.gateways, swarm.group_bytes);
        let mut ether = Ether::new(dice, swarm, mutant);
        ether.oracle.alarms_are_true = ether.swarm.shuffle == 0
            && ether.swarm.keep_behind_ms > 500_000
            && ether.swarm.spool_bytes > 2 << 20;
        let profile = Arc::new(plant::profile());
        let mut boards = Vec::new();
        for number in 0..gateways {
            let Some(plant) = Plant::draw(&format!("gw-{number}"), &mut ether.dice) else { continue };
            let card = CardDisk::blank(mutant);
            boards.push(Board::new(number, Arc::new(plant), profile.clone(), card, &mut ether));
        }
        Self { ether, boards, centre: Centre::new(group_bytes), profile, image: None }
    }

    /// Safety phase, then liveness phase. Ends early once something is wrong.
    pub fn run(&mut self) {
        self.centre.start(&mut self.ether);
        for board in 0..self.boards.len() {
            self.boards[board].power_up(&mut self.ether);
            self.boards[board].start(&mut self.ether);
        }
        self.ether.after(1_000, Event::Misfortune);
        self.run_until(self.ether.swarm.safety_ms);
        self.heal_all();
        self.run_until(self.ether.now + SETTLE_MS);
        self.drain();
        if self.ether.oracle.violations.is_empty() {
            // What is trimmed before it was listed as sealed alarms without a loss.
            self.ether.oracle.alarms_are_true &= self.ether.seen.count(Sight::Trimmed) == 0;
            let until = self.ether.now.saturating_sub(FRESH_MS);
            self.ether.oracle.judge_all(&self.centre.book, until);
            self.judge_quarantine();
            self.centre.judge_alerts(&mut self.ether);
        }
    }

    /// What is wrong, if anything.
    pub fn violations(&self) -> &[String] {
        &self.ether.oracle.violations
    }

    /// The shared part, for those who look at a run.
    pub fn ether(&self) -> &Ether {
        &self.ether
    }

    /// The centre, for those who look at a run.
    pub fn centre(&self) -> &Centre {
        &self.centre
    }

    fn run_until(&mut self, end: u64) {
        while self.ether.oracle.violations.is_empty()
            && let Some(event) = self.ether.next(end)
        {
            self.handle(event);
        }
    }

    /// L1, L4, L7: everything accepted is stored, without endless re-sending.
    fn drain(&mut self) {
        let end = self.ether.now + DRAIN_MS;
        let rows_before = self.records_stored();
        let sent_before = self.ether.sent;
        while self.ether.oracle.violations.is_empty()
            && self.ether.now < end
            && self.backlog() + self.unsettled() > 0
        {
            self.run_until(self.ether.now + 5_000);
        }
        if !self.ether.oracle.violations.is_empty() {
            return;
        }
        let backlog = self.backlog();
        if backlog > 0 {
            let held: Vec<_> =
                self.boards.iter().filter_map(|b| b.process.as_ref()).map(|p| p.spooler.held()).collect();
            self.ether
                .oracle
                .violate(format!("L1: {backlog} records not stored after {DRAIN_MS} ms: {held:?}"));
        }
        let (progress, sent) = (self.records_stored() - rows_before, self.ether.sent - sent_before);
        if sent > 4 * progress + 2_000 {
            self.ether.oracle.violate(format!("L4: {sent} records sent for {progress} stored"));
        }
        self.judge_sealed();
    }

    /// L7: every epoch on a card is complete, but for the live ones whose newest records are on their way.
    fn judge_sealed(&mut self) {
        let unsettled = self.unsettled();
        if unsettled > 0 {
            self.ether.oracle.violate(format!("L7: {unsettled} sealed epochs are not complete"));
        }
    }

    /// I7: after the upgrade no record is left in quarantine, but of epochs whose manifest the card gave back no more.
    fn judge_quarantine(&mut self) {
        let book = &self.centre.book;
        let named = |entry: &&Quarantined| {
            let no = entry.range.and_then(|(epoch, ..)| book.number(&entry.gateway, epoch));
            no.and_then(|no| book.epochs.get(&no)).is_some_and(|epoch| !epoch.points.is_empty())
        };
        let left = book.kept.values().filter(|entry| entry.form == Form::Record).filter(named);
        let left: Vec<_> = left.map(|entry| (entry.range, entry.reason.clone())).collect();
        if !left.is_empty() {
            self.ether.oracle.violate(format!("I7: still in quarantine after the upgrade: {left:?}"));
        }
    }

    /// Sealed epochs that are not wholly committed.
    fn unsettled(&self) -> u64 {
        let mut unsettled = 0;
        for board in &self.boards {
            let Some(process) = &board.process else { continue };
            let live = process.spooler.live();
            let complete = |held: &Held| {
                held.epoch == live || self.centre.book.committed(&board.plant.gateway, held.epoch) >= held.end
            };
            unsettled += process.spooler.held().iter().filter(|held| !complete(held)).count() as u64;
        }
        unsettled
    }

    fn records_stored(&self) -> u64 {
        self.centre.book.epochs.values().map(|epoch| epoch.state.committed).sum()
    }

    /// Records that the gateways do not know to be stored, but for what was just accepted.
    fn backlog(&self) -> u64 {
        let mut backlog = 0;
        for board in &self.boards {
            let Some(process) = &board.process else { continue };
            let live = process.spooler.live();
            for held in process.spooler.held() {
                let missing = held.end.saturating_sub(held.acked);
                let on_its_way = if held.epoch == live { 20 } else { 0 };
                backlog += missing.saturating_sub(on_its_way);
            }
        }
        backlog
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Misfortune => self.misfortune(),
            Event::Heal { board, what } => self.heal(board, what),
            Event::BoardUp { board } => self.board_up(board),
            Event::CentreUp { centre } => {
                if centre == self.centre.life && !self.centre.is_up() {
                    self.centre.start(&mut self.ether);
                }
            }
            Event::BrokerUp => self.ether.broker.up = true,
            Event::ToBroker { broker, board, topic, payload } if broker == self.ether.broker.life => {
                self.confirm(board, &payload);
                self.pass_on(topic, payload);
            }
            Event::ToCentre { broker, centre, topic, payload } => {
                if broker == self.ether.broker.life && centre == self.centre.life {
                    self.centre.receive(topic, payload, &mut self.ether);
                }
            }
            Event::FromCentre { broker, gateway, payload } if broker == self.ether.broker.life => {
                self.pass_back(&gateway, &payload);
            }
            Event::Settle { centre } if centre == self.centre.life => {
                let boards = &self.boards;
                let served = |label: Label| {
                    let line = boards.get(label.board as usize)?.lines.get(label.bus as usize)?;
                    line.served.get(label.device as usize)?.get(label.poll as usize).copied()
                };
                self.centre.settle(&served, &mut self.ether);
            }
            Event::ToBroker { .. } | Event::FromCentre { .. } | Event::Settle { .. } => {}
            event => self.handle_board(event),
        }
    }

    /// Events of one board; afterwards its loop turns.
    fn handle_board(&mut self, event: Event) {
        let ether = &mut self.ether;
        let number = match &event {
            Event::Chunk { board, .. }
            | Event::Deadline { board, .. }
            | Event::BusWake { board, .. }
            | Event::SpoolDone { board, .. }
            | Event::Wake { board, .. }
            | Event::Connect { board, .. }
            | Event::LinkLost { board, .. }
            | Event::ToBoard { board, .. } => *board,
            _ => return,
        };
        let board = &mut self.boards[number];
        let wires = (board.plant.clone(), board.cut_up, board.cut_down);
        let wired = Wires { board: number, plant: &wires.0, cut_up: wires.1 };
        match event {
            Event::Chunk { bus, bytes, .. } => match &mut board.process {
                Some(process) => {
                    let (Some(bus), line) = (process.bus(bus), &mut board.lines[bus]) else { return };
                    bus.handle_bytes(&bytes, line, ether);
                }
                // Nobody has the port open.
                None => return,
            },
            Event::Deadline { life, bus, attempt, .. } => {
                let Some((process, _)) = board.running(life) else { return };
                if let Some(bus) = process.bus(bus) {
                    bus.handle_deadline(attempt, ether);
                }
            }
            Event::BusWake { life, bus, .. } => {
                let Some((process, _)) = board.running(life) else { return };
                if let Some(bus) = process.bus(bus) {
                    bus.handle_wake(ether);
                }
            }
            Event::SpoolDone { life, .. } => {
                let Some((process, _)) = board.running(life) else { return };
                process.handle_spool_done(&wired, ether);
            }
            Event::Connect { life, .. } => {
                let Some((process, _)) = board.running(life) else { return };
                if process.session.is_none() {
                    if ether.broker.up && !wires.1 && !wires.2 {
                        process.handle_up(ether);
                    } else {
                        let after = ether.dice.between(300, 3_000);
                        ether.after(after, Event::Connect { board: number, life });
                    }
                }
            }
            Event::LinkLost { life, session, .. } => {
                let Some((process, _)) = board.running(life) else { return };
                if process.session == Some(session) && (wires.1 || wires.2) {
                    process.handle_down(ether);
                    ether.after(500, Event::Connect { board: number, life });
                }
            }
            Event::ToBoard { life, session, payload, .. } => {
                let Some((process, _)) = board.running(life) else { return };
                if process.session == Some(session) {
                    process.handle_ack(&payload, ether);
                }
            }
            _ => {}
        }
        board.turn(ether);
    }

    /// Lets the broker's PUBACK release something, where a mutant believes in it.
    fn confirm(&mut self, board: usize, payload: &[u8]) {
        if self.ether.mutant != Mutant::TrimOnPuback {
            return;
        }
        let Ok(batch) = sitian_wire::decode_batch(payload) else { return };
        let board = &mut self.boards[board];
        let plant = board.plant.clone();
        let wires = Wires { board: board.number, plant: &plant, cut_up: board.cut_up };
        if let Some(process) = &mut board.process {
            process.handle_puback(&wires, batch.epoch, batch.end(), &mut self.ether);
        }
    }

    /// From the broker to the centre, which has a clean session: what it does not hear is gone.
    pub(crate) fn pass_on(&mut self, topic: Topic, mut payload: Vec<u8>) {
        let ether = &mut self.ether;
        let (broker, centre) = (ether.broker.life, self.centre.life);
        if !self.centre.is_up() {
            return;
        }
        if ether.bad_luck(ether.swarm.drop) {
            return ether.saw(Sight::BrokerDropped);
        }
        if ether.broker.past.len() == PAST_MAX {
            ether.broker.past.pop_front();
        }
        ether.broker.past.push_back((topic.clone(), payload.clone()));
        if ether.bad_luck(ether.swarm.mangle) {
            let at = ether.dice.below(payload.len() as u64) as usize;
            payload[at] ^= 1 << ether.dice.below(8);
        }
        if ether.bad_luck(ether.swarm.double) {
            ether.saw(Sight::BrokerDoubled);
            let after = ether.dice.between(1, 3_000);
            let (topic, payload) = (topic.clone(), payload.clone());
            ether.after(after, Event::ToCentre { broker, centre, topic, payload });
        }
        let mut due = (ether.now + ether.dice.between(1, 5)).max(ether.broker.centre_until);
        if ether.bad_luck(ether.swarm.shuffle) {
            ether.saw(Sight::BrokerShuffled);
            due += ether.dice.between(10, 4_000);
        } else {
            ether.broker.centre_until = due;
        }
        ether.at(due, Event::ToCentre { broker, centre, topic, payload });
    }

    /// From the broker to every gateway of this id that is connected, QoS 0.
    fn pass_back(&mut self, gateway: &GatewayId, payload: &[u8]) {
        let ether = &mut self.ether;
        for board in self.boards.iter().filter(|board| board.plant.gateway == *gateway && !board.cut_down) {
            let Some(session) = board.process.as_ref().and_then(|process| process.session) else { continue };
            if ether.bad_luck(ether.swarm.drop) {
                ether.saw(Sight::BrokerDropped);
                continue;
            }
            let times = 1 + u64::from(ether.bad_luck(ether.swarm.double));
            for _ in 0..times {
                let late =
                    if ether.bad_luck(ether.swarm.shuffle) { ether.dice.between(10, 3_000) } else { 0 };
                let after = ether.latency() + late;
                let (number, life, payload) = (board.number, board.life, payload.to_vec());
                ether.after(after, Event::ToBoard { board: number, life, session, payload });
            }
        }
    }

    fn board_up(&mut self, number: usize) {
        let ether = &mut self.ether;
        let board = &mut self.boards[number];
        if board.process.is_none() && !board.retired {
            board.start(ether);
        }
    }

    fn heal(&mut self, number: usize, what: Heal) {
        let board = &mut self.boards[number];
        match what {
            Heal::Disk => {
                let disk = match &mut board.process {
                    Some(process) => process.spooler.disk_mut(),
                    None => &mut board.card,
                };
                disk.faults = Default::default();
            }
            Heal::Link => (board.cut_up, board.cut_down) = (false, false),
        }
    }

    /// Faults are over: everything that was down comes back.
    fn heal_all(&mut self) {
        self.ether.faults = false;
        self.ether.note("faults end", 0, 0, 0);
        self.ether.broker.up = true;
        self.centre.fail_next = 0;
        self.centre.crash_next = false;
        // The centre is upgraded: what it did not understand, it reads again.
        self.centre.upgraded = true;
        self.centre.kill();
        self.centre.start(&mut self.ether);
        for number in 0..self.boards.len() {
            self.heal(number, Heal::Disk);
            self.heal(number, Heal::Link);
            let board = &mut self.boards[number];
            board.lines.iter_mut().for_each(|line| line.dead_until.fill(0));
            if board.process.is_none() && !board.retired {
                board.start(&mut self.ether);
            }
        }
    }
}
