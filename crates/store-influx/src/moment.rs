//! Moments as servers write them.

/// A moment such as `2024-10-04T00:00:00.123456789Z`, cut off to milliseconds.
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let fraction: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    if !(1..=12).contains(&month) {
        return None;
    }
    // Years begin in March here, so that the day that not every year has comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_to_the_millisecond() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("2024-02-29T12:00:00.1Z", Some(1_709_208_000_100)),
            ("2024-03-01T00:00:00.123456789Z", Some(1_709_251_200_123)),
            ("2000-01-01T00:00:00Z", Some(946_684_800_000)),
            ("2262-04-11T23:47:16.854Z", Some(9_223_372_036_854)),
            ("1677-09-21T00:12:43.146Z", Some(-9_223_372_036_854)),
            ("2024-13-01T00:00:00Z", None),
            ("2024-01-01T00:00:00+08:00", None),
            ("2024-01-01", None),
            ("", None),
        ] {
            assert_eq!(milliseconds(text), ms, "{text}");
        }
    }
}
