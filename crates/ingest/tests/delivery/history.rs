//! Long random histories: lossy, shuffling, doubling links, crashes of the server between any two steps, failed
//! transactions, restored backups, evictions, poison. An oracle knows what every gateway ever accepted.

use std::collections::BTreeMap;

use fastrand::Rng;
use sitian_ingest::*;
use sitian_model::*;

use crate::bench::*;

/// One epoch as its gateway knows it: everything it ever accepted, and what of it is evicted.
struct Written {
    epoch: Epoch,
    payloads: Vec<Vec<u8>>,
    evicted: u64,
    acked: u64,
}

struct Sender {
    id: GatewayId,
    epochs: Vec<Written>,
}

impl Sender {
    fn restart(&mut self) {
        let epoch = epoch(self.epochs.len() as u8 + 1);
        self.epochs.push(Written { epoch, payloads: vec![], evicted: 0, acked: 0 });
    }

    fn accept(&mut self, rng: &mut Rng) {
        let at = self.epochs.len() - 1;
        let written = &mut self.epochs[at];
        let kind = if rng.u8(..100) == 0 { flavour::UNDECODABLE } else { flavour::GOOD };
        written.payloads.push(payload(written.payloads.len() as u64, at as u8 + 1, kind));
    }

    fn batch(&self, at: usize, rng: &mut Rng) -> Batch {
        let held = |w: &Written| Held {
            epoch: w.epoch,
            oldest: w.evicted,
            end: w.payloads.len() as u64,
            acked: w.acked,
        };
        let written = &self.epochs[at];
        let end = written.payloads.len() as u64;
        let first = rng.u64(written.acked.saturating_sub(3)..=end.min(written.acked + 8));
        let until = rng.u64(first..=end.min(first + 12));
        let mut entries = Vec::new();
        let mut seq = first;
        if seq < written.evicted && until > seq {
            let last = written.evicted - 1;
            entries.push(Entry::Gap(Gap { first, last, reason: GapReason::Evicted, span: None }));
            seq = written.evicted;
        }
        entries.extend((seq..until.max(seq)).map(|n| Entry::Record(written.payloads[n as usize].clone())));
        Batch {
            epoch: written.epoch,
            first,
            entries,
            chain: chain(&written.payloads[..first as usize]),
            acked: written.acked,
            oldest: written.evicted,
            held: self.epochs.iter().map(held).collect(),
            clocks: vec![],
            lane: if at + 1 == self.epochs.len() { Lane::Live } else { Lane::Backfill },
            spool: SpoolState::default(),
        }
    }

    fn handle_ack(&mut self, ack: &Ack) {
        let Some(written) = self.epochs.iter_mut().find(|w| w.epoch == ack.epoch) else { return };
        assert!(ack.committed <= written.payloads.len() as u64, "acknowledged what was never written");
        assert_ne!(ack.action, Action::Fork, "there is one writer only");
        written.acked = match ack.action {
            Action::Rewind => ack.committed,
            _ => written.acked.max(ack.committed),
        };
    }
}

enum Message {
    Manifest(usize, Epoch),
    Batch(usize, Box<Batch>),
    Poison(usize, Epoch, u64, u64),
    Ack(usize, Ack),
}

