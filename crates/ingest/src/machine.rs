//! The machine: every message is judged against the watermark of its epoch.

use std::collections::HashMap;
use std::sync::Arc;

use sitian_model::{
    Ack, Action, Batch, Entry, Epoch, Gap, GatewayId, Lane, Mutant, PointNo, Record, Row, Seq, Timestamp,
};

use crate::SEQ_MAX;
use crate::admit::{Frame, admit};
use crate::book::Book;
use crate::effect::{
    Effect, EpochState, Form, GapCommitted, Group, Incident, IncidentEnded, IncidentKind, Quarantined,
    Restored,
};
use crate::held;
use crate::limits::Limits;
use crate::pending::Pending;
use crate::place::{Place, place, well_formed};
use crate::stats::Stats;
use crate::undated::Heap;

/// Decodes the payload of one record, or says why not.
pub type DecodeRecord<'a> = &'a dyn Fn(&[u8]) -> Result<Record, String>;

/// Longer messages are cut before they are set aside.
const RAW_BYTES_MAX: usize = 64 * 1024;

/// The centre's side of the delivery contract. See the crate page for how a shell uses it.
#[derive(Debug)]
pub struct Ingest {
    pub(crate) limits: Limits,
    pub(crate) book: Book,
    pub(crate) pending: Pending,
    pub(crate) stats: Stats,
    /// The counters when the newest group was taken, and when the one before it was.
    taken: Stats,
    stored: Stats,
    /// Gateways of which nothing is taken for a while, and until when.
    pub(crate) held_back: HashMap<GatewayId, Timestamp>,
}

/// A batch at work.
struct Job<'a> {
    gateway: &'a GatewayId,
    batch: &'a Batch,
    points: &'a [PointNo],
    decode: DecodeRecord<'a>,
    now: Timestamp,
    /// Where the epoch stands, as far as the batch has been worked off.
    state: EpochState,
    /// What it adds.
    rows: Vec<Row>,
    /// First and last known time of what it adds.
    span: Option<(Timestamp, Timestamp)>,
    /// What of it has no known time.
    undated: Heap,
    action: Action,
}

impl Ingest {
    /// A machine that remembers nothing.
    pub fn new(limits: Limits) -> Self {
        Self::restore(limits, Restored::default())
    }

    /// A machine that continues from what a store holds.
    pub fn restore(limits: Limits, restored: Restored) -> Self {
        let (book, held_back, zero) = (Book::restore(restored), HashMap::new(), Stats::default());
        Self { limits, book, pending: Pending::default(), stats: zero, taken: zero, stored: zero, held_back }
    }

    /// After the newest group failed to be stored: forgets it and what is pending, also in the counters.
    pub fn reload(&mut self, restored: Restored) {
        self.book = Book::restore(restored);
        self.pending = Pending::default();
        self.stats.take_back(&self.stored);
        self.taken = self.stats;
    }

    /// Counters since process start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Where an epoch stands, counting what is pending; `None` if its manifest is not known.
    pub fn state(&self, gateway: &GatewayId, epoch: &Epoch) -> Option<EpochState> {
        self.book.state(gateway, epoch).copied()
    }

    /// True if nothing is waiting to be taken.
    pub fn is_idle(&self) -> bool {
        let Pending { effects, touched, answers, .. } = &self.pending;
        effects.is_empty() && touched.is_empty() && answers.is_empty()
    }

    /// True once the group should be taken; until it is, batches with entries are answered SLOW.
    pub fn is_full(&self) -> bool {
        self.pending.bytes >= self.limits.group_bytes_max
    }

