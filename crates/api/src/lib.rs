//! The HTTP API of the ingestor and its live streams; the only room that speaks JSON.
//!
//! ```text
//! program ── Backend ──► router ──► answers, problems        (asked on threads where waiting is allowed)
//!         ── Live ─────► streams ─► server-sent events       (fed without waiting)
//! console ── asset ────► files
//! ```
//!
//! The room knows no store, no engine at work and no MQTT: it asks a [`Backend`] and shows what it says. It never opens a file, and
//! it listens on the loopback interface only, until there is access control.
//!
//! Reading order: [`view`] (what is said), [`present`] (how it is said), [`backend`] (who is asked), [`routes`] (where), then the handlers, [`live`] and
//! [`streams`] (what happens), [`guard`] (who may ask), [`serve`] (listening and ending).

// The macro that describes handlers repeats the full names of their parameters.
#![allow(unused_qualifications)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod about;
pub mod alerts;
pub mod backend;
mod changes;
pub mod commands;
pub mod corrections;
pub mod export;
pub mod files;
pub mod guard;
pub mod incidents;
pub mod limits;
pub mod live;
pub mod openapi;
pub mod points;
pub mod present;
pub mod problem;
pub mod query;
pub mod routes;
pub mod serve;
pub mod streams;
pub mod territory;
pub mod view;
pub mod zone;

pub use backend::{
    AlertsQuery, Backend, BackendError, IncidentsQuery, LedgerQuery, LogEntry, PhaseFilter, ReadingsQuery,
};
pub use limits::Limits;
pub use live::Live;
pub use present::{GatewayFacts, PointFacts, Presenter, QuarantineFacts, in_words};
pub use routes::{Settings, router};
pub use serve::{ServeError, check_address, listen, serve};
pub use zone::{Zone, ZoneError, parse as moment};
