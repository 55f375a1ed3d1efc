//! The spool itself: what it remembers, append, commit, and what it says of itself.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use sitian_model::{Epoch, Held, Seq, Span, SpoolState};

use crate::disk::{Disk, DiskFault};
use crate::owner::Owner;
use crate::reading::Cursors;
use crate::segment::Segment;

/// How large everything may become. The defaults suit a 16 GB card; a simulated world shrinks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one segment, at least 8 KiB; a record and a manifest may take a quarter of it.
    pub segment_bytes: u64,
    /// Bytes on disk including the spare; at least four segments are always allowed.
    pub bytes_max: u64,
    /// How long acknowledged records are kept in case the centre is restored from a backup, in milliseconds.
    pub keep_behind_ms: i64,
    /// Bytes of one record: at most a quarter of a segment; the default fits one batch on the wire uncompressed.
    pub record_bytes_max: usize,
    /// Bytes of records in memory: before a commit, and while the disk refuses to take them.
    pub memory_bytes_max: usize,
    /// Note an ack on disk after this many records; losing the note re-sends at most these.
    pub ack_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 1024 * 1024,
            bytes_max: 2 * 1024 * 1024 * 1024,
            keep_behind_ms: 72 * 3_600_000,
            record_bytes_max: 48 * 1024,
            memory_bytes_max: 4 * 1024 * 1024,
            ack_every: 64,
        }
    }
}

impl Limits {
    /// The nearest limits that can work.
    pub(crate) fn clamped(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.clamp(8 * 1024, 256 * 1024 * 1024).next_multiple_of(16);
        self.record_bytes_max = self.record_bytes_max.min(self.segment_bytes as usize / 4);
        self.ack_every = self.ack_every.max(1);
        self
    }
}

/// A record or manifest over its limit. The caller splits it; nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("take {what} of {bytes} bytes, the limit is {bytes_max}")]
pub struct TooLarge {
    /// `a record` or `a manifest`.
    pub what: &'static str,
    /// Its size.
    pub bytes: usize,
    /// The limit.
    pub bytes_max: usize,
}

/// Everything below `end` is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// The epoch that is being appended to.
    pub epoch: Epoch,
    /// One past its last durable sequence number.
    pub end: Seq,
}

/// The disk takes nothing, not even in a fresh file. Appended records stay readable from bounded memory, oldest
/// dropped first; every further commit tries a fresh file again, with pauses of up to eight commits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("commit to a fresh segment: {fault}")]
pub struct SpoolFault {
    /// What the disk said.
    pub fault: DiskFault,
}

/// A record that is not durable yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub epoch: Epoch,
    pub seq: Seq,
    /// The chain before it.
    pub chain: u32,
    pub span: Span,
    pub payload: Vec<u8>,
}

/// What was evicted at the front of an epoch before it was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evicted {
    pub first: Seq,
    pub last: Seq,
    pub span: Option<Span>,
    /// The chain after `last`.
    pub chain: u32,
}

/// One epoch.
#[derive(Debug)]
pub(crate) struct Stream {
    pub epoch: Epoch,
    /// One past the last sequence number given out.
    pub written: Seq,
    /// The chain there.
    pub chain: u32,
    /// One past the last durable sequence number.
    pub end: Seq,
    /// One past the last sequence number committed centrally, as far as known.
    pub acked: Seq,
    /// The highest that `acked` ever was: what is missing below it was trimmed, not lost.
    pub acked_high: Seq,
    /// The `acked` of the last ACK frame.
    pub acked_noted: Seq,
    /// The last range evicted unacked.
    pub evicted: Option<Evicted>,
    /// Whether a GAP frame says so yet.
    pub evicted_noted: bool,
    /// All of it was acknowledged and went: nothing but its label is left. The newest time that was known then, Unix ms.
    pub gone: Option<i64>,
    /// As told, if anybody has.
    pub owner: Owner,
    /// Damage below this was counted as lost already.
    pub damage_counted: Seq,
    /// For epochs that this process writes.
    pub manifest: Option<Arc<[u8]>>,
}

impl Stream {
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            written: 0,
            chain: 0,
            end: 0,
            acked: 0,
            acked_high: 0,
            acked_noted: 0,
            evicted: None,
            evicted_noted: true,
            gone: None,
            owner: Owner::default(),
            damage_counted: 0,
            manifest: None,
        }
    }

    /// True if it went, or left a gap, at `before` or later: a restored centre may ask for it.
    pub fn is_young(&self, before: i64) -> bool {
        let gap = self.evicted.and_then(|e| e.span).map(|span| span.to.0);
        gap.max(self.gone).is_some_and(|at| at >= before)
    }
}

