//! Moments as HJ 212 writes them.

use sitian_model::Timestamp;

/// Reads `YYYYMMDDhhmmss`, with or without milliseconds, as local time of the given offset from UTC in minutes.
pub fn moment(text: &str, offset_min: i32) -> Option<Timestamp> {
    if !(text.len() == 14 || text.len() == 17) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text[from..to].parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let milliseconds = if text.len() == 17 { part(14, 17)? } else { 0 };
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !fits {
        return None;
    }
    let minutes = (days_before(year, month) + day - 1) * 1_440 + hour * 60 + minute - i64::from(offset_min);
    Some(Timestamp((minutes * 60 + second) * 1_000 + milliseconds))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of the month.
fn days_before(year: i64, month: i64) -> i64 {
    let past = year - 1;
    let leaps = |y: i64| y / 4 - y / 100 + y / 400;
    (year - 1970) * 365 + leaps(past) - leaps(1969) + (1..month).map(|m| days_in(year, m)).sum::<i64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_the_stations_time_zone_and_impossible_ones_are_none() {
        for (text, offset_min, ms) in [
            ("19700101000000", 0, Some(0)),
            ("20260610080000", 480, Some(1_781_049_600_000)),
            ("20260610080000123", 480, Some(1_781_049_600_123)),
            ("20000229235959", 0, Some(951_868_799_000)),
            ("20240229000000", 0, Some(1_709_164_800_000)),
            ("20230229000000", 0, None),
            ("20261301000000", 0, None),
            ("20260610240000", 0, None),
            ("2026061008000", 0, None),
            ("2026061008000x", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(moment(text, offset_min).map(|t| t.0), ms, "{text}");
        }
    }
}
