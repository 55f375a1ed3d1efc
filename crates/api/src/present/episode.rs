//! Rules and episodes, with every name resolved.

use sitian_alert::rule::{Rule, Silent};
use sitian_alert::{self as alert, Episode, Subject, rule::Condition, rule::Side};
use sitian_model::GatewayId;

use super::{PointFacts, Presenter, name};
use crate::view;

impl Presenter {
    /// The alert rules, in the order of their files.
    pub fn rules(&self) -> Vec<view::Rule> {
        let one = |rule: &Rule| view::Rule {
            id: rule.id.clone(),
            name: name(&rule.name_zh, &rule.name_en),
            severity: severity(rule.severity()),
            kind: kind(&rule.condition),
            measurement: rule.scope.measurement.clone(),
            condition: rule.condition.to_string(),
            source: rule.source.clone(),
            verified: !rule.verified.needs_check(),
        };
        self.rules.iter().map(one).collect()
    }

    /// An episode. `point` is what the registry knows about its subject, if that is a point.
    pub fn alert(&self, episode: &Episode, point: Option<PointFacts<'_>>) -> view::Alert {
        let rule = self.rules.get(&episode.rule);
        // A rule that is gone from the files leaves its episodes behind.
        let kind = rule.map_or_else(|| kind_without_rule(episode), |rule| kind(&rule.condition));
        let is_value = matches!(kind, view::RuleKind::Above | view::RuleKind::Below);
        let unit = if is_value { point.map_or("", |p| &p.info.unit) } else { "ms" };
        let seen = episode.acknowledged.as_ref().filter(|_| episode.is_acknowledged());
        view::Alert {
            id: episode.id,
            rule: episode.rule.clone(),
            rule_name: rule
                .map_or_else(|| name(&episode.rule, &episode.rule), |r| name(&r.name_zh, &r.name_en)),
            severity: severity(episode.severity),
            worst_severity: severity(episode.severity_worst),
            phase: phase(episode.phase),
            kind,
            subject: self.subject(&episode.subject, point),
            base: self.base_ref(episode),
            breadcrumb: self.way_to(episode),
            started_at: self.time(episode.started_at),
            fired_at: episode.fired_at.map(|at| self.time(at)),
            resolved_at: episode.resolved_at.map(|at| self.time(at)),
            acknowledged: seen.map(|seen| view::Acknowledged {
                by: seen.by.clone(),
                at: self.time(seen.at),
                note: seen.note.clone(),
            }),
            value: episode.value,
            threshold: episode.threshold,
            peak: episode.peak,
            unit: unit.to_owned(),
            late: episode.late,
            source: rule.map(|rule| rule.source.clone()).unwrap_or_default(),
        }
    }

    /// True if the episode happens at this node or below it. One at no base belongs to the first city.
    pub fn is_within(&self, episode: &Episode, scope: &str) -> bool {
        match &episode.base {
            Some(base) if self.territory.node(base.as_str()).is_some() => {
                self.territory.contains(scope, base.as_str())
            }
            _ => self.territory.root().is_some_and(|root| root.id == scope),
        }
    }

    fn subject(&self, subject: &Subject, point: Option<PointFacts<'_>>) -> view::Subject {
        let (kind, id, name) = match subject {
            Subject::Gateway(gateway) => {
                (view::SubjectType::Gateway, gateway.to_string(), gateway_name(gateway))
            }
            Subject::Point(_, id) => {
                let name = match point {
                    Some(point) => {
                        let measured = self.measurement_name(&point.info.measurement);
                        let device = &point.device.name;
                        name(&format!("{device} {}", measured.zh), &format!("{device} {}", measured.en))
                    }
                    None => name(&id.to_string(), &id.to_string()),
                };
                (view::SubjectType::Point, id.to_string(), name)
            }
        };
        view::Subject { kind, id, name }
    }

    fn base_ref(&self, episode: &Episode) -> Option<view::BaseRef> {
        let base = self.territory.node(episode.base.as_ref()?.as_str())?;
        Some(view::BaseRef { id: base.id.clone(), name: name(&base.name_zh, &base.name_en) })
    }

    fn way_to(&self, episode: &Episode) -> Vec<view::Crumb> {
        let way = episode.base.as_ref().map(|base| self.breadcrumb(base.as_str())).unwrap_or_default();
        match self.territory.root() {
            // Nothing that needs somebody may be out of everybody's sight.
            Some(root) if way.is_empty() => self.breadcrumb(&root.id),
            _ => way,
        }
    }
}

fn gateway_name(gateway: &GatewayId) -> view::Name {
    name(&format!("网关 {gateway}"), &format!("Gateway {gateway}"))
}

pub(super) fn severity(severity: alert::Severity) -> view::Severity {
    match severity {
        alert::Severity::Blue => view::Severity::Blue,
        alert::Severity::Yellow => view::Severity::Yellow,
        alert::Severity::Orange => view::Severity::Orange,
        alert::Severity::Red => view::Severity::Red,
    }
}

fn phase(phase: alert::Phase) -> view::Phase {
    match phase {
        alert::Phase::Pending => view::Phase::Pending,
        alert::Phase::Firing => view::Phase::Firing,
        alert::Phase::Resolved => view::Phase::Resolved,
    }
}

fn kind(condition: &Condition) -> view::RuleKind {
    match condition {
        Condition::Value { side: Side::Above, .. } => view::RuleKind::Above,
        Condition::Value { side: Side::Below, .. } => view::RuleKind::Below,
        Condition::Silence { of: Silent::Point, .. } => view::RuleKind::NoData,
        Condition::Silence { of: Silent::Gateway, .. } => view::RuleKind::GatewayOffline,
    }
}

fn kind_without_rule(episode: &Episode) -> view::RuleKind {
    match (&episode.subject, episode.peak.zip(episode.threshold)) {
        (Subject::Gateway(_), _) => view::RuleKind::GatewayOffline,
        (Subject::Point(..), None) => view::RuleKind::NoData,
        (Subject::Point(..), Some((peak, threshold))) if peak < threshold => view::RuleKind::Below,
        (Subject::Point(..), Some(_)) => view::RuleKind::Above,
    }
}
