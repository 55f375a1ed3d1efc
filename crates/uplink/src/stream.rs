//! One epoch on its way: what is acknowledged, what is under way, what comes next, and when to try again.

use std::collections::VecDeque;

use sitian_model::{Ack, Batch, Entry, Held, Seq};

use crate::jitter::Jitter;

/// A batch under way.
#[derive(Debug, Clone, Copy)]
struct Sent {
    end: Seq,
    bytes: u64,
    at_ms: u64,
    /// The chain at `end`.
    chain: u32,
}

/// Whose readings an ack speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// This gateway's, as far as anybody can tell.
    Own,
    /// Another writer's. With this gateway's own chain at the same place, if it has one there.
    Other(Option<u32>),
    /// The spool must say what the chain is there.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Stream {
    /// As the spool told, but `acked` is kept here.
    pub held: Held,
    /// The next to send. Between `held.acked` and this everything is under way.
    pub next: Seq,
    /// A read of the spool is under way.
    pub reading: bool,
    /// Send a batch even if there is nothing new in it.
    pub probe_due: bool,
    /// How many bytes may be under way.
    pub window_bytes: u64,
    /// The centre asked for patience, or the spool had nothing.
    pub hold_until_ms: u64,
    /// When the manifest was last published on this connection.
    pub manifest_ms: Option<u64>,
    /// When the centre last said that nothing under way has arrived.
    pub rewound_ms: u64,
    /// What was acknowledged before the centre took it back: the next probe says so.
    pub taken_back: Option<Seq>,
    /// The centre did not know the epoch at all: the spool keeps everything of it until the centre has said how far it is.
    pub unknown: bool,
    /// Another writer uses this epoch; nothing is sent until it is relabelled.
    pub forked: bool,
    /// Where the other writer's history differs, and this gateway's chain there; if the centre may not know of it.
    pub differs: Option<(Seq, u32)>,
    /// This process has written to it: nobody else can have committed more of it than was sent.
    pub own: bool,
    /// Waits for the chain at its `committed`.
    pub doubt: Option<Ack>,
    /// The read under way is for `doubt`.
    pub checking: bool,
    sent: VecDeque<Sent>,
    resend_at_ms: Option<u64>,
    resends: u32,
    /// Batches that end at or before this may have been sent twice: their acks say nothing about the round trip.
    round_trip_from: Seq,
}

impl Stream {
    pub fn new(mut held: Held, window_bytes: u64) -> Self {
        held.acked = held.acked.min(held.end);
        Self {
            held,
            next: held.acked,
            reading: false,
            probe_due: false,
            window_bytes,
            hold_until_ms: 0,
            manifest_ms: None,
            rewound_ms: 0,
            taken_back: None,
            unknown: false,
            forked: false,
            differs: None,
            own: false,
            doubt: None,
            checking: false,
            sent: VecDeque::new(),
            resend_at_ms: None,
            resends: 0,
            round_trip_from: 0,
        }
    }

    /// Bytes under way.
    pub fn under_way(&self) -> u64 {
        self.sent.iter().map(|s| s.bytes).sum()
    }

    /// True if something is under way.
    pub fn is_busy(&self) -> bool {
        !self.sent.is_empty()
    }

    /// True if something is under way, or about to be.
    pub fn is_filling(&self) -> bool {
        self.is_busy() || self.reading && !self.probe_due
    }

    /// True if a batch of up to `bytes` may be read now. Something may always be under way; after a resend, only one.
    pub fn may_send(&self, bytes: u64, now_ms: u64) -> bool {
        let room = !self.is_busy() || self.resends == 0 && self.under_way() + bytes <= self.window_bytes;
        room && self.has_more() && now_ms >= self.hold_until_ms
    }

    /// True if there is something that is neither acknowledged nor under way, and nothing stops it but time.
    pub fn has_more(&self) -> bool {
        !self.forked && !self.reading && self.next < self.held.end
    }

    /// When what is under way is given up.
    pub fn resend_at_ms(&self) -> Option<u64> {
        self.resend_at_ms
    }

    /// Whose readings are committed up to `committed`, where the centre knows this chain?
    pub fn author(&self, committed: Seq, chain: Option<u32>) -> Author {
        let sent_end = self.next.max(self.round_trip_from);
        if committed > self.held.end.max(sent_end) {
            // A card may have lost what an earlier process had sent.
            return if self.own { Author::Other(None) } else { Author::Own };
        }
        let Some(chain) = chain else { return Author::Own };
        match self.sent.iter().find(|sent| sent.end == committed) {
            Some(sent) if sent.chain == chain => Author::Own,
            Some(sent) => Author::Other(Some(sent.chain)),
            None => Author::Unknown,
        }
    }

    /// A batch up to `end`, where the chain is `chain`, is under way. `patience` is how long to wait for progress, and how
    /// long at most.
    pub fn handle_sent(
        &mut self,
        (end, chain): (Seq, u32),
        bytes: u64,
        now_ms: u64,
        patience: (u64, u64),
        jitter: &mut Jitter,
    ) {
        self.next = end;
        self.sent.push_back(Sent { end, bytes, at_ms: now_ms, chain });
        if self.resend_at_ms.is_none() {
            let (least_ms, most_ms) = (patience.0, patience.1.max(patience.0));
            let widest_ms = least_ms.saturating_mul(1 << self.resends.min(16)).min(most_ms);
            self.resend_at_ms = Some(now_ms + least_ms + jitter.up_to(widest_ms - least_ms));
        }
    }

    /// Everything below `committed` is stored. Returns the round trip if this ack shows one.
    pub fn handle_committed(&mut self, committed: Seq, now_ms: u64, least_ms: u64) -> Option<u64> {
        self.held.acked = committed;
        self.next = self.next.max(committed);
        let mut round_trip = None;
        while let Some(sent) = self.sent.front().filter(|s| s.end <= committed) {
            round_trip = (sent.end > self.round_trip_from).then(|| now_ms.saturating_sub(sent.at_ms));
            self.sent.pop_front();
        }
        self.resends = 0;
        self.resend_at_ms = self.is_busy().then_some(now_ms + least_ms);
        round_trip
    }

    /// Starts again from what is acknowledged.
    pub fn restart(&mut self) {
        self.round_trip_from = self.round_trip_from.max(self.next);
        self.next = self.held.acked;
        self.sent.clear();
        self.resend_at_ms = None;
    }

    /// Nothing moved for long enough.
    pub fn give_up(&mut self) {
        self.restart();
        self.resends = self.resends.saturating_add(1);
    }

    /// A new connection owes nothing to the old one.
    pub fn handle_link(&mut self) {
        self.restart();
        (self.resends, self.hold_until_ms, self.manifest_ms) = (0, 0, None);
        self.probe_due = false;
    }
}

/// The chain behind the last entry. A gap is only ever the first, and `chain` is then the one after it.
pub(crate) fn chain_at_end(batch: &Batch) -> u32 {
    batch.entries.iter().fold(batch.chain, |chain, entry| match entry {
        Entry::Record(payload) => crc32c::crc32c_append(chain, payload),
        Entry::Gap(_) => chain,
    })
}
