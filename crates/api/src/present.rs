//! From the words of the other rooms to the JSON views, so that a [`crate::Backend`] only has to fetch.
//!
//! Holds what does not change while the program runs: the zone, the territory, the catalogue and the rules.
//!
//! Reading order: this page (catalogue and points), `place` (territory, roll-ups, gateways), `series` (readings and
//! windows), `episode` (rules and alerts), `incident` (what went wrong on the way), `command` (what gateways say of commands).

use std::sync::Arc;

use sitian_alert::{self as alert, Rules};
use sitian_model::{DeviceInfo, PointId, PointInfo, Timestamp};
use sitian_profile::{self as profile, Catalogue};
use sitian_supervision::Territory;

use crate::view::{self, Name, Time};
use crate::zone::Zone;

mod command;
mod episode;
mod incident;
mod place;
mod series;

pub use command::in_words;
pub use incident::QuarantineFacts;
pub use place::GatewayFacts;

/// Turns values of other rooms into views. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Presenter {
    zone: Zone,
    territory: Arc<Territory>,
    catalogue: Arc<Catalogue>,
    rules: Arc<Rules>,
}

/// What the registry knows about a point: its newest description.
#[derive(Debug, Clone, Copy)]
pub struct PointFacts<'a> {
    /// Its name.
    pub id: &'a PointId,
    /// Its device.
    pub device: &'a DeviceInfo,
    /// The point itself.
    pub info: &'a PointInfo,
}

impl Presenter {
    /// A presenter for one territory, catalogue and set of rules.
    pub fn new(zone: Zone, territory: Arc<Territory>, catalogue: Arc<Catalogue>, rules: Arc<Rules>) -> Self {
        Self { zone, territory, catalogue, rules }
    }

    /// The zone of all times.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// A moment.
    pub fn time(&self, at: Timestamp) -> Time {
        self.zone.show(at)
    }

    /// The catalogue of measurements.
    pub fn measurements(&self) -> Vec<view::Measurement> {
        let one = |m: &profile::Measurement| view::Measurement {
            id: m.id.clone(),
            name: name(&m.name_zh, &m.name_en),
            unit: m.unit.clone(),
            decimals: m.decimals,
            medium: medium(m.medium),
        };
        self.catalogue.iter().map(one).collect()
    }

    /// A point with the limits that the alert engine says it has.
    pub fn point(&self, point: PointFacts<'_>, limits: &[alert::engine::PointLimit]) -> view::Point {
        let PointFacts { id, device, info } = point;
        view::Point {
            id: id.to_string(),
            gateway: id.gateway.to_string(),
            device: id.device.to_string(),
            device_name: device.name.clone(),
            place: device.place.clone(),
            key: id.key.to_string(),
            measurement: info.measurement.clone(),
            medium: self.catalogue.get(&info.measurement).map_or(view::Medium::Other, |m| medium(m.medium)),
            name: self.measurement_name(&info.measurement),
            unit: info.unit.clone(),
            decimals: info.decimals,
            interval_ms: u64::from(info.interval_ms),
            limits: limits.iter().map(limit).collect(),
        }
    }

    /// The name in the catalogue; a measurement that is not in it goes by its id.
    pub fn measurement_name(&self, id: &str) -> Name {
        self.catalogue.get(id).map_or_else(|| name(id, id), |m| name(&m.name_zh, &m.name_en))
    }
}

fn name(zh: &str, en: &str) -> Name {
    Name { zh: zh.to_owned(), en: en.to_owned() }
}

fn medium(medium: profile::Medium) -> view::Medium {
    match medium {
        profile::Medium::Soil => view::Medium::Soil,
        profile::Medium::Water => view::Medium::Water,
        profile::Medium::Air => view::Medium::Air,
        profile::Medium::Power => view::Medium::Power,
        profile::Medium::Other => view::Medium::Other,
    }
}

fn limit(limit: &alert::engine::PointLimit) -> view::Limit {
    let (above, below) = match limit.side {
        alert::rule::Side::Above => (Some(limit.threshold), None),
        alert::rule::Side::Below => (None, Some(limit.threshold)),
    };
    view::Limit { rule: limit.rule.clone(), severity: episode::severity(limit.severity), above, below }
}

#[cfg(test)]
mod tests;
