//! Whether a server is fit, and its schema brought up to date: by one process at a time.

use crate::access::Access;
use crate::connection::{Connection, Sql};
use crate::fault::DatabaseError;

/// One script per schema version, from 1 on.
const MIGRATIONS: &[&str] = &[include_str!("schema/v1.sql"), include_str!("schema/v2.sql")];
/// "SITN": whoever migrates holds this lock until its transaction is over.
const MIGRATING: i64 = 0x5349_544E;
/// The oldest server on which this is expected to run; what is tested is 15.
const SERVER_MIN: i32 = 130_000;

/// Judges the server and migrates.
pub(crate) fn prepare(access: &Access, connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.transact(access, |sql| judge(access, sql))?;
    connection.transact(access, |sql| migrate(access, sql))
}

fn judge(access: &Access, sql: &mut Sql<'_>) -> Result<(), DatabaseError> {
    let mut setting = |name: &str| -> Result<String, DatabaseError> {
        let found = sql.first("SELECT current_setting($1)", &[&name])?;
        Ok(found.and_then(|line| line.try_get(0).ok()).unwrap_or_default())
    };
    let unfit = |why: &str| DatabaseError::Unfit { place: access.place.clone(), why: why.to_owned() };
    let version: i32 = setting("server_version_num")?.parse().unwrap_or_default();
    if version < SERVER_MIN {
        return Err(unfit("the server is older than PostgreSQL 13; install a newer one"));
    }
    if setting("server_encoding")? != "UTF8" {
        return Err(unfit("its encoding is not UTF8; create the database with ENCODING 'UTF8'"));
    }
    if setting("fsync")? != "on" {
        return Err(unfit(
            "fsync is off, so that a power cut loses what was acknowledged; set fsync = on in postgresql.conf and restart the server",
        ));
    }
    if setting("full_page_writes")? != "on" {
        return Err(unfit(
            "full_page_writes is off, so that a power cut may damage it; set it to on in postgresql.conf",
        ));
    }
    Ok(())
}

/// Refuses a database of another schema, and one without any.
pub(crate) fn expect(access: &Access, connection: &mut Connection) -> Result<(), DatabaseError> {
    let found = connection.transact(access, version)?;
    match check(access, found)? {
        known if known == found => Ok(()),
        _ => Err(DatabaseError::Unfit {
            place: access.place.clone(),
            why: "its schema is older than this program's; start the ingestor once, it brings it up to date"
                .to_owned(),
        }),
    }
}

/// The version of the schema, 0 if there is none.
fn version(sql: &mut Sql<'_>) -> Result<i64, DatabaseError> {
    let meta = sql.first("SELECT to_regclass('sitian.meta') IS NOT NULL", &[])?;
    if !meta.is_some_and(|line| line.get(0)) {
        return Ok(0);
    }
    Ok(sql.first("SELECT value FROM meta WHERE key = 'schema'", &[])?.map_or(0, |line| line.get(0)))
}

/// The newest schema of this program; refuses a newer one.
fn check(access: &Access, found: i64) -> Result<i64, DatabaseError> {
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(DatabaseError::Newer { place: access.place.clone(), found, known });
    }
    Ok(known)
}

fn migrate(access: &Access, sql: &mut Sql<'_>) -> Result<(), DatabaseError> {
    sql.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATING])?;
    let there = sql.first("SELECT 1 FROM pg_namespace WHERE nspname = 'sitian'", &[])?;
    if there.is_none() {
        sql.script("CREATE SCHEMA sitian")?;
    }
    let found = version(sql)?;
    check(access, found)?;
    for (version, script) in (1i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        sql.script(script)?;
        sql.execute(
            "INSERT INTO meta VALUES ('schema', $1) ON CONFLICT (key) DO UPDATE SET value = $1",
            &[&version],
        )?;
        tracing::info!(version, "the registry's database has a new schema");
    }
    Ok(())
}
