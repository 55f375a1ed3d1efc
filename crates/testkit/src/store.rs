//! The centre's store in memory: one book that changes by whole transactions, and is copied for backups.

use std::collections::BTreeMap;

use sitian_alert::{Change, Delta, Mark, SavedState};
use sitian_ingest::{
    Effect, EpochState, Incident, IncidentKind, PointEntry, Quarantined, Restored, RestoredEpoch, Undated,
};
use sitian_model::{Epoch, Gap, GatewayId, PointNo, Row, Seq, Timestamp};

/// One durable transaction of the centre.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// What was admitted.
    pub effects: Vec<Effect>,
    /// What the alert engine made of it.
    pub alerts: Vec<Change>,
    /// The alert engine's memory.
    pub alert_state: Delta,
    /// The alert engine's timer ran before.
    pub timeout: bool,
    /// By the server's clock.
    pub at: Timestamp,
}

impl Transaction {
    /// True if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.alerts.is_empty() && self.alert_state.is_empty()
    }
}

/// What the alert engine was told, in order: the log that alerts are a fold of.
#[derive(Debug, Clone)]
pub enum Told {
    /// A point is new or described anew.
    Point(Box<PointEntry>, Timestamp),
    /// A committed row.
    Row(Row, Timestamp),
    /// Time passed.
    Timeout(Timestamp),
}

/// Everything the centre keeps. Cloning it is a backup.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// The registry.
    pub points: BTreeMap<u32, PointEntry>,
    /// The epochs by number.
    pub epochs: BTreeMap<u32, RestoredEpoch>,
    numbers: BTreeMap<(GatewayId, Epoch), u32>,
    /// Rows by epoch number, sequence number and point.
    pub rows: BTreeMap<(u32, Seq, u32), Row>,
    /// Committed gaps by epoch number and first.
    pub gaps: BTreeMap<(u32, Seq), Gap>,
    /// Quarantined ranges by epoch number and first: one past the last.
    pub quarantine: BTreeMap<(u32, Seq), Seq>,
    quarantined_bytes: BTreeMap<GatewayId, u64>,
    /// What was set aside, by number, until it is read again.
    pub kept: BTreeMap<u64, Quarantined>,
    kept_next: u64,
    /// What people were told of readings of unknown time.
    pub undated: Vec<Undated>,
    /// What people were told.
    pub incidents: Vec<Incident>,
    /// Gateways whose spool has failed, as people were told, with the epoch that said so.
    pub failed_spools: BTreeMap<GatewayId, Epoch>,
    /// Every change of an alert.
    pub alerts: Vec<Change>,
    /// What they are a fold of.
    pub told: Vec<Told>,
    states: BTreeMap<String, String>,
    marks: BTreeMap<PointNo, Mark>,
}

impl Book {
    /// Applies a transaction. Says what is wrong with it, if anything.
    pub fn apply(&mut self, transaction: &Transaction) -> Result<(), String> {
        let at = transaction.at;
        if transaction.timeout {
            self.told.push(Told::Timeout(at));
        }
        for effect in &transaction.effects {
            self.apply_effect(effect, at)?;
        }
        self.alerts.extend(transaction.alerts.iter().cloned());
        for state in &transaction.alert_state.states {
            match &state.body {
                Some(body) => self.states.insert(state.key.clone(), body.clone()),
                None => self.states.remove(&state.key),
            };
        }
        self.marks.extend(transaction.alert_state.marks.iter().map(|mark| (mark.point, *mark)));
        Ok(())
    }

