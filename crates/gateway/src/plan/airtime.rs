//! Whether a bus has the time for what is asked of it; if not, the arithmetic.

use sitian_fieldbus::{BusSettings, PortSettings};
use sitian_model::DeviceId;
use sitian_poll::BusPlan;
use sitian_poll::airtime::{Airtime, Wire, airtime};
use sitian_profile::Parity;

use super::Judge;
use crate::settings::BusSection;

/// How long a device is believed to think before it answers, unless the bus says otherwise.
const THINKING_LINE_MS: u32 = 20;
const THINKING_NETWORK_MS: u32 = 5;
/// Intervals are proposed so that the bus is in use for this share of its time: a dead device needs the rest.
const SHARE_GOOD: f64 = 0.9;
/// Devices listed in the arithmetic.
const LISTED_MAX: usize = 5;

impl Judge<'_> {
    /// What the plan takes; a fault if it cannot be kept.
    pub(super) fn airtime(
        &mut self,
        n: usize,
        bus: &BusSection,
        reached: &BusSettings,
        plan: &BusPlan,
        devices: &[DeviceId],
    ) -> Airtime {
        let wire = wire(bus, reached);
        let budget = airtime(plan, &wire);
        if budget.share() > 1.0 {
            let what = format!(
                "bus {:?} would need {:.0} % of its time: {}",
                bus.name,
                budget.share() * 100.0,
                arithmetic(&budget, devices)
            );
            let factor = (budget.share() / SHARE_GOOD * 10.0).ceil() / 10.0;
            let help = format!(
                "make the intervals {factor} times as long, poll fewer points, {}or put devices on another bus",
                if wire.baud == 0 { "" } else { "raise baud on the devices and here, lower pause_ms, " }
            );
            self.fault(&format!("bus[{n}].name"), what, help);
        }
        budget
    }
}

fn wire(bus: &BusSection, reached: &BusSettings) -> Wire {
    match reached {
        BusSettings::Tcp(_) => {
            Wire { baud: 0, character_bits: 10, thinking_ms: bus.thinking_ms.unwrap_or(THINKING_NETWORK_MS) }
        }
        BusSettings::Rtu(line) => {
            let character_bits = match &line.port {
                PortSettings::Serial(port) => {
                    let parity = u32::from(port.serial.parity != Parity::None);
                    1 + u32::from(port.serial.data_bits) + parity + u32::from(port.serial.stop_bits)
                }
                _ => 10,
            };
            Wire { baud: line.baud, character_bits, thinking_ms: bus.thinking_ms.unwrap_or(THINKING_LINE_MS) }
        }
    }
}

/// Device by device, the most expensive first.
fn arithmetic(budget: &Airtime, devices: &[DeviceId]) -> String {
    let mut shares: Vec<_> = budget.devices.iter().zip(devices).collect();
    shares.sort_by(|(a, _), (b, _)| b.share.total_cmp(&a.share));
    let line = |(share, id): &(&sitian_poll::airtime::Share, &DeviceId)| {
        format!(
            "{id} {:.0} % ({} request{} of {} bytes: {:.1} ms on the wire + {:.1} ms waiting)",
            share.share * 100.0,
            share.requests,
            if share.requests == 1 { "" } else { "s" },
            share.bytes,
            share.wire_us as f64 / 1_000.0,
            share.waiting_us as f64 / 1_000.0
        )
    };
    let mut lines: Vec<String> = shares.iter().take(LISTED_MAX).map(line).collect();
    if shares.len() > LISTED_MAX {
        lines.push(format!("and {} more", shares.len() - LISTED_MAX));
    }
    lines.join(", ")
}
