//! Windows of one hour, or of a day, that stand for the rows of a point: the roll-ups. Made where rows become a chunk, so
//! they are never behind; read instead of the chunk. The bytes are drawn in the crate page. Knows no database.

use pco::data_types::Number;
use pco::{ChunkConfig, DeltaSpec, ModeSpec};
use sitian_model::{Cause, Quality, Timestamp};
use sitian_series::Window;

use crate::chunk::{PLAIN, compress, put_sized, sized};
use crate::decimal::Decimals;
use crate::kept::Kept;
use sitian_registry::bytes::{Bytes, CodecError, open, put, put_runs, put_signed, runs, seal};

mod by_window;

/// Milliseconds of an hour.
pub(crate) const HOUR_MS: i64 = 3_600_000;
/// Hours of the daily class.
pub(crate) const DAY_H: u32 = 24;

const LAYOUT: u8 = 7;
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
pub(crate) fn encode(windows: &[Window], step_h: u32) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![LAYOUT, 0, 0, 0, 0];
    put(&mut out, u64::from(step_h));
    put(&mut out, windows.len() as u64);
    put_runs(&mut out, steps(windows).into_iter(), put_signed);
    put_runs(&mut out, windows.iter().map(|window| window.good), put);
    put_runs(&mut out, windows.iter().map(|window| window.uncertain), put);
    put_bad(&mut out, windows);
    let decimals = decimals(windows);
    out.push(decimals.map_or(PLAIN, Decimals::count));
    let numbers = windows.iter().filter_map(numbers);
    match decimals {
        Some(decimals) => {
            let counts = windows.iter().map(Window::count).filter(|count| *count > 0);
            let whole = numbers.filter_map(|numbers| whole(decimals, &numbers)).zip(counts);
            let mut last = 0;
            let small = whole.map(|(whole, count)| small(whole, count, &mut last));
            put_columns(&mut out, &small.collect::<Vec<_>>())?;
        }
        None => put_columns(&mut out, &numbers.collect::<Vec<_>>())?,
    }
    seal(&mut out);
    Ok(out)
}

/// Hours from each window to the next; the first from 1970.
fn steps(windows: &[Window]) -> Vec<i64> {
    let mut before = 0;
    let step = |window: &Window| {
        let hour = window.from.0.div_euclid(HOUR_MS);
        hour - std::mem::replace(&mut before, hour)
    };
    windows.iter().map(step).collect()
}

/// Bad rows are few: each window that has some, by its place.
fn put_bad(out: &mut Vec<u8>, windows: &[Window]) {
    let bad = || (0u64..).zip(windows).flat_map(|(n, window)| window.bad.iter().map(move |bad| (n, bad)));
    put(out, bad().count() as u64);
    let mut before = 0;
    for (n, (cause, rows)) in bad() {
        put(out, n - std::mem::replace(&mut before, n));
        out.push(Quality::Bad(*cause).code());
        put(out, *rows);
    }
}

fn put_columns<T: Number>(out: &mut Vec<u8>, numbers: &[[T; 6]]) -> Result<(), CodecError> {
    if numbers.is_empty() {
        return Ok(());
    }
    let config = ChunkConfig::default().with_mode_spec(ModeSpec::Classic).with_delta_spec(DeltaSpec::NoOp);
    for n in 0..6 {
        let column: Vec<T> = numbers.iter().map(|numbers| numbers[n]).collect();
        put_sized(out, &compress(&column, &config)?);
    }
    Ok(())
}

/// What six numbers differ in from what the others let expect; see the crate page.
fn small([first, end, min, max, sum, increase]: [i64; 6], count: u64, last: &mut i64) -> [i64; 6] {
    let before = std::mem::replace(last, end);
    let middle = middle(first, end, count);
    [
        first.wrapping_sub(before),
        end - first,
        first.min(end) - min,
        max - first.max(end),
        sum.wrapping_sub(middle),
        increase,
    ]
}

/// The inverse of [`small`].
fn large([first, end, min, max, sum, increase]: [i64; 6], count: u64, last: &mut i64) -> [i64; 6] {
    let first = last.wrapping_add(first);
    let end = first.wrapping_add(end);
    *last = end;
    let (low, high) = (first.min(end).wrapping_sub(min), first.max(end).wrapping_add(max));
    [first, end, low, high, sum.wrapping_add(middle(first, end, count)), increase]
}

/// The sum of so many values on a straight line.
fn middle(first: i64, end: i64, count: u64) -> i64 {
    first.wrapping_add(end).wrapping_mul(count.cast_signed()).div_euclid(2)
}

/// The windows of these bytes, and how many hours each is long.
pub(crate) fn decode(blob: &[u8]) -> Result<(Vec<Window>, u32), CodecError> {
    let (layout, mut bytes) = open(blob, &[LAYOUT, by_window::LAYOUT])?;
    let step_h = bytes.length(DAY_H as usize).filter(|step| *step > 0);
    let step_h = step_h.ok_or(CodecError::Column("step"))? as u32;
    let n = bytes.length(WINDOWS_MAX).ok_or(CodecError::Column("count"))?;
    let windows = if layout == LAYOUT {
        columns(&mut bytes, n, step_h)?
    } else {
        by_window::windows(&mut bytes, n, i64::from(step_h) * HOUR_MS)?
    };
    if bytes.0.is_empty() { Ok((windows, step_h)) } else { Err(CodecError::Column("window")) }
}

