//! The tree of places: exactly four levels, cities on top. [`parse`] reads it from TOML.

use std::collections::HashMap;

use sitian_model::{BaseId, GatewayId};

pub mod parse;

/// The built-in sample territory: file name and text.
pub fn builtin() -> (&'static str, &'static str) {
    ("config/territory/zhangye.toml", include_str!("../../../config/territory/zhangye.toml"))
}

/// The four levels, widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

impl Level {
    /// Every level, widest first.
    pub const ALL: [Self; 4] = [Self::City, Self::County, Self::Town, Self::Base];

    /// A stable lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::County => "county",
            Self::Town => "town",
            Self::Base => "base",
        }
    }
}

/// How trustworthy a node's coordinates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// Surveyed at the place itself.
    Exact,
    /// The seat of its government, about 1 km.
    Seat,
    /// Chosen so that the picture reads well.
    Schematic,
}

impl Position {
    /// A stable lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Seat => "seat",
            Self::Schematic => "schematic",
        }
    }
}

/// A code of a place in an official register. An attribute, never a key: the registers disagree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Code {
    /// `gb2260` (six digits; cities and counties), `nbs` or `mca` (nine digits; towns).
    pub system: String,
    /// Digits.
    pub code: String,
    /// First day of validity as `YYYY-MM-DD`, if known.
    pub valid_from: Option<String>,
}

/// One place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Stable slug, unique over all levels: `a-z 0-9 -`, at most 48 characters.
    pub id: String,
    /// Which level.
    pub level: Level,
    /// The node above; `None` exactly for cities.
    pub parent: Option<String>,
    /// Chinese name.
    pub name_zh: String,
    /// English name.
    pub name_en: String,
    /// Codes in official registers, at most one per system.
    pub codes: Vec<Code>,
    /// Degrees east.
    pub longitude: f64,
    /// Degrees north.
    pub latitude: f64,
    /// How trustworthy the coordinates are.
    pub position: Position,
    /// Area in mu (1/15 hectare), positive, if known.
    pub area_mu: Option<f64>,
    /// Its gateways; bases only.
    pub gateways: Vec<GatewayId>,
}

impl Node {
    /// The id as a base id; `None` for the other levels.
    pub fn base_id(&self) -> Option<BaseId> {
        if self.level == Level::Base { BaseId::new(&self.id).ok() } else { None }
    }
}

/// Position of a node in [`Territory::nodes`].
pub(crate) type NodeNo = usize;

/// The whole tree. Parents come before their children; within a level the order of the file is kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Territory {
    nodes: Vec<Node>,
    parents: Vec<Option<NodeNo>>,
    children: Vec<Vec<NodeNo>>,
    by_id: HashMap<String, NodeNo>,
    by_gateway: HashMap<GatewayId, NodeNo>,
}

impl Territory {
    /// Links nodes that [`parse`] has found sound, parents first.
    pub(crate) fn link(nodes: Vec<Node>) -> Self {
        let by_id: HashMap<_, _> = nodes.iter().enumerate().map(|(n, node)| (node.id.clone(), n)).collect();
        let parent = |node: &Node| node.parent.as_ref().and_then(|id| by_id.get(id).copied());
        let parents: Vec<_> = nodes.iter().map(parent).collect();
        let mut children = vec![Vec::new(); nodes.len()];
        for (n, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent].push(n);
            }
        }
        let gateways =
            |(n, node): (NodeNo, &Node)| node.gateways.iter().map(|g| (g.clone(), n)).collect::<Vec<_>>();
        let by_gateway = nodes.iter().enumerate().flat_map(gateways).collect();
        Self { nodes, parents, children, by_id, by_gateway }
    }

    /// Every node, parents before their children.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.iter()
    }

    /// The node of this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.number(id).map(|n| &self.nodes[n])
    }

    /// The first city: the scope to begin with.
    pub fn root(&self) -> Option<&Node> {
        self.nodes.first()
    }

    /// The nodes directly below, in the order of the file; empty for bases and unknown ids.
    pub fn children(&self, id: &str) -> Vec<&Node> {
        let children = self.number(id).map(|n| self.children[n].as_slice()).unwrap_or_default();
        children.iter().map(|n| &self.nodes[*n]).collect()
    }

    /// From the city down to the node itself; empty for an unknown id.
    pub fn breadcrumb(&self, id: &str) -> Vec<&Node> {
        let mut way: Vec<_> =
            self.number(id).into_iter().flat_map(|n| self.upward(n)).map(|n| &self.nodes[n]).collect();
        way.reverse();
        way
    }

    /// The node and everything below it, parents first; `depth` levels below at most. Empty for an unknown id.
    pub fn descendants(&self, id: &str, depth: usize) -> Vec<&Node> {
        let Some(start) = self.number(id) else { return Vec::new() };
        let (mut all, mut layer) = (vec![start], vec![start]);
        for _ in 0..depth.min(Level::ALL.len()) {
            layer = layer.iter().flat_map(|n| self.children[*n].iter().copied()).collect();
            all.extend(&layer);
        }
        all.into_iter().map(|n| &self.nodes[n]).collect()
    }

    /// True if `node` is `scope` or lies below it. False if either is unknown.
    pub fn contains(&self, scope: &str, node: &str) -> bool {
        match (self.number(scope), self.number(node)) {
            (Some(scope), Some(node)) => self.upward(node).any(|n| n == scope),
            _ => false,
        }
    }

    /// The base that a gateway stands in.
    pub fn base_of(&self, gateway: &GatewayId) -> Option<&Node> {
        self.by_gateway.get(gateway).map(|n| &self.nodes[*n])
    }

    pub(crate) fn number(&self, id: &str) -> Option<NodeNo> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn number_of_base(&self, gateway: &GatewayId) -> Option<NodeNo> {
        self.by_gateway.get(gateway).copied()
    }

    pub(crate) fn node_at(&self, n: NodeNo) -> &Node {
        &self.nodes[n]
    }

    /// The node itself and everything above it, at most four.
    pub(crate) fn upward(&self, from: NodeNo) -> impl Iterator<Item = NodeNo> {
        std::iter::successors(Some(from), |n| self.parents[*n])
    }
}
