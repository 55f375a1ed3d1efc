//! A small world from one seed: the real uplink over the real spool on a faulty disk, a link that loses, delays and
//! repeats, and a reference centre that crashes and is restored from backups. Every record has a number of its own;
//! in the end each accepted one must be stored exactly once.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../spool/tests/simulated/disk.rs"]
mod disk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use disk::MemoryDisk;
use sitian_model::{Ack, Action, Batch, Entry, Epoch, Lane, Seq, Span, Timestamp};
use sitian_spool::{Limits, Spool};
use sitian_uplink::{Command, Read, Uplink};

/// What the run has seen, so that a hard state that is never reached is noticed.
#[derive(Debug, Default)]
struct Seen {
    duplicates: u64,
    rewinds: u64,
    manifests_wanted: u64,
    power_cuts: u64,
    disk_faults: u64,
    seals: u64,
    reconnects: u64,
    forks: u64,
    gaps: u64,
    backfill: u64,
}

/// The reference centre: one durable map, the delivery law and nothing else.
#[derive(Debug, Clone, Default)]
struct Centre {
    epochs: BTreeMap<Epoch, (Seq, u32)>,
    rows: BTreeMap<(Epoch, Seq), Vec<u8>>,
    gaps: BTreeMap<(Epoch, Seq), Seq>,
}

impl Centre {
    fn handle_batch(&mut self, batch: &Batch, seen: &mut Seen) -> Ack {
        let ack = |committed, action| Ack {
            epoch: batch.epoch,
            committed,
            chain: None,
            action,
            retry_after_ms: 0,
            window_bytes: 6000,
            server_ms: 0,
        };
        let Some((committed, chain)) = self.epochs.get_mut(&batch.epoch) else {
            seen.manifests_wanted += 1;
            return ack(0, Action::Manifest);
        };
        if batch.acked > *committed {
            seen.rewinds += 1;
            return ack(*committed, Action::Rewind);
        }
        if batch.first > *committed {
            return ack(*committed, Action::Ok);
        }
        let (mut seq, mut running) = (batch.first, batch.chain);
        let opens_with_gap = matches!(batch.entries.first(), Some(Entry::Gap(_)));
        if !opens_with_gap && seq == *committed && running != *chain {
            seen.forks += 1;
            return ack(*committed, Action::Fork);
        }
        for entry in &batch.entries {
            let next = seq + entry.width();
            match entry {
                Entry::Record(bytes) => {
                    running = crc32c::crc32c_append(running, bytes);
                    if seq < *committed {
                        seen.duplicates += 1;
                        assert!(
                            self.rows.get(&(batch.epoch, seq)).is_none_or(|b| b == bytes),
                            "two records, one label"
                        );
                    } else {
                        assert_eq!(self.rows.insert((batch.epoch, seq), bytes.clone()), None);
                    }
                }
                Entry::Gap(_) => {
                    seen.gaps += 1;
                    if next > *committed {
                        self.gaps.insert((batch.epoch, seq.max(*committed)), next);
                    }
                }
            }
            seq = next;
            if seq >= *committed {
                (*committed, *chain) = (seq, running);
            }
        }
        Ack { chain: Some(*chain), ..ack(*committed, Action::Ok) }
    }
}

#[derive(Debug, Clone)]
enum Message {
    Manifest(Epoch),
    Up(Box<Batch>),
    Down(Ack),
}

struct World {
    random: fastrand::Rng,
    now_ms: u64,
    spool: Spool<MemoryDisk>,
    uplink: Uplink,
    limits: Limits,
    up: bool,
    /// Due time and message; sorted by time. Uplink messages keep their order, as on one connection.
    wire: VecDeque<(u64, Message)>,
    centre: Centre,
    backup: Centre,
    epochs: u64,
    records: u64,
    /// Appended to the spool, not committed yet.
    waiting: Vec<u64>,
    accepted: BTreeSet<u64>,
    faults: bool,
    seen: Seen,
}

fn epoch(n: u64) -> Epoch {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    Epoch(bytes)
}