    fn apply_effect(&mut self, effect: &Effect, at: Timestamp) -> Result<(), String> {
        match effect {
            Effect::Point(entry) => {
                self.points.insert(entry.no.0, entry.clone());
                self.told.push(Told::Point(Box::new(entry.clone()), at));
            }
            Effect::Epoch(entry) => {
                let state = EpochState::fresh(entry.no);
                let (gateway, epoch) = (entry.gateway.clone(), entry.epoch);
                let stored =
                    RestoredEpoch { gateway: gateway.clone(), epoch, points: entry.points.clone(), state };
                if self.numbers.insert((gateway, epoch), entry.no.0).is_some()
                    || self.epochs.insert(entry.no.0, stored).is_some()
                {
                    return Err(format!("epoch {} registered twice", entry.no.0));
                }
            }
            Effect::Rows(rows) => {
                for row in rows {
                    if self.rows.insert((row.epoch.0, row.seq, row.point.0), *row).is_some() {
                        return Err(format!("S2: two rows for one label: {row:?}"));
                    }
                    self.told.push(Told::Row(*row, at));
                }
            }
            Effect::Watermark(state) => return self.advance(*state),
            Effect::Gap(gap) => drop(self.gaps.insert((gap.epoch.0, gap.gap.first), gap.gap)),
            Effect::Quarantine(quarantined) => {
                let bytes = self.quarantined_bytes.entry(quarantined.gateway.clone()).or_default();
                *bytes += quarantined.raw.len() as u64;
                self.kept.insert(self.kept_next, quarantined.clone());
                self.kept_next += 1;
                if let Some((epoch, first, end)) = quarantined.range
                    && let Some(no) = self.numbers.get(&(quarantined.gateway.clone(), epoch))
                {
                    self.quarantine.insert((*no, first), end);
                }
            }
            Effect::Redecoded(redecoded) => {
                let entry =
                    self.kept.remove(&redecoded.id).ok_or("S2: an entry of the quarantine read twice")?;
                if let Some(bytes) = self.quarantined_bytes.get_mut(&entry.gateway) {
                    *bytes = bytes.saturating_sub(entry.raw.len() as u64);
                }
            }
            Effect::Undated(undated) => self.undated.extend(undated),
            Effect::Incident(incident) => {
                if incident.kind == IncidentKind::SpoolFailed {
                    let epoch = incident.epoch.unwrap_or(Epoch([0; 16]));
                    if self.failed_spools.insert(incident.gateway.clone(), epoch).is_some() {
                        return Err(format!("told twice without an end: {incident:?}"));
                    }
                }
                self.incidents.push(incident.clone());
            }
            Effect::Ended(ended) => {
                if self.failed_spools.remove(&ended.gateway).is_none() {
                    return Err(format!("an end without a beginning: {ended:?}"));
                }
            }
        }
        Ok(())
    }

    /// S4: everything below a watermark is a row, a gap or in quarantine.
    fn advance(&mut self, state: EpochState) -> Result<(), String> {
        let no = state.no.0;
        let Some(epoch) = self.epochs.get(&no) else {
            return Err(format!("S4: watermark of an unknown epoch {no}"));
        };
        let before = epoch.state.committed;
        if state.committed < before {
            return Err(format!(
                "S4: the watermark of epoch {no} goes back from {before} to {}",
                state.committed
            ));
        }
        let mut seq = before;
        while seq < state.committed {
            match self.covered_until(no, seq) {
                Some(end) => seq = end,
                None => {
                    return Err(format!(
                        "S4: nothing stands for {seq} of epoch {no} below {}",
                        state.committed
                    ));
                }
            }
        }
        if let Some((key, _)) = self.rows.range((no, state.committed, 0)..(no, Seq::MAX, 0)).next() {
            return Err(format!("S4: row {} of epoch {no} beyond its watermark {}", key.1, state.committed));
        }
        if let Some(epoch) = self.epochs.get_mut(&no) {
            epoch.state = state;
        }
        Ok(())
    }

    /// One past what stands for this sequence number: a row, a gap or a quarantined range.
    pub fn covered_until(&self, no: u32, seq: Seq) -> Option<Seq> {
        if self.rows.range((no, seq, 0)..(no, seq + 1, 0)).next().is_some() {
            return Some(seq + 1);
        }
        let gap = self.gaps.range((no, 0)..=(no, seq)).next_back().map(|(_, gap)| gap.last + 1);
        let aside = self.quarantine.range((no, 0)..=(no, seq)).rev().take(4).map(|(_, end)| *end).max();
        [gap, aside].into_iter().flatten().filter(|end| *end > seq).max()
    }

    /// The number of an epoch.
    pub fn number(&self, gateway: &GatewayId, epoch: Epoch) -> Option<u32> {
        self.numbers.get(&(gateway.clone(), epoch)).copied()
    }

    /// How far an epoch is committed durably.
    pub fn committed(&self, gateway: &GatewayId, epoch: Epoch) -> Seq {
        let no = self.number(gateway, epoch);
        no.and_then(|no| self.epochs.get(&no)).map_or(0, |epoch| epoch.state.committed)
    }

    /// What a restart reads back.
    pub fn restored(&self) -> Restored {
        Restored {
            points: self.points.values().cloned().collect(),
            epochs: self.epochs.values().cloned().collect(),
            failed_spools: self.failed_spools.iter().map(|(g, epoch)| (g.clone(), *epoch)).collect(),
            quarantined_bytes: self.quarantined_bytes.iter().map(|(g, n)| (g.clone(), *n)).collect(),
            ..Restored::default()
        }
    }

    /// The alert engine's memory.
    pub fn alert_memory(&self) -> (Vec<SavedState>, Vec<Mark>) {
        let state =
            |(key, body): (&String, &String)| SavedState { key: key.clone(), body: Some(body.clone()) };
        (self.states.iter().map(state).collect(), self.marks.values().copied().collect())
    }
}
