//! `sitian-ingestor quarantine`: what nobody understood, for people.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use anyhow::{Context, Result, bail};
use sitian_api::{Live, Presenter};
use sitian_registry::{ListFilter, Registry};
use sitian_settings::Faults;
use tokio::sync::mpsc;

use crate::admit::{Admission, Part, now};
use crate::backend::Centre;
use crate::board::Board;
use crate::commands::Book;
use crate::compaction::Compaction;
use crate::keeping::{self, Kept};
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
        Command::List(source) => list(&*keeping::look(&judge(source)?)?),
        Command::Retry(source) => retry(judge(source)?),
        Command::Export { source, to, id } => export(&*keeping::look(&judge(source)?)?, to, *id),
    }
}

fn judge(source: &Source) -> Result<Parts> {
    let loaded = source.load()?;
    Ok(Parts::judge(&loaded, source.folder()).map_err(Faults)?)
}

fn pages(
    reader: &dyn Registry,
    mut each: impl FnMut(&sitian_registry::QuarantineStored) -> Result<()>,
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

fn list(reader: &dyn Registry) -> Result<()> {
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
    let kept = keeping::open(&parts)
        .context("open what is kept: stop the ingestor, which does this at its start")?;
    let Kept { keeper, registry, elsewhere, series, compaction } = kept;
    let (asks, asked) = mpsc::channel(1);
    let presenter =
        Presenter::new(parts.zone.clone(), parts.territory.clone(), parts.catalogue, parts.rules.clone());
    let book = Book::beside(&parts.storage).context("open the commands")?;
    let centre = Arc::new(Centre {
        board: RwLock::new(Board::new(&parts.territory)),
        territory: parts.territory,
        presenter,
        reader: registry,
        series,
        storage: parts.storage,
        book: Mutex::new(book),
        outlet: Outlet::closed(),
        asks,
        others: None,
    });
    let (outlet, live) = (Outlet::closed(), Live::new());
    let mut admission = Admission::restore(
        (keeper, elsewhere, Part::All),
        parts.rules,
        parts.start_grace,
        centre,
        outlet,
        live,
        asked,
    )?;
    let reread = admission.reread_all(now());
    admission.close();
    compaction.into_iter().for_each(Compaction::end);
    let (understood, left) = reread?;
    println!("{understood} entries read again and stored, {left} still not understood");
    Ok(())
}

fn export(reader: &dyn Registry, folder: &Path, only: Option<u64>) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use sitian_ingest::{Effect, EpochEntry, EpochState, Form, PointEntry, Quarantined};
    use sitian_model::{
        DeviceId, DeviceInfo, Epoch, EpochNo, GatewayId, Manifest, PointId, PointInfo, PointNo, Quality,
        Reading, Record, Span, Timestamp,
    };
    use sitian_registry::{QuarantineCounts, Transaction};
    use sitian_series::{RangeQuery, Series};
    use sitian_store_embedded::Store;

    const AT: Timestamp = Timestamp(1_790_000_000_000);
    const EPOCH: Epoch = Epoch([7; 16]);

    fn record(n: i64) -> Vec<u8> {
        let reading =
            Reading { point: 0, at: AT.plus_ms(n * 1_000), value: Some(n as f64), quality: Quality::Good };
        let record =
            Record { boot: 1, mono_ms: n as u64 * 1_000, uncertainty_ms: Some(20), readings: vec![reading] };
        sitian_wire::encode_record(&record)
    }

    /// What a program before this one left behind: four records, of which it understood none.
    fn left_behind() -> Vec<Effect> {
        let gateway = GatewayId::new("gw-1").expect("well-formed");
        let id = PointId::parse("gw-1/soil-1/soil_moisture").expect("well-formed");
        let device = DeviceInfo {
            id: DeviceId::new("soil-1").expect("well-formed"),
            name: "土壤".into(),
            place: String::new(),
            profile: "soil-7in1".into(),
            bus: "a".into(),
        };
        let info = PointInfo {
            device: 0,
            key: id.key.clone(),
            measurement: "soil_moisture".into(),
            unit: "%".into(),
            decimals: 1,
            interval_ms: 60_000,
        };
        let (no, points) = (EpochNo(1), vec![PointNo(1)]);
        let manifest = Manifest {
            gateway: gateway.clone(),
            software: "1".into(),
            devices: vec![device.clone()],
            points: vec![info.clone()],
        };
        let aside = |range, raw: Vec<u8>| {
            let (form, reason) = (Form::Record, "schema 9".to_owned());
            Effect::Quarantine(Quarantined { gateway: gateway.clone(), range, form, reason, raw, at: AT })
        };
        let mut effects = vec![
            Effect::Point(PointEntry { no: PointNo(1), id, device, info, at: AT }),
            Effect::Epoch(EpochEntry {
                no,
                gateway: gateway.clone(),
                epoch: EPOCH,
                points,
                manifest,
                at: AT,
            }),
            Effect::Watermark(EpochState { committed: 4, chain: None, end: 4, ..EpochState::fresh(no) }),
        ];
        effects.extend((0..3).map(|n| aside(Some((EPOCH, n, n + 1)), record(n as i64))));
        effects.push(aside(Some((EPOCH, 3, 4)), b"nobody understands this".to_vec()));
        effects.push(aside(None, b"nor what this stands for".to_vec()));
        effects
    }

    fn source(store: &Path) -> Source {
        Source { config: None, overrides: vec![("storage.path".into(), store.display().to_string())] }
    }

    /// The values stored, and what is in quarantine: understood since, and waiting.
    fn found(store: &Path) -> (Vec<f64>, QuarantineCounts) {
        let store = Store::open(store).expect("opens");
        let span = Span { from: AT, to: AT.plus_ms(60_000) };
        let query = RangeQuery { point: PointNo(1), span, limit: 100, after: None };
        let rows = store.reader().range(&query).expect("reads").rows;
        let all = ListFilter { gateways: None, since: None, before: None, limit: 0 };
        let counts = store.reader().quarantine_counts(&all).expect("counts");
        (rows.iter().filter_map(|row| row.value).collect(), counts)
    }

    #[test]
    fn what_this_program_understands_is_stored_once_however_often_it_is_read_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("centre.db");
        let transaction = Transaction { effects: left_behind(), at: AT, ..Transaction::default() };
        Store::open(&path).expect("opens").commit(&transaction).expect("commits");
        let (values, counts) = found(&path);
        assert_eq!((values.len(), counts.waiting, counts.redecoded), (0, 5, 0));
        for again in 0..3 {
            run(&Command::Retry(source(&path))).expect("reads again");
            let (values, counts) = found(&path);
            assert_eq!(values, [0.0, 1.0, 2.0], "time {again}");
            assert_eq!((counts.waiting, counts.redecoded), (2, 3), "time {again}");
        }
        run(&Command::List(source(&path))).expect("lists");
        let to = folder.path().join("out");
        run(&Command::Export { source: source(&path), to: to.clone(), id: Some(4) }).expect("exports");
        let bytes = std::fs::read(to.join("4-gw-1.record")).expect("a file");
        assert_eq!(bytes, b"nobody understands this");
        let none = run(&Command::Export { source: source(&path), to, id: Some(99) });
        assert!(none.is_err_and(|error| error.to_string().contains("there is none of this number")));
    }

    #[test]
    fn reading_again_is_refused_beside_a_running_ingestor_but_looking_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("centre.db");
        let _running = Store::open(&path).expect("opens");
        let refused = run(&Command::Retry(source(&path))).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("stop the ingestor")));
        run(&Command::List(source(&path))).expect("lists");
    }
}
