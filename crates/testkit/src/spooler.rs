//! A faithful copy of the gateway's spool thread (`crates/gateway/src/spooler.rs`) without the thread: asks wait in a
//! queue, and the world says when each is worked off. The oracle looks on.

use std::collections::{BTreeMap, VecDeque};

use sitian_model::{Epoch, Held, Manifest, Seq, Span, SpoolState};
use sitian_spool::{Disk, File, Limits, Owner, Recovery, Spool};
use sitian_uplink::Read;

use crate::disk::CardDisk;
use crate::ether::Ether;
use crate::mutant::Mutant;
use crate::sight::Sight;

/// Asks that may wait, as in the gateway.
pub const OUTSTANDING_MAX: usize = 512;
/// Bytes of a segment: the smallest that the spool works with.
pub const SEGMENT_BYTES: u64 = 8 * 1024;

/// As in the gateway.
const UNREAD_MAX: u32 = 30;

/// Gaps of forgotten epochs that a spool of such segments keeps.
const GAPS_MAX: usize = SEGMENT_BYTES as usize / 4 / 96 / 2;

/// Epochs of which nothing is left that a spool remembers in any case.
const LAST_GONE: usize = 2;

/// What the thread is asked for.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Ask {
    Accept(Vec<(Vec<u8>, Span)>),
    Read { epoch: Epoch, from: Seq, bytes_max: usize },
    Manifest(Epoch),
    Release { epoch: Epoch, committed: Seq },
    Seal,
    Relabel(Epoch),
}

/// What the thread answers.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Told {
    Spool { held: Vec<Held>, live: Epoch, state: SpoolState },
    Read(Result<Read, Epoch>),
    Manifest(Epoch, Option<Vec<u8>>),
}

/// The spool of one process.
#[derive(Debug)]
pub struct Spooler {
    board: usize,
    spool: Spool<CardDisk>,
    limits: Limits,
    manifest: Manifest,
    healthy: bool,
    /// What waits.
    pub asks: VecDeque<Ask>,
    /// Records that have a label but may not be durable yet.
    unsure: Vec<usize>,
    before: BTreeMap<Epoch, Held>,
    /// What was on the card when its directory could not be listed.
    unlisted: BTreeMap<Epoch, Held>,
    unread: BTreeMap<Epoch, u32>,
    /// A record was made durable: before that, what a power cut brought back may exceed the quota.
    wrote: bool,
    lost: u64,
    /// Records that went from the disk unacknowledged.
    gone: u64,
    files: usize,
}

/// The limits of a world's spools.
pub fn limits(ether: &Ether) -> Limits {
    let keep_behind_ms = if ether.mutant == Mutant::NoKeepBehind { 0 } else { ether.swarm.keep_behind_ms };
    Limits {
        segment_bytes: SEGMENT_BYTES,
        bytes_max: ether.swarm.spool_bytes,
        keep_behind_ms,
        record_bytes_max: 2048,
        memory_bytes_max: (ether.swarm.spool_bytes as usize / 64).max(4 * 1024),
        ack_every: 8,
    }
}

impl Spooler {
    /// Opens the spool in whatever state the disk is in.
    pub fn start(board: usize, disk: CardDisk, manifest: Manifest, epoch: Epoch, ether: &mut Ether) -> Self {
        let limits = limits(ether);
        let (mut spool, recovery) = Spool::open(disk, limits, epoch);
        note_recovery(board, &recovery, ether);
        spool.set_owner(Owner::new(manifest.gateway.as_str()).unwrap_or_default());
        if let Err(error) = spool.set_manifest(&sitian_wire::encode_manifest(&epoch, &manifest)) {
            ether.oracle.violate(format!("manifest not kept: {error}"));
        }
        let (asks, unsure) = (VecDeque::new(), Vec::new());
        let before: BTreeMap<Epoch, Held> = spool.held().into_iter().map(|h| (h.epoch, h)).collect();
        let shared = before.keys().filter(|e| **e != epoch && ether.oracle.forked.contains(e));
        let inherited: Vec<_> = shared.map(|e| (board, *e)).collect();
        ether.oracle.inherited.extend(inherited);
        Self {
            board,
            spool,
            limits,
            manifest,
            healthy: true,
            asks,
            unsure,
            before,
            unlisted: BTreeMap::new(),
            unread: BTreeMap::new(),
            wrote: false,
            lost: 0,
            gone: 0,
            files: 0,
        }
    }

