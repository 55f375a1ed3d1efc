//! Each mutant of the shells loses, doubles, invents or misplaces readings, or alerts. A world that does not notice has
//! blind checks.

#![allow(clippy::unwrap_used, missing_docs)]

use sitian_testkit::Mutant;
use sitian_testkit::season::{Failure, run};

/// Seeds in which a mutant must show.
const SEEDS: u64 = 150;

/// The first seed in which the mutant is caught, and by which check.
fn catch(mutant: Mutant) -> Option<Failure> {
    (0..SEEDS).find_map(|seed| run(seed, mutant).err()).map(|failure| *failure)
}

fn check(mutant: Mutant, expected: &str) {
    let caught = catch(mutant).unwrap_or_else(|| panic!("{mutant:?} lived through {SEEDS} worlds"));
    println!("{mutant:?}: seed {}: {}", caught.seed, caught.what[0]);
    assert!(
        caught.what[0].starts_with(expected),
        "{mutant:?} was expected to break {expected}: {:?}",
        caught.what
    );
    assert!(run(caught.seed, Mutant::None).is_ok(), "seed {} fails without a mutant too", caught.seed);
}

#[test]
fn an_epoch_kept_across_a_restore_gives_one_label_to_two_readings() {
    check(Mutant::EpochKeptOnTheCard, "S7");
}

#[test]
fn a_broker_s_puback_is_no_receipt() {
    check(Mutant::TrimOnPuback, "S6");
}

#[test]
fn an_ack_before_the_commit_is_a_lie() {
    check(Mutant::AckBeforeCommit, "S5");
}

#[test]
fn a_batch_beyond_the_watermark_leaves_a_hole() {
    check(Mutant::OutOfOrderAccepted, "S1");
}

#[test]
fn a_watermark_without_its_rows_is_a_hole() {
    check(Mutant::WatermarkInAnotherTransaction, "S4");
}

#[test]
fn a_centre_that_forgets_without_a_word_never_gets_it_back() {
    check(Mutant::NoRewind, "L");
}

#[test]
fn without_keep_behind_nothing_is_left_for_a_restored_centre() {
    check(Mutant::NoKeepBehind, "S6");
}

#[test]
fn a_failed_sync_is_not_mended_by_calling_it_again() {
    check(Mutant::SyncRetried, "S1");
}

#[test]
fn what_was_never_synced_does_not_survive() {
    check(Mutant::NoSync, "S1");
}

#[test]
fn without_a_hold_off_a_late_reply_becomes_another_point_s_value() {
    check(Mutant::NoHoldOff, "S8");
}

#[test]
fn a_reply_that_is_not_checked_is_somebody_else_s() {
    check(Mutant::RepliesBelieved, "S");
}

#[test]
fn a_machine_that_goes_on_after_a_refused_transaction_acknowledges_what_is_not_there() {
    check(Mutant::NoReload, "S");
}

#[test]
fn alerts_that_are_forgotten_at_a_restart_are_no_fold_of_the_log() {
    check(Mutant::AlertMemoryForgotten, "S10");
}
