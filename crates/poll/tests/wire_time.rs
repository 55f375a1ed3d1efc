//! A serial line in virtual time: what the planner achieves against what the wire allows, and what the budget says of it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sitian_poll::airtime::{Wire, airtime};
use sitian_poll::rtu::{encode_request, response_bytes, silence_us};
use sitian_poll::{Answer, BusPlan, Command, DevicePlan, Failure, PointPlan, Poller, Request};
use sitian_profile::{Catalogue, Profile, catalogue_text};

const BAUD: u32 = 9_600;
const CHARACTER_BITS: u64 = 10;
const DEVICES: u8 = 10;
const REGISTERS: u16 = 10;

/// A device of ten registers in one block.
fn profile() -> Arc<Profile> {
    let mut text = String::from(
        "id = \"ten\"\nvendor = \"t\"\nmodel = \"t\"\nname_zh = \"t\"\nname_en = \"t\"\nsource = \"t\"\n\
         verified = \"U\"\ndefault_unit = 1\n[serial]\nbaud = 9600\n",
    );
    for n in 0..REGISTERS {
        text += &format!(
            "[[points]]\nkey = \"r{n}\"\nmeasurement = \"contact\"\nunit = \"\"\nfunction = \"holding\"\n\
             address = {n}\nkind = \"u16\"\nmin = 0\nmax = 65535\n"
        );
    }
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    Arc::new(Profile::parse("ten.toml", &text, &catalogue).unwrap())
}

fn plan(interval_ms: u32, pause_ms: u32) -> BusPlan {
    let profile = profile();
    let device = |unit: u8| DevicePlan {
        unit,
        profile: profile.clone(),
        points: (0..usize::from(REGISTERS))
            .map(|n| PointPlan { point: u32::from(unit) * 100 + n as u32, profile_point: n, interval_ms })
            .collect(),
        timeout_ms: 500,
        retries: 1,
        priority: 0,
    };
    BusPlan { devices: (1..=DEVICES).map(device).collect(), pause_ms, hold_off: true }
}

/// Microseconds of one exchange on the wire, silences included; the device answers as early as the protocol allows.
fn exchange_us(request: &Request) -> u64 {
    let bytes = (encode_request(request).len() + response_bytes(request)) as u64;
    bytes * CHARACTER_BITS * 1_000_000 / u64::from(BAUD) + 2 * u64::from(silence_us(BAUD))
}

/// Answered polls of each unit, while the units in `dead` say nothing.
fn run(poller: &mut Poller, seconds: u64, dead: &[u8]) -> Vec<u64> {
    let mut answered = vec![0; usize::from(DEVICES) + 1];
    let (mut now_us, end_us) = (0_u64, seconds * 1_000_000);
    while now_us < end_us {
        let mut sent = None;
        while let Some(command) = poller.poll_command() {
            if let Command::Send(request, _) = command {
                sent = Some(request);
            }
        }
        let now = |us: u64| us.div_ceil(1_000);
        match sent {
            None => {
                now_us = now_us.max(poller.poll_timeout().unwrap() * 1_000);
                poller.handle_timeout(now(now_us));
            }
            Some(request) if dead.contains(&request.unit) => {
                now_us += u64::from(request.timeout_ms) * 1_000;
                poller.handle_answer(Err(Failure::Timeout), now(now_us));
            }
            Some(request) => {
                now_us += exchange_us(&request);
                answered[usize::from(request.unit)] += 1;
                let words = vec![7; request.count.into()];
                poller.handle_answer(Ok(Answer::Registers(words)), now(now_us));
            }
        }
    }
    answered
}

#[test]
fn ten_devices_at_9600_baud_are_polled_at_95_percent_of_what_the_wire_allows() {
    let seconds = 600;
    let request = Request {
        unit: 1,
        function: sitian_poll::Function::Holding,
        address: 0,
        count: REGISTERS,
        timeout_ms: 500,
    };
    let floor = seconds as f64 * 1e6 / exchange_us(&request) as f64;
    let all = run(&mut Poller::new(plan(100, 0), 0), seconds, &[]);
    let polls: u64 = all.iter().sum();
    assert!(polls as f64 >= 0.95 * floor, "{polls} polls of {floor:.0}");
    let spread = all[1..].iter().max().unwrap() - all[1..].iter().min().unwrap();
    assert!(spread <= 2, "the devices have equal turns: {all:?}");
    // One dead device: the others keep nine tenths of their pace, although the line has no time to spare.
    let rest = run(&mut Poller::new(plan(100, 0), 0), seconds, &[4]);
    for unit in (1..=usize::from(DEVICES)).filter(|unit| *unit != 4) {
        assert!(rest[unit] * 10 >= all[unit] * 9, "unit {unit}: {} after {}", rest[unit], all[unit]);
    }
    println!("{polls} polls in {seconds} s of {floor:.0} that the wire allows; with unit 4 dead: {rest:?}");
}

#[test]
fn the_budget_says_what_the_line_then_does() {
    let wire = Wire { baud: BAUD, character_bits: CHARACTER_BITS as u32, thinking_ms: 0 };
    for (interval_ms, pause_ms, fits) in [(1_000, 0, true), (450, 0, true), (400, 0, false), (450, 20, false)]
    {
        let plan = plan(interval_ms, pause_ms);
        let budget = airtime(&plan, &wire);
        assert_eq!(budget.share() <= 1.0, fits, "{interval_ms} {pause_ms}: {}", budget.share());
        assert_eq!(budget.devices[0].bytes, 33);
        assert_eq!(budget.devices[0].requests, 1);
        let mut poller = Poller::new(plan, 0);
        run(&mut poller, 60, &[]);
        let overruns: u64 = poller.stats().map(|stats| stats.overruns).sum();
        assert_eq!(overruns == 0, fits, "{interval_ms} ms, pause {pause_ms} ms: {overruns} overruns");
        let live = poller.busy_ms() as f64 / 60_000.0;
        let expected = budget.share().min(1.0);
        assert!((live - expected).abs() < 0.1, "live {live}, budget {expected}");
    }
}

#[test]
fn the_budget_of_a_hand_computed_bus_is_exact() {
    // 33 bytes of 10 bits at 9600 baud: 34.375 ms; silence 4.010 ms; thinking 20 ms; pause 20 ms: 74.375 ms.
    let wire = Wire { baud: BAUD, character_bits: 10, thinking_ms: 20 };
    let budget = airtime(&plan(1_000, 20), &wire);
    assert_eq!(budget.devices[3].wire_us, 34_375);
    assert_eq!(budget.devices[3].waiting_us, 40_000);
    assert_eq!(budget.round_ms(), 744);
    assert!((budget.share() - 0.743_75).abs() < 1e-9);
    assert!((budget.share_with_dead(1) - (0.9 * 0.743_75 + 0.1)).abs() < 1e-9);
    assert!((budget.share_with_dead(10) - 0.0).abs() < 1e-9);
    let network = airtime(&plan(1_000, 0), &Wire { baud: 0, character_bits: 10, thinking_ms: 5 });
    assert!((network.share() - 0.05).abs() < 1e-9);
}
