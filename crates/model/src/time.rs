//! Moments and spans in milliseconds. Reading the clock is the shells' business; here time is only a value.

/// A moment: milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `ms` milliseconds later (saturating).
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; negative if `earlier` is later (saturating).
    pub fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A half-open span of time: `from` included, `to` excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// First moment inside.
    pub from: Timestamp,
    /// First moment outside.
    pub to: Timestamp,
}

impl Span {
    /// Nobody knows when: contains no moment.
    pub const UNKNOWN: Self = Self { from: Timestamp(i64::MAX), to: Timestamp(i64::MIN) };

    /// False of a span that ends before it begins, such as [`Self::UNKNOWN`].
    pub fn is_known(&self) -> bool {
        self.from <= self.to
    }

    /// True if `at` lies inside.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}
