//! Sits between the library and the socket, and lets through only whole frames of the transaction under way.
//!
//! The library forgets half-read frames when a new request begins, and takes the first frame that comes for the answer.
//! After a timeout it would lose its place in the stream, or fail on the late reply. Here the place in the stream is
//! kept, and a reply to anything but the latest request is dropped while the library goes on waiting. So a timeout
//! costs no connection: the transaction id can be trusted for as long as the frames are in order. If they are not,
//! reading fails, and the connection has to go.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::remember_foreign;
use crate::tap::{Tap, Way};

/// Transaction id, protocol id, length.
const PREFIX_BYTES: usize = 6;
/// Unit id and longest protocol data unit.
const LENGTH_MAX: usize = 254;

/// What the filter tells the bus.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Bytes that ever came in.
    pub(crate) bytes: AtomicU64,
    /// Unit ids of dropped frames.
    pub(crate) foreign: Mutex<Vec<u8>>,
}

impl Seen {
    pub(crate) fn take_foreign(&self) -> Vec<u8> {
        std::mem::take(&mut *self.foreign.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stream of Modbus TCP frames, seen from the client.
#[derive(Debug)]
pub(crate) struct Filter<S> {
    stream: S,
    seen: Arc<Seen>,
    tap: Option<Tap>,
    /// Transaction id of the latest request.
    transaction: Option<[u8; 2]>,
    /// Read from the socket, not yet a whole frame.
    pending: Vec<u8>,
    /// Whole frames for the library.
    passed: Vec<u8>,
}

impl<S> Filter<S> {
    pub(crate) fn new(stream: S, seen: Arc<Seen>, tap: Option<Tap>) -> Self {
        Self { stream, seen, tap, transaction: None, pending: Vec::new(), passed: Vec::new() }
    }

    /// Moves whole frames on, or drops them.
    fn sort(&mut self) -> io::Result<()> {
        while let Some(prefix) = self.pending.first_chunk::<PREFIX_BYTES>() {
            let [first, second, protocol @ .., high, low] = *prefix;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if protocol != [0, 0] || !(2..=LENGTH_MAX).contains(&length) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not Modbus TCP"));
            }
            if self.pending.len() < PREFIX_BYTES + length {
                break;
            }
            let frame: Vec<u8> = self.pending.drain(..PREFIX_BYTES + length).collect();
            if self.transaction == Some([first, second]) {
                // One answer to a request; a second one with the same id is a late one too.
                self.transaction = None;
                self.passed.extend_from_slice(&frame);
            } else {
                let mut foreign = self.seen.foreign.lock().unwrap_or_else(PoisonError::into_inner);
                remember_foreign(&mut foreign, &frame[PREFIX_BYTES..=PREFIX_BYTES]);
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Filter<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.passed.is_empty() {
            let mut bytes = [0; 512];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.seen.bytes.fetch_add(read.filled().len() as u64, Ordering::Relaxed);
            if let Some(tap) = &this.tap {
                tap.tell(Way::Received, read.filled());
            }
            this.pending.extend_from_slice(read.filled());
            this.sort()?;
        }
        let count = this.passed.len().min(buffer.remaining());
        buffer.put_slice(&this.passed[..count]);
        this.passed.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Filter<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        // The library writes each request in one piece of a dozen bytes; a socket that takes less is as good as dead.
        if written < bytes.len() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::WriteZero,
                "the socket takes no whole request",
            )));
        }
        if let Some(tap) = &this.tap {
            tap.tell(Way::Sent, bytes);
        }
        this.transaction = bytes.first_chunk().copied();
        this.passed.clear();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of the corpus with this transaction id in place of TT, another one in place of WW.
    fn corpus() -> Vec<Vec<u8>> {
        let rows = include_str!("../../../tests/golden/modbus/tcp.txt").lines();
        let byte = |pair: &str| match pair {
            "TT" => Some(0x2A),
            "WW" => Some(0x07),
            _ => u8::from_str_radix(pair, 16).ok(),
        };
        let answers = rows.filter(|row| !row.starts_with('#')).filter_map(|row| row.split('|').nth(3));
        answers.map(|text| text.split_whitespace().filter_map(byte).collect()).collect()
    }

    #[test]
    fn of_any_bytes_only_whole_frames_of_the_transaction_pass_and_one_for_a_request() {
        let (seeds, mut random) = (corpus(), fastrand::Rng::with_seed(1));
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> =
                (0..3).flat_map(|_| seeds[random.usize(0..seeds.len())].clone()).collect();
            for _ in 0..random.usize(0..3) {
                let at = random.usize(0..bytes.len());
                match random.u8(0..3) {
                    0 => bytes[at] ^= 1 << random.u8(0..8),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            let mut filter = Filter::new((), Arc::default(), None);
            filter.transaction = Some([0x2A, 0x2A]);
            let broken = bytes.chunks(random.usize(1..20)).any(|piece| {
                filter.pending.extend_from_slice(piece);
                filter.sort().is_err()
            });
            refused += u32::from(broken);
            let Some((prefix, rest)) = filter.passed.split_first_chunk::<PREFIX_BYTES>() else { continue };
            assert_eq!(prefix[..4], [0x2A, 0x2A, 0, 0]);
            assert_eq!(
                rest.len(),
                usize::from(u16::from_be_bytes([prefix[4], prefix[5]])),
                "one whole frame"
            );
            assert!(filter.transaction.is_none() && filter.pending.len() <= PREFIX_BYTES + LENGTH_MAX + 20);
            passed += 1;
        }
        assert!(passed > 5_000 && refused > 1_000, "{passed} passed, {refused} refused");
    }
}
