//! A disk in memory that behaves as badly as a card in a field: unsynced writes are torn by sector, reordered and
//! trashed by a power cut, removals come back, any call may fail, room runs out, a sync may lie.

use std::collections::BTreeMap;

use sitian_spool::{Disk, DiskFault, File};

use crate::dice::Dice;
use crate::mutant::Mutant;

const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
struct MemoryFile {
    /// What a read returns.
    view: Vec<u8>,
    /// What is certainly on the medium.
    durable: Vec<u8>,
    /// Written since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// What goes wrong from now on.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The mutating call with this number fails, once.
    pub fail_at: Option<u64>,
    /// From this mutating call on nothing works: the power is off.
    pub power_off_at: Option<u64>,
    /// No write, no sync, no creation, no removal.
    pub read_only: bool,
    /// Reads that touch this byte of this file fail.
    pub bad_sector: Option<(String, u64)>,
    /// Bytes of all files together.
    pub capacity: Option<u64>,
    /// The directory cannot be listed.
    pub list_fails: bool,
    /// Sync returns without having done anything.
    pub lying_sync: bool,
}

impl Faults {
    /// True if calls may fail.
    pub fn is_any(&self) -> bool {
        let Self { fail_at, power_off_at, read_only, bad_sector, capacity, list_fails, lying_sync } = self;
        fail_at.is_some()
            || power_off_at.is_some()
            || *read_only
            || bad_sector.is_some()
            || capacity.is_some()
            || *list_fails
            || *lying_sync
    }
}

/// A card. See the module page.
#[derive(Debug, Clone, Default)]
pub struct CardDisk {
    files: BTreeMap<String, MemoryFile>,
    /// Removed, but the directory was not synced since.
    removed: BTreeMap<String, MemoryFile>,
    /// What goes wrong.
    pub faults: Faults,
    /// Mutating calls so far.
    pub calls: u64,
    mutant: Mutant,
}

impl CardDisk {
    /// An empty card; two mutants live in its driver.
    pub fn blank(mutant: Mutant) -> Self {
        Self { mutant, ..Self::default() }
    }

    /// A card that holds these files.
    pub fn holding(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let file = |bytes: Vec<u8>| MemoryFile { durable: bytes.clone(), view: bytes, unsynced: Vec::new() };
        Self {
            files: files.into_iter().map(|(name, bytes)| (name, file(bytes))).collect(),
            ..Self::default()
        }
    }

