//! What may be forgotten: release on a central ack, trim past keep-behind, evict under quota. Also the spare.

use std::collections::HashSet;

use sitian_model::{Epoch, Gap, GapReason, Mutant, Seq, Span};

use crate::disk::{Disk, DiskFault};
use crate::frame::Mark;
use crate::log::{Evicted, Spool, Stream};
use crate::segment::{Segment, file_name, scan};

/// Segments that are always allowed, whatever the quota: two for marks, the one being written, the spare.
const SEGMENTS_MIN: u64 = 4;
/// So many of the newest segments that open whole carry the marks: one of them may be damaged.
pub(crate) const MARKED_SEGMENTS: usize = 2;
/// Epochs of which only a label or a told gap is left: so many are remembered as long as records are kept behind, in case
/// the centre forgets them.
const TOLD_MAX: usize = 16;
/// So many of the newest epochs of which nothing is left are remembered whatever their age: a centre restored from a copy
/// from before the last of them hears that it has forgotten something.
const LAST_GONE: usize = 2;

impl<D: Disk> Spool<D> {
    /// Everything of `epoch` below `committed` is stored centrally. A smaller number than before is a rewind: the
    /// centre has forgotten. Numbers beyond what was written are clamped. Trims what is past keep-behind; noted on
    /// disk with a later commit. Records that are in memory only stay there until the disk takes them or memory is full:
    /// the centre may still forget. Unknown epochs are ignored.
    pub fn release(&mut self, epoch: Epoch, committed: Seq) {
        let Some(stream) = self.stream_mut(epoch) else { return };
        stream.acked = committed.min(stream.written);
        stream.acked_high = stream.acked_high.max(stream.acked);
        self.trim();
        self.forget_empty_streams();
    }

    /// Removes acknowledged segments that are past keep-behind; never the newest ones, which carry the marks, and of an
    /// epoch only its oldest: a clock that was ahead for a while makes an older segment look younger than the next one,
    /// and without the next one the epoch would end too early for whoever recovers it.
    fn trim(&mut self) {
        let before = self.keep_from_ms();
        let marks_from = self.marked().nth(MARKED_SEGMENTS - 1).unwrap_or(0);
        let mut until = i64::MAX;
        let mut segments = Vec::with_capacity(self.segments.len());
        for (number, segment) in self.segments.iter().rev() {
            // What nobody could date was written before what follows it.
            if segment.until > i64::MIN {
                until = segment.until;
            }
            let old = *number < marks_from && until < before && self.is_acked(segment);
            segments.push((*number, segment.epoch, old));
        }
        let mut kept = HashSet::new();
        for (number, epoch, old) in segments.into_iter().rev() {
            if !old {
                kept.insert(epoch);
            } else if !kept.contains(&epoch) && !self.remove_acked(number) {
                break;
            }
        }
    }

    /// The segments whose marks recovery relies on, newest first.
    fn marked(&self) -> impl Iterator<Item = u64> {
        let whole = self.segments.iter().rev().filter(|(_, s)| s.opens_whole).map(|(n, _)| *n);
        whole.take(MARKED_SEGMENTS)
    }

    /// What is older may be forgotten once it is acknowledged.
    pub(crate) fn keep_from_ms(&self) -> i64 {
        let keep_ms = if Mutant::NoKeepBehind.lives() { i64::MIN } else { self.limits.keep_behind_ms };
        self.newest_ms.saturating_sub(keep_ms)
    }

    fn is_acked(&self, segment: &Segment) -> bool {
        Mutant::TrimmedWithoutAck.lives()
            || self.stream(segment.epoch).is_none_or(|stream| segment.end <= stream.acked)
    }

    /// Notes the ack first if the removal depends on one that is not on disk yet, and with the last segment of an epoch
    /// that there was one.
    fn remove_acked(&mut self, number: u64) -> bool {
        let Some(segment) = self.segments.get(&number) else { return false };
        let epoch = segment.epoch;
        let others = self.segments.iter().any(|(n, s)| *n != number && s.epoch == epoch);
        let over = !others && epoch != self.live && segment.end > 0;
        if let Some(stream) = self.stream(epoch) {
            if over && stream.acked >= stream.written {
                self.write_marks(&[stream.gone_mark(self.newest_ms)]);
            } else if stream.acked_noted < segment.end {
                self.write_marks(&[Mark::Ack { epoch, committed: stream.acked }]);
            }
        }
        self.remove_segment(number)
    }

    /// False if the disk refused; the segment then stays.
    fn remove_segment(&mut self, number: u64) -> bool {
        let Some(segment) = self.segments.get(&number) else { return false };
        if self.disk.remove(&segment.name).is_err() {
            return false;
        }
        self.segments.remove(&number);
        if self.current == Some(number) {
            self.current = None;
        }
        self.cursors.forget_segment(number);
        true
    }

