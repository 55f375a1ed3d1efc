//! What all members share: the database, one transaction after the other, and the engine of the readings. Both look on what
//! is done to them; whatever should not be possible is said here.

use std::collections::{BTreeMap, BTreeSet};

use sitian_ingest::Effect;
use sitian_model::{Epoch, EpochNo, GatewayId, PointNo, Row, Seq, Slot};
use sitian_tenure::{Answer, Ask, Hold, Lease, Peer, Term};

use crate::fleet::{LEASE_MS, Slip};
use crate::store::{Book, Transaction};

#[derive(Debug, Clone)]
struct LeaseRow {
    member: String,
    term: Term,
    until_ms: u64,
}

/// A row as the engine files it: by names, never by numbers.
type Named = (GatewayId, Epoch, Seq);

/// See the module page.
#[derive(Debug, Default)]
pub struct Register {
    leases: BTreeMap<Slot, LeaseRow>,
    members: BTreeMap<String, u64>,
    /// Gateways that somebody has heard of.
    pub known: BTreeSet<GatewayId>,
    /// The registry, slot by slot.
    pub books: BTreeMap<Slot, Book>,
    /// The engine.
    pub engine: BTreeMap<Named, Row>,
    /// What was committed last for a slot: under which term, by whom.
    last: BTreeMap<Slot, (Term, String)>,
    points: BTreeMap<PointNo, Slot>,
    epochs: BTreeMap<EpochNo, (Slot, GatewayId, Epoch)>,
    episodes: BTreeMap<u64, Slot>,
    /// Transactions that were committed and refused by the fence.
    pub commits: u64,
    /// See [`Register::commits`].
    pub fenced: u64,
    /// Who claims by a clock of its own, and how far that is off, in milliseconds.
    pub clocks: BTreeMap<String, i64>,
    /// What is broken on purpose.
    pub slip: Slip,
    /// What should not be possible.
    pub violations: Vec<String>,
}

impl Register {
    /// Empty.
    pub fn new(slip: Slip) -> Self {
        Self { slip, ..Self::default() }
    }

