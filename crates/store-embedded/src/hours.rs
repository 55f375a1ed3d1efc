//! Windows of one hour, or of a day, that stand for the rows of a point: the roll-ups. Made where rows become a chunk, so
//! they are never behind; read instead of the chunk. The bytes are drawn in the crate page. Knows no database.

use sitian_model::{Cause, Quality, Timestamp};
use sitian_series::Window;

use crate::chunk::{CodecError, open, seal};
use crate::decimal::Decimals;
use crate::kept::Kept;
use crate::varint::{Bytes, put, put_signed};

/// Milliseconds of an hour.
pub(crate) const HOUR_MS: i64 = 3_600_000;
/// Hours of the daily class.
pub(crate) const DAY_H: u32 = 24;

const LAYOUT: u8 = 5;
/// Stands for a number of decimals: values are written as they are.
const PLAIN: u8 = 255;
/// Most windows of one blob; a chunk has at most one an hour for 31 days, and one more.
const WINDOWS_MAX: usize = 1_000;

/// Ordered rows of one point by the hour; hours without rows are absent.
pub(crate) fn of_rows(rows: &[Kept]) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    for row in rows {
        let from = row.at.div_euclid(HOUR_MS).saturating_mul(HOUR_MS);
        if windows.last().is_none_or(|window| window.from.0 != from) {
            windows.push(Window::empty(Timestamp(from), Timestamp(from.saturating_add(HOUR_MS))));
        }
        let Some(window) = windows.last_mut() else { continue };
        if let Some(value) = row.value() {
            let step = window.last.map_or(0.0, |last| step(last, value));
            *window.increase.get_or_insert(0.0) += step;
        }
        window.observe(row.value(), row.quality());
    }
    windows
}

/// Puts ordered windows of hours together to days that begin `offset_ms` behind midnight UTC, rounded to an hour.
pub(crate) fn by_day(hours: &[Window], offset_ms: i64) -> Vec<Window> {
    let length = i64::from(DAY_H) * HOUR_MS;
    let offset = (offset_ms.div_euclid(HOUR_MS) * HOUR_MS).rem_euclid(length);
    let mut days: Vec<Window> = Vec::new();
    for hour in hours {
        let from = (hour.from.0 - offset).div_euclid(length) * length + offset;
        if days.last().is_none_or(|day| day.from.0 != from) {
            days.push(Window::empty(Timestamp(from), Timestamp(from + length)));
        }
        let Some(day) = days.last_mut() else { continue };
        if let Some(first) = hour.first {
            let step = day.last.map_or(0.0, |last| step(last, first)) + hour.increase.unwrap_or(0.0);
            *day.increase.get_or_insert(0.0) += step;
        }
        day.absorb(hour);
    }
    days
}

/// How far a counter went up from one value to the next: a lower one means that it began anew at zero.
fn step(before: f64, value: f64) -> f64 {
    if value >= before { value - before } else { value.max(0.0) }
}

/// The bytes of ordered windows of `step_h` hours.
pub(crate) fn encode(windows: &[Window], step_h: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(windows.len() * 16 + 16);
    out.extend([LAYOUT, 0, 0, 0, 0]);
    put(&mut out, u64::from(step_h));
    put(&mut out, windows.len() as u64);
    let decimals = decimals(windows);
    out.push(decimals.map_or(PLAIN, Decimals::count));
    let (mut hour, mut last) = (0, 0);
    for window in windows {
        let next = window.from.0.div_euclid(HOUR_MS);
        put_signed(&mut out, next - hour);
        hour = next;
        put(&mut out, window.good);
        put(&mut out, window.uncertain);
        put(&mut out, window.bad.len() as u64);
        for (cause, n) in &window.bad {
            out.push(Quality::Bad(*cause).code());
            put(&mut out, *n);
        }
        let Some(values) = numbers(window) else { continue };
        match decimals.and_then(|decimals| whole(decimals, &values)) {
            Some([first, end, min, max, sum, increase]) => {
                put_signed(&mut out, first - last);
                put_signed(&mut out, end - first);
                put_signed(&mut out, first - min);
                put_signed(&mut out, max - first);
                put_signed(&mut out, sum.wrapping_sub(first.wrapping_mul(window.count().cast_signed())));
                put_signed(&mut out, increase);
                last = end;
            }
            None => values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
        }
    }
    seal(&mut out);
    out
}

