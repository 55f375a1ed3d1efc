//! `cargo xtask teeth`: the deliberate mistakes of `sitian_model::Mutant`, each with the test that must catch it. Our own
//! crates are built once more with `--cfg sitian_mutants`, beside the ordinary build, whose third-party crates they share;
//! every test passes there while no mutant lives and must fail while its mutant does.
//!
//! Mistakes of the rooms are set against tests of the rooms. Mistakes of the shells, and those that only a process with a
//! real card can show, are set against `tests/system`, whose test programs then start the gateway and the ingestor of this
//! build (`SITIAN_PROGRAMS`), with a tenth of the faults (`CHAOS=teeth`).
//!
//! Two mistakes of the shells are broken in `sitian-testkit`'s copies only: no reload after a refused transaction, alert
//! memory forgotten. There is no access control yet whose scope filter could be dropped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::programs::{self, built};
use crate::setup::cargo;

const WRAPPER: &str = "crates/xtask/with_mutants.sh";
/// Below the ordinary target folder.
const FOLDER: &str = "mutants";
const SYSTEM: &str = "system";
/// Most tests wait more than they compute.
const AT_ONCE: usize = 3;
const PROGRAMS: [&str; 2] = ["sitian-gateway", "sitian-ingestor"];
const ROOMS: [&str; 7] = [
    "sitian-spool",
    "sitian-uplink",
    "sitian-ingest",
    "sitian-tenure",
    "sitian-poll",
    "sitian-store-embedded",
    "sitian-store-postgres",
];

/// Mutant, room, test program, test.
const CAUGHT_BY: &[(&str, &str, &str, &str)] = &[
    (
        "FsyncRetriedAfterError",
        "spool",
        "damage",
        "one_failing_call_anywhere_loses_nothing_and_stops_nothing",
    ),
    ("NeverSynced", "spool", "damage", "a_power_cut_at_every_write_loses_nothing_accepted"),
    ("LengthNotChecked", "spool", "damage", "every_flipped_bit_is_found_and_costs_at_most_one_record"),
    ("ChecksumNotChecked", "spool", "damage", "every_flipped_bit_is_found_and_costs_at_most_one_record"),
    ("TrimmedWithoutAck", "spool", "queue", "a_full_spool_evicts_the_oldest_and_says_exactly_what"),
    ("NoKeepBehind", "spool", "queue", "acked_records_are_kept_behind_and_then_trimmed"),
    (
        "EvictedWithoutGap",
        "spool",
        "queue",
        "an_epoch_that_is_wholly_evicted_stays_as_a_gap_until_newer_ones_are_gone",
    ),
    (
        "GoneForgotten",
        "spool",
        "queue",
        "the_newest_two_of_what_is_gone_are_remembered_for_a_centre_that_has_forgotten_them",
    ),
    ("NoSpare", "spool", "queue", "a_roll_over_on_a_full_disk_takes_the_spare_and_never_fails"),
    (
        "EndNotNoted",
        "spool",
        "damage",
        "every_flipped_bit_of_the_newest_segment_costs_at_most_one_record_and_is_told",
    ),
    (
        "TrimmedOnPuback",
        "uplink",
        "scores",
        "a_durable_record_is_published_at_once_on_an_idle_link_and_released_on_its_ack",
    ),
    ("RewindIgnored", "uplink", "scores", "a_rewind_starts_again_where_the_centre_remembers_once"),
    ("AckNotClamped", "uplink", "scores", "an_epoch_of_an_earlier_process_may_end_below_what_is_committed"),
    ("OutOfOrderAccepted", "ingest", "delivery", "admission::a_batch_is_judged_by_where_it_begins"),
    ("OverlapNotSkipped", "ingest", "delivery", "admission::a_batch_is_judged_by_where_it_begins"),
    (
        "NoRewindAnswer",
        "ingest",
        "delivery",
        "incidents::a_restored_server_rewinds_every_epoch_and_says_so_once_per_gateway",
    ),
    (
        "WatermarkElsewhere",
        "ingest",
        "delivery",
        "history::every_accepted_reading_is_stored_exactly_once_whatever_happens_on_the_way",
    ),
    (
        "ForkUnseen",
        "ingest",
        "delivery",
        "admission::another_history_under_the_same_label_is_a_fork_wherever_it_meets_the_watermark",
    ),
    ("LeaseOutlived", "tenure", "leases", "a_member_that_cannot_ask_stops_before_its_lease_runs_out"),
    (
        "TermKept",
        "tenure",
        "leases",
        "what_ends_by_itself_goes_on_under_a_new_term_and_not_before_the_next_beat",
    ),
    ("ByteCountNotChecked", "poll", "sitian_poll", "rtu::tests::what_is_not_the_answer_is_named"),
    (
        "ForeignUnitAccepted",
        "poll",
        "late_replies",
        "late_and_broken_replies_never_become_the_value_of_another_point",
    ),
    ("NoHoldOff", "poll", "late_replies", "late_and_broken_replies_never_become_the_value_of_another_point"),
    ("ReplyNotChecked", "poll", "traps", "trap_3_a_published_reply_with_a_wrong_checksum_is_refused"),
    (
        "RowsInAnotherTransaction",
        "store-embedded",
        "power",
        "a_log_torn_anywhere_in_the_last_commit_loses_that_commit_whole_or_not_at_all",
    ),
    ("FenceNotLocked", "store-postgres", "slots", "a_slot_is_not_claimed_in_the_middle_of_a_commit"),
    (
        "FenceLeftOut",
        "store-postgres",
        "tenure",
        "a_slot_has_one_member_at_a_time_and_every_claim_another_term",
    ),
];

