//! What the shell sets aside beside the machine: readings that the engine of the readings refuses, which is known only when
//! a group has been taken. They count against the same quota.

use sitian_model::{GatewayId, Timestamp};

use crate::machine::Ingest;

impl Ingest {
    /// Counts bytes that go into quarantine with the group that was taken last. False, and nothing is counted, if the
    /// gateway's quota is used up: then the group must not be committed, see [`Ingest::hold_back`].
    pub fn reserve(&mut self, gateway: &GatewayId, bytes: u64) -> bool {
        let book = self.book.gateways.entry(gateway.clone()).or_default();
        let room = book.quarantined_bytes + bytes <= self.limits.quarantine_bytes_max;
        if room {
            book.quarantined_bytes += bytes;
        } else {
            self.stats.rejected.quota += 1;
        }
        room
    }

    /// Answers SLOW to everything that a gateway sends until then; it keeps what it has. Outlives [`Ingest::reload`].
    pub fn hold_back(&mut self, gateway: &GatewayId, until: Timestamp) {
        self.held_back.insert(gateway.clone(), until);
    }

    pub(crate) fn is_held_back(&mut self, gateway: &GatewayId, now: Timestamp) -> bool {
        let held_back = self.held_back.get(gateway).is_some_and(|until| now < *until);
        if !held_back {
            self.held_back.remove(gateway);
        }
        held_back
    }
}
