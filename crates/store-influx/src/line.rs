//! Line protocol: a row as one line of text, with what has to be escaped escaped. Knows no server.
//!
//! ```text
//! reading,base=…,device=soil-1,gateway=gw-7,measurement=soil_moisture,point=soil_moisture,unit=% value=25.6,quality=0i,epoch=7i,seq=41i 1750000000123
//! ├ measurement and tags: who ─────────────────────────────────────────────────────────────────┤ ├ fields ────────────────────────────┤ ├ ms ───────┤
//! ```
//!
//! A backslash escapes only what has to be escaped, and is an ordinary character before everything else, itself included.
//! So a text that ends with one cannot be written where the next character is a separator.

use std::fmt::Write;

use sitian_model::{Row, TEXT_BYTES_MAX};

use crate::names::Tags;

/// The name of everything that is measured, so that a point is found whatever it measures.
pub(crate) const MEASUREMENT: &str = "reading";
/// Whole numbers beyond this are no longer exact in engines that keep all numbers as `f64`.
const WHOLE_MAX: u64 = 1 << 53;

/// Why something cannot be written as a line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LineFault {
    /// Line protocol has no way to write such a text.
    #[error("write tag {key} \"{}\": {why}; give it another name", value.escape_debug())]
    Text {
        /// The tag.
        key: &'static str,
        /// What it was to say, or how that begins.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Neither NaN nor the infinities can be written.
    #[error("write {0}: it is no finite number")]
    NotFinite(f64),
    /// A record's number is too large for engines that keep it as `f64`.
    #[error("write record {0}: numbers above 2^53 are not kept exactly")]
    Seq(u64),
}

/// What stands before the fields: measurement and tags, ordered by key; tags without a value are left out.
pub(crate) fn heading(tags: &Tags) -> Result<String, LineFault> {
    let mut out = MEASUREMENT.to_owned();
    for (key, value) in tags.all() {
        if !value.is_empty() {
            out.push(',');
            out.push_str(key);
            out.push('=');
            put_tag(&mut out, key, value)?;
        }
    }
    Ok(out)
}

fn put_tag(out: &mut String, key: &'static str, value: &str) -> Result<(), LineFault> {
    let fault = |why| LineFault::Text { key, value: value.chars().take(64).collect(), why };
    if value.len() > TEXT_BYTES_MAX {
        return Err(fault("it is longer than 256 bytes"));
    }
    if value.ends_with('\\') {
        return Err(fault("it ends with a backslash"));
    }
    if value.contains(|c: char| c.is_control()) {
        return Err(fault("it holds a control character"));
    }
    for c in value.chars() {
        if matches!(c, ',' | '=' | ' ') {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(())
}

/// Appends a row as a line. `heading` is that of its point, `mark` that of its epoch. What was appended before a fault
/// has to be taken back by the caller.
pub(crate) fn put(out: &mut String, heading: &str, mark: u64, row: &Row) -> Result<(), LineFault> {
    if row.seq > WHOLE_MAX {
        return Err(LineFault::Seq(row.seq));
    }
    out.push_str(heading);
    out.push(' ');
    if let Some(value) = row.value {
        if !value.is_finite() {
            return Err(LineFault::NotFinite(value));
        }
        // The shortest text that reads back to the bit; a string takes everything.
        let _ = write!(out, "value={value:?},");
    }
    let (quality, seq) = (row.quality.code(), row.seq);
    let _ = writeln!(out, "quality={quality}i,epoch={mark}i,seq={seq}i {}", row.at.0);
    Ok(())
}

#[cfg(test)]
#[path = "line/tests.rs"]
mod tests;
