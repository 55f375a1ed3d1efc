//! `sitian-ingestor quarantine`: what nobody understood, for people.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use anyhow::{Context, Result, bail};
use sitian_api::{Live, Presenter};
use sitian_settings::Faults;
use sitian_store_embedded::{ListFilter, Reader, Store};
use tokio::sync::mpsc;

use crate::admit::{Admission, now};
use crate::backend::Centre;
use crate::board::Board;
use crate::link::Outlet;
use crate::parts::Parts;
use crate::settings::Source;

/// Entries read at once.
const PAGE: usize = 500;

/// What is to be done with it.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print every entry: gateway, epoch, records, bytes, reason. Works beside a running ingestor.
    List(Source),
    /// Read everything again with this program and store what it understands. The ingestor does so at each start; this is
    /// for one that is stopped.
    Retry(Source),
    /// Write the bytes of one entry, or of all, to files in a folder. Works beside a running ingestor.
    Export {
        #[command(flatten)]
        source: Source,
        /// Where to; made if it is not there.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        /// Only the entry of this number.
        #[arg(long, value_name = "NUMBER")]
        id: Option<u64>,
    },
}

/// Does it.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::List(source) => list(&Store::look_into(&judge(source)?.storage)?),
        Command::Retry(source) => retry(judge(source)?),
        Command::Export { source, to, id } => export(&Store::look_into(&judge(source)?.storage)?, to, *id),
    }
}

fn judge(source: &Source) -> Result<Parts> {
    let loaded = source.load()?;
    Ok(Parts::judge(&loaded, source.folder()).map_err(Faults)?)
}

fn pages(
    reader: &Reader,
    mut each: impl FnMut(&sitian_store_embedded::QuarantineStored) -> Result<()>,
) -> Result<()> {
    let mut before = None;
    loop {
        let filter = ListFilter { gateways: None, since: None, before, limit: PAGE };
        let page = reader.quarantine(&filter).context("read the quarantine")?;
        page.iter().try_for_each(&mut each)?;
        match page.last() {
            Some(last) if page.len() == PAGE => before = Some(last.id),
            _ => return Ok(()),
        }
    }
}

fn list(reader: &Reader) -> Result<()> {
    println!(
        "{:>6}  {:<32}  {:<32}  {:>20}  {:>6}  state and reason",
        "id", "gateway", "epoch", "records", "bytes"
    );
    pages(reader, |entry| {
        let (epoch, records) = match entry.range {
            Some((epoch, first, end)) => {
                (epoch.to_string(), format!("{first}..={}", end.saturating_sub(1).max(first)))
            }
            None => ("unknown".to_owned(), "unknown".to_owned()),
        };
        let state = match entry.readings.filter(|_| entry.redecoded_at.is_some()) {
            Some(readings) => format!("read again, {readings} readings stored; was"),
            None => entry.form.word().to_owned(),
        };
        let (id, gateway) = (entry.id, entry.gateway.to_string());
        println!(
            "{id:>6}  {gateway:<32}  {epoch:<32}  {records:>20}  {:>6}  {state}: {}",
            entry.bytes, entry.reason
        );
        Ok(())
    })?;
    let all = ListFilter { gateways: None, since: None, before: None, limit: 0 };
    let counts = reader.quarantine_counts(&all).context("count the quarantine")?;
    println!("{} waiting ({} bytes), {} read again", counts.waiting, counts.bytes, counts.redecoded);
    Ok(())
}

fn retry(parts: Parts) -> Result<()> {
    let store = Store::open(&parts.storage)
        .context("open the store: stop the ingestor, which does this at its start")?;
    let (asks, asked) = mpsc::channel(1);
    let presenter =
        Presenter::new(parts.zone.clone(), parts.territory.clone(), parts.catalogue, parts.rules.clone());
    let centre = Arc::new(Centre {
        board: RwLock::new(Board::new(&parts.territory)),
        territory: parts.territory,
        presenter,
        reader: store.reader(),
        storage: parts.storage,
        asks,
    });
    let (outlet, live) = (Outlet::closed(), Live::new());
    let mut admission =
        Admission::restore(store, parts.rules, parts.start_grace, centre, outlet, live, asked)?;
    let (understood, left) = admission.reread_all(now());
    println!("{understood} entries read again and stored, {left} still not understood");
    Ok(())
}

fn export(reader: &Reader, folder: &Path, only: Option<u64>) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let mut written = 0;
    pages(reader, |entry| {
        if only.is_some_and(|id| id != entry.id) {
            return Ok(());
        }
        let raw = reader.quarantine_raw(entry.id).context("read the bytes")?.unwrap_or_default();
        let path = folder.join(format!("{}-{}.{}", entry.id, entry.gateway, entry.form.word()));
        std::fs::write(&path, raw).with_context(|| format!("write {}", path.display()))?;
        written += 1;
        Ok(())
    })?;
    match only {
        Some(id) if written == 0 => bail!("export entry {id}: there is none of this number"),
        _ => println!("{written} files in {}", folder.display()),
    }
    Ok(())
}
