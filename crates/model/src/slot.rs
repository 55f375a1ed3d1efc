//! Where a gateway belongs when several ingestors share the work, and the numbers that are given out there.
//!
//! ```text
//!  gateway id ── CRC-32C mod 64 ─► slot 0 … 63 ── owned by one ingestor at a time
//!                                   └─ numbers ≡ slot (mod 64): those of two slots never meet
//! ```

use crate::GatewayId;

/// One of the 64 parts into which all gateways fall. Stable for ever: what is stored is filed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// How many there are.
    pub const COUNT: u8 = 64;

    /// The slot of this number, 0 to 63.
    pub fn new(number: u8) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Where a gateway belongs: CRC-32C of its id, modulo [`Slot::COUNT`].
    pub fn of(gateway: &GatewayId) -> Self {
        let crc = crc32c::crc32c(gateway.as_str().as_bytes());
        Self((crc % u32::from(Self::COUNT)) as u8)
    }

    /// Every slot, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// Its number, 0 to 63.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Gives out numbers in rising order, each once: all of them, or only those of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    class: u64,
    step: u64,
    next: u64,
}

impl Numbers {
    /// Every number, from 0 on.
    pub const ALL: Self = Self { class: 0, step: 1, next: 0 };

    /// The numbers of a slot: its own, plus 64, plus 128, …
    pub fn of(slot: Slot) -> Self {
        let class = u64::from(slot.number());
        Self { class, step: u64::from(Slot::COUNT), next: class }
    }

    /// This number is taken: it and everything below are not given out.
    pub fn pass(&mut self, taken: u64) {
        if taken >= self.next {
            let beyond = (taken + 1).saturating_sub(self.class);
            self.next = self.class + beyond.div_ceil(self.step) * self.step;
        }
    }

    /// The number that comes next.
    pub fn peek(&self) -> u64 {
        self.next
    }

    /// The last of so many numbers, if they were taken now; the next one if `many` is 0.
    pub fn last_of(&self, many: u64) -> u64 {
        self.next.saturating_add(self.step.saturating_mul(many.saturating_sub(1)))
    }

    /// Takes the next number.
    pub fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += self.step;
        number
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_stays_in_its_slot_for_ever() {
        // Do not change these: everything stored is filed by them.
        let rows = [
            ("gw", 55),
            ("gw-1", 44),
            ("gw-2", 24),
            ("dangzhai-01", 6),
            ("a", 48),
            ("0123456789-abcdefghijklmnopqrst-", 63),
        ];
        for (id, slot) in rows {
            assert_eq!(Slot::of(&GatewayId::new(id).unwrap()).number(), slot, "{id}");
        }
    }

    #[test]
    fn gateways_fall_evenly() {
        let mut many = [0u32; Slot::COUNT as usize];
        for number in 0..64_000 {
            let gateway = GatewayId::new(&format!("gw-{number:05}")).unwrap();
            many[usize::from(Slot::of(&gateway).number())] += 1;
        }
        assert!(many.iter().all(|many| (800..1_200).contains(many)), "{many:?}");
    }

    #[test]
    fn numbers_rise_within_their_class() {
        let slot = |number| Numbers::of(Slot::new(number).unwrap());
        let rows = [
            (Numbers::ALL, &[][..], [0, 1, 2]),
            (Numbers::ALL, &[0], [1, 2, 3]),
            (Numbers::ALL, &[9, 4], [10, 11, 12]),
            (slot(0), &[], [0, 64, 128]),
            (slot(0), &[0], [64, 128, 192]),
            (slot(5), &[], [5, 69, 133]),
            (slot(5), &[4], [5, 69, 133]),
            (slot(5), &[5], [69, 133, 197]),
            // Given out by somebody who counted all of them.
            (slot(5), &[68], [69, 133, 197]),
            (slot(5), &[70], [133, 197, 261]),
            (slot(63), &[1_000, 3], [1_023, 1_087, 1_151]),
        ];
        for (mut numbers, taken, expected) in rows {
            taken.iter().for_each(|taken| numbers.pass(*taken));
            assert_eq!(numbers.last_of(3), expected[2], "{numbers:?}");
            assert_eq!([numbers.take(), numbers.take(), numbers.take()], expected, "{taken:?}");
        }
    }
}
