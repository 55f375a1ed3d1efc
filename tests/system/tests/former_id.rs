//! A gateway gets another id while its spool holds what the old one has recorded.

use std::process::Command;

use sitian_tests_system::program::ours;
use sitian_tests_system::rig::{BASE, Plan};
use sitian_tests_system::tally::NONE;
use sitian_tests_system::{Rig, wait_for};

const OLD_ID: &str = "id = \"dangzhai-01\"";
const NEW_ID: &str = "id = \"moved-07\"";

/// What `sitian-gateway check` says of the rig's configuration.
fn check(rig: &Rig) -> String {
    let mut command: Command = ours("sitian-gateway");
    let out = command.arg("check").arg("--config").arg(rig.folder.path().join("gateway.toml")).output();
    String::from_utf8_lossy(&out.expect("a program that starts").stdout).into_owned()
}

#[test]
fn what_was_recorded_under_a_former_id_waits_until_it_is_named_and_is_then_stored_once_under_that_id() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rig = Rig::start(folder, &Plan::default());
    rig.accepts(10);
    rig.broker.program.kill();
    rig.accepts(30);
    rig.gateway.program.kill();
    rig.accepted.read();
    let recorded = rig.accepted.labels.clone();
    let config = std::fs::read_to_string(rig.folder.path().join("gateway.toml")).expect("a file");
    assert_eq!(config.matches(OLD_ID).count(), 1);

    rig.gateway.start_again_with(&config.replace(OLD_ID, NEW_ID));
    let advice = check(&rig);
    assert!(advice.contains("former_ids = [\"dangzhai-01\"]"), "{advice}");
    rig.broker.start_again();
    // The manifest of an id that stands in no base: the new one has been heard.
    wait_for("the centre hearing the new id", 60, || (rig.incidents("unassigned") > 0).then_some(()));
    rig.accepts(20);
    assert!(!recorded.is_subset(&rig.stored().labels()), "nothing goes out under {BASE} unasked");

    rig.gateway.program.kill();
    let named = format!("{NEW_ID}\nformer_ids = [\"{BASE}\"]");
    rig.gateway.start_again_with(&config.replace(OLD_ID, &named));
    assert!(check(&rig).contains("they go out under that name"));
    wait_for("the old id's backlog being stored", 60, || {
        recorded.is_subset(&rig.stored().labels()).then_some(())
    });
    rig.accepts(20);
    let stored = rig.stored();
    assert_eq!(stored.judge(&recorded, rig.counter.reads()).harm, NONE);
    assert_eq!(stored.labels(), recorded, "the new id's readings are its own");
    assert_eq!(rig.incidents("foreign_manifest"), 0);
}
