//! The supervision network: city, county, town, base; what every level sees at a glance.
//!
//! ```text
//! territory file ──► Territory ──┐
//! points, rows, links, alerts ───┴─► Supervision ──► Rollup per node, what changed, one sentence
//! ```
//!
//! Counts and completeness live at the bases and are carried up as they change, at most four steps; asking for a node's
//! roll-up costs no walk over what lies below it.
//!
//! The room knows no files, sockets, clocks or threads, and no alert rules: open alerts are told to it as severities.
//!
//! Reading order: [`territory`] (the tree), [`ledger`] (completeness of the last hour), [`rollup`] (the numbers).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ledger;
mod pace;
pub mod rollup;
pub mod territory;

pub use pace::Pace;
pub use rollup::{
    AlertCounts, AlertMark, Completeness, GatewayLink, Rollup, Severity, State, Summary, Supervision,
};
pub use territory::{Code, Level, Node, Position, Territory};
