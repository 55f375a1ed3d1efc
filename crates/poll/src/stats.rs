//! How the devices of a bus have answered since the start.

use crate::Failure;

/// Counters of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DeviceStats {
    /// Requests sent, repeats included.
    pub polls: u64,
    /// Answers with content.
    pub answers: u64,
    /// No answer before the deadline.
    pub timeouts: u64,
    /// Answers with a wrong checksum.
    pub checksums: u64,
    /// Answers of a wrong form.
    pub malformed: u64,
    /// Modbus exceptions.
    pub exceptions: u64,
    /// Requests that failed because the port or socket was down.
    pub unreachable: u64,
    /// Rounds given up because the bus had no airtime for them.
    pub overruns: u64,
    /// Rounds left out while the device was in back-off.
    pub skipped: u64,
    /// Blocks of registers asked for in parts from then on, because the device refused an address in them.
    pub parted: u64,
    /// Milliseconds from the last answered request to its answer.
    pub last_latency_ms: Option<u32>,
    /// Monotonic milliseconds of the last answer, exceptions included.
    pub last_answer_ms: Option<u64>,
    /// Rounds in a row without any answer: 0 for a healthy device.
    pub silent_rounds: u32,
}

impl DeviceStats {
    pub(crate) fn count(&mut self, failure: &Failure) {
        match failure {
            Failure::Timeout => self.timeouts += 1,
            Failure::Checksum => self.checksums += 1,
            Failure::Malformed => self.malformed += 1,
            Failure::Exception(_) => self.exceptions += 1,
            Failure::Unreachable(_) => self.unreachable += 1,
        }
    }
}
