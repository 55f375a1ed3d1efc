//! Several keepers, each of a slot, on a real PostgreSQL: the lock behind the fence, the alert log that they share, and what
//! each of them reads back.

#[path = "../../../tests/system/src/postgres.rs"]
mod server;

use std::time::{Duration, Instant};

use server::Postgres;
use sitian_alert::{Change, ChangeKind, Delta, Episode, Mark, Phase, SavedState, Severity, Subject};
use sitian_ingest::{Effect, PointEntry};
use sitian_model::{DeviceInfo, GatewayId, PointId, PointInfo, PointNo, Slot, Timestamp};
use sitian_registry::{Keep, RegistryError, Transaction};
use sitian_store_postgres::{Access, Database, Keeper, Way};
use sitian_tenure::{Ask, Lease, Peer};

/// Nothing here waits for a lease to run out.
const LEASE: Duration = Duration::from_secs(600);
/// Nothing here should take so long on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn database(server: &Postgres) -> Database {
    let url = server.database("one");
    Database::open(&Access::new(&url, None, &Way::Here).expect("an address")).expect("is fit")
}

fn slot(number: u8) -> Slot {
    Slot::new(number).expect("there is one")
}

/// Asks for a slot; gives the term under which this member holds it then.
fn claim(database: &Database, member: &str, slot: Slot) -> Option<u64> {
    let me = Peer { member: member.to_owned(), api: String::new() };
    let answer = database.ask(&me, LEASE, &Ask { claim: vec![slot], ..Ask::default() }).expect("answers");
    let mine = |lease: &&Lease| lease.living && lease.member == member && lease.hold.slot == slot;
    answer.leases.iter().find(mine).map(|lease| lease.hold.term)
}

fn keeper(database: &Database, member: &str, slot: Slot) -> Keeper {
    let term = claim(database, member, slot).expect("is free");
    database.keeper(slot, member, term)
}

fn piece(key: &str, body: &str) -> SavedState {
    SavedState { key: key.to_owned(), body: Some(body.to_owned()) }
}

fn remembering(states: Vec<SavedState>, marks: Vec<Mark>) -> Transaction {
    Transaction { alert_state: Delta { states, marks }, ..Transaction::default() }
}

fn fired(id: u64) -> Change {
    let episode = Episode {
        id,
        rule: "soil_dry".into(),
        severity: Severity::Blue,
        severity_worst: Severity::Blue,
        subject: Subject::Gateway(GatewayId::new("gw-1").expect("well-formed")),
        base: None,
        phase: Phase::Firing,
        started_at: Timestamp(1),
        fired_at: Some(Timestamp(2)),
        resolved_at: None,
        acknowledged: None,
        value: None,
        threshold: None,
        peak: None,
        late: false,
    };
    Change { kind: ChangeKind::Fired, episode }
}

fn alerting(id: u64) -> Transaction {
    Transaction { alerts: vec![fired(id)], ..Transaction::default() }
}