    /// Removes every segment of an epoch and the epoch itself; the newest first, so that a process that dies on the way
    /// leaves no hole.
    pub(crate) fn drop_epoch(&mut self, epoch: Epoch) {
        let numbers: Vec<u64> =
            self.segments.iter().rev().filter(|(_, s)| s.epoch == epoch).map(|(n, _)| *n).collect();
        let gone = numbers.into_iter().filter(|n| !self.remove_segment(*n)).count() == 0;
        if gone {
            self.streams.retain(|s| s.epoch != epoch);
        }
    }

    /// Epochs without a segment stay only while they are live, in memory, or have a gap to announce, as many as a new
    /// segment can repeat; and of those that have nothing to announce some, in case the centre forgets them.
    pub(crate) fn forget_empty_streams(&mut self) {
        let mut alive: HashSet<Epoch> = self.segments.values().map(|s| s.epoch).collect();
        alive.extend(self.pending.iter().map(|p| p.epoch));
        alive.insert(self.live);
        let told = |s: &Stream| s.acked >= s.written;
        for stream in self.streams.iter_mut().filter(|s| !alive.contains(&s.epoch)) {
            if stream.written > 0 && told(stream) {
                stream.gone.get_or_insert(self.newest_ms);
            }
        }
        self.streams.retain(|s| alive.contains(&s.epoch) || s.evicted.is_some() || s.gone.is_some());
        let before = self.keep_from_ms();
        let told_only = |s: &Stream| told(s) && !alive.contains(&s.epoch);
        let told_max = TOLD_MAX.min(self.marks_max() / 4);
        let last_gone = if Mutant::GoneForgotten.lives() { 0 } else { LAST_GONE };
        let mut newer = self.streams.iter().filter(|s| told_only(s)).count();
        self.streams.retain(|s| {
            newer -= usize::from(told_only(s));
            !told_only(s) || newer < last_gone || newer < told_max && s.is_young(before)
        });
        let gap = |s: &Stream| s.evicted.is_some();
        let noted = self.streams.iter().filter(|s| gap(s)).count();
        for _ in self.marks_max() / 2..noted {
            let untold = || self.streams.iter().position(gap);
            let told = self.streams.iter().position(|s| gap(s) && told(s));
            let Some(at) = told.or_else(untold) else { return };
            if alive.contains(&self.streams[at].epoch) {
                self.streams[at].evicted = None;
            } else {
                self.streams.remove(at);
            }
        }
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.values().map(|s| s.len).sum();
        let unreadable: u64 = self.unreadable.iter().map(|(_, len)| len).sum();
        segments + unreadable + self.spare.map_or(0, |(_, len)| len)
    }