    /// Gives the disk back when the process ends, with what was on it.
    pub fn end(self) -> (CardDisk, BTreeMap<Epoch, Held>) {
        let mut before = self.unlisted;
        before.extend(self.before);
        (self.spool.into_disk(), before)
    }

    /// What went from the card while no process looked, or while it died: noted if it was acknowledged.
    /// `lied`: the power was cut while the card had not kept what it had confirmed.
    pub fn compare(&mut self, before: BTreeMap<Epoch, Held>, lied: bool, ether: &mut Ether) {
        if !lied && self.spool.disk_mut().faults.list_fails {
            self.unlisted = before;
            return;
        }
        let unreadable = self.spool.disk_mut().faults.bad_sector.is_some();
        for (epoch, before) in before {
            let end = self.before.get(&epoch).map_or(0, |after| after.end);
            if unreadable && end < before.end {
                // The tail of the newest segment cannot be read: the spool takes it for torn.
                ether.oracle.lose_tail(epoch, end..before.end + 64);
            }
            if lied && end < before.oldest {
                // A segment is evicted once its gap is durably noted: the card confirmed the note and kept the removal
                // only. Nothing on it names these records any more.
                ether.oracle.lose_tail(epoch, end..before.oldest);
            }
            let to = self.before.get(&epoch).map_or(before.end, |after| after.oldest);
            let acked = ether.oracle.acked(epoch);
            ether.oracle.trim(epoch, before.oldest..to.min(acked));
            if !self.before.contains_key(&epoch) {
                forget_gap(&before, &self.before, ether);
                // Only a gap was left of it, and that has been acknowledged.
                ether.oracle.trim(epoch, 0..before.oldest.min(acked));
            }
        }
    }

    /// The disk, to make it worse or better.
    pub fn disk_mut(&mut self) -> &mut CardDisk {
        self.spool.disk_mut()
    }

    /// The epoch that is written to.
    pub fn live(&self) -> Epoch {
        self.spool.live()
    }

    /// What the spool says of itself.
    pub fn state(&self) -> SpoolState {
        self.spool.state()
    }

    /// What it holds.
    pub fn held(&self) -> Vec<Held> {
        self.spool.held()
    }

    /// Works off one ask.
    pub fn answer(&mut self, ask: Ask, ether: &mut Ether) -> Told {
        let bytes = self.spool.state().bytes;
        let told = match ask {
            Ask::Read { epoch, from, bytes_max } => {
                return Told::Read(self.read(epoch, from, bytes_max, ether));
            }
            Ask::Manifest(epoch) => {
                let manifest = self.manifest_of(epoch);
                return Told::Manifest(epoch, manifest);
            }
            Ask::Accept(records) => {
                self.accept(&records, ether);
                self.told()
            }
            Ask::Release { epoch, committed } => {
                self.spool.release(epoch, committed);
                self.told()
            }
            Ask::Seal => {
                ether.saw(Sight::EpochSealed);
                self.renew(None, ether);
                self.told()
            }
            Ask::Relabel(epoch) => {
                self.renew(Some(epoch), ether);
                self.told()
            }
        };
        if let Told::Spool { held, state, .. } = &told {
            self.inspect(held, *state, bytes, ether);
        }
        told
    }

    /// The power goes off while this ask is worked off, after so many calls of the disk.
    pub fn die_in(&mut self, ask: &Ask, calls: u64, ether: &mut Ether) {
        let disk = self.spool.disk_mut();
        disk.faults.power_off_at = Some(disk.calls + calls);
        match ask {
            Ask::Accept(records) => {
                self.accept(records, ether);
                self.note_last_accepted();
            }
            Ask::Release { epoch, committed } => self.spool.release(*epoch, *committed),
            Ask::Seal | Ask::Relabel(_) | Ask::Read { .. } | Ask::Manifest(_) => {}
        }
    }

    /// What was accepted in the moment of the cut was on the card too: the next process is compared with it.
    fn note_last_accepted(&mut self) {
        let live = self.spool.held().into_iter().find(|held| held.epoch == self.spool.live());
        if let Some(held) = live.filter(|_| self.healthy) {
            self.before.entry(held.epoch).or_insert(held).end = held.end;
        }
    }

    fn told(&self) -> Told {
        Told::Spool { held: self.spool.held(), live: self.spool.live(), state: self.spool.state() }
    }

