//! Opens connections to the database file and brings its schema up to date. Knows no rows.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use sitian_model::Mutant;

use crate::fault::StoreError;
use crate::lock::beside;

/// "SITN": tells our files from other SQLite files.
const APPLICATION_ID: i64 = 0x5349_544E;
/// One script per schema version, from 1 on.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/v1.sql"),
    include_str!("schema/v2.sql"),
    include_str!("schema/v3.sql"),
    include_str!("schema/v4.sql"),
    include_str!("schema/v5.sql"),
    include_str!("schema/v6.sql"),
];
const BUSY_MS: u64 = 5_000;
/// Files up to this size are checked page by page when they are opened: about a second for all of it.
const CHECKED_BYTES_MAX: u64 = 512 << 20;
const STATEMENTS_CACHED: usize = 64;

/// Opens the file for the writer, creates or migrates its schema.
pub(crate) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    check(&connection, path)?;
    check_intact(&connection, path)?;
    // Has a say only where there are no tables yet: free pages can then be given back a few at a time.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // A power cut must not take back what was acknowledged: every commit is synced.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if Mutant::StoreNotSynced.lives() { "OFF" } else { "FULL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 2_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens the file for a second writer of the same process, whose transactions replace what is durable by what says the
/// same: they need no sync of their own, the next commit brings it.
pub(crate) fn second_writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 2_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(connection)
}

/// Opens a store that must be there, and of this schema, for reading only.
pub(crate) fn existing(path: &Path) -> Result<Connection, StoreError> {
    if !path.is_file() {
        return Err(StoreError::NotOurs { path: path.to_owned(), why: "there is no such file" });
    }
    let connection = reader(path)?;
    check(&connection, path)?;
    let found = connection.query_row("PRAGMA user_version", [], |line| line.get::<_, i64>(0))?;
    if found < MIGRATIONS.len() as i64 {
        return Err(StoreError::Older { path: path.to_owned() });
    }
    Ok(connection)
}

/// Opens the file for repairs: nothing is checked but that it is ours.
pub(crate) fn patient(path: &Path) -> Result<Connection, StoreError> {
    if !path.is_file() {
        return Err(StoreError::NotOurs { path: path.to_owned(), why: "there is no such file" });
    }
    let mut connection = Connection::open(path)?;
    check(&connection, path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens the file for reading only, beside a writer.
pub(crate) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(connection)
}

/// Refuses what is not ours before anything is written.
fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let read = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let not_ours = |why| StoreError::NotOurs { path: path.to_owned(), why };
    let application = read("PRAGMA application_id").map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => not_ours("it is not a database"),
        _ => error.into(),
    })?;
    let found = read("PRAGMA user_version")?;
    let tables =
        read("SELECT count(*) FROM sqlite_schema").map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => not_ours("it is not a database"),
            _ => StoreError::from(error),
        })?;
    let known = MIGRATIONS.len() as i64;
    match (application, found) {
        (0, 0) if tables == 0 => Ok(()),
        (APPLICATION_ID, _) if found > known => {
            Err(StoreError::Newer { path: path.to_owned(), found, known })
        }
        (APPLICATION_ID, _) => Ok(()),
        _ => Err(not_ours("it is a database of another program")),
    }
}

/// Refuses a file that has lost pages: acknowledging into it would promise what it cannot keep. A file beyond
/// [`CHECKED_BYTES_MAX`] is only measured, so that a start stays short.
fn check_intact(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let read = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let promised = read("PRAGMA page_count")? * read("PRAGMA page_size")?;
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    // While there is a write-ahead log, pages may be there that the file does not have yet.
    let alone = std::fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len()) == 0;
    if alone && i64::try_from(bytes).is_ok_and(|bytes| bytes < promised) {
        return Err(StoreError::damaged(format!("the file has {bytes} of {promised} bytes")));
    }
    if bytes > CHECKED_BYTES_MAX {
        return Ok(());
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::damaged(found)) }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?;
    for (version, script) in (1i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        tracing::info!(version, "the store has a new schema");
    }
    Ok(())
}
