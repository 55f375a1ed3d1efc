//! Places, their roll-ups, and the gateways that stand there.

use sitian_model::{DeviceInfo, GatewayId, SpoolState, Timestamp};
use sitian_supervision::{self as supervision, Level, Node, Position, State};

use super::{Presenter, episode, name};
use crate::backend::BackendError;
use crate::view;

/// What the program knows about a gateway.
#[derive(Debug, Clone, Copy)]
pub struct GatewayFacts<'a> {
    /// Its name.
    pub id: &'a GatewayId,
    /// Connected now.
    pub online: bool,
    /// Since when it has been online, or offline.
    pub since: Option<Timestamp>,
    /// The last message from it.
    pub last_seen_at: Option<Timestamp>,
    /// Version of its program, from its newest manifest.
    pub software: Option<&'a str>,
    /// Its queue on disk, from its newest batch.
    pub spool: Option<SpoolState>,
    /// The devices of its newest manifest.
    pub devices: &'a [DeviceInfo],
}

impl Presenter {
    /// The whole territory, parents before children.
    pub fn tree(&self) -> Vec<view::Node> {
        self.territory.nodes().map(node).collect()
    }

    /// From the city down to the node itself; empty for an unknown id.
    pub fn breadcrumb(&self, id: &str) -> Vec<view::Crumb> {
        let crumb = |node: &Node| view::Crumb {
            id: node.id.clone(),
            level: level(node.level),
            name: name(&node.name_zh, &node.name_en),
        };
        self.territory.breadcrumb(id).into_iter().map(crumb).collect()
    }

    /// The roll-ups of a node and of `depth` levels below it, as `rollup` knows them.
    ///
    /// # Errors
    /// There is no such node.
    pub fn rollups(
        &self,
        scope: &str,
        depth: u8,
        rollup: impl Fn(&str) -> Option<supervision::Rollup>,
    ) -> Result<Vec<view::Rollup>, BackendError> {
        self.place(scope)?;
        let nodes = self.territory.descendants(scope, usize::from(depth));
        Ok(nodes.into_iter().filter_map(|node| rollup(&node.id)).map(|r| self.rollup(&r)).collect())
    }

    /// A node's page.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node_page(
        &self,
        id: &str,
        rollup: impl Fn(&str) -> Option<supervision::Rollup>,
    ) -> Result<view::NodePage, BackendError> {
        let found = self.place(id)?;
        let one = |id: &str| rollup(id).map(|r| self.rollup(&r)).ok_or(BackendError::NotFound("place"));
        let child =
            |below: &Node| one(&below.id).map(|rollup| view::NodeWithRollup { node: node(below), rollup });
        Ok(view::NodePage {
            node: node(found),
            breadcrumb: self.breadcrumb(id),
            rollup: one(id)?,
            children: self.territory.children(id).into_iter().map(child).collect::<Result<_, _>>()?,
        })
    }

    /// A base's page; `gateways` are those that [`Self::base`] names, as [`Self::gateway`] shows them.
    ///
    /// # Errors
    /// There is no such base.
    pub fn base_page(
        &self,
        id: &str,
        rollup: &supervision::Rollup,
        gateways: Vec<view::Gateway>,
    ) -> Result<view::BasePage, BackendError> {
        let node = node(self.base(id)?);
        Ok(view::BasePage { node, breadcrumb: self.breadcrumb(id), rollup: self.rollup(rollup), gateways })
    }

    /// The node of this id.
    ///
    /// # Errors
    /// There is no such node.
    pub fn place(&self, id: &str) -> Result<&Node, BackendError> {
        self.territory.node(id).ok_or(BackendError::NotFound("place"))
    }

    /// The base of this id, with the ids of its gateways.
    ///
    /// # Errors
    /// There is no such base.
    pub fn base(&self, id: &str) -> Result<&Node, BackendError> {
        let base = self.territory.node(id).filter(|node| node.level == Level::Base);
        base.ok_or(BackendError::NotFound("base"))
    }

    /// A roll-up.
    pub fn rollup(&self, rollup: &supervision::Rollup) -> view::Rollup {
        let (completeness, alerts) = (&rollup.completeness_1h, &rollup.alerts);
        view::Rollup {
            id: rollup.id.clone(),
            level: level(rollup.level),
            state: state(rollup.state),
            worst_severity: rollup.worst_severity.map(episode::severity),
            bases: u64::from(rollup.bases),
            bases_attention: u64::from(rollup.bases_attention),
            bases_no_data: u64::from(rollup.bases_no_data),
            gateways: u64::from(rollup.gateways),
            gateways_online: u64::from(rollup.gateways_online),
            points: u64::from(rollup.points),
            completeness_1h: view::Completeness {
                expected: completeness.expected,
                stored: completeness.stored,
                ratio: completeness.ratio(),
            },
            alerts: view::AlertCounts {
                blue: u64::from(alerts.blue),
                yellow: u64::from(alerts.yellow),
                orange: u64::from(alerts.orange),
                red: u64::from(alerts.red),
                unacknowledged: u64::from(alerts.unacknowledged),
            },
            last_reading_at: rollup.last_reading_at.map(|at| self.time(at)),
        }
    }

    /// A gateway.
    pub fn gateway(&self, facts: GatewayFacts<'_>) -> view::Gateway {
        let device = |device: &DeviceInfo| view::Device {
            id: device.id.to_string(),
            name: device.name.clone(),
            place: device.place.clone(),
            profile: device.profile.clone(),
            bus: device.bus.clone(),
        };
        view::Gateway {
            id: facts.id.to_string(),
            online: facts.online,
            since: facts.since.map(|at| self.time(at)),
            last_seen_at: facts.last_seen_at.map(|at| self.time(at)),
            software: facts.software.map(str::to_owned),
            spool: facts.spool.map(|spool| view::Spool {
                bytes: spool.bytes,
                bytes_max: spool.bytes_max,
                backlog: spool.backlog,
                lost: spool.lost,
                healthy: spool.healthy,
            }),
            devices: facts.devices.iter().map(device).collect(),
        }
    }
}

fn node(node: &Node) -> view::Node {
    let code = |code: &supervision::Code| view::Code { system: code.system.clone(), code: code.code.clone() };
    view::Node {
        id: node.id.clone(),
        level: level(node.level),
        parent: node.parent.clone(),
        name: name(&node.name_zh, &node.name_en),
        codes: node.codes.iter().map(code).collect(),
        longitude: Some(node.longitude),
        latitude: Some(node.latitude),
        position: match node.position {
            Position::Exact => view::Position::Exact,
            Position::Seat => view::Position::Seat,
            Position::Schematic => view::Position::Schematic,
        },
        area_mu: node.area_mu,
        gateways: node.gateways.iter().map(GatewayId::to_string).collect(),
    }
}

fn level(level: Level) -> view::Level {
    match level {
        Level::City => view::Level::City,
        Level::County => view::Level::County,
        Level::Town => view::Level::Town,
        Level::Base => view::Level::Base,
    }
}

fn state(state: State) -> view::State {
    match state {
        State::Ok => view::State::Ok,
        State::NoData => view::State::NoData,
        State::Attention => view::State::Attention,
        State::Alert => view::State::Alert,
    }
}
