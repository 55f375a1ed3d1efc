//! Scores: what happens to member `a`, and what it asks for and does.
//!
//! Leases last 9 s, a beat is 3 s, patience 1.5 s, the margin 0.9 s. Steps: `to=5000` time passes until then; `db=on`, `db=off` (questions get
//! lost), `db=mute` (answers get lost); `in=b`, `out=b` another member lives or dies; `b=0-31` it claims these, for ever;
//! `ended=3` what is admitted for these has ended; `lazy` it does not end when it is told to; `leave`.
//! Told: `time verb slots/term`; questions only as far as they ask for something.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use sitian_model::Slot;
use sitian_tenure::{Answer, Ask, Command, Hold, Lease, Limits, Peer, Tenure};

const LEASE_MS: u64 = 9_000;

struct Row {
    member: String,
    term: u64,
    until_ms: u64,
}

/// The database, and member `a`.
struct Bench {
    tenure: Tenure,
    rows: BTreeMap<Slot, Row>,
    peers: Vec<String>,
    database: &'static str,
    lazy: bool,
    now: u64,
    told: Vec<(u64, String, u64, Vec<u8>)>,
}

impl Bench {
    fn new() -> Self {
        Self {
            tenure: Tenure::new("a", Limits::of_lease(LEASE_MS), 0),
            rows: BTreeMap::new(),
            peers: vec!["a".into()],
            database: "on",
            lazy: false,
            now: 0,
            told: Vec::new(),
        }
    }

    fn claim(&mut self, member: &str, slot: Slot, until_ms: u64) {
        let now = self.now;
        let row = self.rows.entry(slot).or_insert(Row { member: String::new(), term: 0, until_ms: 0 });
        if row.until_ms <= now || row.member == member {
            (row.member, row.term, row.until_ms) = (member.to_owned(), row.term + 1, until_ms);
        }
    }

    /// One transaction of the database.
    fn transact(&mut self, ask: &Ask) -> Answer {
        let now = self.now;
        for (holds, until_ms) in [(&ask.release, 0), (&ask.renew, now + LEASE_MS)] {
            for hold in holds {
                let row = self.rows.get_mut(&hold.slot).unwrap();
                if (row.member.as_str(), row.term) == ("a", hold.term) {
                    row.until_ms = until_ms;
                }
            }
        }
        ask.claim.iter().for_each(|slot| self.claim("a", *slot, now + LEASE_MS));
        self.peers.retain(|peer| peer != "a" || !ask.leave);
        let lease = |(slot, row): (&Slot, &Row)| Lease {
            hold: Hold { slot: *slot, term: row.term },
            member: row.member.clone(),
            living: row.until_ms > now,
        };
        let peer = |member: &String| Peer { member: member.clone(), api: String::new() };
        Answer {
            number: ask.number,
            leases: self.rows.iter().map(lease).collect(),
            members: self.peers.iter().map(peer).collect(),
        }
    }

    fn tell(&mut self, verb: &str, term: u64, slots: impl IntoIterator<Item = Slot>) {
        let slots = slots.into_iter().map(Slot::number);
        match self.told.last_mut() {
            Some(last) if (last.0, last.1.as_str(), last.2) == (self.now, verb, term) => last.3.extend(slots),
            _ => self.told.push((self.now, verb.to_owned(), term, slots.collect())),
        }
    }

    fn work(&mut self) {
        while let Some(command) = self.tenure.poll_command() {
            match command {
                Command::Ask(ask) => self.put(&ask),
                Command::Begin(hold) => self.tell("begin", hold.term, [hold.slot]),
                Command::Drop(hold) => self.tell("drop", hold.term, [hold.slot]),
                Command::End(hold) => {
                    self.tell("end", hold.term, [hold.slot]);
                    if !self.lazy {
                        self.tenure.handle_ended(hold, self.now);
                    }
                }
            }
        }
    }

    fn put(&mut self, ask: &Ask) {
        if self.database == "off" {
            return;
        }
        if !ask.claim.is_empty() {
            self.tell("claim", 0, ask.claim.iter().copied());
        }
        if !ask.release.is_empty() {
            self.tell("release", 0, ask.release.iter().map(|hold| hold.slot));
        }
        if ask.leave {
            self.tell("leave", 0, []);
        }
        let answer = self.transact(ask);
        if self.database == "on" {
            self.tenure.handle_answer(answer, self.now);
        }
    }

