//! The questions of the lease machine on a real PostgreSQL: claims, fences, members, and who waits for whom.

#[path = "../../../tests/system/src/postgres.rs"]
mod server;

use std::time::Duration;

use server::Postgres;
use sitian_model::{GatewayId, Slot, Timestamp};
use sitian_registry::{Committed, Keep, RegistryError, Transaction};
use sitian_store_postgres::{Access, Database, Errand, Way};
use sitian_tenure::{Answer, Ask, Hold, Peer};

/// Nothing here waits for a lease to run out.
const LEASE: Duration = Duration::from_secs(600);

fn database(url: &str) -> Database {
    Database::open(&Access::new(url, None, &Way::Here).expect("an address")).expect("is fit")
}

fn peer(member: &str) -> Peer {
    Peer { member: member.to_owned(), api: format!("http://{member}") }
}

fn slot(number: u8) -> Slot {
    Slot::new(number).expect("there is one")
}

fn slots(numbers: std::ops::Range<u8>) -> Vec<Slot> {
    numbers.map(slot).collect()
}

fn put(database: &Database, member: &str, ask: Ask) -> Answer {
    database.ask(&peer(member), LEASE, &ask).expect("answers")
}

fn claim(database: &Database, member: &str, numbers: std::ops::Range<u8>) -> Answer {
    put(database, member, Ask { claim: slots(numbers), ..Ask::default() })
}

/// Slots and terms that a member holds.
fn held(answer: &Answer, member: &str) -> Vec<(u8, u64)> {
    let mine = answer.leases.iter().filter(|lease| lease.living && lease.member == member);
    let mut held: Vec<_> = mine.map(|lease| (lease.hold.slot.number(), lease.hold.term)).collect();
    held.sort_unstable();
    held
}

fn commit(database: &Database, member: &str, hold: (u8, u64)) -> Result<Committed, RegistryError> {
    database.keeper(slot(hold.0), member, hold.1).commit(&Transaction::default())
}

fn fenced(found: &Result<Committed, RegistryError>) -> bool {
    matches!(found, Err(RegistryError::Fenced(_)))
}

#[test]
fn a_slot_has_one_member_at_a_time_and_every_claim_another_term() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server.database("one"));
    let answer = claim(&database, "a", 0..3);
    assert_eq!(held(&answer, "a"), [(0, 1), (1, 1), (2, 1)]);
    let answer = claim(&database, "b", 1..4);
    assert_eq!((held(&answer, "a").len(), held(&answer, "b")), (3, vec![(3, 1)]), "what is held is not free");
    assert_eq!(answer.members, [peer("a"), peer("b")]);
    commit(&database, "a", (1, 1)).expect("is its own");
    assert!(fenced(&commit(&database, "b", (1, 1))), "another member");
    assert!(fenced(&commit(&database, "a", (1, 2))), "another term");
    // Its own again: another term, and the one before ends.
    assert_eq!(held(&claim(&database, "a", 1..2), "a"), [(0, 1), (1, 2), (2, 1)]);
    assert!(fenced(&commit(&database, "a", (1, 1))));
    // It slept for too long: whoever asks gets it.
    server.sql("one", "UPDATE sitian.lease SET until = now() - interval '1 second' WHERE slot < 2");
    assert_eq!(held(&claim(&database, "b", 1..2), "b"), [(1, 3), (3, 1)]);
    assert!(fenced(&commit(&database, "a", (1, 2))));
    commit(&database, "b", (1, 3)).expect("has taken it over");
    // Nobody took the other one: a renewal brings it back, and none that names another term does.
    let hold = |number, term| Hold { slot: slot(number), term };
    let renew = vec![hold(0, 1), hold(1, 2), hold(2, 7)];
    let answer = put(&database, "a", Ask { renew, ..Ask::default() });
    assert_eq!(held(&answer, "a"), [(0, 1), (2, 1)]);
    commit(&database, "a", (0, 1)).expect("is still its own");
}

#[test]
fn what_is_released_is_free_at_once_and_who_leaves_is_gone() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server.database("one"));
    claim(&database, "a", 0..64);
    let release = slots(32..64).into_iter().map(|slot| Hold { slot, term: 1 }).collect();
    let answer = put(&database, "a", Ask { number: 7, release, ..Ask::default() });
    assert_eq!((answer.number, held(&answer, "a").len()), (7, 32));
    assert!(!answer.leases.iter().any(|lease| lease.living && lease.hold.slot.number() >= 32));
    assert_eq!(held(&claim(&database, "b", 0..64), "b").len(), 32);
    let release = slots(0..32).into_iter().map(|slot| Hold { slot, term: 1 }).collect();
    let answer = put(&database, "a", Ask { release, leave: true, ..Ask::default() });
    assert_eq!((held(&answer, "a"), answer.members), (vec![], vec![peer("b")]));
}

