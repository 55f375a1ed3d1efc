//! What one device does differently from its profile: scale, range, calibration, safe state of its outputs.

use std::sync::Arc;

use sitian_dialect::{DialectPoint, DialectProfile};
use sitian_model::PointKey;
use sitian_profile::{Catalogue, Decimal, Kind, Order, Profile, ProfilePoint, catalogue_text};

use super::Judge;
use crate::settings::{AdjustSection, CalibrationSection, DeviceSection};

/// What the number of a point means, whatever brings it.
struct Meaning<'a> {
    measurement: &'a mut String,
    unit: &'a mut String,
    scale: &'a mut Decimal,
    offset: &'a mut Decimal,
    decimals: &'a mut u8,
    min: &'a mut f64,
    max: &'a mut f64,
}

macro_rules! meaning {
    ($point:ident) => {
        Meaning {
            measurement: &mut $point.measurement,
            unit: &mut $point.unit,
            scale: &mut $point.scale,
            offset: &mut $point.offset,
            decimals: &mut $point.decimals,
            min: &mut $point.min,
            max: &mut $point.max,
        }
    };
}

impl<'a> From<&'a mut ProfilePoint> for Meaning<'a> {
    fn from(point: &'a mut ProfilePoint) -> Self {
        meaning!(point)
    }
}

impl<'a> From<&'a mut DialectPoint> for Meaning<'a> {
    fn from(point: &'a mut DialectPoint) -> Self {
        meaning!(point)
    }
}

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
        let keys: Vec<PointKey> = profile.points.iter().map(|point| point.key.clone()).collect();
        for (n, section) in device.adjust.iter().enumerate() {
            let place = format!("device[{d}].adjust[{n}]");
            let Some(at) = self.adjusted_point(&place, (device, n), &profile.id, &keys) else { continue };
            let point = &mut own.points[at];
            self.registers(&place, point, section);
            self.number(&place, point.into(), section);
            self.limits(&place, point, section);
        }
        Arc::new(own)
    }

    /// The same for a device that does not speak Modbus: it has no registers, counters and outputs.
    pub(super) fn adjusted_talk(
        &mut self,
        d: usize,
        device: &DeviceSection,
        profile: &Arc<DialectProfile>,
    ) -> Arc<DialectProfile> {
        if device.adjust.is_empty() {
            return profile.clone();
        }
        let mut own = DialectProfile::clone(profile);
        let keys: Vec<PointKey> = profile.points.iter().map(|point| point.key.clone()).collect();
        for (n, section) in device.adjust.iter().enumerate() {
            let place = format!("device[{d}].adjust[{n}]");
            let Some(at) = self.adjusted_point(&place, (device, n), &profile.id, &keys) else { continue };
            for (key, given) in [
                ("kind", section.kind.is_some()),
                ("order", section.order.is_some()),
                ("interval_s", section.interval_s.is_some()),
                ("hourly_max", section.hourly_max.is_some()),
                ("safe", section.safe.is_some()),
                ("on_max_s", section.on_max_s.is_some()),
            ] {
                if given {
                    let what = format!(
                        "{key} means nothing to a device that speaks {}",
                        profile.dialect.word().word()
                    );
                    self.fault(&format!("{place}.{key}"), what, "remove it");
                }
            }
            self.number(&place, (&mut own.points[at]).into(), section);
        }
        Arc::new(own)
    }

    /// The position of the point that the n-th adjustment of the device is for.
    fn adjusted_point(
        &mut self,
        place: &str,
        (device, n): (&DeviceSection, usize),
        profile: &str,
        keys: &[PointKey],
    ) -> Option<usize> {
        let wanted = &device.adjust[n].point;
        let at = keys.iter().position(|key| key.as_str() == wanted);
        if at.is_none() {
            let known: Vec<&str> = keys.iter().map(PointKey::as_str).collect();
            let what = format!("profile {profile} has no point {wanted:?}");
            self.fault(&format!("{place}.point"), what, format!("it has: {}", known.join(", ")));
        } else if device.adjust[..n].iter().any(|other| other.point == *wanted) {
            let what = format!("{wanted} is adjusted twice");
            self.fault(&format!("{place}.point"), what, "write everything about a point in one place");
        }
        at
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

    /// What the number means, and what of it is believed.
    fn number(&mut self, place: &str, mut point: Meaning, section: &AdjustSection) {
        if let Some(id) = &section.measurement {
            let known = Catalogue::parse("measurements.toml", catalogue_text()).unwrap_or_default();
            match known.get(id) {
                Some(measurement) => {
                    point.measurement.clone_from(id);
                    point.unit.clone_from(&measurement.unit);
                    *point.decimals = measurement.decimals;
                    (*point.min, *point.max) = measurement.plausible.unwrap_or((f64::MIN, f64::MAX));
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
            *point.scale = scale;
        }
        *point.offset = section.offset.and_then(Decimal::of_f64).unwrap_or(*point.offset);
        *point.decimals = section.decimals.unwrap_or(*point.decimals).min(9);
        *point.min = section.min.unwrap_or(*point.min);
        *point.max = section.max.unwrap_or(*point.max);
        if *point.min > *point.max {
            let what = format!("min {} is above max {}", point.min, point.max);
            self.fault(&format!("{place}.min"), what, "exchange them, or give both");
        }
        if let Some(calibration) = &section.calibration {
            self.calibrate(&format!("{place}.calibration"), &mut point, calibration);
        }
    }

    /// What a counter may count, and what may be written.
    fn limits(&mut self, place: &str, point: &mut ProfilePoint, section: &AdjustSection) {
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
    fn calibrate(&mut self, place: &str, point: &mut Meaning, calibration: &CalibrationSection) {
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
            Some((scale, offset)) if *slope > 0.0 => (*point.scale, *point.offset) = (scale, offset),
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