    /// Takes everything decided since the last call: effects to store in one transaction, and acks to send after it.
    pub fn take(&mut self, now: Timestamp) -> Group {
        self.stored = std::mem::replace(&mut self.taken, self.stats);
        let Pending { mut effects, touched, answers, .. } = std::mem::take(&mut self.pending);
        let states = touched.iter().filter_map(|(gateway, epoch)| self.book.state(gateway, epoch));
        if !Mutant::WatermarkElsewhere.lives() {
            effects.extend(states.copied().map(Effect::Watermark));
        }
        let ack = |((gateway, epoch), (action, retry_after_ms)): ((GatewayId, Epoch), (Action, u32))| {
            let state = self.book.state(&gateway, &epoch);
            let (committed, chain) = state.map_or((0, None), |state| (state.committed, state.chain));
            let window_bytes = self.limits.window_bytes;
            let server_ms = now.0;
            (gateway, Ack { epoch, committed, chain, action, retry_after_ms, window_bytes, server_ms })
        };
        let acks = answers.into_iter().map(ack).collect();
        Group { effects, acks }
    }

    /// Takes a batch or probe that arrived in the topic of `gateway`; `wire_bytes` is the message it was decoded from.
    pub fn handle_batch(
        &mut self,
        gateway: &GatewayId,
        batch: &Batch,
        wire_bytes: &[u8],
        decode: DecodeRecord<'_>,
        now: Timestamp,
    ) {
        let probe = batch.entries.is_empty();
        self.stats.probes += u64::from(probe);
        self.stats.batches += u64::from(!probe);
        if !well_formed(batch) {
            return self.handle_poison(gateway, wire_bytes, "entries do not follow each other", None, now);
        }
        let Some(known) = self.book.epoch(gateway, &batch.epoch) else {
            self.stats.rejected.unknown_manifest += 1;
            return self.answer(gateway, batch.epoch, Action::Manifest);
        };
        let (points, mut before) = (Arc::clone(&known.points), known.state);
        if Mutant::OutOfOrderAccepted.lives() {
            before.committed = before.committed.max(batch.first);
        }
        let action = if known.forked {
            Action::Fork
        } else if batch.acked > before.committed && !Mutant::NoRewindAnswer.lives() {
            self.rewind(gateway, batch, before.committed, now)
        } else if !probe && (self.is_full() || self.is_held_back(gateway, now)) {
            self.stats.rejected.slow += 1;
            Action::Slow
        } else {
            match place(batch, &before) {
                Place::Ahead => {
                    self.stats.rejected.out_of_order += u64::from(!probe);
                    Action::Ok
                }
                Place::Forked => self.fork(gateway, batch, wire_bytes, now),
                Place::At(index, chain) => {
                    self.stats.duplicates += before.committed.min(batch.end()) - batch.first;
                    let state = EpochState { chain: before.chain.or(chain), ..before };
                    let points = &points;
                    let (rows, span, action) = (Vec::new(), None, Action::Ok);
                    let undated = Heap::new(state.no, now);
                    let job = Job { gateway, batch, points, decode, now, state, rows, span, undated, action };
                    self.commit(job, index)
                }
            }
        };
        self.compare_held(gateway, batch, now);
        self.watch_spool(gateway, batch, now);
        self.answer(gateway, batch.epoch, action);
    }

    /// Takes bytes whose content was damaged on the way, as they arrived in the topic of `gateway`; for `declared` see
    /// [`Ingest::handle_poison`].
    ///
    /// If they are next in line, the gateway is asked to send them again, at once and without keeping these. If that comes
    /// damaged too, time and again, they are poison: a stream is never stopped for good.
    pub fn handle_damaged(
        &mut self,
        gateway: &GatewayId,
        raw: &[u8],
        reason: &str,
        declared: Option<(Epoch, Seq, Seq)>,
        now: Timestamp,
    ) {
        let again_max = self.limits.damaged_again_max;
        if let Some((epoch, first, end)) = declared
            && let Some(book) = self.book.epoch(gateway, &epoch).filter(|book| !book.forked)
            && (first..end).contains(&book.state.committed)
        {
            let (at, times) = book.damaged;
            let times = if at == book.state.committed { times } else { 0 };
            if times < again_max {
                book.damaged = (book.state.committed, times + 1);
                self.stats.rejected.damaged += 1;
                return self.answer(gateway, epoch, Action::Rewind);
            }
        }
        self.handle_poison(gateway, raw, reason, declared, now);
    }