    /// What a reader of its files would see.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, file)| (name.as_str(), file.view.as_slice()))
    }

    /// What is left after the power went: each unsynced sector is kept, lost or trashed.
    pub fn power_cut(mut self, dice: &mut Dice) -> Self {
        for (name, file) in std::mem::take(&mut self.removed) {
            if dice.one_in(2) && !self.files.contains_key(&name) {
                self.files.insert(name, file);
            }
        }
        for file in self.files.values_mut() {
            for (at, bytes) in file.unsynced.drain(..) {
                let mut start = at;
                while start < at + bytes.len() {
                    let end = ((start / SECTOR + 1) * SECTOR).min(at + bytes.len());
                    match dice.below(8) {
                        0..=3 => file.durable[start..end].copy_from_slice(&bytes[start - at..end - at]),
                        4 => file.durable[start..end].iter_mut().for_each(|b| *b = dice.byte()),
                        _ => {}
                    }
                    start = end;
                }
            }
            file.view.clone_from(&file.durable);
        }
        self.process_death()
    }

    /// What is left after only the process died: the operating system still has everything, faults stay.
    pub fn process_death(mut self) -> Self {
        self.faults.power_off_at = None;
        self.faults.fail_at = None;
        self
    }

    /// An image of the card as it would be read now, without its faults.
    pub fn image(&self) -> Self {
        let mut files = self.files.clone();
        for file in files.values_mut() {
            file.durable.clone_from(&file.view);
            file.unsynced.clear();
        }
        Self { files, mutant: self.mutant, ..Self::default() }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|f| f.view.len() as u64).sum()
    }

    /// Somewhere in the part of a file that holds data, if there is one.
    pub fn place(&self, dice: &mut Dice) -> Option<(String, u64)> {
        let names: Vec<&String> = self.files.keys().collect();
        let name = (*names.get(dice.below(names.len() as u64) as usize)?).clone();
        let used = self.files[&name].view.iter().rposition(|b| *b != 0)?;
        Some((name, dice.below(used as u64 + 1)))
    }

    fn call(&mut self) -> Result<(), DiskFault> {
        let number = self.calls;
        self.calls += 1;
        if self.faults.power_off_at.is_some_and(|at| number >= at) {
            return Err(DiskFault::Failed("the power is off".into()));
        }
        if self.faults.read_only {
            return Err(DiskFault::Failed("read-only".into()));
        }
        if self.faults.fail_at == Some(number) {
            return Err(DiskFault::Failed("input/output error".into()));
        }
        Ok(())
    }

    fn file(&mut self, name: &str) -> Result<&mut MemoryFile, DiskFault> {
        self.files.get_mut(name).ok_or_else(|| DiskFault::Failed(format!("no file {name}")))
    }

    fn sync_once(&mut self, name: &str) -> Result<(), DiskFault> {
        let outcome = self.call();
        let (lying, off) = (self.faults.lying_sync, self.faults.power_off_at.is_some());
        let file = self.file(name)?;
        if outcome.is_ok() && !lying {
            for (at, bytes) in file.unsynced.drain(..) {
                file.durable[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            self.removed.clear();
        } else if !lying && !off {
            // As on Linux: the pages count as clean afterwards, reads see them, the medium does not have them.
            file.unsynced.clear();
        }
        outcome
    }
}

impl Disk for CardDisk {
    fn list(&mut self) -> Result<Vec<File>, DiskFault> {
        if self.faults.list_fails {
            return Err(DiskFault::Failed("input/output error".into()));
        }
        Ok(self.files.iter().map(|(name, f)| File { name: name.clone(), len: f.view.len() as u64 }).collect())
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskFault> {
        self.call()?;
        if self.faults.capacity.is_some_and(|capacity| self.bytes() + len > capacity) {
            return Err(DiskFault::Full);
        }
        if self.files.contains_key(name) {
            return Err(DiskFault::Failed("file exists".into()));
        }
        let zeros = vec![0; len as usize];
        self.removed.remove(name);
        let file = MemoryFile { view: zeros.clone(), durable: zeros, unsynced: Vec::new() };
        self.files.insert(name.into(), file);
        Ok(())
    }

    fn read_at(&mut self, name: &str, offset: u64, buf: &mut [u8]) -> Result<usize, DiskFault> {
        if let Some((bad, at)) = &self.faults.bad_sector
            && bad == name
            && (offset..offset + buf.len() as u64).contains(at)
        {
            return Err(DiskFault::Failed("input/output error".into()));
        }
        let view = &self.file(name)?.view;
        let from = view.len().min(offset as usize);
        let count = buf.len().min(view.len() - from);
        buf[..count].copy_from_slice(&view[from..from + count]);
        Ok(count)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskFault> {
        let outcome = self.call();
        let at = offset as usize;
        let file = self.file(name)?;
        assert!(at + bytes.len() <= file.view.len(), "a write beyond the end of {name}");
        // A write that fails may have happened in part.
        let done = if outcome.is_ok() { bytes.len() } else { bytes.len() / 2 };
        file.view[at..at + done].copy_from_slice(&bytes[..done]);
        file.unsynced.push((at, bytes[..done].to_vec()));
        outcome
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskFault> {
        if self.mutant == Mutant::NoSync {
            return Ok(());
        }
        match self.sync_once(name) {
            Err(_) if self.mutant == Mutant::SyncRetried => self.sync_once(name),
            outcome => outcome,
        }
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskFault> {
        self.call()?;
        let file = self.files.remove(name).ok_or_else(|| DiskFault::Failed(format!("no file {name}")))?;
        self.removed.insert(name.into(), file);
        Ok(())
    }
}