/// Mutant, test program of `tests/system`, test.
const SHELLS_CAUGHT_BY: &[(&str, &str, &str)] = &[
    ("AckBeforeCommit", "power_cuts", "a_power_cut_at_a_sync_of_the_centre_loses_nothing_acknowledged"),
    ("StoreNotSynced", "power_cuts", "power_cuts_of_the_centres_disk_lose_nothing_acknowledged"),
    ("NeverSynced", "power_cuts", "power_cuts_of_a_gateways_card_lose_nothing_accepted"),
    (
        "DirectoryNotSynced",
        "power_cuts",
        "a_file_of_the_spool_has_its_name_on_the_card_before_anything_else_is_accepted",
    ),
    ("WatermarkElsewhere", "kills", "killing_the_ingestor_loses_and_doubles_nothing"),
    ("EpochKept", "copies", "an_old_card_image_that_is_put_back_destroys_nothing_that_survives"),
    ("ClockBelieved", "clocks", "a_clock_that_is_wrong_at_boot_costs_nothing_and_deceives_nobody"),
];

/// A test and the mistakes that it must catch.
struct Row {
    room: &'static str,
    program: &'static str,
    test: &'static str,
    mutants: Vec<&'static str>,
}

/// What came of a mutant, or of a run of a test.
#[derive(Clone, PartialEq)]
enum Outcome {
    Passed,
    /// As it should be, while a mutant lives.
    Failed,
    /// This machine lacks something that the test needs.
    Skipped(String),
}

/// Where everything was built.
struct Bench {
    /// Test programs by package and name.
    tests: BTreeMap<(String, String), PathBuf>,
    /// Holds the gateway and the ingestor.
    programs: PathBuf,
}

/// Builds everything with its mutants and sets each of them against its test.
pub fn run() -> Result<()> {
    let bench = Bench::build()?;
    let outcomes = programs::side_by_side(rows(), AT_ONCE, |row| bench.judge(&row));
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let expected = CAUGHT_BY.len() + SHELLS_CAUGHT_BY.len();
    let lived: Vec<&str> = outcomes.iter().filter(|(_, o)| *o == Outcome::Passed).map(|(m, _)| *m).collect();
    let caught = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Failed).count();
    let skipped = outcomes.len() - caught - lived.len();
    println!("{expected} times a mutant against a test: {caught} caught, {skipped} skipped");
    if !lived.is_empty() {
        bail!("{} mutants lived: {}", lived.len(), lived.join(", "));
    }
    if outcomes.len() == expected { Ok(()) } else { bail!("failed to judge all mutants") }
}

/// The tests with their mutants; those that take longest come last, and so are taken first.
fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let shells = SHELLS_CAUGHT_BY.iter().map(|(mutant, program, test)| (*mutant, SYSTEM, *program, *test));
    for (mutant, room, program, test) in CAUGHT_BY.iter().copied().chain(shells) {
        match rows.iter_mut().find(|row| (row.room, row.test) == (room, test)) {
            Some(row) => row.mutants.push(mutant),
            None => rows.push(Row { room, program, test, mutants: vec![mutant] }),
        }
    }
    rows
}

