//! Writes: ahead of all polls, one after the other for each device, each confirmed by reading back.

use std::collections::VecDeque;

use crate::{Ask, Failure, Request, WriteRequest};

/// Writes that wait for one bus; more are refused.
const WRITES_MAX: usize = 32;
/// A write whose confirmation was lost is sent once more: it says the same again.
const ATTEMPTS: u32 = 2;
/// After "busy" a device is asked again after this many milliseconds.
const BUSY_MS: u64 = 100;

/// Something to write, and how to see that it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOrder {
    /// The caller's number for it.
    pub ticket: u64,
    /// Position in [`crate::BusPlan::devices`].
    pub device: usize,
    /// What to write.
    pub request: WriteRequest,
    /// What to read afterwards; `None`: nothing.
    pub read_back: Option<Request>,
    /// Milliseconds between the write and reading back.
    pub settle_ms: u32,
}

/// What came of a write. Without a confirmation, what was read back still tells the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteDone {
    /// The caller's number for it.
    pub ticket: u64,
    /// Whether the device confirmed.
    pub written: Result<(), Failure>,
    /// What was read back, if that was asked for and the bus could be reached.
    pub read_back: Option<Result<Vec<u16>, Failure>>,
}

#[derive(Debug, Clone)]
struct Writing {
    order: WriteOrder,
    /// What came of the write itself, once it has been made.
    written: Option<Result<(), Failure>>,
    attempts: u32,
    ready_at: u64,
}

impl Writing {
    fn ask(&self) -> Option<Ask> {
        match self.written {
            None => Some(Ask::Write(self.order.request.clone())),
            Some(_) => self.order.read_back.map(Ask::Read),
        }
    }
}

/// The writes of one bus that are not done yet, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Writings(VecDeque<Writing>);

impl Writings {
    /// Takes an order, or gives it back if too many wait.
    pub(super) fn take(&mut self, order: WriteOrder, now: u64) -> Result<(), WriteOrder> {
        if self.0.len() >= WRITES_MAX {
            return Err(order);
        }
        self.0.push_back(Writing { order, written: None, attempts: 0, ready_at: now });
        Ok(())
    }

    /// What can be asked of each device next: ticket, device, when, what. One write per device at a time, or reading back
    /// would see the next one.
    pub(super) fn next(&self) -> impl Iterator<Item = (u64, usize, u64, Ask)> {
        let first = |(n, writing): &(usize, &Writing)| {
            !self.0.iter().take(*n).any(|before| before.order.device == writing.order.device)
        };
        let next = |(_, writing): (usize, &Writing)| {
            Some((writing.order.ticket, writing.order.device, writing.ready_at, writing.ask()?))
        };
        self.0.iter().enumerate().filter(first).filter_map(next)
    }

    /// The step under way has ended: the next one follows, or the whole is done.
    pub(super) fn settle(
        &mut self,
        ticket: u64,
        result: Result<Vec<u16>, Failure>,
        now: u64,
    ) -> Option<WriteDone> {
        let at = self.0.iter().position(|writing| writing.order.ticket == ticket)?;
        let writing = &mut self.0[at];
        writing.attempts += 1;
        let spare = writing.attempts < ATTEMPTS;
        let again = match &result {
            Err(Failure::Exception(6)) => Some(BUSY_MS),
            Err(Failure::Timeout | Failure::Checksum | Failure::Malformed) => Some(0),
            _ => None,
        };
        if let Some(wait_ms) = again.filter(|_| spare) {
            writing.ready_at = now + wait_ms;
            return None;
        }
        let done = match (&writing.written, result) {
            (None, result) => {
                let refused = matches!(result, Err(Failure::Unreachable(_)));
                writing.written = Some(match result {
                    // 5: acknowledged, still working on it.
                    Ok(_) | Err(Failure::Exception(5)) => Ok(()),
                    Err(failure) => Err(failure),
                });
                writing.attempts = 0;
                writing.ready_at = now + u64::from(writing.order.settle_ms);
                (refused || writing.order.read_back.is_none()).then_some(None)
            }
            (Some(_), result) => Some(Some(result)),
        };
        let read_back = done?;
        let writing = self.0.remove(at)?;
        Some(WriteDone { ticket, written: writing.written.unwrap_or(Ok(())), read_back })
    }
}
