//! Many worlds, one after the other and some at once.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mutant::Mutant;
use crate::pardon::Pardons;
use crate::sight::Seen;
use crate::world::World;

/// Steps printed with a failure.
const STEPS_MAX: usize = 80;

/// What became of one world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One number for all that happened.
    pub hash: u64,
    /// Hard states reached.
    pub seen: Seen,
    /// What the oracle let pass.
    pub pardons: Pardons,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Records sealed, and accepted.
    pub records: (usize, usize),
    /// Rows stored.
    pub rows: usize,
}

/// A world that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was wrong.
    pub what: Vec<String>,
    /// The last steps.
    pub steps: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n… the last steps (virtual ms, what, who, number, number):")?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        writeln!(f, "seed {} failed:", self.seed)?;
        self.what.iter().try_for_each(|what| writeln!(f, "  {what}"))?;
        write!(f, "repeat it: SEED={} cargo test -p sitian-testkit", self.seed)
    }
}

/// Runs the world of one seed. A panic of a machine is a failure like any other.
pub fn run(seed: u64, mutant: Mutant) -> Result<Outcome, Box<Failure>> {
    replay(seed, mutant, STEPS_MAX)
}

/// Like [`run`], remembering so many steps for a failure.
pub fn replay(seed: u64, mutant: Mutant, steps_max: usize) -> Result<Outcome, Box<Failure>> {
    let mut world = World::new(seed, mutant);
    world.ether.trace.steps_max = steps_max;
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let mut what = world.violations().to_vec();
    if let Err(panic) = ended {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        what.push(format!("S13: a panic: {}", text.unwrap_or_default()));
    }
    let ether = world.ether();
    if what.is_empty() {
        return Ok(Outcome {
            hash: ether.trace.hash(),
            seen: ether.seen,
            pardons: ether.oracle.pardons.get(),
            virtual_ms: ether.now,
            records: ether.oracle.counts(),
            rows: world.centre().book.rows.len(),
        });
    }
    let steps = ether.trace.last().map(ToString::to_string).collect();
    Err(Box::new(Failure { seed, what, steps }))
}

/// What became of a run of seeds.
#[derive(Debug, Clone, Default)]
pub struct Season {
    /// Worlds that ran.
    pub worlds: u64,
    /// Hard states reached by all together.
    pub seen: Seen,
    /// What their oracles let pass.
    pub pardons: Pardons,
    /// Virtual milliseconds of all together.
    pub virtual_ms: u64,
    /// Records accepted by all together.
    pub accepted: u64,
    /// Rows stored by all together.
    pub rows: u64,
    /// The failures, lowest seed first.
    pub failures: Vec<Failure>,
}

/// Runs these seeds on so many threads; stops early after a handful of failures.
pub fn season(seeds: std::ops::Range<u64>, threads: usize) -> Season {
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Season::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || sum.lock().is_ok_and(|sum| sum.failures.len() >= 5) {
                        return;
                    }
                    let outcome = run(seed, Mutant::None);
                    if let Ok(mut sum) = sum.lock() {
                        sum.add(outcome);
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_default();
    sum.failures.sort_by_key(|failure| failure.seed);
    sum
}

impl Season {
    fn add(&mut self, outcome: Result<Outcome, Box<Failure>>) {
        self.worlds += 1;
        match outcome {
            Ok(outcome) => {
                self.seen.add(&outcome.seen);
                self.pardons.add(&outcome.pardons);
                self.virtual_ms += outcome.virtual_ms;
                self.accepted += outcome.records.1 as u64;
                self.rows += outcome.rows as u64;
            }
            Err(failure) => self.failures.push(*failure),
        }
    }
}
