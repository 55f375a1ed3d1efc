//! What an admission is asked for.

use sitian_alert::AcknowledgeError;
use sitian_model::Correction;
use tokio::sync::oneshot;

/// What came of an acknowledgement.
pub type Outcome = Result<(), AcknowledgeError>;

/// What the thread is asked for.
pub enum Ask {
    /// A message came in.
    Message {
        /// Its topic.
        topic: String,
        /// Its content.
        payload: bytes::Bytes,
        /// The broker had kept it from before.
        retain: bool,
    },
    /// The link to the broker went up or down.
    Link(bool),
    /// Store what there is, and end.
    End,
    /// A person knows readings of one point better.
    Correct {
        /// What they should have said.
        corrections: Vec<Correction>,
        /// Answered after the commit: how many were there, or why none was corrected.
        reply: oneshot::Sender<Result<usize, String>>,
    },
    /// A person takes note of an alert.
    Acknowledge {
        /// Which.
        alert: u64,
        /// Who.
        by: String,
        /// What they say.
        note: String,
        /// Answered after the commit.
        reply: oneshot::Sender<Outcome>,
    },
}
