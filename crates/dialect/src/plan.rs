//! What is to be read on a bus.

use std::sync::Arc;

use sitian_model::PointIndex;

use crate::DialectProfile;

/// One bus: a serial line, a socket, or a listening port. All devices on it speak the same dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct BusPlan {
    /// The devices on it.
    pub devices: Vec<DevicePlan>,
    /// How long a device may take to answer, in milliseconds; at least 1.
    pub timeout_ms: u32,
    /// Silence between two conversations, in milliseconds.
    pub pause_ms: u32,
}

/// One device on a bus.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePlan {
    /// How the dialect addresses it; empty where only one device can be on the line.
    pub address: String,
    /// What its fields mean.
    pub profile: Arc<DialectProfile>,
    /// What to read. Points whose `profile_point` does not exist are left out.
    pub points: Vec<PointPlan>,
    /// Milliseconds between two readings; at least 1. Of devices that speak by themselves at most one reading of a point is
    /// taken in this time, those of HJ 212 apart, which say when each was measured.
    pub interval_ms: u32,
}

/// One point to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PointPlan {
    /// Its number in samples.
    pub point: PointIndex,
    /// Position in [`DialectProfile::points`].
    pub profile_point: usize,
}
