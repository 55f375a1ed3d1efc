//! Bytes to and from devices, without requests: for those that do not speak Modbus. Either one port that is opened again
//! whenever it is lost, or a listening socket that many devices dial in to.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::port::{Opener, Port, PortSettings};

/// Pieces of bytes that wait to be heard; then the port waits.
const EVENTS_MAX: usize = 64;
/// Answers that wait to be written to one link; more are dropped: the other side asks again.
const WRITES_MAX: usize = 16;
/// Connections at a time; more are closed at once.
const LINKS_MAX: u64 = 64;
const PIECE_BYTES: usize = 4_096;
/// How long the port's thread listens before it looks for something to write.
const LISTEN: Duration = Duration::from_millis(20);
/// A port that cannot be opened is tried again after this long.
const REOPEN: Duration = Duration::from_secs(1);
/// A silent connection is asked for a sign of life after this long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Where devices are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamSettings {
    /// At one port: link 0.
    Port(PortSettings),
    /// Wherever they are, they connect to this address and port.
    Listen(String),
}

impl StreamSettings {
    /// What to call it in a message.
    pub fn describe(&self) -> String {
        match self {
            Self::Port(port) => port.describe(),
            Self::Listen(address) => format!("whoever connects to {address}"),
        }
    }
}

/// What happens to links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// A link is there.
    Up(u64),
    /// Bytes arrived.
    Bytes(u64, Vec<u8>),
    /// A link is gone, or cannot be opened, for this reason. Link 0 of a listening socket: nobody can dial in.
    Down(u64, String),
}

enum Hands {
    Port(blocking::SyncSender<Vec<u8>>),
    Listen(BTreeMap<u64, mpsc::Sender<Vec<u8>>>, mpsc::Receiver<(u64, mpsc::Sender<Vec<u8>>)>),
}

/// A stream. When it is dropped, its port and its connections are closed.
pub struct Stream {
    events: mpsc::Receiver<StreamEvent>,
    hands: Hands,
    /// Drops the listening task with the stream.
    _tasks: tokio::task::JoinSet<()>,
}

impl Stream {
    /// Begins to open the port, or to listen, on the runtime that this is called on. Fails only if the operating system
    /// gives no thread; anything else is a [`StreamEvent::Down`], and tried again.
    pub fn open(name: &str, settings: StreamSettings) -> io::Result<Self> {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let mut tasks = tokio::task::JoinSet::new();
        let hands = match settings {
            StreamSettings::Port(port) => {
                let (write, writes) = blocking::sync_channel(WRITES_MAX);
                let opener = Opener::new(port);
                thread::Builder::new()
                    .name(format!("bus-{name}"))
                    .spawn(move || serve(opener, &tell, &writes))?;
                Hands::Port(write)
            }
            StreamSettings::Listen(address) => {
                let (introduce, introduced) = mpsc::channel(EVENTS_MAX);
                tasks.spawn(listen(address, tell, introduce));
                Hands::Listen(BTreeMap::new(), introduced)
            }
        };
        Ok(Self { events, hands, _tasks: tasks })
    }

    /// The next event. Returns never if there is none; may be dropped and called again.
    pub async fn next(&mut self) -> StreamEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The thread ends with the stream only.
            None => std::future::pending().await,
        }
    }

    /// Puts bytes on their way to a link; returns at once. What cannot be written is dropped.
    pub fn write(&mut self, link: u64, bytes: Vec<u8>) {
        match &mut self.hands {
            Hands::Port(writes) => drop(writes.try_send(bytes)),
            Hands::Listen(links, introduced) => {
                while let Ok((link, writes)) = introduced.try_recv() {
                    links.insert(link, writes);
                }
                links.retain(|_, writes| !writes.is_closed());
                if let Some(writes) = links.get(&link) {
                    let _ = writes.try_send(bytes);
                }
            }
        }
    }
}

