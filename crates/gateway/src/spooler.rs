//! The spool on its own thread: sync calls may take half a second on an old card, and polling must not feel it. Every
//! ask is answered by exactly one [`Told`], in order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use sitian_model::{Epoch, GatewayId, Held, Manifest, Mutant, Seq, Span, SpoolState};
use sitian_spool::{Limits, Owner, Spool};
use sitian_uplink::Read;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::disk::FolderDisk;
use crate::heritage::{Guests, Heritage, Names};

/// Asks and answers that may wait; the caller keeps fewer outstanding, so that sending never blocks.
pub const OUTSTANDING_MAX: usize = 512;

/// After this many failed readings of a manifest, about one per second, it is given up.
const UNREAD_MAX: u32 = 30;

/// What the thread is asked for.
pub enum Ask {
    /// Make these encoded records durable, and tell somebody when they are.
    Accept(Vec<(Vec<u8>, Span)>, Option<oneshot::Sender<()>>),
    /// Read consecutive entries.
    Read {
        /// Which epoch.
        epoch: Epoch,
        /// From where.
        from: Seq,
        /// How much.
        bytes_max: usize,
    },
    /// Find an epoch's manifest.
    Manifest(Epoch),
    /// So much is stored centrally.
    Release {
        /// Which epoch.
        epoch: Epoch,
        /// One past the last.
        committed: Seq,
    },
    /// Go on under a fresh epoch.
    Seal,
    /// What comes next has this manifest: go on under a fresh epoch.
    Renew(Manifest),
    /// Move what is unacknowledged of this epoch under a fresh one.
    Relabel(Epoch),
}

/// What the thread answers.
pub enum Told {
    /// The spool changed, or was asked to.
    Spool {
        /// What it holds and may be sent, oldest first.
        held: Vec<Held>,
        /// Which of it travels under another name.
        guests: Arc<Guests>,
        /// The epoch that is written to.
        live: Epoch,
        /// For the people who watch.
        state: SpoolState,
    },
    /// Entries, or the epoch that could not be read.
    Read(Result<Read, Epoch>),
    /// A manifest, if there is one.
    Manifest(Epoch, Option<Vec<u8>>),
}

/// The caller's end.
pub struct Spooler {
    /// Asks to the thread.
    pub asks: mpsc::Sender<Ask>,
    /// Its answers.
    pub told: mpsc::Receiver<Told>,
    /// Which epochs on the card travel under another name.
    pub guests: Arc<Guests>,
    thread: std::thread::JoinHandle<()>,
}

impl Spooler {
    /// Opens the spool in `folder` in whatever state it is, and starts the thread. `manifest` encodes the manifest of an
    /// epoch; `names` says which epochs of others may be sent.
    pub fn start(
        folder: &Path,
        limits: Limits,
        names: &Names,
        manifest: impl Fn(&Epoch) -> Vec<u8> + Send + 'static,
    ) -> Result<Self> {
        let disk = FolderDisk::open(folder)
            .with_context(|| format!("open the spool folder {}", folder.display()))?;
        let epoch = if Mutant::EpochKept.lives() { Epoch([0x5a; 16]) } else { fresh_epoch()? };
        let (mut spool, recovery) = Spool::open(disk, limits, epoch);
        info!(
            segments = recovery.segments,
            epochs = recovery.epochs,
            backlog = recovery.backlog,
            "spool open"
        );
        if let Some(fault) = &recovery.fault {
            error!(fault, "the spool folder cannot be listed; readings stay in memory until it can");
        }
        for name in recovery.unreadable.iter().chain(&recovery.foreign) {
            warn!(name, "segment cannot be read by this program; kept until room is needed");
        }
        for (name, epoch) in &recovery.cut_short {
            error!(name, %epoch, "segment is damaged at its end: records are lost, nobody knows how many");
        }
        let heritage = Heritage::of(&mut spool, names);
        heritage.lines(&spool.held()).iter().for_each(|line| warn!("{line}"));
        spool.set_manifest(&manifest(&epoch)).context("keep the manifest: configure fewer points")?;
        spool.set_owner(Owner::new(names.own.as_str()).unwrap_or_default());
        let (asks, asked) = mpsc::channel(2 * OUTSTANDING_MAX);
        let (tell, told) = mpsc::channel(2 * OUTSTANDING_MAX);
        let guests = Arc::new(heritage.guests.clone());
        let work = Work {
            spool,
            manifest: Box::new(manifest),
            healthy: true,
            unread: HashMap::new(),
            heritage,
            guests: Arc::clone(&guests),
        };
        let thread = std::thread::Builder::new().name("spool".into()).spawn(move || work.run(asked, &tell));
        Ok(Self { asks, told, guests, thread: thread.context("start the spool's thread")? })
    }

