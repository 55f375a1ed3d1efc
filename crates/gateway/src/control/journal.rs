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
/// Entries on their way to the disk: [`super::KEEPING_MAX`], and room for two of every output that goes back to safety.
const WAITING_MAX: usize = 4_096;

/// The writing end, on its own thread: a card may take half a second for a sync.
pub struct Journal {
    entries: mpsc::Sender<Entry>,
    /// One message for each entry, in order: whether it is durable.
    pub kept: mpsc::Receiver<bool>,
}

/// What was found in the journal.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// False if there is, or may be, something that could not be read.
    pub whole: bool,
}

impl Journal {
    /// Reads what there is in `folder`, and goes on after it. If that fails (a card that turned read-only), each entry
    /// tries again and is told to be not durable; polling does not depend on it.
    pub fn open(folder: &Path) -> Result<(Self, Found)> {
        let path = folder.join("commands.jsonl");
        let (file, found) = begin(&path);
        let (sender, waiting) = mpsc::channel::<Entry>(WAITING_MAX);
        let (done, kept) = mpsc::channel(WAITING_MAX);
        let file = file.inspect_err(|error| error!("failed to {error:#}; commands are refused")).ok();
        let writer = Writer { path, file, done };
        thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(waiting))?;
        Ok((Self { entries: sender, kept }, found))
    }

    /// Hands the entry to the card; [`Journal::kept`] tells the end. False: too many wait, and this one will not be kept.
    pub fn keep(&self, entry: Entry) -> bool {
        self.entries.try_send(entry).is_ok()
    }
}

/// What runs on the journal's thread.
struct Writer {
    path: PathBuf,
    /// None after a failure: what it left in the file is found out by opening it again.
    file: Option<File>,
    done: mpsc::Sender<bool>,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Entry>) {
        while let Some(entry) = waiting.blocking_recv() {
            let kept = self.keep(&entry);
            if let Err(error) = &kept {
                self.file = None;
                error!("failed to {error:#}; a command is refused, or its result not recorded");
            }
            if self.done.blocking_send(kept.is_ok()).is_err() {
                return;
            }
        }
    }

    fn keep(&mut self, entry: &Entry) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(begin(&self.path).0?),
        };
        let write = file.write_all(&line(entry)).and_then(|()| file.sync_data());
        write.with_context(|| format!("write {}", self.path.display()))?;
        if file.metadata().is_ok_and(|metadata| metadata.len() > 4 * BYTES_MAX) {
            match again(&self.path) {
                Ok(renewed) => self.file = Some(renewed),
                Err(error) => error!(%error, "the journal of commands cannot be renewed"),
            }
        }
        Ok(())
    }
}

/// The file to write on, and what could be read. A file that cannot be read is not touched.
fn begin(path: &Path) -> (Result<File>, Found) {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let error = Err(error).with_context(|| format!("read {}", path.display()));
            return (error, Found { entries: Vec::new(), whole: false });
        }
    };
    let (mut found, bytes) = parse(&text);
    let file =
        if text.len() as u64 > BYTES_MAX { renew(path, &mut found.entries) } else { go_on(path, bytes) };
    (file, found)
}

fn again(path: &Path) -> Result<File> {
    let (mut found, _) = parse(&std::fs::read(path)?);
    renew(path, &mut found.entries)
}

fn line(entry: &Entry) -> Vec<u8> {
    let mut line = serde_json::to_vec(entry).unwrap_or_default();
    line.push(b'\n');
    line
}

/// What is in the text, and how many bytes of it are lines with an end.
fn parse(text: &[u8]) -> (Found, u64) {
    let bytes = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut found = Found { entries: Vec::new(), whole: true };
    for line in text[..bytes].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(entry) => found.entries.push(entry),
            Err(_) => found.whole = false,
        }
    }
    (found, bytes as u64)
}

fn go_on(path: &Path, bytes: u64) -> Result<File> {
    let open = || {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(bytes)?;
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

    fn entry(n: u32) -> Entry {
        Entry::Confirmed(format!("id-{n}"))
    }

    #[test]
    fn what_was_kept_is_there_again_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("commands.jsonl");
        let (mut journal, found) = Journal::open(folder.path()).expect("a journal");
        assert_eq!(found, Found { entries: vec![], whole: true });
        for n in 0..3 {
            assert!(journal.keep(entry(n)));
            assert_eq!(journal.kept.blocking_recv(), Some(true));
        }
        drop(journal);
        let text = std::fs::read(&path).expect("a file");
        for cut in 0..=text.len() {
            std::fs::write(&path, &text[..cut]).expect("written");
            let lines = text[..cut].iter().filter(|byte| **byte == b'\n').count();
            let (mut journal, found) = Journal::open(folder.path()).expect("a journal");
            let entries = (0..lines as u32).map(entry).collect();
            assert_eq!(found, Found { entries, whole: true }, "cut at {cut}");
            assert!(journal.keep(entry(9)));
            assert_eq!(journal.kept.blocking_recv(), Some(true));
            drop(journal);
            let (_, again) = Journal::open(folder.path()).expect("a journal");
            assert_eq!(again.entries.last(), Some(&entry(9)));
            assert_eq!((again.entries.len(), again.whole), (lines + 1, true));
        }
    }

    #[test]
    fn a_line_that_is_not_understood_and_a_file_that_cannot_be_read_are_not_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("commands.jsonl");
        std::fs::write(&path, "{\"confirmed\":\"id-1\"}\n{\"confXrmed\":\"id-2\"}\n").expect("written");
        let (_, found) = Journal::open(folder.path()).expect("a journal");
        assert_eq!(found, Found { entries: vec![entry(1)], whole: false });
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("something that is no file");
        let (mut journal, found) = Journal::open(folder.path()).expect("a gateway goes on without");
        assert_eq!(found, Found { entries: vec![], whole: false });
        for n in 0..2 {
            assert!(journal.keep(entry(n)));
            assert_eq!(journal.kept.blocking_recv(), Some(false));
        }
        // The card takes records again: so does the journal, without a restart.
        std::fs::remove_dir(&path).expect("removed");
        assert!(journal.keep(entry(3)));
        assert_eq!(journal.kept.blocking_recv(), Some(true));
        drop(journal);
        let (_, found) = Journal::open(folder.path()).expect("a journal");
        assert_eq!(found, Found { entries: vec![entry(3)], whole: true });
    }
}
