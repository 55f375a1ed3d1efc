//! Several ingestors share the work: many fleets, each from its seed. `SEED=…` repeats one, `SEEDS=…` runs more, `CHAOS=night` very
//! many.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sitian_testkit::fleet::{Outcome, Slip, run};

/// Fleets of a plain run.
const SEEDS: u64 = 500;
/// Fleets of a night run.
const SEEDS_NIGHT: u64 = 50_000;
/// Seeds in which a slip must show.
const SEEDS_SLIP: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn all(seeds: std::ops::Range<u64>) -> Vec<Outcome> {
    let (next, outcomes) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed, Slip::None).unwrap_or_else(|(what, steps)| {
                        panic!("{}\nseed {seed}: {}", steps.join("\n"), what.join("\n"))
                    });
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

#[test]
fn whoever_dies_sleeps_or_is_cut_off_each_gateway_has_one_owner_and_nothing_is_lost() {
    if let Some(seed) = number("SEED") {
        println!("{:#?}", run(seed, Slip::None).unwrap());
        return;
    }
    let night = std::env::var("CHAOS").is_ok_and(|chaos| chaos == "night");
    let seeds = number("SEEDS").unwrap_or(if night { SEEDS_NIGHT } else { SEEDS });
    let outcomes = all(0..seeds);
    let sum = |of: &dyn Fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let faults: Vec<u64> = (0..6).map(|n| sum(&|outcome| outcome.faults[n])).collect();
    let (commits, fenced) = (sum(&|outcome| outcome.commits.0), sum(&|outcome| outcome.commits.1));
    let (readings, begun) = (sum(&|outcome| outcome.readings as u64), sum(&|outcome| outcome.begun));
    let doubts = sum(&|outcome| outcome.doubts);
    let mut served: Vec<u64> = outcomes.iter().map(|outcome| outcome.served_ms).collect();
    served.sort_unstable();
    let at = |percent: usize| served[(served.len() - 1) * percent / 100];
    println!(
        "after the faults all gateways were served again in ms: p50 {}, p99 {}, most {}",
        at(50),
        at(99),
        at(100)
    );
    println!(
        "{seeds} fleets, {readings} readings, {commits} commits, {fenced} fenced, {doubts} in doubt, {begun} terms begun; \
         members killed, put to sleep, cut off, database stopped, broker stopped, gateways killed: {faults:?}"
    );
    if seeds >= SEEDS {
        let never = [fenced, doubts].into_iter().chain(faults).any(|many| many == 0);
        assert!(!never, "hard states that were never reached");
    }
}

#[test]
fn the_same_seed_gives_the_same_fleet() {
    for seed in 10_000..10_006 {
        assert_eq!(run(seed, Slip::None).unwrap(), run(seed, Slip::None).unwrap(), "seed {seed}");
    }
}

/// Every slip, with the rules that it breaks, one of them first.
const BREAKS: [(Slip, &[&str]); 4] = [
    // A commit that does not look at the lease has two owners.
    (Slip::FenceNotChecked, &["T1", "S2", "S4", "N1"]),
    // A lease by the clock of whoever asks has two believers.
    (Slip::MembersClock, &["B1"]),
    // A commit of unknown fate must not be followed under the same term.
    (Slip::DoubtOverlooked, &["S2", "S4", "N1", "S10", "epoch"]),
    // Slots that number as if they were alone meet.
    (Slip::NumbersShared, &["N1"]),
];

/// The slip is caught, by one of these rules.
fn check(slip: Slip, expected: &[&str]) {
    let caught = (0..SEEDS_SLIP).find_map(|seed| Some((seed, run(seed, slip).err()?.0)));
    let (seed, what) = caught.unwrap_or_else(|| panic!("{slip:?} lived through {SEEDS_SLIP} fleets"));
    println!("{slip:?}: seed {seed}: {}", what[0]);
    assert!(expected.iter().any(|rule| what[0].starts_with(rule)), "{slip:?}: {what:?}");
    assert!(run(seed, Slip::None).is_ok(), "seed {seed} fails without a slip too");
}

#[test]
fn every_slip_breaks_a_rule() {
    assert_eq!(BREAKS.map(|(slip, _)| slip), Slip::ALL);
    std::thread::scope(|scope| {
        for (slip, rules) in BREAKS {
            scope.spawn(move || check(slip, rules));
        }
    });
}