    fn accept(&mut self, records: &[(Vec<u8>, Span)], ether: &mut Ether) {
        for (record, span) in records {
            match self.spool.append(record, *span) {
                Ok(seq) => self.unsure.extend(ether.oracle.label(self.spool.live(), seq, record)),
                Err(error) => ether.oracle.violate(format!("record not accepted: {error}")),
            }
        }
        match self.spool.commit() {
            Ok(durable) => {
                let now = ether.now;
                ether.oracle.accept(self.unsure.drain(..), now);
                self.wrote |= !records.is_empty();
                if !self.healthy {
                    ether.saw(Sight::SpoolWorksAgain);
                }
                self.healthy = true;
                ether.note("accepted", self.board, durable.epoch.0[0].into(), durable.end);
            }
            Err(_) => {
                if self.healthy {
                    ether.saw(Sight::SpoolFailed);
                }
                self.healthy = false;
                ether.note("not accepted", self.board, 0, 0);
            }
        }
    }

    fn read(&mut self, epoch: Epoch, from: Seq, bytes_max: usize, ether: &mut Ether) -> Result<Read, Epoch> {
        match self.spool.read(epoch, from, bytes_max) {
            Ok(run) => {
                let gap = run.entries.first().map_or(0, |e| e.width());
                ether.note("read", self.board, epoch.0[0].into(), run.first + gap);
                Ok(Read { epoch: run.epoch, first: run.first, entries: run.entries, chain: run.chain })
            }
            Err(_) => Err(epoch),
        }
    }

    fn manifest_of(&mut self, epoch: Epoch) -> Option<Vec<u8>> {
        if let Some(kept) = self.spool.manifest(epoch) {
            self.unread.remove(&epoch);
            return Some(renamed(epoch, kept));
        }
        if !self.spool.held().iter().any(|held| held.epoch == epoch) {
            self.unread.remove(&epoch);
            return None;
        }
        let times = self.unread.entry(epoch).or_default();
        *times += 1;
        let manifest = Manifest { devices: Vec::new(), points: Vec::new(), ..self.manifest.clone() };
        (*times > UNREAD_MAX).then(|| sitian_wire::encode_manifest(&epoch, &manifest))
    }

    fn renew(&mut self, shared: Option<Epoch>, ether: &mut Ether) {
        let fresh = ether.dice.epoch();
        ether.note("new epoch", self.board, fresh.0[0].into(), shared.is_some().into());
        match shared {
            None => self.spool.seal(fresh),
            Some(shared) => {
                if !ether.oracle.forked.contains(&shared) {
                    ether.oracle.violate(format!("one writer of {shared} took itself for two"));
                }
                ether.oracle.relabelled.insert(fresh);
                // With the shared epoch goes what it kept behind for a centre that forgets.
                let kept = self.spool.held().into_iter().find(|held| held.epoch == shared);
                ether.oracle.trim(shared, 0..kept.map_or(0, |held| held.acked));
                // What could not be moved stays in the old epoch; the centre says FORK again.
                let _ = self.spool.relabel(shared, fresh);
                self.relabelled(fresh, ether);
            }
        }
        if let Err(error) = self.spool.set_manifest(&sitian_wire::encode_manifest(&fresh, &self.manifest)) {
            ether.oracle.violate(format!("manifest not kept: {error}"));
        }
    }

    /// Tells the oracle which records have got new labels.
    fn relabelled(&mut self, fresh: Epoch, ether: &mut Ether) {
        let mut from = 0;
        while let Ok(run) = self.spool.read(fresh, from, 64 * 1024) {
            if run.entries.is_empty() {
                break;
            }
            for entry in run.entries {
                if let sitian_model::Entry::Record(payload) = &entry {
                    ether.oracle.label(fresh, from, payload);
                }
                from += entry.width();
            }
        }
    }

