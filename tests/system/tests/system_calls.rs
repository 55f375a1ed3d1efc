//! F1, F5, F6, F11 between the gateway and the kernel: every system call kills, lies, fails or takes its time, one after
//! the other, swept over all of them.

use std::process::Command;
use std::time::Instant;

use sitian_tests_system::rig::Plan;
use sitian_tests_system::strace::{injected, works};
use sitian_tests_system::tally::{Fault, NONE, times};
use sitian_tests_system::throttle::Throttle;
use sitian_tests_system::{Card, Program, Rig, card, wait_for};

/// A rig with as small a spool as there is, that forgets what is acknowledged: files come and go.
fn start() -> Rig {
    let more = "bytes_max = 8388608\nkeep_hours = 0".to_owned();
    Rig::start(tempfile::tempdir().expect("a temporary folder"), &Plan { more, ..Plan::default() })
}

#[test]
fn a_kill_at_every_system_call_of_the_gateway_loses_nothing_accepted() {
    let fault = Fault {
        number: "F1",
        title: "gateway killed at every system call",
        injected: "strace, SIGKILL at the n-th openat, write, pwrite64, fsync, fdatasync, unlink, pread64, getdents64",
    };
    if let Err(why) = works() {
        return fault.skipped(why);
    }
    let (mut processes, mut kills, mut accepted) = (0, 0, 0);
    let calls =
        [("fdatasync", 10), ("pwrite64", 10), ("fsync", 4), ("unlink", 3), ("openat", 20), ("write", 20)];
    for (call, most) in calls.into_iter().chain([("pread64", 12), ("getdents64", 3)]) {
        // The centre takes 256 starts of one gateway at once: each call is met in the life of another.
        let mut rig = start();
        rig.accepts(2);
        for n in 1..=most * times(1, 10) {
            rig.restart_gateway(&[&format!("{call}:signal=KILL:when={n}")]);
            let enough =
                rig.accepted.read() + if call == "fdatasync" || call == "pwrite64" { n + 2 } else { 3 };
            wait_for("the gateway killed, or working", 30, || {
                (rig.gateway.program.is_over() || rig.accepted.read() >= enough).then_some(())
            });
            processes += 1;
        }
        rig.restart_gateway(&[]);
        rig.accepts(2);
        let (verdict, stored) = rig.settle(60);
        assert_eq!((verdict.harm, verdict.skipped, stored.gaps.len()), (NONE, 0, 0), "after kills at {call}");
        kills += injected(rig.folder.path());
        accepted += rig.accepted.labels.len();
    }
    let note = format!("{accepted} records accepted; {} processes did not come that far", processes - kills);
    fault.came_to(format!("{kills} kills"), NONE, note);
    assert!(kills > 50, "only {kills} kills");
}

#[test]
fn an_error_of_any_system_call_of_the_spool_costs_no_poll_and_the_gateway_lives_on() {
    let fault = Fault {
        number: "F6",
        title: "EIO and ENOSPC at the n-th call",
        injected: "strace on fdatasync, fsync, pwrite64, unlink, pread64 of the gateway",
    };
    if let Err(why) = works() {
        return fault.skipped(why);
    }
    let cases: [(&str, &str, usize); 6] = [
        ("fdatasync", "EIO", times(10, 100)),
        ("pwrite64", "EIO", times(10, 100)),
        ("fsync", "EIO", times(5, 20)),
        ("pwrite64", "ENOSPC", times(3, 50)),
        ("pread64", "EIO", times(8, 50)),
        ("unlink", "EIO", times(3, 20)),
    ];
    let (mut errors, mut skipped, mut readings) = (0, 0, 0);
    for (call, error, most) in cases {
        // The centre takes 256 starts of one gateway at once: each case is the life of another.
        let mut rig = start();
        rig.accepts(2);
        // The first preads are the loader's.
        for n in if call == "pread64" { 4 } else { 1 }..=most {
            rig.restart_gateway(&[&format!("{call}:error={error}:when={n}")]);
            rig.accepts(n.min(12) + 3);
        }
        rig.restart_gateway(&[]);
        rig.accepts(2);
        // Everything that was polled by a process that lived is there, whatever it met.
        let (verdict, stored) = rig.settle(60);
        assert_eq!(
            (verdict.harm, verdict.skipped, stored.gaps.len()),
            (NONE, 0, 0),
            "after {error} of {call}"
        );
        errors += injected(rig.folder.path());
        skipped += verdict.skipped;
        readings += verdict.readings;
    }
    let note = format!("{skipped} polls of living gateways skipped in {readings} readings");
    fault.came_to(format!("{errors} errors, one per process"), NONE, note);
    assert!(errors > 25, "only {errors} errors were injected");
}

