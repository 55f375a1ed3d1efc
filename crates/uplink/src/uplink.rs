//! The machine: events in, commands out.

mod fork;

use std::collections::{BTreeSet, VecDeque};

use sitian_model::{Ack, Action, Batch, Clock, Entry, Epoch, Held, Lane, Mutant, Seq, SpoolState};

use crate::command::{Command, Read};
use crate::jitter::Jitter;
use crate::limits::Limits;
use crate::pacing::Pacing;
use crate::stream::{Author, Stream, chain_at_end};

/// After the spool had nothing or refused, it is asked again after this.
const SPOOL_PAUSE_MS: u64 = 1000;
/// A manifest that the centre keeps asking for is not repeated more often.
const MANIFEST_PAUSE_MS: u64 = 1000;
/// Two words of a centre that nothing under way has arrived count as one within this time.
const REWIND_PAUSE_MS: u64 = 1000;

/// The edge side of the delivery contract. See the crate's page for how to drive it.
#[derive(Debug)]
pub struct Uplink {
    limits: Limits,
    jitter: Jitter,
    up: bool,
    live: Option<Epoch>,
    /// Oldest first.
    streams: Vec<Stream>,
    spool: SpoolState,
    clocks: Vec<Clock>,
    /// Epochs of readings that were taken under another gateway's name.
    guests: BTreeSet<Epoch>,
    pacing: Pacing,
    round_trip_ms: Option<u64>,
    probe_at_ms: u64,
    probe_from: usize,
    /// Since when something published waits for any ack.
    waiting_since_ms: Option<u64>,
    stalls: u32,
    ack_ms: u64,
    /// An ack has come in on this link.
    heard: bool,
    /// What the live epoch ended at and when; something below it is still unacknowledged.
    behind: Option<(Seq, u64)>,
    now_ms: u64,
    commands: VecDeque<Command>,
}