/// The durable queue over a [`Disk`]. One owner; every call runs to its end on the caller's thread.
#[derive(Debug)]
pub struct Spool<D> {
    pub(crate) disk: D,
    pub(crate) limits: Limits,
    pub(crate) segments: BTreeMap<u64, Segment>,
    /// Oldest first.
    pub(crate) streams: Vec<Stream>,
    pub(crate) live: Epoch,
    pub(crate) manifest: Arc<[u8]>,
    /// Of epochs that begin from now on.
    pub(crate) owner: Owner,
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) pending_bytes: usize,
    /// The segment that is being written.
    pub(crate) current: Option<u64>,
    /// Created, zeroed and untouched: its number and its bytes.
    pub(crate) spare: Option<(u64, u64)>,
    /// Segments that this process has begun.
    pub(crate) opened: u32,
    pub(crate) number_next: u64,
    /// Bytes of files that look like segments but cannot be used.
    pub(crate) unreadable: Vec<(String, u64)>,
    pub(crate) listed: bool,
    pub(crate) cursors: Cursors,
    pub(crate) read_faults: u32,
    pub(crate) lost: u64,
    /// The end of the newest record's span, of those whose time is known.
    pub(crate) newest_ms: i64,
    pub(crate) fault: Option<DiskFault>,
    pub(crate) faults: u32,
    pub(crate) commits_to_skip: u32,
    pub(crate) spare_faults: u32,
    pub(crate) spare_commits_to_skip: u32,
}

impl<D: Disk> Spool<D> {
    /// Takes a record into memory and gives it its label in the live epoch. Not durable before [`Spool::commit`].
    /// Beyond the memory limit the oldest records that are not durable are dropped and counted as lost: the caller
    /// commits at least once per round. `at` says when, for keep-behind and for gaps: [`Span::UNKNOWN`] while nobody has
    /// vouched for the clock. Such a record is no younger than what is dated after it.
    pub fn append(&mut self, payload: &[u8], at: Span) -> Result<Seq, TooLarge> {
        let bytes_max = self.limits.record_bytes_max;
        if payload.len() > bytes_max {
            return Err(TooLarge { what: "a record", bytes: payload.len(), bytes_max });
        }
        let manifest = self.manifest.clone();
        Ok(self.append_to(self.live, &manifest, payload.to_vec(), at))
    }

    pub(crate) fn append_to(
        &mut self,
        epoch: Epoch,
        manifest: &Arc<[u8]>,
        payload: Vec<u8>,
        span: Span,
    ) -> Seq {
        let owner = self.owner;
        let stream = self.stream_or_new(epoch);
        if stream.manifest.is_none() && stream.owner == Owner::default() {
            stream.owner = owner;
        }
        stream.manifest.get_or_insert_with(|| manifest.clone());
        let (seq, chain) = (stream.written, stream.chain);
        stream.written += 1;
        stream.chain = crc32c::crc32c_append(chain, &payload);
        if span.is_known() {
            self.newest_ms = span.to.0;
        }
        self.pending_bytes += payload.len();
        self.pending.push_back(Pending { epoch, seq, chain, span, payload });
        while self.pending_bytes > self.limits.memory_bytes_max && self.pending.len() > 1 {
            self.drop_oldest_pending();
        }
        seq
    }

    /// Makes everything appended so far durable: one write and one sync per segment touched, usually one. On a fault
    /// of the file a fresh one is tried at once.
    pub fn commit(&mut self) -> Result<Durable, SpoolFault> {
        if self.fault.is_some() && self.commits_to_skip > 0 {
            self.commits_to_skip -= 1;
        } else {
            match self.list_if_needed().and_then(|()| self.write_pending()) {
                Ok(()) => {
                    (self.fault, self.faults) = (None, 0);
                    self.reserve_spare();
                }
                Err(fault) => {
                    self.commits_to_skip = (1 << self.faults.min(3)) - 1;
                    self.faults = self.faults.saturating_add(1);
                    self.fault = Some(fault);
                }
            }
        }
        match &self.fault {
            None => Ok(Durable { epoch: self.live, end: self.stream(self.live).map_or(0, |s| s.end) }),
            Some(fault) => Err(SpoolFault { fault: fault.clone() }),
        }
    }

