//! Owns the truth and is never faulted: what was measured, what was accepted under which label, what was acknowledged.
//! Judges every transaction of the centre as it is committed, and the whole at the end. What it lets pass, and why, is
//! listed and counted in [`pardon`](crate::pardon).

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use sitian_ingest::{Effect, IncidentKind, Undated};
use sitian_model::{Cause, Epoch, GapReason, GatewayId, Quality, Record, Row, Seq};

use crate::pardon::{Pardon, Pardons};
use crate::store::{Book, Transaction};
use crate::truth::Label;

/// True wall time at virtual zero: September 2026.
pub const WALL_ZERO_MS: i64 = 1_790_000_000_000;
/// How much later than its sampling an honest time may lie: retries of the poll, latency of the link.
const SLACK_MS: i64 = 4_000;

/// A record as a board made it.
#[derive(Debug, Clone)]
struct Written {
    board: usize,
    record: Record,
    /// Undecodable on purpose: quarantine is where it belongs.
    spoilt: bool,
    accepted_ms: Option<u64>,
    /// The medium it was accepted on is gone.
    off_card: bool,
    /// It was acknowledged and then trimmed: if the centre forgets it now, nobody has it.
    trimmed: bool,
    /// When the centre was restored to a state in which it does not know it any more.
    forgotten_ms: Option<u64>,
    /// When its card forgot the label of its epoch too, in favour of others.
    crowded_ms: Option<u64>,
    labels: Vec<(Epoch, Seq)>,
}

/// What has happened to a board that excuses something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excuse {
    /// A card of it was wiped, replaced by an older image, or lied: what was on it may be gone.
    pub card_lost: bool,
    /// A call of its disk failed: a segment that was to be removed may have stayed.
    pub call_failed: bool,
    /// Its disk had faults: frames may be unreadable, readings may have overflowed memory.
    pub disk_faulty: bool,
    /// Its spool said that it lost records.
    pub evicted: bool,
}

/// See the module page.
#[derive(Debug, Default)]
pub struct Oracle {
    written: Vec<Written>,
    /// Two silences of one moment are the same bytes.
    by_payload: HashMap<u64, Vec<usize>>,
    labels: HashMap<(Epoch, Seq), Vec<usize>>,
    gateways: Vec<GatewayId>,
    /// By board.
    pub excuses: Vec<Excuse>,
    /// Epochs with two writers.
    pub forked: BTreeSet<Epoch>,
    /// Boards that were restarted while they held a forked epoch. A process tells another writer of the epoch that it
    /// writes; one that only inherited it cannot, where the centre is ahead of its card, tell another writer's readings
    /// from its own that the card has lost.
    pub inherited: BTreeSet<(usize, Epoch)>,
    /// Epochs that what was left of a forked one moved to: both writers move what they shared.
    pub relabelled: BTreeSet<Epoch>,
    /// Gateway ids with more than one board.
    pub cloned: BTreeSet<GatewayId>,
    acks: HashMap<Epoch, Seq>,
    /// What a boot has claimed of its clock, in milliseconds.
    uncertainties: HashMap<u64, u32>,
    newest_poll: HashMap<(u32, u32, u64), (Seq, u64)>,
    /// In this world nothing is trimmed, evicted or overtaken, so that nobody is alarmed without a reason.
    pub alarms_are_true: bool,
    /// The centre was restored from a backup.
    pub centre_restored: bool,
    /// What was let pass.
    pub pardons: Cell<Pardons>,
    /// What is wrong.
    pub violations: Vec<String>,
}

/// When a device has served a poll: board, bus, device, poll number.
pub type Served<'a> = &'a dyn Fn(Label) -> Option<u64>;

impl Oracle {
    /// Something is wrong.
    pub fn violate(&mut self, what: impl Into<String>) {
        if self.violations.len() < 8 {
            self.violations.push(what.into());
        }
    }

    /// True: something is let pass, which is counted.
    fn pardon(&self, why: Pardon) -> bool {
        let mut pardons = self.pardons.get();
        pardons.note(why);
        self.pardons.set(pardons);
        true
    }

    /// One more board under this gateway id.
    pub fn add_board(&mut self, gateway: &GatewayId) {
        if self.gateways.contains(gateway) {
            self.cloned.insert(gateway.clone());
        }
        self.gateways.push(gateway.clone());
        self.excuses.push(Excuse::default());
    }

