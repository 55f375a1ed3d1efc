//! What travels between gateway and ingestor: labels, batches and acknowledgements (the delivery contract).

use std::fmt;

use crate::Span;

/// Position of a record within its epoch: 0, 1, 2 …
pub type Seq = u64;

/// 128 random bits drawn at the first append of each process start: two histories never share a label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub [u8; 16]);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// Why a range of sequence numbers has no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GapReason {
    /// The spool was full and nothing could be trimmed.
    Evicted,
    /// Frames on the gateway's disk could not be read.
    Damaged,
    /// The records were trimmed after the centre had acknowledged them, and the centre has forgotten them since.
    Trimmed,
}

impl GapReason {
    /// A stable snake_case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Damaged => "damaged",
            Self::Trimmed => "trimmed",
        }
    }
}

/// A range of sequence numbers whose data is gone: committed centrally like data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gap {
    /// First missing sequence number.
    pub first: Seq,
    /// Last missing sequence number (included).
    pub last: Seq,
    /// Why.
    pub reason: GapReason,
    /// The time that the missing records cover, as far as known.
    pub span: Option<Span>,
}

/// One step of an epoch: a record (opaque, already encoded) or a gap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// One encoded record; takes one sequence number.
    Record(Vec<u8>),
    /// A gap; takes `last - first + 1` sequence numbers.
    Gap(Gap),
}

impl Entry {
    /// How many sequence numbers it takes.
    pub fn width(&self) -> u64 {
        match self {
            Self::Record(_) => 1,
            Self::Gap(gap) => gap.last.saturating_sub(gap.first).saturating_add(1),
        }
    }
}

/// Which lane a batch travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Fresh readings.
    Live,
    /// Readings kept during an outage.
    Backfill,
}

/// An epoch that still has records on the gateway's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// Which epoch.
    pub epoch: Epoch,
    /// Lowest sequence number on disk.
    pub oldest: Seq,
    /// One past the highest sequence number written.
    pub end: Seq,
    /// What the gateway believes to be committed: one past the highest.
    pub acked: Seq,
}

/// Maps monotonic time of one boot to wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Clock {
    /// Which boot.
    pub boot: u64,
    /// Wall time in Unix milliseconds at monotonic zero of that boot.
    pub wall_at_zero_ms: i64,
    /// How far it may be off, in milliseconds.
    pub uncertainty_ms: u32,
}

/// The state of the gateway's spool, for the people who watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SpoolState {
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes allowed on disk.
    pub bytes_max: u64,
    /// Records not yet committed centrally.
    pub backlog: u64,
    /// Records lost to eviction or damage since process start.
    pub lost: u64,
    /// False while the disk refuses writes and records are published from memory only.
    pub healthy: bool,
}

/// A run of consecutive entries of one epoch. Without entries it is a probe: it asks for an [`Ack`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Which epoch.
    pub epoch: Epoch,
    /// Sequence number of the first entry (for a probe: what would come next).
    pub first: Seq,
    /// Consecutive, without holes.
    pub entries: Vec<Entry>,
    /// CRC-32C over the payloads of all records of this epoch before `first`; two writers in one epoch differ in it.
    /// A gap is only ever the first entry: then this is the chain *after* the gap, taken over unchecked by the centre.
    pub chain: u32,
    /// What the gateway believes to be committed: one past the highest.
    pub acked: Seq,
    /// Lowest sequence number of this epoch on the gateway's disk.
    pub oldest: Seq,
    /// Every epoch on the gateway's disk.
    pub held: Vec<Held>,
    /// Clocks of boots whose records may have been taken before the clock was set.
    pub clocks: Vec<Clock>,
    /// Fresh or kept.
    pub lane: Lane,
    /// State of the spool when the batch was sealed.
    pub spool: SpoolState,
}

impl Batch {
    /// One past the last sequence number of the batch.
    pub fn end(&self) -> Seq {
        self.entries.iter().fold(self.first, |seq, entry| seq.saturating_add(entry.width()))
    }
}

/// What the ingestor tells a gateway about one epoch. Sent only after the commit is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ack {
    /// Which epoch.
    pub epoch: Epoch,
    /// Everything below is stored: one past the highest committed sequence number.
    pub committed: Seq,
    /// CRC-32C over the payloads of all records below `committed`, as the centre knows them: an ack that differs from what
    /// the gateway wrote speaks of another writer. `None` where the centre cannot tell, and from an older one.
    pub chain: Option<u32>,
    /// What to do next.
    pub action: Action,
    /// Wait this long before sending more of this epoch, in milliseconds.
    pub retry_after_ms: u32,
    /// How many bytes may be under way unacknowledged.
    pub window_bytes: u32,
    /// The ingestor's clock in Unix milliseconds.
    pub server_ms: i64,
}

/// What a gateway has to do after an ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Go on.
    Ok,
    /// The centre has forgotten: continue from `committed`, even though more was acknowledged before.
    Rewind,
    /// The centre is slow: wait `retry_after_ms`.
    Slow,
    /// Something undecodable was set aside; go on from `committed`.
    Quarantined,
    /// Another writer uses this epoch: relabel what is unacknowledged under a fresh epoch.
    Fork,
    /// The epoch's manifest is not known here: publish it, then send again from `committed`.
    Manifest,
}
