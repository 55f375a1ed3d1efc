//! Where the entries of a batch lie: before, at or beyond the watermark of their epoch, or in another history.

use sitian_model::{Batch, Entry, Mutant};

use crate::SEQ_MAX;
use crate::effect::EpochState;

/// How the entries of a batch relate to the watermark.
pub(crate) enum Place {
    /// The batch begins beyond it.
    Ahead,
    /// Another history than the one committed.
    Forked,
    /// The index of the first entry that is not wholly committed, and the chain there, as far as it can be reckoned.
    At(usize, Option<u32>),
}

/// True if gaps stand where they say and no sequence number is beyond reach.
pub(crate) fn well_formed(batch: &Batch) -> bool {
    let mut seq = batch.first;
    for entry in &batch.entries {
        if let Entry::Gap(gap) = entry
            && (gap.first != seq || gap.last < gap.first || gap.last >= SEQ_MAX)
        {
            return false;
        }
        seq = seq.saturating_add(entry.width());
    }
    seq < SEQ_MAX
}

/// Where the entries of a batch lie.
pub(crate) fn place(batch: &Batch, state: &EpochState) -> Place {
    if batch.first > state.committed {
        return Place::Ahead;
    }
    // The chain before an evicted range is not known: a batch that opens with a gap states the one after it.
    let opens_with_gap = matches!(batch.entries.first(), Some(Entry::Gap(_)));
    let (mut seq, mut chain) = (batch.first, (!opens_with_gap).then_some(batch.chain));
    let mut index = 0;
    for entry in &batch.entries {
        let end = seq + entry.width();
        if end > state.committed || Mutant::OverlapNotSkipped.lives() {
            break;
        }
        chain = match entry {
            Entry::Record(payload) => chain.map(|chain| crc32c::crc32c_append(chain, payload)),
            Entry::Gap(_) => None,
        };
        (seq, index) = (end, index + 1);
    }
    if seq < state.committed {
        // The batch ends below the watermark, or the watermark lies inside a gap: nothing to compare there.
        return Place::At(index, None);
    }
    match (chain, state.chain) {
        (Some(theirs), Some(ours)) if theirs != ours && !Mutant::ForkUnseen.lives() => Place::Forked,
        _ => Place::At(index, chain),
    }
}
