//! Tests that need to reach into the writer.

use sitian_ingest::Effect;
use sitian_model::PointNo;
use sitian_series::contract::{good, span};
use sitian_series::{RangeQuery, Series, SeriesError, Stop};

use super::{SealLimits, Store};
use crate::StoreError;
use sitian_registry::Transaction;

fn rows(from: i64, count: i64) -> Transaction {
    let rows = (from..from + count).map(|n| good(1, n * 1_000, n as u64, n as f64 / 7.0));
    Transaction { effects: vec![Effect::Rows(rows.collect())], ..Transaction::default() }
}

#[test]
fn a_full_disk_refuses_a_commit_whole_and_takes_it_again_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("sitian.db")).unwrap();
    store.commit(&rows(0, 100)).unwrap();
    let pages: i64 = store.connection.query_row("PRAGMA page_count", [], |line| line.get(0)).unwrap();
    store.connection.pragma_update(None, "max_page_count", pages + 2).unwrap();

    let big = rows(100, 5_000);
    let error = store.commit(&big).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull), "{error:?}");
    assert!(error.to_string().contains("make room"), "{error}");
    let query = RangeQuery { point: PointNo(1), span: span(0, i64::MAX), limit: 10_000, after: None };
    assert_eq!(store.reader().range(&query).unwrap().rows.len(), 100, "nothing of it is visible");

    store.connection.pragma_update(None, "max_page_count", 1 << 30).unwrap();
    store.commit(&big).unwrap();
    assert_eq!(store.reader().range(&query).unwrap().rows.len(), 5_100);
}

#[test]
fn a_sealing_that_fails_is_tried_again_and_answers_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    let limits = SealLimits { slice_rows: 1, ..SealLimits::default() };
    let mut store = Store::open_with(&folder.path().join("sitian.db"), limits).unwrap();
    store.commit(&rows(0, 3_000)).unwrap();
    store.connection.execute_batch("ALTER TABLE chunk RENAME TO elsewhere").unwrap();
    assert!(store.seal().is_err());
    store.connection.execute_batch("ALTER TABLE elsewhere RENAME TO chunk").unwrap();
    store.commit(&rows(3_000, 10)).unwrap();
    store.seal().unwrap();
    let query = RangeQuery { point: PointNo(1), span: span(0, i64::MAX), limit: 10_000, after: None };
    assert_eq!(store.reader().range(&query).unwrap().rows.len(), 3_010);
    assert_eq!(store.extent().unwrap().head_rows, 0);
}

#[test]
fn a_backlog_that_comes_faster_than_slices_are_sealed_does_not_gather_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let limits = SealLimits { rows: 200, slice_rows: 1, ..SealLimits::default() };
    let mut store = Store::open_with(&folder.path().join("sitian.db"), limits).unwrap();
    for n in 0..50 {
        let of_point = |point| (n * 10..n * 10 + 10).map(move |at| good(point, at * 1_000, at as u64, 1.0));
        let effects = vec![Effect::Rows((1..=40).flat_map(of_point).collect())];
        store.commit(&Transaction { effects, ..Transaction::default() }).unwrap();
        let held = store.extent().unwrap().head_rows;
        assert!(held <= 2 * 200 + 2 * 400, "{held} rows in memory after commit {n}");
    }
}

#[test]
fn readers_see_every_row_once_while_the_writer_commits_and_seals() {
    let folder = tempfile::tempdir().unwrap();
    let limits = SealLimits { rows: 400, slice_rows: 1, ..SealLimits::default() };
    let mut store = Store::open_with(&folder.path().join("sitian.db"), limits).unwrap();
    let readers: Vec<_> = (0..2).map(|_| store.reader()).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                scope.spawn(move || {
                    let query =
                        RangeQuery { point: PointNo(1), span: span(0, i64::MAX), limit: 50_000, after: None };
                    let mut seen = 0;
                    while seen < 6_000 {
                        let rows = reader.range(&query).unwrap().rows;
                        assert!(
                            rows.len() >= seen && rows.len().is_multiple_of(100),
                            "{} after {seen}",
                            rows.len()
                        );
                        assert!(rows.iter().zip(0..).all(|(row, n)| row.seq == n), "each row once");
                        seen = rows.len();
                    }
                })
            })
            .collect();
        for n in 0..60 {
            store.commit(&rows(n * 100, 100)).unwrap();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_walk_over_many_chunks_ends_at_the_next_one_when_its_asker_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("sitian.db")).unwrap();
    for n in 0..4 {
        store.commit(&rows(n * 10_000, 10_000)).unwrap();
        store.seal().unwrap();
    }
    let (stop, mut seen) = (Stop::default(), 0);
    let walked = stop.over(|| {
        store.reader().walk(PointNo(1), span(0, i64::MAX), &mut |_| {
            seen += 1;
            stop.stop();
            true
        })
    });
    assert!(matches!(walked, Err(SeriesError::Stopped)), "{walked:?}");
    assert!((1..=10_000).contains(&seen), "{seen} of 40000 rows were read for nobody");
}