/// The port's thread: opens it, reads, writes what there is to write, and begins anew when it is lost.
fn serve(mut opener: Opener, tell: &mpsc::Sender<StreamEvent>, writes: &blocking::Receiver<Vec<u8>>) {
    while !tell.is_closed() {
        let fault = match opener.open() {
            Ok(mut port) => {
                // What was to be written before belongs to a conversation that is over.
                while writes.try_recv().is_ok() {}
                if tell.blocking_send(StreamEvent::Up(0)).is_err() {
                    return;
                }
                match exchange(port.as_mut(), tell, writes) {
                    Ok(()) => return,
                    Err(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        let reason = format!("{}: {fault}", opener.settings().describe());
        if tell.blocking_send(StreamEvent::Down(0, reason)).is_err() {
            return;
        }
        thread::sleep(REOPEN);
    }
}

/// Reads and writes until the stream is dropped.
fn exchange(
    port: &mut dyn Port,
    tell: &mpsc::Sender<StreamEvent>,
    writes: &blocking::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    while !tell.is_closed() {
        while let Ok(bytes) = writes.try_recv() {
            port.write(&bytes)?;
        }
        let count = port.read(&mut piece, LISTEN)?;
        if count > 0 && tell.blocking_send(StreamEvent::Bytes(0, piece[..count].to_vec())).is_err() {
            break;
        }
    }
    Ok(())
}

async fn listen(
    address: String,
    tell: mpsc::Sender<StreamEvent>,
    introduce: mpsc::Sender<(u64, mpsc::Sender<Vec<u8>>)>,
) {
    let listener = loop {
        match TcpListener::bind(&address).await {
            Ok(listener) => break listener,
            Err(fault) => {
                // No connection has this number.
                let reason = format!("listen on {address}: {fault}");
                if tell.send(StreamEvent::Down(0, reason)).await.is_err() {
                    return;
                }
                tokio::time::sleep(REOPEN).await;
            }
        }
    };
    tracing::info!(%address, "waiting for devices to dial in");
    let mut links = tokio::task::JoinSet::new();
    for link in 1.. {
        let (stream, peer) = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => break accepted,
                    // Out of descriptors, most likely: it will not be better at once.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                Some(_) = links.join_next() => {}
            }
        };
        if links.len() as u64 >= LINKS_MAX {
            tracing::warn!(%peer, "too many connections: closed");
            continue;
        }
        let (write, writes) = mpsc::channel(WRITES_MAX);
        if introduce.send((link, write)).await.is_err() {
            return;
        }
        tracing::info!(%peer, link, "dialled in");
        links.spawn(attend(link, stream, writes, tell.clone()));
    }
}

/// One connection from its beginning to its end.
async fn attend(
    link: u64,
    mut stream: TcpStream,
    mut writes: mpsc::Receiver<Vec<u8>>,
    tell: mpsc::Sender<StreamEvent>,
) {
    // Without these a connection that is half-open would stay for ever; that is a pity, and no reason to refuse it.
    let _ = sockopt::set_socket_keepalive(&stream, true);
    let _ = sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE);
    let _ = stream.set_nodelay(true);
    if tell.send(StreamEvent::Up(link)).await.is_err() {
        return;
    }
    let mut piece = [0; PIECE_BYTES];
    let reason = loop {
        tokio::select! {
            read = stream.read(&mut piece) => match read {
                Ok(0) => break "closed from the other side".to_owned(),
                Ok(count) => {
                    if tell.send(StreamEvent::Bytes(link, piece[..count].to_vec())).await.is_err() {
                        return;
                    }
                }
                Err(fault) => break fault.to_string(),
            },
            Some(bytes) = writes.recv() => {
                if let Err(fault) = stream.write_all(&bytes).await {
                    break fault.to_string();
                }
            }
        }
    };
    // Nobody listens any more if this fails.
    let _ = tell.send(StreamEvent::Down(link, reason)).await;
}
