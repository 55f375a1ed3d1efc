//! The JSON of the API, one type per shape. What is spelled here is what `openapi.json` says and what the console reads.
//!
//! Knows no handlers and no sources of data: every value arrives finished. Times are texts in the server's zone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A moment: RFC 3339 with milliseconds and the offset of the server's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-05-04T06:30:00.000+08:00")]
pub struct Time(pub String);

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

/// Level of a node in the supervision network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// 市
    City,
    /// 县区
    County,
    /// 乡镇
    Town,
    /// 基地
    Base,
}

/// How trustworthy a node's coordinates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Surveyed at the place itself.
    Exact,
    /// The seat of its government.
    Seat,
    /// Chosen so that the picture reads well.
    Schematic,
}

/// The four warning colours, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// 蓝
    Blue,
    /// 黄
    Yellow,
    /// 橙
    Orange,
    /// 红
    Red,
}

/// State of a node in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing needs anybody.
    Ok,
    /// A mild alert, or data is incomplete.
    Attention,
    /// A severe alert is open.
    Alert,
    /// Nothing is known.
    NoData,
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

/// What a rule watches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// A value over a limit.
    Above,
    /// A value under a limit.
    Below,
    /// A point that has fallen silent.
    NoData,
    /// A gateway that is not connected.
    GatewayOffline,
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The condition holds, but not yet for long enough.
    Pending,
    /// Open.
    Firing,
    /// Over.
    Resolved,
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectType {
    /// One measured quantity; the id is `gateway/device/key`.
    Point,
    /// One gateway.
    Gateway,
}

/// Is the ingestor able to do its work?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or `degraded` when the store or the broker is not.
    #[schema(example = "ok")]
    pub status: String,
    /// Version of the ingestor.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The store.
    pub storage: StorageHealth,
    /// The link to the MQTT broker.
    pub broker: BrokerHealth,
}

/// State of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StorageHealth {
    /// False while commits fail.
    pub healthy: bool,
    /// Bytes on disk.
    pub bytes: u64,
    /// Readings committed since the process started.
    pub readings: u64,
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

/// One alert rule.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Rule {
    /// Stable id.
    #[schema(example = "irrigation-ec-high")]
    pub id: String,
    /// What people call it.
    pub name: Name,
    /// Colour of its alerts.
    pub severity: Severity,
    /// What it watches for.
    pub kind: RuleKind,
    /// Which measurement it watches; null for gateways and for every measurement.
    pub measurement: Option<String>,
    /// The condition in words and numbers.
    #[schema(example = "> 2 for 10 min, clears at 1.8")]
    pub condition: String,
    /// The standard or the person it comes from.
    pub source: String,
    /// True if somebody has checked the limit against its source.
    pub verified: bool,
}

/// A code of a place in some register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Code {
    /// Which register.
    #[schema(example = "gb2260")]
    pub system: String,
    /// The code there.
    #[schema(example = "620702")]
    pub code: String,
}

/// One place of the supervision network.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Node {
    /// Stable slug.
    #[schema(example = "zhangye-ganzhou")]
    pub id: String,
    /// Which of the four levels.
    pub level: Level,
    /// The node above; null for the city.
    pub parent: Option<String>,
    /// What people call it.
    pub name: Name,
    /// Its codes in official registers.
    pub codes: Vec<Code>,
    /// Degrees east.
    #[schema(example = 100.45)]
    pub longitude: Option<f64>,
    /// Degrees north.
    #[schema(example = 38.93)]
    pub latitude: Option<f64>,
    /// How trustworthy the coordinates are.
    pub position: Position,
    /// Area in mu (1/15 hectare), as far as known.
    pub area_mu: Option<f64>,
    /// Ids of its gateways; bases only.
    pub gateways: Vec<String>,
}

/// One step of the way from the city down to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Crumb {
    /// Which node.
    pub id: String,
    /// Its level.
    pub level: Level,
    /// Its name.
    pub name: Name,
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

/// Open alerts by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct AlertCounts {
    /// 蓝
    pub blue: u64,
    /// 黄
    pub yellow: u64,
    /// 橙
    pub orange: u64,
    /// 红
    pub red: u64,
    /// How many of them nobody has acknowledged.
    pub unacknowledged: u64,
}

/// The state of a node and of everything below it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Rollup {
    /// Which node.
    #[schema(example = "zhangye")]
    pub id: String,
    /// Its level.
    pub level: Level,
    /// In one word.
    pub state: State,
    /// Colour of its worst open alert.
    pub worst_severity: Option<Severity>,
    /// Bases below.
    pub bases: u64,
    /// Bases that are not `ok`.
    pub bases_attention: u64,
    /// Gateways below.
    pub gateways: u64,
    /// Gateways connected now.
    pub gateways_online: u64,
    /// Points below.
    pub points: u64,
    /// Completeness of the last hour.
    pub completeness_1h: Completeness,
    /// Open alerts.
    pub alerts: AlertCounts,
    /// The newest reading below.
    pub last_reading_at: Option<Time>,
}

