//! A copy of the store in one file, taken while the ingestor runs, and the way back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sitian_model::Timestamp;

use crate::examination::{Examination, examine};
use crate::fault::StoreError;
use crate::lock::{Lock, beside};
use crate::schema;

/// Copies a store into a new file, in one snapshot and without free pages, whether or not a process writes to it. When
/// it returns the copy is durable and has been examined.
///
/// # Errors
/// There is no store, the file exists, what was copied is damaged, or the disk refuses. There is no half copy then.
pub fn back_up(store: &Path, file: &Path) -> Result<Examination, StoreError> {
    if file.exists() {
        return Err(StoreError::Occupied { path: file.to_owned() });
    }
    let part = beside(file, ".part");
    let _ = fs::remove_file(&part);
    let made = copy(store, &part).and_then(|()| trusted(&part));
    match made {
        Ok(examination) => {
            place(&part, file)?;
            Ok(examination)
        }
        Err(error) => {
            // What is left of it is of no use; that it cannot be removed is no news after an error.
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}

/// Puts a backup in the place of a store that no process has open. What is there is moved aside, to
/// `<store>.before-<milliseconds>`; that name is returned.
///
/// # Errors
/// The backup is damaged or no store, a process has the store open, or the disk refuses. The store is as it was then.
pub fn restore(backup: &Path, store: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    trusted(backup)?;
    let _lock = Lock::take(store)?;
    let part = beside(store, ".part");
    fs::copy(backup, &part).map_err(|source| StoreError::Folder { path: part.clone(), source })?;
    let aside = beside(store, &format!(".before-{}", now.0));
    let mut moved = None;
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (beside(store, suffix), beside(&aside, suffix));
        if from.exists() {
            fs::rename(&from, &to).map_err(|source| StoreError::Folder { path: from, source })?;
            moved = Some(aside.clone());
        }
    }
    place(&part, store)?;
    Ok(moved)
}

fn copy(store: &Path, part: &Path) -> Result<(), StoreError> {
    let connection = schema::existing(store)?;
    connection.execute("VACUUM INTO ?1", [part.to_string_lossy()])?;
    Ok(())
}

/// Examines a backup; the first finding is an error.
fn trusted(file: &Path) -> Result<Examination, StoreError> {
    let examination = examine(file)?;
    match examination.findings.first() {
        None => Ok(examination),
        Some(finding) => Err(StoreError::Untrusted { path: file.to_owned(), what: finding.to_string() }),
    }
}

/// Makes a file durable and gives it its name.
fn place(part: &Path, file: &Path) -> Result<(), StoreError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let done = File::open(part)
        .and_then(|open| open.sync_all())
        .and_then(|()| fs::rename(part, file))
        .and_then(|()| File::open(folder)?.sync_all());
    done.map_err(|source| StoreError::Folder { path: file.to_owned(), source })
}
