//! The four warning colours of the warning law.

use std::fmt;

/// The four warning colours, mildest first (so `max` is the worst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Level 4: attention at the base.
    Blue,
    /// Level 3: base and town.
    Yellow,
    /// Level 2: up to the county.
    Orange,
    /// Level 1, the most severe: up to the city.
    Red,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Self; 4] = [Self::Blue, Self::Yellow, Self::Orange, Self::Red];

    /// A stable lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Red => "red",
        }
    }

    /// The severity of this word, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }

    /// The level of the warning law: 1 (red) to 4 (blue).
    pub fn level(self) -> u8 {
        4 - self as u8
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
