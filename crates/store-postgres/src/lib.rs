//! The registry in a PostgreSQL database that others run: several ingestors share it, each with gateways of its own.
//! Readings are in another engine then.
//!
//! ```text
//!  commit(Transaction) ─► BEGIN ─► fence: lease says (slot, member, term, turn)? held until the end
//!                                   │ no: Fenced, nothing is stored
//!                                   ├ points, epochs, gaps, quarantine, incidents, watermarks
//!                                   ├ alerts: one writer of the log at a time, cursors in order
//!                                   ├ memory of the alert engine
//!                         COMMIT ◄──┘ on the server's disk, and on its standbys if it waits for them
//!                            │ connection lost: nobody knows ─► assure(): turn + 1, which waits for what was under way
//!                            ▼
//!                          ack
//!
//!  all slots (-1) ── one ingestor alone            slots 0 … 63 ── one keeper each, wherever their leases are
//! ```
//!
//! Invariants:
//! - What a commit has returned for survives a power cut: a server without `fsync` is refused, and every connection asks for
//!   `synchronous_commit`.
//! - A keeper whose lease has gone to another stores nothing: the claim waits for commits under way, and every later one
//!   finds another term.
//! - A server that is away is an error that passes; nothing is retried in here, for nobody would know what had landed.
//! - Times of leases are the server's. Nothing else here looks at a clock but for how long ago a lease was renewed.
//! - At most four commits and six questions of one process are under way, and one about leases; others wait, ten seconds
//!   at most.
//! - Nobody waits for an answer without end: the server gives a question up after 10 s, or 20 s where there may be much to read
//!   or to rewrite, and we give up the server 5 s later. A host has 10 s to let us in. A server that is frozen is away, and a
//!   COMMIT that it did not answer has an unknown fate, as where the connection broke.
//! - Nothing is said, no password either, to a server on another machine that does not show a certificate in its name, signed by
//!   whom we trust, unless a person has turned TLS off.
//!
//! Callers wait in threads; nothing here may be called from async code. One thread more moves the bytes.
//! Characters of the number 0 in names become U+FFFD, because the server takes none.
//!
//! Tables are in `src/schema`; the bytes of manifests in the `registry` room.
//!
//! Reading order: `access`, `tls`; `database`, `pool`, `connection`, `driver`; `schema`; `keeper` (the fence), `tenure` (who may pass it); `registry`, `alerts` (tables);
//! `reader`, `line`; `fault`.

mod access;
mod alerts;
mod connection;
mod database;
mod driver;
mod fault;
mod keeper;
mod line;
mod pool;
mod reader;
mod registry;
mod schema;
mod tenure;
mod tls;

pub use access::{Access, AccessError, Way};
pub use database::Database;
pub use fault::DatabaseError;
pub use keeper::Keeper;
pub use tenure::Errand;
pub use tls::Trust;
