//! From memory to the segment: roll over, write, sync; leave a file for good when it fails.

use sitian_model::{Mutant, Seq};

use crate::disk::{Disk, DiskFault};
use crate::frame::{
    Closed, END_BYTES, FRAMES_AT, HEADER_BYTES, Head, Header, Kind, MARK_BYTES, Mark, encode_frame,
    frame_bytes,
};
use crate::log::{Evicted, Pending, Spool, Stream};
use crate::segment::{Segment, Tail, file_name};

/// Room at the end of each segment that only marks may use, so that an eviction can always be noted.
const MARK_RESERVE: usize = 4 * MARK_BYTES;

/// Segments of a process that are as small as its records allow.
const SMALL_SEGMENTS: u32 = 2;
/// But not smaller than this.
const FIRST_BYTES_MIN: u64 = 64 * 1024;
/// Marks that may become due between the choice of a segment's size and its first commit.
const MARKS_SLACK: usize = 16;

/// How far the commits of a segment have come, for the frame behind the last of them. It is part of the commit's one
/// write: where it is valid, everything before it has reached the card too, or is damaged.
struct End {
    seq: Seq,
    chain: u32,
    /// The earliest time in the commit.
    from: i64,
    until: i64,
}

impl End {
    fn of(segment: &Segment) -> Self {
        Self { seq: segment.end, chain: segment.chain_end, from: i64::MAX, until: segment.until }
    }

    fn advance(&mut self, p: &Pending) {
        self.seq = p.seq + 1;
        self.chain = crc32c::crc32c_append(p.chain, &p.payload);
        (self.from, self.until) = (self.from.min(p.span.from.0), self.until.max(p.span.to.0));
    }

    fn encode(&self, out: &mut Vec<u8>, number: u64, offset: u64) {
        let Self { seq, chain, from, until } = *self;
        if Mutant::EndNotNoted.lives() {
            return;
        }
        // Where nothing is dated the span ends before it begins, as that of its records.
        let from = if until == i64::MIN { i64::MAX } else { from.min(until) };
        let head = Head { kind: Kind::End, length: 0, chain, seq, from, to: until };
        encode_frame(out, number, offset, &head, &[]);
    }
}

impl Stream {
    fn ack_mark(&self) -> Mark {
        Mark::Ack { epoch: self.epoch, committed: self.acked }
    }

    fn gap_mark(&self) -> Option<Mark> {
        let Evicted { first, last, span, chain } = self.evicted?;
        Some(Mark::Gap { epoch: self.epoch, first, last, span, chain, owner: self.owner })
    }

    /// For an epoch that goes at `at_ms`, unless it is gone already.
    pub(crate) fn gone_mark(&self, at_ms: i64) -> Mark {
        let at_ms = self.gone.unwrap_or(at_ms);
        Mark::Gone { epoch: self.epoch, end: self.written, chain: self.chain, at_ms, owner: self.owner }
    }
}

impl<D: Disk> Spool<D> {
    /// Writes until nothing is pending. A file that fails is left for good; the second failure in a row is final.
    pub(crate) fn write_pending(&mut self) -> Result<(), DiskFault> {
        let mut failed_before = false;
        while !self.pending.is_empty() {
            match self.write_run() {
                Ok(()) => failed_before = false,
                Err(fault) if failed_before => return Err(fault),
                Err(_) => failed_before = true,
            }
        }
        Ok(())
    }

    /// Writes and syncs as many pending records of one epoch as the segment holds; rolls over first where needed.
    fn write_run(&mut self) -> Result<(), DiskFault> {
        let Some(front) = self.pending.front() else { return Ok(()) };
        let (epoch, need) = (front.epoch, frame_bytes(front.payload.len()) as u64);
        let fits = |s: &Segment| s.epoch == epoch && s.used + need + MARK_RESERVE as u64 <= s.frames_end();
        match self.current.and_then(|number| Some((number, self.segments.get(&number)?))) {
            Some((number, segment)) if fits(segment) => {
                let (start, marks) = (segment.used, self.due_marks());
                self.write_frames(number, start, Vec::new(), &marks)
            }
            _ => {
                let (number, opening, marks) = self.open_segment()?;
                self.write_frames(number, 0, opening, &marks)
            }
        }
    }

