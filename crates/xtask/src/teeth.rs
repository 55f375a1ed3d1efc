//! `cargo xtask teeth`: the deliberate mistakes of `sitian_model::Mutant`, each with the test that must catch it. The rooms
//! are built once more with `--cfg sitian_mutants`, in a folder of their own; every test passes there while no mutant lives
//! and must fail while its mutant does.
//!
//! Mistakes of the shells are not here: their logic is copied by `sitian-testkit`, whose `tests/teeth.rs` breaks the copies
//! (epoch kept across a restore, ack before commit, no reload after a refused transaction, alert memory forgotten). There
//! is no access control yet whose scope filter could be dropped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup::cargo;

const FOLDER: &str = "target/mutants";
const ROOMS: [&str; 5] =
    ["sitian-spool", "sitian-uplink", "sitian-ingest", "sitian-poll", "sitian-store-embedded"];

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
        "an_epoch_that_is_wholly_evicted_stays_as_a_gap_until_that_is_acked",
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
];

/// Builds the rooms with their mutants and sets each of them against its test.
pub fn run() -> Result<()> {
    let programs = build()?;
    let (mut lived, mut checked) = (Vec::new(), BTreeMap::new());
    for (mutant, room, program, test) in CAUGHT_BY {
        let path = programs.get(&(format!("sitian-{room}"), (*program).to_owned()));
        let path = path.with_context(|| format!("failed to find the test program {program} of {room}"))?;
        let healthy = match checked.get(test) {
            Some(healthy) => *healthy,
            None => *checked.entry(test).or_insert(passes(path, room, test, None)?),
        };
        if !healthy {
            bail!("failed to judge {mutant}: {test} does not pass without it, or does not exist");
        }
        let caught = !passes(path, room, test, Some(mutant))?;
        println!("{} {mutant:26} {room}: {test}", if caught { "caught" } else { "LIVED " });
        if !caught {
            lived.push(*mutant);
        }
    }
    println!("{} mutants, {} caught", CAUGHT_BY.len(), CAUGHT_BY.len() - lived.len());
    if lived.is_empty() { Ok(()) } else { bail!("{} mutants lived: {}", lived.len(), lived.join(", ")) }
}

/// The test programs by room and name.
fn build() -> Result<BTreeMap<(String, String), PathBuf>> {
    let mut command = cargo(&["test", "--locked", "--no-run", "--tests", "--target-dir", FOLDER]);
    command.args(["--message-format", "json-render-diagnostics"]);
    for room in ROOMS {
        command.args(["--package", room]);
    }
    command.env("RUSTFLAGS", "--cfg sitian_mutants").stderr(Stdio::inherit());
    let output = command.output().context("failed to start cargo")?;
    if !output.status.success() {
        bail!("failed to build the rooms with their mutants");
    }
    let mut programs = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let (package, target) = (&message["package_id"], &message["target"]);
        if let (Some(program), Some(package)) = (message["executable"].as_str(), package.as_str())
            && (target["kind"][0] == "test" || target["kind"][0] == "lib")
            && let Some(room) = ROOMS.iter().find(|room| package.contains(&format!("/{}#", &room[7..])))
        {
            let name = target["name"].as_str().unwrap_or_default();
            programs.insert(((*room).to_owned(), name.to_owned()), program.into());
        }
    }
    Ok(programs)
}

/// True if exactly this test ran and passed.
fn passes(program: &PathBuf, room: &str, test: &str, mutant: Option<&str>) -> Result<bool> {
    let program = std::path::absolute(program)?;
    let mut command = Command::new(&program);
    command.args(["--exact", test]).current_dir(format!("crates/{room}"));
    command.env("SITIAN_MUTANT", mutant.unwrap_or_default()).env("RUST_BACKTRACE", "0");
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {program:?}"))?;
    Ok(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"))
}
