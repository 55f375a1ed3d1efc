//! A TCP relay that counts what passes. Knows no protocol.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

/// A relay on loopback. Its threads end with the program.
pub struct Tap {
    /// Where clients connect.
    pub port: u16,
    up: Arc<Lane>,
    down: Arc<Lane>,
}

#[derive(Default)]
struct Lane {
    bytes: AtomicU64,
    pieces: AtomicU64,
}

/// What passed in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// Bytes of TCP payload.
    pub bytes: u64,
    /// Pieces in which they came: about the segments of TCP.
    pub pieces: u64,
}

impl Tap {
    /// Relays every connection to `target`.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to listen for the relay")?;
        let tap = Self { port: listener.local_addr()?.port(), up: Arc::default(), down: Arc::default() };
        let (up, down) = (tap.up.clone(), tap.down.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A target that cannot be reached is a closed connection to the client, as without the relay.
                drop(relay(client, target, &up, &down));
            }
        });
        Ok(tap)
    }

    /// What passed so far: from the clients to the target, and back.
    pub fn passed(&self) -> (Passed, Passed) {
        (self.up.passed(), self.down.passed())
    }
}

impl Lane {
    fn passed(&self) -> Passed {
        Passed { bytes: self.bytes.load(Ordering::Relaxed), pieces: self.pieces.load(Ordering::Relaxed) }
    }
}

fn relay(client: TcpStream, target: SocketAddr, up: &Arc<Lane>, down: &Arc<Lane>) -> std::io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ways = [(client.try_clone()?, server.try_clone()?, up.clone()), (server, client, down.clone())];
    for (from, to, lane) in ways {
        std::thread::spawn(move || pass(from, to, &lane));
    }
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, lane: &Lane) {
    let mut buffer = [0; 16 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        lane.bytes.fetch_add(read as u64, Ordering::Relaxed);
        lane.pieces.fetch_add(1, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_counted_apart() {
        let echo = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let tap = Tap::start(echo.local_addr().expect("an address")).expect("a relay");
        let mut client = TcpStream::connect(("127.0.0.1", tap.port)).expect("the relay");
        let (mut server, _) = echo.accept().expect("the relay's connection");
        let mut heard = [0; 5];
        client.write_all(b"hello").expect("sent");
        server.read_exact(&mut heard).expect("passed on");
        server.write_all(b"hi").expect("sent back");
        client.read_exact(&mut heard[..2]).expect("passed back");
        let (up, down) = tap.passed();
        assert_eq!((up.bytes, down.bytes, &heard), (5, 2, b"hillo"));
    }
}
