//! Compares what a gateway says it holds with what it said before: an epoch that vanished, an end that shrank.
//!
//! Only batches of the live lane count: whoever sends one has `batch.epoch` as its live epoch, and every other epoch on
//! its disk is sealed. Batches may arrive in another order than they were sent; live epochs are therefore ranked in the
//! order in which they were first seen, a batch says nothing about what a later one has listed, and an epoch that a later
//! one has listed as sealed is never live, however late its manifest comes.
//!
//! A second machine under the same id knows nothing of the epochs of the first. Nothing is lost from the card of one that
//! still speaks: a loss is told when the epoch concerned has been silent for a while.

use std::collections::HashMap;

use sitian_model::{Batch, Epoch, Held, Lane, Timestamp};

use crate::book::{EpochBook, GatewayBook};
use crate::effect::{EpochState, IncidentKind};

/// What a held list tells.
pub(crate) struct Finding {
    pub(crate) kind: IncidentKind,
    pub(crate) epoch: Epoch,
    /// Both included.
    pub(crate) seqs: (u64, u64),
}

/// Updates the epochs of a gateway; gives the changed ones and what is worth an incident.
pub(crate) fn compare(
    gateway: &mut GatewayBook,
    batch: &Batch,
    silence_ms: i64,
    now: Timestamp,
) -> (Vec<Epoch>, Vec<Finding>) {
    let held: HashMap<Epoch, &Held> = batch.held.iter().map(|held| (held.epoch, held)).collect();
    let listed = |epoch: &Epoch| held.get(epoch).copied();
    let (mut changed, mut findings) = (Vec::new(), Vec::new());
    if batch.lane != Lane::Live || listed(&batch.epoch).is_none() {
        return (changed, findings);
    }
    let Some(rank) = rank(gateway, &batch.epoch, now) else { return (changed, findings) };
    if rank == gateway.live_rank {
        let unknown = batch.held.iter().filter(|held| !gateway.epochs.contains_key(&held.epoch));
        gateway.card.clone_from(&batch.held);
        gateway.announced = unknown.map(|held| (held.epoch, held.end)).collect();
    }
    let since = *gateway.heard_since.get_or_insert(now);
    for (epoch, book) in &mut gateway.epochs {
        let before = book.state;
        let silent = now.since_ms(book.heard_at.unwrap_or(since)) >= silence_ms;
        let finding = match listed(epoch) {
            Some(held) if *epoch == batch.epoch => {
                still_open(&mut book.state, held, rank);
                None
            }
            Some(held) => sealed(&mut book.state, held, rank, silent),
            None if *epoch == batch.epoch || !silent => None,
            None => vanished(book, &batch.epoch, rank, gateway.rewound),
        };
        if book.state != before {
            changed.push(*epoch);
        }
        findings.extend(finding.map(|(kind, seqs)| Finding { kind, epoch: *epoch, seqs }));
    }
    (changed, findings)
}

/// `None` for an epoch that a later one has already listed as sealed: its batch was late.
fn rank(gateway: &mut GatewayBook, epoch: &Epoch, now: Timestamp) -> Option<u32> {
    let book = gateway.epochs.get_mut(epoch)?;
    book.heard_at = Some(now);
    let state = &mut book.state;
    if state.sealed {
        return None;
    }
    if state.live_rank == 0 {
        gateway.live_rank = gateway.live_rank.saturating_add(1);
        state.live_rank = gateway.live_rank;
    }
    Some(state.live_rank)
}

fn still_open(state: &mut EpochState, held: &Held, rank: u32) {
    state.end = state.end.max(held.end);
    state.gone = false;
    state.held_rank = state.held_rank.max(rank);
}

/// A sealed epoch's end is final; if it was ever announced to be higher, the card has lost the difference, unless it is
/// the copy of a card whose writer goes on.
fn sealed(
    state: &mut EpochState,
    held: &Held,
    rank: u32,
    silent: bool,
) -> Option<(IncidentKind, (u64, u64))> {
    let before = state.end;
    if rank < state.held_rank || rank < state.live_rank || (held.end < before && !silent) {
        return None;
    }
    state.end = held.end;
    state.sealed = true;
    state.gone = false;
    state.held_rank = rank;
    // Two cards that list different ends take turns; people are told once.
    let lost = held.end < before && !state.loss_reported;
    state.loss_reported |= lost;
    lost.then(|| (IncidentKind::CardLost, (held.end, before - 1)))
}

/// An epoch that is no longer listed is in order if it was sealed and everything up to its end is committed.
fn vanished(
    book: &mut EpochBook,
    by: &Epoch,
    rank: u32,
    rewound: bool,
) -> Option<(IncidentKind, (u64, u64))> {
    let state = &mut book.state;
    if state.gone || state.held_rank == 0 || rank < state.held_rank || rank < state.live_rank {
        return None;
    }
    let known = state.end > state.committed;
    if !known && book.rival.as_ref() == Some(by) {
        // Another card never had it.
        return None;
    }
    state.gone = true;
    if state.loss_reported || (state.sealed && !known) {
        return None;
    }
    state.loss_reported = true;
    if rewound && book.heard_at.is_none() {
        // What became of it, the centre has forgotten: the incident of its restoration speaks for it.
        return None;
    }
    let last = state.end.saturating_sub(1).max(state.committed);
    Some((IncidentKind::PossibleLoss, (state.committed, last)))
}
