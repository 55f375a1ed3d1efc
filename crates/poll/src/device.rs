//! The state of one device: is it awake, prepared, held off, backed off?

use sitian_model::Cause;
use sitian_profile::Profile;

use crate::plan::hold_off_ms;
use crate::{Ask, DevicePlan, DeviceStats, Request};

/// Rounds in a row that ended without any answer before a device is backed off: on a bad line a few are chance.
const SILENT_ROUNDS_MAX: u32 = 3;
const BACK_OFF_MS_MIN: u64 = 1_000;
const BACK_OFF_MS_MAX: u64 = 60_000;

#[derive(Debug, Clone, Default)]
pub(crate) struct Device {
    pub(crate) stats: DeviceStats,
    /// Why the last silent round failed.
    pub(crate) cause: Option<Cause>,
    /// A silent device is not asked before this.
    pub(crate) probe_at: u64,
    /// The device needs silence until then.
    ready_at: u64,
    /// Until then a late reply may come; only repeats of the request that it would answer are allowed.
    hold: Option<(u64, Request)>,
    /// Replies that may still come.
    outstanding: u32,
    /// Requests in a row without an answer.
    lost_in_row: u32,
    /// How many of the profile's pre-reads have been done, and when.
    prepared: usize,
    prepared_at: u64,
    /// Measuring has been started, values come after this.
    prepare_until: u64,
}

impl Device {
    pub(crate) fn is_silent(&self) -> bool {
        self.stats.silent_rounds > 0
    }

    /// More than one request in a row got no answer. A first loss may be chance.
    pub(crate) fn is_losing(&self) -> bool {
        self.lost_in_row > 1
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.stats.silent_rounds == 0 && self.stats.last_answer_ms.is_some()
    }

    /// Notices that the measurement has to be started again.
    pub(crate) fn refresh_preparation(&mut self, profile: &Profile, now: u64) {
        let every = profile.pre_read.iter().map(|pre| u64::from(pre.every_ms)).filter(|ms| *ms > 0).min();
        if every
            .is_some_and(|every| self.prepared == profile.pre_read.len() && now >= self.prepared_at + every)
        {
            self.prepared = 0;
        }
    }

    /// The pre-read that is to be done next, if any.
    pub(crate) fn pre_read(&self, profile: &Profile) -> Option<usize> {
        (self.prepared < profile.pre_read.len()).then_some(self.prepared)
    }

    /// A pre-read was answered.
    pub(crate) fn prepared(&mut self, pre_read: usize, delay_ms: u32, now: u64) {
        self.prepared = pre_read + 1;
        self.prepared_at = now;
        self.prepare_until = now + u64::from(delay_ms);
    }

    /// When a poll may ask this. `alone`: nothing else is ever asked of this unit, so that a late reply can do no harm.
    /// Otherwise even the same request waits: its own answer would be late in turn, round after round.
    pub(crate) fn ready_at(&self, ask: &Ask, alone: impl Fn() -> bool) -> u64 {
        let held = self.hold.filter(|(until, _)| *until > self.ready_at).filter(|_| !alone());
        let held = held.map_or(0, |(until, _)| until);
        self.ready_for_writing_at(ask).max(self.prepare_until).max(held)
    }

    /// The same for a write and for reading it back, which need no measurement to be ready.
    pub(crate) fn ready_for_writing_at(&self, ask: &Ask) -> u64 {
        let held = match (&self.hold, ask) {
            (Some((until, same)), Ask::Read(request)) if !same.asks_the_same(request) => *until,
            _ => 0,
        };
        self.ready_at.max(held)
    }

    /// Why a round waits that could not begin in time.
    pub(crate) fn waiting_for(&self, now: u64) -> Cause {
        match (&self.hold, self.cause) {
            _ if now <= self.prepare_until && self.prepare_until > 0 => Cause::Preparation,
            (Some((until, _)), cause) if now <= *until => cause.unwrap_or(Cause::Timeout),
            _ => Cause::BusOverrun,
        }
    }

    /// Something was sent. `fresh`: it is the first attempt of a read.
    pub(crate) fn sent(&mut self, fresh: bool, now: u64) {
        self.stats.polls += 1;
        // While a hold-off lasts, the same request changes nothing: what was outstanding may still come.
        if fresh && self.hold.is_none_or(|(until, _)| now >= until) {
            self.outstanding = 0;
        }
    }

    /// The device answered, be it with an exception.
    pub(crate) fn answered(&mut self, latency_ms: u64, pause_ms: u32, now: u64) {
        self.stats.last_latency_ms = Some(u32::try_from(latency_ms).unwrap_or(u32::MAX));
        self.stats.last_answer_ms = Some(now);
        self.stats.silent_rounds = 0;
        self.lost_in_row = 0;
        self.cause = None;
        self.ready_at = now + u64::from(pause_ms);
    }

    /// An attempt remained without a valid answer; the reply to a read may still come, and be taken for another's.
    pub(crate) fn lost(&mut self, cause: Cause, read: bool) {
        self.outstanding += u32::from(read);
        self.lost_in_row = self.lost_in_row.saturating_add(1);
        self.cause = Some(cause);
    }

    /// After lost replies: hold back every other request to this unit.
    pub(crate) fn hold_off(&mut self, request: Request, now: u64) {
        self.hold = Some((now + hold_off_ms(request.timeout_ms), request));
    }

    pub(crate) fn expects_late_replies(&self) -> bool {
        self.outstanding > 0
    }

    /// A reply of this unit was seen and discarded.
    pub(crate) fn late_reply(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding == 0 {
            self.hold = None;
        }
    }

    /// A round ended without any answer. A few times it may be chance; then back-off doubles.
    pub(crate) fn silent_round(&mut self, cause: Cause, turn_ms: u64, now: u64) {
        self.stats.silent_rounds = self.stats.silent_rounds.saturating_add(1);
        self.cause = Some(cause);
        self.forget_preparation();
        self.probe_at = match self.stats.silent_rounds {
            ..SILENT_ROUNDS_MAX => now,
            rounds => {
                let doublings = (rounds - SILENT_ROUNDS_MAX).min(6);
                now + (BACK_OFF_MS_MIN << doublings).min(BACK_OFF_MS_MAX).max(turn_ms)
            }
        };
    }

    /// The device may have lost power: it has to be started again.
    pub(crate) fn forget_preparation(&mut self) {
        self.prepared = 0;
        self.prepare_until = 0;
    }

    /// How often a request may be sent in a row.
    pub(crate) fn attempts(&self, plan: &DevicePlan) -> u32 {
        if self.stats.silent_rounds >= SILENT_ROUNDS_MAX { 1 } else { 1 + u32::from(plan.retries) }
    }
}
