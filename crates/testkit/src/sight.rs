//! Hard states: a run of seeds in which one of them was never reached has proven nothing about it.

/// Something that has to be seen now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Sight {
    PowerCut,
    ProcessKill,
    CutInCommit,
    CrashDuringRecovery,
    TornTailCut,
    SegmentRollOver,
    Eviction,
    Trimmed,
    SpoolFailed,
    SpoolWorksAgain,
    DamageRead,
    ImageRestored,
    SpoolWiped,
    GatewayCloned,
    MemoryForked,
    Boot1970,
    ClockHeard,
    Restamped,
    ClockUnknown,
    LateReplyDiscarded,
    BusTimeout,
    BrokerWiped,
    BrokerDropped,
    BrokerDoubled,
    BrokerShuffled,
    BrokerReplayed,
    Partition,
    Stalled,
    EpochSealed,
    DuplicateSeen,
    Rewind,
    GapCommitted,
    Fork,
    QuarantineHit,
    Redecoded,
    ManifestWanted,
    Slow,
    LiveOvertookBackfill,
    CentreKilled,
    CrashBetweenCommitAndAck,
    TransactionFailed,
    CentreRestored,
    LossReported,
    CloneReported,
    AlertFired,
    AlertResolved,
    AlertRestored,
}

impl Sight {
    /// Every sight, in order.
    pub const ALL: [Self; 47] = [
        Self::PowerCut,
        Self::ProcessKill,
        Self::CutInCommit,
        Self::CrashDuringRecovery,
        Self::TornTailCut,
        Self::SegmentRollOver,
        Self::Eviction,
        Self::Trimmed,
        Self::SpoolFailed,
        Self::SpoolWorksAgain,
        Self::DamageRead,
        Self::ImageRestored,
        Self::SpoolWiped,
        Self::GatewayCloned,
        Self::MemoryForked,
        Self::Boot1970,
        Self::ClockHeard,
        Self::Restamped,
        Self::ClockUnknown,
        Self::LateReplyDiscarded,
        Self::BusTimeout,
        Self::BrokerWiped,
        Self::BrokerDropped,
        Self::BrokerDoubled,
        Self::BrokerShuffled,
        Self::BrokerReplayed,
        Self::Partition,
        Self::Stalled,
        Self::EpochSealed,
        Self::DuplicateSeen,
        Self::Rewind,
        Self::GapCommitted,
        Self::Fork,
        Self::QuarantineHit,
        Self::Redecoded,
        Self::ManifestWanted,
        Self::Slow,
        Self::LiveOvertookBackfill,
        Self::CentreKilled,
        Self::CrashBetweenCommitAndAck,
        Self::TransactionFailed,
        Self::CentreRestored,
        Self::LossReported,
        Self::CloneReported,
        Self::AlertFired,
        Self::AlertResolved,
        Self::AlertRestored,
    ];
}

/// How often each was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen([u64; Sight::ALL.len()]);

impl Default for Seen {
    fn default() -> Self {
        Self([0; Sight::ALL.len()])
    }
}

impl Seen {
    /// Once more.
    pub fn saw(&mut self, sight: Sight) {
        self.saw_many(sight, 1);
    }

    /// So many more.
    pub fn saw_many(&mut self, sight: Sight, times: u64) {
        self.0[sight as usize] += times;
    }

    /// How often.
    pub fn count(&self, sight: Sight) -> u64 {
        self.0[sight as usize]
    }

    /// Adds what another world has seen.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }

    /// What was seen less often than this.
    pub fn rarer_than(&self, times: u64) -> Vec<(Sight, u64)> {
        Sight::ALL.into_iter().map(|sight| (sight, self.count(sight))).filter(|(_, n)| *n < times).collect()
    }
}
