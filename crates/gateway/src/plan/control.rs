//! Outputs: every point that a profile declares writable, with what the configuration says about it.

use sitian_model::Manifest;
use sitian_profile::Kind;

use super::{Judge, PlannedBus};
use crate::control::{Output, Require};
use crate::settings::{ControlSection, RequireSection};

impl Judge<'_> {
    /// The outputs of all buses.
    pub(super) fn outputs(&mut self, buses: &[PlannedBus], manifest: &Manifest) -> Vec<Output> {
        let mut outputs: Vec<Output> = buses.iter().enumerate().flat_map(on_bus).collect();
        let sections = &self.loaded.value.control;
        for (n, section) in sections.iter().enumerate() {
            let place = format!("control[{n}]");
            let same = |output: &Output| output.device == section.device && output.point == section.point;
            let Some(at) = outputs.iter().position(same) else {
                let known: Vec<String> = outputs.iter().map(Output::name).collect();
                let what = format!("{}/{} cannot be written", section.device, section.point);
                let help = format!("the profiles declare these: {}", known.join(", "));
                self.fault(&format!("{place}.point"), what, help);
                continue;
            };
            if sections[..n].iter().any(|s| s.device == section.device && s.point == section.point) {
                let what = format!("{} is there twice", outputs[at].name());
                self.fault(
                    &format!("{place}.point"),
                    what,
                    "say everything about an output in one [[control]]",
                );
            }
            outputs[at].label.clone_from(&section.name);
            outputs[at].shown = true;
            outputs[at].from_centre = section.from_centre;
            outputs[at].link_loss_ms = u64::from(section.safe_without_link_s) * 1_000;
            outputs[at].requires = self.requires(&place, section, manifest);
        }
        outputs
    }

    fn requires(&mut self, place: &str, section: &ControlSection, manifest: &Manifest) -> Vec<Require> {
        let mut requires = Vec::new();
        for (n, require) in section.require.iter().enumerate() {
            let RequireSection { device, point, min, max, max_age_s } = require;
            let found = manifest.points.iter().position(|info| {
                let owner = manifest.devices.get(info.device as usize);
                owner.is_some_and(|owner| owner.id.as_str() == device) && info.key.as_str() == point
            });
            let Some(number) = found else {
                let what = format!("{device}/{point} is not polled");
                self.fault(
                    &format!("{place}.require[{n}].point"),
                    what,
                    "name a device and a point that are",
                );
                continue;
            };
            let (low, high) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
            if low > high || (min.is_none() && max.is_none()) {
                let what = format!("{device}/{point} has no bounds that a value could be within");
                self.fault(
                    &format!("{place}.require[{n}].point"),
                    what,
                    "give min, max or both, min below max",
                );
            }
            // Two polls may fail before the value counts as unknown.
            let age_max_ms = max_age_s
                .map_or(3 * u64::from(manifest.points[number].interval_ms), |s| u64::from(s) * 1_000);
            requires.push(Require {
                point: number as u32,
                name: format!("{device}/{point}"),
                min: low,
                max: high,
                age_max_ms,
            });
        }
        requires
    }
}

fn on_bus((at, bus): (usize, &PlannedBus)) -> Vec<Output> {
    let mut outputs = Vec::new();
    for (position, (id, device)) in bus.devices.iter().zip(&bus.plan.devices).enumerate() {
        for (written, point) in device.profile.points.iter().enumerate() {
            let Some(write) = &point.write else { continue };
            let read = write.read_back.as_ref().and_then(|key| device.profile.point(key.as_str()));
            let read = read.map_or(written, |(read, _)| read);
            // Part of a register, or a value whose unit the device states, cannot be written without knowing the rest.
            let partial = matches!(point.kind, Kind::Bits(_)) && !point.function.is_bits();
            if partial || point.unit_register.is_some() || point.decimals_register.is_some() {
                continue;
            }
            outputs.push(Output {
                device: id.to_string(),
                point: point.key.to_string(),
                label: String::new(),
                shown: false,
                bus: at,
                position,
                unit: device.unit,
                timeout_ms: device.timeout_ms,
                profile: device.profile.clone(),
                written,
                read,
                write: write.clone(),
                from_centre: false,
                link_loss_ms: 0,
                requires: Vec::new(),
            });
        }
    }
    outputs
}