    /// Lets the thread finish what it was asked for.
    pub fn end(self) {
        let Self { asks, told, thread, .. } = self;
        drop((asks, told));
        if thread.join().is_err() {
            error!("the spool's thread panicked");
        }
    }
}

/// Encodes the present manifest for an epoch.
type EncodeManifest = Box<dyn Fn(&Epoch) -> Vec<u8> + Send>;

struct Work {
    spool: Spool<FolderDisk>,
    manifest: EncodeManifest,
    healthy: bool,
    /// How often the manifest of an epoch was asked for and could not be read.
    unread: HashMap<Epoch, u32>,
    heritage: Heritage,
    /// Those of the heritage, to be handed out.
    guests: Arc<Guests>,
}

impl Work {
    fn run(mut self, mut asked: mpsc::Receiver<Ask>, tell: &mpsc::Sender<Told>) {
        let mut next = asked.blocking_recv();
        while let Some(ask) = next.take() {
            let (ask, more) = match ask {
                Ask::Accept(mut records, kept) => {
                    let more;
                    (more, next) = gather(&mut records, &mut asked);
                    (Ask::Accept(records, kept), more)
                }
                other => (other, 0),
            };
            let told = self.answer(ask);
            // Nobody listens any more at the very end; what was asked is done all the same.
            (0..more).for_each(|_| drop(tell.try_send(self.state())));
            let _ = tell.try_send(told);
            next = next.or_else(|| asked.blocking_recv());
        }
    }

    fn answer(&mut self, ask: Ask) -> Told {
        match ask {
            Ask::Read { epoch, from, bytes_max } => Told::Read(self.read(epoch, from, bytes_max)),
            Ask::Manifest(epoch) => {
                let manifest = self.manifest_of(epoch);
                Told::Manifest(epoch, manifest)
            }
            Ask::Accept(records, kept) => {
                if let (true, Some(kept)) = (self.accept(&records), kept) {
                    // It may have hung up.
                    let _ = kept.send(());
                }
                self.state()
            }
            Ask::Release { epoch, committed } => {
                self.spool.release(epoch, committed);
                self.state()
            }
            Ask::Seal => {
                self.renew(None);
                self.state()
            }
            Ask::Renew(manifest) => {
                self.manifest = Box::new(move |epoch| sitian_wire::encode_manifest(epoch, &manifest));
                self.renew(None);
                self.state()
            }
            Ask::Relabel(epoch) => {
                self.renew(Some(epoch));
                self.state()
            }
        }
    }

    /// True if the records are durable.
    fn accept(&mut self, records: &[(Vec<u8>, Span)]) -> bool {
        let mut labels = Vec::with_capacity(records.len());
        for (record, span) in records {
            match self.spool.append(record, *span) {
                Ok(seq) => labels.push(seq),
                Err(error) => error!(%error, "record not accepted"),
            }
        }
        match self.spool.commit() {
            Ok(durable) => {
                labels.iter().for_each(|seq| debug!(epoch = %durable.epoch, seq, "accepted"));
                if !self.healthy {
                    info!("spool works again");
                }
                self.healthy = true;
            }
            Err(error) => {
                if self.healthy {
                    error!(%error, "spool failed: readings are kept in memory and published from there");
                }
                self.healthy = false;
            }
        }
        self.healthy && labels.len() == records.len()
    }

    fn read(&mut self, epoch: Epoch, from: Seq, bytes_max: usize) -> Result<Read, Epoch> {
        match self.spool.read(epoch, from, bytes_max) {
            Ok(run) => {
                Ok(Read { epoch: run.epoch, first: run.first, entries: run.entries, chain: run.chain })
            }
            Err(error) => {
                debug!(%epoch, %error, "spool not read");
                Err(epoch)
            }
        }
    }

