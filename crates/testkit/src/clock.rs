//! A faithful copy of the gateway's clock (`crates/gateway/src/clock.rs`) that reads the board's oscillator and wall
//! clock from the world instead of from the operating system.

use sitian_model::{Clock, Timestamp};

const NTP_UNCERTAINTY_MS: u32 = 100;
const AGREE_MS: i64 = 10_000;

/// The gateway's clock.
#[derive(Debug, Clone)]
pub struct BoardClock {
    boot: u64,
    known: Option<Clock>,
    /// The operating system's wall clock at monotonic zero; whatever sets the wall clock changes it.
    pub system_zero_ms: i64,
    /// A time server has set the wall clock.
    pub synchronized: bool,
}

impl BoardClock {
    /// A clock that knows no wall time yet.
    pub fn new(boot: u64, system_zero_ms: i64, synchronized: bool, mono_ms: u64) -> Self {
        let mut clock = Self { boot, known: None, system_zero_ms, synchronized };
        clock.check_time_server(mono_ms);
        clock
    }

    /// Identifies this run of the board.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// The wall time of a monotonic moment: the best there is, believed or not.
    pub fn wall(&self, at_ms: u64) -> Timestamp {
        let zero = self.known.map_or(self.system_zero_ms, |clock| clock.wall_at_zero_ms);
        Timestamp(zero + at_ms as i64)
    }

    /// How far [`Self::wall`] may be off; `None` while nobody vouched for it in this boot.
    pub fn uncertainty_ms(&self) -> Option<u32> {
        self.known.map(|clock| clock.uncertainty_ms)
    }

    /// What to tell the centre about this boot's clock.
    pub fn known(&self) -> Option<Clock> {
        self.known
    }

    /// Looks whether a time server has set the wall clock, and follows its later corrections.
    pub fn check_time_server(&mut self, mono_ms: u64) {
        if self.synchronized {
            self.believe(self.system_zero_ms + mono_ms as i64, NTP_UNCERTAINTY_MS, mono_ms);
        }
    }

    /// The centre said what time it is, at most `round_trip_ms` ago. True if that made the time known.
    pub fn hear_centre(&mut self, server_ms: i64, round_trip_ms: u32, mono_ms: u64) -> bool {
        if self.known.is_some() {
            return false;
        }
        let own = self.system_zero_ms + mono_ms as i64;
        let off = (own - server_ms).abs();
        if off <= AGREE_MS.max(i64::from(round_trip_ms)) {
            self.believe(own, u32::try_from(off).unwrap_or(u32::MAX).max(round_trip_ms), mono_ms);
        } else {
            self.believe(server_ms, round_trip_ms.max(1), mono_ms);
        }
        true
    }

    fn believe(&mut self, wall_ms: i64, uncertainty_ms: u32, mono_ms: u64) {
        let wall_at_zero_ms = wall_ms - mono_ms as i64;
        self.known = Some(Clock { boot: self.boot, wall_at_zero_ms, uncertainty_ms });
    }
}
