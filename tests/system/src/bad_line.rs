//! A bad mobile line between a gateway and its broker: slow, late, stalling. A TCP proxy in user space, because many
//! kernels come without traffic shaping.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How bad.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Bits per second, each way.
    pub bits_per_s: u64,
    /// Least and greatest delay of one packet, in milliseconds, each way.
    pub delay_ms: (u64, u64),
    /// Every so many milliseconds …
    pub stall_every_ms: u64,
    /// … nothing moves for so many.
    pub stall_ms: u64,
}

/// What a modem and its base station hold back before TCP feels it, in bytes.
const QUEUE_BYTES_MAX: usize = 16 * 1024;
/// What one packet carries.
const PACKET_BYTES: usize = 1_400;

/// The proxy, on a loopback port.
pub struct BadLine {
    /// Where it listens.
    pub port: u16,
    up_bytes: Arc<AtomicU64>,
}

impl BadLine {
    /// Leads to a broker on this loopback port.
    pub fn start(line: Line, broker: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let port = listener.local_addr().expect("a bound socket").port();
        let up_bytes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&up_bytes);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { continue };
                carry(near, far, line, Arc::clone(&count));
                carry(far_too, near_too, line, Arc::default());
            }
        });
        Self { port, up_bytes }
    }

    /// Bytes that have crossed it from gateway to broker.
    pub fn up_bytes(&self) -> u64 {
        self.up_bytes.load(Ordering::Relaxed)
    }
}

/// What is on its way: when it arrives, and what. `None` as content: the end.
type Way = (Mutex<VecDeque<(Instant, Option<Vec<u8>>)>>, Condvar);

/// Carries one direction on two threads: one puts packets on the line at its speed, one takes them off after the delay.
fn carry(mut from: TcpStream, mut to: TcpStream, line: Line, count: Arc<AtomicU64>) {
    let way: Arc<Way> = Arc::default();
    let entering = Arc::clone(&way);
    std::thread::spawn(move || {
        let (began, mut free_at, mut arrives) = (Instant::now(), Instant::now(), Instant::now());
        let mut buffer = [0; PACKET_BYTES];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            free_at = free_at.max(Instant::now())
                + Duration::from_micros(read as u64 * 8 * 1_000_000 / line.bits_per_s.max(1));
            let delay = Duration::from_millis(fastrand::u64(line.delay_ms.0..=line.delay_ms.1));
            // TCP keeps the order, whatever the radio did.
            arrives = arrives.max(after_stall(line, began, free_at + delay));
            let packet = (read > 0).then(|| buffer[..read].to_vec());
            let end = packet.is_none();
            put(&entering, arrives, packet);
            if end {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        let _ = to.set_nodelay(true);
        while let Some(packet) = take(&way) {
            count.fetch_add(packet.len() as u64, Ordering::Relaxed);
            if to.write_all(&packet).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// A moment, moved behind the stall that it falls into.
fn after_stall(line: Line, began: Instant, at: Instant) -> Instant {
    let since_ms = at.saturating_duration_since(began).as_millis() as u64;
    let into_ms = since_ms % line.stall_every_ms.max(1);
    let stalled = since_ms >= line.stall_every_ms;
    at + Duration::from_millis(if stalled { line.stall_ms.saturating_sub(into_ms) } else { 0 })
}

fn put(way: &Way, at: Instant, packet: Option<Vec<u8>>) {
    let (queue, changed) = way;
    let mut queue = queue.lock().expect("no poison");
    let bytes = |queue: &VecDeque<(Instant, Option<Vec<u8>>)>| -> usize {
        queue.iter().filter_map(|(_, packet)| packet.as_ref().map(Vec::len)).sum()
    };
    while bytes(&queue) > QUEUE_BYTES_MAX {
        queue = changed.wait(queue).expect("no poison");
    }
    queue.push_back((at, packet));
    changed.notify_all();
}

fn take(way: &Way) -> Option<Vec<u8>> {
    let (queue, changed) = way;
    let mut queue = queue.lock().expect("no poison");
    loop {
        let now = Instant::now();
        match queue.front() {
            None => queue = changed.wait(queue).expect("no poison"),
            Some((at, _)) if *at > now => {
                let wait = *at - now;
                queue = changed.wait_timeout(queue, wait).expect("no poison").0;
            }
            Some(_) => {
                let packet = queue.pop_front().and_then(|(_, packet)| packet);
                changed.notify_all();
                return packet;
            }
        }
    }
}
