//! F33: the configuration file is replaced again and again under a running gateway, torn at every kind of place, invalid,
//! repeated. `check` judges it, polling goes on with what was good at the start, the spool stays as it is.

use sitian_tests_system::Rig;
use sitian_tests_system::program::ours;
use sitian_tests_system::rig::Plan;
use sitian_tests_system::tally::{Fault, NONE, times};

#[test]
fn a_torn_or_wrong_configuration_file_does_not_disturb_a_running_gateway() {
    let fault = Fault {
        number: "F33",
        title: "configuration file torn, invalid, repeated under a running gateway",
        injected: "the file is rewritten in place",
    };
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &Plan::default());
    rig.accepts(2);
    let path = rig.folder.path().join("gateway.toml");
    let good = std::fs::read_to_string(&path).expect("the rig's configuration");
    let started = rig.gateway.program.id();
    let pushes = times(200, 1_000);
    let (mut refused, mut fine) = (0, 0);
    for push in 0..pushes {
        let text = match push % 4 {
            0 => good.clone(),
            1 => good.replace("interval_s = 0.1", "interval_s = -1"),
            2 => good.replace("bus = \"a\"", "bus = \"b\""),
            _ => {
                let mut at = good.len() * push / pushes;
                while !good.is_char_boundary(at) {
                    at -= 1;
                }
                good[..at].to_owned()
            }
        };
        std::fs::write(&path, &text).expect("a writable folder");
        let check =
            ours("sitian-gateway").arg("check").arg("--config").arg(&path).output().expect("our program");
        match check.status.code() {
            Some(0) => fine += 1,
            Some(2) => refused += 1,
            other => {
                panic!("check ended with {other:?} on:\n{text}\n{}", String::from_utf8_lossy(&check.stderr))
            }
        }
        assert!(text != good || check.status.success(), "what is good is called good");
        if push % 50 == 0 {
            rig.accepts(2);
        }
    }
    std::fs::write(&path, &good).expect("a writable folder");
    rig.accepts(2);
    assert_eq!(rig.gateway.program.id(), started);
    rig.gateway.program.expect_alive();
    let (verdict, stored) = rig.settle(60);
    let epochs: std::collections::BTreeSet<_> = stored.labels().into_iter().map(|label| label.0).collect();
    let note = format!(
        "check: {fine} fine, {refused} refused with their place; {} polls skipped, {} epoch; taken up at the next start",
        verdict.skipped,
        epochs.len()
    );
    fault.came_to(format!("{pushes} pushes"), verdict.harm, note);
    assert_eq!((verdict.harm, verdict.skipped, verdict.silent, epochs.len()), (NONE, 0, 0, 1));
    assert!(refused > pushes / 2 && fine > pushes / 5);
}
