//! Teeth: ways to break the delivery contract on purpose. A world with a mutant in it must fail, or its checks are blind.

/// What is wrong with this world's shells. Each is a mistake that somebody could make in a composition page or a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mutant {
    /// Nothing: the world as it should be.
    #[default]
    None,
    /// The epoch is a name of the board, kept on its card, instead of fresh random bits at each process start.
    EpochKeptOnTheCard,
    /// What the broker has confirmed is released from the spool.
    TrimOnPuback,
    /// Acks leave before the transaction, not after it.
    AckBeforeCommit,
    /// A batch beyond the watermark is committed, and the hole before it is stepped over.
    OutOfOrderAccepted,
    /// The watermark is stored first, the rows in a second transaction.
    WatermarkInAnotherTransaction,
    /// A centre that has forgotten says OK instead of REWIND.
    NoRewind,
    /// Acknowledged records are trimmed at once.
    NoKeepBehind,
    /// A sync that failed is called again, and its second answer is believed.
    SyncRetried,
    /// Sync on the gateway's disk is never called.
    NoSync,
    /// A serial line is driven as if late replies could be told from awaited ones.
    NoHoldOff,
    /// Bytes of a reply are taken without looking at the unit, the length or the checksum.
    RepliesBelieved,
    /// After a failed transaction the machines go on from memory instead of from what is stored.
    NoReload,
    /// The alert engine's memory is not stored with the rows.
    AlertMemoryForgotten,
}

impl Mutant {
    /// Every mutant, without [`Mutant::None`].
    pub const ALL: [Self; 13] = [
        Self::EpochKeptOnTheCard,
        Self::TrimOnPuback,
        Self::AckBeforeCommit,
        Self::OutOfOrderAccepted,
        Self::WatermarkInAnotherTransaction,
        Self::NoRewind,
        Self::NoKeepBehind,
        Self::SyncRetried,
        Self::NoSync,
        Self::NoHoldOff,
        Self::RepliesBelieved,
        Self::NoReload,
        Self::AlertMemoryForgotten,
    ];
}
