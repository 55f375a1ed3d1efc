//! Whole-system tests on real parts: our two programs, Debian's Mosquitto, socat and pymodbus, as separate processes on
//! loopback. The harness starts and kills them and asks the API; it waits on conditions, never on the clock. Tests of
//! faults say what came of them in a [`tally`].

pub mod parts;
pub mod program;
pub mod question;
pub mod tally;

pub use parts::{Field, Gateway, Ingestor, Mosquitto, PtyPair};
pub use program::Program;
pub use question::{Stream, get, post, wait_for};
