//! Opening whatever is on the disk. Reads every segment's header, but frames only where the next header cannot vouch
//! for them: in the newest segments and beside damage. Writes nothing but the spare.

use std::collections::{BTreeMap, HashSet, VecDeque};

use sitian_model::{Epoch, Seq};

use crate::disk::{Disk, DiskFault, File};
use crate::frame::{FRAMES_AT, HEADER_BYTES, Header, HeaderLook, Mark};
use crate::log::{Evicted, Limits, Spool, Stream};
use crate::owner::Owner;
use crate::reading::Cursors;
use crate::retention::MARKED_SEGMENTS;
use crate::segment::{NUMBERS_END, Segment, Tail, file_number, scan};

/// What opening found, for the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Segments that can be read.
    pub segments: usize,
    /// Epochs with records, or of which something is remembered.
    pub epochs: usize,
    /// Records on disk that are not known to be committed centrally.
    pub backlog: u64,
    /// Non-zero bytes behind the last valid frame of a segment: a write that was torn by a power cut, never accepted.
    pub tail_bytes: u64,
    /// Segment files that are certainly damaged behind their last valid record: too short, unreadable there, or followed
    /// by a file whose headers are damaged. How many records that cost is not known: each counts one as lost.
    pub cut_short: Vec<(String, Epoch)>,
    /// Segment files without a readable header. Kept until room is needed.
    pub unreadable: Vec<String>,
    /// Segment files of another version of this program, or doubles. Never touched.
    pub foreign: Vec<String>,
    /// The directory cannot be listed: records go to memory until it can.
    pub fault: Option<String>,
}

impl<D: Disk> Spool<D> {
    /// Opens the spool in whatever state it is. `epoch` must be fresh random bits; it costs nothing until the first
    /// append. Limits that cannot work are moved to the nearest that can.
    pub fn open(disk: D, limits: Limits, epoch: Epoch) -> (Self, Recovery) {
        let mut spool = Self {
            disk,
            limits: limits.clamped(),
            segments: BTreeMap::new(),
            streams: Vec::new(),
            live: epoch,
            manifest: Vec::new().into(),
            owner: Owner::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            current: None,
            spare: None,
            opened: 0,
            number_next: 0,
            unreadable: Vec::new(),
            listed: false,
            cursors: Cursors::default(),
            read_faults: 0,
            lost: 0,
            newest_ms: i64::MIN,
            fault: None,
            faults: 0,
            commits_to_skip: 0,
            spare_faults: 0,
            spare_commits_to_skip: 0,
        };
        let refused = |fault: DiskFault| Recovery { fault: Some(fault.to_string()), ..Recovery::default() };
        let mut recovery = spool.recover().unwrap_or_else(refused);
        if spool.listed && spool.bytes() + spool.segment_bytes_next() <= spool.bytes_max() {
            spool.reserve_spare();
        }
        recovery.segments = spool.segments.len();
        recovery.epochs = spool.held().len();
        recovery.backlog = spool.state().backlog;
        (spool, recovery)
    }

    /// Gives the disk back, as a process that ends would.
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// The disk, for a shell that has to remount or inspect it. The spool's own files are not to be touched.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// A directory that could not be listed at the start is tried again before anything is written to it.
    pub(crate) fn list_if_needed(&mut self) -> Result<(), DiskFault> {
        match self.listed {
            true => Ok(()),
            false => self.recover().map(drop),
        }
    }

    fn recover(&mut self) -> Result<Recovery, DiskFault> {
        let mut recovery = Recovery::default();
        let files = self.disk.list()?;
        self.listed = true;
        let headers = self.index(files, &mut recovery);
        let marks = self.find_ends(&headers, &mut recovery);
        self.rebuild_streams(&marks);
        Ok(recovery)
    }

