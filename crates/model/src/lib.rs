//! The words of Sitian: ids, readings, quality, time with its uncertainty, labels and batches.
//!
//! Everything that crosses a wall between two rooms is spelled here, once. The room knows no sockets, files, clocks
//! or formats; it does nothing beyond construction and display.
//!
//! Reading order: [`id`] (who and where), [`time`] (when), [`quality`] (how good), [`reading`] (what), [`correction`] (what instead),
//! [`batch`] (what travels), [`severity`] (how bad), [`slot`] (how the work is shared), [`fault`] (what is wrong with a
//! configuration text), [`mutant`] (mistakes that the tests must catch; in no product).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod correction;
pub mod fault;
pub mod id;
pub mod mutant;
pub mod quality;
pub mod reading;
pub mod severity;
pub mod slot;
pub mod time;

pub use batch::{Ack, Action, Batch, Clock, Entry, Epoch, Gap, GapReason, Held, Lane, Seq, SpoolState};
pub use correction::{Correction, CorrectionStored};
pub use fault::ConfigFault;
pub use id::{BaseId, DeviceId, GatewayId, IdError, PointId, PointKey};
pub use mutant::Mutant;
pub use quality::{Cause, Quality};
pub use reading::{
    DeviceInfo, EpochNo, Manifest, PointIndex, PointInfo, PointNo, Reading, Record, Row, TEXT_BYTES_MAX,
};
pub use severity::Severity;
pub use slot::{Numbers, Slot};
pub use time::{Span, Timestamp};
