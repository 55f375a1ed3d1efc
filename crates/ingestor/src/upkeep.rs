//! `sitian-ingestor backup`, `restore`, `verify`, `doctor`, `export` and `move`: what an operator does with the store.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use sitian_api::Zone;
use sitian_export::{Export as Writing, Format};
use sitian_model::{Span, Timestamp};
use sitian_registry::Registry;
use sitian_series::Series;
use sitian_settings::Faults;
use sitian_store_embedded::{Examination, back_up, examine, repair, restore};

use crate::admit::now;
use crate::backend::export;
use crate::keeping::{self, Seat};
use crate::moving::Move;
use crate::parts::Parts;
use crate::settings::Source;

/// What there is to do.
#[derive(Subcommand)]
pub enum Task {
    /// Copy the store into a new file, also while it is in use, and examine the copy.
    Backup(Backup),
    /// Put a backup in the store's place; the ingestor must not run. What was there is moved aside.
    Restore(Restore),
    /// Look at every byte of the store, or of a backup; change nothing.
    Verify(Verify),
    /// Say what is wrong with the store, and with --repair mend what can be mended.
    Doctor(Doctor),
    /// Write readings as CSV, JSON lines or Parquet, also while the store is in use.
    Export(Export),
    /// Move the readings of the store to the engine that the settings name; the ingestor must not run.
    Move(Move),
}

impl Task {
    /// Does it.
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Backup(task) => task.run(),
            Self::Restore(task) => task.run(),
            Self::Verify(task) => task.run(),
            Self::Doctor(task) => task.run(),
            Self::Export(task) => task.run(),
            Self::Move(task) => task.run(),
        }
    }
}

/// Copies the store while it runs.
#[derive(Args)]
pub struct Backup {
    #[command(flatten)]
    source: Source,
    /// The new file.
    file: PathBuf,
}

/// Puts a backup in the store's place.
#[derive(Args)]
pub struct Restore {
    #[command(flatten)]
    source: Source,
    /// The backup.
    file: PathBuf,
}

/// Looks at every byte of the store, or of a backup.
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    source: Source,
    /// A backup; without it, the store.
    file: Option<PathBuf>,
}

/// Says what is wrong with the store and what can be done.
#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    source: Source,
    /// Repair what can be repaired; the ingestor must not run.
    #[arg(long)]
    repair: bool,
}

/// Writes readings as a file.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    source: Source,
    /// From when, such as 2026-05-04T00:00:00+08:00; from the beginning if absent.
    #[arg(long, value_parser = moment)]
    from: Option<Timestamp>,
    /// Until when, itself excluded; everything if absent.
    #[arg(long, value_parser = moment)]
    to: Option<Timestamp>,
    /// csv, jsonl or parquet.
    #[arg(long, default_value = "csv", value_parser = format)]
    format: Format,
    /// Where to; the standard output if absent.
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Points, such as gw-1/soil-1/soil_moisture, or beginnings of them, such as gw-1/; all if absent.
    points: Vec<String>,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    sitian_api::moment(text).ok_or_else(|| "write it as 2026-05-04T00:00:00+08:00".to_owned())
}

fn format(word: &str) -> Result<Format, String> {
    Format::parse(word).ok_or_else(|| Format::WORDS.to_owned())
}

fn parts(source: &Source) -> Result<Parts> {
    Ok(Parts::judge(&source.load()?, source.folder()).map_err(Faults)?)
}

/// The store's file.
///
/// # Errors
/// There is none: the registry is in a database.
fn file(source: &Source) -> Result<PathBuf> {
    let parts = parts(source)?;
    match parts.seat {
        Seat::Own => Ok(parts.storage),
        Seat::Postgres { access, .. } => bail!(
            "find a file: the registry is in the database {}; back it up with pg_dump, put it back with pg_restore, check it \
             with pg_amcheck, and the engine of the readings by its own means",
            access.place()
        ),
    }
}

