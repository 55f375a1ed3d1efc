//! What has to hold while an output is away from its safe value, and what the centre is told of outputs.

use sitian_wire::{Holds, Requirement};

use super::{Away, Control, Output, Require};

impl Control {
    /// Which precondition is not met. `strict`: not knowing counts as not met.
    pub(super) fn interlock(&self, output: &Output, now: u64, strict: bool) -> Option<String> {
        output.requires.iter().find_map(|require| {
            let Require { name, min, max, .. } = require;
            let (holds, value) = self.holds(require, now);
            match holds {
                Holds::Yes => None,
                Holds::Unknown => strict.then(|| format!("{name} is not known")),
                Holds::Below => Some(format!("{name} is {value}, below {min}")),
                Holds::Above => Some(format!("{name} is {value}, above {max}")),
            }
        })
    }

    /// Whether a precondition is met, and the value that decides.
    fn holds(&self, require: &Require, now: u64) -> (Holds, f64) {
        let sample = self.samples.get(&require.point);
        let young = sample.filter(|(_, at)| now.saturating_sub(*at) <= require.age_max_ms);
        match young.and_then(|(sample, _)| sample.value) {
            None => (Holds::Unknown, f64::NAN),
            Some(value) if value < require.min => (Holds::Below, value),
            Some(value) if value > require.max => (Holds::Above, value),
            Some(value) => (Holds::Yes, value),
        }
    }

    /// Somebody may be told of an output.
    pub fn has_outputs(&self) -> bool {
        self.outputs.iter().any(|output| output.shown)
    }

    /// The outputs that the configuration speaks of, and how they stand. Their ends are in milliseconds of `now`.
    pub fn outputs(&self, now: u64) -> Vec<sitian_wire::Output> {
        let all = self.outputs.iter().zip(&self.away);
        all.filter(|(output, _)| output.shown).map(|(output, away)| self.output(output, away, now)).collect()
    }

    fn output(&self, output: &Output, away: &Away, now: u64) -> sitian_wire::Output {
        let (written, read) = (&output.profile.points[output.written], &output.profile.points[output.read]);
        let requirement = |require: &Require| {
            let (device, point) = require.name.split_once('/').unwrap_or_default();
            Requirement {
                device: device.to_owned(),
                point: point.to_owned(),
                min: Some(require.min).filter(|value| value.is_finite()),
                max: Some(require.max).filter(|value| value.is_finite()),
                holds: self.holds(require, now).0,
            }
        };
        sitian_wire::Output {
            device: output.device.clone(),
            point: output.point.clone(),
            read: read.key.to_string(),
            name: output.label.clone(),
            measurement: written.measurement.clone(),
            unit: written.unit.clone(),
            min: output.write.min,
            max: output.write.max,
            safe: output.write.safe,
            on_max_s: output.write.on_max_s,
            from_centre: output.from_centre,
            safe_without_link_s: u32::try_from(output.link_loss_ms / 1_000).unwrap_or(u32::MAX),
            away: away.away,
            until_ms: away.until_ms.and_then(|until| i64::try_from(until).ok()).filter(|_| away.away),
            requirements: output.requires.iter().map(requirement).collect(),
        }
    }
}
