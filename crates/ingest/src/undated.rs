//! Readings whose time nobody knows: between which moments they were taken.
//!
//! ```text
//!  on the card    [ epoch before ]──power──[ epoch without a clock ]──power──[ live epoch ]──►  centre
//!                                ▲                                                            ▲
//!                   its newest known time                                              arrival, by the server
//! ```
//!
//! Only the order on the card tells what was before: epochs arrive in another order than they were written, live ones first.
//! An epoch counts if everything the centre has of it is on that card; what a second writer has added to it is not.
//! No time is made up: where nothing is known to be earlier, there is no first bound.

use std::collections::BTreeMap;

use sitian_model::{Epoch, EpochNo, GatewayId, PointNo, Seq, Span, Timestamp};

use crate::book::{EpochBook, GatewayBook};
use crate::effect::{Effect, Incident, IncidentKind, Taken, Undated};
use crate::machine::Ingest;

/// Those of one message, by point.
#[derive(Debug)]
pub(crate) struct Heap {
    epoch: EpochNo,
    now: Timestamp,
    points: BTreeMap<PointNo, Undated>,
}

impl Heap {
    /// None yet; they arrive `now`.
    pub(crate) fn new(epoch: EpochNo, now: Timestamp) -> Self {
        Self { epoch, now, points: BTreeMap::new() }
    }

    /// Those of one record, with the times that the gateway stated.
    pub(crate) fn add(&mut self, seq: Seq, undated: &[(PointNo, Timestamp)]) {
        let (epoch, taken) = (self.epoch, Taken { after: None, before: self.now });
        for &(point, at) in undated {
            let (seqs, stamped) = ((seq, seq), Span { from: at, to: at });
            let one = Undated { epoch, point, readings: 1, seqs, stamped, taken };
            self.points.entry(point).and_modify(|all| all.join(&one)).or_insert(one);
        }
    }
}

impl Ingest {
    /// Keeps between which moments these were taken, and says once per epoch that there are some.
    pub(crate) fn tell_undated(&mut self, gateway: &GatewayId, epoch: &Epoch, heap: Heap, now: Timestamp) {
        let seqs = heap.points.values().map(|one| one.seqs).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let Some(seqs) = seqs else { return };
        let Some(book) = self.book.gateways.get_mut(gateway) else { return };
        let after = not_before(book, epoch);
        let told = book.epochs.get_mut(epoch).is_some_and(|epoch| {
            let told = epoch.undated_told;
            epoch.undated_told = true;
            told
        });
        let bounded = |one: Undated| Undated { taken: Taken { after, ..one.taken }, ..one };
        self.pending.push(Effect::Undated(heap.points.into_values().map(bounded).collect()));
        if !told {
            let (kind, gateway, epoch) = (IncidentKind::ClockUnknown, gateway.clone(), Some(*epoch));
            let incident = Incident { kind, gateway, epoch, other: None, seqs: Some(seqs), after, at: now };
            self.pending.push(Effect::Incident(incident));
        }
    }
}

/// The newest known time that lies before this epoch on the card that holds it.
fn not_before(book: &GatewayBook, epoch: &Epoch) -> Option<Timestamp> {
    // What two writers shared moves to the end of the card, under a fresh epoch: its order says nothing any more.
    let shared = |known: &EpochBook| known.forked || known.state.loss_reported || known.rival.is_some();
    if book.epochs.values().any(shared) {
        return None;
    }
    let at = book.card.iter().position(|held| held.epoch == *epoch)?;
    // Without segments, its place in the list says nothing.
    let on_card = book.card[..at].iter().filter(|held| held.oldest < held.end);
    let earlier = on_card.filter_map(|held| {
        let known = book.epochs.get(&held.epoch)?;
        (known.state.committed <= held.end).then_some(known.state.newest_at)?
    });
    earlier.max()
}
