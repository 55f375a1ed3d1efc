//! What was loaded, and what one can ask about it afterwards.

use sitian_model::ConfigFault;

use crate::source::{Origin, Place, Sources};
use crate::tree::Node;

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Dotted key, such as `device[3].profile`.
    pub key: String,
    /// The value as TOML; `***` for secrets.
    pub value: String,
    /// `default`, `gateway.toml:12`, `environment SITIAN_…` or `flag`.
    pub origin: String,
}

/// A program's settings with the place of every value.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The settings.
    pub value: T,
    sources: Sources,
    nodes: Vec<Node>,
}

impl<T> Loaded<T> {
    pub(crate) fn new(value: T, sources: Sources, nodes: Vec<Node>) -> Self {
        Self { value, sources, nodes }
    }

    /// Every value in force, by name. Values whose key ends in `password`, `token`, `secret` or `key` are hidden.
    pub fn effective(&self) -> Vec<Effective> {
        let shown = |node: &Node| {
            let secret = ["password", "token", "secret", "key"].iter().any(|end| node.key.ends_with(end));
            let value = node.value.clone()?;
            let value = if secret && value != "\"\"" { "***".to_owned() } else { value };
            let place = self.sources.place(node.at);
            let origin = match &place.origin {
                Origin::Default => "default".to_owned(),
                Origin::File(name) => format!("{name}:{}", place.line),
                Origin::Environment(name) => format!("environment {name}"),
                Origin::Flag(_) => "flag".to_owned(),
            };
            Some(Effective { key: node.key.clone(), value, origin })
        };
        self.nodes.iter().filter_map(shown).collect()
    }

    /// Where the value of a key stands, such as `mqtt.port`, `device[3]` or `device[3].profile`. A key that stands
    /// nowhere (an optional one) is placed at the nearest section around it.
    pub fn place(&self, key: &str) -> Place {
        self.sources.place(self.number(key))
    }

    /// A fault about a key, for what only the program itself can judge.
    pub fn fault(&self, key: &str, what: impl Into<String>, help: impl Into<String>) -> ConfigFault {
        self.sources.fault(self.number(key), what, help)
    }

    fn number(&self, key: &str) -> usize {
        let mut key = key;
        loop {
            if let Some(node) = self.nodes.iter().find(|node| node.key == key) {
                return node.at;
            }
            let Some(end) = key.rfind(['.', '[']) else {
                break;
            };
            key = &key[..end];
        }
        self.sources.top()
    }
}