    fn pass(&mut self, to: u64) {
        self.work();
        while let Some(due) = self.tenure.poll_timeout().filter(|due| *due <= to) {
            self.now = due.max(self.now);
            self.tenure.handle_timeout(self.now);
            self.work();
        }
        self.now = to;
    }

    fn step(&mut self, step: &'static str) {
        let holds: Vec<Hold> = self.tenure.holds().collect();
        match step.split_once('=') {
            Some(("to", ms)) => self.pass(ms.parse().unwrap()),
            Some(("db", state)) => self.database = state,
            Some(("in", peer)) => self.peers.push(peer.to_owned()),
            Some(("out", peer)) => {
                self.peers.retain(|known| known != peer);
                self.rows.values_mut().filter(|row| row.member == peer).for_each(|row| row.until_ms = 0);
            }
            Some(("ended", slots)) => {
                let slots = read(slots);
                let ended = holds.into_iter().filter(|hold| slots.contains(&hold.slot));
                ended.for_each(|hold| self.tenure.handle_ended(hold, self.now));
            }
            Some((peer, slots)) => {
                read(slots).into_iter().for_each(|slot| self.claim(peer, slot, u64::MAX));
            }
            None if step == "lazy" => self.lazy = true,
            None => self.tenure.handle_leaving(self.now),
        }
        self.work();
    }
}

fn read(range: &str) -> Vec<Slot> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    (first.parse().unwrap()..=last.parse().unwrap()).map(|n| Slot::new(n).unwrap()).collect()
}