/// A node beside its roll-up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct NodeWithRollup {
    /// The node.
    pub node: Node,
    /// Its state.
    pub rollup: Rollup,
}

/// All that a level's page needs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct NodePage {
    /// The node.
    pub node: Node,
    /// From the city down to the node itself.
    pub breadcrumb: Vec<Crumb>,
    /// Its state.
    pub rollup: Rollup,
    /// The nodes directly below.
    pub children: Vec<NodeWithRollup>,
}

/// All that a base's page needs besides its readings.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BasePage {
    /// The base.
    pub node: Node,
    /// From the city down to the base itself.
    pub breadcrumb: Vec<Crumb>,
    /// Its state.
    pub rollup: Rollup,
    /// Its gateways.
    pub gateways: Vec<Gateway>,
}

/// One gateway of a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Gateway {
    /// Stable id.
    #[schema(example = "gw-620702101-01")]
    pub id: String,
    /// Connected now.
    pub online: bool,
    /// Since when it has been online, or offline; null if it was never seen.
    pub since: Option<Time>,
    /// The last message from it.
    pub last_seen_at: Option<Time>,
    /// Version of its program.
    pub software: Option<String>,
    /// Its queue on disk, as it last said.
    pub spool: Option<Spool>,
    /// The devices on its buses.
    pub devices: Vec<Device>,
}

/// A gateway's queue on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Spool {
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes allowed on disk.
    pub bytes_max: u64,
    /// Records not yet committed centrally.
    pub backlog: u64,
    /// Records lost since its process started.
    pub lost: u64,
    /// False while its disk refuses writes.
    pub healthy: bool,
}

/// One device on a bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Device {
    /// Unique under its gateway.
    #[schema(example = "soil-1")]
    pub id: String,
    /// What people call it.
    #[schema(example = "3号棚 土壤")]
    pub name: String,
    /// Where it stands inside the base; may be empty.
    #[schema(example = "3号棚")]
    pub place: String,
    /// Name of its device profile.
    pub profile: String,
    /// Name of its bus.
    pub bus: String,
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
    /// Readings with a value, good and uncertain.
    pub count: u64,
    /// How many of them are uncertain.
    pub uncertain: u64,
    /// Readings that the point's interval promises.
    pub expected: u64,
    /// Readings without a value, by cause.
    pub bad: BTreeMap<String, u64>,
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
}

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Subject {
    /// A point or a gateway.
    #[serde(rename = "type")]
    pub kind: SubjectType,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: Name,
}

/// A base in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BaseRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Name,
}

/// Who has seen an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
    /// What they wrote.
    pub note: String,
}

/// One alert: one time that one rule was broken by one subject.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Alert {
    /// Stable number.
    #[schema(example = 17)]
    pub id: u64,
    /// Id of the rule.
    pub rule: String,
    /// Name of the rule.
    pub rule_name: Name,
    /// Its colour.
    pub severity: Severity,
    /// Where it is in its life.
    pub phase: Phase,
    /// What the rule watches for.
    pub kind: RuleKind,
    /// What it is about.
    pub subject: Subject,
    /// Where; null if the gateway belongs to no base.
    pub base: Option<BaseRef>,
    /// From the city down to the base.
    pub breadcrumb: Vec<Crumb>,
    /// When the condition began to hold.
    pub started_at: Time,
    /// When it had held for long enough.
    pub fired_at: Option<Time>,
    /// When it was over.
    pub resolved_at: Option<Time>,
    /// Who has seen it.
    pub acknowledged: Option<Acknowledged>,
    /// The value that last touched it.
    pub value: Option<f64>,
    /// The limit.
    pub threshold: Option<f64>,
    /// The worst value so far.
    pub peak: Option<f64>,
    /// Unit of the values; empty for gateways.
    pub unit: String,
    /// True if it was found in late data and paged nobody.
    pub late: bool,
    /// The standard or the person that the limit comes from.
    pub source: String,
}

/// One page of alerts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlertPage {
    /// This page, newest first.
    pub items: Vec<Alert>,
    /// Pass it as `cursor` to get the next page; null on the last one.
    pub next_cursor: Option<String>,
    /// Pass it as `after` to a stream: it then tells all that has happened since this answer.
    #[schema(example = "41")]
    pub log_cursor: String,
}

/// What to write when acknowledging an alert.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// Who acknowledges: 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64, example = "王建国")]
    pub by: String,
    /// A remark of at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500, example = "去现场看过，阀门已关")]
    pub note: String,
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

/// `event: reading` of the live stream: what is new, at most one entry per point.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReadingEvent {
    /// The newest reading of each point that has one.
    pub items: Vec<Latest>,
}

/// `event: rollup` of the live stream: what has changed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RollupEvent {
    /// The scope and its direct children, as far as changed.
    pub items: Vec<Rollup>,
}
