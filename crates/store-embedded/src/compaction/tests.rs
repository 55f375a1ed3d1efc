//! Tests that look at the shelf behind the compaction.

use sitian_ingest::Effect;
use sitian_model::{Cause, PointNo, Quality, Row, Timestamp};
use sitian_series::contract::{alike, good, span};
use sitian_series::{AggregateQuery, Extras, QueryFault, RangeQuery, Retention, Series, SeriesError, Window};

use super::{Compactor, Progress};
use crate::shelf::{self, Chunk};
use crate::{SealLimits, Store};
use sitian_model::Correction;
use sitian_registry::Transaction;

const DAY_MS: i64 = 86_400_000;

fn row(n: i64) -> Row {
    good(1, n * 60_000, n as u64, (n * 7_919 % 1_000) as f64 / 10.0)
}

fn open(folder: &tempfile::TempDir) -> Store {
    let limits = SealLimits { rows: 60, ..SealLimits::default() };
    Store::open_with(&folder.path().join("sitian.db"), limits).unwrap()
}

fn commit(store: &mut Store, rows: impl Iterator<Item = i64>) {
    let effects = vec![Effect::Rows(rows.map(row).collect())];
    store.commit(&Transaction { effects, ..Transaction::default() }).unwrap();
}

/// Rows of `from..to`, an hour's worth per commit and sealing.
fn hourly(store: &mut Store, from: i64, to: i64) {
    for n in (from..to).step_by(60) {
        commit(store, n..(n + 60).min(to));
    }
    store.seal().unwrap();
}

fn compact(compactor: &mut Compactor, now: i64) -> usize {
    let mut steps = 0;
    while compactor.step(Timestamp(now)).unwrap() != Progress::Idle {
        steps += 1;
    }
    steps
}

fn chunks(compactor: &Compactor) -> Vec<Chunk> {
    shelf::list(&compactor.connection, 1, i64::MIN, i64::MAX).unwrap()
}

fn rows(store: &Store) -> Vec<Row> {
    let query = RangeQuery { point: PointNo(1), span: span(i64::MIN, i64::MAX), limit: 100_000, after: None };
    store.reader().range(&query).unwrap().rows
}

fn windows(store: &Store, to: i64, window_ms: i64) -> Result<Vec<Window>, SeriesError> {
    let extras = Extras { increase: true, ..Extras::default() };
    let (span, offset_ms) = (span(0, to), 0);
    let query =
        AggregateQuery { point: PointNo(1), span, window_ms, offset_ms, interval_ms: Some(60_000), extras };
    store.reader().aggregate(&query)
}

#[test]
fn small_chunks_become_large_ones_and_the_work_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let mut compactor = store.compactor(Retention::default()).unwrap();
    hourly(&mut store, 0, 20_000);
    assert!(chunks(&compactor).len() > 300);
    assert!(compact(&mut compactor, 0) > 0);
    let large = chunks(&compactor);
    assert!(large.len() < 20, "{} chunks are left of 334", large.len());
    assert!(large.windows(2).all(|pair| pair[0].end_ms < pair[1].start_ms), "in a row");
    assert_eq!(rows(&store), (0..20_000).map(row).collect::<Vec<_>>());
    assert_eq!(compact(&mut compactor, 0), 0, "and nothing is left to do");
}

#[test]
fn late_rows_are_joined_with_those_they_belong_to_once_there_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let mut compactor = store.compactor(Retention::default()).unwrap();
    let late = |n: &i64| n % 1_000 < 200;
    for n in (0..20_000).step_by(500) {
        commit(&mut store, (n..n + 500).filter(|n| !late(n)));
    }
    store.seal().unwrap();
    compact(&mut compactor, 0);
    for n in (0..20_000).step_by(1_000) {
        commit(&mut store, (n..n + 1_000).filter(late).step_by(2));
        commit(&mut store, (n..n + 1_000).filter(late));
        store.seal().unwrap();
    }
    compact(&mut compactor, 0);
    let found = chunks(&compactor);
    assert!(found.windows(2).all(|pair| pair[0].end_ms <= pair[1].start_ms), "nothing overlaps: {found:?}");
    assert_eq!(rows(&store), (0..20_000).map(row).collect::<Vec<_>>());
}

