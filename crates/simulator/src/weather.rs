//! Soil, water and air on a plateau as pure functions of place and time: the same seed and moment give the same value,
//! so a restarted field goes on where it would have been. Knows no devices and no registers.
//!
//! The curves are plausible, not a forecast: a yearly and a daily wave around local solar noon, slow weather from
//! smooth noise, soil that lags behind the air, and irrigation that wets the soil every few days.

use std::f64::consts::TAU;

const MINUTE_MS: f64 = 60_000.0;
const HOUR_MS: f64 = 60.0 * MINUTE_MS;
const DAY_MS: f64 = 24.0 * HOUR_MS;
const YEAR_DAYS: f64 = 365.2425;

/// A place in the simulated field.
#[derive(Debug, Clone)]
pub struct Site {
    /// Separates this place's noise from every other's.
    pub seed: u64,
    /// Degrees east; decides when the sun is highest.
    pub longitude: f64,
    /// Degrees north; decides how long the day is.
    pub latitude: f64,
    /// Metres above the sea; 6.5 K colder per 1,000 m.
    pub altitude_m: f64,
    /// Under glass or film: warmer and moister, never below about 6 °C.
    pub greenhouse: bool,
}

/// What the air, soil and water at a site do at one moment.
pub struct Weather<'a> {
    site: &'a Site,
    unix_ms: f64,
}

impl<'a> Weather<'a> {
    /// The weather at `site` at `unix_ms` (milliseconds since 1970 UTC).
    pub fn at(site: &'a Site, unix_ms: i64) -> Self {
        Self { site, unix_ms: unix_ms as f64 }
    }

    /// The true value of a measurement of the catalogue; `salt` separates two sensors of one kind.
    /// `None` for a measurement that this field does not have.
    pub fn value(&self, measurement: &str, salt: u64) -> Option<f64> {
        let near = |amplitude: f64, hours: f64| amplitude * self.noise(salt ^ hash(measurement), hours);
        let value = match measurement {
            "air_temperature" => self.air_temperature() + near(0.4, 0.1),
            "air_humidity" => (self.humidity() + near(2.0, 0.1)).clamp(8.0, 99.0),
            "air_pressure" => self.pressure_kpa() + near(0.15, 20.0),
            "air_co2" => self.co2() + near(12.0, 0.2),
            "illuminance" => (self.sunlight() * 118_000.0 * self.clear_sky()).round(),
            "par" => (self.sunlight() * 2_100.0 * self.clear_sky()).round(),
            "solar_radiation" => (self.sunlight() * 1_020.0 * self.clear_sky()).round(),
            "wind_speed" => (2.4 + 2.2 * self.sunlight() + near(1.8, 0.3)).max(0.0),
            "wind_direction" => (290.0 + near(60.0, 3.0)).rem_euclid(360.0),
            "rain" => 0.0,
            "pm25" => (28.0 + near(14.0, 6.0)).max(2.0),
            "pm10" => (61.0 + near(30.0, 6.0)).max(4.0),
            "noise" => 41.0 + near(5.0, 0.2),
            "soil_moisture" => self.soil_moisture(salt),
            "soil_temperature" => self.soil_temperature() + near(0.3, 2.0),
            "soil_ec" => 360.0 + 9.0 * self.soil_moisture(salt) + near(25.0, 12.0),
            "soil_ph" => 7.9 + near(0.12, 40.0),
            "soil_salinity" => 198.0 + 4.0 * self.soil_moisture(salt) + near(8.0, 12.0),
            "soil_tds" => 180.0 + 4.5 * self.soil_moisture(salt) + near(9.0, 12.0),
            "soil_permittivity" => 3.2 + 0.55 * self.soil_moisture(salt),
            "soil_n_indicative" => 38.0 + near(4.0, 60.0),
            "soil_p_indicative" => 22.0 + near(3.0, 60.0),
            "soil_k_indicative" => 131.0 + near(9.0, 60.0),
            "water_temperature" => self.water_temperature() + near(0.2, 1.0),
            "water_ph" => 7.6 + near(0.15, 10.0),
            "water_ec" => 540.0 + near(35.0, 8.0),
            "water_do" => self.oxygen_saturated() * (0.93 + near(0.03, 2.0)),
            "water_do_saturation" => 93.0 + near(3.0, 2.0),
            "water_turbidity" => (6.0 + near(3.0, 1.0)).max(0.2),
            "water_orp" => 220.0 + near(20.0, 5.0),
            "water_level" => 1.62 - 0.25 * self.irrigation() + near(0.03, 4.0),
            "water_flow" => 18.0 * self.irrigation(),
            _ => return None,
        };
        Some(value)
    }

