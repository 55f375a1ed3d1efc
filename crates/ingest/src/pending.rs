//! The group under construction.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use sitian_model::{Action, Epoch, GatewayId, Row};

use crate::effect::Effect;

/// What has been decided since the last group was taken.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) effects: Vec<Effect>,
    /// Epochs whose state has changed.
    pub(crate) touched: BTreeSet<(GatewayId, Epoch)>,
    /// One answer per epoch: what to do, and how long to wait.
    pub(crate) answers: BTreeMap<(GatewayId, Epoch), (Action, u32)>,
    pub(crate) bytes: usize,
}

impl Pending {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.bytes += match &effect {
            Effect::Rows(rows) => rows.len() * size_of::<Row>(),
            Effect::Quarantine(quarantined) => quarantined.raw.len(),
            Effect::Epoch(entry) => entry.points.len() * size_of::<sitian_model::PointInfo>(),
            Effect::Undated(undated) => undated.len() * size_of::<crate::effect::Undated>(),
            _ => 0,
        } + size_of::<Effect>();
        self.effects.push(effect);
    }

    /// Notes an answer; the one that asks for more wins.
    pub(crate) fn answer(
        &mut self,
        gateway: &GatewayId,
        epoch: Epoch,
        answer: (Action, u32),
        answers_max: usize,
    ) {
        let key = (gateway.clone(), epoch);
        let room = self.answers.len() < answers_max;
        match self.answers.entry(key) {
            Entry::Occupied(mut known) if urgency(answer.0) >= urgency(known.get().0) => {
                known.insert(answer);
            }
            Entry::Vacant(free) if room => {
                free.insert(answer);
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {}
        }
    }
}

fn urgency(action: Action) -> u8 {
    match action {
        Action::Ok => 0,
        Action::Slow => 1,
        Action::Quarantined => 2,
        Action::Rewind => 3,
        Action::Manifest => 4,
        Action::Fork => 5,
    }
}
