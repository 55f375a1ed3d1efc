//! Numbers that sensors write with a few decimals are whole numbers of a small unit; as such they take few bytes. Knows
//! no rows.

/// Most decimals tried.
const DECIMALS_MAX: u8 = 6;
/// Whole numbers up to here are exact in a `f64`.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
const POWERS: [f64; DECIMALS_MAX as usize + 1] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];

/// A number of decimals with which a set of values can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimals(u8);

impl Decimals {
    /// The fewest decimals that give every value back to the bit, if any do.
    pub(crate) fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let exact = |decimals: &Self| {
            values
                .clone()
                .all(|v| decimals.whole(v).is_some_and(|n| decimals.value(n).to_bits() == v.to_bits()))
        };
        (0..=DECIMALS_MAX).map(Self).find(exact)
    }

    /// The decimals that a file names.
    pub(crate) fn known(decimals: u8) -> Option<Self> {
        (decimals <= DECIMALS_MAX).then_some(Self(decimals))
    }

    pub(crate) fn count(self) -> u8 {
        self.0
    }

    /// The nearest whole number of units; `None` beyond what is exact.
    pub(crate) fn whole(self, value: f64) -> Option<i64> {
        let scaled = (value * POWERS[usize::from(self.0)]).round();
        (scaled.abs() < WHOLE_MAX).then_some(scaled as i64)
    }

    pub(crate) fn value(self, whole: i64) -> f64 {
        whole as f64 / POWERS[usize::from(self.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_decimals_that_give_every_value_back_are_found() {
        for (values, decimals) in [
            (&[][..], Some(0)),
            (&[1.0, -7.0, 0.0], Some(0)),
            (&[25.6, -0.1, 3.0], Some(1)),
            (&[0.123_456], Some(6)),
            (&[0.1 + 0.2], None),
            (&[-0.0], None),
            (&[1e300], None),
            (&[f64::MIN_POSITIVE], None),
        ] {
            assert_eq!(Decimals::of(values.iter().copied()).map(Decimals::count), decimals, "{values:?}");
        }
        let tenths = Decimals::known(1).unwrap();
        assert_eq!((tenths.whole(25.6), tenths.value(256), Decimals::known(7)), (Some(256), 25.6, None));
    }
}