    /// Sorts the files into segments, the spare, and what cannot be used.
    fn index(&mut self, files: Vec<File>, recovery: &mut Recovery) -> BTreeMap<u64, Header> {
        let mut found = Vec::new();
        let mut blank = Vec::new();
        let mut damaged = Vec::new();
        let numbered = |file: File| Some((file_number(&file.name)?, file));
        for (named, file) in files.into_iter().filter_map(numbered) {
            self.number_next = self.number_next.max(named.saturating_add(1));
            match read_header(&mut self.disk, &file) {
                (HeaderLook::Header(header), tail) => found.push((named, file, header, tail)),
                (HeaderLook::Blank, _) => blank.push((named, file)),
                (HeaderLook::Foreign, _) => recovery.foreign.push(file.name),
                (HeaderLook::Damaged, _) => {
                    damaged.push(named);
                    recovery.unreadable.push(self.set_aside(file));
                }
            }
        }
        // A file under its own name wins over a copy of it under another.
        found.sort_by_key(|(named, _, header, _)| (*named != header.number, *named));
        let mut headers = BTreeMap::new();
        for (_, file, header, tail) in found {
            self.number_next = self.number_next.max(header.number.saturating_add(1));
            if headers.contains_key(&header.number)
                || header.first == Seq::MAX
                || header.number >= NUMBERS_END
            {
                recovery.foreign.push(file.name);
                continue;
            }
            self.segments.insert(header.number, segment_of(&header, file, tail));
            headers.insert(header.number, header);
        }
        for number in damaged {
            if let Some((_, before)) = self.segments.range_mut(..number).next_back() {
                before.orphaned = true;
            }
        }
        self.choose_spare(blank);
        headers
    }

    /// The newest blank file becomes the spare if it would be the newest segment; the others go.
    fn choose_spare(&mut self, mut blank: Vec<(u64, File)>) {
        blank.sort_by_key(|(named, _)| *named);
        let newest = self.segments.keys().next_back().copied();
        for (named, file) in blank.into_iter().rev() {
            let len_fits = (self.first_bytes()..=self.limits.segment_bytes).contains(&file.len);
            let fits = len_fits && newest.is_none_or(|n| n < named);
            if self.spare.is_none() && fits {
                self.spare = Some((named, file.len));
            } else if self.disk.remove(&file.name).is_err() {
                self.set_aside(file);
            }
        }
    }

    /// Remembers a file that may go when room is needed.
    fn set_aside(&mut self, file: File) -> String {
        self.unreadable.push((file.name.clone(), file.len));
        file.name
    }

    /// Finds out where each segment ends: from the next header, or by reading it. Returns the marks of the newest two that
    /// open whole, and of what is newer: power cuts may have torn the opening of any number of them.
    fn find_ends(&mut self, headers: &BTreeMap<u64, Header>, recovery: &mut Recovery) -> Vec<Mark> {
        let (mut marks, mut whole) = (BTreeMap::new(), 0);
        for (number, segment) in self.segments.iter_mut().rev() {
            let closed = headers.get(&(number + 1)).and_then(|next| next.previous);
            let plausible = closed.filter(|c| c.end >= segment.first);
            if let Some(closed) = plausible {
                (segment.end, segment.chain_end, segment.until) = (closed.end, closed.chain, closed.until);
                if whole >= MARKED_SEGMENTS {
                    continue;
                }
            }
            let Ok(scanned) = scan(&mut self.disk, *number, segment, 0..Seq::MAX, true) else { continue };
            (segment.opens_whole, whole) = (scanned.opens_whole, whole + usize::from(scanned.opens_whole));
            if plausible.is_none() {
                recovery.tail_bytes += scanned.tail_bytes;
                if let Some((end, chain)) = scanned.end.filter(|(end, _)| *end >= segment.first) {
                    (segment.end, segment.chain_end) = (end, chain);
                }
                let until = scanned.span.map(|span| span.to.0).max(scanned.until);
                segment.until = until.unwrap_or(i64::MIN);
                if scanned.is_cut_short(segment) {
                    self.lost += 1;
                    recovery.cut_short.insert(0, (segment.name.clone(), segment.epoch));
                }
            }
            marks.insert(*number, scanned.marks);
        }
        marks.into_values().flatten().collect()
    }

    /// Puts the epochs together from their segments and marks.
    fn rebuild_streams(&mut self, marks: &[Mark]) {
        let mut starts: Vec<(Epoch, Seq, u32)> = Vec::new();
        for segment in self.segments.values_mut().rev() {
            // A segment that was left after a fault may repeat what the next one of its epoch holds.
            if let Some((_, first, chain)) = starts.iter().rev().find(|(epoch, ..)| *epoch == segment.epoch)
                && segment.end > *first
            {
                (segment.end, segment.chain_end) = ((*first).max(segment.first), *chain);
            }
            starts.push((segment.epoch, segment.first, segment.chain_first));
        }
        for segment in self.segments.values().cloned().collect::<Vec<_>>() {
            self.newest_ms = self.newest_ms.max(segment.until);
            let stream = self.stream_or_new(segment.epoch);
            if stream.end <= segment.end {
                (stream.end, stream.written) = (segment.end, segment.end);
                stream.chain = segment.chain_end;
            }
        }
        for mark in marks {
            self.apply(mark);
        }
        for stream in &mut self.streams {
            stream.acked = stream.acked.min(stream.end);
            (stream.acked_high, stream.acked_noted) = (stream.acked_high.min(stream.end), stream.acked);
        }
        let epochs: HashSet<Epoch> = self.segments.values().map(|s| s.epoch).collect();
        let remembered = |s: &Stream| s.evicted.is_some() || s.gone.is_some();
        self.streams.retain(|s| {
            s.written > 0 && (s.manifest.is_some() || epochs.contains(&s.epoch) || remembered(s))
        });
        // Only labels are left of the oldest; a late recovery finds epochs already begun by this process.
        self.streams.sort_by_key(|s| (s.manifest.is_some(), epochs.contains(&s.epoch)));
        self.forget_empty_streams();
    }

