//! F9 and F10 in full: every bit of a 256 KiB segment flipped, the file cut and zeroed from every byte on.
//!
//! The segment lies in one of two places. *Closed*: the header of the next one says where it ended. *Newest*: opening has
//! to walk it. In a plain run
//! - every harm alone is opened by the real recovery, closed, and must leave the spool's ends as they were;
//! - every bit is flipped together with one of every other frame, opened and read whole, in both places: the frames
//!   between must not mind, and each flip must cost its own frame or nothing;
//! - every 64th harm alone, and every bit outside the frames of records, is opened and read whole, in both places.
//!
//! `CHAOS=night` reads whole after every harm alone, in both places, for three seeds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, missing_docs)]

#[path = "simulated/disk.rs"]
mod disk;
#[path = "../../../tests/system/src/tally.rs"]
mod tally;
#[path = "simulated/truth.rs"]
mod truth;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use disk::MemoryDisk;
use sitian_model::{Entry, Epoch, Gap, GapReason, Seq};
use sitian_spool::{Disk, DiskFault, File, Limits, Spool};

const SEGMENT: usize = 256 * 1024;
/// Of a plain run, one harm in so many is read whole.
const WHOLE_EVERY: usize = 64;

#[derive(Debug, Clone, Copy)]
enum Harm<'a> {
    /// These bits, sorted.
    Comb(&'a [(usize, usize)]),
    Flip {
        byte: usize,
        bit: usize,
    },
    Cut {
        at: usize,
    },
    Zero {
        at: usize,
    },
}

/// Files that cannot be written, one of them harmed as it is read.
#[derive(Debug, Clone, Copy)]
struct Harmed<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    name: &'a str,
    harm: Harm<'a>,
}

impl Harmed<'_> {
    fn len(&self, name: &str, bytes: &[u8]) -> usize {
        match self.harm {
            Harm::Cut { at } if name == self.name => at,
            _ => bytes.len(),
        }
    }
}

impl Disk for Harmed<'_> {
    fn list(&mut self) -> Result<Vec<File>, DiskFault> {
        let file = |(name, bytes): (&String, &Vec<u8>)| File {
            name: name.clone(),
            len: self.len(name, bytes) as u64,
        };
        Ok(self.files.iter().map(file).collect())
    }

    fn read_at(&mut self, name: &str, offset: u64, buf: &mut [u8]) -> Result<usize, DiskFault> {
        let bytes = &self.files[name];
        let len = self.len(name, bytes);
        let from = len.min(offset as usize);
        let count = buf.len().min(len - from);
        buf[..count].copy_from_slice(&bytes[from..from + count]);
        if name == self.name {
            match self.harm {
                Harm::Flip { byte, bit } if (from..from + count).contains(&byte) => {
                    buf[byte - from] ^= 1 << bit
                }
                Harm::Comb(flips) => {
                    let inside =
                        flips.partition_point(|f| f.0 < from)..flips.partition_point(|f| f.0 < from + count);
                    flips[inside].iter().for_each(|(byte, bit)| buf[byte - from] ^= 1 << bit);
                }
                Harm::Zero { at } => buf[at.clamp(from, from + count) - from..count].fill(0),
                _ => {}
            }
        }
        Ok(count)
    }

    fn create(&mut self, _: &str, _: u64) -> Result<(), DiskFault> {
        Err(DiskFault::Failed("read-only".into()))
    }

    fn write_at(&mut self, _: &str, _: u64, _: &[u8]) -> Result<(), DiskFault> {
        Err(DiskFault::Failed("read-only".into()))
    }

    fn sync(&mut self, _: &str) -> Result<(), DiskFault> {
        Err(DiskFault::Failed("read-only".into()))
    }

    fn remove(&mut self, _: &str) -> Result<(), DiskFault> {
        Err(DiskFault::Failed("read-only".into()))
    }
}

