//! A few connections, made when they are needed, lent out one at a time. A connection that failed is not used again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::access::Access;
use crate::connection::{Connection, Patience, Sql};
use crate::driver::Driver;
use crate::fault::DatabaseError;

/// How long it is waited for a connection that others use.
const BUSY: Duration = Duration::from_secs(10);

/// Connections for one purpose.
pub(crate) struct Pool {
    access: Access,
    driver: Arc<Driver>,
    most: usize,
    patience: Patience,
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
    pub(crate) fn new(access: &Access, driver: &Arc<Driver>, most: usize, patience: Patience) -> Self {
        let (access, driver) = (access.clone(), Arc::clone(driver));
        Self { access, driver, most, patience, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs one transaction; its changes are durable when this returns, or were given up. Where the connection breaks
    /// while they are committed, or nobody answers, nobody knows.
    pub(crate) fn run<T>(
        &self,
        work: impl FnOnce(&mut Sql<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut connection = self.take()?;
        let outcome = connection.transact(&self.access, work);
        let away = outcome.as_ref().is_err_and(DatabaseError::is_away);
        let mut state = self.state();
        state.lent -= 1;
        if away || connection.is_closed() {
            // The others were made before the server went away, most likely.
            let stale = std::mem::take(&mut state.idle);
            drop(state);
            connection.abandon();
            drop(stale);
        } else {
            state.idle.push(connection);
            drop(state);
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
            return Err(DatabaseError::silent(&self.access.place, why));
        }
        state.lent += 1;
        let idle = state.idle.pop();
        drop(state);
        match idle {
            Some(connection) if !connection.is_closed() => Ok(connection),
            _ => Connection::make(&self.access, &self.driver, self.patience).inspect_err(|_| {
                self.state().lent -= 1;
                self.returned.notify_one();
            }),
        }
    }
}