    /// Day of the year with its fraction, 0 at New Year.
    fn day_of_year(&self) -> f64 {
        (self.unix_ms / DAY_MS) % YEAR_DAYS
    }

    /// Hours after local solar midnight: Beijing's clock is not the sun's.
    fn solar_hour(&self) -> f64 {
        (self.unix_ms / HOUR_MS + self.site.longitude / 15.0).rem_euclid(24.0)
    }

    /// Sine of the sun's height, 0 at night.
    fn sunlight(&self) -> f64 {
        let declination = -0.4093 * ((self.day_of_year() + 10.0) / YEAR_DAYS * TAU).cos();
        let latitude = self.site.latitude.to_radians();
        let hour_angle = (self.solar_hour() - 12.0) / 24.0 * TAU;
        let sine = latitude.sin() * declination.sin() + latitude.cos() * declination.cos() * hour_angle.cos();
        sine.max(0.0)
    }

    fn clear_sky(&self) -> f64 {
        0.72 + 0.25 * self.noise(hash("cloud"), 2.0)
    }

    fn air_temperature(&self) -> f64 {
        let season = -13.5 * ((self.day_of_year() - 15.0) / YEAR_DAYS * TAU).cos();
        let outside = 17.8 - 6.5 * self.site.altitude_m / 1_000.0
            + season
            + 7.0 * ((self.solar_hour() - 15.0) / 24.0 * TAU).cos()
            + 2.5 * self.noise(hash("front"), 30.0);
        if self.site.greenhouse { 14.0 + 0.32 * outside + 9.0 * self.sunlight() } else { outside }
    }

    fn humidity(&self) -> f64 {
        let wet = if self.site.greenhouse { 74.0 } else { 48.0 };
        wet - 16.0 * ((self.solar_hour() - 15.0) / 24.0 * TAU).cos() + 7.0 * self.noise(hash("moist"), 20.0)
    }

    /// Standard barometric formula.
    fn pressure_kpa(&self) -> f64 {
        101.325 * (1.0 - 2.255_77e-5 * self.site.altitude_m).powf(5.255_88)
    }

    fn co2(&self) -> f64 {
        if self.site.greenhouse { 640.0 - 260.0 * self.sunlight() } else { 422.0 }
    }

    fn soil_temperature(&self) -> f64 {
        let yesterday = Weather { site: self.site, unix_ms: self.unix_ms - 5.0 * HOUR_MS };
        let monthly = if self.site.greenhouse { 17.0 } else { 9.0 };
        0.35 * yesterday.air_temperature() + 0.65 * monthly
    }

    /// 1 while water runs: 40 minutes every three days, in the morning, each site on its own day.
    fn irrigation(&self) -> f64 {
        let phase_ms = (self.site.seed % 3) as f64 * DAY_MS;
        let into_cycle_h = ((self.unix_ms + phase_ms) / HOUR_MS + 8.0).rem_euclid(72.0);
        if (7.0..7.67).contains(&into_cycle_h) { 1.0 } else { 0.0 }
    }

    /// Dries from field capacity after each irrigation, faster by day.
    fn soil_moisture(&self, salt: u64) -> f64 {
        let phase_ms = (self.site.seed % 3) as f64 * DAY_MS;
        let since_h = ((self.unix_ms + phase_ms) / HOUR_MS + 8.0 - 7.33).rem_euclid(72.0);
        let place = 2.0 * self.noise(salt ^ hash("texture"), 1e6);
        22.0 + place + 9.5 * (-since_h / 52.0).exp() + 0.15 * self.noise(salt, 0.2)
    }