    /// A board has sealed a record.
    pub fn write(&mut self, board: usize, record: Record, payload: &[u8], spoilt: bool) {
        if let Some(ms) = record.uncertainty_ms {
            self.claim(record.boot, ms);
        }
        let labels = Vec::new();
        self.by_payload.entry(hash(payload)).or_default().push(self.written.len());
        self.written.push(Written {
            board,
            record,
            spoilt,
            accepted_ms: None,
            off_card: false,
            trimmed: false,
            forgotten_ms: None,
            crowded_ms: None,
            labels,
        });
    }

    /// A boot's clock claims to be this good.
    pub fn claim(&mut self, boot: u64, uncertainty_ms: u32) {
        let worst = self.uncertainties.entry(boot).or_default();
        *worst = uncertainty_ms.max(*worst);
    }

    /// S7: a payload got a label. Gives the record's number.
    pub fn label(&mut self, epoch: Epoch, seq: Seq, payload: &[u8]) -> Option<usize> {
        let alike = self.by_payload.get(&hash(payload))?;
        let under = self.labels.entry((epoch, seq)).or_default();
        if let Some(number) = alike.iter().find(|number| under.contains(number)) {
            return Some(*number);
        }
        let unlabelled = |number: &&usize| self.written[**number].labels.iter().all(|(e, _)| *e != epoch);
        let number = *alike.iter().find(unlabelled).or(alike.last())?;
        under.push(number);
        let twice = under.len() > 1;
        let twice = twice && !(self.forked.contains(&epoch) && self.pardon(Pardon::ForkedEpoch));
        self.written[number].labels.push((epoch, seq));
        if twice {
            self.violate(format!("S7: label {seq} of {epoch} names two records"));
        }
        Some(number)
    }

    /// A sync returned: these records are accepted.
    pub fn accept(&mut self, numbers: impl IntoIterator<Item = usize>, now: u64) {
        for number in numbers {
            self.written[number].accepted_ms.get_or_insert(now);
        }
    }

    /// What a board accepted after `since` is not on its card any more.
    pub fn lose_card(&mut self, board: usize, since: u64) {
        self.excuses[board].card_lost = true;
        for written in self.written.iter_mut().filter(|w| w.board == board) {
            written.off_card |= written.accepted_ms.is_some_and(|at| at >= since);
        }
    }

    /// The medium does not give these back.
    pub fn lose_tail(&mut self, epoch: Epoch, seqs: std::ops::Range<Seq>) {
        for seq in seqs {
            let under = self.labels.get(&(epoch, seq)).into_iter().flatten();
            under.for_each(|number| self.written[*number].off_card = true);
        }
    }

    /// A spool has trimmed what was acknowledged.
    pub fn trim(&mut self, epoch: Epoch, seqs: std::ops::Range<Seq>) {
        for seq in seqs {
            let under = self.labels.get(&(epoch, seq)).into_iter().flatten();
            under.for_each(|number| self.written[*number].trimmed = true);
        }
    }

    /// A spool remembers nothing of this epoch any more, but others of which nothing is left.
    pub fn crowd_out(&mut self, epoch: Epoch, end: Seq, now: u64) {
        for seq in 0..end {
            let under = self.labels.get(&(epoch, seq)).into_iter().flatten();
            under.for_each(|number| self.written[*number].crowded_ms = Some(now));
        }
    }

    /// When a record was accepted, whatever any clock says, for checks of trimming.
    pub fn accepted_at(&self, epoch: Epoch, seq: Seq) -> Option<u64> {
        let number = *self.labels.get(&(epoch, seq))?.last()?;
        self.written[number].accepted_ms
    }

    /// The worst that a clock has claimed of itself, in milliseconds.
    pub fn uncertainty_max(&self) -> u64 {
        self.uncertainties.values().copied().max().unwrap_or(0).into()
    }

    /// S5: an ack leaves; what it says must be durable already.
    pub fn acknowledge(&mut self, gateway: &GatewayId, epoch: Epoch, committed: Seq, book: &Book) {
        let durable = book.committed(gateway, epoch);
        if committed > durable {
            self.violate(format!("S5: ack of {committed} in {epoch}, but only {durable} are durable"));
        }
        let acked = self.acks.entry(epoch).or_default();
        *acked = committed.max(*acked);
    }

    /// The highest ack that ever left for an epoch.
    pub fn acked(&self, epoch: Epoch) -> Seq {
        self.acks.get(&epoch).copied().unwrap_or(0)
    }

