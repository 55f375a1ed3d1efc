//! A few connections, made when they are needed, lent out one at a time. A connection that failed is not used again.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, NoTls, Row, Statement, Transaction};

use crate::access::Access;
use crate::fault::DatabaseError;

/// How long it is waited for a connection that others use.
const BUSY: Duration = Duration::from_secs(10);

/// What every connection is told first. A server that was told to lie about commits is told not to; one that waits for its
/// standbys goes on waiting. A process that sleeps in the middle of a transaction loses it, for others wait behind it.
const SETTINGS: &str = "SET search_path = sitian; SET synchronous_commit = on; SET statement_timeout = '20s'; \
                        SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '5s'; \
                        SET extra_float_digits = 3; SET client_encoding = 'UTF8'";

/// A connection with what was prepared on it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Connection {
    pub(crate) fn make(access: &Access) -> Result<Self, DatabaseError> {
        let fault = |error| access.fault(&error);
        let mut client = access.config.connect(NoTls).map_err(fault)?;
        client.batch_execute(SETTINGS).map_err(fault)?;
        Ok(Self { client, statements: HashMap::new() })
    }
}

/// One transaction under way.
pub(crate) struct Sql<'a> {
    transaction: Transaction<'a>,
    statements: &'a mut HashMap<&'static str, Statement>,
    access: &'a Access,
}

/// Values for a statement.
pub(crate) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Sql<'_> {
    fn prepared(&mut self, sql: &'static str) -> Result<Statement, DatabaseError> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let made = self.transaction.prepare(sql).map_err(|error| self.access.fault(&error))?;
        self.statements.insert(sql, made.clone());
        Ok(made)
    }

    /// Lines of an answer.
    pub(crate) fn query(&mut self, sql: &'static str, values: Values<'_>) -> Result<Vec<Row>, DatabaseError> {
        let statement = self.prepared(sql)?;
        self.transaction.query(&statement, values).map_err(|error| self.access.fault(&error))
    }

    /// The first line of an answer.
    pub(crate) fn first(
        &mut self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<Option<Row>, DatabaseError> {
        Ok(self.query(sql, values)?.into_iter().next())
    }

    /// How many lines were changed.
    pub(crate) fn execute(&mut self, sql: &'static str, values: Values<'_>) -> Result<u64, DatabaseError> {
        let statement = self.prepared(sql)?;
        self.transaction.execute(&statement, values).map_err(|error| self.access.fault(&error))
    }

    /// A script.
    pub(crate) fn script(&mut self, sql: &str) -> Result<(), DatabaseError> {
        self.transaction.batch_execute(sql).map_err(|error| self.access.fault(&error))
    }
}

/// Connections for one purpose.
pub(crate) struct Pool {
    access: Access,
    most: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    lent: usize,
}

impl Pool {
    /// At most so many.
    pub(crate) fn new(access: Access, most: usize) -> Self {
        Self { access, most, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs one transaction; its changes are durable when this returns, or were given up. Where the connection breaks
    /// while they are committed, nobody knows.
    pub(crate) fn run<T>(
        &self,
        work: impl FnOnce(&mut Sql<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut connection = self.take()?;
        let outcome = transact(&self.access, &mut connection, work);
        let sound = match &outcome {
            Err(DatabaseError::Away { .. }) => false,
            _ => !connection.client.is_closed(),
        };
        let mut state = self.state();
        state.lent -= 1;
        if sound {
            state.idle.push(connection);
            drop(state);
        } else {
            // The others were made before the server went away, most likely.
            let stale = std::mem::take(&mut state.idle);
            drop(state);
            drop((connection, stale));
        }
        self.returned.notify_one();
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Connection, DatabaseError> {
        let state = self.state();
        let all_lent = |state: &mut State| state.lent >= self.most;
        let waited = self.returned.wait_timeout_while(state, BUSY, all_lent);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let why = format!("all {} connections are in use", self.most);
            return Err(DatabaseError::Away { place: self.access.place.clone(), why });
        }
        state.lent += 1;
        let idle = state.idle.pop();
        drop(state);
        match idle {
            Some(connection) if !connection.client.is_closed() => Ok(connection),
            _ => Connection::make(&self.access).inspect_err(|_| {
                self.state().lent -= 1;
                self.returned.notify_one();
            }),
        }
    }
}

/// Closing a connection waits, and the last owner may be where waiting is not allowed.
impl Drop for Pool {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut self.state().idle);
        let _ =
            std::thread::Builder::new().name("goodbye".into()).spawn(move || drop(idle)).map(|t| t.join());
    }
}

pub(crate) fn transact<T>(
    access: &Access,
    connection: &mut Connection,
    work: impl FnOnce(&mut Sql<'_>) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    let Connection { client, statements } = connection;
    let transaction = client.transaction().map_err(|error| access.fault(&error))?;
    let mut sql = Sql { transaction, statements, access };
    let done = work(&mut sql)?;
    sql.transaction.commit().map_err(|error| access.fault(&error))?;
    Ok(done)
}
