//! Reads again what was set aside: after an upgrade the centre may understand what it did not before.
//!
//! The labels of an entry lie below the watermark, and nothing but this entry stands for them; its rows are issued in the
//! group that says [`Effect::Redecoded`], so they are stored once whatever happens. An entry that is understood only in
//! part stays whole.

use std::sync::Arc;

use sitian_model::{Clock, Entry, Epoch, GatewayId, Row, Seq, Timestamp};

use crate::admit::{Frame, admit};
use crate::effect::{Effect, GapCommitted, IncidentKind, Redecoded};
use crate::machine::{DecodeRecord, Ingest};
use crate::undated::Heap;

/// An entry of the quarantine, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// The store's number of the entry.
    pub id: u64,
    /// Whose.
    pub gateway: GatewayId,
    /// Which epoch.
    pub epoch: Epoch,
    /// The sequence numbers that the entry stands for: first, one past the last.
    pub range: (Seq, Seq),
    /// Sequence number of the first of `entries`.
    pub first: Seq,
    /// Consecutive; those outside `range` were committed by others.
    pub entries: Vec<Entry>,
    /// Clocks that came with them.
    pub clocks: Vec<Clock>,
}

impl Ingest {
    /// The rows of one entry of the quarantine, if it is understood; nothing is decided yet.
    ///
    /// # Errors
    /// What is not understood about it.
    pub fn read_again(
        &self,
        retry: &Retry,
        decode: DecodeRecord<'_>,
        now: Timestamp,
    ) -> Result<Vec<Row>, String> {
        self.understand(retry, decode, now).map(|understood| understood.rows)
    }

    /// Tries one entry of the quarantine again: what is understood of it is in the next group. Never hand the same entry
    /// over twice, but after [`Ingest::reload`].
    ///
    /// # Errors
    /// What is not understood about it.
    pub fn handle_retry(
        &mut self,
        retry: &Retry,
        decode: DecodeRecord<'_>,
        now: Timestamp,
    ) -> Result<(), String> {
        let Understood { rows, gaps, undated } = self.understand(retry, decode, now)?;
        let readings = rows.len() as u64;
        self.stats.readings += readings;
        if !rows.is_empty() {
            self.pending.push(Effect::Rows(rows));
        }
        self.tell_undated(&retry.gateway, &retry.epoch, undated, now);
        gaps.into_iter().for_each(|gap| self.pending.push(Effect::Gap(gap)));
        self.pending.push(Effect::Redecoded(Redecoded { id: retry.id, readings, at: now }));
        let (from, end) = retry.range;
        let seqs = Some((from, end.saturating_sub(1).max(from)));
        self.raise(IncidentKind::Redecoded, &retry.gateway, Some(retry.epoch), seqs, now);
        Ok(())
    }

    fn understand(
        &self,
        retry: &Retry,
        decode: DecodeRecord<'_>,
        now: Timestamp,
    ) -> Result<Understood, String> {
        let known = self.book.epoch_of(&retry.gateway, &retry.epoch).ok_or("its epoch is not known")?;
        let (points, state) = (Arc::clone(&known.points), known.state);
        let (from, end) = retry.range;
        if end > state.committed {
            return Err(format!("it ends at {end}, beyond the watermark {}", state.committed));
        }
        let frame =
            Frame { epoch: state.no, points: &points, clocks: &retry.clocks, limits: &self.limits, now };
        let (mut rows, mut gaps, mut next, mut reached) = (Vec::new(), Vec::new(), retry.first, from);
        let mut undated = Heap::new(state.no, now);
        for entry in &retry.entries {
            let (seq, width) = (next, entry.width());
            next += width;
            if next <= from || seq >= end {
                continue;
            }
            if seq > reached {
                break;
            }
            match entry {
                Entry::Record(payload) => {
                    let admitted = admit(&decode(payload)?, seq, &frame)?;
                    undated.add(seq, &admitted.undated);
                    rows.extend(admitted.rows);
                }
                Entry::Gap(gap) => {
                    let (first, last) = (gap.first.max(from), gap.last.min(end - 1));
                    let gap = sitian_model::Gap { first, last, ..*gap };
                    gaps.push(GapCommitted { epoch: state.no, gap, at: now });
                }
            }
            reached = next.min(end);
        }
        if reached < end {
            return Err(format!("it holds nothing from {reached} to {end}"));
        }
        Ok(Understood { rows, gaps, undated })
    }
}

/// What an entry says.
struct Understood {
    rows: Vec<Row>,
    gaps: Vec<GapCommitted>,
    undated: Heap,
}