    /// S3, S8, S9 of every row of a transaction that is now in the book.
    pub fn judge(&mut self, transaction: &Transaction, book: &Book, served: Served<'_>) {
        let rows = || transaction.effects.iter().filter_map(rows_of).flatten();
        for row in rows() {
            if let Err(what) = self.judge_row(row, book, served) {
                self.violate(format!("{what}: {row:?}"));
            }
        }
        let undated = transaction.effects.iter().filter_map(|effect| match effect {
            Effect::Undated(undated) => Some(undated),
            _ => None,
        });
        let all: Vec<&Row> = rows().collect();
        for one in undated.flatten() {
            if let Err(what) = self.judge_undated(one, &all, served) {
                self.violate(what);
            }
        }
    }

    /// S9: whose time nobody knows was taken between the bounds that are told.
    fn judge_undated(&self, one: &Undated, rows: &[&Row], served: Served<'_>) -> Result<(), String> {
        let (first, last) = one.seqs;
        let of_it = |row: &&&Row| {
            row.epoch == one.epoch && row.point == one.point && (first..=last).contains(&row.seq)
        };
        let unknown = |row: &&&Row| row.quality == Quality::Uncertain(Cause::ClockUnknown);
        let slack_ms = self.uncertainty_max() as i64 + SLACK_MS;
        for row in rows.iter().filter(of_it).filter(unknown) {
            let taken = row.value.and_then(Label::of).and_then(served).ok_or("S3: a poll that never was")?;
            let taken = WALL_ZERO_MS + taken as i64;
            let early = one.taken.after.is_some_and(|after| taken < after.0 - slack_ms);
            if early || taken > one.taken.before.0 + slack_ms {
                return Err(format!("S9: taken at {taken}, not as told: {one:?}"));
            }
        }
        Ok(())
    }

    fn judge_row(&mut self, row: &Row, book: &Book, served: Served<'_>) -> Result<(), String> {
        let epoch = book.epochs.get(&row.epoch.0).ok_or("S3: unknown epoch")?;
        let index =
            epoch.points.iter().position(|p| *p == row.point).ok_or("S3: point not in the manifest")?;
        let under = self.labels.get(&(epoch.epoch, row.seq)).ok_or("S3: nothing was labelled so")?;
        let same = |number: &&usize| {
            self.written[**number].record.readings.iter().any(|reading| {
                reading.point as usize == index
                    && reading.value.map(f64::to_bits) == row.value.map(f64::to_bits)
                    && (reading.quality == row.quality
                        || reading.quality == Quality::Good
                            && row.quality == Quality::Uncertain(Cause::ClockUnknown))
            })
        };
        let number = under.iter().find(same).ok_or("S3: not what was measured under this label")?;
        let boot = self.written[*number].record.boot;
        let Some(value) = row.value else { return Ok(()) };
        let label = Label::of(value).ok_or("S3: a value that no register ever had")?;
        let id = &book.points.get(&row.point.0).ok_or("S8: unknown point")?.id;
        let gateway = self.gateways.get(label.board as usize).ok_or("S3: unknown board")?;
        let device = format!("b{}d{}", label.bus, label.device);
        let key = format!("r{}", label.register);
        if id.gateway != *gateway || id.device.as_str() != device || id.key.as_str() != key {
            return Err(format!("S8: the value of {label:?} stored as {id}"));
        }
        let taken = served(label).ok_or("S3: a poll that never was")?;
        let error = (row.at.0 - WALL_ZERO_MS - taken as i64).abs();
        let bound = 2 * i64::from(self.uncertainties.get(&boot).copied().unwrap_or(0)) + SLACK_MS;
        if row.quality == Quality::Good && error > bound {
            return Err(format!("S9: {error} ms off, {bound} at most were claimed, taken at {taken}"));
        }
        let newest = self.newest_poll.get(&(row.epoch.0, row.point.0, label.board)).copied();
        let forked = self.forked.contains(&epoch.epoch);
        let disorder = newest.is_some_and(|(seq, poll)| seq < row.seq && poll >= label.poll);
        if disorder && !(forked && self.pardon(Pardon::ForkedEpoch)) {
            return Err(format!("S9: order within an epoch, {newest:?} came before"));
        }
        self.newest_poll.insert((row.epoch.0, row.point.0, label.board), (row.seq, label.poll));
        Ok(())
    }

