//! Rows as text: comma-separated values (RFC 4180) and JSON lines. It does not know where the text goes, nor how a moment is
//! written: that is an argument.

use std::fmt::{self, Write};

use sitian_model::{Row, Timestamp};

use crate::{Format, Label};

/// What stands before the first row.
pub fn heading(format: Format) -> &'static str {
    match format {
        Format::Csv => "point,at,value,unit,quality,cause,epoch,seq,corrected\r\n",
        Format::JsonLines | Format::Parquet => "",
    }
}

/// Appends a row; nothing if the format is no text. Values are written so that they read back to the bit; a row without a value has an empty one, and its
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
        Format::Parquet => Ok(()),
        Format::Csv => {
            cell(out, label.point)?;
            write!(out, ",{at},{},", value.unwrap_or_default())?;
            cell(out, label.unit)?;
            let cause = cause.unwrap_or_default();
            write!(out, ",{quality},{cause},{},{},{}\r\n", label.epoch, row.seq, label.corrected)
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
            write!(out, ",\"epoch\":\"{}\",\"seq\":{}", label.epoch, row.seq)?;
            writeln!(out, ",\"corrected\":{}}}", label.corrected)
        }
    }
}

/// What a spreadsheet would take for a formula is text: a gateway names its units itself.
fn cell(out: &mut impl Write, text: &str) -> fmt::Result {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return cell(out, &format!("'{text}"));
    }
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
    use sitian_model::{Cause, EpochNo, PointNo, Quality};

    use super::*;

    #[test]
    fn rows_become_lines_that_other_programs_read() {
        let soil = Label { point: "gw-1/soil-1/soil_moisture", unit: "%", epoch: "07ab", corrected: true };
        let odd = Label { point: "a,\"b\"", unit: "µS/cm", epoch: "", corrected: false };
        let time = |at: Timestamp| format!("t{}", at.0);
        let check = |format, label, row: &Row, expected: &str| {
            let mut text = String::new();
            put(&mut text, format, label, row, &time).unwrap();
            assert_eq!(text, expected);
        };
        let (point, at, epoch) = (PointNo(1), Timestamp(5), EpochNo(1));
        let value = Row { point, at, value: Some(0.1 + 0.2), quality: Quality::Good, epoch, seq: 9 };
        let silent =
            Row { value: None, quality: Quality::Bad(Cause::Timeout), at: Timestamp(6), seq: 10, ..value };
        use Format::{Csv, JsonLines};
        check(Csv, soil, &value, "gw-1/soil-1/soil_moisture,t5,0.30000000000000004,%,good,,07ab,9,true\r\n");
        let formula = Label { point: "p", unit: "=HYPERLINK(\"x\")", epoch: "", corrected: false };
        check(Csv, formula, &value, "p,t5,0.30000000000000004,\"'=HYPERLINK(\"\"x\"\")\",good,,,9,false\r\n");
        check(Csv, odd, &silent, "\"a,\"\"b\"\"\",t6,,µS/cm,bad,timeout,,10,false\r\n");
        check(
            JsonLines,
            soil,
            &value,
            "{\"point\":\"gw-1/soil-1/soil_moisture\",\"at\":\"t5\",\"value\":0.30000000000000004,\"unit\":\"%\",\
             \"quality\":\"good\",\"cause\":null,\"epoch\":\"07ab\",\"seq\":9,\"corrected\":true}\n",
        );
        check(
            JsonLines,
            odd,
            &silent,
            "{\"point\":\"a,\\\"b\\\"\",\"at\":\"t6\",\"value\":null,\"unit\":\"µS/cm\",\"quality\":\"bad\",\
             \"cause\":\"timeout\",\"epoch\":\"\",\"seq\":10,\"corrected\":false}\n",
        );
        assert_eq!(heading(Csv).trim_end().split(',').count(), 9, "a name for every cell");
        assert_eq!((Format::parse("jsonl"), Format::parse("xml")), (Some(JsonLines), None));
    }
}
