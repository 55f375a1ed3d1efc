//! Points and what they measured. Every shape that holds stored readings also says how complete they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Medium, Name, Severity, Time};

/// How far a value may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Nothing speaks against it.
    Good,
    /// There is a value; `cause` says what speaks against it.
    Uncertain,
    /// There is no value; `cause` says why.
    Bad,
}

/// How much of what should be there is there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Completeness {
    /// Readings that the points' intervals promise.
    #[schema(example = 3600)]
    pub expected: u64,
    /// Readings stored, of whatever quality but bad.
    #[schema(example = 3598)]
    pub stored: u64,
    /// `stored / expected`, at most 1; null if nothing is expected.
    #[schema(example = 0.9994)]
    pub ratio: Option<f64>,
}

/// One measured quantity.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// `gateway/device/key`.
    #[schema(example = "gw-620702101-01/soil-1/soil_moisture")]
    pub id: String,
    /// Which gateway reads it.
    pub gateway: String,
    /// On which device.
    pub device: String,
    /// What people call the device.
    pub device_name: String,
    /// Where the device stands.
    pub place: String,
    /// Which quantity of the device.
    pub key: String,
    /// Id in the catalogue.
    pub measurement: String,
    /// What surrounds the probe.
    pub medium: Medium,
    /// Name of the measurement.
    pub name: Name,
    /// Unit symbol.
    pub unit: String,
    /// Digits after the decimal point worth showing.
    pub decimals: u8,
    /// Milliseconds between two readings.
    pub interval_ms: u64,
    /// Limits of the rules that watch it.
    pub limits: Vec<Limit>,
}

/// A limit that a rule puts on a point: exactly one of `above` and `below` is there.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Limit {
    /// Which rule.
    pub rule: String,
    /// Colour of its alerts.
    pub severity: Severity,
    /// Values over this are outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Values under this are outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
}

/// The newest reading of a point.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Latest {
    /// `gateway/device/key`.
    pub point: String,
    /// When the device answered.
    pub at: Time,
    /// In the point's unit; null exactly if the quality is bad.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why not further.
    pub cause: Option<String>,
    /// Milliseconds from `at` to the answer.
    pub age_ms: u64,
    /// Colour of the worst firing alert of the point.
    pub alert: Option<Severity>,
    /// Means of the last hour in 30 windows of two minutes, null where there was nothing; only with `sparkline=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sparkline: Option<Vec<Option<f64>>>,
}

/// One stored reading.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Reading {
    /// When the device answered.
    pub at: Time,
    /// In the point's unit; null exactly if the quality is bad.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why not further.
    pub cause: Option<String>,
    /// Its label: the epoch of the gateway, 32 hexadecimal digits.
    #[schema(example = "8f14e45fceea167a5a36dedd4bea2543")]
    pub epoch: String,
    /// Its label: the record's sequence number within the epoch.
    pub seq: u64,
    /// A person has put this in the place of what the sensor sent, which the corrections tell.
    pub corrected: bool,
}

/// What a reading says.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Said {
    /// In the point's unit; null exactly if the quality is bad.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why not further.
    pub cause: Option<String>,
}

/// A correction of one reading.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Correction {
    /// Its number; later ones have higher numbers.
    pub id: u64,
    /// When the device answered.
    pub at: Time,
    /// The reading's label: the epoch of the gateway, 32 hexadecimal digits.
    pub epoch: String,
    /// The reading's label: the record's sequence number within the epoch.
    pub seq: u64,
    /// What it says since then.
    pub after: Said,
    /// What it said before.
    pub before: Said,
    /// Who says so, by their own statement: nobody checks it until there is access control.
    #[schema(example = "王工")]
    pub by: String,
    /// Why.
    #[schema(example = "探头校准，偏高 0.5")]
    pub note: String,
    /// When that was said.
    pub made_at: Time,
}

