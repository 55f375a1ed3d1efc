//! Moments as people write them: RFC 3339 in the zone of the server, read from any offset.

use jiff::{Timestamp as Instant, tz::TimeZone};
use sitian_model::Timestamp;

use crate::view::Time;

/// The zone that all times of the API are shown in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

/// Why a name is no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("find the time zone {0:?}; use an IANA name such as Asia/Shanghai")]
pub struct ZoneError(String);

impl Zone {
    /// A zone by its IANA name, such as `Asia/Shanghai`. The database is compiled in.
    pub fn new(name: &str) -> Result<Self, ZoneError> {
        TimeZone::get(name).map(Self).map_err(|_| ZoneError(name.to_owned()))
    }

    /// The moment as text, with milliseconds and offset. Moments that RFC 3339 cannot write are clamped.
    pub fn show(&self, at: Timestamp) -> Time {
        let at = instant(at);
        Time(at.to_zoned(self.0.clone()).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string())
    }

    /// Milliseconds to add to UTC at that moment.
    pub fn offset_ms(&self, at: Timestamp) -> i64 {
        i64::from(self.0.to_offset(instant(at)).seconds()) * 1000
    }
}

impl Default for Zone {
    /// Beijing time.
    fn default() -> Self {
        Self(TimeZone::get("Asia/Shanghai").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(8))))
    }
}

/// Within the years 1 to 9999, with a day to spare for the offset.
fn instant(at: Timestamp) -> Instant {
    let at = at.0.clamp(-62_135_510_400_000, 253_402_207_200_000);
    Instant::from_millisecond(at).unwrap_or(Instant::UNIX_EPOCH)
}

/// Reads an RFC 3339 moment with any offset; `None` if it is none. Fractions below a millisecond are cut off.
///
/// A plus sign that was not percent-encoded in a query arrives as a blank; it is read as the plus it was.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.replace(' ', "+");
    let dated = text.len() <= 40 && text.as_bytes().get(10).is_some_and(|b| b.eq_ignore_ascii_case(&b'T'));
    let at: Instant = dated.then(|| text.parse().ok()).flatten()?;
    Some(Timestamp(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_milliseconds_and_the_offset_of_the_zone() {
        for (name, ms, text) in [
            ("Asia/Shanghai", 0, "1970-01-01T08:00:00.000+08:00"),
            ("Asia/Shanghai", 1_777_847_400_123, "2026-05-04T06:30:00.123+08:00"),
            ("UTC", -1, "1969-12-31T23:59:59.999+00:00"),
            ("Asia/Kolkata", 0, "1970-01-01T05:30:00.000+05:30"),
        ] {
            assert_eq!(Zone::new(name).unwrap().show(Timestamp(ms)).0, text);
        }
        for (ms, year) in [(i64::MAX, "9999"), (i64::MIN, "0001")] {
            let shown = Zone::default().show(Timestamp(ms)).0;
            assert!(shown.starts_with(year), "{shown}");
        }
        assert!(Zone::new("Asia/Nowhere").is_err());
    }

    #[test]
    fn times_are_read_from_any_offset_and_nothing_else_is_a_time() {
        for text in
            ["2026-05-04T06:30:00.123+08:00", "2026-05-04T06:30:00.123 08:00", "2026-05-03T22:30:00.123Z"]
        {
            assert_eq!(parse(text), Some(Timestamp(1_777_847_400_123)), "{text}");
        }
        for text in
            ["", "now", "-1h", "2026-05-04", "2026-05-04T06:30:00", "2026-05-04 06:30:00Z", "1777847400123"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
