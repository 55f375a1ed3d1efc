//! From registers to a value with its quality, and back.

use sitian_model::{Cause, Quality};

use crate::{Decimal, Kind, Order, ProfilePoint};

/// What else was read that the value depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Context {
    /// Content of the point's unit register, if it has one and it could be read.
    pub unit: Option<u16>,
    /// Content of the point's decimals register, if it has one and it could be read.
    pub decimals: Option<u16>,
    /// Content of the point's status register, if it has one and it could be read.
    pub status: Option<u16>,
}

/// Decodes the point's own registers. A value is `None` exactly if the quality is bad:
///
/// - too few registers, a NaN, an infinity, a "no value" marker, an unknown unit code: bad, not a number;
/// - a unit, decimals or status register that was not read: bad, preparation;
/// - a status bit of the device that speaks against it: bad, device status; or uncertain, and the value is kept;
/// - outside the plausible range: uncertain, implausible; the value is kept.
///
/// The value is the nearest `f64` to the exact decimal result: 359 × 0.1 is 35.9. An `f32` counts as the shortest
/// decimal that reads back as it, so that 7.86 stays 7.86.
pub fn decode(point: &ProfilePoint, registers: &[u16], context: Context) -> (Option<f64>, Quality) {
    let status = match (point.status_register, context.status) {
        (Some(_), None) => return (None, Quality::Bad(Cause::Preparation)),
        (Some(register), Some(bits)) if bits & register.bad != 0 => {
            return (None, Quality::Bad(Cause::DeviceStatus));
        }
        (Some(register), Some(bits)) if bits & register.uncertain != 0 => {
            Quality::Uncertain(Cause::DeviceStatus)
        }
        _ => Quality::Good,
    };
    let value = exact_value(point, registers, context).map(Decimal::to_f64);
    match value {
        Ok(value) if !value.is_finite() => (None, Quality::Bad(Cause::NotANumber)),
        Ok(value) if value < point.min || value > point.max => {
            (Some(value), Quality::Uncertain(Cause::Implausible))
        }
        Ok(value) => (Some(value), status),
        Err(cause) => (None, Quality::Bad(cause)),
    }
}

fn exact_value(point: &ProfilePoint, registers: &[u16], context: Context) -> Result<Decimal, Cause> {
    let bits = bits_of(point, registers).ok_or(Cause::NotANumber)?;
    let width = u32::from(point.kind.registers()) * 16;
    let raw = match point.kind {
        Kind::F32 => Decimal::of_f32(f32::from_bits(bits as u32)),
        Kind::F64 => Decimal::of_f64(f64::from_bits(bits)),
        Kind::Bits(mask) => {
            Some(Decimal::integer(i128::from((bits & u64::from(mask)) >> mask.trailing_zeros().min(15))))
        }
        Kind::U16 | Kind::U32 | Kind::U64 => Some(Decimal::integer(i128::from(bits))),
        Kind::S16 | Kind::S32 | Kind::S64 => {
            Some(Decimal::integer(i128::from(((bits << (64 - width)) as i64) >> (64 - width))))
        }
    };
    let raw = raw.ok_or(Cause::NotANumber)?;
    let whole = (!point.kind.is_float()).then_some(raw.digits);
    if point.missing.iter().any(|marker| *marker == i128::from(bits) || Some(*marker) == whole) {
        return Err(Cause::NotANumber);
    }
    let factor = factor(point, context)?;
    let scaled = raw.times(factor).ok_or(Cause::NotANumber)?;
    Ok(scaled.plus(point.offset).unwrap_or_else(|| {
        // Only a float with an extreme exponent gets here; there the offset is below its resolution, or it is all.
        let sum = scaled.to_f64() + point.offset.to_f64();
        Decimal::of_f64(sum).unwrap_or(scaled)
    }))
}

/// What one raw step is in the point's unit, all registers considered.
fn factor(point: &ProfilePoint, context: Context) -> Result<Decimal, Cause> {
    let mut factor = point.scale;
    if let Some(unit) = &point.unit_register {
        let code = context.unit.ok_or(Cause::Preparation)?;
        let known = unit.codes.iter().find(|(known, _)| *known == code).ok_or(Cause::NotANumber)?;
        factor = factor.times(known.1).ok_or(Cause::NotANumber)?;
    }
    if let Some(decimals) = point.decimals_register {
        let places = context.decimals.ok_or(Cause::Preparation)?;
        if places > u16::from(decimals.max) {
            return Err(Cause::NotANumber);
        }
        factor = factor.shifted(-i32::from(places));
    }
    Ok(factor)
}

