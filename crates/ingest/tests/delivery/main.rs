//! The delivery law at the centre, as rows of events and as long random histories against an oracle.

#![allow(clippy::unwrap_used)]

mod admission;
mod bench;
mod history;
mod incidents;
