//! F7 and F8: the card is full, out of inodes, or turned read-only. Polling never stops; what could not be kept is a gap
//! that counts exactly; people see it centrally.

use std::time::Instant;

use sitian_tests_system::rig::{BASE, Plan};
use sitian_tests_system::tally::{Fault, NONE};
use sitian_tests_system::{Card, Rig, get, wait_for};

/// What the centre says of the gateway's spool.
fn spool(rig: &Rig) -> serde_json::Value {
    let page = get(&rig.ingestor.url(&format!("bases/{BASE}"))).unwrap_or_default();
    page["gateways"][0]["spool"].clone()
}

/// Fills a card under an offline gateway until it has given up records, then lets both card and link come back.
fn fill(fault: Fault, options: &str, room: impl FnOnce(&Card)) {
    let card = match Card::tmpfs(options) {
        Ok(card) => card,
        Err(why) => return fault.skipped(why),
    };
    let plan =
        Plan { spool: card.path().join("spool"), more: "keep_hours = 0".to_owned(), ..Plan::default() };
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &plan);
    rig.accepts(2);
    rig.broker.program.kill();
    let ballast = card.path().join("ballast");
    std::fs::create_dir(&ballast).expect("room for a folder");
    // What others write takes the card, file by file, until there is no room and no inode left.
    let full = (0..).find(|n| std::fs::write(ballast.join(n.to_string()), vec![1; 64 << 10]).is_err());
    assert!(full.is_some_and(|files| files > 3));
    // Each start begins a segment, and none can be made.
    for _ in 0..8 {
        rig.accepts(3);
        rig.restart_gateway(&[]);
    }
    rig.accepts(3);
    room(&card);
    let begun = Instant::now();
    // A fresh start makes a fresh segment and a spare: all is as before.
    rig.restart_gateway(&[]);
    rig.accepts(3);
    let normal = begun.elapsed().as_secs_f64();
    let served = rig.counter.served();
    let pauses = served.iter().zip(served.iter().skip(1)).map(|(a, b)| b.at - a.at);
    let longest = pauses.max().unwrap_or_default().as_millis();
    rig.broker.start_again();
    rig.accepts(3);
    let (verdict, stored) = rig.settle(120);
    let labels = stored.labels();
    let missing = rig.accepted.labels.iter().filter(|label| !labels.contains(*label)).count() as u64;
    let told: u64 = stored.gaps.iter().filter_map(|gap| gap["count"].as_u64()).sum();
    wait_for("a healthy spool", 90, || (spool(&rig)["healthy"] == true).then_some(()));
    let note = format!(
        "{} gaps of {told} records, {missing} missing; longest pause between polls {longest} ms over 9 restarts; \
         accepting {normal:.1} s after space came back",
        stored.gaps.len()
    );
    fault.came_to(format!("{} records accepted", rig.accepted.labels.len()), verdict.harm, note);
    assert_eq!((verdict.harm, told), (NONE, missing), "{:?}", stored.gaps);
}

#[test]
fn a_full_card_costs_the_oldest_readings_and_says_exactly_which() {
    let fault =
        Fault { number: "F7", title: "disk full: bytes", injected: "tmpfs of 9 MiB filled up by others" };
    fill(fault, "size=9m", |card| drop(std::fs::remove_dir_all(card.path().join("ballast"))));
}

#[test]
fn a_card_without_inodes_costs_the_oldest_readings_and_says_exactly_which() {
    let fault = Fault {
        number: "F7",
        title: "disk full: inodes",
        injected: "tmpfs of 12 inodes filled up by others",
    };
    fill(fault, "size=64m,nr_inodes=12", |card| drop(std::fs::remove_dir_all(card.path().join("ballast"))));
}

#[test]
fn a_card_that_turns_read_only_costs_nothing_while_the_link_is_up_and_shows_centrally() {
    let fault = Fault {
        number: "F8",
        title: "card turns read-only under a connected gateway",
        injected: "ext4 errors=remount-ro, trigger_fs_error",
    };
    let mut card = match Card::ext4(64) {
        Ok(card) => card,
        Err(why) => return fault.skipped(why),
    };
    let plan = Plan { spool: card.path().join("spool"), ..Plan::default() };
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &plan);
    rig.accepts(5);
    if let Err(why) = card.fail() {
        return fault.skipped(why);
    }
    let begun = Instant::now();
    wait_for("the centre seeing that the spool failed", 90, || {
        (spool(&rig)["healthy"] == false).then_some(())
    });
    let seen = begun.elapsed().as_secs_f64();
    let polled = |rig: &mut Rig, more: u64| {
        let reads = rig.counter.reads();
        wait_for("polling", 20, || {
            rig.gateway.program.expect_alive();
            (rig.counter.reads() >= reads + more).then_some(())
        });
    };
    polled(&mut rig, 20);
    // A gateway that starts on such a card works as well.
    rig.restart_gateway(&[]);
    polled(&mut rig, 20);
    let reads = rig.counter.reads();
    wait_for("what was polled to be central without a card", 20, || {
        let newest = rig.ingestor.last_value(BASE, &format!("{BASE}/counter-1/p0"))?;
        (newest as u64 / 128 >= reads).then_some(())
    });
    rig.gateway.program.kill();
    card.power_on();
    rig.restart_gateway(&[]);
    rig.accepts(3);
    wait_for("a healthy spool", 90, || (spool(&rig)["healthy"] == true).then_some(()));
    let (verdict, _) = rig.settle(60);
    let note = format!(
        "{} readings, {} polls of living gateways skipped; shown centrally after {seen:.1} s",
        verdict.readings, verdict.skipped
    );
    fault.came_to("1 card, 2 processes", verdict.harm, note);
    assert_eq!((verdict.harm, verdict.skipped), (NONE, 0));
}
