//! F33: the configuration is pushed again and again into a running gateway: torn at every kind of place, invalid, the same
//! once more, and good with other buses and other numbers of points. What is faulty changes nothing, what is good is taken
//! up, and a bus that does not change polls on; afterwards a start on a torn file works by the last good one.

use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use sitian_tests_system::oracle::{Accepted, Stored};
use sitian_tests_system::rig::{BASE, Plan};
use sitian_tests_system::tally::{Fault, NONE, times};
use sitian_tests_system::{Counter, Rig};

const TAKEN_UP: &str = "the configuration is taken up";
const FAULTY: &str = "the present one stays in force";

/// Counts words in a growing log.
struct Tail {
    log: std::path::PathBuf,
    read: u64,
    rest: String,
}

impl Tail {
    /// Waits for the next line with one of these words in it, and says which.
    fn next(&mut self, words: &[&'static str]) -> &'static str {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            while let Some(end) = self.rest.find('\n') {
                let line: String = self.rest.drain(..=end).collect();
                if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                    return word;
                }
            }
            assert!(Instant::now() < until, "none of {words:?} in the log");
            let mut file = std::fs::File::open(&self.log).expect("the gateway's log");
            file.seek(SeekFrom::Start(self.read)).expect("a file");
            let mut bytes = Vec::new();
            self.read += file.read_to_end(&mut bytes).expect("a file") as u64;
            self.rest += &String::from_utf8_lossy(&bytes);
            if bytes.is_empty() {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
    }
}

/// A second bus whose device stands before the first one's: all points get other numbers.
fn with_second_bus(good: &str, port: u16) -> String {
    let second = format!(
        "[[bus]]\nname = \"b\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}\npause_ms = 0\n\
         [[device]]\nid = \"counter-2\"\nbus = \"b\"\nprofile = \"test-counter\"\ninterval_s = 0.1\n"
    );
    let (before, after) = good.split_at(good.find("[[bus]]").expect("a bus"));
    format!("{before}{second}{after}")
}

fn rows(rig: &Rig, device: &str) -> Stored {
    Stored { points: vec![rig.ingestor.readings(&format!("{BASE}/{device}/p0"))], gaps: rig.ingestor.gaps() }
}

/// Waits until every accepted record is stored: both devices, since a record may hold readings of one only.
fn settle(rig: &Rig, accepted: &Accepted) -> (u64, Stored, Stored) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (first, second) = (rows(rig, "counter-1"), rows(rig, "counter-2"));
        let labels: std::collections::BTreeSet<_> = first.labels().union(&second.labels()).cloned().collect();
        let lost = accepted.labels.difference(&labels).count() as u64;
        if lost == 0 || Instant::now() > until {
            return (lost, first, second);
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

#[test]
fn a_configuration_pushed_into_a_running_gateway_is_taken_up_whole_or_not_at_all() {
    let fault = Fault {
        number: "F33",
        title: "configuration torn, invalid, repeated, changed under a running gateway",
        injected: "the file is rewritten in place, SIGHUP",
    };
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &Plan::default());
    let other = Counter::start();
    rig.accepts(2);
    let path = rig.folder.path().join("gateway.toml");
    let profile = rig.folder.path().join("profiles/counter.toml");
    let alone = std::fs::read_to_string(&path).expect("the rig's configuration");
    let both = with_second_bus(&alone, other.port);
    let own_profile = std::fs::read_to_string(&profile).expect("the rig's profile");
    let started = rig.gateway.program.id();
    let mut log = Tail { log: rig.folder.path().join("gateway.log"), read: 0, rest: String::new() };
    let pushes = times(200, 1_000);
    let mut good = alone.clone();
    let (mut taken_up, mut refused, mut changes) = (0, 0, 0);
    for push in 0..pushes {
        // Before the profile of its only device is named, no beginning of the file is a whole configuration.
        let torn = alone.find("profile = ").expect("a device") * push / pushes;
        let torn = (0..=torn).rev().find(|at| alone.is_char_boundary(*at)).unwrap_or(0);
        if push % 20 == 4 {
            good = if changes % 2 == 0 { both.clone() } else { alone.clone() };
            changes += 1;
        }
        let (text, profile_text, expected) = match push % 5 {
            0 => (&alone[..torn], own_profile.as_str(), FAULTY),
            1 => (&*good.replace("interval_s = 0.1", "interval_s = -1"), &*own_profile, FAULTY),
            2 => (&*good.replace("bus = \"a\"", "bus = \"x\""), &*own_profile, FAULTY),
            3 => (&*good, &own_profile[..own_profile.len() / 2], FAULTY),
            _ => (&*good, &*own_profile, TAKEN_UP),
        };
        std::fs::write(&profile, profile_text).expect("a writable folder");
        std::fs::write(&path, text).expect("a writable folder");
        rig.gateway.program.signal("HUP");
        assert_eq!(log.next(&[TAKEN_UP, FAULTY]), expected, "push {push}:\n{text}");
        taken_up += usize::from(expected == TAKEN_UP);
        refused += usize::from(expected == FAULTY);
        if push % 20 == 4 {
            rig.accepts(3);
        }
    }
    assert_eq!(rig.gateway.program.id(), started);
    rig.gateway.program.expect_alive();
    rig.accepts(2);
    rig.accepted.read();
    let (lost, first, second) = settle(&rig, &rig.accepted);
    let none = std::collections::BTreeSet::new();
    let (one, two) = (first.judge(&none, rig.counter.reads()), second.judge(&none, other.reads()));
    let epochs: std::collections::BTreeSet<_> = first.labels().into_iter().map(|label| label.0).collect();
    let mut harm = one.harm.and(two.harm);
    harm.lost += lost;
    let note = format!(
        "{refused} refused with their place, {taken_up} taken up, {changes} of them other buses and numbers: {} epochs; \
         0 restarts; unchanged bus: {} readings, {} polls skipped; bus that comes and goes: {} readings, {} lost",
        epochs.len(),
        one.readings,
        one.holes + one.silent,
        two.readings,
        two.holes
    );
    fault.came_to(format!("{pushes} pushes"), harm, note);
    assert_eq!((harm, one.holes, one.silent, two.holes, two.silent), (NONE, 0, 0, 0, 0));
    assert_eq!(epochs.len(), changes + 1, "an epoch for each manifest, and none for what changed nothing");
    assert!(two.readings > 0 && changes >= pushes / 20);
}

#[test]
fn a_start_on_a_torn_file_works_by_the_last_good_one_and_a_setting_of_the_start_is_named() {
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &Plan::default());
    rig.accepts(2);
    let path = rig.folder.path().join("gateway.toml");
    let profile = rig.folder.path().join("profiles/counter.toml");
    let good = std::fs::read_to_string(&path).expect("the rig's configuration");
    let mut log = Tail { log: rig.folder.path().join("gateway.log"), read: 0, rest: String::new() };
    std::fs::write(&path, good.replace("keep_alive_s = 20", "keep_alive_s = 21")).expect("a writable folder");
    rig.gateway.program.signal("HUP");
    log.next(&["takes effect at the next start key=\"mqtt.keep_alive_s\""]);
    log.next(&[TAKEN_UP]);
    std::fs::write(&path, &good[..good.len() / 2]).expect("a writable folder");
    std::fs::remove_file(&profile).expect("the rig's profile");
    rig.restart_gateway(&[]);
    log.next(&["this process works by the last good one"]);
    rig.accepts(2);
    // What is repaired is taken up without another start.
    rig.gateway.program.signal("HUP");
    log.next(&[FAULTY]);
    rig.accepts(2);
    let (verdict, _) = rig.settle(60);
    assert_eq!(verdict.harm, NONE);
}
