//! Monotonic time since boot and, once somebody vouches for it, wall time. A Pi has no clock battery: after a power cut
//! its wall clock shows the past until NTP or the centre has answered, so nothing is believed before that.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use sitian_model::{Clock, Mutant, Timestamp};

/// Set by systemd-timesyncd (the default of Raspberry Pi OS and Debian) once it has heard a time server.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// How far a clock that a time server set may be off.
const NTP_UNCERTAINTY_MS: u32 = 100;
/// A wall clock this close to the centre's is believed; beyond it, the centre is.
const AGREE_MS: i64 = 10_000;
/// How long the centre's word about the time is good for.
const BELIEVED_MS: u64 = 600_000;

/// The gateway's clock. The reading of it is here and nowhere else.
pub struct BoardClock {
    boot: u64,
    known: Option<Clock>,
    /// When the centre vouched for the time; `None` if a time server did.
    heard_ms: Option<u64>,
}

impl BoardClock {
    /// A clock that knows no wall time yet.
    pub fn new() -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = id.bytes().filter_map(|b| (b as char).to_digit(16)).take(16);
        let mut clock =
            Self { boot: boot.fold(0, |n, digit| n << 4 | u64::from(digit)), known: None, heard_ms: None };
        clock.check_time_server();
        clock
    }

    /// Identifies this run of the board.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// The wall time of a monotonic moment: the best there is, believed or not.
    pub fn wall(&self, at_ms: u64) -> Timestamp {
        let zero = self.known.map_or_else(|| wall_ms() - mono_ms() as i64, |clock| clock.wall_at_zero_ms);
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
    pub fn check_time_server(&mut self) {
        if Path::new(SYNCHRONIZED).exists() || Mutant::ClockBelieved.lives() {
            self.heard_ms = None;
            self.believe(wall_ms(), NTP_UNCERTAINTY_MS);
        }
    }

    /// The centre said what time it is, at most `round_trip_ms` ago. True if that made the time known.
    pub fn hear_centre(&mut self, server_ms: i64, round_trip_ms: u32) -> bool {
        // A quartz is off by seconds a day: the centre is believed anew now and then, unless a time server vouches.
        let fresh = self.heard_ms.is_none_or(|heard| mono_ms() < heard + BELIEVED_MS);
        if self.known.is_some() && fresh {
            return false;
        }
        self.heard_ms = Some(mono_ms());
        let own = wall_ms();
        let off = (own - server_ms).abs();
        if off <= AGREE_MS.max(i64::from(round_trip_ms)) {
            self.believe(own, u32::try_from(off).unwrap_or(u32::MAX).max(round_trip_ms));
        } else {
            self.believe(server_ms, round_trip_ms.max(1));
        }
        true
    }

    fn believe(&mut self, wall_ms: i64, uncertainty_ms: u32) {
        let wall_at_zero_ms = wall_ms - mono_ms() as i64;
        self.known = Some(Clock { boot: self.boot, wall_at_zero_ms, uncertainty_ms });
    }
}

/// Milliseconds since power-on, suspend included.
pub fn mono_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use sitian_model::{Cause, Quality};
    use sitian_poll::Sample;

    use super::*;
    use crate::gather::{Gather, record};

    #[test]
    fn a_wall_clock_is_believed_when_the_centre_agrees_and_replaced_when_it_does_not() {
        for (offset_ms, believed_own) in
            [(0, true), (3_000, true), (-9_000, true), (3_600_000, false), (-86_400_000, false)]
        {
            let mut clock = BoardClock { boot: 1, known: None, heard_ms: None };
            assert_eq!(clock.uncertainty_ms(), None);
            assert!(clock.hear_centre(wall_ms() + offset_ms, 40));
            let error = clock.wall(mono_ms()).0 - wall_ms();
            let expected = if believed_own { 0 } else { offset_ms };
            assert!((error - expected).abs() < 200, "{offset_ms}: {error}");
            assert!(!clock.hear_centre(wall_ms(), 40), "only the first word counts");
        }
    }

    #[test]
    fn a_device_s_date_counts_only_beside_a_clock_that_is_known() {
        let good = Sample { point: 0, value: Some(1.0), quality: Quality::Good };
        let doubt = Quality::Uncertain(Cause::ClockUnknown);
        let check = |clock: &BoardClock, ahead_ms: i64, expected: (i64, Quality)| {
            let arrived = clock.wall(700);
            let mut gather = Gather::default();
            assert!(gather.add(&good, 700, Some(arrived.plus_ms(ahead_ms))).is_none());
            assert!(gather.add(&Sample { point: 1, ..good }, 700, None).is_none());
            let readings = record(clock, &gather.seal().expect("two samples")).readings;
            // The wall clock is asked twice, and may have gone on.
            let near = |found: i64, wanted: i64| (found - wanted).abs() < 60_000;
            assert!(near(readings[0].at.since_ms(arrived), expected.0), "{ahead_ms} ms ahead: {readings:?}");
            assert_eq!((readings[0].quality, readings[1].quality), (expected.1, Quality::Good), "{ahead_ms}");
            assert!(near(readings[1].at.since_ms(arrived), 0), "{ahead_ms} ms ahead: {readings:?}");
        };
        let unknown = || BoardClock { boot: 1, known: None, heard_ms: None };
        let mut known = unknown();
        assert!(known.hear_centre(1_790_000_000_000, 5));
        for (ahead_ms, beside_known) in [
            (-3_600_000, (-3_600_000, Quality::Good)),
            (590_000, (590_000, Quality::Good)),
            (900_000, (0, doubt)),
        ] {
            check(&known, ahead_ms, beside_known);
            check(&unknown(), ahead_ms, (0, doubt));
        }
    }
}