fn payload(number: u64) -> Vec<u8> {
    let len = 8 + (number * 37 % 500) as usize;
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

impl World {
    fn new(seed: u64, bytes_max: u64) -> Self {
        let limits = Limits {
            segment_bytes: 8 * 1024,
            bytes_max,
            keep_behind_ms: i64::MAX,
            record_bytes_max: 2048,
            memory_bytes_max: (bytes_max as usize / 64).max(16 * 1024),
            ack_every: 8,
        };
        let (spool, _) = Spool::open(MemoryDisk::default(), limits, epoch(1));
        Self {
            random: fastrand::Rng::with_seed(seed),
            now_ms: 0,
            spool,
            uplink: uplink(seed),
            limits,
            up: false,
            wire: VecDeque::new(),
            centre: Centre::default(),
            backup: Centre::default(),
            epochs: 1,
            records: 0,
            waiting: Vec::new(),
            accepted: BTreeSet::new(),
            faults: true,
            seen: Seen::default(),
        }
    }

    fn fresh_epoch(&mut self) -> Epoch {
        self.epochs += 1;
        epoch(self.epochs)
    }

    fn poll_round(&mut self) {
        for _ in 0..self.random.u64(1..4) {
            let number = self.records;
            self.records += 1;
            let at = Timestamp(self.now_ms as i64);
            self.spool.append(&payload(number), Span { from: at, to: at.plus_ms(1000) }).unwrap();
            self.waiting.push(number);
        }
        match self.spool.commit() {
            Ok(_) => {
                self.accepted.extend(self.waiting.drain(..));
                let state = self.spool.state();
                assert!(self.faults || state.bytes <= state.bytes_max);
            }
            Err(_) => self.seen.disk_faults += 1,
        }
        self.tell_spool();
    }

    fn tell_spool(&mut self) {
        let (held, live, state) = (self.spool.held(), self.spool.live(), self.spool.state());
        self.uplink.handle_spool(&held, live, state, self.now_ms);
        self.obey();
    }

    /// What the composition page of the gateway does, without threads.
    fn obey(&mut self) {
        while let Some(command) = self.uplink.poll_command() {
            match command {
                Command::PublishManifest(epoch) => self.send(Message::Manifest(epoch)),
                Command::Publish(batch) => {
                    if batch.lane == Lane::Backfill && !batch.entries.is_empty() {
                        self.seen.backfill += 1;
                    }
                    self.send(Message::Up(Box::new(batch)));
                }
                Command::ReadSpool { epoch, from, bytes_max } => {
                    match self.spool.read(epoch, from, bytes_max) {
                        Ok(run) => {
                            let read =
                                Read { epoch, first: run.first, entries: run.entries, chain: run.chain };
                            self.uplink.handle_read(read, self.now_ms);
                        }
                        Err(_) => self.uplink.handle_read_failed(epoch, self.now_ms),
                    }
                }
                Command::Release { epoch, committed } => {
                    self.spool.release(epoch, committed);
                    let (held, live, state) = (self.spool.held(), self.spool.live(), self.spool.state());
                    self.uplink.handle_spool(&held, live, state, self.now_ms);
                }
                Command::SealEpoch => {
                    self.seen.seals += 1;
                    let fresh = self.fresh_epoch();
                    self.spool.seal(fresh);
                }
                Command::Relabel(old) => {
                    let fresh = self.fresh_epoch();
                    let _ = self.spool.relabel(old, fresh);
                }
                Command::Reconnect => {
                    self.seen.reconnects += 1;
                    self.set_link(false);
                    self.set_link(true);
                }
            }
        }
    }

    fn send(&mut self, message: Message) {
        if !self.up {
            return;
        }
        let least = self.wire.iter().filter(|(_, m)| !matches!(m, Message::Down(_))).map(|(at, _)| *at).max();
        let delay = if self.faults { self.random.u64(5..800) } else { 50 };
        let due = (self.now_ms + delay).max(least.unwrap_or(0));
        self.push(due, message);
    }

    fn push(&mut self, due: u64, message: Message) {
        let at = self.wire.iter().position(|(d, _)| *d > due).unwrap_or(self.wire.len());
        self.wire.insert(at, (due, message));
    }

    fn set_link(&mut self, up: bool) {
        self.wire.clear();
        self.up = up;
        if up {
            self.uplink.handle_link_up(self.now_ms);
        } else {
            self.uplink.handle_link_down(self.now_ms);
        }
        self.obey();
    }

    fn deliver(&mut self, message: Message) {
        let chance = |random: &mut fastrand::Rng, one_in: u32| random.u32(..one_in) == 0;
        match message {
            Message::Manifest(epoch) => {
                self.centre.epochs.entry(epoch).or_default();
            }
            Message::Up(batch) => {
                if self.faults && chance(&mut self.random, 12) {
                    return; // a broker that confirms and forgets
                }
                let twice = self.faults && chance(&mut self.random, 12);
                for _ in 0..1 + u8::from(twice) {
                    let ack = self.centre.handle_batch(&batch, &mut self.seen);
                    if self.faults && chance(&mut self.random, 8) {
                        continue; // the centre dies between commit and ack
                    }
                    let delay = if self.faults { self.random.u64(5..2000) } else { 50 };
                    self.push(self.now_ms + delay, Message::Down(ack));
                }
            }
            Message::Down(ack) => {
                self.uplink.handle_ack(&ack, self.now_ms);
                self.obey();
            }
        }
    }

    /// Once per second something may go wrong.
    fn misfortune(&mut self) {
        match self.random.u32(..240) {
            0..=3 => self.set_link(!self.up),
            4 | 5 if !self.up => self.set_link(true),
            6 => self.backup = self.centre.clone(),
            7 => self.centre = self.backup.clone(),
            8..=10 => self.crash(true),
            11 | 12 => self.crash(false),
            13 | 14 => {
                self.spool.disk_mut().faults.fail_at =
                    Some(self.spool.disk_mut().calls + self.random.u64(..8))
            }
            15 => self.spool.disk_mut().faults.read_only = true,
            16..=18 => self.spool.disk_mut().faults.read_only = false,
            _ => {}
        }
    }

    fn crash(&mut self, power: bool) {
        self.seen.power_cuts += u64::from(power);
        self.waiting.clear();
        let fresh = self.fresh_epoch();
        let mut disk = std::mem::take(self.spool.disk_mut());
        if power && self.random.bool() {
            // In the middle of a commit.
            self.spool = Spool::open(disk, self.limits, fresh).0;
            let calls = self.spool.disk_mut().calls;
            self.spool.disk_mut().faults.power_off_at = Some(calls + self.random.u64(..4));
            self.poll_round();
            disk = std::mem::take(self.spool.disk_mut());
        }
        let disk = if power { disk.power_cut(&mut self.random) } else { disk.process_death() };
        let fresh = self.fresh_epoch();
        self.spool = Spool::open(disk, self.limits, fresh).0;
        self.uplink = uplink(self.random.u64(..));
        self.waiting.clear();
        self.up = false;
        self.wire.clear();
        self.tell_spool();
        self.set_link(true);
    }

    fn run_until(&mut self, end_ms: u64, poll: bool, done: impl Fn(&Self) -> bool) {
        let mut round_ms = self.now_ms + 1000;
        while self.now_ms < end_ms && !done(self) {
            let message = self.wire.front().map(|(due, _)| *due);
            let timeout = self.uplink.poll_timeout();
            let next = [message, timeout, Some(round_ms)].into_iter().flatten().min().unwrap();
            self.now_ms = next.max(self.now_ms);
            if message.is_some_and(|due| due <= self.now_ms) {
                let (_, message) = self.wire.pop_front().unwrap();
                self.deliver(message);
            } else if timeout.is_some_and(|at| at <= self.now_ms) {
                self.uplink.handle_timeout(self.now_ms);
                self.obey();
            } else {
                round_ms += 1000;
                if poll {
                    self.poll_round();
                }
                if self.faults {
                    self.misfortune();
                }
            }
        }
    }

    /// Safety phase, then liveness phase.
    fn live(&mut self) {
        self.set_link(true);
        self.run_until(400_000, true, |_| false);
        self.faults = false;
        self.spool.disk_mut().faults = Default::default();
        if !self.up {
            self.set_link(true);
        }
        // Two rounds of probes, so that a centre that has just forgotten can say so.
        self.run_until(self.now_ms + 130_000, true, |_| false);
        let drained = |w: &Self| w.spool.state().backlog == 0 && w.spool.state().healthy;
        self.run_until(self.now_ms + 1_800_000, false, drained);
    }

    fn numbers_stored(&self) -> Vec<u64> {
        self.centre.rows.values().map(|b| u64::from_le_bytes(b[..8].try_into().unwrap())).collect()
    }
}

fn uplink(seed: u64) -> Uplink {
    let limits = sitian_uplink::Limits {
        batch_bytes_max: 2000,
        window_bytes: 6000,
        window_bytes_max: 20_000,
        seal_after_ms: 20_000,
        ..Default::default()
    };
    Uplink::new(limits, seed)
}

fn check(seed: u64, bytes_max: u64) -> World {
    let mut world = World::new(seed, bytes_max);
    world.live();
    assert_eq!(world.spool.state().backlog, 0, "seed {seed}: not drained: {:?}", world.spool.held());
    assert_eq!(world.seen.forks, 0, "seed {seed}: one writer was taken for two");
    let stored = world.numbers_stored();
    let once: BTreeSet<u64> = stored.iter().copied().collect();
    assert_eq!(stored.len(), once.len(), "seed {seed}: doubled");
    for ((_, seq), bytes) in &world.centre.rows {
        let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert!(*bytes == payload(number), "seed {seed}: record {number} at {seq} is not what was measured");
    }
    world
}

#[test]
fn nothing_accepted_is_lost_and_nothing_doubled_whatever_happens() {
    let mut sum = Seen::default();
    for seed in 0..800 {
        let world = check(seed, 64 * 1024 * 1024);
        let stored: BTreeSet<u64> = world.numbers_stored().into_iter().collect();
        let lost: Vec<u64> = world.accepted.difference(&stored).copied().collect();
        assert_eq!(lost, [], "seed {seed}: lost of {}", world.accepted.len());
        let s = world.seen;
        sum.forks += s.forks;
        sum.gaps += s.gaps;
        sum.duplicates += s.duplicates;
        sum.rewinds += s.rewinds;
        sum.manifests_wanted += s.manifests_wanted;
        sum.power_cuts += s.power_cuts;
        sum.disk_faults += s.disk_faults;
        sum.seals += s.seals;
        sum.reconnects += s.reconnects;
        sum.backfill += s.backfill;
    }
    for (what, count) in [
        ("duplicates", sum.duplicates),
        ("rewinds", sum.rewinds),
        ("manifests wanted", sum.manifests_wanted),
        ("power cuts", sum.power_cuts),
        ("disk faults", sum.disk_faults),
        ("sealed epochs", sum.seals),
        ("reconnects", sum.reconnects),
        ("backfill batches", sum.backfill),
    ] {
        assert!(count >= 30, "{what} were hardly ever seen: {count}");
    }
    println!("{sum:?}");
}

#[test]
fn with_a_small_quota_everything_missing_is_in_a_committed_gap() {
    let mut gaps = 0;
    for seed in 0..150 {
        let world = check(seed, 80 * 1024);
        for (epoch, (committed, _)) in &world.centre.epochs {
            let rows = world.centre.rows.range((*epoch, 0)..(*epoch, Seq::MAX)).count() as u64;
            let missing: u64 = world
                .centre
                .gaps
                .range((*epoch, 0)..(*epoch, Seq::MAX))
                .map(|((_, first), end)| end - first)
                .sum();
            assert_eq!(rows + missing, *committed, "seed {seed} {epoch}: a hole that nobody announced");
        }
        gaps += world.centre.gaps.len();
    }
    assert!(gaps > 20, "{gaps}");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = |seed| {
        let world = check(seed, 1024 * 1024);
        (world.now_ms, world.centre.rows, format!("{:?}", world.seen))
    };
    assert_eq!(run(7), run(7));
}
