//! How bad a world is: fault rates and sizes are themselves drawn, so that every seed is another climate and some faults
//! are quite absent from most of them.

use crate::dice::Dice;
use crate::line::Noise;

/// What may go wrong at large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Misfortune {
    PowerCut,
    Kill,
    DiskError,
    DiskFull,
    DiskReadOnly,
    DiskLies,
    BadSector,
    ListFails,
    LinkDown,
    Partition,
    BrokerKill,
    CentreKill,
    CentreCrashAfterCommit,
    TransactionsFail,
    Backup,
    RestoreBackup,
    TakeImage,
    RestoreImage,
    Wipe,
    Clone,
    Fork,
    ClockStep,
    TimeServer,
    Replay,
    DeadDevice,
}

/// Every misfortune with its usual weight, and whether it is in most climates (else in one of `rare`).
const WEIGHTS: &[(Misfortune, u64, u64)] = &[
    (Misfortune::PowerCut, 40, 1),
    (Misfortune::Kill, 6, 2),
    (Misfortune::DiskError, 6, 3),
    (Misfortune::DiskFull, 2, 4),
    (Misfortune::DiskReadOnly, 2, 4),
    (Misfortune::DiskLies, 1, 8),
    (Misfortune::BadSector, 2, 6),
    (Misfortune::ListFails, 1, 6),
    (Misfortune::LinkDown, 6, 2),
    (Misfortune::Partition, 5, 2),
    (Misfortune::BrokerKill, 4, 2),
    (Misfortune::CentreKill, 3, 2),
    (Misfortune::CentreCrashAfterCommit, 3, 2),
    (Misfortune::TransactionsFail, 3, 2),
    (Misfortune::Backup, 3, 2),
    (Misfortune::RestoreBackup, 1, 3),
    (Misfortune::TakeImage, 2, 3),
    (Misfortune::RestoreImage, 1, 4),
    (Misfortune::Wipe, 1, 5),
    (Misfortune::Clone, 1, 6),
    (Misfortune::Fork, 1, 8),
    (Misfortune::ClockStep, 3, 3),
    (Misfortune::TimeServer, 3, 2),
    (Misfortune::Replay, 4, 3),
    (Misfortune::DeadDevice, 3, 2),
];

/// One climate. Rates are "one in so many", 0 for never.
#[derive(Debug, Clone)]
pub struct Swarm {
    /// Gateways at the start.
    pub gateways: usize,
    /// How long faults go on, in milliseconds.
    pub safety_ms: u64,
    /// Mean time between two misfortunes, in milliseconds.
    pub misfortune_ms: u64,
    weights: Vec<(Misfortune, u64)>,
    /// Serial lines.
    pub noise: Noise,
    /// The broker confirms and forgets.
    pub drop: u64,
    /// The broker delivers twice.
    pub double: u64,
    /// The broker delivers much later.
    pub shuffle: u64,
    /// The broker delivers something else.
    pub mangle: u64,
    /// A gateway writes a record that nobody can decode.
    pub spoil: u64,
    /// Slow syncs.
    pub slow_sync: u64,
    /// Highest latency of one leg of the link, in milliseconds.
    pub latency_ms: u64,
    /// Bytes of the spool.
    pub spool_bytes: u64,
    /// How long acknowledged records are kept, in milliseconds.
    pub keep_behind_ms: i64,
    /// Bytes of one group of the centre.
    pub group_bytes: usize,
    /// Whether boards start without any idea of the time.
    pub no_clock: u64,
    /// Longest time that a board or process stays down, in milliseconds.
    pub down_ms: u64,
}

impl Swarm {
    /// Draws a climate.
    pub fn draw(dice: &mut Dice) -> Self {
        let rate = |dice: &mut Dice, rates: &[u64]| dice.pick(rates);
        let mut weights = Vec::new();
        for (misfortune, weight, rare) in WEIGHTS {
            if dice.one_in(*rare) {
                weights.push((*misfortune, weight * dice.between(1, 3)));
            }
        }
        let noise = Noise {
            silent: rate(dice, &[0, 40, 200]),
            late: rate(dice, &[0, 10, 60]),
            flipped: rate(dice, &[0, 30, 200]),
            stray: rate(dice, &[0, 30]),
            refused: rate(dice, &[0, 100]),
        };
        let (safety_ms, misfortune_ms) = match dice.below(10) {
            0 => (600_000, 12_000),
            1..=3 => (dice.between(60_000, 150_000), 600),
            _ => (dice.between(60_000, 200_000), dice.pick(&[1_500, 1_500, 4_000])),
        };
        Self {
            gateways: dice.between(1, 2) as usize,
            safety_ms,
            misfortune_ms,
            weights,
            noise,
            drop: rate(dice, &[0, 0, 10, 40]),
            double: rate(dice, &[0, 10, 40]),
            shuffle: rate(dice, &[0, 0, 10, 40]),
            mangle: rate(dice, &[0, 0, 0, 150]),
            spoil: rate(dice, &[0, 0, 0, 100]),
            slow_sync: rate(dice, &[0, 20, 200]),
            latency_ms: rate(dice, &[20, 200, 1_500]),
            spool_bytes: rate(dice, &[32, 64, 160, 1_024, 4_096, 4_096]) * 1024,
            keep_behind_ms: rate(dice, &[20, 60, 1_000_000]) as i64 * 1000,
            group_bytes: rate(dice, &[2_000, 4 << 20, 4 << 20]) as usize,
            no_clock: rate(dice, &[0, 2, 3]),
            down_ms: rate(dice, &[300, 2_000, 5_000]),
        }
    }

    /// What goes wrong next.
    pub fn misfortune(&self, dice: &mut Dice) -> Option<Misfortune> {
        let all: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = dice.below(all);
        for (misfortune, weight) in &self.weights {
            if left < *weight {
                return Some(*misfortune);
            }
            left -= weight;
        }
        None
    }
}