struct World {
    rng: Rng,
    senders: Vec<Sender>,
    link: Vec<Message>,
    ingest: Ingest,
    store: Store,
    backup: Store,
    /// How often each hard state was reached.
    reached: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let senders = ["gw-a", "gw-b"].map(|name| Sender { id: gateway(name), epochs: vec![] });
        let mut world = Self {
            rng: Rng::with_seed(seed),
            senders: senders.into(),
            link: vec![],
            ingest: Ingest::new(Limits::default()),
            store: Store::default(),
            backup: Store::default(),
            reached: BTreeMap::new(),
        };
        world.senders.iter_mut().for_each(Sender::restart);
        world
    }

    fn reach(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    fn send(&mut self, s: usize) {
        let at = self.rng.usize(..self.senders[s].epochs.len());
        let batch = self.senders[s].batch(at, &mut self.rng);
        let poisoned = self.rng.u8(..50) == 0 && batch.end() > batch.first;
        let message = match poisoned {
            true => Message::Poison(s, batch.epoch, batch.first, batch.end()),
            false => Message::Batch(s, Box::new(batch)),
        };
        self.link.push(message);
    }

    /// Delivers a random message; it may stay on the link to come again.
    fn deliver(&mut self, faults: bool) {
        if self.link.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.link.len());
        let (lost, again) = (faults && self.rng.u8(..10) == 0, faults && self.rng.u8(..5) == 0);
        let message = self.link.swap_remove(at);
        if lost {
            return;
        }
        match &message {
            Message::Manifest(s, epoch) => {
                let id = &self.senders[*s].id;
                self.ingest.handle_manifest(id, *epoch, manifest(id), NOW);
            }
            Message::Batch(s, batch) => {
                self.ingest.handle_batch(&self.senders[*s].id, batch, b"raw", &decode, NOW);
            }
            Message::Poison(s, epoch, first, end) => {
                let declared = Some((*epoch, *first, *end));
                self.ingest.handle_poison(&self.senders[*s].id, b"junk", "why", declared, NOW);
            }
            Message::Ack(s, ack) => {
                self.senders[*s].handle_ack(ack);
                let (s, epoch) = (*s, ack.epoch);
                if ack.action == Action::Manifest {
                    self.link.push(Message::Manifest(s, epoch));
                }
            }
        }
        // An ack comes twice only before anything was forgotten, as a real link forgets acks long before a restore.
        if again && !matches!(message, Message::Ack(..)) {
            self.link.push(message);
        }
    }

    /// Takes a group: it is stored and answered, or something goes wrong in between.
    fn settle(&mut self, faults: bool) {
        let group = self.ingest.take(NOW);
        let fate = if faults { self.rng.u8(..20) } else { 19 };
        if fate == 0 {
            self.reach("transaction failed");
            return self.ingest.reload(self.store.restored());
        }
        if fate == 1 {
            self.reach("died before the commit");
            return self.restart_server();
        }
        self.store.commit(&group.effects);
        if fate == 2 {
            self.reach("died between commit and ack");
            return self.restart_server();
        }
        for (id, ack) in group.acks {
            let stored = self.store.epoch(&id, ack.epoch).map_or(0, |e| e.state.committed);
            assert_eq!(ack.committed, stored, "an ack is what is durable");
            let s = self.senders.iter().position(|s| s.id == id).unwrap();
            self.link.push(Message::Ack(s, ack));
        }
    }

    fn restart_server(&mut self) {
        self.count();
        self.ingest = Ingest::restore(Limits::default(), self.store.restored());
    }

    fn count(&mut self) {
        let stats = self.ingest.stats();
        for (what, count) in [
            ("duplicate", stats.duplicates),
            ("out of order", stats.rejected.out_of_order),
            ("rewind", stats.rejected.rewound),
            ("gap", stats.missing),
            ("quarantine", stats.quarantined),
            ("unknown manifest", stats.rejected.unknown_manifest),
        ] {
            *self.reached.entry(what).or_default() += count;
        }
    }

    fn step(&mut self) {
        let s = self.rng.usize(..self.senders.len());
        match self.rng.u16(..1000) {
            0..300 => self.senders[s].accept(&mut self.rng),
            300..550 => self.send(s),
            550..900 => self.deliver(true),
            900..980 => self.settle(true),
            980..985 if self.senders[s].epochs.len() < 6 => self.senders[s].restart(),
            985..990 => {
                let at = self.rng.usize(..self.senders[s].epochs.len());
                let written = &mut self.senders[s].epochs[at];
                written.evicted = self.rng.u64(written.evicted..=written.payloads.len() as u64);
            }
            990..995 => self.backup = self.store.clone(),
            995 => {
                self.reach("restored from a backup");
                // Acks of the forgotten future are lost with the connections.
                self.link.retain(|m| !matches!(m, Message::Ack(..)));
                self.store = self.backup.clone();
                self.restart_server();
            }
            _ => {}
        }
    }

    /// Faults off: everything must arrive.
    fn drain(&mut self) {
        self.ingest = Ingest::restore(Limits::default(), self.store.restored());
        self.link.clear();
        for round in 0..2000 {
            for s in 0..self.senders.len() {
                for at in 0..self.senders[s].epochs.len() {
                    let mut batch = self.senders[s].batch(at, &mut self.rng);
                    if round % 2 == 0 {
                        batch = Batch { entries: vec![], ..batch };
                    }
                    self.link.push(Message::Batch(s, Box::new(batch)));
                }
            }
            while !self.link.is_empty() {
                self.deliver(false);
                self.settle(false);
            }
            let done = |w: &Written| w.acked == w.payloads.len() as u64;
            if self.senders.iter().all(|s| s.epochs.iter().all(done)) {
                return;
            }
        }
        panic!("not everything arrived");
    }

    fn judge(&self) {
        let mut rows = 0;
        for sender in &self.senders {
            for (at, written) in sender.epochs.iter().enumerate() {
                for (seq, payload) in written.payloads.iter().enumerate() {
                    rows += self.judge_record(sender, at, written, seq as u64, payload);
                }
            }
        }
        assert_eq!(self.store.rows.len(), rows, "something was invented");
    }

    fn judge_record(&self, sender: &Sender, at: usize, written: &Written, seq: u64, payload: &[u8]) -> usize {
        let covered = self.store.covered(&sender.id, written.epoch, seq);
        let good = decode(payload).is_ok();
        match covered {
            "rows" => {}
            "gap" => assert!(seq < written.evicted, "a gap over what was there: {seq}"),
            "quarantine" => {}
            _ => panic!("{} {} {seq} is covered by nothing", sender.id, written.epoch),
        }
        if covered != "rows" {
            return 0;
        }
        assert!(good, "poison became rows");
        let entry = self.store.epoch(&sender.id, written.epoch).unwrap();
        for (index, point) in entry.points.iter().enumerate() {
            let expected = value(seq, at as u8 + 1, index as u32).to_bits();
            let cell = self.store.rows.get(&(entry.state.no, seq, *point));
            assert_eq!(cell.map(|c| c.0), Some(Some(expected)), "misattributed or changed: {seq} {index}");
        }
        entry.points.len()
    }
}

#[test]
fn every_accepted_reading_is_stored_exactly_once_whatever_happens_on_the_way() {
    let mut reached = BTreeMap::<&str, u64>::new();
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..1500 {
            world.step();
        }
        world.drain();
        world.judge();
        world.count();
        for (what, count) in world.reached {
            *reached.entry(what).or_default() += count;
        }
    }
    println!("{reached:?}");
    assert!(reached.len() >= 10 && reached.values().all(|count| *count > 20), "{reached:?}");
}
