//! The book of commands: what was ordered from gateways, and what they say came of it. A file of JSON lines beside the
//! store, each synced before anybody is told; a line that a power cut tore off is none.
//!
//! A command is sent at once and every five seconds until the gateway answers or it expires: the gateway executes an id
//! once. A result is confirmed to the gateway once it is in the book, and comes again otherwise.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sitian_api::view::{Command, CommandState, NewCommand};
use sitian_api::{Presenter, in_words};
use sitian_model::{GatewayId, Timestamp};
use sitian_wire::{CommandResult, Outcome, WriteCommand};
use tracing::warn;

/// Commands that are remembered; with twice as many the book is written anew, without the oldest.
const REMEMBERED_MAX: usize = 10_000;

/// A command that nobody has answered is sent again after so many milliseconds.
const RESEND_MS: i64 = 5_000;
/// Commands of one gateway that wait for an answer; more are refused.
pub const WAITING_MAX: usize = 64;

/// Why an order is not in the book.
#[derive(Debug)]
pub enum OrderError {
    /// [`WAITING_MAX`] commands of this gateway wait for an answer already.
    TooMany,
    /// The disk takes no records.
    Disk(io::Error),
}

/// One command with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    id: String,
    gateway: String,
    device: String,
    point: String,
    value: f64,
    by: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    for_s: u32,
    /// When the centre took it, or heard of it; Unix milliseconds.
    at_ms: i64,
    expires_ms: i64,
    /// `done`, `refused`, `failed`; empty while there is no answer.
    outcome: String,
    detail: String,
    read_back: Option<f64>,
    ended_ms: Option<i64>,
    /// When it was sent last by this process; Unix milliseconds.
    #[serde(skip)]
    sent_ms: i64,
}

/// All of them.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    file: File,
    /// How much of the file is whole lines, in bytes.
    whole: u64,
    pages: Pages,
}

#[derive(Debug, Default)]
struct Pages {
    /// Oldest first; the newest line of an id counts.
    list: Vec<Page>,
    by_id: BTreeMap<(String, String), usize>,
}

impl Book {
    /// Opens the book beside the store in this file, or begins one.
    pub fn beside(storage: &Path) -> io::Result<Self> {
        Self::open(storage.with_file_name("commands.jsonl"))
    }

    fn open(path: PathBuf) -> io::Result<Self> {
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut pages = Pages::default();
        for line in lines {
            match serde_json::from_slice(line) {
                Ok(page) => pages.turn(page),
                Err(error) => {
                    warn!(%error, path = %path.display(), "a command in the book is not understood")
                }
            }
        }
        let (file, whole) = pages.write_anew(&path, REMEMBERED_MAX)?;
        Ok(Self { path, file, whole, pages })
    }

    fn keep(&mut self, page: Page) -> io::Result<()> {
        let line = line(&page)?;
        if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // What is there of the line must not spoil the next one.
            self.file.set_len(self.whole)?;
            return Err(error);
        }
        self.whole += line.len() as u64;
        self.pages.turn(page);
        if self.pages.list.len() >= 2 * REMEMBERED_MAX {
            (self.file, self.whole) = self.pages.write_anew(&self.path, REMEMBERED_MAX)?;
        }
        Ok(())
    }

    fn known(&self, gateway: &GatewayId, id: &str) -> Option<&Page> {
        let at = self.pages.by_id.get(&(gateway.to_string(), id.to_owned()))?;
        self.pages.list.get(*at)
    }

    /// Notes an order, durably; one that is known already stays as it is. Returns it.
    pub fn order(
        &mut self,
        gateway: &GatewayId,
        write: WriteCommand,
        reason: &str,
        now: Timestamp,
    ) -> Result<Page, OrderError> {
        if let Some(known) = self.known(gateway, &write.id) {
            return Ok(known.clone());
        }
        if self.waiting(Some(gateway), now).count() >= WAITING_MAX {
            return Err(OrderError::TooMany);
        }
        let page = Page { reason: reason.to_owned(), ..page(gateway, write, now) };
        self.keep(page.clone()).map_err(OrderError::Disk)?;
        Ok(page)
    }

    /// Notes a result, durably; the same again changes nothing.
    pub fn result(&mut self, gateway: &GatewayId, result: CommandResult, now: Timestamp) -> io::Result<()> {
        let known = self.known(gateway, &result.command.id).cloned();
        if known.as_ref().is_some_and(|page| !page.outcome.is_empty()) {
            return Ok(());
        }
        let mut page = known.unwrap_or_else(|| page(gateway, result.command, now));
        page.outcome = result.outcome.word().to_owned();
        page.detail = result.detail;
        page.read_back = result.read_back;
        page.ended_ms = Some(result.at_ms);
        self.keep(page)
    }

    /// What this gateway, or all of them, still has to be told; from now on it counts as sent.
    pub fn pending(&mut self, gateway: Option<&GatewayId>, now: Timestamp) -> Vec<(GatewayId, WriteCommand)> {
        let at: Vec<usize> = self.waiting(gateway, now).collect();
        self.send(&at, now)
    }

    /// What was sent and not answered for so long that it may have been lost; from now on it counts as sent.
    pub fn overdue(&mut self, now: Timestamp) -> Vec<(GatewayId, WriteCommand)> {
        let long_ago = |at: &usize| now.0 - self.pages.list[*at].sent_ms >= RESEND_MS;
        let at: Vec<usize> = self.waiting(None, now).filter(long_ago).collect();
        self.send(&at, now)
    }

    /// Positions of the pages that wait for an answer.
    fn waiting(&self, gateway: Option<&GatewayId>, now: Timestamp) -> impl Iterator<Item = usize> {
        let wanted = move |page: &Page| {
            page.outcome.is_empty()
                && page.expires_ms >= now.0
                && gateway.is_none_or(|gateway| gateway.as_str() == page.gateway)
        };
        let pages = self.pages.list.iter().enumerate();
        pages.filter(move |(_, page)| wanted(page)).map(|(at, _)| at)
    }

    fn send(&mut self, at: &[usize], now: Timestamp) -> Vec<(GatewayId, WriteCommand)> {
        let list = &mut self.pages.list;
        let sent = at.iter().filter_map(|at| {
            list[*at].sent_ms = now.0;
            Some((GatewayId::new(&list[*at].gateway).ok()?, list[*at].write()))
        });
        sent.collect()
    }

    /// The newest, first, of the gateways that are wanted.
    pub fn newest(&self, wanted: impl Fn(&str) -> bool, most: usize) -> Vec<Page> {
        let of = |page: &&Page| wanted(&page.gateway);
        self.pages.list.iter().rev().filter(of).take(most).cloned().collect()
    }

    /// The newest for one output.
    pub fn last(&self, gateway: &GatewayId, device: &str, point: &str) -> Option<Page> {
        let of =
            |page: &&Page| page.gateway == gateway.as_str() && page.device == device && page.point == point;
        self.pages.list.iter().rev().find(of).cloned()
    }
}