    /// Further records get labels in `fresh`, from 0. The old live epoch keeps what it has. Costs nothing until then.
    pub fn seal(&mut self, fresh: Epoch) {
        self.live = fresh;
    }

    /// The manifest of epochs that begin from now on. Call it before the first append, or before the first append
    /// after [`Spool::seal`].
    pub fn set_manifest(&mut self, manifest: &[u8]) -> Result<(), TooLarge> {
        let bytes_max = self.limits.segment_bytes as usize / 4;
        if manifest.len() > bytes_max {
            return Err(TooLarge { what: "a manifest", bytes: manifest.len(), bytes_max });
        }
        self.manifest = manifest.into();
        Ok(())
    }

    /// Whose records epochs hold that begin from now on. Call it before the first append.
    pub fn set_owner(&mut self, owner: Owner) {
        self.owner = owner;
    }

    /// Says whose records an epoch holds that another process has begun; from its manifest, as long as there is one.
    /// Unknown epochs are ignored.
    pub fn set_owner_of(&mut self, epoch: Epoch, owner: Owner) {
        if let Some(stream) = self.stream_mut(epoch) {
            stream.owner = owner;
        }
    }

    /// Whose records an epoch holds, if anybody has said.
    pub fn owner_of(&self, epoch: Epoch) -> Option<Owner> {
        self.stream(epoch).map(|stream| stream.owner).filter(|owner| !owner.word().is_empty())
    }

    /// The epoch that appends go to.
    pub fn live(&self) -> Epoch {
        self.live
    }

    /// Every epoch that has readable records or of which something is remembered, oldest first. `end` covers what is
    /// durable, and while the disk has failed also what is in memory only.
    pub fn held(&self) -> Vec<Held> {
        let mut oldest: HashMap<Epoch, Seq> = HashMap::new();
        let on_disk = self.segments.values().map(|s| (s.epoch, s.first));
        for (epoch, seq) in on_disk.chain(self.pending.iter().map(|p| (p.epoch, p.seq))) {
            oldest.entry(epoch).and_modify(|o| *o = seq.min(*o)).or_insert(seq);
        }
        let held = |s: &Stream| {
            let end = self.readable_end(s);
            Held {
                epoch: s.epoch,
                oldest: oldest.get(&s.epoch).map_or(end, |o| end.min(*o)),
                end,
                acked: s.acked,
            }
        };
        self.streams.iter().filter(|s| self.readable_end(s) > 0).map(held).collect()
    }

    /// What people who watch the gateway should know.
    pub fn state(&self) -> SpoolState {
        SpoolState {
            bytes: self.bytes(),
            bytes_max: self.bytes_max(),
            backlog: self.streams.iter().map(|s| self.readable_end(s).saturating_sub(s.acked)).sum(),
            lost: self.lost,
            healthy: self.fault.is_none(),
        }
    }

    /// One past the last sequence number that [`Spool::read`] gives out: what is durable. While the disk has failed
    /// also what is in memory, and once memory holds nothing of the epoch any more, what was dropped from it.
    pub(crate) fn readable_end(&self, stream: &Stream) -> Seq {
        let waiting = || self.pending.iter().any(|p| p.epoch == stream.epoch);
        if self.fault.is_none() && waiting() { stream.end } else { stream.written }
    }

    pub(crate) fn stream(&self, epoch: Epoch) -> Option<&Stream> {
        self.streams.iter().rev().find(|s| s.epoch == epoch)
    }

    pub(crate) fn stream_mut(&mut self, epoch: Epoch) -> Option<&mut Stream> {
        self.streams.iter_mut().rev().find(|s| s.epoch == epoch)
    }

    pub(crate) fn stream_or_new(&mut self, epoch: Epoch) -> &mut Stream {
        let at = self.streams.iter().rposition(|s| s.epoch == epoch).unwrap_or_else(|| {
            self.streams.push(Stream::new(epoch));
            self.streams.len() - 1
        });
        &mut self.streams[at]
    }

    fn drop_oldest_pending(&mut self) {
        let Some(dropped) = self.pending.pop_front() else { return };
        self.pending_bytes -= dropped.payload.len();
        if self.stream(dropped.epoch).is_some_and(|s| dropped.seq >= s.acked) {
            self.lost += 1;
        }
    }
}