/// The windows of these bytes, and how many hours each is long.
pub(crate) fn decode(blob: &[u8]) -> Result<(Vec<Window>, u32), CodecError> {
    let mut bytes = open(blob, LAYOUT)?;
    let step_h = bytes.length(DAY_H as usize).filter(|step| *step > 0);
    let step_h = step_h.ok_or(CodecError::Column("step"))? as u32;
    let n = bytes.length(WINDOWS_MAX.min(blob.len())).ok_or(CodecError::Column("count"))?;
    let scale = bytes.byte().ok_or(CodecError::Column("decimals"))?;
    let decimals = Decimals::known(scale);
    if decimals.is_none() && scale != PLAIN {
        return Err(CodecError::Column("decimals"));
    }
    let mut state = State { hour: 0, last: 0, step_ms: i64::from(step_h) * HOUR_MS, decimals };
    let windows = (0..n).map(|_| state.window(&mut bytes)).collect::<Option<Vec<_>>>();
    let windows = windows.filter(|_| bytes.0.is_empty()).ok_or(CodecError::Column("window"))?;
    Ok((windows, step_h))
}

struct State {
    hour: i64,
    last: i64,
    step_ms: i64,
    decimals: Option<Decimals>,
}

impl State {
    fn window(&mut self, bytes: &mut Bytes<'_>) -> Option<Window> {
        self.hour = self.hour.checked_add(bytes.signed()?)?;
        let from = self.hour.checked_mul(HOUR_MS)?;
        let mut window = Window::empty(Timestamp(from), Timestamp(from.saturating_add(self.step_ms)));
        (window.good, window.uncertain) = (bytes.number()?, bytes.number()?);
        for _ in 0..bytes.length(Cause::ALL.len())? {
            let Quality::Bad(cause) = Quality::from_code(bytes.byte()?)? else { return None };
            window.bad.insert(cause, bytes.number()?);
        }
        if window.good.checked_add(window.uncertain)? == 0 {
            return Some(window);
        }
        let values = match self.decimals {
            Some(decimals) => self.steps(bytes, window.count())?.map(|whole| decimals.value(whole)),
            None => {
                let mut values = [0.0; 6];
                for value in &mut values {
                    *value = f64::from_le_bytes(bytes.take(8)?.try_into().ok()?);
                }
                values
            }
        };
        let [first, last, min, max, sum, increase] = values;
        (window.first, window.last, window.min, window.max) = (Some(first), Some(last), Some(min), Some(max));
        (window.sum, window.increase) = (sum, Some(increase));
        Some(window)
    }

    fn steps(&mut self, bytes: &mut Bytes<'_>, count: u64) -> Option<[i64; 6]> {
        let first = self.last.wrapping_add(bytes.signed()?);
        self.last = first.wrapping_add(bytes.signed()?);
        let min = first.wrapping_sub(bytes.signed()?);
        let max = first.wrapping_add(bytes.signed()?);
        let sum = bytes.signed()?.wrapping_add(first.wrapping_mul(count.cast_signed()));
        Some([first, self.last, min, max, sum, bytes.signed()?])
    }
}

/// The numbers of a window that has values, in the order in which they are written.
fn numbers(window: &Window) -> Option<[f64; 6]> {
    let ends = [window.first?, window.last?, window.min?, window.max?];
    Some([ends[0], ends[1], ends[2], ends[3], window.sum, window.increase.unwrap_or(0.0)])
}

fn whole(decimals: Decimals, values: &[f64; 6]) -> Option<[i64; 6]> {
    let mut whole = [0; 6];
    for (whole, value) in whole.iter_mut().zip(values) {
        *whole = decimals.whole(*value)?;
    }
    Some(whole)
}

