//! The measured data: sensors that walk. Every figure of the bench is about these readings.

use sitian_model::{EpochNo, PointNo, Quality, Row, Timestamp};

/// Milliseconds between two readings of a series.
pub const INTERVAL_MS: i64 = 300_000;
/// When the first readings are taken.
pub const START_MS: i64 = 1_750_000_200_000;
/// Readings of one record: the points of one gateway.
pub const RECORD: usize = 60;

/// In words, for the report.
pub const WALK: &str = "each series is read every 300 s, 0 to 249 ms late (uniform); values have one decimal and walk in steps of \
     -0.3 to +0.3 (0 twice as likely as each other); all readings are good";

/// One series.
#[derive(Debug, Clone)]
pub struct Walk {
    point: u32,
    n: u64,
    tenths: i64,
    dice: u64,
}

impl Walk {
    /// The series of a point, at its beginning.
    pub fn new(point: u32) -> Self {
        let dice = (u64::from(point) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { point, n: 0, tenths: 250, dice }
    }

    /// The next reading.
    pub fn row(&mut self) -> Row {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.tenths += [-3, -2, -1, 0, 0, 1, 2, 3][(self.dice % 8) as usize];
        let late = (self.dice >> 32) as i64 % 250;
        let at = START_MS + self.n as i64 * INTERVAL_MS + late;
        self.n += 1;
        Row {
            point: PointNo(self.point),
            at: Timestamp(at),
            value: Some(self.tenths as f64 / 10.0),
            quality: Quality::Good,
            epoch: EpochNo(self.point / RECORD as u32),
            seq: self.n - 1,
        }
    }
}

/// All series, round by round, in batches of 100 records.
#[derive(Debug)]
pub struct Field {
    walks: Vec<Walk>,
    next: usize,
    left: u64,
}

impl Field {
    /// Readings in one batch.
    pub const BATCH: usize = 100 * RECORD;

    /// So many series with so many readings each.
    pub fn new(series: u32, each: u64) -> Self {
        Self { walks: (0..series).map(Walk::new).collect(), next: 0, left: each * u64::from(series) }
    }

    /// The next batch; `None` at the end.
    pub fn batch(&mut self) -> Option<Vec<Row>> {
        let count = self.left.min(Self::BATCH as u64);
        self.left -= count;
        let mut rows = Vec::with_capacity(count as usize);
        for _ in 0..count {
            rows.push(self.walks[self.next].row());
            self.next = (self.next + 1) % self.walks.len();
        }
        (count > 0).then_some(rows)
    }
}
