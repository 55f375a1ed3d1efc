//! Bus law: chooses the next request on a bus and turns answers, exceptions and silence into samples.
//!
//! ```text
//!              ┌────────────── Poller (one bus) ──────────────┐
//!  answer ───► │ plan: registers → blocks (requests)          │ ──► Command::Send(Request, device)
//!  time   ───► │ slot: one round of one device and interval   │ ──► Command::Samples(values with quality)
//!              │ trouble: back-off, probes, bounded airtime   │
//!              └──────────────────────────────────────────────┘
//! ```
//!
//! Invariants: one request is under way at a time; every slot of a point ends in exactly one sample; a dead device
//! takes a bounded share of the bus; after a missing answer no other request goes to that device until its late
//! reply can no longer be mistaken. The room knows no sockets, ports, threads or clocks: answers and the time are
//! arguments.
//!
//! Reading order: [`request`] (what is asked), [`rtu`] (the frames of a serial line), [`plan`] (what is to be
//! polled, and how registers share requests), [`airtime`] (whether there is time for it), [`poller`] (when), [`stats`] (how
//! it went).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod airtime;
mod device;
pub mod plan;
pub mod poller;
pub mod request;
pub mod rtu;
mod slot;
pub mod stats;
mod trouble;

pub use plan::{Block, BusPlan, DevicePlan, PointPlan};
pub use poller::{Command, Poller, Sample, WriteDone, WriteOrder};
pub use request::{Answer, Ask, Failure, Request, Values, WriteRequest};
pub use sitian_profile::Function;
pub use stats::DeviceStats;