/// `0-3 7` for 0, 1, 2, 3, 7, in that order.
fn show(slots: &[u8]) -> String {
    let runs = slots.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(steps: &'static str, expected: &[&str]) {
    let mut bench = Bench::new();
    steps.split_whitespace().for_each(|step| bench.step(step));
    let told: Vec<String> = bench
        .told
        .iter()
        .map(|(at, verb, term, slots)| match (verb.as_str(), *term) {
            ("leave", _) => format!("{at} leave"),
            (verb, 0) => format!("{at} {verb} {}", show(slots)),
            (verb, term) => format!("{at} {verb} {}/{term}", show(slots)),
        })
        .collect();
    assert_eq!(told, expected, "{steps}");
}

const ALONE: [&str; 2] = ["0 claim 0-63", "0 begin 0-63/1"];

#[test]
fn alone_it_takes_everything_and_keeps_it() {
    check("to=100000", &ALONE);
}

#[test]
fn of_several_each_takes_its_share_and_begins_at_another_place() {
    check("in=b to=20000", &["0 claim 0-31", "0 begin 0-31/1"]);
    check("in=B to=20000", &["0 claim 32-63", "0 begin 32-63/1"]);
    check("in=b in=c in=d in=e to=20000", &["0 claim 0-12", "0 begin 0-12/1"]);
    check("in=b b=0-31 to=20000", &["0 claim 32-63", "0 begin 32-63/1"]);
    check("in=b b=0-63 to=20000", &[]);
}

#[test]
fn what_is_above_its_share_is_ended_in_order_and_then_released() {
    let end = ["3000 end 32-63/1", "3000 release 32-63"];
    check("to=1000 in=b to=3500 b=32-63 to=20000", &[&ALONE[..], &end].concat());
    // As long as what runs has not ended, the lease is kept.
    let late = ["3000 end 32-63/1", "20000 release 32-63"];
    check("lazy to=1000 in=b to=20000 ended=32-63 to=20500", &[&ALONE[..], &late].concat());
}

#[test]
fn what_a_dead_member_held_is_taken_under_the_next_term() {
    let rows = ["0 claim 32-63", "0 begin 32-63/1", "12000 claim 0-31", "12000 begin 0-31/2"];
    check("in=b b=0-31 to=10000 out=b to=20000", &rows);
}

#[test]
fn a_member_that_cannot_ask_stops_before_its_lease_runs_out() {
    // Asked last at 9000; 9 s later, less a tenth.
    let dropped = [&ALONE[..], &["17100 drop 0-63/1"]].concat();
    check("to=10000 db=off to=50000", &dropped);
    // What it asks for meanwhile is done, and it cannot know.
    check("to=10000 db=mute to=17000", &ALONE);
    let again = [&dropped[..], &["49500 claim 0-63", "49500 begin 0-63/2"]].concat();
    check("to=10000 db=off to=49000 db=on to=60000", &again);
}

#[test]
fn a_few_lost_questions_cost_nothing() {
    check("to=10000 db=off to=16000 db=on to=50000", &ALONE);
    check("to=10000 db=mute to=16000 db=on to=50000", &ALONE);
}

#[test]
fn an_answer_that_is_lost_is_no_hold() {
    check("db=off to=2000 db=on to=20000", &["3000 claim 0-63", "3000 begin 0-63/1"]);
    let mut bench = Bench::new();
    // The first answer shows that everything is free; the second one, to the claim, is lost.
    bench.tenure.handle_timeout(0);
    let Some(Command::Ask(look)) = bench.tenure.poll_command() else { panic!("asks at once") };
    let answer = bench.transact(&look);
    bench.tenure.handle_answer(answer, 0);
    bench.database = "mute";
    bench.work();
    assert_eq!(bench.tenure.holds().len(), 0);
    bench.database = "on";
    bench.pass(20_000);
    assert_eq!(
        bench.told[1..].iter().map(|told| (told.1.as_str(), told.2)).collect::<Vec<_>>(),
        [("claim", 0), ("begin", 2)]
    );
}

#[test]
fn what_ends_by_itself_goes_on_under_a_new_term_and_not_before_the_next_beat() {
    let rows = ["3000 claim 5", "3000 begin 5/2"];
    check("to=1000 ended=5 to=20000", &[&ALONE[..], &rows].concat());
}

#[test]
fn what_somebody_else_has_is_dropped() {
    let mut bench = Bench::new();
    bench.step("to=1000");
    let row = bench.rows.get_mut(&Slot::new(7).unwrap()).unwrap();
    (row.member, row.term, row.until_ms) = ("b".into(), 2, u64::MAX);
    bench.told.clear();
    bench.step("to=20000");
    assert_eq!(bench.told, [(3_000, "drop".to_owned(), 1, vec![7])]);
}

#[test]
fn it_leaves_with_everything_ended_and_released() {
    let left = ["1000 end 0-63/1", "1000 release 0-63", "1000 leave"];
    check("to=1000 leave to=20000", &[&ALONE[..], &left].concat());
    let lost = ["1000 end 0-63/1", "4000 release 0-63", "4000 leave"];
    check("to=1000 db=off leave to=3500 db=on to=20000", &[&ALONE[..], &lost].concat());
}

#[test]
fn an_answer_to_an_older_question_is_nothing() {
    let mut tenure = Tenure::new("a", Limits::of_lease(LEASE_MS), 0);
    tenure.handle_timeout(0);
    let Some(Command::Ask(first)) = tenure.poll_command() else { panic!("asks at once") };
    tenure.handle_timeout(3_000);
    let Some(Command::Ask(second)) = tenure.poll_command() else { panic!("asks again") };
    let peer = Peer { member: "a".into(), api: String::new() };
    let answer = |number| Answer { number, leases: Vec::new(), members: vec![peer.clone()] };
    tenure.handle_answer(answer(first.number), 3_001);
    assert_eq!(tenure.poll_command(), None);
    tenure.handle_answer(answer(second.number), 3_002);
    assert!(matches!(tenure.poll_command(), Some(Command::Ask(ask)) if ask.claim.len() == 64));
}

#[test]
fn an_answer_that_comes_after_its_lease_may_have_run_out_begins_nothing() {
    for (late_ms, begun) in [(8_000, 64), (8_100, 0), (60_000, 0)] {
        let mut bench = Bench::new();
        bench.tenure.handle_timeout(0);
        let Some(Command::Ask(look)) = bench.tenure.poll_command() else { panic!("asks at once") };
        let answer = bench.transact(&look);
        bench.tenure.handle_answer(answer, 0);
        let Some(Command::Ask(claim)) = bench.tenure.poll_command() else { panic!("claims at once") };
        let answer = bench.transact(&claim);
        // The process slept; no timer has run since.
        bench.tenure.handle_answer(answer, late_ms);
        assert_eq!(bench.tenure.holds().len(), begun, "{late_ms}");
    }
}

#[test]
fn the_owner_of_a_slot_is_told_with_its_address() {
    let mut bench = Bench::new();
    bench.step("in=b");
    bench.step("b=0-31");
    bench.step("to=10");
    let owner = |slot| bench.tenure.owner(Slot::new(slot).unwrap()).map(|peer| peer.member.clone());
    assert_eq!((owner(0), owner(63)), (Some("b".into()), Some("a".into())));
    assert_eq!(bench.tenure.members().len(), 2);
}
