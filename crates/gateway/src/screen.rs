//! How the commands for people write: aligned columns also with Chinese names, colour and redrawing on a terminal only,
//! local times with their zone.

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

use sitian_model::Quality;

/// Writes a line to standard output.
macro_rules! say {
    () => { crate::screen::put(format_args!("\n")) };
    ($($words:tt)*) => { crate::screen::put(format_args!("{}\n", format_args!($($words)*))) };
}

/// Writes to standard output. Who has stopped reading (`| head`) has seen enough: that ends the program, as it would end
/// others.
pub fn put(text: Arguments) {
    let Err(fault) = stdout().lock().write_fmt(text) else { return };
    if fault.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("failed to write to standard output: {fault}");
    std::process::exit(1);
}

/// The moment as people here write it, with its zone.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// The moment of so many milliseconds since 1970, with milliseconds and zone.
pub fn moment(unix_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f %:z").to_string()
}

/// True if standard output is a terminal that wants colour.
pub fn is_terminal() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// The text in this colour (an SGR code) on a terminal, unchanged elsewhere.
pub fn coloured(text: &str, code: &str) -> String {
    if is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Green, yellow or red, as a quality deserves.
pub fn quality_colour(word: &str) -> &'static str {
    match word {
        "good" => "32",
        "uncertain" => "33",
        _ => "31",
    }
}

/// A quality in words: `uncertain (implausible)`.
pub fn quality_words(quality: Quality) -> String {
    let why = quality.cause().map_or(String::new(), |cause| format!(" ({})", cause.word()));
    format!("{}{why}", quality.word())
}

/// A value with its digits; one that no sensor gives in a form that fits on the screen; `–` for none.
pub fn number(value: Option<f64>, decimals: u8) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 1e10 => format!("{value:.3e}"),
        Some(value) => format!("{value:.*}", usize::from(decimals)),
    }
}

/// Columns a text takes: Chinese characters take two.
pub fn width(text: &str) -> usize {
    let wide = |c: char| matches!(c as u32, 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x2_0000..=0x3_FFFD);
    text.chars().map(|c| 1 + usize::from(wide(c))).sum()
}

/// The text, with blanks up to this many columns.
pub fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// A line on standard error that the next one replaces; nothing where nobody looks.
pub fn progress(text: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
        let _ = stderr().flush();
    }
}

/// Starts a terminal's picture anew; between two pictures elsewhere there is an empty line.
pub fn clear() {
    if stdout().is_terminal() {
        put(format_args!("\x1b[H\x1b[J"));
        let _ = stdout().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_chinese_names_too() {
        for (text, columns) in [("", 0), ("soil-1", 6), ("1号棚", 5), ("空气温度 °C", 11)] {
            assert_eq!(width(text), columns, "{text}");
            assert_eq!(width(&padded(text, 14)), 14, "{text}");
        }
    }
}