impl Uplink {
    /// A machine without a link. `seed` should differ between gateways.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            jitter: Jitter::new(seed),
            up: false,
            live: None,
            streams: Vec::new(),
            spool: SpoolState::default(),
            clocks: Vec::new(),
            guests: BTreeSet::new(),
            pacing: Pacing::new(limits.window_bytes_max),
            round_trip_ms: None,
            probe_at_ms: 0,
            probe_from: 0,
            waiting_since_ms: None,
            stalls: 0,
            ack_ms: 0,
            heard: false,
            behind: None,
            now_ms: 0,
            commands: VecDeque::new(),
        }
    }

    /// The link is up (again). Manifests that the centre may not know come first, then a probe of every epoch, then
    /// live readings.
    pub fn handle_link_up(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.drop_link();
        self.up = true;
        self.ack_ms = now_ms;
        self.probe_at_ms = now_ms + self.limits.probe_ms;
        let live = self.live;
        for stream in &mut self.streams {
            stream.probe_due = true;
            if stream.held.acked == 0 || Some(stream.held.epoch) == live {
                stream.manifest_ms = Some(now_ms);
                self.commands.push_back(Command::PublishManifest(stream.held.epoch));
            }
        }
        self.seal_if_behind();
        self.pump();
    }

    /// The link is down. Whatever was under way counts as lost.
    pub fn handle_link_down(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.drop_link();
    }

    /// The spool has changed: what it holds (oldest first), which epoch is live, how it is.
    pub fn handle_spool(&mut self, held: &[Held], live: Epoch, state: SpoolState, now_ms: u64) {
        self.now_ms = now_ms;
        self.spool = state;
        if self.live != Some(live) {
            (self.live, self.behind) = (Some(live), None);
        }
        self.streams.retain(|stream| held.iter().any(|h| h.epoch == stream.held.epoch));
        for (at, held) in held.iter().enumerate() {
            match self.streams.iter_mut().find(|s| s.held.epoch == held.epoch) {
                Some(stream) => (stream.held.oldest, stream.held.end) = (held.oldest, held.end),
                None => {
                    let mut stream = Stream::new(*held, self.limits.window_bytes);
                    if self.up {
                        // Announces it; and whoever waits for the time asks for it.
                        stream.probe_due = true;
                        stream.manifest_ms = Some(now_ms);
                        self.commands.push_back(Command::PublishManifest(held.epoch));
                    }
                    self.streams.insert(at.min(self.streams.len()), stream);
                }
            }
        }
        if let Some(at) = self.position(live) {
            self.streams[at].own = true;
        }
        self.update_behind();
        self.pump();
    }

    /// The clocks that batches carry from now on. While there is none, a new link carries no readings before its first
    /// ack: that says what time it is.
    pub fn handle_clocks(&mut self, clocks: Vec<Clock>) {
        self.clocks = clocks;
        self.pump();
    }

    /// Epochs that were recorded under another gateway's name, and travel under it. What this gateway says of its own
    /// card does not mention them. Say it before [`Uplink::handle_spool`] names them.
    pub fn handle_guests(&mut self, guests: BTreeSet<Epoch>) {
        self.guests = guests;
    }

    /// What the spool answered to [`Command::ReadSpool`].
    pub fn handle_read(&mut self, read: Read, now_ms: u64) {
        self.now_ms = now_ms;
        let Some(at) = self.position(read.epoch) else { return };
        let stream = &mut self.streams[at];
        stream.reading = false;
        if std::mem::take(&mut stream.checking) {
            self.settle_doubt(at, &read);
        } else if self.up && !stream.forked && stream.next == read.first {
            if read.entries.is_empty() && !stream.probe_due {
                stream.hold_until_ms = now_ms + SPOOL_PAUSE_MS;
            } else {
                self.publish(at, read);
            }
        }
        self.pump();
    }

    /// The spool could not answer [`Command::ReadSpool`]; it is asked again in a second.
    pub fn handle_read_failed(&mut self, epoch: Epoch, now_ms: u64) {
        self.now_ms = now_ms;
        if let Some(at) = self.position(epoch) {
            let stream = &mut self.streams[at];
            stream.reading = false;
            // The next ack says it again.
            (stream.checking, stream.doubt) = (false, None);
            stream.probe_due = false;
            stream.hold_until_ms = now_ms + SPOOL_PAUSE_MS;
        }
        self.pump();
    }

    /// The centre said how far an epoch is committed. Acks of epochs that are gone are ignored.
    pub fn handle_ack(&mut self, ack: &Ack, now_ms: u64) {
        self.now_ms = now_ms;
        if now_ms.saturating_sub(self.ack_ms) > self.limits.seal_after_ms {
            self.seal_if_behind();
        }
        (self.ack_ms, self.stalls, self.waiting_since_ms) = (now_ms, 0, None);
        self.heard = true;
        let Some(at) = self.position(ack.epoch) else { return };
        let stream = &mut self.streams[at];
        if ack.window_bytes > 0 {
            stream.window_bytes = u64::from(ack.window_bytes).min(self.limits.window_bytes_max);
        }
        if ack.retry_after_ms > 0 {
            let hold_ms = u64::from(ack.retry_after_ms).min(self.limits.resend_ms_max);
            stream.hold_until_ms = now_ms + hold_ms;
        }
        if ack.committed > stream.held.acked {
            match stream.author(ack.committed, ack.chain) {
                Author::Own => self.obey(at, ack),
                Author::Other(chain) => {
                    self.tell_fork(at, ack.committed, chain);
                    self.fork(at);
                }
                Author::Unknown => stream.doubt = Some(*ack),
            }
        } else {
            self.obey(at, ack);
        }
        // While more is under way, another ack is due.
        if self.streams.iter().any(Stream::is_busy) {
            self.waiting_since_ms = Some(now_ms);
        }
        self.update_behind();
        self.pump();
    }

    /// Does what an ack says that speaks of this gateway's own readings.
    fn obey(&mut self, at: usize, ack: &Ack) {
        let (stream, now_ms) = (&mut self.streams[at], self.now_ms);
        let (epoch, acked) = (ack.epoch, stream.held.acked);
        if ack.action == Action::Manifest && ack.committed < acked && !stream.unknown {
            stream.unknown = true;
            self.commands.push_back(Command::Release { epoch, committed: ack.committed });
        } else if ack.action != Action::Manifest && ack.committed >= acked && stream.unknown {
            stream.unknown = false;
            self.commands.push_back(Command::Release { epoch, committed: acked });
        }
        match ack.action {
            Action::Fork => {
                self.advance(at, ack.committed);
                self.fork(at);
            }
            Action::Manifest => self.repeat_manifest(at),
            Action::Rewind if ack.committed < stream.held.acked && !Mutant::RewindIgnored.lives() => {
                // A centre put back from a backup calls before it has heard anybody: it has to learn what it forgot.
                (stream.taken_back, stream.unknown) = (Some(stream.held.acked), false);
                (stream.held.acked, stream.rewound_ms) = (ack.committed, now_ms);
                stream.restart();
                stream.probe_due = true;
                self.commands.push_back(Command::Release { epoch: ack.epoch, committed: ack.committed });
            }
            // A centre that has just started says so: what was under way to its predecessor is lost. Or what came next was
            // damaged, be it in one group with what is committed now. Several such words may be on their way; one of
            // them is enough.
            Action::Rewind => {
                self.advance(at, ack.committed);
                let stream = &mut self.streams[at];
                let news = stream.held.acked > acked || now_ms >= stream.rewound_ms + REWIND_PAUSE_MS;
                if ack.committed == stream.held.acked && news {
                    stream.rewound_ms = now_ms;
                    stream.restart();
                }
            }
            Action::Ok | Action::Slow | Action::Quarantined => self.advance(at, ack.committed),
        }
    }

    /// The time asked for by [`Uplink::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if !self.up {
            return;
        }
        let mut backfill_lost = false;
        for stream in &mut self.streams {
            if stream.resend_at_ms().is_some_and(|at| at <= now_ms) {
                backfill_lost |= Some(stream.held.epoch) != self.live;
                stream.give_up();
            }
        }
        if backfill_lost {
            self.pacing.handle_lost();
        }
        if self.probe_at_ms <= now_ms {
            self.probe_at_ms = now_ms + self.limits.probe_ms;
            self.start_probes();
        }
        if self.stall_at_ms().is_some_and(|at| at <= now_ms) {
            self.stalls = self.stalls.saturating_add(1);
            self.waiting_since_ms = Some(now_ms);
            self.commands.push_back(Command::Reconnect);
        }
        self.pump();
    }

    /// What to do next.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to call [`Uplink::handle_timeout`], in the milliseconds of `now_ms`.
    pub fn poll_timeout(&self) -> Option<u64> {
        if !self.up {
            return None;
        }
        let later = |at: u64| (at > self.now_ms).then_some(at);
        let resends = self.streams.iter().filter_map(Stream::resend_at_ms);
        let holds = self.streams.iter().filter(|s| s.has_more()).filter_map(|s| later(s.hold_until_ms));
        let pause = later(self.pacing.quiet_until_ms());
        resends.chain(holds).chain(pause).chain(self.stall_at_ms()).chain([self.probe_at_ms]).min()
    }

    /// What is sent before the time is known is stored without it.
    fn waits_for_time(&self) -> bool {
        !self.heard && self.clocks.is_empty()
    }

    fn position(&self, epoch: Epoch) -> Option<usize> {
        self.streams.iter().position(|s| s.held.epoch == epoch)
    }

    fn drop_link(&mut self) {
        (self.up, self.heard) = (false, false);
        self.waiting_since_ms = None;
        self.streams.iter_mut().for_each(Stream::handle_link);
        self.pacing.handle_lost();
        self.commands
            .retain(|c| !matches!(c, Command::Publish(_) | Command::PublishManifest(_) | Command::Reconnect));
    }

    /// Asks the spool for whatever may be sent now: probes, then live readings, then backfill.
    fn pump(&mut self) {
        if !self.up {
            return;
        }
        let (live, now_ms, batch_bytes) = (self.live, self.now_ms, self.limits.batch_bytes_max);
        if !self.streams.iter().any(|s| Some(s.held.epoch) != live && s.is_filling()) {
            self.pacing.handle_drained(now_ms);
        }
        for at in 0..self.streams.len() {
            let stream = &mut self.streams[at];
            if let Some(ack) = stream.doubt.filter(|_| !stream.reading) {
                (stream.reading, stream.checking) = (true, true);
                let (epoch, from) = (stream.held.epoch, ack.committed);
                self.commands.push_back(Command::ReadSpool { epoch, from, bytes_max: 0 });
            } else if stream.probe_due && !stream.reading && !stream.forked {
                self.read_spool(at, 0);
            }
        }
        if self.waits_for_time() {
            return;
        }
        let is_live = |s: &Stream| Some(s.held.epoch) == live;
        if let Some(at) = self.streams.iter().position(is_live)
            && self.streams[at].may_send(batch_bytes as u64, now_ms)
        {
            self.read_spool(at, batch_bytes);
        }
        // One backfill read at a time keeps the order oldest first and the burst exact.
        let allowance = (self.pacing.allowance(now_ms) as usize).min(batch_bytes);
        let reads_already = |s: &Stream| !is_live(s) && s.reading && !s.probe_due;
        if allowance > 0 && !self.streams.iter().any(reads_already) {
            let ready = |s: &Stream| !is_live(s) && s.may_send(allowance as u64, now_ms);
            if let Some(at) = self.streams.iter().position(ready) {
                self.read_spool(at, allowance);
            }
        }
    }

    fn read_spool(&mut self, at: usize, bytes_max: usize) {
        let stream = &mut self.streams[at];
        stream.reading = true;
        let (epoch, from) = (stream.held.epoch, stream.next);
        self.commands.push_back(Command::ReadSpool { epoch, from, bytes_max });
    }

    fn publish(&mut self, at: usize, read: Read) {
        let stream = &mut self.streams[at];
        stream.probe_due = false;
        let is_live = Some(read.epoch) == self.live;
        let Held { acked, oldest, .. } = stream.held;
        let acked = stream.taken_back.take_if(|_| read.entries.is_empty()).unwrap_or(acked);
        let batch = Batch {
            epoch: read.epoch,
            first: read.first,
            entries: read.entries,
            chain: read.chain,
            acked,
            oldest,
            held: Vec::new(),
            clocks: self.clocks.clone(),
            lane: if is_live { Lane::Live } else { Lane::Backfill },
            spool: self.spool,
        };
        if !batch.entries.is_empty() {
            let end = (batch.end(), chain_at_end(&batch));
            let bytes =
                batch.entries.iter().map(|e| if let Entry::Record(r) = e { r.len() as u64 } else { 0 }).sum();
            let least_ms = self.limits.resend_ms.max(4 * self.round_trip_ms.unwrap_or(0));
            let patience = (least_ms, self.limits.resend_ms_max);
            stream.handle_sent(end, bytes, self.now_ms, patience, &mut self.jitter);
            if is_live {
                self.pacing.handle_live();
            } else {
                self.pacing.handle_sent(bytes, self.now_ms);
            }
        }
        self.waiting_since_ms.get_or_insert(self.now_ms);
        // Probes announce; on every batch the list would cost more than the readings.
        let announces = batch.entries.is_empty() && !self.guests.contains(&batch.epoch);
        let held = if announces { self.held() } else { Vec::new() };
        if Mutant::TrimmedOnPuback.lives() {
            self.commands.push_back(Command::Release { epoch: batch.epoch, committed: batch.end() });
        }
        self.commands.push_back(Command::Publish(Batch { held, ..batch }));
    }

    /// The epochs to announce: all of them, or none if they are too many, which states nothing. A part of the list would
    /// say of the others that they are gone.
    fn held(&self) -> Vec<Held> {
        let own = self.streams.iter().map(|s| s.held).filter(|held| !self.guests.contains(&held.epoch));
        let own: Vec<Held> = own.collect();
        if own.len() > self.limits.held_max { Vec::new() } else { own }
    }

    fn advance(&mut self, at: usize, committed: Seq) {
        let least_ms = self.limits.resend_ms.max(4 * self.round_trip_ms.unwrap_or(0));
        let is_live = Some(self.streams[at].held.epoch) == self.live;
        let stream = &mut self.streams[at];
        let committed =
            if Mutant::AckNotClamped.lives() { committed } else { committed.min(stream.held.end) };
        if committed <= stream.held.acked {
            return;
        }
        if let Some(took_ms) = stream.handle_committed(committed, self.now_ms, least_ms) {
            self.round_trip_ms =
                Some(self.round_trip_ms.map_or(took_ms, |so_far| (7 * so_far + took_ms) / 8));
            if is_live {
                self.pacing.handle_live_trip(took_ms);
            }
        }
        self.commands.push_back(Command::Release { epoch: stream.held.epoch, committed });
    }

    /// Several batches under way may each be answered with the same wish.
    fn repeat_manifest(&mut self, at: usize) {
        let pause_ms = MANIFEST_PAUSE_MS.max(2 * self.round_trip_ms.unwrap_or(0));
        let stream = &mut self.streams[at];
        if stream.manifest_ms.is_none_or(|sent| self.now_ms.saturating_sub(sent) >= pause_ms) {
            stream.manifest_ms = Some(self.now_ms);
            stream.restart();
            // A centre that has forgotten the manifest may have forgotten more: ask before sending.
            stream.probe_due = true;
            self.commands.push_back(Command::PublishManifest(stream.held.epoch));
        }
    }

    /// Marks the next round of epochs for a probe, and asks again for relabelling that has not happened.
    fn start_probes(&mut self) {
        let count = self.streams.len();
        let round = count.min(self.limits.held_max);
        for n in 0..round {
            let at = (self.probe_from + n) % count;
            self.streams[at].probe_due = true;
            if self.streams[at].forked {
                self.say_fork(at);
                self.commands.push_back(Command::Relabel(self.streams[at].held.epoch));
            }
        }
        self.probe_from = if count > round { (self.probe_from + round) % count } else { 0 };
    }

    fn stall_at_ms(&self) -> Option<u64> {
        let stall_ms = self.limits.stall_ms.saturating_mul(1 << self.stalls.min(16));
        let stall_ms = stall_ms.min(self.limits.resend_ms_max.max(self.limits.stall_ms));
        self.waiting_since_ms.map(|since| since + stall_ms)
    }

    fn update_behind(&mut self) {
        let live = self.live.and_then(|live| self.position(live)).map(|at| self.streams[at].held);
        let Some(held) = live.filter(|held| held.acked < held.end) else {
            self.behind = None;
            return;
        };
        if self.behind.is_none_or(|(end, _)| end <= held.acked) {
            self.behind = Some((held.end, self.now_ms));
        }
    }

    /// More than five minutes behind: the past shall not stand in the way of the present.
    fn seal_if_behind(&mut self) {
        let long_ago = |since: u64| self.now_ms.saturating_sub(since) > self.limits.seal_after_ms;
        if self.behind.is_some_and(|(_, since)| long_ago(since)) {
            self.behind = None;
            self.commands.push_back(Command::SealEpoch);
        }
    }
}
