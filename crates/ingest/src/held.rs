//! Compares what a gateway says it holds with what it said before: an epoch that vanished, an end that shrank.
//!
//! Only batches of the live lane count: whoever sends one has `batch.epoch` as its live epoch, and every other epoch on
//! its disk is sealed. Batches may arrive in another order than they were sent; live epochs are therefore ranked in the
//! order in which they were first seen, and a batch says nothing about what a later one has listed. What remains is an
//! epoch whose manifest and first live batch are both overtaken by its successor's: that raises a loss that is none.

use std::collections::HashMap;

use sitian_model::{Batch, Epoch, Held, Lane};

use crate::book::GatewayBook;
use crate::effect::{EpochState, IncidentKind};

/// What a held list tells.
pub(crate) struct Finding {
    pub(crate) kind: IncidentKind,
    pub(crate) epoch: Epoch,
    /// Both included.
    pub(crate) seqs: (u64, u64),
}

/// Updates the epochs of a gateway; gives the changed ones and what is worth an incident.
pub(crate) fn compare(gateway: &mut GatewayBook, batch: &Batch) -> (Vec<Epoch>, Vec<Finding>) {
    let held: HashMap<Epoch, &Held> = batch.held.iter().map(|held| (held.epoch, held)).collect();
    let listed = |epoch: &Epoch| held.get(epoch).copied();
    let (mut changed, mut findings) = (Vec::new(), Vec::new());
    if batch.lane != Lane::Live || listed(&batch.epoch).is_none() {
        return (changed, findings);
    }
    let Some(rank) = rank(gateway, &batch.epoch) else { return (changed, findings) };
    for (epoch, book) in &mut gateway.epochs {
        let before = book.state;
        let finding = match listed(epoch) {
            Some(held) if *epoch == batch.epoch => {
                still_open(&mut book.state, held, rank);
                None
            }
            Some(held) => sealed(&mut book.state, held, rank),
            None if *epoch == batch.epoch => None,
            None => vanished(&mut book.state, rank),
        };
        if book.state != before {
            changed.push(*epoch);
        }
        findings.extend(finding.map(|(kind, seqs)| Finding { kind, epoch: *epoch, seqs }));
    }
    (changed, findings)
}

/// `None` for an epoch that a later one has already listed as sealed: its batch was late.
fn rank(gateway: &mut GatewayBook, epoch: &Epoch) -> Option<u32> {
    let state = &mut gateway.epochs.get_mut(epoch)?.state;
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

/// A sealed epoch's end is final; if it was ever announced to be higher, the card has lost the difference.
fn sealed(state: &mut EpochState, held: &Held, rank: u32) -> Option<(IncidentKind, (u64, u64))> {
    if rank < state.held_rank || rank < state.live_rank {
        return None;
    }
    let before = state.end;
    state.end = held.end;
    state.sealed = true;
    state.gone = false;
    state.held_rank = rank;
    (held.end < before).then(|| (IncidentKind::CardLost, (held.end, before - 1)))
}

/// An epoch that is no longer listed is in order if it was sealed and everything up to its end is committed.
fn vanished(state: &mut EpochState, rank: u32) -> Option<(IncidentKind, (u64, u64))> {
    if state.gone || state.held_rank == 0 || rank < state.held_rank || rank < state.live_rank {
        return None;
    }
    state.gone = true;
    if state.loss_reported || (state.sealed && state.committed >= state.end) {
        return None;
    }
    state.loss_reported = true;
    let last = state.end.saturating_sub(1).max(state.committed);
    Some((IncidentKind::PossibleLoss, (state.committed, last)))
}