    /// Takes bytes that are no batch, as they arrived in the topic of `gateway`. `declared` are the labels that they
    /// credibly stood for: epoch, first, one past the last.
    ///
    /// With labels that are next in line, the watermark moves over them in the same transaction that keeps the bytes.
    /// Without, the bytes are kept and nothing is answered.
    pub fn handle_poison(
        &mut self,
        gateway: &GatewayId,
        raw: &[u8],
        reason: &str,
        declared: Option<(Epoch, Seq, Seq)>,
        now: Timestamp,
    ) {
        self.stats.rejected.poison += 1;
        let Some((epoch, first, end)) = declared.filter(|(_, first, end)| first <= end && *end < SEQ_MAX)
        else {
            // Junk in the name of a gateway that never registered takes no memory and no disk.
            if self.book.gateways.contains_key(gateway)
                && self.set_aside(gateway, None, Form::Message, raw, reason, now)
            {
                self.raise(IncidentKind::Quarantined, gateway, None, None, now);
            }
            return;
        };
        let Some(mut state) = self.state(gateway, &epoch) else {
            self.stats.rejected.unknown_manifest += 1;
            return self.answer(gateway, epoch, Action::Manifest);
        };
        if first > state.committed || end <= state.committed {
            return self.answer(gateway, epoch, Action::Ok);
        }
        let range = (epoch, state.committed, end);
        if !self.set_aside(gateway, Some(range), Form::Message, raw, reason, now) {
            return self.answer(gateway, epoch, Action::Slow);
        }
        self.stats.quarantined += end - state.committed;
        self.raise(IncidentKind::Quarantined, gateway, Some(epoch), Some((state.committed, end - 1)), now);
        (state.committed, state.chain, state.end) = (end, None, state.end.max(end));
        self.set_state(gateway, &epoch, state);
        self.answer(gateway, epoch, Action::Quarantined);
    }

    /// The gateway remembers an acknowledgement that this server does not: it was restored from a backup (I5).
    fn rewind(&mut self, gateway: &GatewayId, batch: &Batch, committed: Seq, now: Timestamp) -> Action {
        self.stats.rejected.rewound += 1;
        if let Some(book) = self.book.gateways.get_mut(gateway) {
            book.rewound = true;
        }
        let forgotten = Some((committed, batch.acked - 1));
        self.raise(IncidentKind::ServerRestored, gateway, Some(batch.epoch), forgotten, now);
        Action::Rewind
    }

    /// Two writers in one epoch (I6): the second is kept raw, not committed.
    fn fork(&mut self, gateway: &GatewayId, batch: &Batch, wire_bytes: &[u8], now: Timestamp) -> Action {
        self.stats.rejected.forked += 1;
        if let Some(book) = self.book.epoch(gateway, &batch.epoch) {
            // What becomes of the rest is said by this incident, not by another one when the epoch is gone.
            book.forked = true;
            book.state.loss_reported = true;
            self.pending.touched.insert((gateway.clone(), batch.epoch));
        }
        let seqs = Some((batch.first, batch.end().saturating_sub(1).max(batch.first)));
        if self.raise(IncidentKind::Fork, gateway, Some(batch.epoch), seqs, now) {
            let range = Some((batch.epoch, batch.first, batch.end()));
            self.set_aside(
                gateway,
                range,
                Form::Rival,
                wire_bytes,
                "another history under the same epoch",
                now,
            );
        }
        Action::Fork
    }

    /// Commits the entries from `index` on, the first of which holds the watermark, as far as quotas allow.
    fn commit(&mut self, mut job: Job<'_>, index: usize) -> Action {
        for entry in &job.batch.entries[index..] {
            match entry {
                Entry::Gap(gap) => self.commit_gap(&mut job, *gap),
                Entry::Record(payload) => {
                    if !self.commit_record(&mut job, payload) {
                        job.action = Action::Slow;
                        break;
                    }
                }
            }
        }
        let Job { gateway, batch, now, mut state, rows, span, undated, action, .. } = job;
        if !state.sealed {
            state.end = state.end.max(state.committed);
        }
        if let Some((first, last)) = span {
            state.newest_at = Some(state.newest_at.map_or(last, |newest| newest.max(last)));
            self.watch_for_clone(gateway, batch, (first, last), now);
        }
        if !rows.is_empty() {
            self.pending.push(Effect::Rows(rows));
        }
        self.set_state(gateway, &batch.epoch, state);
        self.tell_undated(gateway, &batch.epoch, undated, now);
        action
    }

