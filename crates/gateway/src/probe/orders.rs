//! `probe --all-orders`: which kind and byte order do the registers of a point have? Everything they could mean is decoded,
//! several times, and ranked by how much of it is plausible and how steady it is. A wrong order turns the low bits of a
//! value into its high ones, so that it jumps or leaves the range of any sensor.

use serde::Serialize;
use sitian_model::Quality;
use sitian_profile::{Context, Decimal, Kind, Order, ProfilePoint, decode};

/// As many are shown of each point.
pub const SHOWN: usize = 4;
/// Numbers other than zero below this come from a wrong order, not from a sensor.
const TINY: f64 = 1e-6;

/// One way to read a point's registers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// `f32`, `u32`, …
    pub kind: String,
    /// `ABCD`, …; empty for a single register.
    pub order: String,
    /// What one raw step is worth.
    pub scale: String,
    /// The newest value.
    pub value: Option<f64>,
    /// Share of the readings that are plausible, 0 to 1.
    pub plausible: f64,
    /// Largest minus smallest value.
    pub spread: Option<f64>,
    /// The profile says so.
    pub of_profile: bool,
    #[serde(skip)]
    score: f64,
}

/// Every way to read these registers, best first. `samples` are the point's own registers, oldest first.
pub fn rank(point: &ProfilePoint, samples: &[(Vec<u16>, Context)]) -> Vec<Reading> {
    let mut readings: Vec<Reading> = ways(point).iter().map(|way| reading(point, way, samples)).collect();
    readings.sort_by(|a, b| b.score.total_cmp(&a.score));
    readings
}

/// True if the registers were 0 all the time, which fits every order.
pub fn is_silent(samples: &[(Vec<u16>, Context)]) -> bool {
    samples.iter().all(|(registers, _)| registers.iter().all(|word| *word == 0))
}

/// What to write into the profile, or that it is right.
pub fn verdict(point: &ProfilePoint, readings: &[Reading], samples: &[(Vec<u16>, Context)]) -> String {
    if is_silent(samples) {
        return "all zeros, which every order fits: look again while it measures something".to_owned();
    }
    let Some(best) = readings.first().filter(|best| best.plausible > 0.0) else {
        return "nothing fits: another register, another device, or no sensor connected".to_owned();
    };
    let ours = readings.iter().find(|reading| reading.of_profile);
    if ours.is_some_and(|ours| ours.plausible >= best.plausible && ours.score + 1.0 >= best.score) {
        return "the profile fits".to_owned();
    }
    let mut keys = Vec::new();
    if best.kind != point.kind.word() {
        keys.push(format!("kind = {:?}", best.kind));
    }
    if !best.order.is_empty() && best.order != point.order.word() {
        keys.push(format!("order = {:?}", best.order));
    }
    if best.scale != point.scale.to_string() {
        keys.push(format!("scale = {}", best.scale));
    }
    let keys = keys.join(", ");
    format!("likely: {keys}; compare with a reference, then write it into [[device.adjust]]")
}

/// The point as it would be with each kind, order and neighbouring power of ten.
fn ways(point: &ProfilePoint) -> Vec<ProfilePoint> {
    let way = |kind: Kind, order: Order, scale: Decimal| ProfilePoint { kind, order, scale, ..point.clone() };
    let orders = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];
    match point.kind {
        Kind::Bits(_) => vec![point.clone()],
        Kind::U16 | Kind::S16 => {
            let scales = [0, -1, 1].map(|power| shortest(point.scale.shifted(power)));
            let kinds = [Kind::U16, Kind::S16];
            scales.iter().flat_map(|scale| kinds.map(|kind| way(kind, Order::Abcd, *scale))).collect()
        }
        Kind::U32 | Kind::S32 | Kind::F32 => [Kind::F32, Kind::U32, Kind::S32]
            .iter()
            .flat_map(|kind| orders.map(|order| way(*kind, order, point.scale)))
            .collect(),
        Kind::U64 | Kind::S64 | Kind::F64 => [Kind::F64, Kind::U64, Kind::S64]
            .iter()
            .flat_map(|kind| orders.map(|order| way(*kind, order, point.scale)))
            .collect(),
    }
}

/// 0.1, not 0.10.
fn shortest(number: Decimal) -> Decimal {
    Decimal::of_f64(number.to_f64()).unwrap_or(number)
}

fn reading(point: &ProfilePoint, way: &ProfilePoint, samples: &[(Vec<u16>, Context)]) -> Reading {
    let decoded: Vec<(Option<f64>, Quality)> =
        samples.iter().map(|(registers, context)| decode(way, registers, *context)).collect();
    let believable = |(value, quality): &&(Option<f64>, Quality)| {
        *quality == Quality::Good && value.is_some_and(|value| value == 0.0 || value.abs() >= TINY)
    };
    let plausible = decoded.iter().filter(believable).count() as f64 / decoded.len().max(1) as f64;
    let values: Vec<f64> = decoded.iter().filter_map(|(value, _)| *value).collect();
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let spread = (!values.is_empty()).then_some(highest - lowest);
    let of_profile =
        (way.kind, way.order, way.scale.to_f64()) == (point.kind, point.order, point.scale.to_f64());
    // How much of the plausible range the readings span: a sensor moves a little, a wrong order a lot.
    let span = spread.unwrap_or(f64::INFINITY) / (point.max - point.min).max(f64::MIN_POSITIVE);
    let steady = 1.0 / (1.0 + 20.0 * span.min(1e6));
    let same_kind = if way.kind == point.kind { 4.0 } else { 0.0 };
    let score = 100.0 * plausible + 10.0 * steady + same_kind + if of_profile { 2.0 } else { 0.0 };
    Reading {
        kind: way.kind.word().to_owned(),
        order: if way.kind.registers() == 1 { String::new() } else { way.order.word().to_owned() },
        scale: way.scale.to_string(),
        value: values.last().copied(),
        plausible,
        spread,
        of_profile,
        score,
    }
}

#[cfg(test)]
mod tests;
