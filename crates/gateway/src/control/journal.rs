//! Orders and results on disk: one line of JSON each, in the order in which they happened, synced one by one. A line that
//! a power cut tore off is no entry; everything before it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tracing::error;

use super::{Entry, REMEMBERED_MAX};

/// Beyond this many bytes the journal is written anew at the next start (beyond four times as many at once), with what is
/// still remembered.
const BYTES_MAX: u64 = 1 << 20;
/// Entries on their way to the disk; there are never more orders under way.
const WAITING_MAX: usize = 256;

/// The writing end, on its own thread: a card may take half a second for a sync.
pub struct Journal {
    entries: mpsc::Sender<Entry>,
    /// One message for each entry that is durable.
    pub kept: mpsc::Receiver<()>,
}

impl Journal {
    /// Reads what there is in `folder`, and goes on after it. If that fails (a card that turned read-only), the journal
    /// keeps nothing and commands are not executed; polling does not depend on it.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Entry>)> {
        let path = folder.join("commands.jsonl");
        let (file, entries) = begin(&path);
        let (sender, waiting) = mpsc::channel::<Entry>(WAITING_MAX);
        let (done, kept) = mpsc::channel(WAITING_MAX);
        match file {
            Ok(file) => {
                let writer = Writer { path, file, done };
                thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(waiting))?;
            }
            Err(error) => error!("failed to {error:#}; commands are not executed until the next start"),
        }
        Ok((Self { entries: sender, kept }, entries))
    }

    /// Makes the entry durable. False: too many wait, or the disk takes no more.
    pub fn keep(&self, entry: Entry) -> bool {
        self.entries.try_send(entry).is_ok()
    }
}

/// What runs on the journal's thread.
struct Writer {
    path: PathBuf,
    file: File,
    done: mpsc::Sender<()>,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Entry>) {
        while let Some(entry) = waiting.blocking_recv() {
            let line = line(&entry);
            if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
                // What is not durable is not executed: the order stays without an end, and the log says why.
                error!(%error, "the journal of commands takes no more; commands are not executed");
                return;
            }
            if self.file.metadata().is_ok_and(|metadata| metadata.len() > 4 * BYTES_MAX) {
                match again(&self.path) {
                    Ok(renewed) => self.file = renewed,
                    Err(error) => error!(%error, "the journal of commands cannot be renewed"),
                }
            }
            if self.done.blocking_send(()).is_err() {
                return;
            }
        }
    }
}

/// The file to write on, and the entries that could be read. A file that cannot be read is not touched.
fn begin(path: &Path) -> (Result<File>, Vec<Entry>) {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return (Err(error).with_context(|| format!("read {}", path.display())), Vec::new()),
    };
    let (mut entries, whole) = parse(&text);
    let file = if text.len() as u64 > BYTES_MAX { renew(path, &mut entries) } else { go_on(path, whole) };
    (file, entries)
}

fn again(path: &Path) -> Result<File> {
    let (mut entries, _) = parse(&std::fs::read(path)?);
    renew(path, &mut entries)
}

fn line(entry: &Entry) -> Vec<u8> {
    let mut line = serde_json::to_vec(entry).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The entries, and how many bytes of the text they take.
fn parse(text: &[u8]) -> (Vec<Entry>, u64) {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let entries =
        text[..whole].split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    (entries.collect(), whole as u64)
}

fn go_on(path: &Path, whole: u64) -> Result<File> {
    let open = || {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(whole)?;
        file.sync_all()?;
        sync_folder(path)?;
        Ok::<_, io::Error>(file)
    };
    open().with_context(|| format!("open {}", path.display()))
}

/// A new file with the newest entries takes the place of the old one at once or not at all.
fn renew(path: &Path, entries: &mut Vec<Entry>) -> Result<File> {
    let old = entries.len().saturating_sub(3 * REMEMBERED_MAX);
    entries.drain(..old);
    let fresh: PathBuf = path.with_extension("jsonl.new");
    let write = || {
        let mut file = File::create(&fresh)?;
        for entry in entries.iter() {
            file.write_all(&line(entry))?;
        }
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        sync_folder(path)?;
        OpenOptions::new().append(true).open(path)
    };
    write().with_context(|| format!("renew {}", path.display()))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_again_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("commands.jsonl");
        let entry = |n: u32| Entry::Confirmed(format!("id-{n}"));
        let (mut journal, found) = Journal::open(folder.path()).expect("a journal");
        assert_eq!(found, []);
        for n in 0..3 {
            assert!(journal.keep(entry(n)));
            assert_eq!(journal.kept.blocking_recv(), Some(()));
        }
        drop(journal);
        let whole = std::fs::read(&path).expect("a file");
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("written");
            let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
            let (mut journal, found) = Journal::open(folder.path()).expect("a journal");
            assert_eq!(found, (0..lines as u32).map(entry).collect::<Vec<_>>(), "cut at {cut}");
            assert!(journal.keep(entry(9)));
            assert_eq!(journal.kept.blocking_recv(), Some(()));
            drop(journal);
            let (_, again) = Journal::open(folder.path()).expect("a journal");
            assert_eq!(again.last(), Some(&entry(9)));
            assert_eq!(again.len(), lines + 1);
        }
    }
}
