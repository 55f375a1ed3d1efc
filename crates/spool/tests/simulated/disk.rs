//! A disk in memory that behaves as badly as a card in a field: unsynced writes are torn by sector and reordered by
//! a power cut, removals may come back, any call may fail, room may run out.
#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;

use sitian_spool::{Disk, DiskFault, File};

const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
pub struct MemoryFile {
    /// What a read returns.
    pub view: Vec<u8>,
    /// What is certainly on the medium.
    pub durable: Vec<u8>,
    /// Written since the last sync.
    pub unsynced: Vec<(usize, Vec<u8>)>,
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The mutating call with this number fails, once.
    pub fail_at: Option<u64>,
    /// From this mutating call on, nothing works: the power is off.
    pub power_off_at: Option<u64>,
    pub read_only: bool,
    /// Reads that touch this byte of this file fail.
    pub bad_sector: Option<(String, u64)>,
    /// Bytes of all files together.
    pub capacity: Option<u64>,
    pub list_fails: bool,
    /// Sync returns without having done anything.
    pub lying_sync: bool,
}

#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    pub files: BTreeMap<String, MemoryFile>,
    /// Removed, but the directory was not synced since.
    pub removed: BTreeMap<String, MemoryFile>,
    pub faults: Faults,
    /// Mutating calls so far.
    pub calls: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub syncs: u64,
}

impl MemoryDisk {
    /// What is left after the power went: each unsynced sector is kept, lost or trashed.
    pub fn power_cut(mut self, random: &mut fastrand::Rng) -> Self {
        for (name, file) in std::mem::take(&mut self.removed) {
            if random.bool() && !self.files.contains_key(&name) {
                self.files.insert(name, file);
            }
        }
        for file in self.files.values_mut() {
            for (at, bytes) in file.unsynced.drain(..) {
                let mut start = at;
                while start < at + bytes.len() {
                    let end = ((start / SECTOR + 1) * SECTOR).min(at + bytes.len());
                    match random.u8(..8) {
                        0..=3 => file.durable[start..end].copy_from_slice(&bytes[start - at..end - at]),
                        4 => file.durable[start..end].iter_mut().for_each(|b| *b = random.u8(..)),
                        _ => {}
                    }
                    start = end;
                }
            }
            file.view = file.durable.clone();
        }
        Self { files: self.files, ..Self::default() }
    }

    /// What is left after only the process died: the operating system still has everything.
    pub fn process_death(self) -> Self {
        Self { files: self.files, ..Self::default() }
    }

    /// Changes a file behind the spool's back.
    pub fn tamper(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let file = self.files.get_mut(name).unwrap();
        change(&mut file.view);
        file.durable = file.view.clone();
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
}

impl Disk for MemoryDisk {
    fn list(&mut self) -> Result<Vec<File>, DiskFault> {
        if self.faults.list_fails {
            return Err(DiskFault::Failed("input/output error".into()));
        }
        Ok(self.files.iter().map(|(name, f)| File { name: name.clone(), len: f.view.len() as u64 }).collect())
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskFault> {
        self.call()?;
        let used: u64 = self.files.values().map(|f| f.view.len() as u64).sum();
        if self.faults.capacity.is_some_and(|capacity| used + len > capacity) {
            return Err(DiskFault::Full);
        }
        if self.files.contains_key(name) {
            return Err(DiskFault::Failed("file exists".into()));
        }
        let zeros = vec![0; len as usize];
        self.removed.remove(name);
        self.files
            .insert(name.into(), MemoryFile { view: zeros.clone(), durable: zeros, unsynced: Vec::new() });
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
        self.bytes_read += count as u64;
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
        self.bytes_written += done as u64;
        outcome
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskFault> {
        let outcome = self.call();
        let lying = self.faults.lying_sync;
        self.syncs += 1;
        let file = self.file(name)?;
        if outcome.is_ok() && !lying {
            for (at, bytes) in file.unsynced.drain(..) {
                file.durable[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            self.removed.clear();
        } else if !lying {
            // As on Linux: the pages count as clean afterwards, reads see them, the medium does not have them.
            file.unsynced.clear();
        }
        outcome
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskFault> {
        self.call()?;
        let file = self.files.remove(name).ok_or_else(|| DiskFault::Failed(format!("no file {name}")))?;
        self.removed.insert(name.into(), file);
        Ok(())
    }
}
