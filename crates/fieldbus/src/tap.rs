//! What goes over a bus, byte for byte, for those who record it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::port::Port;

/// Which way bytes went, seen from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the devices.
    Sent,
    /// From the devices, in the pieces in which they arrived.
    Received,
}

type Told = dyn Fn(Way, &[u8]) + Send + Sync;

/// Is told every byte of a bus, on the thread that moves it: it must not wait for anything.
#[derive(Clone)]
pub struct Tap(Arc<Told>);

impl Tap {
    /// A tap that calls this.
    pub fn new(tell: impl Fn(Way, &[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells of these bytes.
    pub(crate) fn tell(&self, way: Way, bytes: &[u8]) {
        if !bytes.is_empty() {
            (self.0)(way, bytes);
        }
    }
}

impl PartialEq for Tap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tap {}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// A port whose bytes are told.
pub(crate) struct Tapped {
    pub(crate) port: Box<dyn Port>,
    pub(crate) tap: Tap,
}

impl Port for Tapped {
    fn read(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
        let count = self.port.read(buffer, limit)?;
        self.tap.tell(Way::Received, &buffer[..count]);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.port.write(bytes)?;
        self.tap.tell(Way::Sent, bytes);
        Ok(())
    }
}