    /// The centre is restored: it forgets what only the newer book holds, and numbers may be given anew.
    pub fn restore(&mut self, newer: &Book, older: &Book, now: u64) {
        self.centre_restored = true;
        self.newest_poll.clear();
        let forgotten = |w: &&Written| self.cover(w, newer).is_some() && self.cover(w, older).is_none();
        let numbers: Vec<usize> =
            self.written.iter().enumerate().filter(|(_, w)| forgotten(w)).map(|(number, _)| number).collect();
        numbers.into_iter().for_each(|number| self.written[number].forgotten_ms = Some(now));
    }

    /// How many accepted records are not in the book in any form, and could be.
    pub fn missing(&self, book: &Book) -> usize {
        self.written.iter().filter(|w| self.is_due(w) && self.cover(w, book).is_none()).count()
    }

    fn is_due(&self, written: &Written) -> bool {
        let gone = written.off_card || written.trimmed && self.centre_restored;
        written.accepted_ms.is_some() && !gone && !self.is_inherited(written)
    }

    fn is_inherited(&self, written: &Written) -> bool {
        written.labels.iter().any(|(epoch, _)| self.inherited.contains(&(written.board, *epoch)))
    }

    /// Why a record need not be in the book; `None` if nobody has it any more, and the centre that has forgotten it says
    /// nothing of a loss although it could know.
    fn why_not_due(&self, written: &Written, book: &Book) -> Option<Pardon> {
        if written.off_card {
            return Some(Pardon::OffCard);
        }
        if self.is_inherited(written) {
            return Some(Pardon::InheritedFork);
        }
        let forgotten_ms = written.forgotten_ms?;
        let gateway = &self.gateways[written.board];
        let says = |kind| {
            matches!(kind, IncidentKind::ServerRestored | IncidentKind::PossibleLoss | IncidentKind::CardLost)
        };
        let since = WALL_ZERO_MS + forgotten_ms as i64;
        if book.incidents.iter().any(|i| i.gateway == *gateway && says(i.kind) && i.at.0 >= since) {
            return Some(Pardon::TrimmedThenForgotten);
        }
        written.crowded_ms.filter(|at| *at >= forgotten_ms).map(|_| Pardon::CrowdedOut)
    }

    /// Where a record is in the book, under any of its labels: the gap's reason if it is only in a gap.
    fn cover(&self, written: &Written, book: &Book) -> Option<Option<GapReason>> {
        let gateway = &self.gateways[written.board];
        let mut found = None;
        for (epoch, seq) in &written.labels {
            let Some(no) = book.number(gateway, *epoch) else { continue };
            if *seq >= book.epochs.get(&no).map_or(0, |e| e.state.committed) {
                continue;
            }
            let shared = self.labels.get(&(*epoch, *seq)).is_some_and(|under| under.len() > 1);
            if shared && !stands_there(written, book, no, *seq) {
                continue;
            }
            let gap = book.gaps.range((no, 0)..=(no, *seq)).next_back().filter(|(_, gap)| gap.last >= *seq);
            found = Some(gap.map(|(_, gap)| gap.reason));
            if gap.is_none() {
                return found;
            }
        }
        found
    }

    /// S1, S2 and the honesty of gaps, for what was accepted before `until`: everything has had its time.
    pub fn judge_all(&mut self, book: &Book, until: u64) {
        let mut found = Vec::new();
        let due = |w: &&Written| w.accepted_ms.is_some_and(|at| at <= until);
        for written in self.written.iter().filter(due) {
            let excuse = self.excuse_of(written);
            let label = written.labels.last();
            match self.cover(written, book) {
                None if !self.is_due(written)
                    && self.why_not_due(written, book).is_some_and(|why| self.pardon(why)) => {}
                None => {
                    let (at, board) = (written.accepted_ms, written.board);
                    let labels = &written.labels;
                    found.push(format!(
                        "S1: lost without a word: {labels:?} of board {board}, accepted at {at:?}"
                    ));
                }
                Some(None) => {}
                // In a gap it is told, wherever it has been.
                Some(Some(_)) if !self.is_due(written) => {}
                Some(Some(GapReason::Damaged))
                    if excuse.disk_faulty && self.pardon(Pardon::DamagedByDisk) => {}
                Some(Some(GapReason::Evicted)) if excuse.evicted && self.pardon(Pardon::EvictionTold) => {}
                // After a rewind and a restart the spool cannot tell trimmed from evicted any more.
                Some(Some(GapReason::Trimmed | GapReason::Evicted))
                    if self.centre_restored && self.pardon(Pardon::GoneBeforeRestore) => {}
                Some(Some(reason)) => {
                    found.push(format!("S1: {label:?} of board {} is in a gap: {reason:?}", written.board))
                }
            }
        }
        found.extend(self.doubled(book));
        found.extend(self.alarms(book));
        found.into_iter().for_each(|what| self.violate(what));
    }