/// Waits until so many sessions wait for this.
fn wait_for(server: &Postgres, many: u8, waiting: &str) {
    let asked = format!("SELECT count(*) FROM pg_stat_activity WHERE {waiting}");
    let begin = Instant::now();
    while server.sql("one", &asked) != many.to_string() {
        assert!(begin.elapsed() < PATIENCE, "never: {many} with {waiting}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

const FOR_A_LOCK: &str = "wait_event_type = 'Lock'";
const HOLDING: &str = "wait_event = 'PgSleep'";

/// Holds the row of this piece of memory until [`let_go`], or for a while: a commit that writes it waits.
fn hold(server: &Postgres, key: &str) {
    server.sql(
        "one",
        &format!(
            "CREATE TABLE public.let_go (yes int);
             BEGIN; SELECT 1 FROM sitian.alert_state WHERE key = '{key}' FOR UPDATE;
             DO $$ BEGIN FOR n IN 1..3000 LOOP
                 EXIT WHEN EXISTS (SELECT FROM public.let_go); PERFORM pg_sleep(0.02);
             END LOOP; END $$; COMMIT;"
        ),
    );
}

fn let_go(server: &Postgres) {
    server.sql("one", "INSERT INTO public.let_go VALUES (1)");
}

#[test]
fn a_slot_is_not_claimed_in_the_middle_of_a_commit() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server);
    let mut old = keeper(&database, "a", slot(0));
    old.commit(&remembering(vec![piece("counter", "1")], vec![])).expect("is its own");
    std::thread::scope(|scope| {
        scope.spawn(|| hold(&server, "counter"));
        wait_for(&server, 1, HOLDING);
        let under_way = scope.spawn(|| old.commit(&remembering(vec![piece("counter", "2")], vec![])));
        wait_for(&server, 1, FOR_A_LOCK);
        // It has passed the fence. Its lease runs out, and somebody else asks.
        server.sql("one", "UPDATE sitian.lease SET until = '-infinity'");
        let taken = claim(&database, "b", slot(0));
        let_go(&server);
        under_way.join().expect("ends").expect("it had passed the fence");
        assert_eq!(taken, None, "taken while a commit of the former owner could still land");
    });
    let new = keeper(&database, "b", slot(0));
    let memory = new.alert_memory().expect("reads").states;
    assert_eq!(memory, [piece("counter", "2")], "what landed last is there to be restored");
    let late = old.commit(&remembering(vec![piece("counter", "3")], vec![]));
    assert!(matches!(late, Err(RegistryError::Fenced(_))), "{late:?}");
}

#[test]
fn keepers_that_alert_at_once_give_out_cursors_one_after_another() {
    const EACH: u64 = 30;
    let Some(server) = Postgres::start() else { return };
    let database = database(&server);
    let slots = [slot(3), slot(4)];
    let keepers = slots.map(|slot| keeper(&database, "m", slot));
    let mut given: Vec<u64> = std::thread::scope(|scope| {
        let writers = keepers.map(|mut keeper| {
            let mut numbers = keeper.episode_numbers().expect("reads");
            scope.spawn(move || {
                let mut commit = || keeper.commit(&alerting(numbers.take())).expect("goes in").alert_cursors;
                (0..EACH).flat_map(|_| commit()).collect::<Vec<_>>()
            })
        });
        // Whoever has read up to a cursor has missed nothing below it.
        let (reader, mut read) = (database.reader(), 0);
        while read < 2 * EACH {
            for line in reader.alert_log_after(read, 100).expect("reads") {
                assert_eq!(line.cursor, read + 1, "one came in behind a reader");
                read = line.cursor;
            }
            let over = writers.iter().all(|writer| writer.is_finished());
            assert!(!over || reader.alert_log_end().expect("reads") == 2 * EACH, "writers that failed");
        }
        writers.into_iter().flat_map(|writer| writer.join().expect("ends")).collect()
    });
    given.sort_unstable();
    assert_eq!(given, (1..=2 * EACH).collect::<Vec<_>>());
}

#[test]
fn the_second_of_two_alerts_waits_for_the_first() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server);
    let [mut first, mut second] = [slot(3), slot(4)].map(|slot| keeper(&database, "m", slot));
    first.commit(&remembering(vec![piece("lane/live/r/7", "1")], vec![])).expect("is its own");
    let both =
        Transaction { alerts: vec![fired(67)], ..remembering(vec![piece("lane/live/r/7", "2")], vec![]) };
    std::thread::scope(|scope| {
        scope.spawn(|| hold(&server, "lane/live/r/7"));
        wait_for(&server, 1, HOLDING);
        // It has its cursor, and waits for the row.
        let one = scope.spawn(|| first.commit(&both));
        wait_for(&server, 1, FOR_A_LOCK);
        let two = scope.spawn(|| second.commit(&alerting(68)));
        wait_for(&server, 2, FOR_A_LOCK);
        let shown = database.reader().alert_log_after(0, 10).expect("reads");
        let_go(&server);
        assert_eq!(shown, [], "nothing is shown that something may come in before");
        assert_eq!(one.join().expect("ends").expect("goes in").alert_cursors, [1]);
        assert_eq!(two.join().expect("ends").expect("goes in").alert_cursors, [2]);
    });
}

fn gateway(n: u32) -> GatewayId {
    GatewayId::new(&format!("gw-{n}")).expect("well-formed")
}

fn point(no: u32, gateway: u32) -> PointEntry {
    let id = PointId::parse(&format!("gw-{gateway}/soil-1/a")).expect("well-formed");
    let text = String::new;
    let device =
        DeviceInfo { id: id.device.clone(), name: text(), place: text(), profile: text(), bus: text() };
    let info = PointInfo {
        device: 0,
        key: id.key.clone(),
        measurement: "soil_moisture".into(),
        unit: text(),
        decimals: 0,
        interval_ms: 1,
    };
    PointEntry { no: PointNo(no), device, info, id, at: Timestamp(1) }
}

