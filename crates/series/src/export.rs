//! Rows as text for other programs: comma-separated values (RFC 4180) and JSON lines. It does not know where the text
//! goes, nor how a moment is written: that is an argument.

use std::fmt::{self, Write};

use sitian_model::{Row, Timestamp};

/// A way to write rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line of names, then one line a row, ended by CR and LF.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// Reads `csv` or `jsonl`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "csv" => Some(Self::Csv),
            "jsonl" => Some(Self::JsonLines),
            _ => None,
        }
    }

    /// What stands before the first row.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Csv => "point,at,value,unit,quality,cause,epoch,seq\r\n",
            Self::JsonLines => "",
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
}

/// Appends a row. Values are written so that they read back to the bit; a row without a value has an empty one, and its
/// cause beside it.
///
/// # Errors
/// The text takes no more.
pub fn put(
    out: &mut impl Write,
    format: Format,
    label: Label<'_>,
    row: &Row,
    time: &dyn Fn(Timestamp) -> String,
) -> fmt::Result {
    let (at, quality) = (time(row.at), row.quality.word());
    let cause = row.quality.cause().map(sitian_model::Cause::word);
    let value = row.value.map(|value| format!("{value:?}"));
    match format {
        Format::Csv => {
            cell(out, label.point)?;
            write!(out, ",{at},{},", value.unwrap_or_default())?;
            cell(out, label.unit)?;
            write!(out, ",{quality},{},{},{}\r\n", cause.unwrap_or_default(), label.epoch, row.seq)
        }
        Format::JsonLines => {
            out.write_str("{\"point\":")?;
            text(out, label.point)?;
            write!(out, ",\"at\":\"{at}\",\"value\":{},\"unit\":", value.as_deref().unwrap_or("null"))?;
            text(out, label.unit)?;
            write!(out, ",\"quality\":\"{quality}\",\"cause\":")?;
            match cause {
                Some(cause) => write!(out, "\"{cause}\"")?,
                None => out.write_str("null")?,
            }
            writeln!(out, ",\"epoch\":\"{}\",\"seq\":{}}}", label.epoch, row.seq)
        }
    }
}

fn cell(out: &mut impl Write, text: &str) -> fmt::Result {
    if text.contains([',', '"', '\r', '\n']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_str(text)
    }
}

fn text(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            c if c.is_control() => write!(out, "\\u{:04x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use sitian_model::Cause;

    use super::*;
    use crate::contract::{bad, good};

    #[test]
    fn rows_become_lines_that_other_programs_read() {
        let soil = Label { point: "gw-1/soil-1/soil_moisture", unit: "%", epoch: "07ab" };
        let odd = Label { point: "a,\"b\"", unit: "µS/cm", epoch: "" };
        let time = |at: Timestamp| format!("t{}", at.0);
        let check = |format, label, row: &Row, expected: &str| {
            let mut text = String::new();
            put(&mut text, format, label, row, &time).expect("a string takes all");
            assert_eq!(text, expected);
        };
        let (value, silent) = (good(1, 5, 9, 0.1 + 0.2), bad(1, 6, 10, Cause::Timeout));
        use Format::{Csv, JsonLines};
        check(Csv, soil, &value, "gw-1/soil-1/soil_moisture,t5,0.30000000000000004,%,good,,07ab,9\r\n");
        check(Csv, odd, &silent, "\"a,\"\"b\"\"\",t6,,µS/cm,bad,timeout,,10\r\n");
        check(
            JsonLines,
            soil,
            &value,
            "{\"point\":\"gw-1/soil-1/soil_moisture\",\"at\":\"t5\",\"value\":0.30000000000000004,\"unit\":\"%\",\
             \"quality\":\"good\",\"cause\":null,\"epoch\":\"07ab\",\"seq\":9}\n",
        );
        check(
            JsonLines,
            odd,
            &silent,
            "{\"point\":\"a,\\\"b\\\"\",\"at\":\"t6\",\"value\":null,\"unit\":\"µS/cm\",\"quality\":\"bad\",\
             \"cause\":\"timeout\",\"epoch\":\"\",\"seq\":10}\n",
        );
        assert_eq!(Csv.heading().trim_end().split(',').count(), 8, "a name for every cell");
        assert_eq!((Format::parse("jsonl"), Format::parse("xml")), (Some(JsonLines), None));
    }
}
