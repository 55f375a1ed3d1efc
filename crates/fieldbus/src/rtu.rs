//! Modbus RTU, over a serial port or over a socket that ends in one: a thread of its own owns the port and waits there;
//! requests and answers go through channels.

use std::io;
use std::thread;

use sitian_poll::{Answer, Ask, Failure};
use tokio::sync::{mpsc, oneshot};

use crate::line::Line;
use crate::port::PortSettings;
use crate::remember_foreign;

/// A line that speaks Modbus RTU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtuSettings {
    /// What leads to it.
    pub port: PortSettings,
    /// Bits per second on the wire itself: decides the silence between frames.
    pub baud: u32,
}

/// A request on its way to the thread, and where its outcome goes.
type Job = (Ask, oneshot::Sender<Outcome>);

/// What came of a request.
pub(crate) struct Outcome {
    pub(crate) result: Result<Answer, Failure>,
    /// Unit ids of discarded frames.
    pub(crate) foreign: Vec<u8>,
}

/// A bus over a serial port. When dropped, its thread ends after the request under way and frees the port.
#[derive(Debug)]
pub struct RtuBus {
    jobs: mpsc::Sender<Job>,
    foreign: Vec<u8>,
}

impl RtuBus {
    pub(crate) fn start(name: &str, settings: RtuSettings) -> io::Result<Self> {
        // One job: a request given up by its caller may still be under way when the next one comes, which waits then.
        let (jobs, mut waiting) = mpsc::channel::<Job>(1);
        let mut line = Line::new(name, settings);
        thread::Builder::new().name(format!("bus-{name}")).spawn(move || {
            while let Some((ask, reply)) = waiting.blocking_recv() {
                if !reply.is_closed() {
                    // Nobody waits any more if this fails; the next request flushes the line.
                    let _ = reply.send(line.execute(&ask));
                }
            }
        })?;
        Ok(Self { jobs, foreign: Vec::new() })
    }

    pub(crate) fn take_foreign(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.foreign)
    }

    pub(crate) async fn execute(&mut self, ask: Ask) -> Result<Answer, Failure> {
        let gone = || Failure::Unreachable("the thread of the bus has ended".to_owned());
        let (reply, outcome) = oneshot::channel();
        self.jobs.send((ask, reply)).await.map_err(|_| gone())?;
        let outcome = outcome.await.map_err(|_| gone())?;
        remember_foreign(&mut self.foreign, &outcome.foreign);
        outcome.result
    }
}