impl Backup {
    fn run(&self) -> Result<()> {
        let store = file(&self.source)?;
        let made = back_up(&store, &self.file)?;
        let bytes = std::fs::metadata(&self.file).map_or(0, |file| file.len());
        println!("{}: {} readings, {bytes} bytes, examined", self.file.display(), made.readings);
        Ok(())
    }
}

impl Restore {
    fn run(&self) -> Result<()> {
        let store = file(&self.source)?;
        let aside = restore(&self.file, &store, now())?;
        println!("{} is in place at {}", self.file.display(), store.display());
        if let Some(aside) = aside {
            println!("what was there is now {}; delete it once all is well", aside.display());
        }
        println!("gateways send again what the backup does not know, as far back as they keep it");
        Ok(())
    }
}

impl Verify {
    /// Anything found is an error.
    fn run(&self) -> Result<()> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => file(&self.source)?,
        };
        let found = examine(&file)?;
        tell(&file, &found);
        if found.findings.is_empty() { Ok(()) } else { bail!("verify the store: see above") }
    }
}

impl Doctor {
    /// What is left unrepaired is an error.
    fn run(&self) -> Result<()> {
        let store = file(&self.source)?;
        let found = if self.repair { repair(&store)? } else { examine(&store)? };
        tell(&store, &found);
        let left = found.findings.iter().filter(|finding| finding.repair.is_none()).count();
        match (left, self.repair) {
            (0, _) => Ok(()),
            (_, false) => bail!("find the store sound: stop the ingestor and add --repair"),
            (_, true) => {
                bail!("repair everything: {left} findings are left; put a backup in the store's place")
            }
        }
    }
}

fn tell(file: &Path, found: &Examination) {
    println!("{}: {} readings in {} chunks and the journal", file.display(), found.readings, found.chunks);
    for finding in &found.findings {
        println!("  {finding}");
    }
    if found.findings.is_empty() {
        println!("  nothing is wrong");
    }
}

impl Export {
    fn run(&self) -> Result<()> {
        let parts = parts(&self.source)?;
        let (registry, series) = keeping::look_at_readings(&parts)?;
        match &self.output {
            Some(path) => {
                let file = File::create_new(path).with_context(|| format!("make {}", path.display()))?;
                self.write(&*registry, &*series, &parts.zone, BufWriter::new(&file))?;
                file.sync_all().with_context(|| format!("write {}", path.display()))
            }
            None => self.write(&*registry, &*series, &parts.zone, BufWriter::new(std::io::stdout())),
        }
    }

    fn write(
        &self,
        registry: &dyn Registry,
        series: &dyn Series,
        zone: &Zone,
        out: impl Write + Send,
    ) -> Result<()> {
        let restored = registry.restored()?;
        let epochs: HashMap<_, _> =
            restored.epochs.iter().map(|epoch| (epoch.state.no, epoch.epoch)).collect();
        let wanted = |id: &str| {
            self.points.is_empty()
                || self.points.iter().any(|p| id == p || (p.ends_with('/') && id.starts_with(p.as_str())))
        };
        let mut points: Vec<_> =
            restored.points.iter().filter(|point| wanted(&point.id.to_string())).collect();
        if points.is_empty() && !self.points.is_empty() {
            bail!("find any point of these names in the store");
        }
        points.sort_by_key(|point| point.id.to_string());
        let span = Span {
            from: self.from.unwrap_or(Timestamp(i64::MIN)),
            to: self.to.unwrap_or(Timestamp(i64::MAX)),
        };
        let time = |at| zone.show(at).0;
        let mut writing = Writing::begin(out, self.format, export::notes(&points, span, zone), &time)?;
        let sources = export::Sources { series, epochs: &epochs };
        for point in points {
            if !sources.write(point, span, &mut writing).context("write the readings")? {
                return Ok(());
            }
        }
        export::still_read(writing.finish().map(drop)).context("write the readings")?;
        Ok(())
    }
}
