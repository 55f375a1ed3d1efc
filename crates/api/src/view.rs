//! The JSON of the API, one type per shape. What is spelled here is what `openapi.json` says and what the console reads.
//!
//! Knows no handlers and no sources of data: every value arrives finished. Times are texts in the server's zone.
//!
//! Reading order: this page (words used everywhere), `place`, `series`, `alert`, `incident`.

use serde::Serialize;
use utoipa::ToSchema;

mod alert;
mod command;
mod incident;
mod place;
mod series;

pub use alert::*;
pub use command::*;
pub use incident::*;
pub use place::*;
pub use series::*;

/// A moment: RFC 3339 with milliseconds and the offset of the server's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-05-04T06:30:00.000+08:00")]
pub struct Time(pub String);

/// The bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct File(pub Vec<u8>);

/// A name in both languages of the console.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Name {
    /// Chinese.
    #[schema(example = "甘州区")]
    pub zh: String,
    /// English.
    #[schema(example = "Ganzhou District")]
    pub en: String,
}

/// A complete list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct List<T> {
    /// All of them.
    pub items: Vec<T>,
}

/// One page of a longer list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    /// This page.
    pub items: Vec<T>,
    /// Pass it as `cursor` to get the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// A list as it was at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Snapshot<T> {
    /// When it was true.
    pub at: Time,
    /// All of them.
    pub items: Vec<T>,
}

/// What surrounds the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// 土壤
    Soil,
    /// 水
    Water,
    /// 空气
    Air,
    /// 电
    Power,
    /// Anything else.
    Other,
}

/// Is the ingestor able to do its work?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or `degraded` when the store, the broker or the sharing of the work is not.
    #[schema(example = "ok")]
    pub status: String,
    /// Version of the ingestor.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The store.
    pub storage: StorageHealth,
    /// The link to the MQTT broker.
    pub broker: BrokerHealth,
    /// How several ingestors share the work; absent where one does all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
}

/// How several ingestors share the gateways, which fall into 64 parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sharing {
    /// False while gateways wait because nobody has their part, or while the registry does not say who has.
    pub healthy: bool,
    /// The same for people, Chinese and English.
    #[schema(example = "2 台采集服务分担 64 份网关 · 2 ingestors share the 64 parts of the gateways")]
    pub summary: String,
    /// Who has how much.
    pub members: Vec<MemberHealth>,
    /// Parts that nobody has: their gateways keep what they measure until somebody does.
    pub parts_waiting: u8,
    /// When the registry was last heard.
    pub heard_at: Option<Time>,
}

/// One of several ingestors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberHealth {
    /// Its name and the number of its start.
    #[schema(example = "centre-a#5f0c27a11b3e9d04")]
    pub member: String,
    /// Where its console and API listen.
    #[schema(example = "http://10.0.0.5:8340")]
    pub url: String,
    /// True for the one that answers this.
    pub this: bool,
    /// Parts of the gateways that it has.
    pub parts: u8,
    /// Known gateways in them.
    pub gateways: u64,
}

/// State of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StorageHealth {
    /// False while commits fail.
    pub healthy: bool,
    /// Since when they fail.
    pub since: Option<Time>,
    /// Why, in words; the log says more.
    #[schema(example = "the registry does not answer")]
    pub why: Option<String>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Readings committed since the process started.
    pub readings_since_start: u64,
    /// Points registered.
    pub points: u64,
    /// The last durable commit.
    pub committed_at: Option<Time>,
}

/// State of the link to the MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BrokerHealth {
    /// Connected now.
    pub up: bool,
    /// Since when it has been up, or down.
    pub since: Option<Time>,
}

/// One entry of the catalogue of measurements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Measurement {
    /// Stable id.
    #[schema(example = "soil_moisture")]
    pub id: String,
    /// What people call it.
    pub name: Name,
    /// Unit symbol.
    #[schema(example = "%")]
    pub unit: String,
    /// Digits after the decimal point worth showing.
    pub decimals: u8,
    /// What surrounds the probe.
    pub medium: Medium,
}

/// What went wrong (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// Stable: what programs decide by.
    #[serde(rename = "type")]
    #[schema(example = "/problems/not-found")]
    pub kind: String,
    /// The same in words.
    #[schema(example = "Not found")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// What exactly, and what to do.
    #[schema(example = "there is no such base")]
    pub detail: String,
    /// A window that would fit, when `window` was too small for the span; as accepted by `window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "15m")]
    pub suggested_window: Option<String>,
}
