//! Backup, restore, examination and repair on real files.

use std::path::{Path, PathBuf};

use sitian_ingest::Effect;
use sitian_model::{PointNo, Timestamp};
use sitian_registry::Transaction;
use sitian_series::contract::{good, span};
use sitian_series::{RangeQuery, Retention, Series};
use sitian_store_embedded::{
    Examination, Progress, Reader, Store, StoreError, back_up, examine, repair, restore,
};

fn commit(store: &mut Store, from: i64, to: i64) {
    let rows =
        (from..to).flat_map(|n| (0..3).map(move |point| good(point, n * 60_000, n as u64, n as f64 / 10.0)));
    let effects = vec![Effect::Rows(rows.collect())];
    store.commit(&Transaction { effects, ..Transaction::default() }).expect("commits");
}

fn rows(reader: &impl Series, point: u32) -> usize {
    let query =
        RangeQuery { point: PointNo(point), span: span(i64::MIN, i64::MAX), limit: 100_000, after: None };
    reader.range(&query).expect("reads").rows.len()
}

/// A store of 2,000 sealed and compacted rows of each of three points, and 100 in the journal.
fn store(folder: &tempfile::TempDir) -> (PathBuf, Store) {
    let path = folder.path().join("sitian.db");
    let mut store = Store::open(&path).expect("opens");
    for n in 0..20 {
        commit(&mut store, n * 100, (n + 1) * 100);
        store.seal().expect("seals");
    }
    let mut compactor = store.compactor(Retention::default()).expect("opens");
    while compactor.step(Timestamp(0)).expect("compacts") != Progress::Idle {}
    commit(&mut store, 2_000, 2_100);
    (path, store)
}

#[test]
fn a_backup_is_taken_amid_commits_and_comes_back_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, mut open) = store(&folder);
    let copy = folder.path().join("copy.db");
    let made = back_up(&path, &copy).expect("copies beside the writer");
    assert_eq!((made.readings, made.findings.len()), (6_300, 0));
    commit(&mut open, 2_100, 2_200);
    assert!(matches!(back_up(&path, &copy), Err(StoreError::Occupied { .. })), "nothing is overwritten");

    let locked = restore(&copy, &path, Timestamp(7));
    assert!(matches!(locked, Err(StoreError::Locked { .. })), "{locked:?}");
    drop(open);
    let aside = restore(&copy, &path, Timestamp(7)).expect("restores").expect("the old one is moved aside");
    for (file, expected) in [(&path, 2_100), (&aside, 2_200)] {
        assert_eq!(rows(&Reader::open(file).expect("opens"), 1), expected, "{}", file.display());
    }
    let mut again = Store::open(&path).expect("opens");
    commit(&mut again, 2_100, 2_200);
    assert_eq!(rows(&again.reader(), 2), 2_200, "what the gateways send again is stored");
}

#[test]
fn a_damaged_backup_is_not_put_in_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, open) = store(&folder);
    let copy = folder.path().join("copy.db");
    back_up(&path, &copy).expect("copies");
    drop(open);
    damage(
        &copy,
        "UPDATE chunk SET body = CAST(body || x'00' AS BLOB) WHERE id = (SELECT min(id) FROM chunk)",
    );
    let error = restore(&copy, &path, Timestamp(7)).expect_err("it is damaged");
    assert!(matches!(error, StoreError::Untrusted { .. }), "{error:?}");
    assert_eq!(rows(&Reader::open(&path).expect("opens"), 1), 2_100, "the store is as it was");
    let missing = restore(&folder.path().join("nowhere.db"), &path, Timestamp(7)).expect_err("there is none");
    assert!(missing.to_string().contains("there is no such file"), "{missing}");
}

#[test]
fn a_reader_beside_a_writer_sees_its_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, open) = store(&folder);
    assert_eq!(rows(&Reader::open(&path).expect("opens"), 0), 2_100);
    drop(open);
}

fn damage(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).expect("opens").execute_batch(sql).expect("damages");
}

/// What is damaged, by which statement, what is found and done, how many rows the poorest point keeps, and whether the
/// ingestor starts nevertheless.
type Case = (&'static str, &'static str, Option<&'static str>, usize, bool);

const CASES: &[Case] = &[
    ("nothing", "SELECT 1", None, 2_100, true),
    (
        "hours",
        "UPDATE hours SET body = x'0500'",
        Some("its hours do not follow from its rows (made anew)"),
        2_100,
        true,
    ),
    (
        "statistics",
        "UPDATE chunk SET max = 1e9 WHERE id = (SELECT min(id) FROM chunk)",
        Some("its statistics do not follow from its rows (made anew)"),
        2_100,
        true,
    ),
    (
        "a chunk",
        "UPDATE chunk SET body = x'0102030405060708' WHERE id = (SELECT min(id) FROM chunk)",
        Some("checksum does not match: the bytes were changed on disk (set aside)"),
        100,
        true,
    ),
    (
        "the journal",
        "UPDATE journal SET rows = x'0203'",
        Some("checksum does not match: the bytes were changed on disk (set aside)"),
        2_000,
        false,
    ),
    (
        "the newest row",
        "UPDATE latest SET at_ms = 5 WHERE point = 0",
        Some("a chunk holds a newer one (brought up to date)"),
        2_100,
        true,
    ),
    (
        "an index",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'start_ms)', 'end_ms)')
             WHERE name = 'chunk_small'",
        Some("(indexes made anew)"),
        2_100,
        true,
    ),
];

#[test]
fn what_is_wrong_is_found_and_what_can_be_repaired_is() {
    for (what, sql, wanted, left, opens) in CASES.iter().copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, open) = store(&folder);
        drop(open);
        damage(&path, sql);
        let found = examine(&path).expect("looks");
        let Some(wanted) = wanted else {
            assert_eq!(found, Examination { readings: 6_300, chunks: found.chunks, findings: Vec::new() });
            continue;
        };
        assert!(!found.findings.is_empty(), "{what}");
        assert!(
            found.findings.iter().all(|finding| finding.repair.is_none()),
            "{what}: looking changes nothing"
        );
        assert_eq!(Store::open(&path).is_ok(), opens, "{what}: does the ingestor start?");
        let mended = repair(&path).expect("repairs");
        assert!(mended.findings.iter().any(|f| f.to_string().ends_with(wanted)), "{what}: {mended:?}");
        assert_eq!(examine(&path).expect("looks").findings, [], "{what}: nothing is left");
        let store = Store::open(&path).expect("opens");
        let sound = (0..3).map(|point| rows(&store.reader(), point)).min();
        assert_eq!(sound, Some(left), "{what}: readings that are left");
    }
}
