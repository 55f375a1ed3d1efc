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
//!
//! The client waits in threads and must be kept out of async code, also where it is dropped; [`Database`] takes care of the
//! latter. It speaks no TLS: a database on another machine is reached over a network of its own, a tunnel or a socket.
//! Characters of the number 0 in names become U+FFFD, because the server takes none.
//!
//! Tables are in `src/schema/v1.sql`; the bytes of manifests in the `registry` room.
//!
//! Reading order: `access`, `database`, `pool` (connections); `schema`; `keeper` (the fence), `tenure` (who may pass it); `registry`, `alerts` (tables);
//! `reader`, `line`; `fault`.

mod access;
mod alerts;
mod database;
mod fault;
mod keeper;
mod line;
mod pool;
mod reader;
mod registry;
mod schema;
mod tenure;

pub use access::Access;
pub use database::Database;
pub use fault::DatabaseError;
pub use keeper::Keeper;
pub use tenure::Errand;
