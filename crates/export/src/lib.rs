//! Stored readings as files for other programs: comma-separated values, JSON lines, Parquet. The only room that knows Parquet.
//!
//! ```text
//!  rows ─► Export::put ─┬─ text:    one line each ──────────────────────────────► bytes
//!                       └─ columns: up to a group, then a group of columns ─────► bytes … finish: footer
//! ```
//!
//! Memory does not grow with the rows: a text holds one line, a Parquet file one group of rows and what its footer says of
//! the groups before.
//!
//! The room knows no files, sockets or clocks, and not where rows come from: bytes go to whatever takes them, and how a
//! moment is written in a text is an argument.
//!
//! Reading order: this page (formats, [`Export`]), [`text`], `columns`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod columns;
pub mod text;

use std::io::{self, Write};

use sitian_model::{Row, Timestamp};

use columns::Columns;

/// A way to write rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line of names, then one line a row, ended by CR and LF (RFC 4180).
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// An Apache Parquet file: groups of compressed columns, what they mean in its footer.
    Parquet,
}

impl Format {
    /// What [`Self::parse`] reads, for messages.
    pub const WORDS: &str = "csv, jsonl or parquet";

    /// Reads `csv`, `jsonl` or `parquet`, which are also the endings of files.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Csv, Self::JsonLines, Self::Parquet].into_iter().find(|format| format.word() == word)
    }

    /// The ending of a file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// What HTTP calls it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// What a row does not say itself.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// `gateway/device/key`.
    pub point: &'a str,
    /// Unit symbol.
    pub unit: &'a str,
    /// The row's epoch in words; may be empty.
    pub epoch: &'a str,
    /// A person has put another value in the place of the one that the sensor sent.
    pub corrected: bool,
}

/// An export under way.
pub struct Export<'a, W: Write + Send> {
    format: Format,
    time: &'a dyn Fn(Timestamp) -> String,
    into: Into<W>,
}

enum Into<W: Write + Send> {
    Text { out: W, line: String },
    Columns(Box<Columns<W>>),
}

impl<'a, W: Write + Send> Export<'a, W> {
    /// Begins. `notes` are names and texts for the footer of a Parquet file, such as what points measure; texts have no
    /// room for them. `time` writes a moment in a text; Parquet keeps milliseconds of UTC.
    ///
    /// # Errors
    /// `out` takes no more.
    pub fn begin(
        out: W,
        format: Format,
        notes: Vec<(String, String)>,
        time: &'a dyn Fn(Timestamp) -> String,
    ) -> io::Result<Self> {
        let into = match format {
            Format::Parquet => Into::Columns(Box::new(Columns::begin(out, notes)?)),
            Format::Csv | Format::JsonLines => {
                let mut out = out;
                out.write_all(text::heading(format).as_bytes())?;
                Into::Text { out, line: String::new() }
            }
        };
        Ok(Self { format, time, into })
    }

    /// One more row. Values read back to the bit.
    ///
    /// # Errors
    /// `out` takes no more.
    pub fn put(&mut self, label: Label<'_>, row: &Row) -> io::Result<()> {
        match &mut self.into {
            Into::Text { out, line } => {
                line.clear();
                text::put(line, self.format, label, row, self.time).map_err(io::Error::other)?;
                out.write_all(line.as_bytes())
            }
            Into::Columns(columns) => columns.put(label, row),
        }
    }

    /// Writes what is still held, and gives `out` back. A file without this is not whole, and a Parquet file not readable.
    ///
    /// # Errors
    /// `out` takes no more.
    pub fn finish(self) -> io::Result<W> {
        match self.into {
            Into::Text { mut out, .. } => out.flush().map(|()| out),
            Into::Columns(columns) => columns.finish(),
        }
    }
}