    /// The manifest that the spool keeps for an epoch. If there is none that can be read, time and again, then one without
    /// points: what the epoch's records meant is not known, but the centre can take them, and keeps them raw.
    fn manifest_of(&mut self, epoch: Epoch) -> Option<Vec<u8>> {
        if let Some(kept) = self.spool.manifest(epoch) {
            self.unread.remove(&epoch);
            return Some(renamed(epoch, kept, self.guests.get(&epoch)));
        }
        if !self.spool.held().iter().any(|held| held.epoch == epoch) {
            self.unread.remove(&epoch);
            return None;
        }
        let times = self.unread.entry(epoch).or_default();
        *times += 1;
        let (_, mut manifest) = sitian_wire::decode_manifest(&(self.manifest)(&epoch)).ok()?;
        (manifest.devices, manifest.points) = (Vec::new(), Vec::new());
        (*times > UNREAD_MAX).then(|| sitian_wire::encode_manifest(&epoch, &manifest))
    }

    /// Opens a fresh epoch: for what comes next, or for what a shared epoch still holds.
    fn renew(&mut self, shared: Option<Epoch>) {
        let fresh = match fresh_epoch() {
            Ok(fresh) => fresh,
            Err(error) => return error!(%error, "no fresh epoch"),
        };
        info!(%fresh, "new epoch");
        let outcome = match shared {
            None => {
                self.spool.seal(fresh);
                Ok(())
            }
            Some(shared) => {
                self.heritage.relabel(shared, fresh);
                self.guests = Arc::new(self.heritage.guests.clone());
                self.spool.relabel(shared, fresh)
            }
        };
        if let Err(error) = outcome {
            error!(%error, "relabelling goes on later");
        }
        if let Err(error) = self.spool.set_manifest(&(self.manifest)(&fresh)) {
            error!(%error, "manifest not kept");
        }
    }

    fn state(&self) -> Told {
        Told::Spool {
            held: self.heritage.to_send(self.spool.held()),
            guests: Arc::clone(&self.guests),
            live: self.spool.live(),
            state: self.spool.state(),
        }
    }
}

/// Adds the records of the asks that came in while the card was busy: they become durable with the same sync. Returns how
/// many asks these were, and the one after them.
fn gather(records: &mut Vec<(Vec<u8>, Span)>, asked: &mut mpsc::Receiver<Ask>) -> (usize, Option<Ask>) {
    let mut asks = 0;
    loop {
        match asked.try_recv() {
            Ok(Ask::Accept(more, None)) => records.extend(more),
            other => return (asks, other.ok()),
        }
        asks += 1;
    }
}

/// The manifest that was kept for an epoch, under that epoch's name. The spool cannot read it: for an epoch of which only
/// a gap is left it gives the present one, and a relabelled epoch keeps the one of the epoch it came from. A `guest`'s gap
/// goes by that name, and this gateway's points are not the guest's.
fn renamed(epoch: Epoch, kept: Vec<u8>, guest: Option<&GatewayId>) -> Vec<u8> {
    match (sitian_wire::decode_manifest(&kept), guest) {
        (Ok((_, manifest)), Some(guest)) if manifest.gateway != *guest => {
            let gateway = guest.clone();
            let bare = Manifest { gateway, devices: Vec::new(), points: Vec::new(), ..manifest };
            sitian_wire::encode_manifest(&epoch, &bare)
        }
        (Ok((named, manifest)), _) if named != epoch => sitian_wire::encode_manifest(&epoch, &manifest),
        _ => kept,
    }
}

/// 128 random bits: no label is ever given twice, over all boards and all time.
fn fresh_epoch() -> Result<Epoch> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("draw an epoch: {error}"))?;
    Ok(Epoch(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_travels_under_the_epoch_it_was_asked_for() {
        let gateway = GatewayId::new("gw").expect("a well-formed id");
        let manifest = Manifest { gateway, software: "test".into(), devices: vec![], points: vec![] };
        let (asked, other) = (Epoch([1; 16]), Epoch([2; 16]));
        for (kept, expected) in [
            (sitian_wire::encode_manifest(&asked, &manifest), Some(asked)),
            (sitian_wire::encode_manifest(&other, &manifest), Some(asked)),
            (b"written by another version".to_vec(), None),
        ] {
            let sent = renamed(asked, kept.clone(), None);
            match expected {
                Some(epoch) => assert_eq!(sitian_wire::decode_manifest(&sent), Ok((epoch, manifest.clone()))),
                None => assert_eq!(sent, kept, "what is not understood is forwarded as it is"),
            }
        }
        let guest = GatewayId::new("former").expect("a well-formed id");
        let sent = renamed(asked, sitian_wire::encode_manifest(&asked, &manifest), Some(&guest));
        let expected = Manifest { gateway: guest, ..manifest };
        assert_eq!(sitian_wire::decode_manifest(&sent), Ok((asked, expected)));
    }
}
