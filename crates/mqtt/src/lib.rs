//! A link to an MQTT broker: connect, publish, deliver, report up and down. Nothing more is promised.
//!
//! ```text
//!            Publisher ──publish──► bounded queue ─┐
//!                                                  ├─ one connection, rebuilt from nothing after every fault ══► broker
//!  receiver ◄── Up · Message · Down ◄── bounded ───┘
//! ```
//!
//! What holds:
//! - No message survives a connection. Sessions are clean, and each connection gets a new client, so nothing stale is
//!   ever sent. On [`Event::Down`] everything queued or under way is forgotten: the caller keeps what must not be lost
//!   and sends it again after the next [`Event::Up`].
//! - A PUBACK means only that the broker has room for more; it is never reported as "stored".
//! - Every queue is bounded. When the receiver is slow the link stops reading from the broker. When the broker is slow
//!   [`Publisher::publish`] waits and [`Publisher::try_publish`] says so.
//! - The link knows no topics and no payloads, and names no file except those of its credentials.
//!
//! Reading order: [`section`] (what a person sets), [`settings`], [`link`], `session` (one connection), `watchdog`, `backoff`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backoff;
pub mod link;
pub mod section;
mod session;
pub mod settings;
mod watchdog;

pub use link::{Event, Link, Listener, PublishError, Publisher};
pub use section::{Section, SectionFault};
pub use settings::{Credentials, LinkSettings, Qos, Tls, Will};