fn columns(bytes: &mut Bytes<'_>, n: usize, step_h: u32) -> Result<Vec<Window>, CodecError> {
    let steps = runs(bytes, n, Bytes::signed).ok_or(CodecError::Column("hour"))?;
    let good = runs(bytes, n, Bytes::number).ok_or(CodecError::Column("good"))?;
    let uncertain = runs(bytes, n, Bytes::number).ok_or(CodecError::Column("uncertain"))?;
    let mut windows = Vec::with_capacity(n);
    let (mut hour, mut full) = (0i64, 0);
    for ((step, good), uncertain) in steps.into_iter().zip(good).zip(uncertain) {
        hour = hour.checked_add(step).ok_or(CodecError::Column("hour"))?;
        let from = hour.checked_mul(HOUR_MS).ok_or(CodecError::Column("hour"))?;
        let to = from.saturating_add(i64::from(step_h) * HOUR_MS);
        let count = good.checked_add(uncertain).ok_or(CodecError::Column("good"))?;
        full += usize::from(count > 0);
        windows.push(Window { good, uncertain, ..Window::empty(Timestamp(from), Timestamp(to)) });
    }
    bad(bytes, &mut windows).ok_or(CodecError::Column("bad"))?;
    let scale = bytes.byte().ok_or(CodecError::Column("decimals"))?;
    let numbers = match Decimals::known(scale) {
        Some(decimals) => {
            let small: Vec<[i64; 6]> = six(bytes, full)?;
            let counts = windows.iter().map(Window::count).filter(|count| *count > 0);
            let mut last = 0;
            let whole = small.into_iter().zip(counts).map(|(small, count)| large(small, count, &mut last));
            whole.map(|whole| whole.map(|whole| decimals.value(whole))).collect()
        }
        None if scale == PLAIN => six(bytes, full)?,
        None => return Err(CodecError::Column("decimals")),
    };
    let full = windows.iter_mut().filter(|window| window.count() > 0);
    full.zip(numbers).for_each(|(window, numbers)| set(window, numbers));
    Ok(windows)
}

fn bad(bytes: &mut Bytes<'_>, windows: &mut [Window]) -> Option<()> {
    let mut n = 0usize;
    for _ in 0..bytes.length(windows.len() * Cause::ALL.len())? {
        n = n.checked_add(bytes.length(windows.len())?)?;
        let Quality::Bad(cause) = Quality::from_code(bytes.byte()?)? else { return None };
        windows.get_mut(n)?.bad.insert(cause, bytes.number()?);
    }
    Some(())
}

/// Six columns of `n` numbers, row by row.
fn six<T: Number + Default>(bytes: &mut Bytes<'_>, n: usize) -> Result<Vec<[T; 6]>, CodecError> {
    let mut numbers = vec![[T::default(); 6]; n];
    for place in (0..6).filter(|_| n > 0) {
        let column: Vec<T> = sized(bytes, n, "number")?;
        numbers.iter_mut().zip(column).for_each(|(numbers, number)| numbers[place] = number);
    }
    Ok(numbers)
}

/// Gives a window that has values its numbers.
fn set(window: &mut Window, [first, last, min, max, sum, increase]: [f64; 6]) {
    (window.first, window.last, window.min, window.max) = (Some(first), Some(last), Some(min), Some(max));
    (window.sum, window.increase) = (sum, Some(increase));
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

    fn check(rows: &[Kept]) {
        let windows = of_rows(rows);
        assert_eq!(
            windows.iter().map(|w| w.count() + w.bad.values().sum::<u64>()).sum::<u64>(),
            rows.len() as u64
        );
        let blob = encode(&windows, 1).unwrap();
        let (found, step) = decode(&blob).unwrap();
        assert_eq!((found.len(), step), (windows.len(), 1));
        for (found, expected) in found.iter().zip(&windows) {
            assert!(alike(found, expected), "{found:?} {expected:?}");
            let ends = |w: &Window| [w.first, w.last, w.min, w.max];
            assert_eq!(ends(found), ends(expected), "to the bit");
        }
    }

    #[test]
    fn windows_read_back_from_their_bytes() {
        let walk: Vec<_> = (0..1_440).map(|n| row(n, (n * 37 % 100) as f64 / 10.0 + 20.0)).collect();
        check(&walk);
        check(&(0..1_440).map(|n| row(n, (n as f64).sin())).collect::<Vec<_>>());
        check(&(0..90).map(|n| row(n, if n == 50 { 1e300 } else { -0.0 })).collect::<Vec<_>>());
        check(&(0..5).map(|n| row(n * 40 + 3, 0.0)).collect::<Vec<_>>());
        check(&[]);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let rows: Vec<_> = (0..200).map(|n| row(n, n as f64 / 10.0)).collect();
        let blob = encode(&of_rows(&rows), 1).unwrap();
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
            assert_eq!(decode(&encode(&days, DAY_H).unwrap()).unwrap().1, DAY_H);
        }
    }
}
