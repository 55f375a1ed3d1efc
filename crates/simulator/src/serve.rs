//! Modbus servers for stations: TCP (with the MBAP header of the Modbus Messaging on TCP/IP guide, section 3.1) and RTU
//! on a pseudo-terminal. Knows framing; the registers are the station's business.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use sitian_poll::rtu::crc16;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::station::{Station, WRITE_REGISTERS};

/// How long a simulated device thinks before it answers.
const THINKING: Duration = Duration::from_millis(8);
/// Bits on the wire for one byte: start, 8 data, stop.
const BITS_PER_BYTE: u64 = 10;

/// Unix time in milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Serves Modbus TCP for a station until the program ends.
pub async fn tcp(listener: TcpListener, station: Arc<Station>) {
    while let Ok((socket, _)) = listener.accept().await {
        let station = station.clone();
        // A client that goes away ends its own conversation and nobody else's.
        tokio::spawn(async move { drop(converse(socket, &station).await) });
    }
}

async fn converse(mut socket: TcpStream, station: &Station) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    loop {
        let mut header = [0; 7];
        socket.read_exact(&mut header).await?;
        let length = u16::from_be_bytes([header[4], header[5]]);
        if !(2..=254).contains(&length) {
            return Ok(());
        }
        let mut pdu = vec![0; usize::from(length) - 1];
        socket.read_exact(&mut pdu).await?;
        tokio::time::sleep(THINKING).await;
        if let Some(answer) = station.answer(header[6], &pdu, now_ms()) {
            let mut frame = header[..4].to_vec();
            frame.extend((answer.len() as u16 + 1).to_be_bytes());
            frame.push(header[6]);
            frame.extend(answer);
            socket.write_all(&frame).await?;
        }
    }
}

/// Serves Modbus RTU on a new pseudo-terminal that is linked at `path`; returns once it is there.
pub fn line(path: &Path, baud: u32, station: Arc<Station>) -> Result<()> {
    let (master, slave) = pseudo_terminal().context("failed to make a pseudo-terminal")?;
    let _ = std::fs::remove_file(path);
    std::os::unix::fs::symlink(&slave.0, path)
        .with_context(|| format!("failed to link {}", path.display()))?;
    let name = format!("line {}", station.gateway);
    // The slave's own handle stays open, so that the master never sees a hang-up between two gateways.
    let work = move || {
        let _open = slave;
        answer_line(master, baud, &station);
    };
    std::thread::Builder::new().name(name).spawn(work).context("failed to start the line's thread")?;
    Ok(())
}

fn pseudo_terminal() -> std::io::Result<(File, (PathBuf, File))> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let path = PathBuf::from(name.to_string_lossy().into_owned());
    let slave = File::options().read(true).write(true).open(&path)?;
    let mut raw = tcgetattr(&slave)?;
    raw.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &raw)?;
    Ok((File::from(master), (path, slave)))
}

/// Collects bytes until they end in a frame with the right CRC, answers it, and takes as long as the wire would.
fn answer_line(mut master: File, baud: u32, station: &Station) {
    let mut heard: Vec<u8> = Vec::new();
    let mut buffer = [0; 256];
    while let Ok(read) = master.read(&mut buffer) {
        heard.extend(&buffer[..read]);
        let Some(request) = last_request(&heard) else {
            heard.drain(..heard.len().saturating_sub(256));
            continue;
        };
        heard.clear();
        let Some(answer) = station.answer(request[0], &request[1..request.len() - 2], now_ms()) else {
            continue;
        };
        let mut frame = vec![request[0]];
        frame.extend(answer);
        frame.extend(crc16(&frame).to_le_bytes());
        let wire =
            Duration::from_micros((frame.len() as u64 + 8) * BITS_PER_BYTE * 1_000_000 / u64::from(baud));
        std::thread::park_timeout(THINKING + wire);
        if master.write_all(&frame).is_err() {
            return;
        }
    }
}

/// The last eight bytes, if they are a read request with the right CRC; or everything, if it is a write of registers.
fn last_request(heard: &[u8]) -> Option<Vec<u8>> {
    let whole = |frame: &[u8]| {
        let (body, crc) = frame.split_at(frame.len().saturating_sub(2));
        crc16(body).to_le_bytes() == *crc
    };
    let read = heard.get(heard.len().checked_sub(8)?..).filter(|frame| whole(frame));
    let is_write = heard.get(1) == Some(&WRITE_REGISTERS)
        && heard.get(6).is_some_and(|bytes| heard.len() == 9 + usize::from(*bytes));
    read.or((is_write && whole(heard)).then_some(heard)).map(<[u8]>::to_vec)
}
