//! Two writers of one epoch, as after copying a card while a gateway runs: who has noticed tells the centre and goes on
//! under another label.

use sitian_model::Seq;

use super::Uplink;
use crate::command::{Command, Read};

impl Uplink {
    /// The spool has said what this gateway's chain is where a doubtful ack has its own.
    pub(super) fn settle_doubt(&mut self, at: usize, read: &Read) {
        let stream = &mut self.streams[at];
        let Some(ack) = stream.doubt.take_if(|ack| ack.committed == read.first) else { return };
        // What begins with a gap has no chain before it.
        if read.entries.is_empty() && ack.chain.is_some_and(|chain| chain != read.chain) {
            self.tell_fork(at, read.first, Some(read.chain));
            self.fork(at);
        } else {
            self.obey(at, &ack);
        }
        self.update_behind();
    }

    /// The centre may not have looked at what differs, and nobody sends it again: a probe says that there are two histories.
    /// Once: the centre answers it. While the epoch cannot be relabelled it is said again with the probes of the others.
    pub(super) fn tell_fork(&mut self, at: usize, first: Seq, chain: Option<u32>) {
        let stream = &mut self.streams[at];
        if let Some(chain) = chain.filter(|_| !stream.forked) {
            stream.differs = Some((first, chain));
            self.say_fork(at);
        }
    }

    /// Says where this gateway's history of a forked epoch differs, if it knows.
    pub(super) fn say_fork(&mut self, at: usize) {
        let stream = &self.streams[at];
        if let Some((first, chain)) = stream.differs.filter(|_| self.up) {
            let epoch = stream.held.epoch;
            self.publish(at, Read { epoch, first, entries: Vec::new(), chain });
        }
    }

    /// Goes on under another label.
    pub(super) fn fork(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        if !stream.forked {
            stream.forked = true;
            stream.restart();
            self.commands.push_back(Command::Relabel(stream.held.epoch));
        }
    }
}
