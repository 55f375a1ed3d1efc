//! Poison: messages in real topics that nobody can read, on their own and in place of batches. Their bytes are kept, the
//! stream goes on behind them, and no good reading is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sitian_model::{
    Ack, Action, Batch, DeviceId, DeviceInfo, Entry, Epoch, GatewayId, Lane, Manifest, PointInfo, PointKey,
    Quality, Reading, Record, Seq, SpoolState, Timestamp,
};
use sitian_registry::{ListFilter, Registry};
use sitian_store_embedded::Store;
use sitian_tests_system::counted::{GATEWAY, Layout};
use sitian_tests_system::packets::{Client, Message};
use sitian_tests_system::tally::{Fault, Harm, times};
use sitian_tests_system::truth::unix_ms;
use sitian_tests_system::{Counted, Ingestor, Mosquitto};

/// Another gateway of the territory, played by the test: its batches are poisoned.
const PLAYED: &str = "liaoquan-01";
const DEVICE: &str = "played-1";
const KEY: &str = "number";
/// Good records before each poison.
const GOOD: u64 = 3;

fn up(gateway: &str, payload: Vec<u8>) -> Message {
    Message { topic: format!("sitian/v1/{gateway}/up"), payload }
}

/// Bytes that stand for no labels: noise in a gateway's topic.
fn noise(real: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let flipped =
        |at: usize| real.iter().enumerate().map(|(n, b)| if n == at { b ^ 0x10 } else { *b }).collect();
    vec![
        ("nothing", Vec::new()),
        ("one byte", vec![0x08]),
        ("random bytes", (0..200).map(|_| fastrand::u8(..)).collect()),
        ("JSON", br#"{"temperature": 21.5, "ts": 1790000000}"#.to_vec()),
        ("zeros", vec![0; 64]),
        ("a real batch cut inside its envelope", real[..12].to_vec()),
        ("a real batch with a bit flipped in its epoch", flipped(6)),
        (
            "a real batch with a bit flipped in the checksum of its lane, spool and clocks",
            flipped(real.len() - 3),
        ),
        ("longer than any batch", vec![0x55; 66 * 1024]),
        ("an epoch of 15 bytes", [&[0x08, 1, 0x12, 15][..], &[7; 15], &[0x18, 0, 0x20, 1]].concat()),
        ("an envelope with a wrong checksum", envelope(Epoch([3; 16]), 0, 5, 1, 1, &[])),
        ("labels beyond 2^62", envelope(Epoch([3; 16]), 1 << 62, (1 << 62) + 1, 1, 0, &[])),
        ("an end before the first label", envelope(Epoch([3; 16]), 9, 5, 1, 0, &[])),
    ]
}

/// Bytes with a credible envelope over `first..end` and a body that makes no sense.
fn broken(epoch: Epoch, first: Seq, end: Seq) -> Vec<(&'static str, Vec<u8>)> {
    let with = |tail: &[u8]| envelope(epoch, first, end, 1, 0, tail);
    let body = |body: &[u8], length: u64| {
        let check = [body, &[0; 8], &[0; 8], &[0; 4]].into_iter().fold(0, crc32c::crc32c_append);
        // lane live, body_check, body_bytes, plain
        let mut tail = vec![0x48, 1, 0x6D];
        tail.extend(check.to_le_bytes());
        tail.push(0x70);
        tail.extend(varint(length));
        tail.push(0x7A);
        tail.extend(varint(body.len() as u64));
        tail.extend(body);
        with(&tail)
    };
    let plain = |bytes: &[u8]| body(bytes, bytes.len() as u64);
    vec![
        ("a newer version", envelope(epoch, first, end, 2, 0, &[0x48, 1, 0xFA, 0x7F, 3, 1, 2, 3])),
        ("no body", with(&[0x48, 1])),
        ("an unknown lane", with(&[0x48, 7])),
        (
            "a body that does not match its checksum",
            with(&[0x48, 1, 0x6D, 1, 2, 3, 4, 0x70, 3, 0x7A, 3, 1, 2, 3]),
        ),
        (
            "zstd that claims 4 GiB",
            with(&[&[0x48, 1, 0x70][..], &varint(u64::from(u32::MAX)), &[0x82, 1, 2, 1, 2]].concat()),
        ),
        ("zstd that is none", with(&[0x48, 1, 0x70, 10, 0x82, 1, 4, 9, 9, 9, 9])),
        ("a body that is no list of entries", plain(&[0xFF; 20])),
        ("an entry longer than the body", plain(&[0x0A, 120, 1, 2])),
        ("a record of one byte", plain(&[0x0A, 3, 0x0A, 1, 7])),
        ("an entry of an unknown kind", plain(&[0x0A, 4, 0x1A, 2, 1, 2])),
        ("a gap that ends before it begins", plain(&[0x0A, 8, 0x12, 6, 0x08, 9, 0x10, 2, 0x18, 1])),
        ("fewer entries than the envelope says", plain(&[])),
        ("a body cut short", body(&[0x0A, 4, 0x0A], 90)),
        ("wire noise behind the envelope", with(&[0xFF; 30])),
    ]
}

/// Records that can be carried but not read.
fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a record of noise", vec![0xEE; 40]),
        ("a record of zeros", vec![0; 16]),
        ("a record with an unknown point", record(77, 1.0)),
    ]
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The frozen part of a batch, written by hand; `lie` is added to its checksum.
fn envelope(epoch: Epoch, first: Seq, end: Seq, version: u32, lie: u32, tail: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 4] = [&version.to_le_bytes(), &epoch.0, &first.to_le_bytes(), &end.to_le_bytes()];
    let check = parts.into_iter().fold(0, crc32c::crc32c_append).wrapping_add(lie);
    let mut bytes = vec![0x08, version as u8, 0x12, 16];
    bytes.extend(epoch.0);
    bytes.push(0x18);
    bytes.extend(varint(first));
    bytes.push(0x20);
    bytes.extend(varint(end));
    bytes.push(0x2D);
    bytes.extend(check.to_le_bytes());
    bytes.extend(tail);
    bytes
}

