//! What one device does differently from its profile: scale, range, calibration, safe state of its outputs.

use std::sync::Arc;

use sitian_profile::{Catalogue, Decimal, Kind, Order, Profile, ProfilePoint, catalogue_text};

use super::Judge;
use crate::settings::{AdjustSection, CalibrationSection, DeviceSection};

impl Judge<'_> {
    /// The profile as this device needs it; the shared one if nothing differs.
    pub(super) fn adjusted(
        &mut self,
        d: usize,
        device: &DeviceSection,
        profile: &Arc<Profile>,
    ) -> Arc<Profile> {
        if device.adjust.is_empty() {
            return profile.clone();
        }
        let mut own = Profile::clone(profile);
        for (n, section) in device.adjust.iter().enumerate() {
            let place = format!("device[{d}].adjust[{n}]");
            let Some(point) = own.points.iter_mut().find(|point| point.key.as_str() == section.point) else {
                let known: Vec<&str> = profile.points.iter().map(|point| point.key.as_str()).collect();
                let what = format!("profile {} has no point {:?}", profile.id, section.point);
                self.fault(&format!("{place}.point"), what, format!("it has: {}", known.join(", ")));
                continue;
            };
            if device.adjust[..n].iter().any(|other| other.point == section.point) {
                let what = format!("{} is adjusted twice", section.point);
                self.fault(&format!("{place}.point"), what, "write everything about a point in one place");
            }
            self.registers(&place, point, section);
            self.number(&place, point, section);
            self.limits(&place, point, section);
            if let Some(calibration) = &section.calibration {
                self.calibrate(&format!("{place}.calibration"), point, calibration);
            }
        }
        Arc::new(own)
    }

    /// How the registers are read.
    fn registers(&mut self, place: &str, point: &mut ProfilePoint, section: &AdjustSection) {
        if let Some(word) = &section.kind {
            match Kind::number(word).filter(|kind| kind.registers() == point.kind.registers()) {
                Some(kind) if !point.function.is_bits() => point.kind = kind,
                _ => {
                    let what = format!("kind {word:?} does not fit {} registers", point.kind.registers());
                    self.fault(&format!("{place}.kind"), what, "u16 s16, u32 s32 f32, or u64 s64 f64");
                }
            }
        }
        if let Some(word) = &section.order {
            match Order::of(word).filter(|_| point.kind.registers() > 1) {
                Some(order) => point.order = order,
                None => {
                    let what = format!("order {word:?} does not fit {}", point.key);
                    self.fault(
                        &format!("{place}.order"),
                        what,
                        "ABCD, CDAB, BADC or DCBA of 2 or 4 registers",
                    );
                }
            }
        }
    }

    /// What the number means.
    fn number(&mut self, place: &str, point: &mut ProfilePoint, section: &AdjustSection) {
        if let Some(id) = &section.measurement {
            let known = Catalogue::parse("measurements.toml", catalogue_text()).unwrap_or_default();
            match known.get(id) {
                Some(measurement) => {
                    point.measurement.clone_from(id);
                    point.unit.clone_from(&measurement.unit);
                    point.decimals = measurement.decimals;
                    (point.min, point.max) = measurement.plausible.unwrap_or((f64::MIN, f64::MAX));
                }
                None => {
                    let what = format!("the measurement {id:?} is not known");
                    self.fault(&format!("{place}.measurement"), what, "use one of config/measurements.toml");
                }
            }
        }
        if let Some(scale) = section.scale.and_then(Decimal::of_f64) {
            if scale == Decimal::ZERO {
                let what = "scale 0 would make every value 0".to_owned();
                self.fault(&format!("{place}.scale"), what, "write what one raw step is worth, such as 0.1");
            }
            point.scale = scale;
        }
        point.offset = section.offset.and_then(Decimal::of_f64).unwrap_or(point.offset);
        point.decimals = section.decimals.unwrap_or(point.decimals).min(9);
    }

    /// What is believed, and what may be written.
    fn limits(&mut self, place: &str, point: &mut ProfilePoint, section: &AdjustSection) {
        point.min = section.min.unwrap_or(point.min);
        point.max = section.max.unwrap_or(point.max);
        if point.min > point.max {
            let what = format!("min {} is above max {}", point.min, point.max);
            self.fault(&format!("{place}.min"), what, "exchange them, or give both");
        }
        match (&mut point.counter, section.hourly_max) {
            (Some(counter), Some(most)) if most > 0.0 => counter.hourly_max = most,
            (_, Some(_)) => {
                let what = format!("{} has no hourly_max that could be changed so", point.key);
                self.fault(&format!("{place}.hourly_max"), what, "only counters have one, and it is above 0");
            }
            _ => {}
        }
        let (safe, on_max_s) = (section.safe, section.on_max_s);
        match &mut point.write {
            Some(write) => {
                write.safe = safe.unwrap_or(write.safe);
                write.on_max_s = on_max_s.unwrap_or(write.on_max_s);
                if !(write.min..=write.max).contains(&write.safe) {
                    let what = format!("safe {} is not between {} and {}", write.safe, write.min, write.max);
                    self.fault(&format!("{place}.safe"), what, "the safe value is one that may be written");
                }
            }
            None if safe.is_some() || on_max_s.is_some() => {
                let what = format!("{} cannot be written", point.key);
                self.fault(place, what, "remove safe and on_max_s, or choose an output");
            }
            None => {}
        }
    }

    /// Value = slope × (scale × raw + offset) + offset of the calibration; folded into scale and offset, exactly.
    fn calibrate(&mut self, place: &str, point: &mut ProfilePoint, calibration: &CalibrationSection) {
        let CalibrationSection { slope, offset, date, by } = calibration;
        if !is_date(date) {
            let what = format!("date {date:?} is no day");
            self.fault(&format!("{place}.date"), what, "write it as \"2026-05-31\"");
        }
        if by.trim().is_empty() {
            self.fault(
                &format!("{place}.by"),
                "nobody answers for this calibration".to_owned(),
                "name the person",
            );
        }
        let folded = || {
            let (slope, shift) = (Decimal::of_f64(*slope)?, Decimal::of_f64(*offset)?);
            Some((point.scale.times(slope)?, point.offset.times(slope)?.plus(shift)?))
        };
        match folded() {
            Some((scale, offset)) if *slope > 0.0 => (point.scale, point.offset) = (scale, offset),
            _ => {
                let what = format!("slope {slope} with offset {offset} is no calibration");
                self.fault(&format!("{place}.slope"), what, "the slope is near 1 and above 0");
            }
        }
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str, digits: usize, most: u32| {
        part.len() == digits && part.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n))
    };
    matches!(parts.as_slice(), [year, month, day] if number(year, 4, 9999) && number(month, 2, 12) && number(day, 2, 31))
}

#[cfg(test)]
mod tests;