    /// The quota in force.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.limits.bytes_max.max(SEGMENTS_MIN * self.limits.segment_bytes)
    }

    /// Has a spare segment ready for the next roll-over, if the disk allows; after a refusal asks less and less often.
    pub(crate) fn reserve_spare(&mut self) {
        // A power cut may bring back what was removed, and the quota may have become smaller.
        while self.bytes() > self.bytes_max() && self.make_room() {}
        if self.spare.is_some() || Mutant::NoSpare.lives() {
            return;
        }
        if self.spare_commits_to_skip > 0 {
            self.spare_commits_to_skip -= 1;
            return;
        }
        let len = self.segment_bytes_next();
        match self.create_spare(len) {
            Ok(number) => (self.spare, self.spare_faults) = (Some((number, len)), 0),
            Err(_) => {
                self.spare_commits_to_skip = 4 << self.spare_faults.min(4);
                self.spare_faults = self.spare_faults.saturating_add(1);
            }
        }
    }

    fn create_spare(&mut self, len: u64) -> Result<u64, DiskFault> {
        while self.bytes() + len > self.bytes_max() {
            if !self.make_room() {
                return Err(DiskFault::Full);
            }
        }
        self.create_segment_file(len)
    }

    /// A new file for the segment that is to be written now. What is evicted for it must be noted durably first, and that
    /// takes an open segment: until the commit that opens it is over, and [`Spool::reserve_spare`] has made room, the quota
    /// may be exceeded by a segment; by more only if nothing may go without a note: a quota that has become smaller, or
    /// power cuts in one such commit after the other, must not keep a gateway from accepting.
    pub(crate) fn create_segment(&mut self, len: u64) -> Result<u64, DiskFault> {
        let most = self.bytes_max() + self.limits.segment_bytes;
        while self.bytes() + len > most && self.make_room() {}
        self.create_segment_file(len)
    }

    /// Creates a zeroed segment file. Makes a little room when the disk is full: if that is not enough, others take what is
    /// freed, and there is no point in giving them everything.
    fn create_segment_file(&mut self, len: u64) -> Result<u64, DiskFault> {
        let mut tries_left = 2;
        loop {
            let number = self.number_next;
            self.number_next += 1;
            match self.disk.create(&file_name(number), len) {
                Ok(()) => return Ok(number),
                Err(DiskFault::Full) if tries_left > 0 && self.make_room() => {
                    tries_left -= 1;
                    self.number_next = number;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Removes one file: one that cannot be read, else the oldest segment that is acknowledged or already told as a gap,
    /// else the oldest of all, which then becomes a gap. False if there is nothing that may go.
    fn make_room(&mut self) -> bool {
        if let Some((name, _)) = self.unreadable.first() {
            let gone = self.disk.remove(name).is_ok();
            if gone {
                self.unreadable.remove(0);
            }
            return gone;
        }
        let marked: Vec<u64> = self.marked().chain(self.current).collect();
        let open = self.current.filter(|number| self.segments.get(number).is_some_and(|s| s.opens_whole));
        // What carries the marks goes last, and only if the segment being written carries them too.
        let number = self.least_needed(&marked).or_else(|| self.least_needed(&[open?]));
        let Some(number) = number else { return false };
        let acked = self.segments.get(&number).is_some_and(|segment| self.is_acked(segment));
        if acked { self.remove_acked(number) } else { self.evict(number) }
    }

    /// The oldest segment beside these that is acknowledged, else the oldest that is told as a gap, else the oldest.
    fn least_needed(&self, beside: &[u64]) -> Option<u64> {
        let removable = || self.segments.iter().filter(|(n, _)| !beside.contains(n));
        let first = |may: &dyn Fn(&Segment) -> bool| removable().find(|(_, s)| may(s)).map(|(n, _)| *n);
        first(&|s| self.is_acked(s)).or_else(|| first(&|s| self.is_told(s))).or_else(|| first(&|_| true))
    }

    /// True if a gap that is noted durably stands for all that is unacknowledged in this segment: a power cut has brought
    /// it back.
    fn is_told(&self, segment: &Segment) -> bool {
        let gap = self.stream(segment.epoch).filter(|s| s.evicted_noted).and_then(|s| s.evicted);
        gap.is_some_and(|gap| gap.first <= segment.first && segment.end <= gap.last + 1)
    }

    /// Removes a segment that is not acknowledged, once the gap is durably noted.
    fn evict(&mut self, number: u64) -> bool {
        let Some(segment) = self.segments.get(&number).cloned() else { return false };
        if Mutant::EvictedWithoutGap.lives() {
            return self.remove_segment(number);
        }
        if !self.is_told(&segment) && !self.note_gap(number, &segment) {
            return false;
        }
        let Some(stream) = self.stream_mut(segment.epoch) else { return false };
        // What an older segment holds may not have been counted although something behind it was.
        let counted = if stream.damage_counted < segment.end { stream.damage_counted } else { 0 };
        stream.damage_counted = stream.damage_counted.max(segment.end);
        self.lost += segment.end.saturating_sub(counted.max(segment.first).max(stream.acked));
        let gone = self.remove_segment(number);
        self.forget_empty_streams();
        gone
    }

    /// Makes it durable that everything up to the end of this segment is a gap. False if it cannot be noted now.
    fn note_gap(&mut self, number: u64, segment: &Segment) -> bool {
        let Some(stream) = self.stream(segment.epoch) else { return false };
        // Whatever lies between the acked records and this segment went before it.
        let (first, owner) = (stream.acked, stream.owner);
        let before = stream.evicted.filter(|e| e.last >= first);
        let unacked = first.max(segment.first)..segment.end;
        let scanned = scan(&mut self.disk, number, segment, unacked, true).unwrap_or_default();
        let span = match (before.and_then(|e| e.span), scanned.span) {
            (Some(a), Some(b)) => Some(Span { from: a.from.min(b.from), to: a.to.max(b.to) }),
            (a, b) => a.or(b),
        };
        // A segment that a power cut has brought back is older than what the gap already stands for.
        let wider = before.filter(|e| e.last >= segment.end);
        let (last, chain) =
            wider.map_or((segment.end.saturating_sub(1), segment.chain_end), |e| (e.last, e.chain));
        if !self.write_marks(&[Mark::Gap { epoch: segment.epoch, first, last, span, chain, owner }]) {
            return false;
        }
        let Some(stream) = self.stream_mut(segment.epoch) else { return false };
        (stream.evicted, stream.evicted_noted) = (Some(Evicted { first, last, span, chain }), true);
        true
    }

    /// The gap that stands for everything from `from` up to `to`, which no segment holds any more.
    pub(crate) fn gap_before(stream: &Stream, from: Seq, to: Seq) -> Gap {
        let last = to.saturating_sub(1);
        if let Some(evicted) = stream.evicted.filter(|e| e.first <= from && from <= e.last) {
            let last = last.min(evicted.last);
            return Gap { first: from, last, reason: GapReason::Evicted, span: evicted.span };
        }
        if from < stream.acked_high {
            let last = last.min(stream.acked_high - 1);
            return Gap { first: from, last, reason: GapReason::Trimmed, span: None };
        }
        Gap { first: from, last, reason: GapReason::Evicted, span: None }
    }
}
