//! Sensors that print a line of text, such as `T=21.5C,RH=48.0%`. What the lines look like is data: patterns.
//!
//! A pattern is the line as it looks, with `{name}` in place of each number and `{}` in place of what does not matter.
//! Blanks are taken as they come: a run of them counts as one, and those around a number do not matter.

use sitian_model::Cause;

use crate::Field;
use crate::conversation::Turn;
use crate::lines::Lines;

const PARTS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Take(String),
    Skip,
}

/// What a line looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PatternFault {
    /// A `{` without `}`, or the other way round.
    #[error("a brace is not closed or not opened")]
    Brace,
    /// Nothing stands between two placeholders: nobody could say where the first one ends.
    #[error("two placeholders stand side by side")]
    Neighbours,
    /// A name is there twice, or is no name.
    #[error("a name must be there once, of a-z A-Z 0-9 _ - .")]
    Name,
    /// There is no named placeholder.
    #[error("the pattern takes no value")]
    NoValue,
    /// Too long.
    #[error("the pattern has too many parts")]
    TooLong,
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        let mut parts: Vec<Part> = Vec::new();
        let text = single_blanks(text);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let part = match rest.find(['{', '}']) {
                Some(0) if rest.starts_with('{') => {
                    let end = rest.find('}').ok_or(PatternFault::Brace)?;
                    let name = rest[1..end].trim().to_owned();
                    rest = &rest[end + 1..];
                    if name.is_empty() { Part::Skip } else { Part::Take(name) }
                }
                Some(0) => return Err(PatternFault::Brace),
                end => {
                    let (literal, after) = rest.split_at(end.unwrap_or(rest.len()));
                    rest = after;
                    Part::Text(literal.to_owned())
                }
            };
            let side_by_side =
                !matches!(part, Part::Text(_)) && !matches!(parts.last(), None | Some(Part::Text(_)));
            if side_by_side {
                return Err(PatternFault::Neighbours);
            }
            parts.push(part);
        }
        let pattern = Self { parts };
        pattern.judge()?;
        Ok(pattern)
    }

    fn judge(&self) -> Result<(), PatternFault> {
        if self.parts.len() > PARTS_MAX {
            return Err(PatternFault::TooLong);
        }
        let names: Vec<&str> = self.names().collect();
        let alphabet = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        let well_formed = |name: &&str| name.bytes().all(alphabet);
        let twice = names.iter().enumerate().any(|(n, name)| names[..n].contains(name));
        match () {
            () if names.is_empty() => Err(PatternFault::NoValue),
            () if twice || !names.iter().all(well_formed) => Err(PatternFault::Name),
            () => Ok(()),
        }
    }

    /// The names of the numbers it takes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Take(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The numbers of a line that looks like this; `None` if it does not. A number's place may hold something else
    /// (`---`, `NaN`): then its field has no value.
    pub fn read(&self, line: &str) -> Option<Vec<Field>> {
        let line = single_blanks(line.trim());
        let mut rest = line.as_str();
        let mut fields = Vec::new();
        for (n, part) in self.parts.iter().enumerate() {
            let name = match part {
                Part::Text(text) => {
                    let text = if n == 0 { text.trim_start() } else { text };
                    rest = after(rest, text)?;
                    continue;
                }
                Part::Take(name) => Some(name),
                Part::Skip => None,
            };
            let end = match self.parts.get(n + 1) {
                Some(Part::Text(text)) => find(rest, text)?,
                _ => rest.len(),
            };
            if let Some(name) = name {
                fields.push(Field::of_text(name, &rest[..end]));
            }
            rest = &rest[end..];
        }
        rest.trim().is_empty().then_some(fields)
    }
}

/// What follows a literal text; blanks at its ends are optional in the line.
fn after<'l>(line: &'l str, text: &str) -> Option<&'l str> {
    let core = text.trim();
    if core.is_empty() {
        return Some(line.trim_start());
    }
    line.trim_start().strip_prefix(core)
}

/// Where a literal text begins in the line.
fn find(line: &str, text: &str) -> Option<usize> {
    let core = text.trim();
    if core.is_empty() {
        // A blank separates; at the end of the line nothing needs to follow.
        let skipped = line.len() - line.trim_start().len();
        return Some(line[skipped..].find(' ').map_or(line.len(), |at| skipped + at));
    }
    line.find(core)
}

fn single_blanks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let blank = c.is_whitespace();
        if !(blank && out.ends_with(' ')) {
            out.push(if blank { ' ' } else { c });
        }
    }
    out
}

/// The fields of the first pattern that fits.
pub fn read(patterns: &[Pattern], line: &str) -> Option<Vec<Field>> {
    patterns.iter().find_map(|pattern| pattern.read(line))
}

/// One question to a sensor that answers with lines.
#[derive(Debug, Clone)]
pub struct Conversation {
    request: Vec<u8>,
    patterns: Vec<Pattern>,
    timeout_ms: u32,
    lines: Lines,
    done: bool,
    strange: bool,
    fields: Vec<Field>,
}

impl Conversation {
    /// Sends `request` and waits for a line of one of the patterns.
    pub fn new(request: &str, patterns: &[Pattern], timeout_ms: u32) -> Self {
        Self {
            request: request.as_bytes().to_vec(),
            patterns: patterns.to_vec(),
            timeout_ms,
            lines: Lines::default(),
            done: false,
            strange: false,
            fields: Vec::new(),
        }
    }

    /// What to do next.
    pub fn turn(&self) -> Turn {
        if self.done {
            return Turn::Done;
        }
        Turn::Say { bytes: self.request.clone(), wait_ms: self.timeout_ms }
    }

    /// Takes what arrived; true if the turn has changed.
    pub fn hear(&mut self, bytes: &[u8]) -> bool {
        for line in self.lines.push(bytes) {
            match read(&self.patterns, &line) {
                Some(fields) => {
                    self.fields = fields;
                    self.done = true;
                    return true;
                }
                None => self.strange = true,
            }
        }
        false
    }

    /// No line came in time.
    pub fn silence(&mut self) {
        self.done = true;
    }

    /// What was said, and why anything else was not.
    pub fn outcome(self) -> (Vec<Field>, Cause) {
        (self.fields, if self.strange { Cause::Checksum } else { Cause::Timeout })
    }
}