    fn violate(&mut self, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(what);
        }
    }

    /// The question of a member. All times are this database's.
    pub fn answer(&mut self, member: &str, ask: &Ask, now: u64) -> Answer {
        let off = self.clocks.get(member).copied().unwrap_or(0);
        let now = match self.slip {
            Slip::MembersClock => now.saturating_add_signed(off),
            _ => now,
        };
        self.members.retain(|_, until_ms| *until_ms > now);
        self.members.insert(member.to_owned(), now + LEASE_MS);
        if ask.leave {
            self.members.remove(member);
        }
        for (holds, until_ms) in [(&ask.release, 0), (&ask.renew, now + LEASE_MS)] {
            for hold in holds {
                let row = self.leases.get_mut(&hold.slot);
                if let Some(row) = row.filter(|row| row.member == member && row.term == hold.term) {
                    row.until_ms = until_ms;
                }
            }
        }
        for slot in &ask.claim {
            let nobody = LeaseRow { member: String::new(), term: 0, until_ms: 0 };
            let row = self.leases.entry(*slot).or_insert(nobody);
            if row.until_ms <= now || row.member == member {
                *row = LeaseRow { member: member.to_owned(), term: row.term + 1, until_ms: now + LEASE_MS };
            }
        }
        let lease = |(slot, row): (&Slot, &LeaseRow)| Lease {
            hold: Hold { slot: *slot, term: row.term },
            member: row.member.clone(),
            living: row.until_ms > now,
        };
        let peer = |member: &String| Peer { member: member.clone(), api: String::new() };
        Answer {
            number: ask.number,
            leases: self.leases.iter().map(lease).collect(),
            members: self.members.keys().map(peer).collect(),
        }
    }

    /// Living leases and who has them.
    pub fn owners(&self, now: u64) -> BTreeMap<Slot, &str> {
        let living = self.leases.iter().filter(|(_, row)| row.until_ms > now);
        living.map(|(slot, row)| (*slot, row.member.as_str())).collect()
    }

    /// Rows go to the engine first. The same row again is the same row.
    pub fn put(&mut self, rows: &[(GatewayId, Epoch, Row)]) {
        for (gateway, epoch, row) in rows {
            let named = (gateway.clone(), *epoch, row.seq);
            let worth = |row: &Row| (row.at, row.value.map(f64::to_bits), row.quality);
            if let Some(known) = self.engine.insert(named, *row)
                && worth(&known) != worth(row)
            {
                self.violate(format!("E1: two rows for one label: {known:?} and {row:?}"));
            }
        }
    }

    /// A transaction with its fence; false if the lease says otherwise.
    pub fn commit(&mut self, member: &str, hold: Hold, transaction: &Transaction) -> bool {
        let row = self.leases.get(&hold.slot);
        let mine = row.is_some_and(|row| row.member == member && row.term == hold.term);
        if !mine && self.slip != Slip::FenceNotChecked {
            self.fenced += 1;
            return false;
        }
        self.commits += 1;
        let (slot, who) = (hold.slot, (hold.term, member.to_owned()));
        match self.last.insert(slot, who.clone()) {
            Some(last) if last.0 > who.0 || (last.0 == who.0 && last.1 != who.1) => {
                self.violate(format!("T1: {who:?} commits for slot {slot} after {last:?}"));
            }
            _ => {}
        }
        self.watch_numbers(slot, transaction);
        if let Err(what) = self.books.entry(slot).or_default().apply(transaction) {
            self.violate(what);
        }
        true
    }

    /// Numbers of two slots never meet, rows stand in the engine before their watermark.
    fn watch_numbers(&mut self, slot: Slot, transaction: &Transaction) {
        let mut wrong = Vec::new();
        for effect in &transaction.effects {
            match effect {
                Effect::Point(entry) => {
                    let before = self.points.insert(entry.no, slot);
                    wrong.extend(
                        before
                            .filter(|before| *before != slot)
                            .map(|before| format!("N1: point {:?} in slots {before} and {slot}", entry.no)),
                    );
                }
                Effect::Epoch(entry) => {
                    let named = (slot, entry.gateway.clone(), entry.epoch);
                    if self.epochs.insert(entry.no, named).is_some() {
                        wrong.push(format!("N1: epoch {:?} twice", entry.no));
                    }
                }
                Effect::Rows(rows) => {
                    for row in rows {
                        let named = self.epochs.get(&row.epoch);
                        let named = named.map(|(_, gateway, epoch)| (gateway.clone(), *epoch, row.seq));
                        if named.is_none_or(|named| !self.engine.contains_key(&named)) {
                            wrong.push(format!("E2: committed before it is in the engine: {row:?}"));
                        }
                    }
                }
                _ => {}
            }
        }
        for change in &transaction.alerts {
            if self.episodes.insert(change.episode.id, slot).is_some_and(|other| other != slot) {
                wrong.push(format!("N1: episode {} in two slots", change.episode.id));
            }
        }
        wrong.into_iter().for_each(|what| self.violate(what));
    }

    /// S5: what is acknowledged is committed.
    pub fn acknowledged(&mut self, gateway: &GatewayId, epoch: Epoch, committed: Seq) {
        if self.committed(gateway, epoch) < committed {
            self.violate(format!("S5: {committed} of {gateway} acknowledged, and not committed"));
        }
    }

    /// How far an epoch has come.
    pub fn committed(&self, gateway: &GatewayId, epoch: Epoch) -> Seq {
        let book = self.books.get(&Slot::of(gateway));
        let found = book.and_then(|book| {
            book.epochs.values().find(|stored| stored.gateway == *gateway && stored.epoch == epoch)
        });
        found.map_or(0, |stored| stored.state.committed)
    }
}
