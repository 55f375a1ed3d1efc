//! A gateway's view of its epochs, a store that keeps what a group says, and a machine between them.

use std::collections::{BTreeMap, BTreeSet};

use sitian_ingest::*;
use sitian_model::*;

pub const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// What a payload stands for, one byte behind its number.
pub mod flavour {
    pub const GOOD: u8 = 0;
    pub const UNDECODABLE: u8 = 1;
    pub const NO_CLOCK: u8 = 2;
    pub const FAR_AHEAD: u8 = 3;
    pub const LONG_AGO: u8 = 4;
    pub const UNKNOWN_POINT: u8 = 5;
    pub const POINT_TWICE: u8 = 6;
    pub const CONTRADICTION: u8 = 7;
    pub const VAGUE_CLOCK: u8 = 8;
    pub const BAD: u8 = 9;
}

/// The payload of record `n`, told apart by `salt`.
pub fn payload(n: u64, salt: u8, flavour: u8) -> Vec<u8> {
    [&n.to_le_bytes()[..], &[salt, flavour]].concat()
}

/// The value that record `n` of `salt` must have at a point.
pub fn value(n: u64, salt: u8, point: u32) -> f64 {
    n as f64 + f64::from(salt) * 1e6 + f64::from(point) * 0.25
}

/// Record `n`: two points, one second apart from the next record.
pub fn decode(bytes: &[u8]) -> Result<Record, String> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or("too short")?;
    let (n, salt, kind) = (u64::from_le_bytes(*number), rest[0], rest[1]);
    let at = NOW.plus_ms(n as i64 * 1000);
    let reading = |point| Reading { point, at, value: Some(value(n, salt, point)), quality: Quality::Good };
    let mut record = Record {
        boot: 1,
        mono_ms: n * 1000,
        uncertainty_ms: Some(20),
        readings: vec![reading(0), Reading { at: at.plus_ms(7), ..reading(1) }],
    };
    match kind {
        flavour::UNDECODABLE => return Err("no record".into()),
        flavour::NO_CLOCK => record.uncertainty_ms = None,
        flavour::VAGUE_CLOCK => record.uncertainty_ms = Some(3_600_000),
        flavour::FAR_AHEAD => record.readings[1].at = NOW.plus_ms(40 * 86_400_000),
        flavour::LONG_AGO => record.readings[1].at = Timestamp(0),
        flavour::UNKNOWN_POINT => record.readings[1].point = 2,
        flavour::POINT_TWICE => record.readings[1].point = 0,
        flavour::CONTRADICTION => record.readings[1].value = None,
        flavour::BAD => {
            let quality = Quality::Bad(Cause::Timeout);
            record.readings[1] = Reading { value: None, quality, ..record.readings[1] };
            record.uncertainty_ms = None;
        }
        _ => {}
    }
    Ok(record)
}

pub fn gateway(name: &str) -> GatewayId {
    GatewayId::new(name).unwrap()
}

pub fn epoch(n: u8) -> Epoch {
    Epoch([n; 16])
}

/// Two points of one device.
pub fn manifest(gateway: &GatewayId) -> Manifest {
    let device = DeviceInfo {
        id: DeviceId::new("soil-1").unwrap(),
        name: "土壤".into(),
        place: String::new(),
        profile: "p".into(),
        bus: "b".into(),
    };
    let point = |key| PointInfo {
        device: 0,
        key: PointKey::new(key).unwrap(),
        measurement: key.into(),
        unit: "%".into(),
        decimals: 1,
        interval_ms: 1000,
    };
    Manifest {
        gateway: gateway.clone(),
        software: "1".into(),
        devices: vec![device],
        points: vec![point("moisture"), point("temperature")],
    }
}

/// CRC-32C over the payloads of `entries`.
pub fn chain(payloads: &[Vec<u8>]) -> u32 {
    payloads.iter().fold(0, |chain, payload| crc32c::crc32c_append(chain, payload))
}

/// A live batch of good records `first..end` of an epoch.
pub fn batch(epoch: Epoch, first: u64, end: u64) -> Batch {
    let payloads: Vec<Vec<u8>> = (0..end).map(|n| payload(n, epoch.0[0], flavour::GOOD)).collect();
    Batch {
        epoch,
        first,
        entries: payloads[first as usize..].iter().cloned().map(Entry::Record).collect(),
        chain: chain(&payloads[..first as usize]),
        acked: 0,
        oldest: 0,
        held: vec![Held { epoch, oldest: 0, end, acked: 0 }],
        clocks: vec![],
        lane: Lane::Live,
        spool: SpoolState::default(),
    }
}

/// What a row is worth: the bits of its value, its time, its quality.
pub type Cell = (Option<u64>, i64, u8);

/// Keeps what groups say, as a database would.
#[derive(Clone, Default)]
pub struct Store {
    pub rows: BTreeMap<(EpochNo, Seq, PointNo), Cell>,
    pub points: BTreeMap<PointNo, PointEntry>,
    pub epochs: BTreeMap<EpochNo, RestoredEpoch>,
    pub gaps: Vec<GapCommitted>,
    pub quarantine: Vec<Quarantined>,
    pub incidents: Vec<Incident>,
    pub ended: Vec<IncidentEnded>,
    pub undated: Vec<Undated>,
}

