//! Opens what the centre keeps: registry and readings, in one file, beside each other, or with others.
//!
//! ```text
//!  registry.kind   storage.engine      registry, alerts, watermarks     readings
//!  embedded        embedded            storage.path                     storage.path
//!  embedded        another             storage.path                     the engine
//!  postgresql      another             the database                     the engine
//! ```
//!
//! What was ordered from gateways stays in a file beside `storage.path` in every case.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sitian_registry::{Keep, Registry};
use sitian_series::Retention;
use sitian_store_embedded::{Reader, Store};
use sitian_store_postgres::{Access, Database};

use crate::admit::now;
use crate::compaction::Compaction;
use crate::parts::Parts;
use crate::readings::{self, Answers, Elsewhere, Place};

/// Where the settings say that the registry is kept.
#[derive(Debug, Clone)]
pub enum Seat {
    /// In the store's file.
    Own,
    /// In a PostgreSQL database.
    Postgres {
        /// How it is reached.
        access: Box<Access>,
        /// This ingestor's name there.
        member: String,
        /// How long a lease is, if several ingestors share it.
        lease: Option<Duration>,
    },
}

/// Everything opened, and this process the one that keeps it.
pub struct Kept {
    /// The write side of the registry.
    pub keeper: Box<dyn Keep>,
    /// The read side.
    pub registry: Arc<dyn Registry>,
    /// Set if readings are kept elsewhere.
    pub elsewhere: Option<Elsewhere>,
    /// What answers questions about readings.
    pub series: Answers,
    /// What joins and forgets readings, where that is ours to do.
    pub compaction: Option<Compaction>,
}

/// Opens it to be kept. Waits: not to be called from async code.
///
/// # Errors
/// Something is not there, not fit, or kept by another process.
pub fn open(parts: &Parts) -> Result<Kept> {
    make_folder(&parts.storage)?;
    match &parts.seat {
        Seat::Own => {
            let mut store = Store::open(&parts.storage)?;
            let (elsewhere, series) = readings::open(parts, &mut store)?;
            // Days of the daily class are those of the people who look at them.
            let day_offset_ms = -parts.zone.offset_ms(now());
            let compaction = Compaction::start(&store, Retention { day_offset_ms, ..parts.retention })?;
            let registry = Arc::new(store.reader());
            let keeper = Box::new(store);
            Ok(Kept { keeper, registry, elsewhere, series, compaction: Some(compaction) })
        }
        Seat::Postgres { access, member, .. } => {
            let database = Database::open(access)?;
            let keeper = Box::new(database.alone(member)?);
            let registry = database.reader();
            let (elsewhere, series) = readings::beside(parts, &*registry)?;
            Ok(Kept { keeper, registry, elsewhere: Some(elsewhere), series, compaction: None })
        }
    }
}

/// Looks at the registry beside a running ingestor.
///
/// # Errors
/// It is not there or not fit.
pub fn look(parts: &Parts) -> Result<Arc<dyn Registry>> {
    match &parts.seat {
        Seat::Own => Ok(Arc::new(Store::look_into(&parts.storage)?)),
        Seat::Postgres { access, .. } => Ok(Database::look(access)?),
    }
}

/// Looks at registry and readings beside a running ingestor.
///
/// # Errors
/// Something is not there or not fit.
pub fn look_at_readings(parts: &Parts) -> Result<(Arc<dyn Registry>, Answers)> {
    match &parts.seat {
        Seat::Own => {
            let reader = Reader::open(&parts.storage)?;
            let series: Answers = match &parts.place {
                Place::Own => Arc::new(reader.clone()),
                place => readings::look_beside(place, &reader, &parts.territory)?,
            };
            Ok((Arc::new(reader), series))
        }
        Seat::Postgres { .. } => {
            let registry = look(parts)?;
            let series = readings::look(&parts.place, &*registry, &parts.territory)?;
            Ok((registry, series))
        }
    }
}

pub fn make_folder(storage: &Path) -> Result<()> {
    match storage.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        None => Ok(()),
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))
        }
    }
}
