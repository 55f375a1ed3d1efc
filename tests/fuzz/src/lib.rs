//! Targets for every parser of bytes that come from outside. A target is a plain function of bytes that must return: a panic is a
//! finding, and so is a value that does not survive being written and read again.
//!
//! Two ways to run them: mutated seeds, always the same (`cargo test`), or libFuzzer (README).

mod bytes;
mod disk;
mod texts;

pub use bytes::{dialects, rtu, spool, wire};
pub use texts::{catalogue, pattern, profiles, rules, settings, territory};

/// A parser under test.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// Inputs that it understands: where mutations begin.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "wire", run: wire, seeds: bytes::wire_seeds },
    Target { name: "spool", run: spool, seeds: bytes::spool_seeds },
    Target { name: "rtu", run: rtu, seeds: bytes::rtu_seeds },
    Target { name: "dialects", run: dialects, seeds: bytes::dialect_seeds },
    Target { name: "catalogue", run: catalogue, seeds: texts::catalogue_seeds },
    Target { name: "profiles", run: profiles, seeds: texts::profile_seeds },
    Target { name: "pattern", run: pattern, seeds: texts::pattern_seeds },
    Target { name: "rules", run: rules, seeds: texts::rule_seeds },
    Target { name: "territory", run: territory, seeds: texts::territory_seeds },
    Target { name: "settings", run: settings, seeds: texts::settings_seeds },
];

/// Changes an input in a few places: bits, bytes, pieces moved, doubled, dropped, or taken from another input.
pub fn mutate(random: &mut fastrand::Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=bytes.len());
        let end = at + random.usize(0..=(bytes.len() - at).min(32));
        match random.u8(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = random.usize(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            4 if !other.is_empty() => {
                let from = random.usize(0..other.len());
                let until = from + random.usize(0..=(other.len() - from).min(64));
                bytes.splice(at..end, other[from..until].iter().copied());
            }
            5 => {
                let digits = [
                    &b"0"[..],
                    b"-1",
                    b"65536",
                    b"99999999999999999999",
                    b"1e308",
                    b"\xFF\xFF\xFF\xFF",
                    b"{}",
                    b"\"",
                    b"\n",
                ];
                bytes.splice(at..end, digits[random.usize(0..digits.len())].iter().copied());
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}