impl Pages {
    fn turn(&mut self, page: Page) {
        let key = (page.gateway.clone(), page.id.clone());
        match self.by_id.get(&key) {
            Some(at) => self.list[*at] = page,
            None => {
                self.by_id.insert(key, self.list.len());
                self.list.push(page);
            }
        }
    }

    /// A file with the newest takes the place of the old one at once or not at all. Returns it with its bytes.
    fn write_anew(&mut self, path: &Path, most: usize) -> io::Result<(File, u64)> {
        let old = self.list.len().saturating_sub(most);
        let kept = self.list.split_off(old);
        *self = Self::default();
        let mut text = Vec::new();
        for page in kept {
            text.extend(line(&page)?);
            self.turn(page);
        }
        let fresh = path.with_extension("jsonl.new");
        let mut file = File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok((OpenOptions::new().append(true).open(path)?, text.len() as u64))
    }
}

impl Page {
    fn write(&self) -> WriteCommand {
        WriteCommand {
            id: self.id.clone(),
            device: self.device.clone(),
            point: self.point.clone(),
            value: self.value,
            by: self.by.clone(),
            expires_ms: self.expires_ms,
            for_s: self.for_s,
        }
    }

    /// As the API shows it.
    pub fn view(self, presenter: &Presenter, now: Timestamp) -> Command {
        let state = match self.outcome.as_str() {
            "" if self.expires_ms < now.0 => CommandState::Expired,
            "" => CommandState::Pending,
            word if word == Outcome::Done.word() => CommandState::Done,
            word if word == Outcome::Refused.word() => CommandState::Refused,
            _ => CommandState::Failed,
        };
        Command {
            id: self.id,
            gateway: self.gateway,
            device: self.device,
            point: self.point,
            value: self.value,
            own: self.by.strip_prefix("gateway: ").map(in_words),
            by: self.by,
            reason: self.reason,
            for_s: (self.for_s > 0).then_some(self.for_s),
            state,
            sentence: in_words(&self.detail),
            detail: self.detail,
            read_back: self.read_back,
            at: presenter.time(Timestamp(self.at_ms)),
            expires: (self.expires_ms > 0).then(|| presenter.time(Timestamp(self.expires_ms))),
            ended: self.ended_ms.map(|at| presenter.time(Timestamp(at))),
        }
    }
}

/// The order as the gateway gets it; it expires by the centre's clock, 60 s from now unless it says otherwise.
pub fn order(wanted: &NewCommand, now: Timestamp) -> WriteCommand {
    let NewCommand { id, device, point, value, by, within_s, for_s, .. } = wanted.clone();
    let expires_ms = now.0 + i64::from(within_s.unwrap_or(60)) * 1_000;
    WriteCommand { id, device, point, value, by, expires_ms, for_s: for_s.unwrap_or(0) }
}

