//! What one device lets itself be asked that its profile does not say: fewer registers at once, or some not at all.

use std::sync::Arc;

use sitian_poll::PointPlan;
use sitian_poll::plan::blocks;
use sitian_profile::{Function, Profile, Range};

use super::Judge;
use crate::settings::DeviceSection;

/// Most registers of one request.
const REGISTERS_MAX: u16 = 125;
/// Most registers that are read only because they lie between others.
const GAP_MAX: u16 = 120;

impl Judge<'_> {
    /// The profile as this device can be read; the same one if nothing differs.
    pub(super) fn reached(
        &mut self,
        d: usize,
        device: &DeviceSection,
        profile: &Arc<Profile>,
    ) -> Arc<Profile> {
        if device.registers_max.is_none() && device.gap_max.is_none() && device.unreadable.is_empty() {
            return profile.clone();
        }
        let mut own = Profile::clone(profile);
        if let Some(most) = device.registers_max {
            if !(1..=REGISTERS_MAX).contains(&most) {
                let what = format!("registers_max: {most} is out of range");
                self.fault(&format!("device[{d}].registers_max"), what, "1 to 125 registers");
            }
            own.registers_max = most;
        }
        if let Some(most) = device.gap_max {
            if most > GAP_MAX {
                let what = format!("gap_max: {most} is out of range");
                self.fault(&format!("device[{d}].gap_max"), what, "0 to 120 registers");
            }
            own.gap_max = most;
        }
        for (n, section) in device.unreadable.iter().enumerate() {
            let place = format!("device[{d}].unreadable[{n}]");
            let functions = [Function::Coils, Function::Discrete, Function::Holding, Function::Input];
            let Some(function) = functions.into_iter().find(|known| known.word() == section.function) else {
                let what = format!("function {:?} is not known", section.function);
                self.fault(&format!("{place}.function"), what, "use coils, discrete, holding or input");
                continue;
            };
            let (first, last) = (section.first, section.last);
            if first > last {
                let what = format!("first {first:#06x} is above last {last:#06x}");
                self.fault(&format!("{place}.first"), what, "exchange the two");
            }
            own.unreadable.push(Range { function, first, last });
        }
        Arc::new(own)
    }

    /// Points that are to be polled although their registers cannot be read.
    pub(super) fn out_of_reach(
        &mut self,
        d: usize,
        device: &DeviceSection,
        profile: &Profile,
        points: &[PointPlan],
    ) {
        for point in points.iter().filter_map(|plan| profile.points.get(plan.profile_point)) {
            let (key, registers) = (&point.key, point.kind.registers());
            if device.registers_max.is_some_and(|most| registers > most) {
                let what = format!("{key} has {registers} registers, more than registers_max");
                self.fault(&format!("device[{d}].registers_max"), what, "raise it, or disable the point");
            }
            // With what it takes its unit, decimals and status from.
            let needs = blocks(&Profile { gap_max: 0, unreadable: Vec::new(), ..profile.clone() }, [point]);
            for (n, section) in device.unreadable.iter().enumerate() {
                let hit = needs.iter().any(|block| {
                    let end = u32::from(block.address) + u32::from(block.count);
                    block.function.word() == section.function
                        && u32::from(section.first) < end
                        && block.address <= section.last
                });
                if hit {
                    let what = format!("{key} needs registers of this range");
                    let help = "narrow the range, or disable the point: [[device.adjust]] disabled = true";
                    self.fault(&format!("device[{d}].unreadable[{n}].first"), what, help);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
