//! Windows that InfluxDB 2 works out itself, from a moment on and up to another without it, as ours. It tells a window at
//! its end.

use std::collections::BTreeMap;

use sitian_model::Quality;
use sitian_series::Window;

use super::{Influx, flux};
use crate::fault::EngineError;
use crate::names::Choice;

/// So many moments that are not good are looked at one by one; if there are more, the rows are counted.
const DOUBTFUL_MAX: usize = 50_000;

/// Gives windows of one length and one point, without holes between them, their numbers. False if the rows have to be
/// counted: several series share a window, since the point's tags changed, or little is good.
pub(super) fn fill(
    influx: &Influx,
    choice: &Choice<'_>,
    window_ms: i64,
    windows: &mut [Window],
) -> Result<bool, EngineError> {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Ok(true) };
    let span = first.from.0..last.to.0;
    let mut all: BTreeMap<usize, u64> = BTreeMap::new();
    let (mut shared, mut doubtful) = (false, 0);
    let query = flux::windows(&influx.bucket, choice, &span, window_ms, DOUBTFUL_MAX);
    influx.records(&query, |record| {
        let (name, at, number) = (record.get("result")?, record.time()?, record.number()?);
        // A moment lies in its window; a window is told at its end.
        let at = if name == "doubtful" { at } else { at - window_ms };
        let place = usize::try_from((at - span.start).div_euclid(window_ms)).ok()?;
        let window = windows.get_mut(place)?;
        match name {
            "all" => shared |= all.insert(place, number as u64).is_some(),
            "sum" => window.sum = number,
            "min" => window.min = Some(number),
            "max" => window.max = Some(number),
            "first" => window.first = Some(number),
            "last" => window.last = Some(number),
            "doubtful" => {
                doubtful += 1;
                match Quality::from_code(number as u8)? {
                    Quality::Good => return None,
                    Quality::Uncertain(_) => window.uncertain += 1,
                    Quality::Bad(cause) => *window.bad.entry(cause).or_default() += 1,
                }
            }
            _ => return None,
        }
        Some(())
    })?;
    for (place, rows) in all {
        let window = &mut windows[place];
        window.good = rows.saturating_sub(window.uncertain + window.bad.values().sum::<u64>());
    }
    Ok(!shared && doubtful < DOUBTFUL_MAX)
}