fn page(gateway: &GatewayId, write: WriteCommand, now: Timestamp) -> Page {
    let WriteCommand { id, device, point, value, by, expires_ms, for_s } = write;
    Page {
        id,
        gateway: gateway.to_string(),
        device,
        point,
        value,
        by,
        reason: String::new(),
        for_s,
        at_ms: now.0,
        expires_ms,
        outcome: String::new(),
        detail: String::new(),
        read_back: None,
        ended_ms: None,
        sent_ms: 0,
    }
}

fn line(page: &Page) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(page)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(id: &str) -> WriteCommand {
        let (device, point, by) = ("relay".to_owned(), "relay_1".to_owned(), "王".to_owned());
        WriteCommand { id: id.to_owned(), device, point, value: 1.0, by, expires_ms: 1_000, for_s: 0 }
    }

    #[test]
    fn orders_and_results_are_there_again_after_a_restart_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("commands.jsonl");
        let gateway = GatewayId::new("gw-1").expect("an id");
        let mut book = Book::open(path.clone()).expect("a book");
        for id in ["a", "b"] {
            book.order(&gateway, write(id), "why", Timestamp(5)).expect("kept");
        }
        let again = book
            .order(&gateway, WriteCommand { value: 0.0, ..write("a") }, "why", Timestamp(9))
            .expect("known");
        assert_eq!((again.value, again.at_ms), (1.0, 5), "the first order with an id counts");
        let detail = "read back".to_owned();
        let result = |outcome| CommandResult {
            command: write("a"),
            outcome,
            detail: detail.clone(),
            read_back: Some(1.0),
            at_ms: 7,
        };
        book.result(&gateway, result(Outcome::Done), Timestamp(8)).expect("kept");
        book.result(&gateway, result(Outcome::Failed), Timestamp(9)).expect("known");
        let pages = book.newest(|_| true, 9);
        assert_eq!(pages.iter().map(|p| p.outcome.as_str()).collect::<Vec<_>>(), ["", "done"]);
        drop(book);
        let mut text = std::fs::read(&path).expect("a file");
        text.extend(b"{\"id\":\"torn");
        std::fs::write(&path, text).expect("written");
        let mut book = Book::open(path.clone()).expect("a book");
        assert_eq!(book.newest(|_| true, 9), pages);
        let mut pending = |now| book.pending(Some(&gateway), Timestamp(now)).len();
        assert_eq!((pending(1_000), pending(1_001)), (1, 0), "what has expired is not sent any more");
        assert_eq!(book.newest(|gateway| gateway == "gw-2", 9), []);
    }

    #[test]
    fn a_command_that_nobody_answers_is_sent_every_five_seconds_until_it_expires() {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = GatewayId::new("gw-1").expect("an id");
        let mut book = Book::open(folder.path().join("commands.jsonl")).expect("a book");
        let order = |id: &str| WriteCommand { expires_ms: 12_000, ..write(id) };
        book.order(&gateway, order("a"), "why", Timestamp(1_000)).expect("kept");
        book.order(&gateway, order("b"), "why", Timestamp(1_000)).expect("kept");
        assert_eq!(book.pending(Some(&gateway), Timestamp(1_000)).len(), 2);
        let sent = |book: &mut Book, now| -> Vec<String> {
            book.overdue(Timestamp(now)).into_iter().map(|(_, write)| write.id).collect()
        };
        assert_eq!(sent(&mut book, 5_999), [""; 0]);
        assert_eq!(sent(&mut book, 6_000), ["a", "b"]);
        assert_eq!(sent(&mut book, 6_001), [""; 0]);
        let outcome = Outcome::Done;
        let result =
            CommandResult { command: order("a"), outcome, detail: String::new(), read_back: None, at_ms: 7 };
        book.result(&gateway, result, Timestamp(7_000)).expect("kept");
        assert_eq!(sent(&mut book, 11_000), ["b"]);
        assert_eq!(sent(&mut book, 16_000), [""; 0], "it has expired");
    }

    #[test]
    fn a_gateway_that_answers_nothing_is_not_given_more_and_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (GatewayId::new("gw-1").expect("an id"), GatewayId::new("gw-2").expect("an id"));
        let mut book = Book::open(folder.path().join("commands.jsonl")).expect("a book");
        for n in 0..WAITING_MAX {
            book.order(&one, write(&format!("c-{n}")), "why", Timestamp(5)).expect("kept");
        }
        assert!(matches!(book.order(&one, write("more"), "why", Timestamp(6)), Err(OrderError::TooMany)));
        book.order(&one, write("c-0"), "why", Timestamp(6)).expect("it is known");
        book.order(&other, write("more"), "why", Timestamp(6)).expect("another gateway's");
        book.order(&one, write("more"), "why", Timestamp(1_001)).expect("those before it have expired");
    }
}
