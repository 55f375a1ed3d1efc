//! A thread of its own for the store's compaction: step by step while there is work, with a look now and then.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use sitian_series::Retention;
use sitian_store_embedded::{Compactor, Progress, Store};
use tracing::{debug, warn};

use crate::admit::now;

/// Between two looks when there was nothing to do.
const REST: Duration = Duration::from_secs(10);
/// After an error: a full disk, for example, does not get better by trying.
const REST_AFTER_ERROR: Duration = Duration::from_secs(60);

/// The running thread.
pub struct Compaction {
    /// Dropped to end it.
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Compaction {
    /// Starts it beside a store.
    pub fn start(store: &Store, retention: Retention) -> Result<Self> {
        let compactor = store.compactor(retention).context("open the store for compaction")?;
        let (end, ended) = mpsc::channel();
        let work = move || run(compactor, &ended);
        let thread = std::thread::Builder::new().name("compaction".into()).spawn(work);
        Ok(Self { end, thread: thread.context("start the compaction thread")? })
    }

    /// Ends it after the step it is in. To be called where waiting is allowed.
    pub fn end(self) {
        drop(self.end);
        if self.thread.join().is_err() {
            warn!("compaction ended by itself; the store is whole, see the log");
        }
    }
}

fn run(mut compactor: Compactor, ended: &mpsc::Receiver<()>) {
    loop {
        let rest = match compactor.step(now()) {
            Ok(Progress::Idle) => REST,
            Ok(progress) => {
                debug!(?progress, "compaction");
                Duration::ZERO
            }
            Err(error) => {
                warn!(%error, "failed to compact the store; readings are safe, it is tried again");
                REST_AFTER_ERROR
            }
        };
        match ended.recv_timeout(rest) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
