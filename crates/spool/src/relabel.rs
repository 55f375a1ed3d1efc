//! After a fork: what is unacknowledged moves from an epoch that two writers share to a fresh one.

use sitian_model::{Entry, Epoch, Span};

use crate::disk::Disk;
use crate::log::{Spool, SpoolFault};

/// Bytes copied between two commits.
const COPY_BYTES: usize = 256 * 1024;

impl<D: Disk> Spool<D> {
    /// Gives everything of `old` that is not acknowledged a new label in `fresh`, under the same manifest, and drops
    /// `old`. If `old` is live, `fresh` becomes live. Durable on return. Reads and writes the whole backlog of `old`;
    /// as it goes, what is copied counts as acknowledged in `old`. On a fault, or if the process dies on the way, the
    /// rest is still in `old`: the centre says FORK again, and the call is repeated with another fresh epoch.
    pub fn relabel(&mut self, old: Epoch, fresh: Epoch) -> Result<(), SpoolFault> {
        if old == self.live {
            self.live = fresh;
        }
        self.commit()?;
        let Some(stream) = self.stream(old) else { return Ok(()) };
        let (mut from, owner) = (stream.acked, stream.owner);
        let manifest = match &stream.manifest {
            Some(manifest) => manifest.clone(),
            None => self.manifest(old).map_or_else(|| self.manifest.clone(), Into::into),
        };
        self.stream_or_new(fresh).owner = owner;
        loop {
            let run = match self.gather(old, from, COPY_BYTES.min(self.limits.memory_bytes_max / 2)) {
                Ok(run) => run,
                Err(crate::ReadFault::Disk(fault)) => return Err(SpoolFault { fault }),
                Err(crate::ReadFault::Unknown(_)) => break,
            };
            if run.entries.is_empty() {
                break;
            }
            from = run.end();
            for entry in run.entries {
                match entry {
                    // Its time would make whatever was written before it look as old.
                    Entry::Record(payload) => {
                        self.append_to(fresh, &manifest, payload, Span::UNKNOWN);
                    }
                    // Numbers without a record: read back as a gap.
                    Entry::Gap(gap) => self.stream_or_new(fresh).written += gap.last - gap.first + 1,
                }
            }
            self.commit()?;
            // Nothing is trimmed for it: these labels are not stored centrally, and must not be told as gone.
            if let Some(stream) = self.stream_mut(old) {
                stream.acked = from;
            }
        }
        self.drop_epoch(old);
        Ok(())
    }
}
