//! A board without a clock battery: it boots in 1970, or a month ahead, hears the time late or never, and its clock
//! jumps. Nothing is lost, and no time is stated that is not true.

use std::collections::BTreeSet;

use sitian_tests_system::counted::Layout;
use sitian_tests_system::fake_clock::{self, FakeClock, words};
use sitian_tests_system::tally::{Fault, Harm, times};
use sitian_tests_system::truth::{moment, unix_ms};
use sitian_tests_system::{Counted, Judge, Mosquitto, Verdict, get};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

fn fault(title: &'static str) -> Fault {
    Fault { number: "F25", title, injected: "libfaketime under the gateway" }
}

fn note(verdict: &Verdict) -> String {
    format!(
        "{} readings; stated times off by at most {} ms; {} records of unknown time",
        verdict.readings, verdict.off_ms, verdict.clock_unknown
    )
}

/// No alarm that a wrong clock alone has raised.
fn false_alarms(network: &Counted) -> usize {
    ["clone", "possible_loss", "fork", "card_lost"].iter().map(|kind| network.incidents(kind).len()).sum()
}

/// The gateway boots with a clock that is off, and hears the time.
fn boots_wrong(title: &'static str, offset_s: i64) -> Harm {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = match FakeClock::find(folder.path()) {
        Ok(clock) => clock,
        Err(why) => {
            fault(title).skipped(why);
            return Harm::default();
        }
    };
    clock.set(offset_s);
    let under = clock.under();
    let mut network = Counted::start(&Layout { gateway_under: &words(&under), ..Layout::default() });
    for _ in 0..times(1, 30) {
        network.poll_for(5);
        network.gateway.program.kill();
        network.gateway.start_again_under(&words(&under));
    }
    network.progress(20);
    let wrong_by_ms = (offset_s.abs() > 2 * DAY_S).then_some(offset_s * 1_000);
    let judge = Judge { wrong_by_ms, ..network.judge() };
    let accepted = network.accepted();
    let verdict = judge.wait_for_accepted(&accepted, 60);
    let harm = Harm { lost: accepted.difference(&verdict.labels).count() as u64, ..verdict.harm };
    fault(title).came_to(format!("{} boots", times(1, 30) + 1), harm, note(&verdict));
    assert_eq!(false_alarms(&network), 0, "{title}");
    harm
}

#[test]
fn a_clock_that_is_wrong_at_boot_costs_nothing_and_deceives_nobody() {
    let rows = [
        ("boot in 1970", -unix_ms() / 1_000 + HOUR_S),
        ("boot 30 days ahead", 30 * DAY_S),
        ("boot 30 days behind", -30 * DAY_S),
        ("boot 1 hour ahead", HOUR_S),
        ("boot 1 hour behind", -HOUR_S),
    ];
    std::thread::scope(|scope| {
        let rows = rows.map(|(title, offset_s)| scope.spawn(move || (boots_wrong(title, offset_s), title)));
        for (harm, title) in rows.map(|row| row.join().expect("a verdict")) {
            assert_eq!(harm, Harm::default(), "{title}");
        }
    });
}

#[test]
fn a_clock_that_jumps_moves_no_reading() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fault = fault("jumps of 1 hour and of 30 days while running");
    let clock = match FakeClock::find(folder.path()) {
        Ok(clock) => clock,
        Err(why) => return fault.skipped(why),
    };
    clock.set(0);
    let under = clock.under();
    let mut network = Counted::start(&Layout { gateway_under: &words(&under), ..Layout::default() });
    let jumps_s = [HOUR_S, -HOUR_S, 30 * DAY_S, -30 * DAY_S, 0];
    for _ in 0..times(1, 30) {
        for offset_s in jumps_s {
            network.poll_for(2);
            clock.set(offset_s);
        }
    }
    network.poll_for(2);
    let verdict = network.judge().wait_for_all(60);
    fault.came_to(format!("{} jumps", times(1, 30) * jumps_s.len()), verdict.harm, note(&verdict));
    assert_eq!(verdict.harm, Harm::default());
    assert_eq!(false_alarms(&network), 0);
}

#[test]
fn a_time_that_is_heard_late_is_given_to_everything_that_waited_for_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fault = fault("boot in 1970, the time heard late");
    let clock = match FakeClock::find(folder.path()) {
        Ok(clock) => clock,
        Err(why) => return fault.skipped(why),
    };
    let mut broker = Mosquitto::start(folder.path());
    clock.set(0);
    let mut network = Counted::start(&Layout { broker: Some(broker.port), ..Layout::default() });
    network.gateway.program.kill();
    let before = network.accepted();
    broker.kill();
    // A new boot, in 1970 and alone.
    let offset_s = -unix_ms() / 1_000 + HOUR_S;
    clock.set(offset_s);
    network.gateway.start_again_under(&words(&clock.under()));
    let alone_s = times(15, 7_200);
    network.poll_for(alone_s);
    broker.start_again();
    network.progress(20);
    let judge = Judge { wrong_by_ms: Some(offset_s * 1_000), ..network.judge() };
    let accepted: BTreeSet<_> = network.accepted();
    let verdict = judge.wait_for_accepted(&accepted, 60);
    let harm = Harm { lost: accepted.difference(&verdict.labels).count() as u64, ..verdict.harm };
    let alone = accepted.difference(&before).count();
    fault.came_to(format!("{alone_s} s alone, {alone} records"), harm, note(&verdict));
    assert_eq!(harm, Harm::default());
}