/// A frame of the segment under test.
#[derive(Debug, Clone, Copy)]
struct Frame {
    at: usize,
    to: usize,
    seq: Seq,
}

/// A spool with one 256 KiB segment, and what it holds.
struct Subject {
    files: BTreeMap<String, Vec<u8>>,
    name: String,
    epoch: Epoch,
    /// Its DATA frames, in order.
    frames: Vec<Frame>,
    payloads: Vec<Vec<u8>>,
    /// Limits to open it under: such that the spare fits.
    limits: Limits,
}

impl Subject {
    fn new(seed: u8, closed: bool) -> Self {
        let limits = Limits { segment_bytes: SEGMENT as u64, bytes_max: 1 << 30, ..Limits::default() };
        let limits = Limits { record_bytes_max: 2048, keep_behind_ms: i64::MAX, ..limits };
        let epoch = truth::epoch(seed);
        let mut spool = Spool::open(MemoryDisk::default(), limits, epoch).0;
        spool.set_manifest(b"a manifest").unwrap();
        // Two small segments, then a full one, until the next has been begun.
        for seq in 0.. {
            truth::append(&mut spool, seq);
            spool.commit().unwrap();
            if spool.disk_mut().files.get("0000000000000003.seg").is_some_and(|f| f.view[0] != 0) {
                break;
            }
        }
        let mut disk = spool.into_disk().process_death();
        let name = "0000000000000002.seg".to_owned();
        disk.files.retain(|n, _| *n == name);
        let small = Limits { segment_bytes: 8 * 1024, ..limits };
        if closed {
            let mut spool = Spool::open(disk, small, truth::epoch(seed + 100)).0;
            for seq in 0..40 {
                truth::append(&mut spool, seq);
                spool.commit().unwrap();
            }
            disk = spool.into_disk();
        } else {
            // Its spare; the segment that followed is gone with the two before it.
            disk.create("00000000000000aa.seg", small.segment_bytes).unwrap();
        }
        let files: BTreeMap<_, _> = disk.files.into_iter().map(|(n, f)| (n, f.view)).collect();
        let frames = frames(&files[&name]);
        let payloads = frames.iter().map(|f| truth::payload(epoch, f.seq)).collect();
        Self { files, name, epoch, frames, payloads, limits: small }
    }

