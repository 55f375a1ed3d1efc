//! A Modbus TCP device in the test's own process that counts the reads of its registers: a value names the read it came
//! from, the register it was read from, and the moment of that read. Written against the Modbus specification alone,
//! so that it shares nothing with the product.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// 32-bit registers of one device, and so the distance between the values of two reads.
pub const POINTS_MAX: u64 = 128;

/// One read that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// When the question had come in.
    pub at: Instant,
    /// The unit asked.
    pub unit: u8,
}

/// The device. It serves until the process ends.
#[derive(Debug)]
pub struct Counter {
    /// Loopback port it listens on.
    pub port: u16,
    served: Arc<Mutex<Vec<Served>>>,
}

impl Counter {
    /// Starts it on a free loopback port. Every unit id answers.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", crate::program::free_port())).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let served = Arc::new(Mutex::new(Vec::new()));
        let shared = served.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = shared.clone();
                std::thread::spawn(move || answer(stream, &served));
            }
        });
        Self { port, served }
    }

    /// Every read so far. The values of read `n`, counted from 1, are `n · POINTS_MAX + address / 2`.
    pub fn served(&self) -> Vec<Served> {
        lock(&self.served).clone()
    }

    /// How many reads there were.
    pub fn reads(&self) -> u64 {
        lock(&self.served).len() as u64
    }
}

fn lock(served: &Mutex<Vec<Served>>) -> MutexGuard<'_, Vec<Served>> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection: transaction, protocol, length, unit, function, address, count.
fn answer(mut stream: TcpStream, served: &Mutex<Vec<Served>>) {
    let mut request = [0; 12];
    let _ = stream.set_nodelay(true);
    while stream.read_exact(&mut request).is_ok() {
        let word = |at: usize| u64::from(u16::from_be_bytes([request[at], request[at + 1]]));
        let (unit, function, address, count) = (request[6], request[7], word(8), word(10));
        let n = {
            let mut served = lock(served);
            served.push(Served { at: Instant::now(), unit });
            served.len() as u64
        };
        let register = |address: u64| {
            let value = (n * POINTS_MAX + address / 2) as u32;
            if address.is_multiple_of(2) { (value >> 16) as u16 } else { value as u16 }
        };
        let mut reply = request[..4].to_vec();
        reply.extend_from_slice(&(3 + 2 * count as u16).to_be_bytes());
        reply.extend_from_slice(&[unit, function, 2 * count as u8]);
        (address..address + count).for_each(|a| reply.extend_from_slice(&register(a).to_be_bytes()));
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

/// The device profile of [`Counter`] with so many points, `p0` and on.
pub fn profile(points: usize) -> String {
    let mut text = String::from(
        "id = \"test-counter\"\nvendor = \"test\"\nmodel = \"counter\"\nname_zh = \"计数器\"\nname_en = \"counter\"\n\
         source = \"tests/system/src/counter.rs\"\nverified = \"V\"\ndefault_unit = 1\n[serial]\nbaud = 9600\n",
    );
    for n in 0..points {
        text += &format!(
            "[[points]]\nkey = \"p{n}\"\nmeasurement = \"device_status\"\nunit = \"\"\nfunction = \"holding\"\n\
             address = {}\nkind = \"u32\"\norder = \"ABCD\"\n",
            2 * n
        );
    }
    text
}