/// Every reading of a boot without a clock is listed, and was truly taken between the two moments that the incident names.
fn check_bounds(network: &Counted, epoch: &str) {
    let judge = network.judge();
    let told = network.incidents("clock_unknown").into_iter().find(|incident| incident["epoch"] == epoch);
    let told = told.expect("an incident of that epoch");
    let (after, before) = (moment(&told["undated"], "after"), moment(&told["undated"], "before"));
    let point = |key: &str| format!("points/{}/true-1/{key}", judge.gateway);
    let text = |ms: i64| jiff::Timestamp::from_millisecond(ms).expect("a moment").to_string();
    let ask = |from: i64, to: i64, more: &str| {
        let question = format!("{}?from={}&to={}{more}", point("count/readings"), text(from), text(to));
        get(&judge.ingestor.url(&question)).unwrap_or_else(|| panic!("an answer to {question}"))
    };
    let answer = ask(after, before, "&undated=true&limit=10000");
    let rows = answer["items"].as_array().cloned().unwrap_or_default();
    let of_it: Vec<_> = rows.iter().filter(|row| row["epoch"] == epoch).collect();
    let counted = answer["undated"].as_array().and_then(|all| all.iter().find(|one| one["epoch"] == epoch));
    assert_eq!(counted.expect("a count beside them")["count"], of_it.len(), "as many as are counted");
    assert!(!of_it.is_empty(), "they are listed");
    for row in of_it {
        let count = row["value"].as_f64().expect("a number") as u32;
        let taken = judge.field.when(1, count).expect("an answer of the field");
        assert!((after..=before).contains(&taken), "{taken} is not between {after} and {before}: {row}");
    }
    let elsewhere = ask(after - DAY_S * 1_000, after, "");
    let named =
        elsewhere["undated"].as_array().is_some_and(|all| all.iter().any(|one| one["epoch"] == epoch));
    assert!(!named, "none of them can have been taken before {after}");
    let window = format!("{}?from={}&to={}", point("count/aggregates"), text(after), text(before));
    let aggregates = get(&judge.ingestor.url(&window)).expect("aggregates");
    let named =
        aggregates["undated"].as_array().is_some_and(|all| all.iter().any(|one| one["epoch"] == epoch));
    assert!(named, "aggregates name them too: {aggregates}");
}

#[test]
fn a_boot_that_never_hears_the_time_keeps_its_readings_and_says_that_their_time_is_unknown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fault = fault("boot in 1970, power fails before the time is heard");
    let clock = match FakeClock::find(folder.path()) {
        Ok(clock) => clock,
        Err(why) => return fault.skipped(why),
    };
    let mut under = match fake_clock::another_boot(folder.path()) {
        Ok(under) => under,
        Err(why) => return fault.skipped(why),
    };
    under.extend(clock.under());
    let mut broker = Mosquitto::start(folder.path());
    let mut network = Counted::start(&Layout { broker: Some(broker.port), ..Layout::default() });
    network.gateway.program.kill();
    broker.kill();
    let before = network.accepted();
    let offset_s = -unix_ms() / 1_000 + HOUR_S;
    clock.set(offset_s);
    network.gateway.start_again_under(&words(&under));
    network.poll_for(times(10, 600));
    network.gateway.program.kill();
    let timeless: BTreeSet<_> = network.accepted().difference(&before).cloned().collect();
    let alone = timeless.len() as u64;
    broker.start_again();
    network.gateway.start_again_under(&[]);
    network.progress(20);
    let judge = Judge { wrong_by_ms: Some(offset_s * 1_000), ..network.judge() };
    let accepted = network.accepted();
    let verdict = judge.wait_for_accepted(&accepted, 60);
    let harm = Harm { lost: accepted.difference(&verdict.labels).count() as u64, ..verdict.harm };
    fault.came_to(format!("{alone} records of that boot"), harm, note(&verdict));
    assert_eq!(harm, Harm::default());
    assert!(verdict.clock_unknown >= alone, "what was never timed is said to be of unknown time");
    let epochs: BTreeSet<_> = timeless.into_iter().map(|(epoch, _)| epoch).collect();
    epochs.iter().for_each(|epoch| check_bounds(&network, epoch));
}
