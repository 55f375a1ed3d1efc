//! The API over real sockets, in front of a small world in memory.

#![allow(clippy::unwrap_used)]

mod answers;
mod bounds;
mod client;
mod description;
mod refusals;
mod streams;
mod world;
