//! Which profile a device probably follows: every profile's registers are read, and its values judged.
//!
//! A guess, and said to be one: a device that answers every address fits many profiles. What counts is that all points of
//! a profile answer with plausible values, that they are not just zeros, and that unit id and speed are as delivered.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use sitian_fieldbus::Bus;
use sitian_model::Quality;
use sitian_poll::{Failure, Request};
use sitian_profile::{Profile, Serial, decode};

use crate::ask::{Patience, Words, requests};
use crate::library::Library;
use crate::screen::progress;

/// As many guesses are shown.
const GUESSES_MAX: usize = 3;

/// A profile that fits, best first.
#[derive(Debug, Clone, Serialize)]
pub struct Guess {
    /// Its id.
    pub profile: String,
    /// Maker and model.
    pub device: String,
    /// What it is, in Chinese.
    pub name: String,
    /// What its points say now.
    pub values: Vec<String>,
    /// Higher fits better.
    pub score: f64,
}

/// Reads what the profiles want to know and ranks those that fit.
pub async fn identify(
    bus: &mut Bus,
    unit: u8,
    serial: Option<&Serial>,
    library: &Library,
    timeout_ms: u32,
    patience: &Patience,
) -> Vec<Guess> {
    let mut answers: HashMap<(u8, u16, u16), Option<Words>> = HashMap::new();
    let mut guesses = Vec::new();
    for profile in library.profiles() {
        let wanted: Vec<Request> =
            requests(unit, profile, profile.points.iter().filter(|point| !point.optional), timeout_ms);
        let mut words = Words::default();
        let mut whole = true;
        for request in wanted {
            if patience.is_over() {
                return rank(guesses);
            }
            let key = (request.function.code(), request.address, request.count);
            if let std::collections::hash_map::Entry::Vacant(place) = answers.entry(key) {
                progress(&format!("unit {unit}: is it a {}?", profile.id));
                let heard = bus.execute(request).await;
                // One repetition: a single lost answer must not rule a profile out.
                let heard = match heard {
                    Err(Failure::Timeout | Failure::Checksum | Failure::Malformed) => {
                        bus.execute(request).await
                    }
                    heard => heard,
                };
                place.insert(heard.ok().map(|answer| {
                    let mut words = Words::default();
                    words.take(&request, answer);
                    words
                }));
            }
            match answers.get(&key).and_then(Option::as_ref) {
                Some(heard) => words.join(heard),
                None => whole = false,
            }
            if !whole {
                break;
            }
        }
        if whole {
            guesses.extend(judge(profile, &words, unit, serial));
        }
    }
    rank(guesses)
}

fn rank(mut guesses: Vec<Guess>) -> Vec<Guess> {
    guesses.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.profile.cmp(&b.profile)));
    guesses.truncate(GUESSES_MAX);
    guesses
}

fn judge(profile: &Arc<Profile>, words: &Words, unit: u8, serial: Option<&Serial>) -> Option<Guess> {
    let mut score = 0.0;
    let mut values = Vec::new();
    for point in profile.points.iter().filter(|point| !point.optional) {
        let (own, context) = words.of(point)?;
        let (value, quality) = decode(point, &own, context);
        score += match quality {
            Quality::Good if own.iter().any(|word| *word != 0) => 3.0,
            // Zero is plausible nearly everywhere and says nothing.
            Quality::Good => 0.2,
            Quality::Uncertain(_) => -6.0,
            Quality::Bad(_) => -9.0,
        };
        // Floats and long numbers fit by chance far less often than single registers.
        if quality == Quality::Good && point.kind.registers() > 1 && value.is_some_and(|v| v.abs() > 1e-3) {
            score += 1.0;
        }
        let number = crate::screen::number(value, point.decimals);
        values.push(format!("{} {number} {}", point.key, point.unit).trim_end().to_owned());
    }
    if score <= 0.0 {
        return None;
    }
    score += if profile.default_unit == unit && unit != 1 { 2.0 } else { 0.0 };
    score += if serial.is_some_and(|serial| serial.baud == profile.serial.baud) { 1.0 } else { 0.0 };
    score -= if profile.verified.mark() == "U" { 1.0 } else { 0.0 };
    let device = format!("{} {}", profile.vendor, profile.model);
    Some(Guess { profile: profile.id.clone(), device, name: profile.name_zh.clone(), values, score })
}
