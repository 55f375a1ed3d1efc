//! Reading back: consecutive entries of one epoch from any sequence number, with gaps for what is gone.

use std::collections::VecDeque;

use sitian_model::{Entry, Epoch, Gap, GapReason, Seq, Span};

use crate::disk::{Disk, DiskFault};
use crate::frame::{FRAMES_AT, Kind};
use crate::log::{Spool, Stream};
use crate::segment::{Segment, Walk};

/// Where reading may go on without walking a segment from its start; this many epochs are remembered.
const CURSORS_MAX: usize = 8;
/// A segment that the disk refuses to read this many times in a row is read around its bad sectors.
const READ_FAULTS_MAX: u32 = 3;
/// Entries in one run.
const ENTRIES_MAX: usize = 4096;

/// Consecutive entries. Empty where there is nothing (yet), or if no bytes were asked for: then only the chain counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which epoch.
    pub epoch: Epoch,
    /// Sequence number of the first entry, and of the next one if there is none.
    pub first: Seq,
    /// Consecutive. A gap is only ever the first.
    pub entries: Vec<Entry>,
    /// The chain before the first entry; if that is a gap, the chain after it.
    pub chain: u32,
}

/// Why nothing could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// Nothing of this epoch is left; the caller drops what it knows of it.
    #[error("find epoch {0} in the spool")]
    Unknown(Epoch),
    /// The disk refuses. The caller tries again later; after three refusals in a row bad sectors become gaps.
    #[error("read the spool: {0}")]
    Disk(DiskFault),
}

/// Where the next read of an epoch probably starts.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    epoch: Epoch,
    seq: Seq,
    number: u64,
    offset: u64,
}

/// The most recent cursors.
#[derive(Debug, Default)]
pub(crate) struct Cursors(VecDeque<Cursor>);

impl Cursors {
    fn offset(&self, epoch: Epoch, seq: Seq, number: u64) -> Option<u64> {
        let here = |c: &&Cursor| c.epoch == epoch && c.seq == seq && c.number == number;
        self.0.iter().find(here).map(|c| c.offset)
    }

    fn set(&mut self, cursor: Cursor) {
        self.0.retain(|c| c.epoch != cursor.epoch);
        self.0.truncate(CURSORS_MAX - 1);
        self.0.push_front(cursor);
    }

    pub(crate) fn forget_segment(&mut self, number: u64) {
        self.0.retain(|c| c.number != number);
    }
}

/// A run that is being put together.
pub(crate) struct Gather {
    epoch: Epoch,
    first: Seq,
    next: Seq,
    bytes: usize,
    bytes_max: usize,
    chain: Option<u32>,
    full: bool,
    pub(crate) entries: Vec<Entry>,
}

impl Gather {
    fn new(epoch: Epoch, first: Seq, bytes_max: usize) -> Self {
        Self { epoch, first, next: first, bytes: 0, bytes_max, chain: None, full: false, entries: Vec::new() }
    }

    /// The next record; not taken if the run is full without it.
    fn record(&mut self, chain: u32, payload: &[u8]) {
        self.chain.get_or_insert(chain);
        let bytes = self.bytes + payload.len();
        let over = bytes > self.bytes_max && (self.bytes > 0 || self.bytes_max == 0);
        if over || self.bytes_max == 0 || self.entries.len() >= ENTRIES_MAX {
            self.full = true;
            return;
        }
        self.bytes = bytes;
        self.next += 1;
        self.entries.push(Entry::Record(payload.to_vec()));
    }

    /// Something is missing here. A run begins with a gap or ends before it.
    fn gap(&mut self, gap: Gap, chain_after: u32) {
        if self.full || !self.entries.is_empty() {
            self.full = true;
            return;
        }
        self.chain = Some(chain_after);
        self.next = gap.last + 1;
        self.entries.push(Entry::Gap(gap));
    }

    fn missing(&mut self, last: Seq, reason: GapReason, span: Option<Span>, chain_after: u32) {
        self.gap(Gap { first: self.next, last, reason, span }, chain_after);
    }
}

impl<D: Disk> Spool<D> {
    /// Reads consecutive entries of `epoch` from `from` on: at most `bytes_max` bytes of payload, at least one entry
    /// if there is any; with `bytes_max` 0 only the chain, or the gap that `from` lies in. What was evicted, damaged
    /// or trimmed comes as a gap. Reads at most one run's worth of the disk beyond a walk to `from`.
    pub fn read(&mut self, epoch: Epoch, from: Seq, bytes_max: usize) -> Result<Run, ReadFault> {
        let gather = self.gather(epoch, from, bytes_max)?;
        self.count_damage(&gather);
        let chain = gather.chain.unwrap_or(0);
        Ok(Run { epoch, first: gather.first, entries: gather.entries, chain })
    }

    /// The manifest of an epoch. An epoch of which only a gap is left answers with the present manifest: there is
    /// nothing else to describe.
    pub fn manifest(&mut self, epoch: Epoch) -> Option<Vec<u8>> {
        let stream = self.stream(epoch)?;
        if let Some(manifest) = &stream.manifest {
            return Some(manifest.to_vec());
        }
        let segments: Vec<_> = self.segments.iter().filter(|(_, s)| s.epoch == epoch).collect();
        let none_left = segments.is_empty();
        for (number, segment) in segments {
            let mut walk = Walk::new(*number, FRAMES_AT, segment.used, true);
            if let Ok(Some(found)) = walk.next(&mut self.disk, &segment.name)
                && found.head.kind == Kind::Manifest
            {
                return Some(found.payload);
            }
        }
        none_left.then(|| self.manifest.to_vec())
    }