    fn water_temperature(&self) -> f64 {
        let month = -6.5 * ((self.day_of_year() - 25.0) / YEAR_DAYS * TAU).cos();
        11.5 + month.max(-2.5) + 1.2 * ((self.solar_hour() - 16.0) / 24.0 * TAU).cos()
    }

    /// Oxygen saturation of fresh water in mg/L at local pressure.
    fn oxygen_saturated(&self) -> f64 {
        468.0 / (31.6 + self.water_temperature()) * self.pressure_kpa() / 101.325
    }

    /// Smooth noise in about −1..1 that turns over every `hours`.
    fn noise(&self, channel: u64, hours: f64) -> f64 {
        let position = self.unix_ms / (hours * HOUR_MS);
        let step = position.floor();
        let into = position - step;
        let ease = into * into * (3.0 - 2.0 * into);
        let knot =
            |n: f64| unit(mix(self.site.seed ^ channel.rotate_left(17) ^ (n as i64 as u64))) * 2.0 - 1.0;
        knot(step) * (1.0 - ease) + knot(step + 1.0) * ease
    }
}

/// A well-spread 64-bit value of `x`.
pub fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stable 64-bit value of a text.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| mix(h ^ u64::from(b)))
}

/// Spreads a 64-bit value over 0..1.
pub fn unit(x: u64) -> f64 {
    (x >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZHANGYE: Site =
        Site { seed: 7, longitude: 100.45, latitude: 38.93, altitude_m: 1_480.0, greenhouse: false };
    /// 2026-01-15 and 2026-07-15, midnight UTC.
    const JANUARY: i64 = 1_768_435_200_000;
    const JULY: i64 = 1_784_073_600_000;

    fn mean_of_day(site: &Site, measurement: &str, day: i64) -> f64 {
        let values = (0..24).map(|h| Weather::at(site, day + h * 3_600_000).value(measurement, 1));
        values.map(|v| v.expect("known measurement")).sum::<f64>() / 24.0
    }

    #[test]
    fn seasons_and_places_differ_as_people_expect() {
        let glass = Site { greenhouse: true, ..ZHANGYE };
        let high = Site { altitude_m: 2_500.0, ..ZHANGYE };
        let rows = [
            ("winter frost", mean_of_day(&ZHANGYE, "air_temperature", JANUARY), -20.0..0.0),
            ("summer warmth", mean_of_day(&ZHANGYE, "air_temperature", JULY), 14.0..28.0),
            ("a greenhouse is warm in winter", mean_of_day(&glass, "air_temperature", JANUARY), 8.0..22.0),
            ("local pressure", mean_of_day(&ZHANGYE, "air_pressure", JULY), 84.0..86.0),
            ("less oxygen up high", mean_of_day(&high, "water_do", JULY), 5.0..8.5),
            ("soil is neither dust nor mud", mean_of_day(&ZHANGYE, "soil_moisture", JULY), 18.0..35.0),
        ];
        for (what, value, range) in rows {
            assert!(range.contains(&value), "{what}: {value}");
        }
    }

    #[test]
    fn the_sun_is_highest_at_a_quarter_past_one_beijing_time() {
        let brightest = (0..1440)
            .max_by_key(|m| {
                (Weather::at(&ZHANGYE, JULY - 8 * 3_600_000 + m * 60_000).sunlight() * 1e9) as i64
            })
            .expect("a day has minutes");
        assert!((13 * 60 + 10..13 * 60 + 26).contains(&brightest), "{brightest}");
    }

    #[test]
    fn the_same_seed_and_moment_give_the_same_value() {
        let value = |site: &Site| Weather::at(site, JULY + 1_234).value("soil_ec", 3);
        assert_eq!(value(&ZHANGYE), value(&ZHANGYE.clone()));
        assert_ne!(value(&ZHANGYE), value(&Site { seed: 8, ..ZHANGYE }));
    }
}
