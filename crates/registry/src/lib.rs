//! The registry port: everything that a centre remembers besides its readings, kept and asked. Gateways, points, epochs,
//! watermarks, gaps, quarantine, incidents, alerts.
//!
//! ```text
//!  ingest ─ Effect ─┐                                    ┌ restored, alert_memory    to go on after a restart
//!  alert ── Change ─┼─► Transaction ─► Keep::commit      │ newest_epochs, epoch …    what gateways have
//!  alert ── Delta ──┘        │ whole or not at all       ├ incidents, gaps, quarantine
//!                            ▼                           ├ episodes, alert_log_after
//!                      the registry ◄──── Registry ──────┘
//!            ┌───────────────┴───────────────┐
//!      store-embedded                  store-postgres
//!      one file, one process           a server, several processes, each with its slots
//! ```
//!
//! The law of the port:
//! - What a commit has returned for is durable and seen by every question that is asked afterwards.
//! - A commit that failed may have landed; after [`Keep::assure`] it has landed or never will.
//! - Numbers of lists only grow, and the alert log is complete up to any cursor that anybody has read.
//! - A keeper that was replaced stores nothing any more: it is told [`RegistryError::Fenced`].
//!
//! The room knows no files, sockets, clocks, threads or databases.
//!
//! Reading order: [`transaction`] (what is stored together), [`port`] (the traits), [`lists`] and [`alerts`] (questions and
//! answers), [`bytes`] and [`manifest`] (blobs that every keeper writes alike),
//! [`contract`] (what every registry must do).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod alerts;
pub mod bytes;
pub mod contract;
pub mod lists;
pub mod manifest;
pub mod port;
pub mod transaction;

pub use alerts::{EpisodeFilter, LogLine, PhaseFilter};
pub use lists::{EpochLine, GapStored, IncidentStored, ListFilter, QuarantineCounts, QuarantineStored};
pub use port::{Keep, Registry, RegistryError};
pub use transaction::{Committed, Transaction};
