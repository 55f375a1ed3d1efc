//! What the spool should hold: payloads are a function of their label, so that a lost, invented, doubled or misplaced
//! record shows by itself.
#![allow(dead_code, missing_docs)]

use sitian_model::{Entry, Epoch, Gap, GapReason, Seq, Span, Timestamp};
use sitian_spool::{Disk, Limits, Spool};

/// Small enough that everything rolls over.
pub fn small() -> Limits {
    Limits {
        segment_bytes: 8 * 1024,
        bytes_max: 1024 * 1024,
        keep_behind_ms: 1_000_000_000,
        record_bytes_max: 2048,
        memory_bytes_max: 16 * 1024,
        ack_every: 8,
    }
}

pub fn epoch(n: u8) -> Epoch {
    Epoch([n; 16])
}

pub fn payload(epoch: Epoch, seq: Seq) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(u64::from(epoch.0[0]) << 32 | seq);
    let len = random.usize(1..700);
    (0..len).map(|_| random.u8(..)).collect()
}

pub fn span(seq: Seq) -> Span {
    let from = 1_700_000_000_000 + seq as i64 * 1000;
    Span { from: Timestamp(from), to: Timestamp(from + 1000) }
}

pub fn chain(epoch: Epoch, before: Seq) -> u32 {
    (0..before).fold(0, |chain, seq| crc32c::crc32c_append(chain, &payload(epoch, seq)))
}

/// Appends the next record of the live epoch, which must get `seq` as its label.
pub fn append<D: Disk>(spool: &mut Spool<D>, seq: Seq) {
    let live = spool.live();
    assert_eq!(spool.append(&payload(live, seq), span(seq)), Ok(seq));
}

/// Everything from `from` on. Checks every payload and every chain against the truth.
pub fn drain<D: Disk>(spool: &mut Spool<D>, epoch: Epoch, from: Seq) -> Vec<Entry> {
    let mut chains = vec![0];
    let mut chain_at = |seq: Seq| {
        while chains.len() as u64 <= seq {
            let last = chains.len() as u64 - 1;
            chains.push(crc32c::crc32c_append(chains[last as usize], &payload(epoch, last)));
        }
        chains[seq as usize]
    };
    let mut next = from;
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let Ok(run) = spool.read(epoch, next, 3000) else { return all };
        assert_eq!(run.first, next);
        let opens_with_gap = matches!(run.entries.first(), Some(Entry::Gap(_)));
        if !opens_with_gap {
            assert_eq!(run.chain, chain_at(next), "chain of {epoch} at {next}");
        }
        if run.entries.is_empty() {
            return all;
        }
        for (n, entry) in run.entries.into_iter().enumerate() {
            match &entry {
                Entry::Record(bytes) => {
                    assert!(*bytes == payload(epoch, next), "record {next} of {epoch} is wrong")
                }
                Entry::Gap(gap) => {
                    assert_eq!((n, gap.first), (0, next), "a gap only opens a run");
                    assert!(gap.last >= gap.first);
                }
            }
            next += entry.width();
            all.push(entry);
        }
    }
}

/// The gaps among them, and how many records.
pub fn gaps(entries: &[Entry]) -> (usize, Vec<Gap>) {
    let gaps: Vec<Gap> =
        entries.iter().filter_map(|e| if let Entry::Gap(g) = e { Some(*g) } else { None }).collect();
    (entries.len() - gaps.len(), gaps)
}

/// One past the last sequence number that is there from `from` on.
pub fn end(entries: &[Entry], from: Seq) -> Seq {
    from + entries.iter().map(Entry::width).sum::<u64>()
}

/// The reasons with the number of records each.
pub fn missing(entries: &[Entry], reason: GapReason) -> u64 {
    gaps(entries).1.iter().filter(|g| g.reason == reason).map(|g| g.last - g.first + 1).sum()
}
