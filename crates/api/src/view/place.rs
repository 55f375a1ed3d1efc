//! Places and what stands there: the four levels, their roll-ups, gateways and devices.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Completeness, Name, Severity, Time};

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

/// State of a node in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing needs anybody.
    Ok,
    /// A blue or yellow alert fires, or a gateway is offline.
    Attention,
    /// An orange or red alert fires.
    Alert,
    /// Nothing is known: no reading with a value is younger than an hour.
    NoData,
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

/// Firing alerts by colour.
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
    /// Colour of its worst firing alert.
    pub worst_severity: Option<Severity>,
    /// Bases below.
    pub bases: u64,
    /// Bases in `attention` or `alert`.
    pub bases_attention: u64,
    /// Bases in `no_data`.
    pub bases_no_data: u64,
    /// Gateways below.
    pub gateways: u64,
    /// Gateways connected now.
    pub gateways_online: u64,
    /// Points below.
    pub points: u64,
    /// Completeness of the last hour.
    pub completeness_1h: Completeness,
    /// Firing alerts.
    pub alerts: AlertCounts,
    /// The newest reading with a value below.
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

/// `event: rollup` of the live stream: what has changed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RollupEvent {
    /// The scope and its direct children, as far as changed.
    pub items: Vec<Rollup>,
}
