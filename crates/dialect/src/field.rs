//! What every dialect makes of its bytes: named numbers, each with what speaks against it.

use sitian_model::Cause;
use sitian_profile::Decimal;

/// One number that a device said, in the unit of the dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in the dialect, such as `M.1`, `mwv.speed_true` or `a34004-Rtd`.
    pub name: String,
    /// The number; `None` if there is none, and then there is a cause.
    pub value: Option<Decimal>,
    /// What speaks against the number, or why there is none.
    pub cause: Option<Cause>,
}

impl Field {
    /// A number that nothing speaks against.
    pub fn good(name: impl Into<String>, value: Decimal) -> Self {
        Self { name: name.into(), value: Some(value), cause: None }
    }

    /// A number that the device itself doubts.
    pub fn doubtful(name: impl Into<String>, value: Decimal, cause: Cause) -> Self {
        Self { name: name.into(), value: Some(value), cause: Some(cause) }
    }

    /// The statement that there is no number.
    pub fn missing(name: impl Into<String>, cause: Cause) -> Self {
        Self { name: name.into(), value: None, cause: Some(cause) }
    }

    /// Reads a text as number; a text that is none gives a field without value.
    pub fn of_text(name: impl Into<String>, text: &str) -> Self {
        match number(text) {
            Some(value) => Self::good(name, value),
            None => Self::missing(name, Cause::NotANumber),
        }
    }
}

/// Reads a number as devices print them: blanks around it, a plus sign, zeros in front, no digit before the point.
pub fn number(text: &str) -> Option<Decimal> {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => ("", &text[1..]),
        b'-' => ("-", &text[1..]),
        _ => ("", text),
    };
    let plain = |c: char| c.is_ascii_digit() || c == '.';
    let starts = digits.starts_with(plain) && digits.contains(|c: char| c.is_ascii_digit());
    if !starts || digits.contains('_') {
        return None;
    }
    let zero = if digits.starts_with('.') { "0" } else { "" };
    Decimal::parse(&format!("{sign}{zero}{digits}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_devices_print_them_and_nothing_else_is_one() {
        for (text, shown) in [
            ("21.5", Some("21.5")),
            (" +021.50 ", Some("21.5")),
            ("-3.0", Some("-3")),
            (".5", Some("0.5")),
            ("-.5", Some("-0.5")),
            ("12.", Some("12")),
            ("1e-2", Some("0.01")),
            ("", None),
            ("+", None),
            (".", None),
            ("--3", None),
            ("1_0", None),
            ("NaN", None),
            ("- 3", None),
            ("3 4", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(number(text).map(|n| n.to_string()).as_deref(), shown, "{text:?}");
        }
    }
}
