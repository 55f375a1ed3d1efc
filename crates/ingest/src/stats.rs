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

    /// What has come to these since `before`, added to `sum`: for several that are counted together.
    pub fn add_to(&self, sum: &mut Self, before: &Self) {
        let each = |sum: &mut u64, now: u64, before: u64| *sum += now.saturating_sub(before);
        each(&mut sum.batches, self.batches, before.batches);
        each(&mut sum.probes, self.probes, before.probes);
        each(&mut sum.manifests, self.manifests, before.manifests);
        each(&mut sum.records, self.records, before.records);
        each(&mut sum.readings, self.readings, before.readings);
        each(&mut sum.duplicates, self.duplicates, before.duplicates);
        each(&mut sum.missing, self.missing, before.missing);
        each(&mut sum.quarantined, self.quarantined, before.quarantined);
        each(&mut sum.clock_unknown, self.clock_unknown, before.clock_unknown);
        each(&mut sum.restamped, self.restamped, before.restamped);
        let (sum, now, before) = (&mut sum.rejected, &self.rejected, &before.rejected);
        each(&mut sum.poison, now.poison, before.poison);
        each(&mut sum.damaged, now.damaged, before.damaged);
        each(&mut sum.out_of_order, now.out_of_order, before.out_of_order);
        each(&mut sum.unknown_manifest, now.unknown_manifest, before.unknown_manifest);
        each(&mut sum.foreign_manifest, now.foreign_manifest, before.foreign_manifest);
        each(&mut sum.manifest_conflict, now.manifest_conflict, before.manifest_conflict);
        each(&mut sum.rewound, now.rewound, before.rewound);
        each(&mut sum.forked, now.forked, before.forked);
        each(&mut sum.quota, now.quota, before.quota);
        each(&mut sum.slow, now.slow, before.slow);
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