#[test]
fn one_alone_and_several_keep_out_of_each_others_way() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server.database("one"));
    let mut alone = database.alone("centre").expect("is free");
    assert_eq!(held(&claim(&database, "a", 0..64), "a"), [], "one keeps everything");
    alone.close().expect("is over");
    assert_eq!(held(&claim(&database, "a", 0..64), "a").len(), 64);
    assert!(database.alone("centre").is_err(), "several keep parts");
}

#[test]
fn who_has_not_noticed_the_end_of_a_lease_is_fenced_when_the_work_is_divided_otherwise() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server.database("one"));
    let run_out = || server.sql("one", "UPDATE sitian.lease SET until = '-infinity'");
    let mut alone = database.alone("centre").expect("is free");
    run_out();
    alone.commit(&Transaction::default()).expect("nobody has claimed anything yet");
    let mine = held(&claim(&database, "m", 0..2), "m");
    assert_eq!(mine, [(0, 1), (1, 1)]);
    assert!(fenced(&alone.commit(&Transaction::default())), "one alone beside several");
    run_out();
    commit(&database, "m", mine[0]).expect("nobody has claimed anything yet");
    let mut alone = database.alone("centre").expect("is free again");
    assert!(mine.iter().all(|hold| fenced(&commit(&database, "m", *hold))), "several beside one alone");
    alone.commit(&Transaction::default()).expect("keeps everything");
}

#[test]
fn a_process_that_sleeps_within_a_commit_delays_its_own_slot_only() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server.database("one"));
    claim(&database, "a", 0..2);
    let passed = "BEGIN; SELECT 1 FROM sitian.lease WHERE slot = 0 AND term = 1 FOR KEY SHARE; SELECT pg_sleep(3); COMMIT;";
    std::thread::scope(|scope| {
        let commit_under_way = scope.spawn(|| server.sql("one", passed));
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while server.sql("one", asleep) != "1" {
            assert!(!commit_under_way.is_finished(), "it sleeps for a while");
        }
        // Its own renewals do not wait for it.
        let renew = vec![Hold { slot: slot(0), term: 1 }, Hold { slot: slot(1), term: 1 }];
        assert_eq!(held(&put(&database, "a", Ask { renew, ..Ask::default() }), "a"), [(0, 1), (1, 1)]);
        server.sql("one", "UPDATE sitian.lease SET until = now() - interval '1 second'");
        let taken = held(&claim(&database, "b", 0..2), "b");
        let still_asleep = server.sql("one", asleep) == "1";
        assert!(!still_asleep || taken == [(1, 2)], "the rest is taken meanwhile: {taken:?}");
        commit_under_way.join().expect("commits");
        assert_eq!(held(&claim(&database, "b", 0..2), "b")[0].0, 0, "and this one when it is over");
    });
}

#[test]
fn members_tell_each_other_of_gateways_and_leave_errands() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server.database("one"));
    let gateway = |name| GatewayId::new(name).expect("well-formed");
    for names in [["gw-2", "gw-1"], ["gw-2", "gw-2"]] {
        database.introduce(&names.map(gateway), Timestamp(5)).expect("is told");
    }
    assert_eq!(database.gateways().expect("answers"), [gateway("gw-1"), gateway("gw-2")]);
    let errand = |slot_number, alert| Errand {
        slot: slot(slot_number),
        alert,
        by: "王工".to_owned(),
        note: "去看了".to_owned(),
    };
    for left in [errand(3, 67), errand(4, 68), errand(3, 131)] {
        database.leave_errand(&left).expect("is left");
    }
    assert_eq!(database.take_errands(&slots(3..4)).expect("answers"), [errand(3, 67), errand(3, 131)]);
    assert_eq!(database.take_errands(&slots(3..4)).expect("answers"), [], "once");
    server.sql("one", "UPDATE sitian.errand SET at = now() - interval '2 minutes'");
    assert_eq!(database.take_errands(&slots(0..64)).expect("answers"), [], "who left it waits no longer");
}
