//! Decimal numbers without rounding: `359 × 0.1` is 35.9, not 35.900000000000006.

use std::fmt;

/// A decimal number `digits × 10^exponent`, exactly as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// All digits with the sign.
    pub digits: i128,
    /// Power of ten.
    pub exponent: i32,
}

/// Why a text is no decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a decimal number has up to 18 digits, such as 0.1, -40 or 2.5e-3")]
pub struct DecimalError;

/// The powers of ten that are exact in an `f64`.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Integers up to this one are exact in an `f64`.
const EXACT_INTEGER_MAX: u128 = 1 << 53;

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { digits: 0, exponent: 0 };
    /// One.
    pub const ONE: Self = Self { digits: 1, exponent: 0 };

    /// Reads `0.1`, `-40`, `1_000`, `2.5e-3`. Refuses anything else, and more than 18 significant digits.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                (mantissa, exponent.parse::<i16>().map_err(|_| DecimalError)?.into())
            }
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.as_bytes().first() {
            Some(b'-') => (true, &mantissa[1..]),
            Some(b'+') => (false, &mantissa[1..]),
            _ => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
        if !whole.starts_with(|c: char| c.is_ascii_digit()) || !fits(whole) || !fits(fraction) {
            return Err(DecimalError);
        }
        let mut digits: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()).filter(u8::is_ascii_digit) {
            digits = digits * 10 + i128::from(digit - b'0');
            if digits >= 10_i128.pow(18) {
                return Err(DecimalError);
            }
        }
        let places = fraction.bytes().filter(u8::is_ascii_digit).count() as i32;
        Ok(Self { digits: if negative { -digits } else { digits }, exponent: exponent - places }.shortened())
    }

    /// The whole number.
    pub fn integer(number: i128) -> Self {
        Self { digits: number, exponent: 0 }
    }

    /// The shortest decimal that reads back as this finite number; `None` for NaN and infinities.
    pub fn of_f64(number: f64) -> Option<Self> {
        number.is_finite().then(|| Self::of_scientific(&format!("{number:e}")))
    }

    /// The shortest decimal that reads back as this finite number: 7.86 and not 7.860000133514404.
    pub fn of_f32(number: f32) -> Option<Self> {
        number.is_finite().then(|| Self::of_scientific(&format!("{number:e}")))
    }

    /// Reads Rust's own scientific notation, which has at most 17 digits.
    fn of_scientific(text: &str) -> Self {
        Self::parse(text).unwrap_or(Self::ZERO)
    }

    /// The exact product.
    pub fn times(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        Some(Self { digits, exponent: self.exponent.checked_add(other.exponent)? })
    }

    /// The exact sum; `None` if it needs more than 38 digits.
    pub fn plus(self, other: Self) -> Option<Self> {
        if other.digits == 0 {
            return Some(self);
        }
        if self.digits == 0 {
            return Some(other);
        }
        let exponent = self.exponent.min(other.exponent);
        let widen = |d: Self| 10_i128.checked_pow((d.exponent - exponent) as u32)?.checked_mul(d.digits);
        Some(Self { digits: widen(self)?.checked_add(widen(other)?)?, exponent })
    }

    /// The number with the opposite sign.
    pub fn negated(self) -> Self {
        Self { digits: -self.digits, exponent: self.exponent }
    }

    /// The number times ten to the given power.
    pub fn shifted(self, power: i32) -> Self {
        Self { digits: self.digits, exponent: self.exponent.saturating_add(power) }
    }

    /// The nearest `f64`, as if the decimal text had been read.
    pub fn to_f64(self) -> f64 {
        let power = EXACT_POWERS.get(self.exponent.unsigned_abs() as usize);
        if let (Some(power), true) = (power, self.digits.unsigned_abs() <= EXACT_INTEGER_MAX) {
            // Both operands are exact, so the one IEEE operation rounds correctly.
            let digits = self.digits as f64;
            return if self.exponent < 0 { digits / power } else { digits * power };
        }
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The same number without trailing zeros in `digits`.
    fn shortened(mut self) -> Self {
        while self.digits != 0 && self.digits % 10 == 0 {
            self.digits /= 10;
            self.exponent += 1;
        }
        if self.digits == 0 { Self::ZERO } else { self }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if (-18..0).contains(&self.exponent) {
            let power = 10_u128.pow(self.exponent.unsigned_abs());
            let digits = self.digits.unsigned_abs();
            let sign = if self.digits < 0 { "-" } else { "" };
            let width = self.exponent.unsigned_abs() as usize;
            return write!(f, "{sign}{}.{:0width$}", digits / power, digits % power);
        }
        match self.exponent {
            0 => write!(f, "{}", self.digits),
            exponent => write!(f, "{}e{exponent}", self.digits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_read_what_people_write_and_refuse_the_rest() {
        for (text, shown) in [
            ("0.1", Some("0.1")),
            ("-0.01", Some("-0.01")),
            ("1", Some("1")),
            ("100", Some("1e2")),
            ("2.50", Some("2.5")),
            ("2.5e-3", Some("0.0025")),
            ("1_000.5", Some("1000.5")),
            ("0.000", Some("0")),
            ("", None),
            (".5", None),
            ("x0.1", None),
            ("0,1", None),
            ("1/10", None),
            ("nan", None),
            ("inf", None),
            ("1e99999", None),
            ("1234567890123456789", None),
        ] {
            assert_eq!(Decimal::parse(text).ok().map(|d| d.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn products_are_what_the_decimal_text_says_and_not_what_binary_makes_of_it() {
        for (raw, scale, value) in [
            (359, "0.1", 35.9),
            (3, "0.1", 0.3),
            (-205, "0.1", -20.5),
            (1234, "0.001", 1.234),
            (101, "0.2", 20.2),
            (i128::from(u64::MAX), "0.01", 184_467_440_737_095_516.15),
        ] {
            let product = Decimal::integer(raw).times(Decimal::parse(scale).unwrap()).unwrap();
            assert_eq!(product.to_f64(), value, "{raw} × {scale}");
        }
    }
}
