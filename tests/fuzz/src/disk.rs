//! A spool's folder in memory.

use std::collections::BTreeMap;

use sitian_spool::{Disk, DiskFault, File};

/// Files by name.
#[derive(Clone, Default)]
pub struct Memory(pub BTreeMap<String, Vec<u8>>);

fn missing() -> DiskFault {
    DiskFault::Failed("no such file".to_owned())
}

impl Disk for Memory {
    fn list(&mut self) -> Result<Vec<File>, DiskFault> {
        Ok(self.0.iter().map(|(name, bytes)| File { name: name.clone(), len: bytes.len() as u64 }).collect())
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskFault> {
        if self.0.contains_key(name) {
            return Err(DiskFault::Failed("it exists".to_owned()));
        }
        self.0.insert(name.to_owned(), vec![0; len as usize]);
        Ok(())
    }

    fn read_at(&mut self, name: &str, offset: u64, buf: &mut [u8]) -> Result<usize, DiskFault> {
        let bytes = self.0.get(name).ok_or_else(missing)?;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskFault> {
        let file = self.0.get_mut(name).ok_or_else(missing)?;
        let end = offset as usize + bytes.len();
        file.get_mut(offset as usize..end).ok_or_else(missing)?.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, _: &str) -> Result<(), DiskFault> {
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskFault> {
        self.0.remove(name).map(|_| ()).ok_or_else(missing)
    }
}
