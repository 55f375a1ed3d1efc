//! F3, power cuts on a real ext4: the file system is shut down under the running program without flushing its journal,
//! the program is killed, the card is mounted again (the journal is replayed, nothing is repaired by hand) and the
//! program starts on what is left. What was called accepted or acknowledged has to be there.

use sitian_tests_system::rig::Plan;
use sitian_tests_system::tally::{Fault, times};
use sitian_tests_system::{Card, Rig};

const INJECTED: &str = "ext4 in a loop image, EXT4_IOC_SHUTDOWN without journal flush, kill -9, remount";

/// Cuts between two looks at everything that is stored.
const STRETCH: usize = 30;

/// So many different moments between two cuts, in milliseconds.
fn moments(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 160
    }
}

/// Lets the network work for a moment; what is to be met is chance.
fn go_on(ms: u64) {
    std::thread::park_timeout(std::time::Duration::from_millis(ms));
}

#[test]
fn power_cuts_of_a_gateways_card_lose_nothing_accepted() {
    let fault =
        Fault { number: "F3", title: "power cut on a real ext4: the gateway's spool", injected: INJECTED };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut card = match Card::ext4(192) {
        Ok(card) => card,
        Err(why) => return fault.skipped(why),
    };
    let plan = Plan {
        spool: card.path().join("spool"),
        more: "bytes_max = 134217728\nkeep_hours = 0".to_owned(),
        ..Plan::default()
    };
    let mut rig = Rig::start(folder, &plan);
    let (mut moment, mut cuts) = (moments(3), 0);
    let wanted = times(300, 10_000);
    while cuts < wanted {
        // Every other stretch without a broker: the card alone knows what was accepted.
        let offline = (cuts / STRETCH) % 2 == 1;
        if offline {
            rig.broker.program.kill();
        }
        for _ in 0..STRETCH.min(wanted - cuts) {
            // Half of the cuts meet a gateway that has accepted something, the others one that starts, or recovers.
            if moment() % 2 == 0 {
                rig.accepts(1);
            }
            go_on(moment());
            card.cut(rig.gateway.program.id());
            rig.gateway.program.kill();
            card.power_on();
            rig.gateway.start_again_under(&[]);
            cuts += 1;
        }
        if offline {
            rig.broker.start_again();
        }
        rig.accepts(2);
        let (verdict, stored) = rig.settle(60);
        assert_eq!((verdict.harm, stored.gaps.len()), Default::default(), "after {cuts} cuts");
    }
    let (verdict, _) = rig.settle(60);
    let note = format!(
        "{} records accepted, {} stored; 0 manual steps",
        rig.accepted.labels.len(),
        verdict.readings
    );
    fault.came_to(format!("{cuts} cuts"), verdict.harm, note);
    assert_eq!(verdict.harm, Default::default());
}

#[test]
fn power_cuts_of_the_centres_disk_lose_nothing_acknowledged() {
    let fault =
        Fault { number: "F3", title: "power cut on a real ext4: the centre's store", injected: INJECTED };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut card = match Card::ext4(192) {
        Ok(card) => card,
        Err(why) => return fault.skipped(why),
    };
    let mut rig = Rig::start(folder, &Plan { store: card.path().to_owned(), ..Plan::default() });
    let (mut moment, wanted) = (moments(4), times(100, 5_000));
    for cut in 1..=wanted {
        rig.accepts(1);
        go_on(moment());
        card.cut(rig.ingestor.program.id());
        rig.ingestor.program.kill();
        card.power_on();
        rig.ingestor.start_again();
        if cut % STRETCH == 0 {
            let (verdict, _) = rig.settle(60);
            assert_eq!((verdict.harm, verdict.holes), Default::default(), "after {cut} cuts");
        }
    }
    rig.accepts(2);
    let (verdict, _) = rig.settle(60);
    // A centre that had forgotten what it acknowledged would have to ask for it again.
    let forgotten = rig.incidents("server_restored");
    let note = format!(
        "{} readings stored, {} holes, {forgotten} acknowledged ones forgotten",
        verdict.readings, verdict.holes
    );
    fault.came_to(format!("{wanted} cuts"), verdict.harm, note);
    assert_eq!((verdict.harm, verdict.holes, forgotten), Default::default());
}