    /// What excuses a gap in place of a record. Of what a card and its copy both hold, the gap may be the other one's.
    fn excuse_of(&self, written: &Written) -> Excuse {
        let own = self.excuses[written.board];
        let twins =
            self.gateways.iter().zip(&self.excuses).filter(|(g, _)| **g == self.gateways[written.board]);
        twins.fold(own, |sum, (_, twin)| Excuse {
            disk_faulty: sum.disk_faulty || twin.disk_faulty,
            evicted: sum.evicted || twin.evicted,
            ..sum
        })
    }

    /// A value that is stored under two labels, outside forked epochs.
    fn doubled(&self, book: &Book) -> Vec<String> {
        let mut seen: BTreeMap<u64, (u32, Seq)> = BTreeMap::new();
        let shared = |epoch: &Epoch| self.forked.contains(epoch) || self.relabelled.contains(epoch);
        let forked = |no: &u32| book.epochs.get(no).is_none_or(|e| shared(&e.epoch));
        let mut found = Vec::new();
        for ((no, seq, _), row) in &book.rows {
            let Some(value) = row.value else { continue };
            if let Some((other, other_seq)) = seen.insert(value as u64, (*no, *seq))
                && !((forked(no) || forked(&other)) && self.pardon(Pardon::MovedTwice))
            {
                found.push(format!("doubled: {value} is {other_seq} of epoch {other} and {seq} of {no}"));
            }
        }
        found
    }

    /// Nobody is told of a loss that cannot have been, nor of a restoration without one.
    ///
    /// A gateway that was cloned is excused: two cards that list different ends of an epoch that neither writes any more
    /// cannot be told from one card that has lost the difference. Two more things do alarm without a loss: an epoch that is acknowledged and trimmed before any live batch has listed it
    /// as sealed (with a keep-behind of days that takes days without a reading), and one whose manifest and first live
    /// batch are both overtaken by its successor's.
    fn alarms(&self, book: &Book) -> Vec<String> {
        let mut found = Vec::new();
        let restored = book.incidents.iter().filter(|i| i.kind == IncidentKind::ServerRestored);
        if !self.centre_restored {
            found.extend(restored.map(|incident| format!("a restoration that was none: {incident:?}")));
        }
        if !self.alarms_are_true {
            return found;
        }
        let loss = |kind| matches!(kind, IncidentKind::PossibleLoss | IncidentKind::CardLost);
        for incident in book.incidents.iter().filter(|i| loss(i.kind)) {
            let boards = || self.gateways.iter().zip(&self.excuses).filter(|(g, _)| **g == incident.gateway);
            let excused = boards().any(|(_, e)| e.card_lost) && self.pardon(Pardon::LossOfCard)
                || boards().any(|(_, e)| e.disk_faulty) && self.pardon(Pardon::LossOfDisk)
                || self.cloned.contains(&incident.gateway) && self.pardon(Pardon::LossOfClone);
            if !excused {
                found.push(format!("a loss that was none: {incident:?}"));
            }
        }
        found
    }

    /// What was sealed, and what was accepted.
    pub fn counts(&self) -> (usize, usize) {
        (self.written.len(), self.written.iter().filter(|w| w.accepted_ms.is_some()).count())
    }

    /// True if the record was spoilt on purpose.
    pub fn is_spoilt(&self, payload: &[u8]) -> bool {
        self.by_payload.get(&hash(payload)).is_some_and(|alike| alike.iter().any(|n| self.written[*n].spoilt))
    }
}

fn rows_of(effect: &Effect) -> Option<&Vec<Row>> {
    match effect {
        Effect::Rows(rows) => Some(rows),
        _ => None,
    }
}

/// True if the rows of a label that names two records are this one's.
fn stands_there(written: &Written, book: &Book, no: u32, seq: Seq) -> bool {
    let values: Vec<u64> = written.record.readings.iter().filter_map(|r| r.value.map(f64::to_bits)).collect();
    let mut rows = book.rows.range((no, seq, 0)..(no, seq + 1, 0)).map(|(_, row)| row.value).peekable();
    // Without rows it is a gap or a quarantined record; without values, one silence is like the other.
    rows.peek().is_none()
        || values.is_empty()
        || rows.flatten().any(|value| values.contains(&value.to_bits()))
}

fn hash(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}