    /// Admits one record or sets it aside; false if there is no room for that.
    fn commit_record(&mut self, job: &mut Job<'_>, payload: &[u8]) -> bool {
        let seq = job.state.committed;
        if let Err(reason) = self.admit(job, payload) {
            let range = Some((job.batch.epoch, seq, seq + 1));
            if !self.set_aside(job.gateway, range, Form::Record, payload, &reason, job.now) {
                return false;
            }
            self.stats.quarantined += 1;
            self.raise(
                IncidentKind::Quarantined,
                job.gateway,
                Some(job.batch.epoch),
                Some((seq, seq)),
                job.now,
            );
            job.action = Action::Quarantined;
        }
        job.state.chain = job.state.chain.map(|chain| crc32c::crc32c_append(chain, payload));
        job.state.committed = seq + 1;
        true
    }

    fn admit(&mut self, job: &mut Job<'_>, payload: &[u8]) -> Result<(), String> {
        let record = (job.decode)(payload)?;
        let (epoch, clocks) = (job.state.no, &job.batch.clocks);
        let frame = Frame { epoch, points: job.points, clocks, limits: &self.limits, now: job.now };
        let admitted = admit(&record, job.state.committed, &frame)?;
        self.stats.records += 1;
        self.stats.readings += admitted.rows.len() as u64;
        self.stats.restamped += admitted.restamped;
        self.stats.clock_unknown += admitted.undated.len() as u64;
        job.undated.add(job.state.committed, &admitted.undated);
        job.span = match (job.span, admitted.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        job.rows.extend(admitted.rows);
        Ok(())
    }

    fn commit_gap(&mut self, job: &mut Job<'_>, gap: Gap) {
        let gap = Gap { first: job.state.committed, ..gap };
        self.stats.missing += gap.last + 1 - gap.first;
        self.pending.push(Effect::Gap(GapCommitted { epoch: job.state.no, gap, at: job.now }));
        let seqs = Some((gap.first, gap.last));
        self.raise(IncidentKind::Gap, job.gateway, Some(job.batch.epoch), seqs, job.now);
        // The centre never had these bytes: what follows them begins a chain of its own.
        (job.state.committed, job.state.chain) = (gap.last + 1, None);
    }

    fn watch_for_clone(
        &mut self,
        gateway: &GatewayId,
        batch: &Batch,
        span: (Timestamp, Timestamp),
        now: Timestamp,
    ) {
        if batch.lane != Lane::Live {
            return;
        }
        let Some(book) = self.book.gateways.get_mut(gateway) else { return };
        let Some(other) = book.tenures.observe(batch.epoch, span, now) else { return };
        for (one, rival) in [(batch.epoch, other), (other, batch.epoch)] {
            if let Some(epoch) = book.epochs.get_mut(&one) {
                epoch.rival = Some(rival);
            }
        }
        if book.may_say(IncidentKind::Clone, now) {
            let after = self.book.state(gateway, &batch.epoch).and_then(|state| state.newest_at);
            let (gateway, epoch) = (gateway.clone(), Some(batch.epoch));
            let kind = IncidentKind::Clone;
            let incident = Incident { kind, gateway, epoch, other: Some(other), seqs: None, after, at: now };
            self.pending.push(Effect::Incident(incident));
        }
    }

    fn compare_held(&mut self, gateway: &GatewayId, batch: &Batch, now: Timestamp) {
        let Some(book) = self.book.gateways.get_mut(gateway) else { return };
        let (changed, findings) = held::compare(book, batch, self.limits.silence_ms, now);
        self.pending.touched.extend(changed.into_iter().map(|epoch| (gateway.clone(), epoch)));
        for finding in findings {
            self.raise(finding.kind, gateway, Some(finding.epoch), Some(finding.seqs), now);
        }
    }

    /// Says when a gateway's disk fails, and when it works again.
    fn watch_spool(&mut self, gateway: &GatewayId, batch: &Batch, now: Timestamp) {
        // Without a size the gateway has not said anything of its spool yet.
        if batch.lane != Lane::Live || batch.spool.bytes_max == 0 {
            return;
        }
        let Some(book) = self.book.gateways.get_mut(gateway) else { return };
        match book.failed_spool {
            None if !batch.spool.healthy => {
                book.failed_spool = Some(batch.epoch);
                self.raise(IncidentKind::SpoolFailed, gateway, Some(batch.epoch), None, now);
            }
            Some(failed)
                if batch.spool.healthy && (failed == batch.epoch || book.succeeds(&batch.epoch, &failed)) =>
            {
                book.failed_spool = None;
                let (kind, gateway) = (IncidentKind::SpoolFailed, gateway.clone());
                self.pending.push(Effect::Ended(IncidentEnded { kind, gateway, at: now }));
            }
            _ => {}
        }
    }

    fn set_state(&mut self, gateway: &GatewayId, epoch: &Epoch, state: EpochState) {
        if let Some(book) = self.book.epoch(gateway, epoch)
            && book.state != state
        {
            book.state = state;
            self.pending.touched.insert((gateway.clone(), *epoch));
        }
    }

    /// Keeps bytes in quarantine; false if the gateway has used up its quota, which is then said.
    fn set_aside(
        &mut self,
        gateway: &GatewayId,
        range: Option<(Epoch, Seq, Seq)>,
        form: Form,
        raw: &[u8],
        reason: &str,
        now: Timestamp,
    ) -> bool {
        let raw = &raw[..raw.len().min(RAW_BYTES_MAX)];
        let quota = if range.is_some() { 1 } else { 2 };
        let bytes_max = self.limits.quarantine_bytes_max / quota;
        let book = self.book.gateways.entry(gateway.clone()).or_default();
        if book.quarantined_bytes + raw.len() as u64 > bytes_max {
            self.stats.rejected.quota += 1;
            self.raise(IncidentKind::Quota, gateway, range.map(|(epoch, ..)| epoch), None, now);
            return false;
        }
        book.quarantined_bytes += raw.len() as u64;
        let (gateway, reason, raw) = (gateway.clone(), reason.to_owned(), raw.to_vec());
        self.pending.push(Effect::Quarantine(Quarantined { gateway, range, form, reason, raw, at: now }));
        true
    }

    /// Raises an incident that only the shell can know of, unless the same kind was raised for this gateway a short while
    /// ago. Of gateways that never registered nothing is said.
    pub fn report(&mut self, kind: IncidentKind, gateway: &GatewayId, now: Timestamp) {
        if self.book.gateways.contains_key(gateway) {
            self.raise(kind, gateway, None, None, now);
        }
    }

    /// Raises an incident, unless the same kind was raised for this gateway a short while ago.
    pub(crate) fn raise(
        &mut self,
        kind: IncidentKind,
        gateway: &GatewayId,
        epoch: Option<Epoch>,
        seqs: Option<(Seq, Seq)>,
        now: Timestamp,
    ) -> bool {
        if !self.book.gateways.entry(gateway.clone()).or_default().may_say(kind, now) {
            return false;
        }
        let after = epoch.and_then(|e| self.book.state(gateway, &e)).and_then(|state| state.newest_at);
        let incident = Incident { kind, gateway: gateway.clone(), epoch, other: None, seqs, after, at: now };
        self.pending.push(Effect::Incident(incident));
        true
    }

    pub(crate) fn answer(&mut self, gateway: &GatewayId, epoch: Epoch, action: Action) {
        let retry_after_ms = if action == Action::Slow { self.limits.retry_after_ms } else { 0 };
        self.pending.answer(gateway, epoch, (action, retry_after_ms), self.limits.group_acks_max);
    }
}
