//! Device profiles: what the registers of a sensor mean, and how to turn them into a value with its quality.
//!
//! ```text
//! config/measurements.toml ─► Catalogue ─┐
//! config/profiles/<id>.toml ─────────────┴► Profile ─► ProfilePoint ─► decode(registers) ─► value + quality
//! ```
//!
//! The room knows no bus, no clock, no files: texts come in, values and [`sitian_model::ConfigFault`]s go out. It
//! never guesses: a register that holds no number gives no value, and a value outside the plausible range is kept
//! and marked.
//!
//! Reading order: [`catalogue`] (which quantities exist), [`device`] (what a profile says), [`parse`] (from text,
//! with every fault found), [`decimal`] (exact scales), [`decode`] (registers to values and back), [`counter`] (totals that only grow), [`builtin`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod builtin;
pub mod catalogue;
pub mod counter;
pub mod decimal;
pub mod decode;
pub mod device;
pub mod parse;
pub mod section;

pub use builtin::{builtin, catalogue_text};
pub use catalogue::{Catalogue, Measurement, Medium};
pub use counter::{Step, Total, TotalState};
pub use decimal::Decimal;
pub use decode::{Context, decode, encode};
pub use device::{
    Counter, DecimalsRegister, Function, Kind, Order, Parity, PreRead, Profile, ProfilePoint, Range, Serial,
    Setup, StatusRegister, UnitRegister, Verified, Write,
};