impl Store {
    pub fn commit(&mut self, effects: &[Effect]) {
        let mut watermarks = BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Point(point) => {
                    self.points.insert(point.no, point.clone());
                }
                Effect::Epoch(e) => {
                    assert!(
                        e.points.iter().all(|no| self.points.contains_key(no)),
                        "an epoch names an unknown point"
                    );
                    let state = EpochState::fresh(e.no);
                    let (gateway, points) = (e.gateway.clone(), e.points.clone());
                    let known =
                        self.epochs.insert(e.no, RestoredEpoch { gateway, epoch: e.epoch, points, state });
                    assert!(known.is_none(), "an epoch number was given twice");
                }
                Effect::Rows(rows) => {
                    assert!(!rows.is_empty());
                    for row in rows {
                        assert!(self.epochs.contains_key(&row.epoch), "rows come before their epoch");
                        let cell = (row.value.map(f64::to_bits), row.at.0, row.quality.code());
                        let known = self.rows.insert((row.epoch, row.seq, row.point), cell);
                        assert!(known.is_none(), "a label was stored twice: {row:?}");
                    }
                }
                Effect::Watermark(state) => {
                    assert!(watermarks.insert(state.no), "two watermarks of one epoch in a group");
                    let known =
                        &mut self.epochs.get_mut(&state.no).expect("a watermark of an unknown epoch").state;
                    assert!(known.committed <= state.committed, "a watermark went back");
                    *known = *state;
                }
                Effect::Gap(gap) => self.gaps.push(*gap),
                Effect::Quarantine(quarantined) => self.quarantine.push(quarantined.clone()),
                Effect::Redecoded(redecoded) => {
                    self.quarantine.remove(redecoded.id as usize);
                }
                Effect::Incident(incident) => self.incidents.push(incident.clone()),
                Effect::Undated(undated) => self.undated.extend(undated),
                Effect::Ended(ended) => self.ended.push(ended.clone()),
            }
        }
    }

    pub fn restored(&self) -> Restored {
        let mut bytes = BTreeMap::<GatewayId, u64>::new();
        for q in &self.quarantine {
            *bytes.entry(q.gateway.clone()).or_default() += q.raw.len() as u64;
        }
        let begun = self.incidents.iter().filter(|i| i.kind == IncidentKind::SpoolFailed);
        let open = begun.skip(self.ended.len());
        Restored {
            failed_spools: open.filter_map(|i| Some((i.gateway.clone(), i.epoch?))).collect(),
            points: self.points.values().cloned().collect(),
            epochs: self.epochs.values().cloned().collect(),
            quarantined_bytes: bytes.into_iter().collect(),
            ..Restored::default()
        }
    }

    pub fn epoch(&self, gateway: &GatewayId, epoch: Epoch) -> Option<&RestoredEpoch> {
        self.epochs.values().find(|e| e.gateway == *gateway && e.epoch == epoch)
    }

    /// What the store covers of an epoch, by kind of coverage.
    pub fn covered(&self, gateway: &GatewayId, epoch: Epoch, seq: Seq) -> &'static str {
        let Some(e) = self.epoch(gateway, epoch) else { return "nothing" };
        let no = e.state.no;
        if self.rows.range((no, seq, PointNo(0))..=(no, seq, PointNo(u32::MAX))).count() > 0 {
            return "rows";
        }
        if self.gaps.iter().any(|g| g.epoch == no && (g.gap.first..=g.gap.last).contains(&seq)) {
            return "gap";
        }
        let aside = |q: &&Quarantined| {
            q.gateway == *gateway
                && q.range.is_some_and(|(e, first, end)| e == epoch && (first..end).contains(&seq))
        };
        if self.quarantine.iter().any(|q| aside(&q)) { "quarantine" } else { "nothing" }
    }
}

/// A machine and its store, with one gateway whose epoch 1 is registered.
pub struct Bench {
    pub ingest: Ingest,
    pub store: Store,
    pub gateway: GatewayId,
    pub now: Timestamp,
}

impl Bench {
    pub fn new(limits: Limits) -> Self {
        let mut bench =
            Self { ingest: Ingest::new(limits), store: Store::default(), gateway: gateway("gw-1"), now: NOW };
        bench.register(epoch(1));
        bench
    }

    pub fn register(&mut self, epoch: Epoch) {
        self.ingest.handle_manifest(&self.gateway, epoch, manifest(&self.gateway), self.now);
        self.settle();
    }

    pub fn hear(&mut self, batch: &Batch) -> Option<Ack> {
        self.ingest.handle_batch(&self.gateway.clone(), batch, b"raw", &decode, self.now);
        self.settle()
    }

    /// Takes and stores the group; gives the only ack, if there is one.
    pub fn settle(&mut self) -> Option<Ack> {
        let group = self.ingest.take(self.now);
        self.store.commit(&group.effects);
        assert!(group.acks.len() <= 1, "one event, one answer");
        group.acks.first().map(|(_, ack)| *ack)
    }

    pub fn kinds(&self) -> Vec<IncidentKind> {
        self.store.incidents.iter().map(|i| i.kind).collect()
    }
}
