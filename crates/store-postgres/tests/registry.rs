//! The port on a real PostgreSQL (Debian package `postgresql`): the contract, the fence, crashes, and what an operator is told.

#[path = "../../../tests/system/src/postgres.rs"]
mod server;

use server::Postgres;
use sitian_ingest::{Effect, EpochState, Incident, IncidentKind};
use sitian_model::{EpochNo, GatewayId, Slot, Timestamp};
use sitian_registry::contract::{Ground, suite};
use sitian_registry::{Committed, Keep, ListFilter, RegistryError, Transaction};
use sitian_store_postgres::{Access, Database, DatabaseError, Way};

fn open(url: &str) -> Result<Database, DatabaseError> {
    Database::open(&Access::new(url, None, &Way::Here).expect("an address"))
}

fn database(url: &str) -> Database {
    open(url).expect("is fit")
}

/// A database of its own for every case.
struct OnServer(String);

impl Ground for OnServer {
    fn open(&mut self) -> Box<dyn Keep> {
        Box::new(database(&self.0).alone("centre").expect("is free"))
    }
}

#[test]
fn the_database_passes_the_contract_of_the_registry() {
    let Some(server) = Postgres::start() else { return };
    let mut cases = 0;
    suite(|| {
        cases += 1;
        OnServer(server.database(&format!("case_{cases}")))
    });
    assert!(cases >= 10, "{cases}");
}

fn incident(n: i64) -> Effect {
    let gateway = GatewayId::new("gw-1").expect("well-formed");
    let (kind, epoch, other, seqs, after) = (IncidentKind::Unassigned, None, None, None, None);
    Effect::Incident(Incident { kind, gateway, epoch, other, seqs, after, at: Timestamp(n) })
}

fn commit(keeper: &mut dyn Keep, n: i64) -> Result<Committed, RegistryError> {
    keeper.commit(&Transaction { effects: vec![incident(n)], ..Transaction::default() })
}

/// What is stored, oldest first.
fn stored(database: &Database) -> Vec<i64> {
    let all = ListFilter { gateways: None, since: None, before: None, limit: 100_000 };
    let found = database.reader().incidents(&all).expect("reads");
    found.iter().rev().map(|one| one.incident.at.0).collect()
}

#[test]
fn a_keeper_that_was_replaced_stores_nothing_and_acknowledges_nothing() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database("one");
    let database = database(&url);
    let mut first = database.alone("a").expect("is free");
    commit(&mut first, 1).expect("is its own");
    // Another machine is told who keeps it; the same one comes back after a crash.
    let refused = database.alone("b").expect_err("is held").to_string();
    assert!(refused.contains("\"a\", with a lease"), "{refused}");
    let mut second = database.alone("a").expect("comes back");
    let fenced = |found: Result<Committed, RegistryError>| matches!(found, Err(RegistryError::Fenced(_)));
    assert!(fenced(commit(&mut first, 2)));
    assert!(fenced(first.commit(&Transaction::default())), "an acknowledgement asks as well");
    assert!(matches!(first.assure(), Err(RegistryError::Fenced(_))));
    commit(&mut second, 3).expect("is its own");
    second.close().expect("is closed");
    let mut third = database.alone("b").expect("was given back");
    commit(&mut third, 4).expect("is its own");
    assert_eq!(stored(&database), [1, 3, 4]);

    // Slots: the lease decides, and a term that is over is over.
    let slot = Slot::new(44).expect("a slot");
    third.close().expect("is closed");
    server.sql("one", "INSERT INTO sitian.lease VALUES (44, 'm-1', 7, 0, now() + interval '1 hour')");
    let mut keeper = database.keeper(slot, "m-1", 7);
    commit(&mut keeper, 5).expect("holds the lease");
    assert!(fenced(commit(&mut database.keeper(slot, "m-2", 7), 6)));
    assert!(fenced(commit(&mut database.keeper(slot, "m-1", 6), 6)));
    assert!(database.alone("b").is_err(), "a slot is held");
    server.sql("one", "UPDATE sitian.lease SET term = 8, member = 'm-2' WHERE slot = 44");
    assert!(fenced(commit(&mut keeper, 6)));
    assert_eq!(stored(&database), [1, 3, 4, 5]);
}

#[test]
fn what_was_lost_sight_of_has_landed_or_never_will_once_the_keeper_is_sure() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database("one");
    let database = database(&url);
    let mut keeper = database.alone("a").expect("is free");
    commit(&mut keeper, 1).expect("commits");
    // The transaction of a connection that was lost, still under way on the server: it has passed the fence.
    let passed = "BEGIN; SELECT 1 FROM sitian.lease WHERE slot = -1 AND turn = 0 FOR KEY SHARE;
                  SELECT pg_sleep(2); INSERT INTO sitian.incident (kind, gateway, at_ms) VALUES ('quota', 1, 2); COMMIT;";
    std::thread::scope(|scope| {
        let lost = scope.spawn(|| server.sql("one", passed));
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while server.sql("one", asleep) != "1" {
            assert!(!lost.is_finished(), "it sleeps for a while");
        }
        keeper.assure().expect("waits for it");
        assert_eq!(stored(&database), [1, 2], "it has landed, and was waited for");
        lost.join().expect("commits");
    });
    assert_eq!(server.sql("one", "SELECT count(*) FROM sitian.lease WHERE turn = 0"), "0", "and never again");
    commit(&mut keeper, 3).expect("goes on");
    assert_eq!(stored(&database), [1, 2, 3]);
}

