//! What must hold, looked at after every event and at the end.

use sitian_alert::{Change, Engine};
use sitian_model::{GatewayId, Slot};

use crate::centre::{rules, wall, watched};
use crate::fleet::member::Member;
use crate::fleet::{Fleet, SERVED_MS, alert_settings};
use crate::store::Told;

impl Fleet {
    /// What members left for the oracle.
    pub(super) fn look_on(&mut self) {
        for (gateway, epoch, committed) in std::mem::take(&mut self.sky.acks) {
            self.register.acknowledged(&gateway, epoch, committed);
            if let Some(calm_at) = self.calm_at {
                self.served.entry(gateway).or_insert(self.sky.now - calm_at);
            }
        }
        for (number, hold) in std::mem::take(&mut self.sky.began) {
            self.outcome.begun += 1;
            let others = self.seats.iter().enumerate().filter(|(other, _)| *other != number);
            let awake = others.filter_map(|(_, seat)| seat.member.as_ref()).filter(|member| !member.paused);
            for other in awake {
                if let Some(theirs) = other.tenure.holds().find(|held| held.slot == hold.slot) {
                    let what = format!("B1: {} believes in {theirs:?} when {hold:?} begins", other.name);
                    self.register.violations.push(what);
                }
            }
        }
    }

    /// F1: every slot is held and admitted for; nobody has more than its share.
    pub(super) fn judge_shares(&mut self) {
        let members: Vec<&Member> = self.seats.iter().filter_map(|seat| seat.member.as_ref()).collect();
        let share = usize::from(Slot::COUNT).div_ceil(members.len().max(1));
        let held: Vec<usize> = members.iter().map(|member| member.ready()).collect();
        if held.iter().sum::<usize>() != usize::from(Slot::COUNT) || held.iter().any(|held| *held > share) {
            let owners = self.register.owners(self.sky.now).len();
            self.register.violations.push(format!("F1: {held:?} of 64 slots, {owners} leases"));
        }
    }

    /// L2: every gateway is served again soon.
    pub(super) fn judge_service(&mut self) {
        let late = self
            .senders
            .iter()
            .flatten()
            .filter(|sender| self.served.get(&sender.gateway).is_none_or(|after| *after > SERVED_MS));
        let late: Vec<&GatewayId> = late.map(|sender| &sender.gateway).collect();
        if !late.is_empty() {
            self.register.violations.push(format!("L2: {late:?} not served again within {SERVED_MS} ms"));
        }
        self.outcome.served_ms = self.served.values().copied().max().unwrap_or(0);
    }

    /// L1: what was accepted is committed and in the engine, as it was measured; and nothing else.
    pub(super) fn judge_rows(&mut self) {
        let mut wrong = Vec::new();
        let (mut accepted, calm_at) = (0, self.calm_at.unwrap_or(0));
        for sender in self.senders.iter().flatten() {
            accepted += sender.accepted.len();
            for ((epoch, seq), (value, at)) in &sender.accepted {
                let named = (sender.gateway.clone(), *epoch, *seq);
                let row = self.register.engine.get(&named);
                let right = row.is_some_and(|row| row.value == Some(*value) && row.at == wall(*at));
                if !right || self.register.committed(&sender.gateway, *epoch) <= *seq {
                    let since = at.saturating_sub(calm_at);
                    wrong.push(format!(
                        "L1: {} {epoch} {seq}, {since} ms after the faults: {row:?}",
                        sender.gateway
                    ));
                }
            }
        }
        if self.register.engine.len() != accepted {
            wrong.push(format!("S3: {} rows for {accepted} readings", self.register.engine.len()));
        }
        self.outcome.readings = accepted;
        self.register.violations.extend(wrong.into_iter().take(5));
    }

    /// S10: the alerts of each slot are the fold of its log, under numbers of its own.
    pub(super) fn judge_alerts(&mut self) {
        for (slot, book) in &self.register.books {
            let mut engine = Engine::new(rules(), alert_settings(*slot, self.sky.slip), wall(0));
            let mut expected = Vec::new();
            for told in &book.told {
                match told {
                    Told::Point(entry, now) => engine.register(watched(entry), *now),
                    Told::Row(row, now) => engine.observe(row, *now),
                    Told::Timeout(now) => engine.handle_timeout(*now),
                }
                expected.extend(std::iter::from_fn(|| engine.poll_change()));
            }
            let shown = |change: &Change| (change.kind, change.episode.id, change.episode.severity);
            if !expected.iter().map(shown).eq(book.alerts.iter().map(shown)) {
                let what = format!("S10: slot {slot}: {} alerts for {}", book.alerts.len(), expected.len());
                self.register.violations.push(what);
            }
        }
    }
}
