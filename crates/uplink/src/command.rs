//! What the machine wants done, and what the spool answers.

use sitian_model::{Batch, Entry, Epoch, Seq};

/// What the shell has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Publish the manifest of this epoch. Needs no answer.
    PublishManifest(Epoch),
    /// Read the spool and answer with [`crate::Uplink::handle_read`] or [`crate::Uplink::handle_read_failed`].
    ReadSpool {
        /// Which epoch.
        epoch: Epoch,
        /// From this sequence number.
        from: Seq,
        /// Bytes of payload; 0 asks for the chain only.
        bytes_max: usize,
    },
    /// Encode and publish.
    Publish(Batch),
    /// Tell the spool what is committed centrally; less than before after a rewind.
    Release {
        /// Which epoch.
        epoch: Epoch,
        /// One past the highest committed sequence number.
        committed: Seq,
    },
    /// Seal the live epoch under a fresh one: its backlog drains behind.
    SealEpoch,
    /// Relabel what is unacknowledged of this epoch under a fresh one.
    Relabel(Epoch),
    /// The link is up but nothing comes back: close it and connect again.
    Reconnect,
}

/// What the spool answered: consecutive entries from `first` on, and the chain before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which epoch.
    pub epoch: Epoch,
    /// Sequence number of the first entry, or of the next one if there is none.
    pub first: Seq,
    /// May be empty.
    pub entries: Vec<Entry>,
    /// See [`Batch::chain`].
    pub chain: u32,
}