/// The decimals that all windows can be written with: those of the values; sums and increases of such values have the
/// same.
fn decimals(windows: &[Window]) -> Option<Decimals> {
    let all = windows.iter().filter_map(numbers);
    let values = all.clone().flat_map(|numbers| numbers.into_iter().take(4));
    Decimals::of(values).filter(|decimals| all.clone().all(|numbers| whole(*decimals, &numbers).is_some()))
}

#[cfg(test)]
mod tests {
    use sitian_series::contract::alike;

    use super::*;

    fn row(n: i64, value: f64) -> Kept {
        let code = match n % 40 {
            3 => Quality::Bad(Cause::Timeout).code(),
            4 => Quality::Uncertain(Cause::Implausible).code(),
            _ => 0,
        };
        let value = if code >= 128 { 0.0 } else { value };
        Kept { at: n * 60_000 - 7 * HOUR_MS, seq: n as u64, value, epoch: 1, code }
    }

    fn check(rows: &[Kept]) -> Vec<u8> {
        let windows = of_rows(rows);
        assert_eq!(
            windows.iter().map(|w| w.count() + w.bad.values().sum::<u64>()).sum::<u64>(),
            rows.len() as u64
        );
        let blob = encode(&windows, 1);
        let (found, step) = decode(&blob).unwrap();
        assert_eq!((found.len(), step), (windows.len(), 1));
        for (found, expected) in found.iter().zip(&windows) {
            assert!(alike(found, expected), "{found:?} {expected:?}");
            let ends = |w: &Window| [w.first, w.last, w.min, w.max];
            assert_eq!(ends(found), ends(expected), "to the bit");
        }
        blob
    }

    #[test]
    fn windows_read_back_from_their_bytes_and_decimals_make_them_small() {
        let walk: Vec<_> = (0..1_440).map(|n| row(n, (n * 37 % 100) as f64 / 10.0 + 20.0)).collect();
        let blob = check(&walk);
        assert!(blob.len() < 24 * 20 + 20, "{} bytes for 24 hours", blob.len());
        check(&(0..1_440).map(|n| row(n, (n as f64).sin())).collect::<Vec<_>>());
        check(&(0..90).map(|n| row(n, if n == 50 { 1e300 } else { -0.0 })).collect::<Vec<_>>());
        check(&(0..5).map(|n| row(n * 40 + 3, 0.0)).collect::<Vec<_>>());
        check(&[]);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let rows: Vec<_> = (0..200).map(|n| row(n, n as f64 / 10.0)).collect();
        let blob = encode(&of_rows(&rows), 1);
        for place in 0..blob.len() {
            let mut changed = blob.clone();
            changed[place] ^= 0x04;
            assert!(decode(&changed).is_err(), "byte {place} changed");
            assert!(decode(&blob[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn days_are_made_of_their_hours() {
        let rows: Vec<_> = (0..3_000).map(|n| row(n, (n * 7 % 90) as f64 / 10.0)).collect();
        for (offset_ms, starts) in [(0, vec![-24, 0, 24]), (-8 * HOUR_MS, vec![-8, 16, 40])] {
            let days = by_day(&of_rows(&rows), offset_ms);
            assert_eq!(days.iter().map(|d| d.from.0 / HOUR_MS).collect::<Vec<_>>(), starts);
            for day in &days {
                let inside: Vec<_> =
                    rows.iter().filter(|r| (day.from.0..day.to.0).contains(&r.at)).copied().collect();
                let mut whole = Window::empty(day.from, day.to);
                inside.iter().for_each(|row| whole.observe(row.value(), row.quality()));
                let values: Vec<_> = inside.iter().filter_map(Kept::value).collect();
                whole.increase = Some(values.windows(2).map(|pair| step(pair[0], pair[1])).sum());
                assert!(alike(day, &whole), "{day:?} {whole:?}");
            }
            assert_eq!(decode(&encode(&days, DAY_H)).unwrap().1, DAY_H);
        }
    }
}
