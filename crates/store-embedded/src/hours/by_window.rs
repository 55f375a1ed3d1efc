//! Reads the windows of stores before schema 5, which stood one behind the other instead of in columns.

use sitian_model::{Cause, Quality, Timestamp};
use sitian_series::Window;

use super::{HOUR_MS, set};
use crate::chunk::PLAIN;
use crate::decimal::Decimals;
use sitian_registry::bytes::{Bytes, CodecError};

pub(super) const LAYOUT: u8 = 5;

/// So many windows, each `step_ms` long.
pub(super) fn windows(bytes: &mut Bytes<'_>, n: usize, step_ms: i64) -> Result<Vec<Window>, CodecError> {
    let scale = bytes.byte().ok_or(CodecError::Column("decimals"))?;
    let decimals = Decimals::known(scale);
    if decimals.is_none() && scale != PLAIN {
        return Err(CodecError::Column("decimals"));
    }
    let mut state = State { hour: 0, last: 0, step_ms, decimals };
    let windows = (0..n).map(|_| state.window(bytes)).collect::<Option<Vec<_>>>();
    windows.ok_or(CodecError::Column("window"))
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
        let numbers = match self.decimals {
            Some(decimals) => self.steps(bytes, window.count())?.map(|whole| decimals.value(whole)),
            None => {
                let mut numbers = [0.0; 6];
                for number in &mut numbers {
                    *number = f64::from_le_bytes(bytes.take(8)?.try_into().ok()?);
                }
                numbers
            }
        };
        set(&mut window, numbers);
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
