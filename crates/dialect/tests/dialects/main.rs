//! What the dialects make of bytes: the worked examples of the standards, what stations really send, and junk.

#![allow(clippy::unwrap_used)]

mod dlt645;
mod hj212;
mod junk;
mod line;
mod mhz19;
mod nmea;
mod profiles;
mod sdi12;
mod talk;

use sitian_dialect::Field;

/// Fields as text: `name=value`, `name=value?cause` for doubt, `name=!cause` for none.
pub fn shown(fields: &[Field]) -> Vec<String> {
    let show = |field: &Field| {
        let cause = field.cause.map(|cause| cause.word());
        match (field.value, cause) {
            (Some(value), None) => format!("{}={}", field.name, value.to_f64()),
            (Some(value), Some(cause)) => format!("{}={}?{cause}", field.name, value.to_f64()),
            (None, cause) => format!("{}=!{}", field.name, cause.unwrap_or("no cause")),
        }
    };
    fields.iter().map(show).collect()
}

/// Bytes out of hexadecimal pairs.
pub fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
