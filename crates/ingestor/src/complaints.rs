//! Bad messages may come by the thousand: each kind is told once a minute per gateway, with how many there were.

use std::collections::HashMap;

use sitian_model::{GatewayId, Timestamp};

/// Time between two complaints of one kind about one gateway, in milliseconds.
const PAUSE_MS: i64 = 60_000;
/// Kinds and gateways told apart; beyond that all others share one complaint per kind.
const KEYS_MAX: usize = 1_024;

/// What has been complained of lately.
#[derive(Debug, Default)]
pub struct Complaints(HashMap<(&'static str, Option<GatewayId>), Told>);

#[derive(Debug)]
struct Told {
    at: Timestamp,
    /// Since then.
    unsaid: u64,
}

impl Complaints {
    /// Counts one bad message. If it is time to say so: how many there were since the last time, this one included.
    pub fn count(&mut self, kind: &'static str, gateway: &GatewayId, now: Timestamp) -> Option<u64> {
        let key = (kind, Some(gateway.clone()));
        let full = self.0.len() >= KEYS_MAX && !self.0.contains_key(&key);
        if full {
            self.0.retain(|_, told| told.unsaid > 0 || (0..PAUSE_MS).contains(&now.since_ms(told.at)));
        }
        let key = if full && self.0.len() >= KEYS_MAX { (kind, None) } else { key };
        match self.0.get_mut(&key) {
            Some(told) if (0..PAUSE_MS).contains(&now.since_ms(told.at)) => {
                told.unsaid += 1;
                None
            }
            told => {
                let count = told.map_or(0, |told| told.unsaid) + 1;
                self.0.insert(key, Told { at: now, unsaid: 0 });
                Some(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_messages_is_told_once_a_minute_with_its_count() {
        let gateway = |n: usize| GatewayId::new(&format!("gw-{n}")).expect("a well-formed id");
        let mut complaints = Complaints::default();
        let mut told = Vec::new();
        for ms in 0..150_000 {
            told.extend(complaints.count("batch", &gateway(1), Timestamp(ms)).map(|n| (ms, n)));
        }
        assert_eq!(told, [(0, 1), (60_000, 60_000), (120_000, 60_000)]);
        assert_eq!(complaints.count("state", &gateway(1), Timestamp(150_000)), Some(1), "another kind");
        assert_eq!(complaints.count("batch", &gateway(2), Timestamp(150_000)), Some(1), "another gateway");
    }

    #[test]
    fn however_many_names_complain_memory_and_log_stay_small() {
        let mut complaints = Complaints::default();
        let told = (0..100_000)
            .filter_map(|n| {
                let gateway = GatewayId::new(&format!("gw-{n}")).expect("a well-formed id");
                complaints.count("batch", &gateway, Timestamp(n))
            })
            .count();
        assert!(complaints.0.len() <= KEYS_MAX + 1, "{}", complaints.0.len());
        assert!(told <= 2 * KEYS_MAX + 100, "{told}");
    }
}
