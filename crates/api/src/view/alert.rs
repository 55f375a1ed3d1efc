//! Rules and the alerts they raise.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Crumb, Name, Time};

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

/// One alert rule.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Rule {
    /// Stable id.
    #[schema(example = "water-ec-high")]
    pub id: String,
    /// What people call it.
    pub name: Name,
    /// The worst colour of its alerts.
    pub severity: Severity,
    /// What it watches for.
    pub kind: RuleKind,
    /// Which measurement it watches; null for gateways and for every measurement.
    pub measurement: Option<String>,
    /// The condition in words and numbers.
    #[schema(example = "> 700 yellow, > 3000 red, for 1 min, clears at 650, 2800")]
    pub condition: String,
    /// The standard or the person it comes from.
    pub source: String,
    /// True if somebody has checked the limit against its source.
    pub verified: bool,
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
    /// Its colour now; after the end the last one.
    pub severity: Severity,
    /// Its worst colour.
    pub worst_severity: Severity,
    /// Where it is in its life.
    pub phase: Phase,
    /// What the rule watches for.
    pub kind: RuleKind,
    /// What it is about.
    pub subject: Subject,
    /// Where; null if the gateway belongs to no base, the breadcrumb is then the first city.
    pub base: Option<BaseRef>,
    /// From the city down to the base.
    pub breadcrumb: Vec<Crumb>,
    /// When the condition began to hold.
    pub started_at: Time,
    /// When it had held for long enough.
    pub fired_at: Option<Time>,
    /// When it was over.
    pub resolved_at: Option<Time>,
    /// Who has seen it; null again once it has become worse than what was seen.
    pub acknowledged: Option<Acknowledged>,
    /// The value that last touched it.
    pub value: Option<f64>,
    /// The limit.
    pub threshold: Option<f64>,
    /// The worst value so far.
    pub peak: Option<f64>,
    /// Unit of the values; `ms` for silence, whose `threshold` is a duration.
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
