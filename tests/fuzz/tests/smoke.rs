//! Every target over mutations of its seeds, always the same ones. `ITERATIONS=n` asks for more, `SEED=n` for others.

use sitian_fuzz::{TARGETS, Target, mutate};

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn no_parser_panics_on_what_mutations_make_of_good_input() {
    let (iterations, seed) = (number("ITERATIONS", 10_000), number("SEED", 1));
    std::thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || feed(target, iterations, seed));
        }
    });
}

fn feed(target: &Target, iterations: u64, seed: u64) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has seeds", target.name);
    seeds.iter().for_each(|input| (target.run)(input));
    let mut random = fastrand::Rng::with_seed(seed);
    for n in 0..iterations {
        let pick = |random: &mut fastrand::Rng| seeds[random.usize(0..seeds.len())].clone();
        let (one, other) = (pick(&mut random), pick(&mut random));
        let input = mutate(&mut random, &one, &other);
        let outcome = std::panic::catch_unwind(|| (target.run)(&input));
        assert!(
            outcome.is_ok(),
            "{} panics at iteration {n} of seed {seed} on {}",
            target.name,
            input.escape_ascii()
        );
    }
}