    pub(crate) fn gather(&mut self, epoch: Epoch, from: Seq, bytes_max: usize) -> Result<Gather, ReadFault> {
        let stream = self.stream(epoch).ok_or(ReadFault::Unknown(epoch))?;
        let (readable_end, chain) = (self.readable_end(stream), stream.chain);
        let mut run = Gather::new(epoch, from.min(readable_end), bytes_max);
        if run.first < readable_end {
            match self.gather_segments(&mut run) {
                Ok(()) => self.read_faults = 0,
                Err(fault) => {
                    self.read_faults = self.read_faults.saturating_add(1);
                    return Err(ReadFault::Disk(fault));
                }
            }
            self.gather_memory(&mut run, readable_end);
            if !run.full && run.next < readable_end {
                run.missing(readable_end - 1, GapReason::Evicted, None, chain);
            }
        }
        if run.chain.is_none() {
            let waiting = self.pending.iter().find(|p| p.epoch == epoch && p.seq >= run.first);
            run.chain = Some(waiting.map_or(chain, |p| p.chain));
        }
        Ok(run)
    }

    fn gather_segments(&mut self, run: &mut Gather) -> Result<(), DiskFault> {
        let epoch = run.epoch;
        let Some(stream) = self.streams.iter().rev().find(|s| s.epoch == epoch) else { return Ok(()) };
        let lenient = self.read_faults >= READ_FAULTS_MAX;
        let mut held = false;
        for (number, segment) in self.segments.iter().filter(|(_, s)| s.epoch == epoch) {
            if run.next < segment.first && held {
                run.missing(segment.first - 1, GapReason::Damaged, None, segment.chain_first);
            } else if run.next < segment.first {
                run.gap(Self::gap_before(stream, run.next, segment.first), segment.chain_first);
                // The front may be gone for more than one reason: one gap at a time.
                run.full |= run.next < segment.first;
            }
            held = true;
            if run.full {
                return Ok(());
            }
            if run.next < segment.end {
                let offset = self.cursors.offset(epoch, run.next, *number).unwrap_or(FRAMES_AT);
                let mut walk = Walk::new(*number, offset, segment.used, lenient);
                let stopped_at = gather_segment(&mut self.disk, segment, &mut walk, run)?;
                self.cursors.set(Cursor { epoch, seq: run.next, number: *number, offset: stopped_at });
            }
        }
        if !held && run.next < stream.end {
            let gap = Self::gap_before(stream, run.next, stream.end);
            let evicted = stream.evicted.filter(|e| e.last == gap.last).map(|e| e.chain);
            run.gap(gap, evicted.unwrap_or_else(|| self.chain_at_end(stream)));
            run.full |= run.next < stream.end;
        }
        Ok(())
    }

    /// The chain behind what is durable.
    fn chain_at_end(&self, stream: &Stream) -> u32 {
        self.pending.iter().find(|p| p.epoch == stream.epoch).map_or(stream.chain, |p| p.chain)
    }

    /// While the disk has failed, what is in memory counts too.
    fn gather_memory(&self, run: &mut Gather, readable_end: Seq) {
        let epoch = run.epoch;
        for p in self.pending.iter().filter(|p| p.epoch == epoch) {
            if run.full || run.next >= readable_end {
                return;
            }
            if p.seq > run.next {
                run.missing(p.seq - 1, GapReason::Evicted, None, p.chain);
            }
            if !run.full && p.seq == run.next {
                run.record(p.chain, &p.payload);
            }
        }
    }

    /// Damage counts as lost when it is first read.
    fn count_damage(&mut self, run: &Gather) {
        let Some(Entry::Gap(gap)) = run.entries.first() else { return };
        if gap.reason != GapReason::Damaged {
            return;
        }
        let (first, last) = (gap.first, gap.last);
        if let Some(stream) = self.stream_mut(run.epoch) {
            let counted = first.max(stream.damage_counted).max(stream.acked);
            stream.damage_counted = stream.damage_counted.max(last + 1);
            self.lost += (last + 1).saturating_sub(counted);
        }
    }
}

/// Adds the records of one segment from `run.next` on. Returns where the next one probably lies.
fn gather_segment(
    disk: &mut impl Disk,
    segment: &Segment,
    walk: &mut Walk,
    run: &mut Gather,
) -> Result<u64, DiskFault> {
    let mut before: Option<Span> = None;
    let (mut last_commit, mut behind_record) = (None, walk.offset());
    while run.next < segment.end {
        let Some(found) = walk.next(disk, &segment.name)? else {
            run.missing(segment.end - 1, GapReason::Damaged, last_commit, segment.chain_end);
            return Ok(behind_record);
        };
        let head = found.head;
        if head.kind == Kind::End && head.seq == segment.end {
            last_commit = head.span();
        }
        if head.kind != Kind::Data {
            continue;
        }
        if head.seq > run.next && head.seq < segment.end {
            let span = before.zip(head.span()).map(|(a, b)| Span { from: a.to.min(b.from), to: b.from });
            run.missing(head.seq - 1, GapReason::Damaged, span, head.chain);
        }
        if head.seq == run.next && !run.full {
            run.record(head.chain, &found.payload);
        }
        if run.full {
            return Ok(found.offset);
        }
        (before, behind_record) = (head.span(), walk.offset());
    }
    Ok(walk.offset())
}

impl Gather {
    /// One past the last entry.
    pub(crate) fn end(&self) -> Seq {
        self.next
    }
}
