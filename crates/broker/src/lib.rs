//! The embedded MQTT broker: lets the whole system run on one machine without installing anything.
//!
//! ```text
//!  Broker::start ──► thread "broker" ──► one listener on loopback, no password
//!                    thread "router-0" ──► bounded message logs in memory
//! ```
//!
//! What holds:
//! - It listens on loopback only, because it knows no access rights. Anything wider is the business of an external broker.
//! - It keeps nothing on disk, and in memory at most [`LOG_BYTES_MAX`] per topic. A subscriber that falls behind further
//!   loses messages, which the delivery contract between gateway and ingestor expects and repairs.
//! - When [`Broker::start`] returns, clients can connect. When the [`Broker`] is dropped, every connection is cut.
//! - It names no topics and reads no payloads.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::task::Poll;
use std::thread::{self, JoinHandle};

use rumqttd::protocol::v4::V4;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use tokio::runtime;
use tokio::sync::oneshot;

/// Largest payload that passes: 256 KiB, and room for its topic.
pub const PACKET_BYTES_MAX: usize = 256 * 1024 + 64 * 1024;
/// Clients connected at the same time.
pub const CONNECTIONS_MAX: usize = 10_000;
/// What is kept in memory per topic for subscribers that are behind.
pub const LOG_BYTES_MAX: usize = SEGMENT_BYTES_MAX * SEGMENTS_MAX;

const SEGMENT_BYTES_MAX: usize = 1024 * 1024;
const SEGMENTS_MAX: usize = 8;

/// How to start the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Address on loopback; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// Why the broker could not be started. Messages complete "failed to start the embedded broker: ".
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is reachable from other machines.
    #[error(
        "{0} is not a loopback address: the embedded broker knows no access rights; listen on 127.0.0.1, or use an \
         external broker (broker.embedded = false)"
    )]
    NotLoopback(SocketAddr),
    /// Somebody else listens there.
    #[error("{0}: address in use: another broker? set broker.embedded = false or another port")]
    AddressInUse(SocketAddr),
    /// The address cannot be used for another reason.
    #[error("{0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The operating system gave no thread or the library refused.
    #[error("{0}")]
    Thread(String),
}

/// The running broker. Dropping it cuts all connections and frees the port.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts the broker on its own thread. Returns when it accepts connections.
    pub fn start(settings: BrokerSettings) -> Result<Self, BrokerError> {
        let address = free_address(settings.listen)?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || serve(address, stopped, &ready))
            .map_err(|e| BrokerError::Thread(format!("no thread: {e}")))?;
        match is_ready.recv() {
            Ok(Ok(())) => Ok(Self { address, stop: Some(stop), thread: Some(thread) }),
            Ok(Err(reason)) => Err(BrokerError::Thread(reason)),
            Err(_) => Err(BrokerError::Thread("its thread ended".to_owned())),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// False once its thread has ended by itself, which is a fault: start another one.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been logged by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// Checks the address with a listener of our own: the library would only log why it failed.
fn free_address(listen: SocketAddr) -> Result<SocketAddr, BrokerError> {
    if !listen.ip().is_loopback() {
        return Err(BrokerError::NotLoopback(listen));
    }
    let probe = TcpListener::bind(listen).and_then(|listener| listener.local_addr());
    probe.map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => BrokerError::AddressInUse(listen),
        _ => BrokerError::Listen(listen, e),
    })
}

/// Runs until `stopped` resolves. The runtime goes with this function, and with it every connection.
fn serve(address: SocketAddr, stopped: oneshot::Receiver<()>, ready: &mpsc::SyncSender<Result<(), String>>) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let _ = ready.send(Err(format!("no runtime: {e}")));
            return;
        }
    };
    runtime.block_on(async move {
        let router = Router::new(0, router_config()).spawn();
        let mut server = Server::new(server_settings(address), router, V4);
        let mut serving = std::pin::pin!(server.start(LinkType::Remote));
        // Listening takes no waiting, so the first poll either fails or ends at waiting for the first connection.
        let first = poll_fn(|context| Poll::Ready(serving.as_mut().poll(context))).await;
        if let Poll::Ready(ended) = first {
            let _ = ready.send(Err(format!("{address}: {ended:?}")));
            return;
        }
        let _ = ready.send(Ok(()));
        tokio::select! {
            ended = serving => tracing::error!(%address, ?ended, "the embedded broker stopped by itself"),
            _ = stopped => {}
        }
    });
}

fn router_config() -> RouterConfig {
    RouterConfig {
        max_connections: CONNECTIONS_MAX,
        max_outgoing_packet_count: 200,
        max_segment_size: SEGMENT_BYTES_MAX,
        max_segment_count: SEGMENTS_MAX,
        ..RouterConfig::default()
    }
}

fn server_settings(listen: SocketAddr) -> ServerSettings {
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: PACKET_BYTES_MAX,
        max_inflight_count: 200,
        auth: None::<HashMap<String, String>>,
        external_auth: None,
        dynamic_filters: true,
    };
    ServerSettings { name: "broker".to_owned(), listen, tls: None, next_connection_delay_ms: 0, connections }
}
