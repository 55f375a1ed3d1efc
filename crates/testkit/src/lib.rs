//! A simulated world: gateways, buses, devices, a lossy broker, faulty disks and the centre on one virtual clock, all
//! drawn from one seed. The state machines in it are the real ones.
//!
//! ```text
//!  devices ═► line ═► poll ─► gather ─► wire ─► spool ─► uplink ═► broker ═► wire ─► ingest ─► store ─► alert
//!    │        noise            clock            card               drops,             crashes,  fails,
//!    │        late             1970…            tears, lies        doubles,           restored  forgets
//!    │                                                             shuffles
//!    └──────────────────────── oracle: what was measured, accepted, acknowledged ───────────────┘
//! ```
//!
//! A value is a function of where and when it was polled ([`truth`]), so the [`oracle`] judges every row by itself: lost,
//! invented, doubled or misattributed readings all show. A world runs with faults first (safety), then without
//! (liveness); fault rates and sizes are drawn per seed ([`swarm`]); a run of many seeds must have reached every hard
//! state ([`sight`]). A [`Mutant`] breaks one rule on purpose, to prove that the world would notice.
//!
//! The shells around the machines are copies of the binaries' composition pages, without their runtimes: [`board`],
//! [`spooler`], [`fieldbus`], [`clock`] (gateway) and [`centre`] (ingestor); `gather` is the gateway's own file. Knows no
//! real time, no files, no sockets; threads only to run several worlds at once ([`season`]).
//!
//! [`fleet`] is a second world: several ingestors that share a broker and a database.
//!
//! Reading order: [`world`], `chaos`, [`board`], [`centre`], [`oracle`], [`season`].

pub mod board;
pub mod centre;
mod chaos;
pub mod clock;
pub mod dice;
pub mod disk;
pub mod ether;
pub mod fieldbus;
pub mod fleet;
#[path = "../../gateway/src/gather.rs"]
mod gather;
pub mod line;
pub mod mutant;
pub mod oracle;
pub mod pardon;
pub mod plant;
pub mod relic;
pub mod season;
pub mod sight;
pub mod spooler;
pub mod store;
pub mod swarm;
pub mod trace;
pub mod truth;
pub mod world;

pub use mutant::Mutant;
pub use pardon::{Pardon, Pardons};
pub use season::{Failure, Outcome, Season};
pub use sight::{Seen, Sight};
pub use world::World;
