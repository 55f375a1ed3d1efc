//! Deliberate mistakes, each one that somebody could make in the rooms above: the tests named in
//! `crates/xtask/src/teeth.rs` must catch every one of them, or they are blind.
//!
//! They exist only in a build with `--cfg sitian_mutants`, which `cargo xtask teeth` makes beside the ordinary one; there the
//! variable `SITIAN_MUTANT` names the one that lives. In every other build [`Mutant::lives`] is `false` at compile
//! time and nothing of them is left.

/// What is done wrong. Grouped by room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// spool: a sync that failed is called again on the same file, and its second answer is believed.
    FsyncRetriedAfterError,
    /// spool: sync is never called.
    NeverSynced,
    /// spool: the length of a frame that is not valid is believed.
    LengthNotChecked,
    /// spool: the checksum of a frame is not compared.
    ChecksumNotChecked,
    /// spool: a segment is removed whether it is acknowledged or not.
    TrimmedWithoutAck,
    /// spool: acknowledged segments are not kept behind.
    NoKeepBehind,
    /// spool: what is evicted is not noted as a gap.
    EvictedWithoutGap,
    /// spool: what is acknowledged and gone leaves nothing behind.
    GoneForgotten,
    /// spool: no spare segment is reserved.
    NoSpare,
    /// spool: commits do not say where they end.
    EndNotNoted,
    /// uplink: what was published is released, as if PUBACK were a receipt.
    TrimmedOnPuback,
    /// uplink: a centre that says REWIND is not obeyed.
    RewindIgnored,
    /// uplink: an ack beyond what was written is believed.
    AckNotClamped,
    /// ingest: a batch beyond the watermark is committed.
    OutOfOrderAccepted,
    /// ingest: what is committed already is committed again.
    OverlapNotSkipped,
    /// ingest: a gateway that remembers more than the centre is told OK.
    NoRewindAnswer,
    /// ingest: the watermark is not among what the transaction stores.
    WatermarkElsewhere,
    /// ingest: another history under a known label goes unseen.
    ForkUnseen,
    /// tenure: a lease that was not renewed is believed in.
    LeaseOutlived,
    /// tenure: what has ended by itself begins again under the same term.
    TermKept,
    /// poll: the byte count of a reply need not be that of the request.
    ByteCountNotChecked,
    /// poll: a reply of any unit will do.
    ForeignUnitAccepted,
    /// poll: after a lost reply the next request goes out at once.
    NoHoldOff,
    /// poll: a reply's checksum is not compared.
    ReplyNotChecked,
    /// store-embedded: rows come in a transaction of their own.
    RowsInAnotherTransaction,
    /// store-embedded: a commit is not synced.
    StoreNotSynced,
    /// store-postgres: a commit looks at its lease, but does not hold it.
    FenceNotLocked,
    /// store-postgres: a commit does not look whose lease it is.
    FenceLeftOut,
    /// gateway: a new file of the spool is synced, but not the directory that names it.
    DirectoryNotSynced,
    /// gateway: one epoch for all processes, as if the card kept it.
    EpochKept,
    /// gateway: the board's wall clock is believed although nobody vouches for it.
    ClockBelieved,
    /// ingestor: acks leave before the transaction is durable.
    AckBeforeCommit,
}

impl Mutant {
    /// True if this is the mistake that this process makes.
    #[cfg(not(sitian_mutants))]
    #[inline(always)]
    pub const fn lives(self) -> bool {
        false
    }

    /// True if this is the mistake that this process makes.
    #[cfg(sitian_mutants)]
    #[allow(clippy::disallowed_methods, reason = "only in the build whose mistakes are the point")]
    pub fn lives(self) -> bool {
        static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        *NAME.get_or_init(|| std::env::var("SITIAN_MUTANT").unwrap_or_default()) == format!("{self:?}")
    }
}
