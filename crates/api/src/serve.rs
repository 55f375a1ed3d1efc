//! Listening, and ending: only on the loopback interface, and in bounded time.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use crate::live::Live;

/// Why the server does not run (any more).
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can be reached from outside.
    #[error(
        "listen on {0}: until access control is configured the server listens on the loopback interface only; \
         use 127.0.0.1 or [::1]"
    )]
    NotLoopback(SocketAddr),
    /// The operating system refuses.
    #[error("listen on {0}: {1}; another ingestor running? choose another http.listen")]
    Listen(SocketAddr, io::Error),
    /// The listener failed.
    #[error("serve: {0}")]
    Serve(#[source] io::Error),
}

/// Refuses addresses that can be reached from outside, before anything is opened.
pub fn check_address(address: SocketAddr) -> Result<(), ServeError> {
    if address.ip().is_loopback() { Ok(()) } else { Err(ServeError::NotLoopback(address)) }
}

/// Opens a listener on a loopback address (port 0: any free one).
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    check_address(address)?;
    TcpListener::bind(address).await.map_err(|error| ServeError::Listen(address, error))
}

/// Serves until `shutdown` is ready, then ends the streams, lets open requests finish for at most `patience`, and
/// returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    live: Live,
    patience: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    check_address(listener.local_addr().map_err(ServeError::Serve)?)?;
    let mut closing = live.watch_closing();
    let ending = live.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        ending.close();
    });
    let overdue = async {
        // Fails only if the bus is gone, and this function holds it.
        let _ = closing.wait_for(|closed| *closed).await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        ended = server.into_future() => ended.map_err(ServeError::Serve),
        () = overdue => {
            tracing::warn!("requests still open at shutdown were cut");
            Ok(())
        }
    }
}
