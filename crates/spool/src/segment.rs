//! One segment: what the index remembers of it, and the walk over its frames that survives damage.

use sitian_model::{Epoch, Mutant, Seq, Span};

use crate::disk::{Disk, DiskFault};
use crate::frame::{ALIGN, FRAMES_AT, HEAD_BYTES, Head, Kind, Look, Mark, frame_bytes, look};

/// Bytes read at once; longer frames make the window grow for themselves only.
const WINDOW_BYTES: usize = 64 * 1024;
/// Read in pieces of this size where the disk refuses larger ones, so that one bad sector hides little.
const SECTOR_BYTES: usize = 512;

/// The end of a segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// As it should be, as far as the second header can tell.
    Whole,
    /// The second header is blank: lost, or the first commit was torn.
    Blank,
    /// The file is shorter than it was created.
    Short,
}

/// What the index remembers of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// File name.
    pub name: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its first sequence number.
    pub first: Seq,
    /// The chain before `first`.
    pub chain_first: u32,
    /// One past its last durable sequence number.
    pub end: Seq,
    /// The chain before `end`.
    pub chain_end: u32,
    /// The latest time in it, in Unix ms; `i64::MIN` while it holds no record whose time is known.
    pub until: i64,
    /// One past the last byte that may belong to a durable frame.
    pub used: u64,
    /// Bytes on disk.
    pub len: u64,
    /// Whether its last bytes are what was written there.
    pub tail: Tail,
    /// Nothing is missing before its first record: it holds all marks of its time.
    pub opens_whole: bool,
    /// The file that followed it has lost both headers, and with them what it held.
    pub orphaned: bool,
}

impl Segment {
    /// Where the second copy of the header lies.
    pub fn frames_end(&self) -> u64 {
        self.len.saturating_sub(FRAMES_AT)
    }
}

/// Numbers from here on are nobody's: they are never reached by counting.
pub(crate) const NUMBERS_END: u64 = 1 << 48;

/// The name of a segment's file.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016x}.seg")
}

/// The number in a segment's file name.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|d| d.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|n| *n < NUMBERS_END && file_name(*n) == name)
}

/// A valid frame that the walk came across.
pub(crate) struct Found {
    /// Where it starts.
    pub offset: u64,
    /// Its head.
    pub head: Head,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Visits the valid frames of a segment in order, stepping over whatever is none.
pub(crate) struct Walk {
    number: u64,
    offset: u64,
    used: u64,
    /// Take unreadable sectors for damage instead of failing.
    lenient: bool,
    window_at: u64,
    window: Vec<u8>,
    /// A sector could not be read.
    refused: bool,
}

impl Walk {
    /// From `offset` (a frame boundary) to `used`.
    pub fn new(number: u64, offset: u64, used: u64, lenient: bool) -> Self {
        Self {
            number,
            offset: offset.max(FRAMES_AT),
            used,
            lenient,
            window_at: 0,
            window: Vec::new(),
            refused: false,
        }
    }

    /// The next valid frame, or `None` at the end.
    pub fn next(&mut self, disk: &mut impl Disk, name: &str) -> Result<Option<Found>, DiskFault> {
        while self.offset < self.used {
            let rest = self.used - self.offset;
            match look(self.view(), self.number, self.offset, rest) {
                Look::Frame(head) => {
                    let offset = self.offset;
                    let payload = self.view()[HEAD_BYTES..HEAD_BYTES + head.length].to_vec();
                    self.offset += frame_bytes(head.length) as u64;
                    return Ok(Some(Found { offset, head, payload }));
                }
                Look::Short(bytes) => {
                    if !self.fill(disk, name, bytes)? {
                        self.step_on();
                    }
                }
                Look::Nothing => self.step_on(),
            }
        }
        Ok(None)
    }

    /// Where it goes on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What the window holds from the offset on.
    fn view(&self) -> &[u8] {
        let skip = self.offset.checked_sub(self.window_at).map_or(usize::MAX, |n| n as usize);
        self.window.get(skip..).unwrap_or_default()
    }

    /// On to the next boundary that is not plainly zero.
    fn step_on(&mut self) {
        let view = self.view();
        if let (true, Some(length)) = (Mutant::LengthNotChecked.lives(), view.get(4..8)) {
            let length = length.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
            self.offset = self.offset.saturating_add(frame_bytes(length) as u64);
            return;
        }
        let zeros = view.chunks(ALIGN).skip(1).take_while(|c| c.iter().all(|b| *b == 0)).count();
        self.offset += ((1 + zeros) * ALIGN) as u64;
    }