#[test]
fn a_chunk_without_hours_gets_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    hourly(&mut store, 0, 6_000);
    let mut compactor = store.compactor(Retention::default()).unwrap();
    compact(&mut compactor, 0);
    let expected = windows(&store, 6_000 * 60_000, 3_600_000).unwrap();
    compactor
        .connection
        .execute_batch("DELETE FROM hours; DELETE FROM meta WHERE key = 'hours_given'")
        .unwrap();
    let mut compactor = store.compactor(Retention::default()).unwrap();
    assert_eq!(compactor.step(Timestamp(0)).unwrap(), Progress::Rolled);
    compact(&mut compactor, 0);
    let count = |sql: &str| compactor.connection.query_row(sql, [], |line| line.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM hours"), count("SELECT count(*) FROM chunk WHERE good >= 64"));
    let found = windows(&store, 6_000 * 60_000, 3_600_000).unwrap();
    assert!(found.iter().zip(&expected).all(|(a, b)| alike(a, b)));
}

#[test]
fn old_rows_fade_to_hours_and_days_and_their_windows_stay_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let retention =
        Retention { raw_days: Some(10), hourly_days: Some(20), daily_days: Some(40), day_offset_ms: 0 };
    let mut compactor = store.compactor(retention).unwrap();
    let end = 60 * DAY_MS;
    hourly(&mut store, 0, end / 60_000);
    let days = windows(&store, end, DAY_MS).unwrap();
    let hours = windows(&store, end, 3_600_000).unwrap();
    let now = 30 * DAY_MS;
    compact(&mut compactor, now);
    assert!(rows(&store).first().unwrap().at.0 > 8 * DAY_MS, "single rows are gone");
    let same = |found: &[Window], expected: &[Window]| {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(alike(found, expected), "{found:?} {expected:?}");
        }
    };
    same(&windows(&store, end, DAY_MS).unwrap(), &days);
    let Err(SeriesError::Query(fault)) = windows(&store, end, 3_600_000) else {
        panic!("days cannot be cut")
    };
    assert_eq!(fault, QueryFault::Faded { step_h: 24 });

    let late = Row { at: Timestamp(DAY_MS + 5), ..row(99_999_999) };
    let effects = vec![Effect::Rows(vec![late])];
    store.commit(&Transaction { effects, ..Transaction::default() }).unwrap();
    let second = &windows(&store, end, DAY_MS).unwrap()[1];
    assert_eq!(second.good, days[1].good + 1, "a late row counts beside what has faded");
    let later = end - DAY_MS;
    compact(&mut compactor, later + 2 * 3_600_000);
    let left = windows(&store, end, DAY_MS).unwrap();
    same(&left[31..], &days[31..]);
    let counts: Vec<_> = left[..8].iter().map(|day| day.good).collect();
    assert_eq!(counts, [0, 1, 0, 0, 0, 0, 0, 0], "days are forgotten too, but for the row that came late");
    let gone_ms = later - 12 * DAY_MS;
    let tail = |all: &[Window]| all.iter().filter(|w| w.from.0 >= gone_ms).cloned().collect::<Vec<_>>();
    let extras = Extras { increase: true, ..Extras::default() };
    let query = AggregateQuery {
        point: PointNo(1),
        span: span(gone_ms, end),
        window_ms: 3_600_000,
        offset_ms: 0,
        interval_ms: Some(60_000),
        extras,
    };
    let found = store.reader().aggregate(&query).unwrap();
    same(&found[1..], &tail(&hours)[1..]);
}

