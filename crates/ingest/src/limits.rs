//! How much one gateway and one group may take.

/// Caps. Beyond each of them something is refused and said, never dropped in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A group of about this many bytes is full: further batches are answered SLOW until it is taken.
    pub group_bytes_max: usize,
    /// At most this many different epochs are answered in one group; others get no answer and ask again.
    pub group_acks_max: usize,
    /// How many bytes a gateway may have under way unacknowledged; told in every ack.
    pub window_bytes: u32,
    /// How long a gateway waits after SLOW, in milliseconds.
    pub retry_after_ms: u32,
    /// Points of one gateway over all its epochs.
    pub gateway_points_max: usize,
    /// Epochs of one gateway that are remembered.
    pub gateway_epochs_max: usize,
    /// New epochs that one gateway may open at once.
    pub epoch_burst: u32,
    /// After that, one more per this many milliseconds.
    pub epoch_refill_ms: i64,
    /// Bytes in quarantine per gateway. Bytes that name no labels take at most half of it.
    pub quarantine_bytes_max: u64,
    /// What was damaged on its way is asked for again so many times before its labels are given up to the quarantine.
    pub damaged_again_max: u32,
    /// A reading stamped further ahead of the server's clock than this, in milliseconds, has an unknown time.
    pub ahead_ms_max: i64,
    /// A reading stamped earlier than this (Unix milliseconds) has an unknown time.
    pub earliest_ms: i64,
    /// A reading whose time may be off by more than this, in milliseconds, has an unknown time.
    pub uncertainty_ms_max: u32,
    /// An epoch that another one no longer lists may be written by a second machine; it is lost only when it has said
    /// nothing for this long, in milliseconds. Longer than the pause between two readings of a machine that is at work, shorter
    /// than the 60 s between two probes, so that the first probe after a return tells of the loss.
    pub silence_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            group_bytes_max: 4 << 20,
            group_acks_max: 65_536,
            window_bytes: 512 << 10,
            retry_after_ms: 1000,
            gateway_points_max: 20_000,
            gateway_epochs_max: 100_000,
            epoch_burst: 256,
            epoch_refill_ms: 60_000,
            quarantine_bytes_max: 64 << 20,
            damaged_again_max: 2,
            ahead_ms_max: 86_400_000,
            // 2020-01-01T00:00:00Z: before any gateway of this kind existed.
            earliest_ms: 1_577_836_800_000,
            uncertainty_ms_max: 60_000,
            silence_ms: 30_000,
        }
    }
}