impl Bench {
    /// The rooms' tests and our programs with their mutants; the tests of `tests/system` without, for the mistakes are in
    /// the programs that they start.
    fn build() -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let target = std::path::absolute(target).context("failed to name the target folder")?;
        let rooms: Vec<&str> = ROOMS.iter().flat_map(|room| ["--package", room]).collect();
        let mut tests = built(with_mutants(&target, &["test", "--no-run", "--tests"])?.args(rooms))?;
        let ours: Vec<&str> = PROGRAMS.iter().flat_map(|program| ["--bin", program]).collect();
        // As part of the whole workspace: its third-party crates have more features than those of two members.
        built(with_mutants(&target, &["build", "--workspace"])?.args(ours))?;
        let system: Vec<&str> =
            SHELLS_CAUGHT_BY.iter().flat_map(|(_, program, _)| ["--test", program]).collect();
        tests.extend(built(cargo(&["test", "--no-run", "--workspace"]).args(system))?);
        Ok(Self { tests, programs: target.join(FOLDER).join("debug") })
    }

    /// Sets a test against its mutants, after it has passed without.
    fn judge(&self, row: &Row) -> Result<Vec<(&'static str, Outcome)>> {
        let healthy = self.outcome(row, "")?;
        if healthy == Outcome::Failed {
            bail!(
                "failed to judge {:?}: {} does not pass without them, or does not exist",
                row.mutants,
                row.test
            );
        }
        let mut outcomes = Vec::new();
        for mutant in &row.mutants {
            let outcome =
                if healthy == Outcome::Passed { self.outcome(row, mutant)? } else { healthy.clone() };
            let word = match &outcome {
                Outcome::Failed => "caught ".to_owned(),
                Outcome::Passed => "LIVED  ".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}:"),
            };
            println!("{word} {mutant:26} {}: {}", row.room, row.test);
            outcomes.push((*mutant, outcome));
        }
        Ok(outcomes)
    }

    /// Passed if exactly this test ran and passed.
    fn outcome(&self, row: &Row, mutant: &str) -> Result<Outcome> {
        let Row { room, program, test, .. } = row;
        let (package, folder) = if *room == SYSTEM {
            ("tests/system".to_owned(), "tests/system".to_owned())
        } else {
            (format!("crates/{room}"), format!("crates/{room}"))
        };
        let path = self.tests.get(&(package, (*program).to_owned()));
        let path = path.with_context(|| format!("failed to find the test program {program} of {room}"))?;
        let mut command = Command::new(path);
        command.args(["--exact", test, "--nocapture"]).current_dir(folder).stdin(Stdio::null());
        command.env("SITIAN_MUTANT", mutant).env("SITIAN_PROGRAMS", &self.programs);
        command.env("CHAOS", "teeth").env("RUST_BACKTRACE", "0");
        let output = command.output().with_context(|| format!("failed to start {}", path.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let passed = output.status.success() && said.contains("1 passed");
        if mutant.is_empty() && !passed {
            eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
        }
        let skipped = said.split_once(": skipped: ").and_then(|(_, why)| why.lines().next());
        Ok(match (passed, skipped) {
            (true, Some(why)) => Outcome::Skipped(why.to_owned()),
            (true, None) => Outcome::Passed,
            (false, _) => Outcome::Failed,
        })
    }
}

/// A cargo command that builds our crates with their mutants: what it makes on the way lies beside that of the ordinary
/// build, from which the wrapper tells it; the programs lie in a folder of their own.
fn with_mutants(target: &Path, arguments: &[&str]) -> Result<Command> {
    let wrapper = std::path::absolute(WRAPPER).context("failed to name the compiler's wrapper")?;
    let mut command = cargo(arguments);
    command.env("RUSTC_WORKSPACE_WRAPPER", wrapper).env("CARGO_BUILD_BUILD_DIR", target);
    command.arg("--target-dir").arg(target.join(FOLDER));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SYSTEM, rows};

    /// Everything that is written in Rust below a folder.
    fn sources(folder: &Path) -> String {
        let entries = std::fs::read_dir(folder)
            .expect("a readable source")
            .map(|entry| entry.expect("a readable source").path());
        let text = |path: std::path::PathBuf| match path.extension() {
            None => sources(&path),
            Some(ending) if ending == "rs" => std::fs::read_to_string(&path).expect("a readable source"),
            Some(_) => String::new(),
        };
        entries.filter(|path| path.is_dir() || path.extension().is_some()).map(text).collect()
    }

    #[test]
    fn every_mistake_stands_against_a_test_that_exists() {
        for row in rows() {
            let room =
                if row.room == SYSTEM { "tests/system".into() } else { format!("crates/{}", row.room) };
            let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(room);
            let written: String = ["src", "tests"]
                .map(|part| room.join(part))
                .iter()
                .filter(|at| at.is_dir())
                .map(|at| sources(at))
                .collect();
            let name = row.test.rsplit("::").next().unwrap_or_default();
            assert!(written.contains(&format!("fn {name}(")), "{}: {}", row.room, row.test);
        }
    }
}
