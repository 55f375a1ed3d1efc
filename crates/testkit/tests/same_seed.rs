//! A failing seed is only worth something if it can be repeated.

#![allow(clippy::unwrap_used, missing_docs)]

use sitian_testkit::Mutant;
use sitian_testkit::season::run;

#[test]
fn the_same_seed_gives_the_same_world_and_another_seed_another_one() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 1_000..1_012 {
        let (first, second) = (run(seed, Mutant::None).unwrap(), run(seed, Mutant::None).unwrap());
        assert_eq!(first, second, "seed {seed}");
        hashes.insert(first.hash);
    }
    assert_eq!(hashes.len(), 12);
}
