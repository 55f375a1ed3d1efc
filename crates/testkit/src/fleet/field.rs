//! A gateway of the fleet: the real spool and the real uplink, fed with one reading now and then.

use std::collections::BTreeMap;

use sitian_model::{
    DeviceId, DeviceInfo, Epoch, GatewayId, Manifest, PointInfo, PointKey, Quality, Reading, Record, Seq,
    Span,
};
use sitian_spool::{Limits, Spool};
use sitian_uplink::{Command, Read, Uplink};
use sitian_wire::topic::Topic;

use crate::board::uplink_limits;
use crate::centre::wall;
use crate::dice::Dice;
use crate::disk::CardDisk;
use crate::truth::Label;

/// What a gateway wants of its link.
#[derive(Debug)]
pub enum Wish {
    /// Publish this.
    Publish(Topic, Vec<u8>),
    /// Connect anew.
    Reconnect,
}

/// One gateway.
pub struct Sender {
    /// Its name.
    pub gateway: GatewayId,
    number: u64,
    spool: Spool<CardDisk>,
    uplink: Uplink,
    manifest: Manifest,
    /// Counts processes.
    pub life: u64,
    /// The connection, while there is one.
    pub session: Option<u64>,
    sessions: u64,
    /// Messages leave in order.
    pub sent_until: u64,
    polls: u64,
    /// Everything that was accepted, and when.
    pub accepted: BTreeMap<(Epoch, Seq), (f64, u64)>,
}

fn limits() -> Limits {
    Limits {
        segment_bytes: 8 * 1024,
        bytes_max: 4 << 20,
        keep_behind_ms: 1_000_000_000,
        record_bytes_max: 2048,
        memory_bytes_max: 64 * 1024,
        ack_every: 8,
    }
}

fn manifest(gateway: &GatewayId) -> Option<Manifest> {
    let device = DeviceInfo {
        id: DeviceId::new("d").ok()?,
        name: String::new(),
        place: String::new(),
        profile: "fleet".into(),
        bus: "b".into(),
    };
    let point = PointInfo {
        device: 0,
        key: PointKey::new("wave").ok()?,
        measurement: "wave".into(),
        unit: "1".into(),
        decimals: 0,
        interval_ms: 1_000,
    };
    let (devices, points) = (vec![device], vec![point]);
    Some(Manifest { gateway: gateway.clone(), software: "fleet".into(), devices, points })
}

impl Sender {
    /// A gateway with an empty card.
    pub fn new(number: usize, dice: &mut Dice) -> Option<Self> {
        let gateway = GatewayId::new(&format!("gw-{number}")).ok()?;
        let manifest = manifest(&gateway)?;
        let (spool, uplink) = Self::open(CardDisk::default(), &manifest, dice);
        let mut sender = Self {
            gateway,
            number: number as u64,
            spool,
            uplink,
            manifest,
            life: 0,
            session: None,
            sessions: 0,
            sent_until: 0,
            polls: 0,
            accepted: BTreeMap::new(),
        };
        sender.tell(0);
        Some(sender)
    }

    fn open(card: CardDisk, manifest: &Manifest, dice: &mut Dice) -> (Spool<CardDisk>, Uplink) {
        let epoch = dice.epoch();
        let (mut spool, _) = Spool::open(card, limits(), epoch);
        // A manifest of one point fits.
        let _ = spool.set_manifest(&sitian_wire::encode_manifest(&epoch, manifest));
        (spool, Uplink::new(uplink_limits(), dice.number()))
    }

    /// The process dies and starts again: the card has everything, the epoch is a new one.
    pub fn restart(mut self, now: u64, dice: &mut Dice) -> Self {
        let card = self.spool.into_disk().process_death();
        (self.spool, self.uplink) = Self::open(card, &self.manifest, dice);
        self.life += 1;
        self.session = None;
        self.tell(now);
        self
    }

    fn tell(&mut self, now: u64) {
        self.uplink.handle_spool(&self.spool.held(), self.spool.live(), self.spool.state(), now);
    }

    /// Takes a reading and makes it durable.
    pub fn poll(&mut self, now: u64) {
        self.polls += 1;
        let label = Label { board: self.number, bus: 0, device: 0, register: 0, poll: self.polls };
        let (at, value) = (wall(now), label.value() as f64);
        let reading = Reading { point: 0, at, value: Some(value), quality: Quality::Good };
        let record =
            Record { boot: self.life, mono_ms: now, uncertainty_ms: Some(20), readings: vec![reading] };
        let bytes = sitian_wire::encode_record(&record);
        let (live, span) = (self.spool.live(), Span { from: at, to: at });
        if let (Ok(seq), Ok(_)) = (self.spool.append(&bytes, span), self.spool.commit()) {
            self.accepted.insert((live, seq), (value, now));
        }
        self.tell(now);
    }

    /// The link is up. What else is needed is a state, retained.
    pub fn handle_up(&mut self, now: u64) -> u64 {
        self.sessions += 1;
        self.session = Some(self.sessions);
        self.sent_until = now;
        self.uplink.handle_link_up(now);
        self.sessions
    }

    /// The link is down.
    pub fn handle_down(&mut self, now: u64) {
        self.session = None;
        self.uplink.handle_link_down(now);
    }

    /// An ack came.
    pub fn handle_ack(&mut self, payload: &[u8], now: u64) {
        if let Ok(ack) = sitian_wire::decode_ack(payload) {
            self.uplink.handle_ack(&ack, now);
        }
    }

    /// Timers, and what the uplink decided.
    pub fn work(&mut self, now: u64, dice: &mut Dice) -> Vec<Wish> {
        if self.uplink.poll_timeout().is_some_and(|due| due <= now) {
            self.uplink.handle_timeout(now);
        }
        let mut wishes = Vec::new();
        while let Some(command) = self.uplink.poll_command() {
            match command {
                Command::PublishManifest(epoch) => {
                    let manifest = self.spool.manifest(epoch);
                    let topic = Topic::Manifest(self.gateway.clone());
                    wishes.extend(manifest.map(|manifest| Wish::Publish(topic, manifest)));
                }
                Command::ReadSpool { epoch, from, bytes_max } => {
                    match self.spool.read(epoch, from, bytes_max) {
                        Ok(run) => {
                            let (first, entries, chain) = (run.first, run.entries, run.chain);
                            self.uplink.handle_read(Read { epoch: run.epoch, first, entries, chain }, now);
                        }
                        Err(_) => self.uplink.handle_read_failed(epoch, now),
                    }
                }
                Command::Publish(batch) => wishes
                    .push(Wish::Publish(Topic::Up(self.gateway.clone()), sitian_wire::encode_batch(&batch))),
                Command::Release { epoch, committed } => {
                    self.spool.release(epoch, committed);
                    self.tell(now);
                }
                Command::SealEpoch => {
                    let fresh = dice.epoch();
                    self.spool.seal(fresh);
                    let manifest = sitian_wire::encode_manifest(&fresh, &self.manifest);
                    // As above.
                    let _ = self.spool.set_manifest(&manifest);
                    self.tell(now);
                }
                // Nobody else writes in its epochs.
                Command::Relabel(_) => {}
                Command::Reconnect => wishes.push(Wish::Reconnect),
            }
        }
        wishes
    }

    /// When to be woken.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.uplink.poll_timeout()
    }
}