/// Commits 1, 2, 3 … and what is known of them.
struct Numbers {
    acknowledged: Vec<i64>,
    next: i64,
    /// Landed, and nobody was told.
    unseen: usize,
}

impl Numbers {
    fn new() -> Self {
        Self { acknowledged: Vec::new(), next: 1, unseen: 0 }
    }

    /// Once one has come through, goes on while `harm` is done in a while; gives what ended it.
    fn commit_until(&mut self, keeper: &mut dyn Keep, seed: u64, harm: impl FnOnce() + Send) -> String {
        let after = std::time::Duration::from_micros(fastrand::Rng::with_seed(seed).u64(1_000..60_000));
        commit(keeper, self.next).expect("nothing harms it yet");
        self.acknowledged.push(self.next);
        self.next += 1;
        std::thread::scope(|scope| {
            let harming = scope.spawn(move || {
                std::thread::park_timeout(after);
                harm();
            });
            let error = loop {
                match commit(keeper, self.next) {
                    Ok(_) => self.acknowledged.push(self.next),
                    Err(error) => break error,
                }
                self.next += 1;
            };
            assert!(error.passes(), "{error}");
            harming.join().expect("is done");
            error.to_string()
        })
    }

    /// As the ingestor does: memory goes back to what is stored.
    fn check(&mut self, database: &Database, what: &str) {
        let found = stored(database);
        let ends = [Some(&(self.next - 1)), Some(&self.next)].contains(&found.last()) || found.is_empty();
        assert!(ends, "{:?} of {}", found.last(), self.next);
        self.unseen += usize::from(found.last() == Some(&self.next));
        self.next = found.last().copied().unwrap_or(0) + 1;
        assert!(self.acknowledged.iter().all(|n| found.binary_search(n).is_ok()), "{what}");
        assert_eq!(found, (1..self.next).collect::<Vec<i64>>(), "{what}");
    }
}

fn rounds(usual: u64, at_night: u64) -> u64 {
    if std::env::var_os("CHAOS").is_some_and(|word| word == "night") { at_night } else { usual }
}

#[test]
fn what_was_committed_survives_every_crash_of_the_server_and_nothing_is_there_twice() {
    let Some(mut server) = Postgres::start() else { return };
    let url = server.database("one");
    let database = database(&url);
    let mut keeper = database.alone("a").expect("is free");
    let (kills, mut numbers) = (rounds(5, 200), Numbers::new());
    for seed in 0..kills {
        numbers.commit_until(&mut keeper, seed, || server.kill());
        assert!(keeper.assure().is_err_and(|error| error.passes()), "nobody answers");
        assert!(database.reader().alert_log_end().is_err(), "no answer is no empty answer");
        server.start_again();
        keeper.assure().expect("the server is back");
        numbers.check(&database, &format!("crash {seed}"));
    }
    println!(
        "{kills} crashes, {} commits acknowledged, {} landed unseen",
        numbers.acknowledged.len(),
        numbers.unseen
    );
    assert!(numbers.acknowledged.len() >= kills as usize, "it commits in between");
}

/// A standby that took over, or a server that was put back, may have forgotten commits: memory does not count on it.
#[test]
fn nothing_is_stored_by_memory_on_a_server_that_began_after_it() {
    let Some(mut server) = Postgres::start() else { return };
    let url = server.database("one");
    let database = database(&url);
    let mut keeper = database.alone("a").expect("is free");
    commit(&mut keeper, 1).expect("stores");
    server.kill();
    server.start_again();
    // A question is the first to meet the new server.
    while database.reader().alert_log_end().is_err() {}
    for _ in 0..2 {
        let said = commit(&mut keeper, 2).expect_err("another server");
        assert!(said.passes() && said.to_string().contains("read back first"), "{said}");
    }
    assert_eq!(stored(&database), [1]);
    keeper.assure().expect("it goes on");
    commit(&mut keeper, 3).expect("stores");
    assert_eq!(stored(&database), [1, 3]);
}

