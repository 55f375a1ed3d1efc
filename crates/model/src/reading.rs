//! What was measured: readings, the record that gathers one round of them, and the manifest that names their points.

use crate::{DeviceId, GatewayId, PointKey, Quality, Timestamp};

/// Position of a point in its epoch's [`Manifest`].
pub type PointIndex = u32;

/// One measured value, or the statement that there is none and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Which point, by position in the manifest of the epoch.
    pub point: PointIndex,
    /// When the device's answer arrived.
    pub at: Timestamp,
    /// The value in the point's unit; `None` exactly if the quality is bad. Always finite.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
}

/// The readings of one gather window (at most one per point): what one sequence number labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Identifies one run of the board since power-on; monotonic times of one boot are comparable.
    pub boot: u64,
    /// Monotonic milliseconds since that boot at the record's first reading.
    pub mono_ms: u64,
    /// How far the readings' times may be off, in milliseconds; `None` while the clock has never been set in this boot.
    pub uncertainty_ms: Option<u32>,
    /// In order of acceptance.
    pub readings: Vec<Reading>,
}

/// The points of one gateway during one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Whose points.
    pub gateway: GatewayId,
    /// Version of the gateway program.
    pub software: String,
    /// The devices, in configuration order.
    pub devices: Vec<DeviceInfo>,
    /// The points; a [`PointIndex`] is a position in this list.
    pub points: Vec<PointInfo>,
}

/// Most bytes of a text of a manifest: a name, a place, a unit. Some 85 Chinese characters. It stands before every row in
/// engines that name rows in full.
pub const TEXT_BYTES_MAX: usize = 256;

/// One device of a manifest. No text is longer than [`TEXT_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Unique under the gateway.
    pub id: DeviceId,
    /// What people call it, such as "3号棚 土壤".
    pub name: String,
    /// Where it stands inside the base, such as "3号棚"; may be empty.
    pub place: String,
    /// Name of its device profile.
    pub profile: String,
    /// Name of its bus.
    pub bus: String,
}

/// One point of a manifest. No text is longer than [`TEXT_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq)]
pub struct PointInfo {
    /// Position of its device in [`Manifest::devices`].
    pub device: u32,
    /// Unique under the device.
    pub key: PointKey,
    /// Name of the measurement in the catalogue (`config/measurements.toml`), such as `soil_moisture`.
    pub measurement: String,
    /// Unit symbol, such as `°C`.
    pub unit: String,
    /// Digits after the decimal point worth showing.
    pub decimals: u8,
    /// Milliseconds between two polls.
    pub interval_ms: u32,
}

/// Number of a point in the central registry. Assigned once, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PointNo(pub u32);

/// Number of an epoch in the central registry. Assigned once, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpochNo(pub u32);

/// A reading as the centre stores it. Natural key: point, time, epoch, seq.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Which point.
    pub point: PointNo,
    /// When the device's answer arrived.
    pub at: Timestamp,
    /// The value in the point's unit; `None` exactly if the quality is bad. Always finite.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
    /// Label: which epoch.
    pub epoch: EpochNo,
    /// Label: which record of the epoch.
    pub seq: crate::Seq,
}
