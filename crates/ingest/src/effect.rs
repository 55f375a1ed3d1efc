//! What admitting a batch changes: plain values that a store persists, all of one group in one durable transaction.
//!
//! Knows no storage and no wording: incidents are facts, the sentences are made where people read them.
//!
//! ```text
//!  handle_… ─► Group { effects, acks } ─► store: one transaction ─► durable ─► acks leave
//!                                              │
//!                          restart ◄── Restored┘   (what a store reads back)
//! ```

use sitian_model::{
    Ack, DeviceInfo, Epoch, EpochNo, Gap, GatewayId, Manifest, Numbers, PointId, PointInfo, PointNo, Row,
    Seq, Span, Timestamp,
};

/// One change. Inside a group a point comes before the epoch that names it, and an epoch before its rows and watermark.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A point is new, or its description has changed: insert or replace by [`PointEntry::no`].
    Point(PointEntry),
    /// An epoch is known from now on: insert by [`EpochEntry::no`]. Never changes afterwards.
    Epoch(EpochEntry),
    /// Readings to store. Never empty; no natural key (point, time, epoch, seq) is ever issued twice.
    Rows(Vec<Row>),
    /// How far an epoch has come: insert or replace by [`EpochState::no`]. At most one per epoch and group.
    Watermark(EpochState),
    /// A range of an epoch that will never have data.
    Gap(GapCommitted),
    /// Bytes set aside because they could not be understood or admitted.
    Quarantine(Quarantined),
    /// An entry of the quarantine was understood after all: its rows and gaps are in the same group. Never twice.
    Redecoded(Redecoded),
    /// Something a person should know.
    Incident(Incident),
    /// The open incident of this kind and gateway is over.
    Ended(IncidentEnded),
    /// Among the rows of the same group are some whose time nobody knows: at most one entry per point. Never empty; all are
    /// of one epoch. A store adds an entry to what it has of that point and epoch, see [`Undated::join`].
    Undated(Vec<Undated>),
}

/// One point of the central registry.
#[derive(Debug, Clone, PartialEq)]
pub struct PointEntry {
    /// Assigned here, once; never reused.
    pub no: PointNo,
    /// Its network-wide name; unique in the registry.
    pub id: PointId,
    /// The device it belongs to, as the newest manifest describes it.
    pub device: DeviceInfo,
    /// The point, as the newest manifest describes it.
    pub info: PointInfo,
    /// When this description arrived, by the server's clock.
    pub at: Timestamp,
}

/// One epoch of the central registry, with the manifest that names its points.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochEntry {
    /// Assigned here, once; never reused.
    pub no: EpochNo,
    /// Whose epoch. `(gateway, epoch)` is unique.
    pub gateway: GatewayId,
    /// Its 128 bits.
    pub epoch: Epoch,
    /// The numbers of `manifest.points`, position by position.
    pub points: Vec<PointNo>,
    /// The manifest as it arrived.
    pub manifest: Manifest,
    /// When it arrived, by the server's clock.
    pub at: Timestamp,
}

/// How far one epoch has come. Everything the centre must remember about it besides its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochState {
    /// Which epoch.
    pub no: EpochNo,
    /// Everything below is stored, in a gap or in quarantine: one past the highest. At most [`crate::SEQ_MAX`].
    pub committed: Seq,
    /// CRC-32C over the payloads of all records below `committed`; `None` after a range whose bytes the centre never had.
    pub chain: Option<u32>,
    /// One past the highest sequence number that the gateway has ever announced to have written.
    pub end: Seq,
    /// Nothing will be appended any more: the gateway has gone on to another epoch. `end` is then final.
    pub sealed: bool,
    /// The gateway no longer holds it.
    pub gone: bool,
    /// An incident has already said that its tail may be lost.
    pub loss_reported: bool,
    /// Order in which the gateway's epochs were first seen live: 1, 2, 3 …; 0 = never live.
    pub live_rank: u32,
    /// The highest `live_rank` of an epoch whose batch listed this one as held.
    pub held_rank: u32,
    /// The newest time among its stored readings.
    pub newest_at: Option<Timestamp>,
}

