//! Which slots this ingestor admits for: it claims leases, renews them, gives back what is above its share, and stops in time.
//!
//! ```text
//!                      ┌────────┐ Ask { renew, release, claim } ──► database: ONE transaction, by its own clock
//!  handle_answer ─────►│        │                                       │ every lease, every living member
//!  handle_failed ─────►│ Tenure │◄──────────────────────────────────────┘
//!  handle_ended ──────►│        │ Begin(hold) ──► restore this slot, admit for it
//!  handle_leaving ────►│        │ End(hold)   ──► commit, stop, handle_ended
//!  handle_timeout ────►└────────┘ Drop(hold)  ──► stop at once; commit nothing, acknowledge nothing
//! ```
//!
//! Gateways fall into 64 slots ([`sitian_model::Slot`]). A lease says who may admit for a slot, and under which *term*: a number
//! that rises with every claim. The database keeps the leases and judges by its own clock when one has run out; this room
//! decides only what to ask for. It invents no consensus: of two members that claim one slot the database takes one.
//!
//! Invariants:
//!
//! - Nothing here is trusted for safety. What is committed for a slot names member and term, and the database refuses it if
//!   the lease says otherwise (the fence). A member that sleeps for a week and wakes up does no harm.
//! - A term is begun once. What ended by itself goes on under a new term, so that a transaction whose fate nobody knows cannot land
//!   behind the back of what was restored after it.
//! - A member that cannot ask stops before its lease can have run out: its own monotonic time since the question was *sent*,
//!   less a margin for clocks that do not run alike.
//! - At most one question is under way; an answer to an older one is nothing.
//! - Knows no sockets, SQL, clocks or randomness. Memory: 64 slots and one answer.
//!
//! **Fair share.** ⌈64 ÷ living members⌉ slots each. A member with fewer takes what is free, one with more ends the newest
//! and releases them. Members are living as long as their own row is renewed, which the same question does.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod machine;
mod talk;

pub use machine::{Limits, Tenure};
pub use talk::{Answer, Ask, Command, Hold, Lease, Peer, Term};