/// The point's bit pattern, most significant bit first, out of its registers.
fn bits_of(point: &ProfilePoint, registers: &[u16]) -> Option<u64> {
    let count = usize::from(point.kind.registers());
    let mut words = [0_u16; 4];
    let words = &mut words[..count];
    words.copy_from_slice(registers.get(..count)?);
    reorder(words, point.order);
    Some(words.iter().fold(0, |bits, word| bits << 16 | u64::from(*word)))
}

/// Brings words into big-endian order, or from there into the device's: every order is its own inverse.
fn reorder(words: &mut [u16], order: Order) {
    if words.len() == 1 {
        return;
    }
    if matches!(order, Order::Cdab | Order::Dcba) {
        words.reverse();
    }
    if matches!(order, Order::Badc | Order::Dcba) {
        words.iter_mut().for_each(|word| *word = word.swap_bytes());
    }
}

/// The registers with which a device would say this value: the inverse of [`decode`]. The value is rounded to the
/// nearest raw step and clamped to what the kind can hold. A value that is no number becomes NaN, or the first
/// "no value" marker, or 0. A missing context counts as a factor of one.
pub fn encode(point: &ProfilePoint, value: f64, context: Context) -> Vec<u16> {
    let width = u32::from(point.kind.registers()) * 16;
    let raw = Decimal::of_f64(value).and_then(|value| {
        let factor = factor(point, context).unwrap_or(point.scale);
        value.plus(point.offset.negated()).map(|shifted| (shifted, factor))
    });
    let bits = match (point.kind, raw) {
        (Kind::F32, Some((shifted, factor))) => u64::from((quotient(shifted, factor) as f32).to_bits()),
        (Kind::F64, Some((shifted, factor))) => quotient(shifted, factor).to_bits(),
        (Kind::F32, None) => u64::from(f32::NAN.to_bits()),
        (Kind::F64, None) => f64::NAN.to_bits(),
        (Kind::Bits(mask), Some((shifted, factor))) => {
            let shift = mask.trailing_zeros().min(15);
            (rounded(shifted, factor).clamp(0, i128::from(mask >> shift)) as u64) << shift
        }
        (kind, Some((shifted, factor))) => {
            let (min, max) = if kind.is_signed() {
                (-(1_i128 << (width - 1)), (1_i128 << (width - 1)) - 1)
            } else {
                (0, (1_i128 << width) - 1)
            };
            rounded(shifted, factor).clamp(min, max) as u64
        }
        (_, None) => point.missing.first().map_or(0, |marker| *marker as u64),
    };
    let mut words: Vec<u16> =
        (0..point.kind.registers()).rev().map(|n| (bits >> (u32::from(n) * 16)) as u16).collect();
    reorder(&mut words, point.order);
    words
}

/// `shifted / factor` to the nearest integer, in decimals where they suffice.
fn rounded(shifted: Decimal, factor: Decimal) -> i128 {
    let exact = || {
        let places = shifted.exponent.checked_sub(factor.exponent)?;
        let power = 10_i128.checked_pow(places.unsigned_abs())?;
        let (over, under) = if places < 0 {
            (shifted.digits, factor.digits.checked_mul(power)?)
        } else {
            (shifted.digits.checked_mul(power)?, factor.digits)
        };
        let half = under.checked_abs()? / 2;
        let nearest = if (over < 0) == (under < 0) {
            over.checked_add(half * under.signum())?
        } else {
            over.checked_sub(half * under.signum())?
        };
        nearest.checked_div(under)
    };
    exact().unwrap_or_else(|| (shifted.to_f64() / factor.to_f64()).round() as i128)
}

/// `shifted / factor` as a float, rounded once where the factor is a power of ten.
fn quotient(shifted: Decimal, factor: Decimal) -> f64 {
    if factor.digits == 1 {
        return shifted.shifted(factor.exponent.saturating_neg()).to_f64();
    }
    shifted.to_f64() / factor.to_f64()
}

#[cfg(test)]
mod tests;