    /// S6 and S12 after every change.
    fn inspect(&mut self, held: &[Held], state: SpoolState, bytes_before: u64, ether: &mut Ether) {
        let now: BTreeMap<Epoch, Held> = held.iter().map(|h| (h.epoch, *h)).collect();
        let mut unacked = 0;
        for (epoch, before) in std::mem::take(&mut self.before) {
            let acked = ether.oracle.acked(epoch);
            let forked = ether.oracle.forked.contains(&epoch);
            let after = now.get(&epoch);
            if !forked && after.is_some_and(|after| after.acked > acked) {
                ether.oracle.violate(format!(
                    "S6: the spool takes {after:?} for acked, the centre only ever said {acked}"
                ));
            }
            if after.is_none() {
                forget_gap(&before, &now, ether);
                // Only a gap was left of it, and that has been acknowledged.
                ether.oracle.trim(epoch, 0..before.oldest.min(acked));
            }
            let (from, to) = (before.oldest, after.map_or(before.end, |after| after.oldest));
            if from >= to || forked {
                continue;
            }
            ether.saw(Sight::Trimmed);
            unacked += to.saturating_sub(acked.max(from));
            self.inspect_trim(epoch, from..to.min(acked), bytes_before, ether);
        }
        let lost = state.lost.saturating_sub(self.lost);
        self.lost = state.lost;
        if lost > 0 {
            ether.saw(Sight::Eviction);
            ether.oracle.excuses[self.board].evicted = true;
        }
        // Damage is told when it is read, which may be long before it is evicted.
        self.gone += unacked;
        if self.gone > state.lost && !ether.oracle.excuses[self.board].call_failed {
            ether.oracle.violate(format!(
                "S6: {} unacked records went from the disk, {} were told",
                self.gone, state.lost
            ));
        }
        let excess = state.bytes > self.limits.bytes_max.max(4 * SEGMENT_BYTES);
        if excess && self.wrote && state.healthy && !ether.oracle.excuses[self.board].call_failed {
            ether
                .oracle
                .violate(format!("S12: the spool takes {} of {} bytes", state.bytes, state.bytes_max));
        }
        self.before = now;
        if self.wrote && !self.unlisted.is_empty() {
            let unlisted = std::mem::take(&mut self.unlisted);
            self.compare(unlisted, false, ether);
        }
        self.note_files(ether);
    }

    /// Acked records may go when they are past keep-behind, or when room was needed.
    fn inspect_trim(
        &mut self,
        epoch: Epoch,
        gone: std::ops::Range<Seq>,
        bytes_before: u64,
        ether: &mut Ether,
    ) {
        ether.oracle.trim(epoch, gone.clone());
        let tight = bytes_before + 2 * SEGMENT_BYTES > self.limits.bytes_max.max(4 * SEGMENT_BYTES);
        if tight || ether.oracle.excuses[self.board].disk_faulty || gone.is_empty() {
            return;
        }
        let accepted = gone.clone().filter_map(|seq| ether.oracle.accepted_at(epoch, seq)).max();
        // A record is stamped by one clock and the present by another.
        let slack_ms = 2 * ether.oracle.uncertainty_max() + 1_000;
        let kept_ms = u64::try_from(ether.swarm.keep_behind_ms).unwrap_or(0).saturating_sub(slack_ms);
        if accepted.is_some_and(|at| at + kept_ms > ether.now) {
            ether.oracle.violate(format!("S6: {gone:?} of {epoch} trimmed within keep-behind, without need"));
        }
    }

    fn note_files(&mut self, ether: &mut Ether) {
        let files = self.spool.disk_mut().list().map_or(self.files, |files: Vec<File>| files.len());
        if files > self.files && self.files > 0 {
            ether.saw(Sight::SegmentRollOver);
        }
        self.files = files;
    }
}

/// Of epochs of which only a gap is left that nobody has been told, a spool remembers as many as half of a segment's marks:
/// with these segments a few, with real ones thousands. What it forgets beyond that is lost without a word, by design.
fn forget_gap(gone: &Held, left: &BTreeMap<Epoch, Held>, ether: &mut Ether) {
    let gap_only = |held: &&Held| held.oldest >= held.end;
    let told = ether.oracle.acked(gone.epoch) >= gone.end;
    if told && left.values().filter(gap_only).count() >= LAST_GONE {
        let now = ether.now;
        ether.oracle.crowd_out(gone.epoch, gone.end, now);
    }
    if gap_only(&gone) && !told && left.values().filter(gap_only).count() + 2 >= GAPS_MAX {
        ether.oracle.lose_tail(gone.epoch, 0..gone.end);
    }
}

/// As in the gateway: under the epoch's own name.
fn renamed(epoch: Epoch, kept: Vec<u8>) -> Vec<u8> {
    match sitian_wire::decode_manifest(&kept) {
        Ok((named, manifest)) if named != epoch => sitian_wire::encode_manifest(&epoch, &manifest),
        _ => kept,
    }
}

fn note_recovery(board: usize, recovery: &Recovery, ether: &mut Ether) {
    ether.note("spool open", board, recovery.segments as u64, recovery.backlog);
    if recovery.tail_bytes > 0 {
        ether.saw(Sight::TornTailCut);
    }
}
