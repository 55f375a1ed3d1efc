//! What can go wrong with the store, split by what the operator or the caller does next.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use sitian_registry::RegistryError;

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to this file: only one may.
    #[error("open the store {}: {holder} has it open; stop that process or choose another data folder", path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// The file belongs to something else. It was not touched.
    #[error("open the store {}: {why}; choose another data folder or put a backup in its place", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: &'static str,
    },
    /// A newer version of the program has written it. It was not touched.
    #[error(
        "open the store {}: its schema {found} is newer than {known}, the newest this program knows; install the newer program again",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// An older version of the program has written it, and it was opened for reading only.
    #[error("open the store {}: its schema is older than this program's; start the ingestor once, it brings it up to date", path.display())]
    Older {
        /// The database file.
        path: PathBuf,
    },
    /// Something is where nothing may be overwritten.
    #[error("write {}: it is there already; name another file or move it away", path.display())]
    Occupied {
        /// What is there.
        path: PathBuf,
    },
    /// What is to be put in place of a store is damaged; the store was not touched.
    #[error("trust {}: {what}; choose another backup", path.display())]
    Untrusted {
        /// The backup.
        path: PathBuf,
        /// The first thing that is wrong with it.
        what: String,
    },
    /// The folder or the lock file cannot be used.
    #[error("use {}", path.display())]
    Folder {
        /// What was to be used.
        path: PathBuf,
        /// Why it cannot.
        #[source]
        source: io::Error,
    },
    /// Nothing was stored; the same call may be made again once there is room.
    #[error("write to the store: the disk is full; make room in the data folder, then it goes on by itself")]
    DiskFull,
    /// The file is damaged. What was read before stays valid.
    #[error(
        "read the store: {what}; the disk may be failing: copy the data folder away, then put a backup in its place or try `sitian-ingestor doctor --repair`"
    )]
    Damaged {
        /// What is damaged.
        what: String,
    },
    /// Whoever asked has left.
    #[error("answer: nobody wants it any more")]
    Stopped,
    /// The database engine refuses for another reason; nothing was stored.
    #[error("use the store")]
    Database(#[source] rusqlite::Error),
}

impl StoreError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

/// A full disk may have room later; for anything else a person is needed.
impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::Later(Box::new(error)),
            _ => Self::Never(Box::new(error)),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::damaged(error.to_string()),
            _ => Self::Database(error),
        }
    }
}
