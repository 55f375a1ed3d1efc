//! The text forms of the engine's memory: TOML, so that a person can read a store.

use serde::{Deserialize, Serialize};
use sitian_model::{BaseId, GatewayId, PointId, PointNo, Timestamp};

use crate::{Acknowledgement, Episode, Phase, Severity, Subject};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CounterText {
    pub episodes_begun: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneText {
    pub last_at: i64,
    pub heard_at: i64,
    pub episode: EpisodeText,
    pub levels: Vec<LevelText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LevelText {
    pub severity: String,
    pub active: bool,
    /// Both or none: held for so long, last at that time.
    pub held_ms: Option<i64>,
    pub last_at: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SilenceText {
    pub reference: i64,
    pub episode: EpisodeText,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewayText {
    pub online: bool,
    pub since: Option<i64>,
    pub heard_at: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpisodeText {
    id: u64,
    rule: String,
    severity: String,
    severity_worst: String,
    point_no: Option<u32>,
    point: Option<String>,
    gateway: Option<String>,
    base: Option<String>,
    phase: String,
    started_at: i64,
    fired_at: Option<i64>,
    resolved_at: Option<i64>,
    value: Option<f64>,
    threshold: Option<f64>,
    peak: Option<f64>,
    late: bool,
    acknowledged: Option<AcknowledgementText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcknowledgementText {
    by: String,
    at: i64,
    note: String,
    severity: String,
}

impl From<&Episode> for EpisodeText {
    fn from(e: &Episode) -> Self {
        let (point_no, point, gateway) = match &e.subject {
            Subject::Point(no, id) => (Some(no.0), Some(id.to_string()), None),
            Subject::Gateway(id) => (None, None, Some(id.to_string())),
        };
        Self {
            id: e.id,
            rule: e.rule.clone(),
            severity: e.severity.word().into(),
            severity_worst: e.severity_worst.word().into(),
            point_no,
            point,
            gateway,
            base: e.base.as_ref().map(ToString::to_string),
            phase: e.phase.word().into(),
            started_at: e.started_at.0,
            fired_at: e.fired_at.map(|t| t.0),
            resolved_at: e.resolved_at.map(|t| t.0),
            value: e.value,
            threshold: e.threshold,
            peak: e.peak,
            late: e.late,
            acknowledged: e.acknowledged.as_ref().map(|a| AcknowledgementText {
                by: a.by.clone(),
                at: a.at.0,
                note: a.note.clone(),
                severity: a.severity.word().into(),
            }),
        }
    }
}

impl EpisodeText {
    /// `None` if a word or an id is not one.
    pub(crate) fn read(&self) -> Option<Episode> {
        let subject = match (&self.point_no, &self.point, &self.gateway) {
            (Some(no), Some(id), None) => Subject::Point(PointNo(*no), PointId::parse(id).ok()?),
            (None, None, Some(id)) => Subject::Gateway(GatewayId::new(id).ok()?),
            _ => return None,
        };
        let acknowledged = match &self.acknowledged {
            Some(a) => Some(Acknowledgement {
                by: a.by.clone(),
                at: Timestamp(a.at),
                note: a.note.clone(),
                severity: Severity::parse(&a.severity)?,
            }),
            None => None,
        };
        Some(Episode {
            id: self.id,
            rule: self.rule.clone(),
            severity: Severity::parse(&self.severity)?,
            severity_worst: Severity::parse(&self.severity_worst)?,
            subject,
            base: self.base.as_deref().map(BaseId::new).transpose().ok()?,
            phase: Phase::parse(&self.phase)?,
            started_at: Timestamp(self.started_at),
            fired_at: self.fired_at.map(Timestamp),
            resolved_at: self.resolved_at.map(Timestamp),
            acknowledged,
            value: self.value,
            threshold: self.threshold,
            peak: self.peak,
            late: self.late,
        })
    }
}