    fn open<'a>(&'a self, harm: Harm<'a>) -> (Spool<Harmed<'a>>, sitian_spool::Recovery) {
        let disk = Harmed { files: &self.files, name: &self.name, harm };
        Spool::open(disk, self.limits, Epoch([0xFF; 16]))
    }

    fn first(&self) -> Seq {
        self.frames[0].seq
    }

    fn end(&self) -> Seq {
        self.first() + self.frames.len() as u64
    }

    /// The record that a flip must cost.
    fn cost_of_flip(&self, byte: usize) -> Option<Seq> {
        let before = self.frames.partition_point(|f| f.at <= byte).checked_sub(1)?;
        let frame = self.frames[before];
        (byte < frame.to).then_some(frame.seq)
    }

    /// The records that a harm must cost, in order.
    fn cost(&self, harm: Harm<'_>) -> Vec<Seq> {
        match harm {
            Harm::Flip { byte, .. } => self.cost_of_flip(byte).into_iter().collect(),
            Harm::Comb(flips) => flips.iter().filter_map(|(byte, _)| self.cost_of_flip(*byte)).collect(),
            Harm::Cut { at } | Harm::Zero { at } => {
                (self.first() + self.frames.partition_point(|f| f.to <= at) as u64..self.end()).collect()
            }
        }
    }

    /// Reads up to `to` and compares everything: records with the truth, gaps with what the harm must cost. A record whose
    /// last bytes were zero may survive zeros.
    fn compare(&self, spool: &mut Spool<Harmed<'_>>, to: Seq, cost: &[Seq]) -> Result<(), String> {
        let mut next = self.first();
        let mut cost = cost.iter().copied().filter(|seq| *seq < to).peekable();
        while next < to {
            let run = spool.read(self.epoch, next, 64 * 1024).map_err(|e| e.to_string())?;
            if run.first != next || run.entries.is_empty() {
                return Err(format!("nothing at {next} of {to}"));
            }
            for entry in run.entries {
                match &entry {
                    Entry::Record(bytes) => {
                        let survived = cost.next_if_eq(&next).is_some();
                        if *bytes != self.payloads[(next - self.first()) as usize]
                            || survived && cost.peek().is_none() && to < self.end()
                        {
                            return Err(format!("record {next} is wrong"));
                        }
                        if survived && !bytes.ends_with(&[0]) {
                            return Err(format!("record {next} should be damaged"));
                        }
                    }
                    Entry::Gap(Gap { last, reason: GapReason::Damaged, .. }) => {
                        for seq in next..=*last {
                            if cost.next_if_eq(&seq).is_none() {
                                return Err(format!("{seq} is in a gap and was not harmed"));
                            }
                        }
                    }
                    Entry::Gap(gap) => return Err(format!("{gap:?}")),
                }
                next += entry.width();
            }
        }
        Ok(())
    }

    /// Opens the closed segment with this harm; `whole` reads all of it too.
    fn closed(&self, harm: Harm<'_>, whole: bool) -> Result<(), String> {
        let (mut spool, _) = self.open(harm);
        let held = spool.held();
        if !held.iter().any(|h| h.epoch == self.epoch && h.end == self.end()) {
            // Both headers are gone: all of the file is.
            let headless = matches!(harm, Harm::Cut { at } | Harm::Zero { at } if at < 80);
            return if headless { Ok(()) } else { Err(format!("{harm:?}: held {held:?}")) };
        }
        if whole {
            let cost = self.cost(harm);
            self.compare(&mut spool, self.end(), &cost)
                .map_err(|what| format!("closed, {harm:?}: {what}"))?;
        }
        Ok(())
    }

    /// Opens the newest segment with this harm and reads all of it.
    fn newest(&self, harm: Harm<'_>) -> Result<(), String> {
        let fail = |what: String| format!("newest, {harm:?}: {what}");
        let (mut spool, recovery) = self.open(harm);
        let end = spool.held().iter().find(|h| h.epoch == self.epoch).map_or(self.first(), |h| h.end);
        // Nobody can know how many there were: that something is missing is told, unless not one is left.
        let told = recovery.cut_short.len() == 1 && spool.state().lost == 1;
        let may_end = matches!(harm, Harm::Cut { .. } | Harm::Zero { .. }) && (told || end == self.first());
        if end != self.end() && !may_end {
            return Err(fail(format!("ends at {end} of {}, told: {told}", self.end())));
        }
        self.compare(&mut spool, end, &self.cost(harm)).map_err(fail)
    }
}

/// Where the records lie in a segment that is whole: by their magic, kind and length, as drawn on the crate's page.
fn frames(bytes: &[u8]) -> Vec<Frame> {
    let (mut at, mut frames) = (80, Vec::new());
    while bytes[at..at + 2] == [0x51, 0x5F] {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let seq = u64::from_le_bytes(bytes[at + 16..at + 24].try_into().unwrap());
        if bytes[at + 2] == 1 {
            frames.push(Frame { at, to: at + 40 + length, seq });
        }
        at += (40 + length).next_multiple_of(16);
    }
    frames
}

fn night() -> bool {
    std::env::var("CHAOS").is_ok_and(|chaos| chaos == "night")
}

/// Spreads `count` pieces over the processors; each gives the number of harms done.
fn everywhere(count: usize, piece: impl Fn(usize) -> u64 + Sync) -> u64 {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed) as usize;
                    if n >= count {
                        return;
                    }
                    done.fetch_add(piece(n), Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner()
}

const PIECES: usize = 256;

/// The bytes of piece `n`.
fn bytes(n: usize) -> std::ops::Range<usize> {
    n * SEGMENT / PIECES..(n + 1) * SEGMENT / PIECES
}

