//! A broker that lies: it confirms every message, and then drops some, delivers some twice, delivers them in another
//! order, and old ones again. It keeps nothing when a client goes.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::packets::{Message, Packet, kind, matches, take_bytes, take_text};

/// How it lies.
#[derive(Debug, Clone, Copy)]
pub struct Lies {
    /// Of 100 messages, so many are confirmed and dropped.
    pub dropped_percent: u32,
    /// Of 100 messages, so many are delivered twice.
    pub doubled_percent: u32,
    /// At each delivery, with this chance in 100, an old message is delivered again.
    pub replayed_percent: u32,
    /// Messages that are shuffled with each other.
    pub window: usize,
    /// How long the oldest of them waits for others to come.
    pub window_ms: u64,
}

/// How often it lied.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// Messages that it confirmed.
    pub taken: u64,
    /// Confirmed and dropped.
    pub dropped: u64,
    /// Delivered twice.
    pub doubled: u64,
    /// Delivered again, long after.
    pub replayed: u64,
    /// Delivered before an older one.
    pub overtaken: u64,
}

/// The broker, on a loopback port.
pub struct Liar {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    lies: Lies,
    honest: AtomicBool,
    over: AtomicBool,
    numbers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: Vec<Session>,
    waiting: Vec<(u64, Message)>,
    past: Vec<Message>,
    told: Told,
}

struct Session {
    number: u64,
    name: String,
    filters: Vec<String>,
    stream: TcpStream,
}

/// How many messages it remembers for later.
const PAST_MAX: usize = 20_000;

impl Liar {
    /// Starts it.
    pub fn start(lies: Lies) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared {
            lies,
            honest: AtomicBool::new(false),
            over: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            state: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        let releasing = Arc::clone(&shared);
        std::thread::spawn(move || {
            while !releasing.over.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(releasing.lies.window_ms.max(1)));
                releasing.release(0);
            }
        });
        Self { port, shared }
    }

    /// No lies from now on.
    pub fn repent(&self) {
        self.shared.honest.store(true, Ordering::Relaxed);
    }

    /// How often it lied so far.
    pub fn told(&self) -> Told {
        self.shared.state().told
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no poison")
    }

    /// One connection, to its end; then its Will.
    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(hello) = Packet::read(&mut stream) else { return };
        let Some((name, will)) = hello_of(&hello) else { return };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let Ok(writer) = stream.try_clone() else { return };
        {
            let mut state = self.state();
            // Two connections of one name: the older one goes.
            state.clients.iter().filter(|other| other.name == name).for_each(|other| {
                let _ = other.stream.shutdown(Shutdown::Both);
            });
            state.clients.push(Session { number, name, filters: Vec::new(), stream: writer });
        }
        let politely = self.answer(number, &mut stream);
        self.state().clients.retain(|client| client.number != number);
        if let Some(will) = will.filter(|_| !politely) {
            self.take(will);
        }
    }

    /// Answers until the connection ends; true if that was a goodbye.
    fn answer(&self, number: u64, stream: &mut TcpStream) -> bool {
        let mut answer = Packet { first: kind::CONNACK << 4, body: vec![0, 0] };
        loop {
            {
                // Deliveries write to the same socket under this lock.
                let _state = self.state();
                if answer.write(stream).is_err() {
                    return false;
                }
            }
            let Ok(packet) = Packet::read(stream) else { return false };
            answer = match packet.kind() {
                kind::PUBLISH => {
                    let Some((message, id)) = packet.message() else { return false };
                    self.take(message);
                    match id {
                        Some(id) => Packet { first: kind::PUBACK << 4, body: id.to_vec() },
                        None => Packet { first: kind::PINGRESP << 4, body: Vec::new() },
                    }
                }
                kind::SUBSCRIBE => self.subscribe(number, &packet),
                kind::DISCONNECT => return true,
                // PUBACKs of a client do not occur: everything is delivered at QoS 0.
                _ => Packet { first: kind::PINGRESP << 4, body: Vec::new() },
            };
        }
    }

    fn subscribe(&self, number: u64, packet: &Packet) -> Packet {
        let (id, mut rest) = packet.body.split_at(2.min(packet.body.len()));
        let mut filters = Vec::new();
        while let Some((filter, after)) = take_text(rest) {
            filters.push(filter);
            rest = after.get(1..).unwrap_or_default();
        }
        let body = [id, &vec![0; filters.len()]].concat();
        let mut state = self.state();
        if let Some(client) = state.clients.iter_mut().find(|client| client.number == number) {
            client.filters.extend(filters);
        }
        Packet { first: kind::SUBACK << 4, body }
    }

    /// A message was confirmed, or is about to be.
    fn take(&self, message: Message) {
        let honest = self.honest.load(Ordering::Relaxed);
        let mut state = self.state();
        state.told.taken += 1;
        let number = state.told.taken;
        if state.past.len() < PAST_MAX {
            state.past.push(message.clone());
        }
        if !honest && fastrand::u32(0..100) < self.lies.dropped_percent {
            state.told.dropped += 1;
            return;
        }
        if !honest && fastrand::u32(0..100) < self.lies.doubled_percent {
            state.told.doubled += 1;
            state.waiting.push((number, message.clone()));
        }
        state.waiting.push((number, message));
        drop(state);
        self.release(if honest { 0 } else { self.lies.window });
    }

    /// Delivers waiting messages in any order, until so many are left.
    fn release(&self, left: usize) {
        let honest = self.honest.load(Ordering::Relaxed);
        let mut state = self.state();
        while state.waiting.len() > left {
            let at = if honest { 0 } else { fastrand::usize(0..state.waiting.len()) };
            let (number, message) = state.waiting.remove(at);
            state.told.overtaken += u64::from(state.waiting.iter().any(|(other, _)| *other < number));
            state.deliver(&message);
            if !honest && fastrand::u32(0..100) < self.lies.replayed_percent && !state.past.is_empty() {
                let old = state.past[fastrand::usize(0..state.past.len())].clone();
                state.told.replayed += 1;
                state.deliver(&old);
            }
        }
    }
}

impl State {
    fn deliver(&mut self, message: &Message) {
        let packet = Packet::publish(message, None);
        for client in &mut self.clients {
            if client.filters.iter().any(|filter| matches(filter, &message.topic)) {
                // A client that is gone is missed by its own thread.
                let _ = packet.write(&mut client.stream);
            }
        }
    }
}

/// Client id and Will of a CONNECT.
fn hello_of(packet: &Packet) -> Option<(String, Option<Message>)> {
    let (_, rest) = take_text(&packet.body)?;
    let (head, rest) = rest.split_at_checked(4)?;
    let (name, rest) = take_text(rest)?;
    if packet.kind() != kind::CONNECT || head[1] & 4 == 0 {
        return (packet.kind() == kind::CONNECT).then_some((name, None));
    }
    let (topic, rest) = take_text(rest)?;
    let (payload, _) = take_bytes(rest)?;
    Some((name, Some(Message { topic, payload: payload.to_vec() })))
}