    /// Reads at least `bytes` from the offset on; false if the file has no more.
    fn fill(&mut self, disk: &mut impl Disk, name: &str, bytes: usize) -> Result<bool, DiskFault> {
        let had = self.view().len();
        let len = bytes.max(WINDOW_BYTES).min((self.used - self.offset) as usize);
        let mut window = vec![0; len];
        let read = match disk.read_at(name, self.offset, &mut window) {
            Ok(read) => read,
            Err(_) if self.lenient => {
                self.refused = true;
                read_pieces(disk, name, self.offset, &mut window)
            }
            Err(fault) => return Err(fault),
        };
        window.truncate(read);
        (self.window, self.window_at) = (window, self.offset);
        Ok(self.view().len() > had)
    }
}

/// Reads sector by sector; what cannot be read stays zero and so counts as damage.
fn read_pieces(disk: &mut impl Disk, name: &str, offset: u64, window: &mut [u8]) -> usize {
    let mut at = offset;
    for piece in window.chunks_mut(SECTOR_BYTES) {
        let mut buf = vec![0; piece.len()];
        if let Ok(read) = disk.read_at(name, at, &mut buf) {
            piece[..read].copy_from_slice(&buf[..read]);
        }
        at += piece.len() as u64;
    }
    window.len()
}

/// What a whole segment holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// One past the last record, and the chain there.
    pub end: Option<(Seq, u32)>,
    /// The last valid frame says that the commits ended there.
    pub closed: bool,
    /// The latest time that an END frame knows of, in Unix ms.
    pub until: Option<i64>,
    /// A sector could not be read.
    pub refused: bool,
    /// From the earliest to the latest time of its records.
    pub span: Option<Span>,
    /// Its marks, in order.
    pub marks: Vec<Mark>,
    /// Records found from the sequence number asked for.
    pub records: u64,
    /// Its frames follow each other without a hole up to the first record or the end of a commit.
    pub opens_whole: bool,
    /// Non-zero bytes behind the last valid frame: a torn tail.
    pub tail_bytes: u64,
}

impl Scan {
    /// True if something behind the last valid record is certainly damaged: it cannot just be a torn write. Without a
    /// single record it can: the first commit writes both headers.
    pub fn is_cut_short(&self, segment: &Segment) -> bool {
        let lost = match segment.tail {
            Tail::Whole => false,
            Tail::Blank => self.end.is_some(),
            Tail::Short => true,
        };
        segment.orphaned || (lost || self.refused) && !self.closed
    }
}

/// Reads a whole segment; of its records only those in `range` count for the span and the number of records.
pub(crate) fn scan(
    disk: &mut impl Disk,
    number: u64,
    segment: &Segment,
    range: std::ops::Range<Seq>,
    lenient: bool,
) -> Result<Scan, DiskFault> {
    let mut scan = Scan::default();
    let mut walk = Walk::new(number, FRAMES_AT, segment.used, lenient);
    let (mut valid_to, mut opening, mut no_hole) = (FRAMES_AT, true, true);
    while let Some(found) = walk.next(disk, &segment.name)? {
        no_hole &= found.offset == valid_to;
        if opening && matches!(found.head.kind, Kind::Data | Kind::End) {
            (opening, scan.opens_whole) = (false, no_hole);
        }
        valid_to = found.offset + frame_bytes(found.head.length) as u64;
        if let Some(mark) = Mark::from_frame(&found.head, &found.payload) {
            scan.marks.push(mark);
        }
        scan.closed = found.head.kind == Kind::End;
        if scan.closed && scan.end.is_none_or(|(end, _)| end <= found.head.seq) {
            scan.end = Some((found.head.seq, found.head.chain));
            scan.until = found.head.span().map(|span| span.to.0);
        }
        if found.head.kind != Kind::Data || found.head.seq == Seq::MAX {
            continue;
        }
        if scan.end.is_none_or(|(end, _)| end <= found.head.seq) {
            scan.end = Some((found.head.seq + 1, crc32c::crc32c_append(found.head.chain, &found.payload)));
        }
        if range.contains(&found.head.seq) {
            scan.records += 1;
            if let Some(span) = found.head.span() {
                let so_far = scan.span.unwrap_or(span);
                scan.span = Some(Span { from: so_far.from.min(span.from), to: so_far.to.max(span.to) });
            }
        }
    }
    scan.tail_bytes = tail_bytes(disk, segment, valid_to);
    scan.refused = walk.refused;
    Ok(scan)
}

/// How many non-zero bytes that can be read lie behind the last valid frame.
fn tail_bytes(disk: &mut impl Disk, segment: &Segment, from: u64) -> u64 {
    let (mut at, mut count) = (from, 0);
    let mut buf = vec![0; WINDOW_BYTES];
    while at < segment.used {
        let len = buf.len().min((segment.used - at) as usize);
        match disk.read_at(&segment.name, at, &mut buf[..len]) {
            Ok(read) if read > 0 => {
                count += buf[..read].iter().filter(|b| **b != 0).count() as u64;
                at += read as u64;
            }
            _ => break,
        }
    }
    count
}
