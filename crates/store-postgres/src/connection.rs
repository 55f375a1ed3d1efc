//! One connection, and one transaction on it. Every question ends within a time: the server gives up first and says so; where
//! it says nothing, the connection is given up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement, Transaction};

use crate::access::Access;
use crate::driver::Driver;
use crate::fault::DatabaseError;

/// How much longer than the server we wait. A COMMIT the server never gives up by itself: it may be waiting for its disk or
/// its standbys.
const MORE: Duration = Duration::from_secs(5);

/// How long the server may work on one question, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(pub(crate) u64);

impl Patience {
    /// What every connection is told first. A server that was told to lie about commits is told not to; one that waits for its
    /// standbys goes on waiting. A process that sleeps in the middle of a transaction loses it, for others wait behind it.
    fn settings(self) -> String {
        format!(
            "SET search_path = sitian; SET synchronous_commit = on; SET statement_timeout = '{}s'; \
             SET lock_timeout = '8s'; SET idle_in_transaction_session_timeout = '5s'; \
             SET extra_float_digits = 3; SET client_encoding = 'UTF8'",
            self.0
        )
    }

    fn limit(self) -> Duration {
        Duration::from_secs(self.0) + MORE
    }
}

/// A connection with what was prepared on it.
pub(crate) struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    driver: Arc<Driver>,
    task: AbortHandle,
    patience: Patience,
}

impl Connection {
    pub(crate) fn make(
        access: &Access,
        driver: &Arc<Driver>,
        patience: Patience,
    ) -> Result<Self, DatabaseError> {
        let (client, task) = driver.connect(access)?;
        driver.wait(&access.place, patience.limit(), client.batch_execute(&patience.settings()))?;
        Ok(Self { client, statements: HashMap::new(), driver: Arc::clone(driver), task, patience })
    }

    /// True if there is no use in asking.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Lets go of it without a word: whoever does not answer does not listen either.
    pub(crate) fn abandon(self) {
        self.task.abort();
    }

    /// Runs one transaction; its changes are durable when this returns, or were given up. Where there is no answer to its
    /// commit, nobody knows.
    pub(crate) fn transact<T>(
        &mut self,
        access: &Access,
        work: impl FnOnce(&mut Sql<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let (driver, limit) = (&*self.driver, self.patience.limit());
        let transaction = driver.wait(&access.place, limit, self.client.transaction())?;
        let mut sql =
            Sql { transaction, statements: &mut self.statements, driver, place: &access.place, limit };
        // Without a commit it is rolled back, for which nobody waits.
        let done = work(&mut sql)?;
        driver.wait(&access.place, limit, sql.transaction.commit())?;
        Ok(done)
    }
}

/// One transaction under way.
pub(crate) struct Sql<'a> {
    transaction: Transaction<'a>,
    statements: &'a mut HashMap<&'static str, Statement>,
    driver: &'a Driver,
    place: &'a str,
    limit: Duration,
}

/// Values for a statement.
pub(crate) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Sql<'_> {
    fn prepared(&mut self, sql: &'static str) -> Result<Statement, DatabaseError> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let made = self.driver.wait(self.place, self.limit, self.transaction.prepare(sql))?;
        self.statements.insert(sql, made.clone());
        Ok(made)
    }

    /// Host, port and name of the database.
    pub(crate) fn place(&self) -> &str {
        self.place
    }

    /// Lines of an answer.
    pub(crate) fn query(&mut self, sql: &'static str, values: Values<'_>) -> Result<Vec<Row>, DatabaseError> {
        let statement = self.prepared(sql)?;
        self.driver.wait(self.place, self.limit, self.transaction.query(&statement, values))
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
        self.driver.wait(self.place, self.limit, self.transaction.execute(&statement, values))
    }

    /// A script.
    pub(crate) fn script(&mut self, sql: &str) -> Result<(), DatabaseError> {
        self.driver.wait(self.place, self.limit, self.transaction.batch_execute(sql))
    }
}
