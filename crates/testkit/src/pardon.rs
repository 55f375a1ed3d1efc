//! What the oracle lets pass, each with its reason, and how often it did. What is never needed is no excuse and goes.

/// Why something that looks wrong is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pardon {
    /// A label names two records, or records come out of order: two machines wrote one epoch, from copied memory.
    ForkedEpoch,
    /// Not stored: the card that it was accepted on was wiped, exchanged or lied, or its sector cannot be read.
    OffCard,
    /// Not stored: acknowledged, trimmed, and then forgotten by a centre that was restored, which says since then that
    /// readings of this gateway are missing.
    TrimmedThenForgotten,
    /// Not stored: acknowledged and trimmed, a centre was restored that does not know it, and before that centre heard of it
    /// the card had forgotten the label of its epoch too: it remembers a bounded number of them, the newest.
    CrowdedOut,
    /// Not stored: labelled in a forked epoch by a process that only inherited it, and cannot tell whose readings the centre has.
    InheritedFork,
    /// In a gap as damaged: the disk was faulty.
    DamagedByDisk,
    /// In a gap as evicted: the spool said that it lost records.
    EvictionTold,
    /// In a gap as trimmed or evicted: a restored centre asked for what was gone; after a restart the spool cannot tell the two apart.
    GoneBeforeRestore,
    /// Stored under two labels: both writers of a forked epoch move what they shared.
    MovedTwice,
    /// A loss was told: a card was exchanged or lied.
    LossOfCard,
    /// A loss was told: a disk was faulty.
    LossOfDisk,
    /// A loss was told: of a gateway with copies, whose cards list different ends of one epoch.
    LossOfClone,
}

impl Pardon {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::ForkedEpoch,
        Self::OffCard,
        Self::TrimmedThenForgotten,
        Self::CrowdedOut,
        Self::InheritedFork,
        Self::DamagedByDisk,
        Self::EvictionTold,
        Self::GoneBeforeRestore,
        Self::MovedTwice,
        Self::LossOfCard,
        Self::LossOfDisk,
        Self::LossOfClone,
    ];
}

/// How often each was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pardons([u64; Pardon::ALL.len()]);

impl Pardons {
    /// Once more.
    pub fn note(&mut self, pardon: Pardon) {
        self.0[pardon as usize] += 1;
    }

    /// How often.
    pub fn count(&self, pardon: Pardon) -> u64 {
        self.0[pardon as usize]
    }

    /// Adds those of another world.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }
}