fn seeds() -> std::ops::RangeInclusive<u8> {
    if night() { 1..=3 } else { 1..=1 }
}

#[test]
fn every_bit_of_a_256_kib_segment_costs_at_most_its_own_record() {
    let every = if night() { 1 } else { WHOLE_EVERY };
    let (mut alone, mut together, mut whole) = (0, 0, 0);
    for seed in seeds() {
        let (shut, open) = (Subject::new(seed, true), Subject::new(seed, false));
        assert!(shut.frames.len() > 500 && shut.files[&shut.name].len() == SEGMENT);
        alone += everywhere(PIECES, |n| {
            let flips = bytes(n).flat_map(|byte| (0..8).map(move |bit| Harm::Flip { byte, bit }));
            flips.map(|flip| shut.closed(flip, false).unwrap()).count() as u64
        });
        whole += everywhere(PIECES, |n| {
            let of_record = |byte: usize| shut.frames[0].at <= byte && byte < shut.frames.last().unwrap().to;
            let flips = bytes(n).flat_map(|byte| (0..8).map(move |bit| (byte, bit)));
            let chosen =
                flips.filter(|(byte, bit)| !of_record(*byte) || (8 * byte + bit) % every == byte / 8 % every);
            let harm = chosen.map(|(byte, bit)| Harm::Flip { byte, bit });
            harm.map(|flip| shut.closed(flip, true).and_then(|()| open.newest(flip)).unwrap()).count() as u64
        });
        for subject in [&shut, &open] {
            let longest = subject.frames.windows(2).map(|w| w[1].at - w[0].at).max().unwrap();
            together += everywhere(longest * 8 * 2, |n| {
                let (into, bit, odd) = (n / 16, n / 2 % 8, n % 2);
                let extent = |w: &[Frame]| (w[0].at + into < w[1].at).then_some((w[0].at + into, bit));
                let flips: Vec<_> =
                    subject.frames.windows(2).skip(odd).step_by(2).filter_map(extent).collect();
                subject.closed(Harm::Comb(&flips), true).unwrap();
                flips.len() as u64
            });
        }
    }
    let injected = "disk in memory under the real spool, opened anew";
    let fault = tally::Fault { number: "F9", title: "every bit of a 256 KiB segment", injected };
    assert!(alone >= 8 * SEGMENT as u64 && together > 15 * SEGMENT as u64);
    fault.came_to(
        format!("{alone} flips alone, {whole} of them in two places and read whole, {together} with others"),
        tally::NONE,
        "damage is exactly the record that holds the bit, announced",
    );
}

#[test]
fn a_256_kib_segment_cut_or_zeroed_from_any_byte_on_costs_exactly_what_is_gone() {
    let every = if night() { 1 } else { 16 };
    let (mut opened, mut whole) = (0, 0);
    for seed in seeds() {
        let (shut, open) = (Subject::new(seed, true), Subject::new(seed, false));
        let harms = |n| bytes(n).flat_map(|at| [Harm::Cut { at }, Harm::Zero { at }]);
        opened +=
            everywhere(PIECES, |n| harms(n).map(|harm| shut.closed(harm, false).unwrap()).count() as u64);
        whole += everywhere(PIECES, |n| {
            let chosen = harms(n).skip(n % every).step_by(every);
            chosen.map(|harm| shut.closed(harm, true).and_then(|()| open.newest(harm)).unwrap()).count()
                as u64
        });
    }
    let injected = "disk in memory under the real spool, opened anew";
    let fault =
        tally::Fault { number: "F10", title: "a 256 KiB segment cut and zeroed at every byte", injected };
    assert!(opened >= 2 * SEGMENT as u64);
    let many = format!("{opened} files, {whole} of them in two places and read whole");
    fault.came_to(many, tally::NONE, "all open; what is gone is a gap, or told where nobody can count it");
}