/// A gap that has been committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapCommitted {
    /// Which epoch.
    pub epoch: EpochNo,
    /// What is missing; clipped to what was not committed before.
    pub gap: Gap,
    /// When it was committed, by the server's clock.
    pub at: Timestamp,
}

/// Readings of one point and one epoch whose time nobody knows. Their rows carry what the gateway's clock said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undated {
    /// Which epoch.
    pub epoch: EpochNo,
    /// Which point.
    pub point: PointNo,
    /// How many, those without a value included.
    pub readings: u64,
    /// Their first and last record.
    pub seqs: (Seq, Seq),
    /// What the gateway's clock said: the least and the greatest, both included.
    pub stamped: Span,
    /// When they were really taken.
    pub taken: Taken,
}

/// Between two moments, both by clocks that were right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Not before this: the newest reading that was surely accepted earlier; `None` if nobody knows of any.
    pub after: Option<Timestamp>,
    /// Not after this: the last of them had arrived, by the server's clock.
    pub before: Timestamp,
}

impl Undated {
    /// Both together. Whatever was accepted before an epoch was accepted before all of it, so the later bound holds.
    pub fn join(&mut self, other: &Self) {
        self.readings += other.readings;
        self.seqs = (self.seqs.0.min(other.seqs.0), self.seqs.1.max(other.seqs.1));
        self.stamped.from = self.stamped.from.min(other.stamped.from);
        self.stamped.to = self.stamped.to.max(other.stamped.to);
        self.taken = self.taken.join(other.taken);
    }
}

impl Taken {
    /// What holds for readings of the same epoch together.
    pub fn join(self, other: Self) -> Self {
        Self { after: self.after.max(other.after), before: self.before.max(other.before) }
    }

    /// True if readings taken then may lie inside a span.
    pub fn touches(&self, span: Span) -> bool {
        span.from <= self.before && self.after.is_none_or(|after| after < span.to)
    }
}

/// Bytes set aside: kept raw so that a later version can decode them, never called delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The gateway in whose topic they arrived.
    pub gateway: GatewayId,
    /// Which sequence numbers they stand for: epoch, first, one past the last. `None` if the bytes did not say.
    pub range: Option<(Epoch, Seq, Seq)>,
    /// Whether `raw` is one record or a whole message.
    pub form: Form,
    /// Why.
    pub reason: String,
    /// The bytes, at most 64 KiB.
    pub raw: Vec<u8>,
    /// When they arrived, by the server's clock.
    pub at: Timestamp,
}

/// An entry of the quarantine that is one no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redecoded {
    /// The store's number of the entry.
    pub id: u64,
    /// How many readings it held.
    pub readings: u64,
    /// When, by the server's clock.
    pub at: Timestamp,
}

/// What quarantined bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// One encoded record.
    Record,
    /// A whole message as it came from the wire.
    Message,
    /// A whole message of a second writer in an epoch. It was understood; its readings come again under another label.
    Rival,
}

impl Form {
    /// A stable word, used in storage and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Message => "message",
            Self::Rival => "rival",
        }
    }
}

/// Something a person should know: facts without text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// What happened.
    pub kind: IncidentKind,
    /// Where.
    pub gateway: GatewayId,
    /// The epoch concerned, if it is about one.
    pub epoch: Option<Epoch>,
    /// The other epoch, for a clone.
    pub other: Option<Epoch>,
    /// The sequence numbers concerned, both included, as far as known.
    pub seqs: Option<(Seq, Seq)>,
    /// The newest reading stored of that epoch: the trouble begins after it. For [`IncidentKind::ClockUnknown`] as in
    /// [`Taken`].
    pub after: Option<Timestamp>,
    /// When it was noticed, by the server's clock.
    pub at: Timestamp,
}

/// The end of an incident that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentEnded {
    /// What is over.
    pub kind: IncidentKind,
    /// Where.
    pub gateway: GatewayId,
    /// When it was noticed, by the server's clock.
    pub at: Timestamp,
}

