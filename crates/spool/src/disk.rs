//! The flat directory that the spool lives in. Implemented on real files by the gateway and in memory by tests.

/// Why the disk did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskFault {
    /// No room, or no more files allowed. Removing a segment may help.
    #[error("no space left on the disk")]
    Full,
    /// Anything else, in the words of the operating system.
    #[error("{0}")]
    Failed(String),
}

/// One file of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, without a directory.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// A flat directory of files. Calls return when the operating system answers; only what says "durable" is durable.
pub trait Disk {
    /// All files, in any order.
    fn list(&mut self) -> Result<Vec<File>, DiskFault>;

    /// Creates `name` with `len` zero bytes whose blocks are allocated; durable with its directory entry on return.
    /// An existing file of that name is a fault and stays as it is. After a fault nothing of the file remains.
    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskFault>;

    /// Reads into `buf` from `offset`; returns how many bytes there were, less than asked for only at the file's end.
    fn read_at(&mut self, name: &str, offset: u64, buf: &mut [u8]) -> Result<usize, DiskFault>;

    /// Writes all `bytes` at `offset`, within the file's length. Not durable before [`Disk::sync`].
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskFault>;

    /// Makes everything written to `name` so far durable.
    fn sync(&mut self, name: &str) -> Result<(), DiskFault>;

    /// Removes `name`; whether durably is not promised.
    fn remove(&mut self, name: &str) -> Result<(), DiskFault>;
}
