//! Values that say where they come from: `f(board, bus, device, register, poll number)`. A lost, invented, doubled or
//! misattributed value shows by itself, from the row alone.

/// Values between two waves of a register: an alert rule with thresholds between them fires and clears.
pub const WAVE: u64 = 1 << 48;

/// Whose reading, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Which board, below 64: two boards may carry one gateway id.
    pub board: u64,
    /// Which bus of it, below 4.
    pub bus: u64,
    /// Which device on that, below 8.
    pub device: u64,
    /// Which register of that, below 8.
    pub register: u64,
    /// How many requests the device has served before, below 2^34.
    pub poll: u64,
}

impl Label {
    /// The value: exact in an `f64`.
    pub fn value(self) -> u64 {
        let Self { board, bus, device, register, poll } = self;
        (self.wave() * WAVE) | (board << 42) | (bus << 40) | (device << 37) | (register << 34) | poll
    }

    /// Rises and falls with the poll number, each register in its own way.
    fn wave(self) -> u64 {
        let mut x = ((self.poll / 3) << 8) | (self.register << 5) | (self.device << 2) | self.bus;
        x = (x ^ (x >> 7)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (x >> 40) % 8
    }

    /// The label of which this is the value, if it is one.
    pub fn of(value: f64) -> Option<Self> {
        let bits = value as u64;
        let field = |at: u64, width: u64| (bits >> at) & ((1 << width) - 1);
        let label = Self {
            board: field(42, 6),
            bus: field(40, 2),
            device: field(37, 3),
            register: field(34, 3),
            poll: field(0, 34),
        };
        (bits as f64 == value && label.value() == bits).then_some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_reads_back_from_its_value_and_other_values_have_none() {
        for poll in [0, 1, 2, 3, 77, (1 << 34) - 1] {
            for register in 0..8 {
                let label = Label { board: 63, bus: 3, device: 7, register, poll };
                let value = label.value() as f64;
                assert_eq!(value as u64, label.value());
                assert_eq!(Label::of(value), Some(label));
                assert_eq!(Label::of(value + WAVE as f64 * 9.0), None);
                assert_eq!(Label::of(value + 0.5), None);
            }
        }
    }
}