    fn apply(&mut self, mark: &Mark) {
        match *mark {
            Mark::Ack { epoch, committed } => {
                let stream = self.stream_or_new(epoch);
                stream.acked = committed;
                stream.acked_high = stream.acked_high.max(committed);
            }
            Mark::Gone { epoch, end, chain, at_ms, owner } => {
                // In the order of these marks, wherever an older ack has named it, unless a power cut has brought some of
                // it back.
                if self.segments.values().all(|s| s.epoch != epoch) {
                    self.streams.sort_by_key(|s| s.epoch == epoch);
                }
                let stream = self.stream_or_new(epoch);
                (stream.acked, stream.acked_high) = (end, stream.acked_high.max(end));
                (stream.gone, stream.owner) = (Some(at_ms), owner);
                stream.ends_at_least_at(end, chain);
            }
            Mark::Gap { epoch, first, last, span, chain, owner } => {
                let stream = self.stream_or_new(epoch);
                (stream.evicted, stream.owner) = (Some(Evicted { first, last, span, chain }), owner);
                stream.ends_at_least_at(last + 1, chain);
            }
        }
    }
}

impl Stream {
    /// A mark says that it was written up to here.
    fn ends_at_least_at(&mut self, end: Seq, chain: u32) {
        if self.end < end {
            (self.end, self.written, self.chain) = (end, end, chain);
        }
    }
}

/// The header of a file: either copy will do; and whether the file has lost its end. A file is blank only if all of it is.
fn read_header(disk: &mut impl Disk, file: &File) -> (HeaderLook, Tail) {
    let mut at = |offset: u64| {
        let mut copy = vec![0; HEADER_BYTES];
        match disk.read_at(&file.name, offset, &mut copy) {
            Ok(_) => Header::look(&copy),
            Err(_) => HeaderLook::Damaged,
        }
    };
    match (at(0), at(file.len.saturating_sub(HEADER_BYTES as u64))) {
        (HeaderLook::Header(header), last) => {
            let tail = match last {
                _ if file.len < header.len => Tail::Short,
                HeaderLook::Blank => Tail::Blank,
                _ => Tail::Whole,
            };
            (HeaderLook::Header(header), tail)
        }
        (_, HeaderLook::Header(header)) => (HeaderLook::Header(header), Tail::Whole),
        (HeaderLook::Foreign, _) | (_, HeaderLook::Foreign) => (HeaderLook::Foreign, Tail::Whole),
        (HeaderLook::Blank, HeaderLook::Blank) if is_zero(disk, file) => (HeaderLook::Blank, Tail::Whole),
        _ => (HeaderLook::Damaged, Tail::Whole),
    }
}

fn is_zero(disk: &mut impl Disk, file: &File) -> bool {
    let mut buf = vec![0; 64 * 1024];
    let mut at = 0;
    while at < file.len {
        match disk.read_at(&file.name, at, &mut buf) {
            Ok(0) | Err(_) => return false,
            Ok(read) if buf[..read].iter().any(|b| *b != 0) => return false,
            Ok(read) => at += read as u64,
        }
    }
    true
}

/// A segment whose end is not known yet.
fn segment_of(header: &Header, file: File, tail: Tail) -> Segment {
    Segment {
        name: file.name,
        epoch: header.epoch,
        first: header.first,
        chain_first: header.chain,
        end: header.first,
        chain_end: header.chain,
        until: i64::MIN,
        used: file.len.min(header.len.saturating_sub(FRAMES_AT)),
        len: file.len,
        tail,
        opens_whole: true,
        orphaned: false,
    }
}
