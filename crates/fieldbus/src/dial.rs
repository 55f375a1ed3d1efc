//! Dial-in: DTUs connect to us, say who they are, and are then a serial line.
//!
//! One listener serves any number of them. What a DTU sends first (its registration packet) decides which bus it is; junk
//! in front of it is skipped. A second connection with the same registration takes the place of the first: the DTU has
//! lost the first one and does not know how to say so.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How long a connection may take to say who it is.
const REGISTRATION_MAX: Duration = Duration::from_secs(30);
/// A connection that has not said who it is within so many bytes is no DTU of ours.
const REGISTRATION_BYTES_MAX: usize = 1_024;
/// Connections that have not said yet who they are.
const STRANGERS_MAX: usize = 64;

/// A DTU that dials in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialSettings {
    /// Address and port to listen on, such as `0.0.0.0:8899`; shared by all buses that name the same.
    pub listen: String,
    /// The registration packet: what the DTU sends when it has connected. No two on one listener may contain each other.
    pub registration: Vec<u8>,
    /// What the DTU sends to keep its connection alive; empty: nothing.
    pub heartbeat: Vec<u8>,
}

/// Where the connection of one DTU waits for its bus.
#[derive(Debug)]
pub struct Seat {
    settings: DialSettings,
    connections: Mutex<Connections>,
    _hall: Arc<Hall>,
}

#[derive(Debug, Default)]
struct Connections {
    waiting: Option<TcpStream>,
    /// Another handle of the connection that the bus uses.
    used: Option<TcpStream>,
}

impl Seat {
    /// The connection that has come since the last call.
    pub(crate) fn take(&self) -> io::Result<TcpStream> {
        let mut connections = lock(&self.connections);
        let Some(stream) = connections.waiting.take() else {
            let reason = format!("the DTU has not dialled in to {} yet", self.settings.listen);
            return Err(io::Error::new(ErrorKind::NotConnected, reason));
        };
        connections.used = Some(stream.try_clone()?);
        Ok(stream)
    }

    fn give(&self, stream: TcpStream) {
        let mut connections = lock(&self.connections);
        for old in [connections.waiting.take(), connections.used.take()].into_iter().flatten() {
            // It may be gone already.
            let _ = old.shutdown(Shutdown::Both);
        }
        connections.waiting = Some(stream);
    }
}

/// A listener and the DTUs that it knows.
#[derive(Debug)]
struct Hall {
    address: SocketAddr,
    guests: Arc<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    seats: Mutex<BTreeMap<Vec<u8>, Weak<Seat>>>,
    strangers: AtomicUsize,
    closed: AtomicBool,
}

/// Every listener of this process: buses come one by one, but a port can be bound only once.
static HALLS: Mutex<BTreeMap<String, Weak<Hall>>> = Mutex::new(BTreeMap::new());

/// A seat for this DTU, in the hall of its listener, which is opened if nobody has yet.
pub(crate) fn seat(settings: &DialSettings) -> io::Result<Arc<Seat>> {
    let mut halls = lock(&HALLS);
    halls.retain(|_, hall| hall.strong_count() > 0);
    let hall = match halls.get(&settings.listen).and_then(Weak::upgrade) {
        Some(hall) => hall,
        None => {
            let hall = Arc::new(Hall::open(&settings.listen)?);
            halls.insert(settings.listen.clone(), Arc::downgrade(&hall));
            hall
        }
    };
    let seat =
        Arc::new(Seat { settings: settings.clone(), connections: Mutex::default(), _hall: hall.clone() });
    lock(&hall.guests.seats).insert(settings.registration.clone(), Arc::downgrade(&seat));
    Ok(seat)
}

impl Hall {
    fn open(listen: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let guests = Arc::new(Guests::default());
        let at_the_door = guests.clone();
        let name = format!("dial-in-{}", address.port());
        thread::Builder::new().name(name).spawn(move || at_the_door.receive(&listener))?;
        tracing::info!(%address, "waiting for DTUs");
        Ok(Self { address, guests })
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.guests.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections; it looks at the flag then.
        let mut own = self.address;
        if own.ip().is_unspecified() {
            own.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let _ = TcpStream::connect_timeout(&own, Duration::from_secs(1));
    }
}

impl Guests {
    fn receive(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else {
                // Out of descriptors, most likely: it will not be better at once.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            if self.strangers.fetch_add(1, Ordering::Relaxed) >= STRANGERS_MAX {
                self.strangers.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let guests = self.clone();
            let spawned = thread::Builder::new().name("dial-in-guest".to_owned()).spawn(move || {
                guests.introduce(stream);
                guests.strangers.fetch_sub(1, Ordering::Relaxed);
            });
            if spawned.is_err() {
                self.strangers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Listens until the connection has said who it is, and leads it to its seat.
    fn introduce(&self, mut stream: TcpStream) {
        let peer = stream.peer_addr().map_or_else(|_| "somebody".to_owned(), |address| address.to_string());
        let until = Instant::now() + REGISTRATION_MAX;
        let mut said = Vec::new();
        let mut bytes = [0; 256];
        while said.len() < REGISTRATION_BYTES_MAX {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
                break;
            }
            match stream.read(&mut bytes) {
                Ok(count) if count > 0 => said.extend_from_slice(&bytes[..count]),
                _ => break,
            }
            if let Some(seat) = self.find(&said) {
                let identity = seat.settings.registration.escape_ascii().to_string();
                tracing::info!(%peer, identity, "DTU dialled in");
                return seat.give(stream);
            }
        }
        if !said.is_empty() {
            let said = said[..said.len().min(64)].escape_ascii().to_string();
            tracing::warn!(%peer, said, "a DTU dialled in that no bus has as identity; connection closed");
        }
    }

    fn find(&self, said: &[u8]) -> Option<Arc<Seat>> {
        let seats = lock(&self.seats);
        let known = |registration: &[u8]| said.windows(registration.len()).any(|part| part == registration);
        seats.iter().find(|(registration, _)| known(registration)).and_then(|(_, seat)| seat.upgrade())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
