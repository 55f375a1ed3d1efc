//! Bad 4G: a day's backlog drains over 64 kbit/s with delays and stalls, and what is measured now comes first.

use std::time::{Duration, Instant};

use sitian_tests_system::bad_line::{BadLine, Line};
use sitian_tests_system::counted::GATEWAY;
use sitian_tests_system::program::free_port;
use sitian_tests_system::tally::{Fault, Harm, night};
use sitian_tests_system::truth::{accepted, unix_ms};
use sitian_tests_system::{Gateway, Ingestor, Judge, TrueField, get, wait_for};

const UNITS: usize = 6;
const WORDS: u16 = 100;
/// Readings of one round of all devices.
const ROUND: usize = UNITS * (WORDS as usize + 1);
/// Rounds in a day at 10 s.
const DAY: usize = 8_640;

fn configuration(field: &TrueField, port: u16, interval_s: impl Fn(usize) -> f64) -> String {
    field.configuration(GATEWAY, interval_s, &format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n"))
}

fn newest(ingestor: &Ingestor) -> u32 {
    let answer = get(&ingestor.url(&format!("bases/{GATEWAY}/latest")));
    let items = answer.and_then(|answer| answer["items"].as_array().cloned()).unwrap_or_default();
    let id = format!("{GATEWAY}/true-1/count");
    let value =
        items.iter().find(|item| item["point"] == id.as_str()).and_then(|item| item["value"].as_f64());
    value.unwrap_or(0.0) as u32
}

/// How old fresh readings are when they are first seen, in milliseconds, until `done`.
fn ages(ingestor: &Ingestor, field: &TrueField, mut done: impl FnMut() -> bool) -> Vec<i64> {
    let (mut ages, mut last) = (Vec::new(), u32::MAX);
    while !done() {
        let newest = newest(ingestor);
        if last != u32::MAX && newest > last {
            ages.push(unix_ms() - field.when(1, newest).expect("an answer that was given"));
        }
        last = newest;
        std::thread::park_timeout(Duration::from_millis(50));
    }
    ages.sort_unstable();
    ages
}

#[test]
fn a_days_backlog_drains_over_a_bad_line_while_fresh_readings_come_first() {
    let line = Line { bits_per_s: 64_000, delay_ms: (300, 2_000), stall_every_ms: 15_000, stall_ms: 2_000 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ingestor = Ingestor::start(folder.path(), None, &[]);
    let field = TrueField::start("127.0.0.1", UNITS, 1);
    TrueField::write_profile(folder.path(), WORDS);
    // Nobody listens there: the backlog grows, a hundred times faster than in the field.
    let mut gateway = Gateway::start(folder.path(), &configuration(&field, free_port(), |_| 0.1));
    let rounds = if night() { 1_200 } else { 60 };
    wait_for("a backlog", 400, || (field.answered() >= rounds).then_some(()));
    gateway.program.kill();
    let backlog = accepted(&gateway);
    let readings = rounds * ROUND;

    let pipe = BadLine::start(line, ingestor.mqtt);
    let config = configuration(&field, pipe.port, |unit| if unit == 1 { 1.0 } else { 10.0 });
    gateway.start_again_with(&config);
    let began = Instant::now();
    let judge = Judge {
        field: &field,
        ingestor: &ingestor,
        gateway: GATEWAY,
        words: WORDS,
        time_ms_max: 1_000,
        wrong_by_ms: None,
    };
    let mut asked = Instant::now();
    let drained = || {
        // Seldom: the question is expensive, and shares the machine with what it asks about.
        if asked.elapsed() < Duration::from_secs(2) {
            return false;
        }
        asked = Instant::now();
        assert!(
            began.elapsed() < Duration::from_secs(if night() { 6_000 } else { 240 }),
            "the backlog drains"
        );
        let verdict = Judge { words: 0, ..judge }.look();
        backlog.is_subset(&verdict.labels)
    };
    let ages = ages(&ingestor, &field, drained);
    let drained_s = began.elapsed().as_secs_f64();
    let bytes = pipe.up_bytes();
    let now = accepted(&gateway);
    let verdict = judge.wait_for_accepted(&now, 120);
    let harm = Harm { lost: now.difference(&verdict.labels).count() as u64, ..verdict.harm };
    let of = |share: usize| ages.get(ages.len() * share / 100).copied().unwrap_or_default() as f64 / 1_000.0;
    Fault {
        number: "F16",
        title: "bad 4G: 64 kbit/s, 0.3 to 2 s late, 2 s stalls",
        injected: "TCP proxy of our own between gateway and broker",
    }
    .came_to(
        format!("backlog of {readings} readings, a day of {} points at 10 s", readings / DAY),
        harm,
        format!(
            "drained in {drained_s:.0} s with {:.1} bytes a reading; age of {} fresh readings meanwhile: p50 {:.1} s, p95 {:.1} s",
            bytes as f64 / readings as f64,
            ages.len(),
            of(50),
            of(95)
        ),
    );
    assert_eq!(harm, Harm::default());
}
