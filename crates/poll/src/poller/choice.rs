//! What a bus does next.

use super::{Poller, Step};
use crate::slot::Task;
use crate::{Ask, Request, Values, WriteRequest};

/// Lower is better: not proven since silence used up its budget, priority from the top, turn of the last service, number.
type Rank = (bool, u8, u64, usize);

impl Poller {
    /// Devices of higher priority go first, then who has waited for the most turns; while the budget of lost time is
    /// exhausted, those that have answered since go before those that may be silent too.
    pub(super) fn pick(&self) -> Option<(usize, Step, Ask)> {
        let mut best: Option<(Rank, Step, Ask)> = None;
        for number in 0..self.tasks.len() {
            let device = self.tasks[number].device;
            if self.tasks[number].slot.is_none() {
                continue;
            }
            let Some((step, ask)) = self.next_ask(number) else { continue };
            if self.now < self.ready_at(number, &ask) {
                continue;
            }
            let unproven =
                self.devices[device].stats.last_answer_ms.is_none_or(|at| at < self.trouble.since());
            let rank = u8::MAX - self.plan.devices[device].priority;
            let key = (self.trouble.exhausted(self.now) && unproven, rank, self.tasks[number].served, number);
            if best.as_ref().is_none_or(|(other, ..)| key < *other) {
                best = Some((key, step, ask));
            }
        }
        best.map(|((.., number), step, ask)| (number, step, ask))
    }

    /// What the task's slot asks next.
    pub(super) fn next_ask(&self, number: usize) -> Option<(Step, Ask)> {
        let task = &self.tasks[number];
        let plan = &self.plan.devices[task.device];
        let (unit, timeout_ms) = (plan.unit, plan.timeout_ms.max(1));
        let (step, function, address, count) = match self.devices[task.device].pre_read(&plan.profile) {
            Some(n) => {
                let pre = &plan.profile.pre_read[n];
                if let Some(words) = &pre.write {
                    let values = match pre.function.is_bits() {
                        true => Values::Coils(words.iter().map(|word| *word != 0).collect()),
                        false => Values::Registers(words.clone()),
                    };
                    let write = WriteRequest { unit, address: pre.address, values, timeout_ms };
                    return Some((Step::PreRead(n), write.into()));
                }
                (Step::PreRead(n), pre.function, pre.address, pre.count)
            }
            None => {
                let block = task.open_block()?;
                let asked = &task.round.blocks[block];
                (Step::Block(block), asked.function, asked.address, asked.count)
            }
        };
        Some((step, Request { unit, function, address, count, timeout_ms }.into()))
    }

    pub(super) fn ready_at(&self, number: usize, ask: &Ask) -> u64 {
        let device = self.tasks[number].device;
        self.devices[device].ready_at(ask, || self.is_alone(number))
    }

    /// True if this task's only block is all that its unit is ever asked for.
    fn is_alone(&self, number: usize) -> bool {
        let plan = |task: &Task| &self.plan.devices[task.device];
        let task = &self.tasks[number];
        let of_unit = self.tasks.iter().filter(|other| plan(other).unit == plan(task).unit).count();
        of_unit == 1
            && task.round.blocks.len() == 1
            && plan(task).profile.pre_read.is_empty()
            && self.writings.next().next().is_none()
    }

    pub(super) fn write_ready_at(&self, device: usize, at: u64, ask: &Ask) -> u64 {
        at.max(self.devices[device].ready_for_writing_at(ask))
    }
}
