//! The spool's directory on a real file system. Knows files; knows nothing of segments or frames.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sitian_model::Mutant;
use sitian_spool::{Disk, DiskFault, File as Entry};

/// Files opened at once; the spool works on two or three.
const OPEN_MAX: usize = 8;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A directory that is locked against a second gateway for as long as this value lives.
pub struct FolderDisk {
    folder: PathBuf,
    directory: File,
    /// Nothing may be changed.
    frozen: bool,
    open: HashMap<String, File>,
}

impl FolderDisk {
    /// Opens the folder, which is made if it is missing. An error says whether another process holds it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let directory = File::open(folder)?;
        rustix::fs::flock(&directory, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
            |_| {
                io::Error::new(
                    ErrorKind::ResourceBusy,
                    "another gateway works on this spool: stop it or name another folder",
                )
            },
        )?;
        Ok(Self { folder: folder.to_owned(), directory, frozen: false, open: HashMap::new() })
    }

    /// Looks into a folder without locking it and without changing anything: whatever would is refused.
    pub fn look(folder: &Path) -> io::Result<Self> {
        let directory = File::open(folder)?;
        Ok(Self { folder: folder.to_owned(), directory, frozen: true, open: HashMap::new() })
    }

    fn may_change(&self) -> Result<(), DiskFault> {
        if self.frozen { Err(DiskFault::Failed("opened for looking only".to_owned())) } else { Ok(()) }
    }

    fn file(&mut self, name: &str) -> io::Result<&File> {
        if !self.open.contains_key(name) {
            if self.open.len() >= OPEN_MAX {
                self.open.clear();
            }
            let file = File::options().read(true).write(true).open(self.folder.join(name));
            // A card that turned read-only can still be read.
            let file = file.or_else(|_| File::open(self.folder.join(name)))?;
            self.open.insert(name.to_owned(), file);
        }
        self.open.get(name).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn create_zeroed(&mut self, name: &str, len: u64) -> io::Result<()> {
        let mut file =
            File::options().read(true).write(true).create_new(true).open(self.folder.join(name))?;
        let mut left = len;
        while left > 0 {
            let part = left.min(ZEROS.len() as u64);
            file.write_all(&ZEROS[..part as usize])?;
            left -= part;
        }
        file.sync_all()?;
        if !Mutant::DirectoryNotSynced.lives() {
            self.directory.sync_all()?;
        }
        self.open.insert(name.to_owned(), file);
        Ok(())
    }
}

fn fault(error: io::Error) -> DiskFault {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskFault::Full,
        _ => DiskFault::Failed(error.to_string()),
    }
}

impl Disk for FolderDisk {
    fn list(&mut self) -> Result<Vec<Entry>, DiskFault> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let meta = entry.metadata().map_err(fault)?;
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                files.push(Entry { name, len: meta.len() });
            }
        }
        Ok(files)
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskFault> {
        self.may_change()?;
        self.create_zeroed(name, len).map_err(|error| {
            if error.kind() != ErrorKind::AlreadyExists {
                let _ = fs::remove_file(self.folder.join(name));
            }
            fault(error)
        })
    }

    fn read_at(&mut self, name: &str, offset: u64, buf: &mut [u8]) -> Result<usize, DiskFault> {
        let file = self.file(name).map_err(fault)?;
        let mut done = 0;
        while done < buf.len() {
            match file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskFault> {
        self.may_change()?;
        self.file(name).and_then(|file| file.write_all_at(bytes, offset)).map_err(fault)
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskFault> {
        self.file(name).and_then(File::sync_data).map_err(fault)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskFault> {
        self.may_change()?;
        self.open.remove(name);
        fs::remove_file(self.folder.join(name)).map_err(fault)
    }
}
