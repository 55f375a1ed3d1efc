//! The texts that settings come from, laid end to end: one number tells text and position.

use std::fmt;

use sitian_model::ConfigFault;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Compiled into the program.
    Default,
    /// The configuration file of this name.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// The flag for this key.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in defaults"),
            Self::File(name) => f.write_str(name),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(key) => write!(f, "flag {key}"),
        }
    }
}

/// A place in one of the texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which text.
    pub origin: Origin,
    /// 1-based line; 1 for variables and flags.
    pub line: u32,
    /// 1-based column in characters; 1 for variables and flags.
    pub column: u32,
    /// Byte offset in the text.
    pub offset: usize,
}

/// One text and the number of its first byte.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    pub(crate) text: String,
    pub(crate) start: usize,
}

/// All texts, by ascending start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// Appends a text; returns its index.
    pub(crate) fn add(&mut self, origin: Origin, text: &str) -> usize {
        // One number between two texts, so that the end of one is not the start of the next.
        let start = self.0.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.0.push(Source { origin, text: text.to_owned(), start });
        self.0.len() - 1
    }

    pub(crate) fn get(&self, index: usize) -> &Source {
        &self.0[index]
    }

    /// The text that holds this number. There is always at least the defaults.
    pub(crate) fn at(&self, number: usize) -> &Source {
        let after = self.0.partition_point(|source| source.start <= number);
        &self.0[after.saturating_sub(1)]
    }

    /// The beginning of the file, or of the defaults if there is no file.
    pub(crate) fn top(&self) -> usize {
        let file = self.0.iter().find(|source| matches!(source.origin, Origin::File(_)));
        file.map_or(0, |source| source.start)
    }

    pub(crate) fn fault(
        &self,
        number: usize,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> ConfigFault {
        let source = self.at(number);
        let name = source.origin.to_string();
        match source.origin {
            Origin::Default | Origin::File(_) => {
                ConfigFault::at(&name, &source.text, number - source.start, what, help)
            }
            Origin::Environment(_) | Origin::Flag(_) => ConfigFault::at(&name, "", 0, what, help),
        }
    }

    pub(crate) fn place(&self, number: usize) -> Place {
        let source = self.at(number);
        let fault = self.fault(number, "", "");
        Place {
            origin: source.origin.clone(),
            line: fault.line,
            column: fault.column,
            offset: number - source.start,
        }
    }
}