fn record(point: u32, value: f64) -> Vec<u8> {
    let reading = Reading { point, at: Timestamp(unix_ms()), value: Some(value), quality: Quality::Good };
    sitian_wire::encode_record(&Record {
        boot: 7,
        mono_ms: 1,
        uncertainty_ms: Some(1),
        readings: vec![reading],
    })
}

/// A gateway played by the test.
struct Played {
    speaker: Client,
    listener: Client,
    epoch: Epoch,
    next: Seq,
    chain: u32,
    /// What has to be in quarantine in the end.
    poisons: Vec<Vec<u8>>,
    good: BTreeSet<Seq>,
}

impl Played {
    fn start(port: u16) -> Self {
        let mut listener = Client::connect(port, "poison-listener");
        listener.subscribe(&format!("sitian/v1/{PLAYED}/ack"));
        let epoch = Epoch(std::array::from_fn(|_| fastrand::u8(..)));
        let mut played = Self {
            speaker: Client::connect(port, "poison-speaker"),
            listener,
            epoch,
            next: 0,
            chain: 0,
            poisons: Vec::new(),
            good: BTreeSet::new(),
        };
        let manifest = sitian_wire::encode_manifest(&epoch, &manifest());
        played.speaker.publish(&Message { topic: format!("sitian/v1/{PLAYED}/manifest"), payload: manifest });
        played
    }

    /// Waits for the word that everything so far is taken. What is asked for again is sent again.
    fn taken(&mut self, sent: &Message) -> Action {
        loop {
            let ack: Ack = sitian_wire::decode_ack(&self.listener.next_message().payload).expect("an ack");
            if ack.epoch == self.epoch && ack.committed == self.next {
                return ack.action;
            }
            assert!(ack.committed <= self.next, "no more is taken than was sent");
            if ack.epoch == self.epoch && ack.action == Action::Rewind {
                self.speaker.publish(sent);
            }
        }
    }

    fn entry(&mut self, payload: Vec<u8>) -> Action {
        let first = self.next;
        let chain = self.chain;
        self.chain = crc32c::crc32c_append(chain, &payload);
        let batch = Batch {
            epoch: self.epoch,
            first,
            entries: vec![Entry::Record(payload)],
            chain,
            acked: first,
            oldest: 0,
            held: Vec::new(),
            clocks: Vec::new(),
            lane: Lane::Live,
            spool: SpoolState::default(),
        };
        self.next += 1;
        let message = up(PLAYED, sitian_wire::encode_batch(&batch));
        self.speaker.publish(&message);
        self.taken(&message)
    }

    fn good(&mut self) {
        for _ in 0..GOOD {
            let seq = self.next;
            assert_eq!(self.entry(record(0, seq as f64)), Action::Ok, "a good record after poison");
            self.good.insert(seq);
        }
    }