    /// Appends marks and pending records to `bytes`, which start at `start` of the segment, then writes and syncs.
    fn write_frames(
        &mut self,
        number: u64,
        start: u64,
        mut bytes: Vec<u8>,
        marks: &[Mark],
    ) -> Result<(), DiskFault> {
        let Some(segment) = self.segments.get(&number) else { return Ok(()) };
        let (name, frames_end, epoch) = (segment.name.clone(), segment.frames_end(), segment.epoch);
        let mut end = End::of(segment);
        let room =
            |at: usize, need: usize, reserve: usize| start + (at + need + reserve) as u64 <= frames_end;
        let mut marked = 0;
        for mark in marks {
            if !room(bytes.len(), MARK_BYTES, MARK_RESERVE / 2) {
                break;
            }
            let at = start + bytes.len() as u64;
            mark.encode(&mut bytes, number, at);
            marked += 1;
        }
        let mut taken = 0;
        for p in self.pending.iter().take_while(|p| p.epoch == epoch) {
            if !room(bytes.len(), frame_bytes(p.payload.len()), MARK_RESERVE) {
                break;
            }
            let (from, to) = (p.span.from.0, p.span.to.0);
            let head = Head { kind: Kind::Data, length: 0, chain: p.chain, seq: p.seq, from, to };
            let at = start + bytes.len() as u64;
            encode_frame(&mut bytes, number, at, &head, &p.payload);
            end.advance(p);
            taken += 1;
        }
        let used = start + bytes.len() as u64;
        end.encode(&mut bytes, number, used);
        let mut written = self.disk.write_at(&name, start, &bytes);
        if start == 0 {
            written = written.and_then(|()| self.disk.write_at(&name, frames_end, &bytes[..HEADER_BYTES]));
        }
        if let Err(fault) = written.and_then(|()| self.sync(&name)) {
            self.abandon(number);
            return Err(fault);
        }
        self.note_marks(&marks[..marked]);
        self.settle(number, used, taken);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskFault> {
        if Mutant::NeverSynced.lives() {
            return Ok(());
        }
        match self.disk.sync(name) {
            Err(_) if Mutant::FsyncRetriedAfterError.lives() => self.disk.sync(name),
            outcome => outcome,
        }
    }

    /// The first `taken` pending records are durable in segment `number`, which is now used up to `used`.
    fn settle(&mut self, number: u64, used: u64, taken: usize) {
        let Some(segment) = self.segments.get_mut(&number) else { return };
        (segment.used, segment.opens_whole) = (used, true);
        for p in self.pending.drain(..taken) {
            self.pending_bytes -= p.payload.len();
            segment.end = p.seq + 1;
            segment.chain_end = crc32c::crc32c_append(p.chain, &p.payload);
            segment.until = segment.until.max(p.span.to.0);
        }
        let (epoch, end) = (segment.epoch, segment.end);
        if let Some(stream) = self.stream_mut(epoch) {
            stream.end = stream.end.max(end);
        }
    }

    /// Leaves a file that failed. What it held durably stays readable; a file that held nothing goes.
    fn abandon(&mut self, number: u64) {
        self.current = None;
        if self.segments.get(&number).is_some_and(|s| s.end == s.first)
            && let Some(segment) = self.segments.remove(&number)
            && self.disk.remove(&segment.name).is_err()
        {
            self.unreadable.push((segment.name, segment.len));
        }
    }

    /// Makes a fresh segment current, for the front pending record; returns its first bytes and the marks to follow.
    fn open_segment(&mut self) -> Result<(u64, Vec<u8>, Vec<Mark>), DiskFault> {
        let (number, len) = self.take_segment_file()?;
        let Some(front) = self.pending.front() else { return Ok((number, Vec::new(), Vec::new())) };
        let (epoch, first, chain) = (front.epoch, front.seq, front.chain);
        let previous = number.checked_sub(1).and_then(|n| self.segments.get(&n));
        let previous = previous.map(|s| Closed { end: s.end, chain: s.chain_end, until: s.until });
        let mut bytes = Header { number, epoch, first, chain, previous, len }.encode();
        let manifest = self.stream(epoch).and_then(|s| s.manifest.clone()).unwrap_or_default();
        let head = Head { kind: Kind::Manifest, length: 0, chain: 0, seq: 0, from: 0, to: 0 };
        encode_frame(&mut bytes, number, FRAMES_AT, &head, &manifest);
        let segment = Segment {
            name: file_name(number),
            epoch,
            first,
            chain_first: chain,
            end: first,
            chain_end: chain,
            until: i64::MIN,
            used: FRAMES_AT,
            len,
            tail: Tail::Whole,
            opens_whole: false,
            orphaned: false,
        };
        self.segments.insert(number, segment);
        (self.current, self.opened) = (Some(number), self.opened.saturating_add(1));
        let marks = self.all_marks();
        Ok((number, bytes, marks))
    }

    /// The spare, or else a new file. A spare that a larger manifest has outgrown goes.
    fn take_segment_file(&mut self) -> Result<(u64, u64), DiskFault> {
        match self.spare.take() {
            Some((number, len)) if self.first_bytes() <= len => return Ok((number, len)),
            Some((number, _)) => self.disk.remove(&file_name(number))?,
            None => {}
        }
        let len = self.segment_bytes_next();
        Ok((self.create_segment(len)?, len))
    }

    /// The smallest segment that this process may begin now: its manifest, the marks and the largest record fit.
    pub(crate) fn first_bytes(&self) -> u64 {
        let marks = self.all_marks().len() + MARKS_SLACK;
        let records = frame_bytes(self.manifest.len()) + frame_bytes(self.limits.record_bytes_max);
        let need = (2 * HEADER_BYTES + records + marks * MARK_BYTES + MARK_RESERVE) as u64;
        need.max(FIRST_BYTES_MIN).next_power_of_two().min(self.limits.segment_bytes)
    }

    /// The bytes of the segment that is created next. A process begins with small ones, so that a gateway which restarts
    /// again and again, each time under a fresh epoch, does not spend its quota on zeros.
    pub(crate) fn segment_bytes_next(&self) -> u64 {
        if self.opened < SMALL_SEGMENTS { self.first_bytes() } else { self.limits.segment_bytes }
    }

    /// The marks that every new segment repeats, at most a quarter of it: gaps first, then what is gone, then the newest
    /// epochs' acks.
    fn all_marks(&self) -> Vec<Mark> {
        let gaps = self.streams.iter().filter_map(Stream::gap_mark);
        let gone = self.streams.iter().filter(|s| s.gone.is_some()).map(|s| s.gone_mark(self.newest_ms));
        let acks = self.streams.iter().rev().filter(|s| s.acked > 0).map(Stream::ack_mark);
        gaps.chain(gone).chain(acks).take(self.marks_max()).collect()
    }

    /// How many marks a new segment repeats at most.
    pub(crate) fn marks_max(&self) -> usize {
        self.limits.segment_bytes as usize / 4 / MARK_BYTES
    }

    /// The marks worth a frame now: they travel with the records of this commit.
    pub(crate) fn due_marks(&self) -> Vec<Mark> {
        let every = self.limits.ack_every;
        let gaps = self.streams.iter().filter(|s| !s.evicted_noted).filter_map(Stream::gap_mark);
        let acks =
            self.streams.iter().filter(|s| s.acked.abs_diff(s.acked_noted) >= every).map(Stream::ack_mark);
        gaps.chain(acks).take(self.marks_max()).collect()
    }

    /// Remembers that these marks are durable.
    fn note_marks(&mut self, marks: &[Mark]) {
        for mark in marks {
            match *mark {
                Mark::Ack { epoch, committed } => {
                    if let Some(stream) = self.stream_mut(epoch) {
                        stream.acked_noted = committed;
                    }
                }
                Mark::Gap { epoch, .. } => {
                    if let Some(stream) = self.stream_mut(epoch) {
                        stream.evicted_noted = true;
                    }
                }
                Mark::Gone { .. } => {}
            }
        }
    }

    /// Writes marks alone into the current segment, where they always find room; false if that failed or there is none.
    pub(crate) fn write_marks(&mut self, marks: &[Mark]) -> bool {
        let Some(number) = self.current else { return false };
        let Some(segment) = self.segments.get(&number) else { return false };
        let (name, start, frames_end) = (segment.name.clone(), segment.used, segment.frames_end());
        let mut bytes = Vec::new();
        for mark in marks {
            let at = start + bytes.len() as u64;
            mark.encode(&mut bytes, number, at);
        }
        let used = start + bytes.len() as u64;
        if used > frames_end {
            return false;
        }
        if used + END_BYTES as u64 <= frames_end {
            End::of(segment).encode(&mut bytes, number, used);
        }
        if self.disk.write_at(&name, start, &bytes).and_then(|()| self.disk.sync(&name)).is_err() {
            self.abandon(number);
            return false;
        }
        self.note_marks(marks);
        self.settle(number, used, 0);
        true
    }
}
