//! Whole-system tests on real parts: our two programs, Debian's Mosquitto, socat and pymodbus, as separate processes on
//! loopback. The harness starts and kills them and asks the API; it waits on conditions, never on the clock.
//!
//! Fault campaigns: a [`rig`] is a small network around a [`counter`], whose values name the polls they came from; a
//! [`card`] is a disk that loses power, fills up or dies; [`strace`] makes system calls fail; the [`oracle`] compares what was measured, accepted and
//! stored; the [`tally`] says what came of each fault.

pub mod backlog;
pub mod card;
pub mod counter;
pub mod oracle;
pub mod parts;
pub mod program;
pub mod question;
pub mod rig;
pub mod strace;
pub mod tally;

pub use card::Card;
pub use counter::Counter;
pub use parts::{Field, Gateway, Ingestor, Mosquitto, PtyPair, SensorLine};
pub use program::Program;
pub use question::{Stream, get, post, wait_for};
pub use rig::Rig;
