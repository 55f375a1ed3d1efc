//! The scripted incidents of the demonstration: what the weather would not do at the right moment. Knows no devices.

/// Seconds after which the script starts anew.
pub const ACT_S: f64 = 900.0;

/// One measurement of one gateway's field that leaves its normal course for a while.
#[derive(Debug, Clone, Copy)]
pub struct Incident {
    /// Which field: the beginning of a gateway id.
    pub gateway: &'static str,
    /// Which measurement of the catalogue.
    pub measurement: &'static str,
    /// The value it is drawn to.
    pub target: f64,
    /// Seconds into the act: leaves the normal course, arrives, leaves again, is back.
    pub times_s: [f64; 4],
}

/// The script: irrigation water turns salty at one base, and a frost night comes over the bases of one town.
pub const SCRIPT: &[Incident] = &[
    Incident {
        gateway: "dangzhai-01",
        measurement: "water_ec",
        target: 3_400.0,
        times_s: [20.0, 110.0, 330.0, 420.0],
    },
    Incident {
        gateway: "hongshui-",
        measurement: "air_temperature",
        target: -4.2,
        times_s: [60.0, 150.0, 540.0, 640.0],
    },
];

impl Incident {
    /// The value after the incident had its say, `since_start_s` seconds after the start.
    pub fn bend(&self, gateway: &str, measurement: &str, value: f64, since_start_s: f64) -> f64 {
        if !gateway.starts_with(self.gateway) || measurement != self.measurement {
            return value;
        }
        let at = since_start_s.rem_euclid(ACT_S);
        let [leaves, arrives, returns, back] = self.times_s;
        let weight =
            if at < arrives { (at - leaves) / (arrives - leaves) } else { (back - at) / (back - returns) };
        let weight = weight.clamp(0.0, 1.0);
        value + (self.target - value) * weight * weight * (3.0 - 2.0 * weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_leaves_arrives_and_comes_back() {
        let salty = SCRIPT[0];
        for (at_s, low, high) in
            [(0.0, 540.0, 540.0), (65.0, 1_000.0, 3_000.0), (200.0, 3_400.0, 3_400.0), (500.0, 540.0, 540.0)]
        {
            let value = salty.bend("dangzhai-01", "water_ec", 540.0, at_s);
            assert!((low..=high).contains(&value), "{at_s}: {value}");
            assert_eq!(
                value,
                salty.bend("dangzhai-01", "water_ec", 540.0, at_s + ACT_S),
                "the next act is the same"
            );
            assert_eq!(salty.bend("dangzhai-02", "water_ec", 540.0, at_s), 540.0);
        }
    }
}