/// What is right, about the readings of a span: exactly one of `set`, `add` and `restore`.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Correct {
    /// First moment, RFC 3339 with offset. For a single reading its `at`.
    #[schema(example = "2026-05-04T06:00:00+08:00")]
    pub from: String,
    /// First moment outside. For a single reading a millisecond more.
    #[schema(example = "2026-05-04T07:00:00+08:00")]
    pub to: String,
    /// This value, in the point's unit; the readings are good then.
    pub set: Option<f64>,
    /// What the sensor sent and so much more, in the point's unit; readings without a value stay without.
    #[schema(example = -0.5)]
    pub add: Option<f64>,
    /// What the sensor sent, as if nobody had said anything.
    #[serde(default)]
    pub restore: bool,
    /// Who says so; 1 to 64 characters.
    #[schema(example = "王工")]
    pub by: String,
    /// Why; 1 to 500 characters.
    #[schema(example = "探头校准，偏高 0.5")]
    pub note: String,
}

/// What came of a correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Corrected {
    /// Readings that say something else now.
    pub corrected: u64,
    /// Readings of the span that said so already, or of which nothing can be said.
    pub unchanged: u64,
}

/// Readings whose time nobody knows, of one run of a gateway without a clock: they were taken somewhere between two moments.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Undated {
    /// The epoch of the gateway, 32 hexadecimal digits.
    #[schema(example = "8f14e45fceea167a5a36dedd4bea2543")]
    pub epoch: String,
    /// How many readings.
    #[schema(example = 99)]
    pub count: u64,
    /// Not before this: the newest reading of known time that lay before them on the gateway's card; null if there is none.
    pub after: Option<Time>,
    /// Not after this: by then all of them had arrived.
    pub before: Time,
}

/// Stored readings of one point.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Readings {
    /// `gateway/device/key`.
    pub point: String,
    /// Unit symbol.
    pub unit: String,
    /// In order of time.
    pub items: Vec<Reading>,
    /// Of the whole span, not only of this page.
    pub completeness: Completeness,
    /// Readings that may lie in the span too, but nobody knows when they were taken: ask for them with `undated=true`. They
    /// are stored under what the gateway's clock said.
    pub undated: Vec<Undated>,
    /// Pass it as `cursor` to get the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// One window of an aggregate. Windows without any reading are there too, with `count` 0.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Window {
    /// First moment inside.
    pub from: Time,
    /// First moment outside.
    pub to: Time,
    /// Mean of the values.
    pub mean: Option<f64>,
    /// Least value.
    pub min: Option<f64>,
    /// Greatest value.
    pub max: Option<f64>,
    /// First value.
    pub first: Option<f64>,
    /// Last value.
    pub last: Option<f64>,
    /// Sum of the values; null without any.
    pub sum: Option<f64>,
    /// Mean of the values, each weighed by how long it stood: until the next reading, at most two intervals. Only with
    /// `fn=twa`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_weighted: Option<f64>,
    /// How far a counter went up; a step down is a counter that began anew at zero. Only with `fn=increase`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increase: Option<f64>,
    /// The percentiles asked for, such as `{"p95": 25.6}`, linear between the nearest ranks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"p50": 25.1, "p99.9": 26.0}))]
    pub percentiles: BTreeMap<String, f64>,
    /// Readings with a value, good and uncertain.
    pub count: u64,
    /// How many of them are uncertain.
    pub uncertain: u64,
    /// Readings of the window that a person has corrected, those without a value too.
    pub corrected: u64,
    /// Readings that the point's interval promises.
    pub expected: u64,
    /// Readings without a value, by cause.
    pub bad: BTreeMap<String, u64>,
    /// Readings missing by reason, as in the completeness ledger: together what `expected` exceeds `count` by, but for one
    /// at the edge of the window.
    #[schema(example = json!({"timeout": 12, "gateway_down": 4}))]
    pub missing: BTreeMap<String, u64>,
}

/// Aggregates of one point.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Aggregates {
    /// `gateway/device/key`.
    pub point: String,
    /// Unit symbol.
    pub unit: String,
    /// Width of a window in milliseconds.
    pub window_ms: u64,
    /// In order of time.
    pub items: Vec<Window>,
    /// Of the whole span.
    pub completeness: Completeness,
    /// Readings missing in the whole span by reason, as in the completeness ledger.
    #[schema(example = json!({"timeout": 120, "gateway_down": 43}))]
    pub missing: BTreeMap<String, u64>,
    /// Readings that may lie in the span too, but nobody knows when they were taken: list them as readings with
    /// `undated=true`.
    pub undated: Vec<Undated>,
}

/// `event: reading` of the live stream: what is new, at most one entry per point.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReadingEvent {
    /// The newest reading of each point that has one.
    pub items: Vec<Latest>,
}