fn mark(point: u32) -> Mark {
    Mark { point: PointNo(point), newest_at: Some(Timestamp(3)), data_at: None }
}

/// What a keeper takes up: its pieces of memory by key and body, its marks, and the points of its gateways.
fn taken_up(keeper: &impl Keep) -> (Vec<String>, Vec<u32>, Vec<u32>) {
    let Delta { states, marks } = keeper.alert_memory().expect("reads");
    let piece = |state: &SavedState| format!("{}={}", state.key, state.body.as_deref().unwrap_or_default());
    let points = keeper.reader().restored().expect("reads").points;
    (
        states.iter().map(piece).collect(),
        marks.iter().map(|mark| mark.point.0).collect(),
        points.iter().map(|point| point.no.0).collect(),
    )
}

#[test]
fn what_one_has_kept_is_divided_by_slots_and_comes_together_again() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server);
    let slots = [1, 2].map(|n| Slot::of(&gateway(n)));
    assert_ne!(slots[0], slots[1]);
    let mut alone = database.alone("centre").expect("is free");
    let keys = [
        "counter",
        "gateway/gw-1",
        "gateway/gw-2",
        "lane/live/r/7",
        "silence/gateway/r/gw-2",
        "silence/point/r/8",
    ];
    let transaction = Transaction {
        effects: vec![Effect::Point(point(7, 1)), Effect::Point(point(8, 2))],
        ..remembering(keys.map(|key| piece(key, "alone")).to_vec(), vec![mark(7), mark(8)])
    };
    alone.commit(&transaction).expect("is its own");
    alone.close().expect("is over");

    let own = [
        (vec!["gateway/gw-1=alone", "lane/live/r/7=alone"], 7),
        (vec!["gateway/gw-2=alone", "silence/gateway/r/gw-2=alone", "silence/point/r/8=alone"], 8),
    ];
    for (slot, (states, point)) in slots.into_iter().zip(own) {
        let mut keeper = keeper(&database, "m", slot);
        let states: Vec<String> = states.into_iter().map(str::to_owned).collect();
        assert_eq!(taken_up(&keeper), (states, vec![point], vec![point]), "{slot:?}");
        let news = vec![piece("counter", "slot"), piece(&format!("lane/live/r/{point}"), "slot")];
        keeper.commit(&remembering(news, vec![mark(point)])).expect("is its own");
    }
    assert_eq!(taken_up(&database.keeper(slot(63), "m", 1)), (vec![], vec![], vec![]), "nobody's");

    server.sql("one", "UPDATE sitian.lease SET until = '-infinity'");
    let alone = database.alone("centre").expect("is free again");
    let mut expected: Vec<String> = keys.iter().map(|key| format!("{key}=alone")).collect();
    expected[3] = "lane/live/r/7=slot".to_owned();
    expected.insert(4, "lane/live/r/8=slot".to_owned());
    assert_eq!(taken_up(&alone), (expected, vec![7, 8], vec![7, 8]), "but for what slots counted");
}

#[test]
fn a_slot_gives_out_its_own_numbers_above_all_that_anybody_has_given() {
    let Some(server) = Postgres::start() else { return };
    let database = database(&server);
    let next = |number| {
        let keeper = database.keeper(slot(number), "m", 1);
        let restored = keeper.reader().restored().expect("reads");
        let mut all =
            [keeper.episode_numbers().expect("reads"), restored.point_numbers, restored.epoch_numbers];
        all.each_mut().map(|numbers| numbers.take())
    };
    assert_eq!(next(5), [5, 5, 5], "nobody has given any");
    let mut alone = database.alone("centre").expect("is free");
    let effects = vec![Effect::Point(point(200, 1))];
    alone.commit(&Transaction { effects, ..alerting(133) }).expect("is its own");
    // 64 apart from the slot's own number on.
    assert_eq!(next(5), [5 + 3 * 64, 5 + 4 * 64, 5]);
    assert_eq!(next(4), [4 + 3 * 64, 4 + 4 * 64, 4]);
    assert_eq!(alone.episode_numbers().expect("reads").take(), 134, "who keeps all gives all");
}