#[test]
fn a_correction_changes_every_answer_keeps_its_history_and_is_not_undone_by_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let mut compactor = store.compactor(Retention::default()).unwrap();
    hourly(&mut store, 0, 1_000);
    compact(&mut compactor, 0);
    let right = Row { value: Some(-5.0), ..row(500) };
    let correction =
        Correction { row: right, by: "王站长".into(), note: "probe was out".into(), at: Timestamp(7) };
    assert!(store.correct(&correction).unwrap());
    assert!(!store.correct(&Correction { row: row(5_000), ..correction.clone() }).unwrap(), "no such row");
    let newest = Row { value: Some(77.0), ..row(999) };
    assert!(store.correct(&Correction { row: newest, ..correction.clone() }).unwrap());
    commit(&mut store, 490..510);
    for _ in 0..3 {
        assert_eq!(rows(&store)[500], right);
        let hour = &windows(&store, 60_000_000, 3_600_000).unwrap()[8];
        assert_eq!((hour.min, hour.good), (Some(-5.0), 60));
        assert_eq!(store.reader().latest(&[PointNo(1)]).unwrap(), [Some(newest)]);
        store.seal().unwrap();
        compact(&mut compactor, 0);
    }
    let history =
        |before, limit| store.reader().corrections(PointNo(1), span(0, i64::MAX), before, limit).unwrap();
    let both = history(None, 9);
    assert_eq!(both.len(), 2, "the newest first");
    assert_eq!((both[1].correction.clone(), both[1].before), (correction, row(500)));
    assert_eq!((history(None, 1), history(Some(both[0].id), 9)), (both[..1].to_vec(), both[1..].to_vec()));
    drop((compactor, store));
    let store = open(&folder);
    assert_eq!(store.reader().latest(&[PointNo(1)]).unwrap(), [Some(newest)], "after a restart");
}

#[test]
fn a_reading_counts_as_corrected_only_while_it_says_something_else_than_the_sensor_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    commit(&mut store, 0..20);
    let say = |n: i64, value: Option<f64>, quality| {
        let row = Row { value, quality, ..row(n) };
        Correction { row, by: "王站长".into(), note: "probe was out".into(), at: Timestamp(7) }
    };
    let sent = |store: &Store| store.reader().sent(PointNo(1), span(0, row(15).at.0)).unwrap();
    let (as_sent, bad) = (row(5), Quality::Bad(Cause::Timeout));
    for (correction, expected) in [
        (say(15, Some(-5.0), as_sent.quality), vec![]),
        (say(5, Some(-5.0), as_sent.quality), vec![as_sent]),
        (say(5, Some(-6.0), as_sent.quality), vec![as_sent]),
        (say(5, as_sent.value, as_sent.quality), vec![]),
        (say(5, None, bad), vec![as_sent]),
        (say(5, as_sent.value, bad), vec![as_sent]),
        (say(5, as_sent.value, as_sent.quality), vec![]),
    ] {
        assert!(store.correct(&correction).unwrap());
        assert_eq!(sent(&store), expected, "{correction:?}");
    }
}

#[test]
fn free_pages_go_back_to_the_disk_many_at_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let other = rusqlite::Connection::open(folder.path().join("sitian.db")).unwrap();
    other.execute_batch("CREATE TABLE ballast (x)").unwrap();
    other.execute("INSERT INTO ballast VALUES (zeroblob(16777216))", []).unwrap();
    other.execute_batch("DROP TABLE ballast").unwrap();
    let free = || other.query_row("PRAGMA freelist_count", [], |line| line.get::<_, i64>(0)).unwrap();
    let before = free();
    assert!(before > 4_000);
    let mut compactor = store.compactor(Retention::default()).unwrap();
    let steps = compact(&mut compactor, 0);
    assert!(free() <= super::FREE_PAGES_MIN, "{} of {before} are left", free());
    assert!(steps < 10, "{steps} steps for {before} pages");
}