    /// A message in place of two records.
    fn broken(&mut self, kind: usize) -> &'static str {
        let (name, bytes) = broken(self.epoch, self.next, self.next + 2).swap_remove(kind);
        self.next += 2;
        // The centre never understood these records: behind them a chain of its own begins.
        self.chain = 0;
        self.poisons.push(bytes.clone());
        let message = up(PLAYED, bytes);
        self.speaker.publish(&message);
        assert_eq!(self.taken(&message), Action::Quarantined, "{name}");
        name
    }
}

fn manifest() -> Manifest {
    let device = DeviceInfo {
        id: DeviceId::new(DEVICE).expect("an id"),
        name: "played".into(),
        place: String::new(),
        profile: "test".into(),
        bus: "a".into(),
    };
    let point = PointInfo {
        device: 0,
        key: PointKey::new(KEY).expect("a key"),
        measurement: "device_status".into(),
        unit: String::new(),
        decimals: 0,
        interval_ms: 1_000,
    };
    let gateway = GatewayId::new(PLAYED).expect("an id");
    Manifest { gateway, software: "test".into(), devices: vec![device], points: vec![point] }
}

/// Good records that are not stored, stored twice, or stored as something else.
fn harm_of(ingestor: &Ingestor, good: &BTreeSet<Seq>) -> Harm {
    let rows = ingestor.readings(&format!("{PLAYED}/{DEVICE}/{KEY}"));
    let seqs: Vec<u64> = rows.iter().filter_map(|row| row["seq"].as_u64()).collect();
    let unique: BTreeSet<u64> = seqs.iter().copied().collect();
    let wrong =
        rows.iter().filter(|row| row["value"].as_f64() != row["seq"].as_u64().map(|seq| seq as f64)).count();
    Harm {
        lost: good.difference(&unique).count() as u64,
        doubled: (seqs.len() - unique.len()) as u64,
        wrong: wrong as u64 + unique.difference(good).count() as u64,
    }
}

/// Everything in quarantine, raw.
fn quarantine(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let store = Store::open(&folder.join("centre.db")).expect("a store that nobody has open");
    let reader = store.reader();
    let filter = ListFilter { gateways: None, since: None, before: None, limit: 100_000 };
    let kept = reader.quarantine(&filter).expect("an answer");
    kept.iter().filter_map(|one| reader.quarantine_raw(one.id).expect("an answer")).collect()
}

#[test]
fn poison_of_every_kind_is_kept_raw_and_stops_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = Mosquitto::start(folder.path());
    let mut network = Counted::start(&Layout { broker: Some(broker.port), ..Layout::default() });
    let mut spy = Client::connect(broker.port, "poison-spy");
    spy.subscribe(&format!("sitian/v1/{GATEWAY}/up"));
    let real = spy.next_message().payload;
    let mut played = Played::start(broker.port);
    played.good();

    let mut kinds = BTreeSet::new();
    let mut noises = Vec::new();
    let mut longest = Duration::ZERO;
    for _ in 0..times(4, 400) {
        for (name, bytes) in noise(&real) {
            kinds.insert(name);
            noises.push(bytes.clone());
            // In the topic of a gateway that is at work.
            played.speaker.publish(&up(GATEWAY, bytes));
        }
        for kind in 0..broken(played.epoch, 0, 0).len() {
            let began = Instant::now();
            kinds.insert(played.broken(kind));
            played.good();
            longest = longest.max(began.elapsed());
        }
        for (name, payload) in unreadable() {
            kinds.insert(name);
            played.poisons.push(payload.clone());
            assert_eq!(played.entry(payload), Action::Quarantined, "{name}");
            played.good();
        }
    }
    network.progress(5);
    let verdict = network.judge().wait_for_all(60);
    let harm = verdict.harm.and(harm_of(&network.ingestor, &played.good));
    network.gateway.program.kill();
    network.ingestor.program.end();
    let kept = quarantine(network.folder.path());
    let has = |raw: &Vec<u8>| kept.iter().any(|one| one == &raw[..raw.len().min(64 * 1024)]);
    let missing = played.poisons.iter().chain(&noises).filter(|raw| !has(raw)).count();
    let many = played.poisons.len() + noises.len();
    Fault { number: "F20", title: "poison", injected: "malformed messages in real topics, by a client of our own" }.came_to(
        format!("{many} of {} kinds", kinds.len()),
        harm,
        format!(
            "{} of {many} kept raw; {} good readings; longest poison and {GOOD} good records behind it {:.2} s",
            many - missing,
            verdict.readings + played.good.len() as u64,
            longest.as_secs_f64()
        ),
    );
    assert_eq!(harm, Harm::default());
    assert_eq!(missing, 0, "raw bytes are kept");
}