#[test]
fn a_slow_card_does_not_slow_polling() {
    let fault =
        Fault { number: "F11", title: "every fdatasync takes 500 ms", injected: "strace, delay_exit" };
    if let Err(why) = works() {
        return fault.skipped(why);
    }
    let mut rig = start();
    rig.accepts(1);
    rig.restart_gateway(&["fdatasync:delay_exit=500000"]);
    rig.accepts(1);
    let begun = rig.counter.reads() as usize;
    rig.accepts(times(150, 3_000));
    let polls = Polls::since(&rig, begun);
    let (verdict, _) = rig.settle(60);
    let note = format!(
        "{} slow syncs; poll start off by {:.0} ms p50, {:.0} ms p99; {} polls skipped, {} silent",
        injected(rig.folder.path()),
        polls.off_ms(0.5),
        polls.off_ms(0.99),
        verdict.skipped,
        verdict.silent
    );
    fault.came_to(format!("{} polls", polls.count), verdict.harm, note);
    assert_eq!((verdict.harm, verdict.skipped, verdict.silent), (NONE, 0, 0));
}

/// How far from every tenth of a second polls began, as the device saw it.
struct Polls {
    count: usize,
    off_ms: Vec<f64>,
}

impl Polls {
    fn since(rig: &Rig, begun: usize) -> Self {
        let served = &rig.counter.served()[begun..];
        let pauses = served.iter().zip(served.iter().skip(1)).map(|(a, b)| (b.at - a.at).as_secs_f64() * 1e3);
        let mut off_ms: Vec<f64> = pauses.map(|pause| (pause - 100.0).abs()).collect();
        off_ms.sort_by(f64::total_cmp);
        Self { count: served.len(), off_ms }
    }

    fn off_ms(&self, part: f64) -> f64 {
        self.off_ms[(self.off_ms.len() as f64 * part) as usize]
    }
}

/// Kibibytes that a block device has been given to write so far.
fn written_kib(device: &str) -> u64 {
    let name = device.trim_start_matches("/dev/");
    let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap_or_default();
    stat.split_whitespace().nth(6).and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or_default() / 2
}

#[test]
fn a_card_that_takes_100_kib_per_second_does_not_slow_polling() {
    let fault = Fault {
        number: "F11",
        title: "a card that takes 100 KiB/s",
        injected: "I/O control group over a loop device with ext4",
    };
    let (card, slow) = match slow_card() {
        Ok(slow) => slow,
        Err(why) => return fault.skipped(why),
    };
    let device = card.device().expect("an ext4 has one").to_owned();
    let more = "bytes_max = 8388608\nkeep_hours = 0".to_owned();
    let plan = Plan { spool: card.path().join("spool"), points: 60, more, ..Plan::default() };
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &plan);
    rig.accepts(1);
    rig.gateway.program.kill();
    rig.gateway.start_again_under(&slow.under().iter().map(String::as_str).collect::<Vec<_>>());
    rig.accepts(1);
    // Somebody else writes to it all the time.
    let hog = format!("of={}", card.path().join("hog").display());
    let write = ["dd", "if=/dev/zero", &hog, "bs=64k", "oflag=dsync"].map(str::to_owned);
    let words = [slow.under(), write.to_vec()].concat();
    let mut hog = Program::start(rig.folder.path(), "hog", Command::new(&words[0]).args(&words[1..]));
    let (begun, since, before_kib) = (rig.counter.reads() as usize, Instant::now(), written_kib(&device));
    // Ten polls a second, however many of them are on the card by then.
    wait_for("polls", 600, || {
        rig.gateway.program.expect_alive();
        (rig.counter.reads() as usize >= begun + times(120, 3_000)).then_some(())
    });
    let (polls, seconds) = (Polls::since(&rig, begun), since.elapsed().as_secs_f64());
    let written = written_kib(&device) - before_kib;
    hog.kill();
    let (verdict, _) = rig.settle(60);
    rig.gateway.program.kill();
    let note = format!(
        "{:.0} KiB/s written, most of it by others; poll start off by {:.0} ms p50, {:.0} ms p99; {} polls skipped, {} silent",
        written as f64 / seconds,
        polls.off_ms(0.5),
        polls.off_ms(0.99),
        verdict.skipped,
        verdict.silent
    );
    fault.came_to(format!("{} polls", polls.count), verdict.harm, note);
    assert_eq!((verdict.harm, verdict.skipped, verdict.silent), (NONE, 0, 0));
}

