//! Everything that can be wrong with the file is said clearly, before anything is overwritten.

use std::fs;
use std::path::Path;

use sitian_ingest::Effect;
use sitian_registry::Transaction;
use sitian_series::contract::{good, span};
use sitian_series::{RangeQuery, Series};
use sitian_store_embedded::{Store, StoreError};

fn rows(count: i64) -> Transaction {
    let rows = (0..count).map(|n| good(1, n * 1_000, n as u64, (n * 7_919 % 1_000) as f64 / 10.0));
    Transaction { effects: vec![Effect::Rows(rows.collect())], ..Transaction::default() }
}

#[track_caller]
fn check(path: &Path, wanted: &str) -> StoreError {
    let before = fs::read(path).expect("the file is there");
    let error = Store::open(path).expect_err("the store must not open");
    assert!(error.to_string().contains(wanted), "{error}");
    assert_eq!(fs::read(path).expect("the file is there"), before, "the file was not touched");
    error
}

#[test]
fn a_second_writer_is_told_who_has_the_store_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/down/sitian.db");
    let first = Store::open(&path).expect("opens, folders included");
    let error = check(&path, &format!("process {} has it open; stop that process", std::process::id()));
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    drop(first);
    Store::open(&path).expect("opens once the first is gone");
}

#[test]
fn files_of_others_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    fs::write(&path, "These are my notes, please do not overwrite them.\n".repeat(50)).expect("writes");
    assert!(matches!(check(&path, "it is not a database"), StoreError::NotOurs { .. }));

    let path = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&path).expect("opens");
    other.execute_batch("CREATE TABLE theirs (x); PRAGMA user_version = 4").expect("writes");
    drop(other);
    assert!(matches!(check(&path, "a database of another program"), StoreError::NotOurs { .. }));
}

#[test]
fn a_store_of_a_newer_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    drop(Store::open(&path).expect("opens"));
    let newer = rusqlite::Connection::open(&path).expect("opens");
    newer.execute_batch("PRAGMA user_version = 99").expect("writes");
    drop(newer);
    let error = check(&path, "schema 99 is newer than 6");
    assert!(matches!(error, StoreError::Newer { found: 99, known: 6, .. }), "{error:?}");
}

#[test]
fn a_changed_chunk_is_named_instead_of_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut store = Store::open(&path).expect("opens");
    store.commit(&rows(500)).expect("commits");
    store.seal().expect("seals");
    drop(store);
    let raw = rusqlite::Connection::open(&path).expect("opens");
    raw.execute_batch("UPDATE chunk SET body = CAST(body || x'00' AS BLOB)").expect("damages");
    drop(raw);
    let store = Store::open(&path).expect("opens: other data is fine");
    let query =
        RangeQuery { point: sitian_model::PointNo(1), span: span(0, 500_000), limit: 10, after: None };
    let error = store.reader().range(&query).expect_err("the chunk is damaged");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(source.contains("chunk 1 of point 1: checksum does not match"), "{source}");
    assert!(source.contains("put a backup in its place"), "{source}");
}

#[test]
fn a_file_overwritten_in_the_middle_is_reported_as_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut store = Store::open(&path).expect("opens");
    store.commit(&rows(20_000)).expect("commits");
    drop(store);
    let mut bytes = fs::read(&path).expect("reads");
    bytes[4_096..].fill(0xA5);
    fs::write(&path, bytes).expect("overwrites");
    let error = Store::open(&path).map(|_| ()).expect_err("nothing of it can be read");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("the disk may be failing"), "{error}");
}

#[test]
fn a_file_that_has_lost_pages_is_refused_instead_of_acknowledged_into() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut store = Store::open(&path).expect("opens");
    store.commit(&rows(20_000)).expect("commits");
    store.seal().expect("seals");
    store.checkpoint().expect("all of it goes into the file");
    drop(store);
    let whole = fs::read(&path).expect("reads");
    let (page, middle) = (4_096, whole.len() / 2 / 4_096 * 4_096);
    let mut zeroed = whole.clone();
    zeroed[page..middle].fill(0);
    for (what, bytes) in [("cut to half", whole[..middle].to_vec()), ("zeroed pages", zeroed)] {
        fs::write(&path, bytes).expect("damages");
        let error = check(&path, "the disk may be failing");
        assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {error:?}");
    }
    fs::write(&path, whole).expect("repairs");
    Store::open(&path).expect("the whole file opens");
}
