//! Whole-system tests on real parts: our two programs, Debian's Mosquitto, socat and pymodbus, as separate processes on
//! loopback. The harness starts and kills them and asks the API; it waits on conditions, never on the clock.
//!
//! Fault campaigns: a [`rig`] is a small network around a [`counter`], whose values name the polls they came from; a
//! [`card`] is a disk that loses power, fills up or dies; [`strace`] makes system calls fail, [`throttle`] a disk slow; the [`oracle`] compares what was measured, accepted and
//! stored; the [`tally`] says what came of each fault. The pipe has faults of its own: a [`counted`] network around a field that keeps the
//! [`truth`], cut off in a [`namespace`], behind a [`bad_line`], on a broker that is a [`liar`],
//! or by a [`fake_clock`].

pub mod backlog;
pub mod bad_line;
pub mod card;
pub mod counted;
pub mod counter;
pub mod fake_clock;
pub mod liar;
pub mod namespace;
pub mod oracle;
pub mod packets;
pub mod parts;
pub mod postgres;
pub mod program;
pub mod question;
pub mod rig;
pub mod strace;
pub mod tally;
pub mod throttle;
pub mod truth;
pub mod victoria;

pub use card::Card;
pub use counted::Counted;
pub use counter::Counter;
pub use parts::{Field, Gateway, Ingestor, Mosquitto, PtyPair, SensorLine};
pub use program::Program;
pub use question::{Stream, ask, get, post, wait_for};
pub use rig::Rig;
pub use truth::{Judge, TrueField, Verdict};
pub use victoria::Victoria;
