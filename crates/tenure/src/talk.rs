//! What is said between the machine, the database and the shell.

use sitian_model::Slot;

/// Counts the claims of one slot, from 1.
pub type Term = u64;

/// What entitles to commit for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hold {
    /// Which slot.
    pub slot: Slot,
    /// Under which term.
    pub term: Term,
}

/// A question to the database: one transaction, in this order, all times by the database's clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    /// Comes back in the answer.
    pub number: u64,
    /// Leases of this member that are to last as long again, from now. One that has run out is renewed too, as long as nobody
    /// has claimed it.
    pub renew: Vec<Hold>,
    /// Leases of this member that end now.
    pub release: Vec<Hold>,
    /// Slots to claim: those whose lease has run out, or is this member's own, get the next term.
    pub claim: Vec<Slot>,
    /// This member lives on for the length of a lease, or, if true, no longer.
    pub leave: bool,
}

/// How things stand after a question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// [`Ask::number`].
    pub number: u64,
    /// Every lease there is.
    pub leases: Vec<Lease>,
    /// Every living member, the one that asked included unless it leaves.
    pub members: Vec<Peer>,
}

/// Who may admit for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The slot and the term.
    pub hold: Hold,
    /// The member that claimed it last.
    pub member: String,
    /// It has not run out.
    pub living: bool,
}

/// A living member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, different for every start of a process.
    pub member: String,
    /// Where its API listens, for the others.
    pub api: String,
}

/// What the shell has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Put this question; answer with [`crate::Tenure::handle_answer`] or [`crate::Tenure::handle_failed`].
    Ask(Ask),
    /// Restore this slot and admit for it. Tell [`crate::Tenure::handle_ended`] if that ends by itself.
    Begin(Hold),
    /// Commit what is under way, stop, and tell [`crate::Tenure::handle_ended`].
    End(Hold),
    /// Stop at once: commit nothing more, acknowledge nothing more. Needs no answer.
    Drop(Hold),
}
