//! Tells a cloned gateway from a restarted one.
//!
//! A gateway that opens a new epoch never adds to an older one, so the times of its live epochs follow each other. Two
//! programs under one id add to two epochs over the same stretch of time. The order of arrival says nothing: a broker
//! may delay and shuffle.

use sitian_model::{Epoch, Timestamp};

/// Two live epochs that share more than this much time have two writers, in milliseconds. A clock set back by less than
/// this between two starts of one gateway is no clone.
const SHARED_MS_MAX: i64 = 5_000;

/// An epoch that has not added anything for this long, by the server's clock, is no rival, in milliseconds.
const RIVAL_MS: i64 = 120_000;

/// Live epochs looked at per gateway.
const TENURES_MAX: usize = 4;

/// The most recently active live epochs of one gateway.
#[derive(Debug, Default)]
pub(crate) struct Tenures(Vec<Tenure>);

#[derive(Debug)]
struct Tenure {
    epoch: Epoch,
    first: Timestamp,
    last: Timestamp,
    active: Timestamp,
}

impl Tenures {
    /// Notes that a live epoch has added readings over `span`; gives the epoch of a second writer, if there is one.
    pub(crate) fn observe(
        &mut self,
        epoch: Epoch,
        span: (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Option<Epoch> {
        let at = match self.0.iter().position(|t| t.epoch == epoch) {
            Some(at) => at,
            None => {
                self.make_room();
                self.0.push(Tenure { epoch, first: span.0, last: span.1, active: now });
                self.0.len() - 1
            }
        };
        let tenure = &mut self.0[at];
        tenure.first = tenure.first.min(span.0);
        tenure.last = tenure.last.max(span.1);
        tenure.active = now;
        let (first, last) = (tenure.first, tenure.last);
        let rival = |t: &&Tenure| {
            t.epoch != epoch
                && now.since_ms(t.active) <= RIVAL_MS
                && last.min(t.last).since_ms(first.max(t.first)) > SHARED_MS_MAX
        };
        self.0.iter().find(rival).map(|t| t.epoch)
    }

    fn make_room(&mut self) {
        if self.0.len() < TENURES_MAX {
            return;
        }
        if let Some(oldest) = self.0.iter().enumerate().min_by_key(|(_, t)| t.active).map(|(at, _)| at) {
            self.0.swap_remove(oldest);
        }
    }
}