/// The kinds of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IncidentKind {
    /// Two programs publish under one gateway id: a cloned card. `epoch` and `other` are the two.
    Clone,
    /// Two writers use one epoch (a restored machine snapshot). Nothing of the second was committed.
    Fork,
    /// An epoch vanished from the gateway's disk before it was known to be complete; readings after `seqs.0` may be lost.
    PossibleLoss,
    /// After a restart the card held less than was announced before; `seqs` is what vanished from the card.
    CardLost,
    /// The centre had acknowledged `seqs` and has forgotten them: it was restored from a backup.
    ServerRestored,
    /// Undecodable bytes were set aside; `seqs` says in place of what.
    Quarantined,
    /// A gap was committed; `seqs` is the gap.
    Gap,
    /// The epoch's manifest arrived again with other points; the first one stays in force.
    ManifestConflict,
    /// The gateway opens epochs faster, or names more points or epochs, than it is allowed.
    Quota,
    /// A manifest names another gateway than the one it came from; nothing of `epoch` is taken.
    ForeignManifest,
    /// Readings were stored whose time nobody knows; `seqs` are their records.
    ClockUnknown,
    /// What had been set aside could be read after all and is stored; `seqs` are its records.
    Redecoded,
    /// A gateway publishes that stands in no base.
    Unassigned,
    /// The gateway's disk refuses writes: what it polls lives in memory only until it is sent. Ends with [`Effect::Ended`].
    SpoolFailed,
}

impl IncidentKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Clone,
        Self::Fork,
        Self::PossibleLoss,
        Self::CardLost,
        Self::ServerRestored,
        Self::Quarantined,
        Self::Gap,
        Self::ManifestConflict,
        Self::Quota,
        Self::ForeignManifest,
        Self::ClockUnknown,
        Self::Redecoded,
        Self::Unassigned,
        Self::SpoolFailed,
    ];

    /// A stable snake_case word, used in storage and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Fork => "fork",
            Self::PossibleLoss => "possible_loss",
            Self::CardLost => "card_lost",
            Self::ServerRestored => "server_restored",
            Self::Quarantined => "quarantined",
            Self::Gap => "gap",
            Self::ManifestConflict => "manifest_conflict",
            Self::Quota => "quota",
            Self::ForeignManifest => "foreign_manifest",
            Self::ClockUnknown => "clock_unknown",
            Self::Redecoded => "redecoded",
            Self::Unassigned => "unassigned",
            Self::SpoolFailed => "spool_failed",
        }
    }
}

/// What one durable transaction has to hold, and what may be said once it is durable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// To be stored together or not at all, in this order.
    pub effects: Vec<Effect>,
    /// To be sent only after `effects` are durable; at most one per epoch.
    pub acks: Vec<(GatewayId, Ack)>,
}

/// What a store gives back at start: enough to continue as if nothing had happened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Restored {
    /// Every point of the registry, in any order.
    pub points: Vec<PointEntry>,
    /// Every epoch of the registry, in any order.
    pub epochs: Vec<RestoredEpoch>,
    /// Bytes in quarantine per gateway.
    pub quarantined_bytes: Vec<(GatewayId, u64)>,
    /// Gateways whose [`IncidentKind::SpoolFailed`] is open, with the epoch that said so.
    pub failed_spools: Vec<(GatewayId, Epoch)>,
    /// What new points are numbered with; those in `points` are passed over anyway.
    pub point_numbers: Numbers,
    /// What new epochs are numbered with; those in `epochs` are passed over anyway.
    pub epoch_numbers: Numbers,
}

/// One epoch as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredEpoch {
    /// Whose epoch.
    pub gateway: GatewayId,
    /// Its 128 bits.
    pub epoch: Epoch,
    /// The numbers of its manifest's points, position by position.
    pub points: Vec<PointNo>,
    /// The last [`Effect::Watermark`] of it, or [`EpochState::fresh`] if there was none.
    pub state: EpochState,
}

impl EpochState {
    /// The state of an epoch of which nothing is committed.
    pub fn fresh(no: EpochNo) -> Self {
        Self {
            no,
            committed: 0,
            chain: Some(0),
            end: 0,
            sealed: false,
            gone: false,
            loss_reported: false,
            live_rank: 0,
            held_rank: 0,
            newest_at: None,
        }
    }
}