/// A card, and what makes it slow; only if it does.
fn slow_card() -> Result<(Card, Throttle), String> {
    let card = Card::ext4(64)?;
    let slow = Throttle::new(card.device().ok_or("no block device")?, 100 << 10)?;
    let file = card.path().join("try").to_string_lossy().into_owned();
    let under = slow.under();
    let write = ["dd", "if=/dev/zero", &format!("of={file}"), "bs=100k", "count=2", "conv=fdatasync"];
    let begun = Instant::now();
    let arguments: Vec<&str> = under[1..].iter().map(String::as_str).chain(write).collect();
    card::said(&under[0], &arguments)?;
    if begun.elapsed().as_secs_f64() < 0.9 {
        return Err("the I/O controller does not hold this device back".to_owned());
    }
    Ok((card, slow))
}

#[test]
fn a_card_that_lies_about_syncs_invents_and_doubles_nothing_and_its_loss_is_told() {
    let fault = Fault {
        number: "F5",
        title: "lying fsync, then a power cut on a real ext4",
        injected: "strace, fsync and fdatasync do nothing and return 0; EXT4_IOC_SHUTDOWN",
    };
    let (mut card, lies) = match (Card::ext4(192), works()) {
        (Ok(card), Ok(_)) => (card, ["fsync:retval=0", "fdatasync:retval=0"]),
        (Err(why), _) | (_, Err(why)) => return fault.skipped(why),
    };
    let plan = Plan { spool: card.path().join("spool"), keep_alive_s: 1, ..Plan::default() };
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &plan);
    rig.accepts(2);
    // Each takes a minute and a half: a gateway says what it holds once a minute.
    let cuts = times(2, 20);
    let mut told = Vec::new();
    for _ in 0..cuts {
        rig.restart_gateway(&lies);
        rig.accepts(3);
        // A gateway says what it holds whenever it connects, and every minute.
        rig.reconnect_gateway();
        rig.accepts(3);
        // All of it is central before the card forgets it.
        let (verdict, _) = rig.settle(60);
        assert_eq!(verdict.harm, NONE);
        let known = rig.ingestor.incidents().len();
        card.cut(rig.gateway.program.id());
        rig.gateway.program.kill();
        card.power_on();
        rig.restart_gateway(&[]);
        rig.accepts(1);
        rig.reconnect_gateway();
        let back = Instant::now();
        wait_for("the centre saying that the card lost records", 300, || {
            (rig.ingestor.incidents().len() > known).then_some(())
        });
        told.push(back.elapsed().as_secs_f64());
    }
    rig.accepts(2);
    let (verdict, _) = rig.settle(60);
    let slowest = told.iter().copied().fold(0.0, f64::max);
    let (lost, possible) = (rig.incidents("card_lost"), rig.incidents("possible_loss"));
    let note = format!(
        "what the card forgot was central already; told each time ({lost} card_lost, {possible} possible_loss) after at most {slowest:.1} s"
    );
    fault.came_to(format!("{cuts} cuts"), verdict.harm, note);
    assert_eq!(verdict.harm, NONE);
}

#[test]
fn what_a_lying_card_swallows_while_the_link_is_down_is_seen_by_these_campaigns() {
    let fault = Fault {
        number: "F5",
        title: "lying fsync and a power cut while the link is down",
        injected: "as above, without a broker: no program can keep what its card only pretends to keep",
    };
    let mut card = match (Card::ext4(192), works()) {
        (Ok(card), Ok(())) => card,
        (Err(why), _) | (_, Err(why)) => return fault.skipped(why),
    };
    let plan = Plan { spool: card.path().join("spool"), ..Plan::default() };
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &plan);
    rig.accepts(2);
    rig.broker.program.kill();
    rig.restart_gateway(&["fsync:retval=0", "fdatasync:retval=0"]);
    rig.accepts(3);
    card.cut(rig.gateway.program.id());
    rig.gateway.program.kill();
    card.power_on();
    rig.broker.start_again();
    rig.restart_gateway(&[]);
    rig.accepts(3);
    let (verdict, _) = rig.settle(10);
    fault.came_to("1 cut", verdict.harm, "shows that the oracle of the power cuts has teeth");
    assert_eq!((verdict.harm.doubled, verdict.harm.wrong), (0, 0));
    assert!(verdict.harm.lost >= 3, "the oracle has teeth: {verdict:?}");
}
