//! The thread that moves bytes, beside those that wait for answers: nobody waits for one longer than a limit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::access::{Access, Server};
use crate::fault::DatabaseError;

/// How long a host may take to let us in: connection, TLS, login, and its word that it takes writes.
const LOGIN: Duration = Duration::from_secs(10);

/// Moves the bytes of all connections of one database. Its thread ends once this and they are gone.
pub(crate) struct Driver {
    handle: Handle,
    alive: mpsc::Sender<()>,
}

impl Driver {
    pub(crate) fn start(place: &str) -> Result<Arc<Self>, DatabaseError> {
        let failed =
            |error: std::io::Error| DatabaseError::silent(place, format!("no thread for it: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (alive, mut gone) = mpsc::channel::<()>(1);
        std::thread::Builder::new()
            .name("database".into())
            .spawn(move || runtime.block_on(gone.recv()))
            .map_err(failed)?;
        Ok(Arc::new(Self { handle, alive }))
    }

    /// The first host that lets us in. Each has a time of its own, so that one that is frozen does not hide the next. Where
    /// none does, what is told is what a person can mend.
    pub(crate) fn connect(&self, access: &Access) -> Result<(Client, AbortHandle), DatabaseError> {
        let mut told: Option<DatabaseError> = None;
        for server in &access.servers {
            match self.connect_one(server) {
                Ok(connected) => return Ok(connected),
                Err(error) if told.as_ref().is_none_or(DatabaseError::is_away) => told = Some(error),
                Err(_) => {}
            }
        }
        Err(told.unwrap_or_else(|| DatabaseError::silent(&access.place, "it has no host".to_owned())))
    }

    fn connect_one(&self, server: &Server) -> Result<(Client, AbortHandle), DatabaseError> {
        let connector = server.trust.as_ref().map(crate::tls::Trust::connector).transpose();
        let connector = connector.map_err(|why| DatabaseError::silent(&server.place, why))?;
        let alive = self.alive.clone();
        let connected = async {
            Ok(match connector {
                None => {
                    let (client, connection) = server.config.connect(NoTls).await?;
                    (client, tokio::spawn(drive(connection, alive)))
                }
                Some(connector) => {
                    let (client, connection) = server.config.connect(connector).await?;
                    (client, tokio::spawn(drive(connection, alive)))
                }
            })
        };
        let (client, task) = self.wait(&server.place, LOGIN, connected)?;
        Ok((client, task.abort_handle()))
    }

    /// Waits for an answer. One that does not come in time may still have been acted on.
    pub(crate) fn wait<T>(
        &self,
        place: &str,
        limit: Duration,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        match self.handle.block_on(async { timeout(limit, answer).await }) {
            Ok(answer) => answer.map_err(|error| DatabaseError::of(place, &error)),
            Err(_) => Err(DatabaseError::silent(place, format!("no answer for {} s", limit.as_secs()))),
        }
    }
}

/// Until the client is gone, or the server. Errors are told to whoever waits for an answer.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>, alive: mpsc::Sender<()>) {
    let _ = connection.await;
    drop(alive);
}
