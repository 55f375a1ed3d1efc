//! How much may be under way, and how long to wait for what.

/// Sizes and times. A simulated world shrinks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of payload in one batch before encoding. At most what fits 64 KiB on the wire uncompressed.
    pub batch_bytes_max: usize,
    /// Bytes that one epoch may have under way until an ack says otherwise.
    pub window_bytes: u64,
    /// Bytes that one epoch may have under way whatever an ack says.
    pub window_bytes_max: u64,
    /// Least time without progress before sending again, in milliseconds; four round trips if that is longer.
    pub resend_ms: u64,
    /// Longest time between two attempts, in milliseconds.
    pub resend_ms_max: u64,
    /// Time between two probes of each epoch, in milliseconds.
    pub probe_ms: u64,
    /// A backlog older than this at a reconnect moves to the backfill lane, in milliseconds.
    pub seal_after_ms: u64,
    /// Without any ack for this long while one is due, the link is taken for dead, in milliseconds; doubles up to
    /// `resend_ms_max` while that does not help.
    pub stall_ms: u64,
    /// Epochs listed in a batch and probed in one round.
    pub held_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes_max: 48 * 1024,
            window_bytes: 128 * 1024,
            window_bytes_max: 1024 * 1024,
            resend_ms: 10_000,
            resend_ms_max: 300_000,
            probe_ms: 60_000,
            seal_after_ms: 300_000,
            stall_ms: 30_000,
            held_max: 64,
        }
    }
}
