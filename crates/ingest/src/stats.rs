//! Counters since process start.

/// What has been seen and done since process start. [`crate::Ingest::reload`] takes back what was admitted and not stored;
/// what was seen stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Batches with entries.
    pub batches: u64,
    /// Batches without entries.
    pub probes: u64,
    /// Manifests.
    pub manifests: u64,
    /// Records admitted.
    pub records: u64,
    /// Readings admitted.
    pub readings: u64,
    /// Sequence numbers that came again and were skipped.
    pub duplicates: u64,
    /// Sequence numbers committed as gaps.
    pub missing: u64,
    /// Sequence numbers committed as quarantined.
    pub quarantined: u64,
    /// Readings whose time is unknown or not credible.
    pub clock_unknown: u64,
    /// Readings stamped by the clock of their boot, after the fact.
    pub restamped: u64,
    /// Messages of which nothing was admitted, by reason.
    pub rejected: Rejected,
}

impl Stats {
    /// Takes back what was counted as admitted and is not durable: it comes again.
    pub(crate) fn take_back(&mut self, to: &Self) {
        let Self { batches, probes, manifests, duplicates, rejected, .. } = *self;
        *self = Self { batches, probes, manifests, duplicates, rejected, ..*to };
    }
}

/// Messages of which nothing was admitted, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rejected {
    /// Not understood.
    pub poison: u64,
    /// Damaged on the way, and asked for again.
    pub damaged: u64,
    /// The first sequence number lies beyond the watermark.
    pub out_of_order: u64,
    /// The epoch's manifest is not known.
    pub unknown_manifest: u64,
    /// The manifest of another gateway.
    pub foreign_manifest: u64,
    /// The epoch's manifest came again with other points.
    pub manifest_conflict: u64,
    /// The centre had acknowledged more than it remembers.
    pub rewound: u64,
    /// A second writer in the epoch.
    pub forked: u64,
    /// A quota is used up.
    pub quota: u64,
    /// The group was full.
    pub slow: u64,
}
