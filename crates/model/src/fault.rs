//! What is wrong with a configuration text: where, what, and what to do.

use std::fmt;

/// One fault in a configuration text. Shown as `file:line:column: what` and `help`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigFault {
    /// The file as the person named it.
    pub file: String,
    /// 1-based line.
    pub line: u32,
    /// 1-based column, in characters.
    pub column: u32,
    /// What is wrong, naming the key and the offending value.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl ConfigFault {
    /// A fault at a byte offset of `text` (clamped to its end).
    pub fn at(
        file: &str,
        text: &str,
        offset: usize,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
            what: what.into(),
            help: help.into(),
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.what)?;
        if !self.help.is_empty() {
            write!(f, "\n  help: {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns_in_characters() {
        let text = "a = 1\n名 = 2\nc = 3";
        for (offset, line, column) in
            [(0, 1, 1), (4, 1, 5), (6, 2, 1), (12, 2, 5), (usize::MAX, 3, 6), (7, 2, 1)]
        {
            let fault = ConfigFault::at("f.toml", text, offset, "w", "h");
            assert_eq!((fault.line, fault.column), (line, column), "{offset}");
        }
    }
}