/// Its kernel confirms every byte, takes new connections, and nobody ever answers.
#[test]
fn a_server_that_is_frozen_is_away_and_what_it_was_told_before_is_known_when_it_thaws() {
    let Some(mut server) = Postgres::start() else { return };
    server.database("one");
    let port = server.listen(&[]);
    let database = database(&format!("postgresql://sitian@127.0.0.1:{port}/one"));
    let mut keeper = database.alone("a").expect("is free");
    let (freezes, mut numbers) = (rounds(1, 40), Numbers::new());
    for seed in 0..freezes {
        database.reader().alert_log_end().expect("answers");
        let said = numbers.commit_until(&mut keeper, seed, || server.freeze());
        assert!(said.contains("no answer for 15 s"), "{said}");
        std::thread::scope(|scope| {
            let person = scope.spawn(|| database.reader().alert_log_end());
            let said = keeper.assure().expect_err("nobody lets us in").to_string();
            assert!(said.contains("no answer for 10 s"), "{said}");
            let told = person.join().expect("ends").expect_err("no answer is no empty answer");
            assert!(told.passes(), "{told}");
        });
        server.thaw();
        keeper.assure().expect("it goes on");
        numbers.check(&database, &format!("freeze {seed}"));
    }
    println!(
        "{freezes} freezes, {} commits acknowledged, {} landed unseen",
        numbers.acknowledged.len(),
        numbers.unseen
    );
}

#[test]
fn an_operator_is_told_what_to_mend() {
    let Some(mut server) = Postgres::start() else { return };
    let url = server.database("one");
    let check = |url: &str, words: &[&str]| {
        let said = open(url).expect_err("cannot be used").to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    check(&server.url("sitian", "none"), &["\"none\" does not exist", "create the database"]);
    check(&server.url("nobody_known", "one"), &["does not exist", "registry.url"]);
    server.sql("postgres", "CREATE ROLE guest LOGIN");
    check(&server.url("guest", "one"), &["permission denied", "own the database"]);
    server.sql(
        "postgres",
        "CREATE DATABASE latin OWNER sitian ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    check(&server.url("sitian", "latin"), &["not UTF8"]);
    database(&url);
    server.sql("one", "UPDATE sitian.meta SET value = 99");
    check(&url, &["schema 99 is newer"]);
    server.sql("one", "UPDATE sitian.meta SET value = 2");
    database(&url);
    server.kill();
    let away = open(&url).expect_err("is away");
    assert!(matches!(away, DatabaseError::Away { .. }), "{away}");
    server.start_with(&["fsync=off"]);
    check(&url, &["fsync is off", "postgresql.conf"]);
}

#[test]
fn a_password_opens_the_database_and_is_never_shown() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database("one");
    server.sql("postgres", "ALTER ROLE sitian PASSWORD 'geheim'");
    let rules = "local all postgres trust\nlocal all all scram-sha-256\n";
    std::fs::write(server.sql("postgres", "SHOW hba_file"), rules).expect("is ours to write");
    server.sql("postgres", "SELECT pg_reload_conf()");
    let asked = |password| {
        let access = Access::new(&url, password, &Way::Here).expect("an address");
        Database::open(&access).map(drop).map_err(|error| error.to_string())
    };
    // The server takes up its new rules in a while.
    let begin = std::time::Instant::now();
    while asked(None).is_ok() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "it never asks");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    assert_eq!(asked(Some("geheim")), Ok(()));
    for (password, words) in [
        (Some("geheimnis"), &["password authentication failed", "registry.password_file"][..]),
        (None, &["registry.password_file"]),
    ] {
        let said = asked(password).expect_err("is refused");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(!said.contains("geheim"), "{said}");
    }
}

#[test]
fn a_database_of_the_first_schema_is_brought_up_to_date_with_all_that_it_holds() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database("one");
    let v1 = include_str!("../src/schema/v1.sql");
    server.sql(
        "one",
        &format!(
            "SET ROLE sitian; CREATE SCHEMA sitian; SET search_path = sitian; {v1}
             INSERT INTO meta VALUES ('schema', 1);
             INSERT INTO gateway (id, slot, first_ms) VALUES ('gw-1', 0, 1);
             INSERT INTO incident (kind, gateway, at_ms) VALUES ('quota', 1, 7);"
        ),
    );
    let database = database(&url);
    assert_eq!(server.sql("one", "SELECT value FROM sitian.meta WHERE key = 'schema'"), "2");
    assert_eq!(stored(&database), [7]);
    let of_one = [GatewayId::new("gw-1").expect("well-formed")];
    let filter = ListFilter { gateways: Some(of_one.to_vec()), since: None, before: None, limit: 10 };
    assert_eq!(database.reader().incidents(&filter).expect("reads").len(), 1);
}

#[test]
fn several_processes_that_start_at_once_make_one_schema() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database("one");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| database(&url));
        }
    });
    assert_eq!(server.sql("one", "SELECT value FROM sitian.meta WHERE key = 'schema'"), "2");
    let state = EpochState::fresh(EpochNo(1));
    let mut keeper = database(&url).alone("a").expect("is free");
    let orphan = Transaction { effects: vec![Effect::Watermark(state)], ..Transaction::default() };
    assert!(
        matches!(keeper.commit(&orphan), Err(RegistryError::Never(_))),
        "an epoch comes before its watermark"
    );
}
