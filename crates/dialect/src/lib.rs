//! Speaks to sensors that do not speak Modbus: frames in, samples and answers out.
//!
//! ```text
//!                 ┌──────────────── Talk (one bus) ─────────────────┐
//!  bytes, links ─►│ Asker:    asks each device in turn              │─► Command::Write(bytes)
//!  time ─────────►│           sdi12 · dlt645 · mhz19 · line         │─► Command::Samples(values with quality)
//!                 │ Listener: takes what comes, answers if it must  │
//!                 │           nmea · hj212 · line                   │
//!                 └─────────────────────────────────────────────────┘
//! ```
//!
//! One file per dialect turns bytes into named [`Field`]s; a [`DialectProfile`] says which field is which measurement.
//!
//! Invariants: decoders find their place again after junk; every buffer is bounded; no bytes make them panic; a value
//! whose checksum is wrong never becomes a sample. The room knows no sockets, ports, threads or clocks.
//!
//! Reading order: [`field`], [`checksum`], [`lines`]; the dialects [`mhz19`], [`nmea`], [`line`], [`sdi12`],
//! [`dlt645`], [`hj212`]; [`dialect`], [`profile`] and [`builtin`]; [`plan`], [`talk`] with [`asker`] and [`listener`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod asker;
pub mod builtin;
pub mod checksum;
pub mod conversation;
pub mod dialect;
pub mod dlt645;
pub mod field;
pub mod hj212;
pub mod line;
pub mod lines;
pub mod listener;
pub mod mhz19;
pub mod nmea;
pub mod plan;
pub mod profile;
pub mod sdi12;
pub mod talk;

pub use builtin::builtin;
pub use dialect::{Dialect, Station, Word};
pub use field::Field;
pub use plan::{BusPlan, DevicePlan, PointPlan};
pub use profile::{DialectPoint, DialectProfile};
pub use talk::{Answer, Command, Sample, Talk};
